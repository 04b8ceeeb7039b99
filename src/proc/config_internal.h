/* proc/config_internal.h - what the files that load settings share. */
#ifndef ROOST_PROC_CONFIG_INTERNAL_H
#define ROOST_PROC_CONFIG_INTERNAL_H

#include "proc/config_load.h"

/* Appends "where: text". A line that cannot be stored for lack of memory is lost. */
void config_report(struct buf *errors, const char *where, const char *text);

#endif
