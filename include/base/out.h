/* base/out.h - the standard output of a program, when somebody relies on what it prints.
 *
 * What is written with out_write() or with stdio is buffered; out_finish() is the last word of
 * every path that prints. A reader that went away (EPIPE) ends the printing quietly; anything else
 * (a full disk) is an error. The program must ignore SIGPIPE. */
#ifndef ROOST_BASE_OUT_H
#define ROOST_BASE_OUT_H

#include "base/str.h"

void out_write(struct str s);
void out_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Hands over what is buffered. False: nobody will see anything any more. */
bool out_flush(void);
/* Can standard output take no more? Also true when the reader of a pipe has gone and nothing was
 * written since. */
bool out_is_gone(void);
/* The exit status: `status`, or 1, with a sentence on stderr, when something could not
 * be written. */
int out_finish(const char *program, int status) MUST_CHECK;

#endif
