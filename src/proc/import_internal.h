/* proc/import_internal.h - what import.c, import_read.c, import_write.c, import_engine.c and
 * import_reference.c share. */
#ifndef ROOST_PROC_IMPORT_INTERNAL_H
#define ROOST_PROC_IMPORT_INTERNAL_H

#include "base/config.h"
#include "proc/import.h"

#define IMPORT_ITEMS_MAX 64 /* entries of one list */

struct import_item {  /* one option that is set; all borrowed */
    const char *path; /* "client.token.audience", "port"; within a namespace "history_size" */
    bool list;        /* values[0 .. n) are its entries; else it is values[0] */
    bool opaque;      /* a list of other things than words: there are no values */
    size_t n;
    struct str values[IMPORT_ITEMS_MAX];
};

enum import_kind { IMPORT_CARRY = 0, IMPORT_HANDLE, IMPORT_WITHOUT, IMPORT_FIXED };

struct import;
struct import_row { /* of tbl/centrifugo.def */
    const char *v6, *v5;
    enum import_kind kind;
    bool security; /* not carried over, it is missed */
    bool channel;  /* an option of channels */
    void (*handle)(struct import *im, const struct import_row *row, const struct import_item *item);
    const char *setting; /* CARRY, HANDLE; the only value of FIXED */
    const char *text;    /* remark or reason */
};
extern const struct import_row import_rows[];
extern const size_t import_row_count;
#define IMPORT_ROWS_MAX 320

/* Values of a table's rows as they are to be written; empty: not set. */
struct import_values {
    const struct table *table;
    void *draft; /* what they come to */
    struct buf text[TABLE_ROWS_MAX];
};

struct import {
    struct buf *notes;
    bool unsafe, no_memory;
    struct import_values settings, channels, one; /* one: the namespace that is being read */
    struct buf namespaces;                        /* written already */
    struct buf kept[IMPORT_ROWS_MAX];             /* for import_finish(), by row */
    bool said[IMPORT_ROWS_MAX];
};

/* import.c */
/* An option of the file; ns: of the namespace im->one, else of the node. */
void import_option(struct import *im, const struct import_item *item, bool ns);
void import_note(struct import *im, bool security, const char *path, const char *reason);
/* What counts for channels that say no format of their own. */
void import_default_format(struct import *im, struct import_values *v);
/* One value into a setting, or a note. */
void import_set(struct import *im, bool security, const char *path, const char *setting,
                const struct import_item *item);

/* import_read.c: -1: the file is none, *notes says why. */
int import_read(struct import *im, const char *name, struct str text) MUST_CHECK;

/* import_engine.c: what follows from several options of TLS and of the engine. */
void import_finish_tls(struct import *im);
void import_finish_engine(struct import *im);

/* import_write.c */
/* The value of an option that a row keeps, by its name in version 6, or in version 5 where there is
 * no other; empty: not set. Entries of a list are separated by line ends. */
struct str import_kept(const struct import *im, const char *name);
void import_set_text(struct import *im, bool security, const char *path, const char *setting,
                     const char *text);
/* The namespace that has been read. */
void import_end_namespace(struct import *im);
/* What follows from several options. */
void import_finish(struct import *im);
int import_write(struct import *im, const char *name, struct buf *yaml) MUST_CHECK;
/* A value as YAML on one line. */
int import_write_value(enum table_type type, const struct import_item *item,
                       struct buf *out) MUST_CHECK;

#endif
