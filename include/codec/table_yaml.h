/* codec/table_yaml.h - reads YAML (and so JSON) into a struct by its table.
 *
 * A key that is null (nothing, ~ or null without quotes) is not set: as if its line were not there.
 * Aliases are refused, nesting is what the table says. Each message is a line "WHERE:LINE:COLUMN:
 * text", appended to errors; a message that cannot be stored for lack of memory is lost, the
 * refusal is not. After an error *obj holds a part of what was read: read into a draft. */
#ifndef ROOST_CODEC_TABLE_YAML_H
#define ROOST_CODEC_TABLE_YAML_H

#include "base/table.h"

struct table_yaml_seen {
    bool mapping; /* there is a mapping, if an empty one: not just nothing or comments */
    size_t keys;  /* rows that were set */
};

/* A file: one mapping of the table's names. seen may be NULL. */
int table_yaml(const struct table *t, void *obj, const char *where, struct str text,
               struct table_yaml_seen *seen, struct buf *errors) MUST_CHECK;
/* One row's value from the environment or a command line: text as for table_set(), null and ~ as
 * above; lists, MAPS and MAP may be JSON (or YAML's [...], {...}). */
int table_yaml_value(const struct table *t, void *obj, size_t i, const char *where, struct str text,
                     struct buf *errors) MUST_CHECK;
/* "unknown key "x"; did you mean "y"?": shows no more of the name than could be one. */
void table_unknown(const struct table *t, struct str name, char *out, size_t cap);

#endif
