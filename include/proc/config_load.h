/* proc/config_load.h - file (YAML), environment (ROOST_*) and --set, in rising precedence, into
 * struct config.
 *
 * All or nothing: *out is written only on success. Errors are complete lines for a person:
 *   roost.yaml:3:10: ping_interval: expected a duration such as 250ms, 10s, 5m or 1h, got "fast"
 *   roost.yaml:5:1: unknown key "max_conections"; did you mean "max_connections"?
 *   environment ROOST_WORKERS: expected auto or a whole number from 1 to 128, got "0" */
#ifndef ROOST_PROC_CONFIG_LOAD_H
#define ROOST_PROC_CONFIG_LOAD_H

#include "base/buf.h"
#include "base/config.h"

struct config_source {
    const char *path;        /* NULL: no file */
    const char *const *sets; /* "key=value" strings from --set, in order */
    size_t nsets;
    char *const *environ_vars; /* like environ(7) */
};

/* Reads all sources, then checks what spans settings (config_check). -1: one or more lines,
 * '\n'-separated, in *errors. */
int config_load(struct config *out, const struct config_source *src, struct buf *errors) MUST_CHECK;
/* Parses YAML text only, on top of what *out holds; for fuzzing and tests. */
int config_load_text(struct config *out, const char *path, struct str text,
                     struct buf *errors) MUST_CHECK;
/* Rules across settings: admin off loopback needs api_key; ... Appends lines to errors; number of
 * errors. */
int config_check(const struct config *c, struct buf *errors);
/* The whole configuration, annotated, as YAML that config_load_text() reads back to the same
 * values. */
int config_print(const struct config *c, struct buf *out) MUST_CHECK;
/* Markdown reference of all settings (for deploy/CONFIGURATION.md; `make lint` compares). */
int config_reference(struct buf *out) MUST_CHECK;
/* Names of settings whose values differ, comma-separated, split by whether a reload may apply them.
 */
int config_diff(const struct config *a, const struct config *b, struct buf *reloadable,
                struct buf *restart) MUST_CHECK;
/* The table's name nearest to `name` by edit distance, or NULL when none is near. */
const char *config_nearest(struct str name);

#endif
