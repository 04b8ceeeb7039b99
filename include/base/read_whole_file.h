/* base/read_whole_file.h - a small file whole, without ever waiting in open(2). */
#ifndef ROOST_BASE_READ_WHOLE_FILE_H
#define ROOST_BASE_READ_WHOLE_FILE_H

#include "base/buf.h"

/* Appends a regular file of at most max bytes to *text. With pipe non-NULL also a pipe (and
 * /dev/null), waiting a few seconds at most for each part of it; *pipe says that it was one. -1
 * with a sentence in err; errno is EACCES or EPERM when the file is there and this user may not read
 * it, else anything else. */
int read_whole_file(const char *path, size_t max, bool *pipe, struct buf *text, char *err,
                    size_t errcap) MUST_CHECK;

#endif
