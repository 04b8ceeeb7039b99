/* base/table_internal.h - what table.c and the table_*.c share. */
#ifndef ROOST_BASE_TABLE_INTERNAL_H
#define ROOST_BASE_TABLE_INTERNAL_H

#include "base/table.h"

/* "expected WHAT, got "VALUE"", fit for a terminal. -1. */
int table_expected(const char *what, struct str got, char *err, size_t errcap);

/* table_text.c: members that are text. */
int table_set_text(const struct table_row *row, char *member, struct str value, char *err,
                   size_t errcap) MUST_CHECK;
int table_set_list(const struct table_row *row, char *member, bool replace, struct str value,
                   char *err, size_t errcap) MUST_CHECK;
int table_add_entry(const struct table_row *row, char *member, struct str entry, char *err,
                    size_t errcap) MUST_CHECK;

/* table_origin.c: `in` as a browser would send it, into out. NULL, or what is wrong with it. */
const char *table_origin(struct str in, char *out, size_t cap);

#endif
