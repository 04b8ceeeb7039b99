/* proc/import.h - another server's configuration as ours; for roostctl import.
 *
 * import_centrifugo() takes the file of Centrifugo 6 or 5, YAML or JSON, and writes a settings file.
 * What is not carried over is told in *notes, a line each: "NAME: not carried over: reason". What
 * becomes of each option is a row of tbl/centrifugo.def. import.c matches options and rows,
 * import_read.c reads the file, import_write.c writes ours and what follows from several options,
 * import_engine.c does that for TLS and engines, import_reference.c writes the page. */
#ifndef ROOST_PROC_IMPORT_H
#define ROOST_PROC_IMPORT_H

#include "base/buf.h"

enum import_result {
    IMPORT_DONE = 0,
    IMPORT_UNREADABLE, /* no YAML or JSON with options in it, or no memory */
    IMPORT_REFUSED,    /* what was written is not accepted by roostd, *notes says why */
    IMPORT_UNSAFE      /* an option that protects, or an unknown one, is not carried over */
};

/* name: of the file, for messages. */
enum import_result import_centrifugo(const char *name, struct str text, struct buf *yaml,
                                     struct buf *notes);
/* Markdown of all rows (for deploy/MIGRATING.md; `make lint` compares). */
int import_reference(struct buf *out) MUST_CHECK;

#endif
