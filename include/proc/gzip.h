/* proc/gzip.h - a response in gzip format, for who asks for it. */
#ifndef ROOST_PROC_GZIP_H
#define ROOST_PROC_GZIP_H

#include "base/buf.h"

/* Appends s, compressed fast and in little memory. -1: no memory. */
int gzip_append(struct str s, struct buf *out) MUST_CHECK;

#endif
