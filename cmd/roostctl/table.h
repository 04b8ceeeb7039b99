/* cmd/roostctl/table.h - how commands print what they know (table.c).
 *
 * Every command has two forms, by -o: a table for people (the default), and JSON for programs. A command
 * that asks a page of the daemon's prints that page as JSON; others write an object of their own. One object to
 * a line where there are several (top, tail). Each ends with a line end.
 *
 *     if (ctl.output == CTL_JSON)
 *         return ctl_print_json(buf_view(&body));
 *     static const struct ctl_column columns[] = {CTL_LEFT("channel", 40), CTL_RIGHT("subscribers")};
 *     struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
 *     ... for each row:
 *         ctl_cell_member(&t, row, "channel");
 *         ctl_cell(&t, "%s", ctl_amount(ctl_number(row, "subscribers"), number));
 *     return ctl_table_print(&t);
 *
 * Columns are as wide as what is in them. What clients chose (names, ids) is shown with '?' for what a
 * terminal would obey. A failure is remembered: ctl_table_print() says it. */
#ifndef ROOSTCTL_TABLE_H
#define ROOSTCTL_TABLE_H

#include "base/buf.h"
#include "codec/json.h"

enum ctl_output { CTL_TABLE = 0, CTL_JSON };

struct ctl_column {
    const char *title; /* NULL in the first: there is no line of titles */
    bool right;        /* numbers */
    size_t most;       /* characters of it on a terminal, what is longer is cut; 0: any number */
};

#define CTL_LEFT(title_, most_)                                                                    \
    {                                                                                              \
        .title = (title_), .most = (most_)                                                         \
    }
#define CTL_RIGHT(title_)                                                                          \
    {                                                                                              \
        .title = (title_), .right = true                                                           \
    }

struct ctl_table {
    const struct ctl_column *columns; /* borrowed */
    size_t n;
    bool cut, failed;
    size_t count; /* of cells */
    struct buf text;
};

struct ctl_table ctl_table_of(const struct ctl_column *columns, size_t n);
/* The next cell, row by row. */
void ctl_cell(struct ctl_table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void ctl_cell_text(struct ctl_table *t, struct str text);
/* A member of a JSON object: of a string its characters, of anything else its text; "-" when it is not
 * there, null, or empty. */
void ctl_cell_member(struct ctl_table *t, const struct json_value *object, const char *name);
/* Appends it; and what it held goes. -1: no memory. */
int ctl_table_write(struct ctl_table *t, struct buf *out) MUST_CHECK;
/* To standard output. Exit status: 0, or 1 (said why). */
int ctl_table_print(struct ctl_table *t) MUST_CHECK;

/* An object whose members are facts, by -o: as it is, or a line for each, elements of a list with commas
 * between them. Exit status. */
int ctl_print_object(struct str object) MUST_CHECK;
/* A document that a daemon sent, or one of our own, to standard output. Exit status 0. */
int ctl_print_json(struct str document);
/* Appends it on one line: line ends that stand between values go. */
int ctl_append_line(struct buf *out, struct str document) MUST_CHECK;
/* Appends `"name":"value"`, with a comma before it where out does not end with '{'. */
int ctl_put_text(struct buf *out, const char *name, struct str value) MUST_CHECK;
/* The same for what is JSON already. */
int ctl_put_raw(struct buf *out, const char *name, struct str json) MUST_CHECK;
/* What a terminal would obey (C0, DEL, C1; characters that turn or hide text; no UTF-8) as '?'. */
int ctl_append_shown(struct buf *out, struct str text) MUST_CHECK;

#endif
