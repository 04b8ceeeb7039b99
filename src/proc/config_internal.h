/* proc/config_internal.h - what the files that load settings share. */
#ifndef ROOST_PROC_CONFIG_INTERNAL_H
#define ROOST_PROC_CONFIG_INTERNAL_H

#include "proc/config_load.h"

/* Appends "where: text". A line that cannot be stored for lack of memory is lost. */
void config_report(struct buf *errors, const char *where, const char *text);

/* config_file.c */
/* Reads a regular file of at most max bytes; with *pipe non-NULL also a pipe, and says that it was
 * one. -1: a line in errors. */
int config_read_file(const char *path, size_t max, bool *pipe, struct buf *text,
                     struct buf *errors) MUST_CHECK;
/* api_key_file into api_key. */
int config_read_key(struct config *c, struct buf *errors) MUST_CHECK;

#endif
