/* proc/config_print.c - the configuration as annotated YAML and as a reference page. */
#include "proc/config_load.h"

#include "codec/http.h"
#include "config_internal.h"

/* Comment lines of at most 96 columns. */
static int put_comment(const char *text, struct buf *out)
{
    struct str rest = str_from(text);

    while (rest.n > 0) {
        size_t n = MIN(rest.n, (size_t)94);

        while (n < rest.n && n > 0 && rest.p[n] != ' ')
            n--;
        if (n == 0)
            n = rest.n;
        if (buf_printf(out, "# %.*s\n", (int)n, rest.p) == -1)
            return -1;
        rest = str_skip(rest, n);
        if (rest.n > 0)
            rest = str_skip(rest, 1);
    }
    return 0;
}

/* What auto has come to. */
static int put_derived(const struct config *c, size_t i, struct buf *out)
{
    int64_t v;

    if (config_row(i)->type != TABLE_AUTO_SIZE || table_was_set(&config_table, c, i))
        return 0;
    memcpy(&v, (const char *)c + config_row(i)->offset, sizeof(v));
    return buf_printf(out, " # %lld", (long long)v);
}

static struct str default_text(const struct table_row *row)
{
    struct str def = table_default_text(row);

    return def.n > 0 ? def : STR_LIT("empty");
}

/* A key that came from a file of its own is not written as if it stood here. */
static int put_value(const struct config *c, size_t i, struct buf *out)
{
    if (config_row(i)->type == TABLE_SECRET && !table_was_set(&config_table, c, i))
        return buf_append_lit(out, "''");
    return table_write(&config_table, c, i, out);
}

int config_print(const struct config *c, struct buf *out)
{
    int rc = buf_append_lit(out, "# Every setting of roostd with its value in force.\n");

    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        const struct table_row *row = config_row(i);

        rc |= buf_append_char(out, '\n');
        rc |= put_comment(row->sentence, out);
        rc |= put_comment(row->paragraph, out);
        rc |= buf_append_lit(out, "# (");
        rc |= table_write_type(row, out);
        rc |= buf_printf(out, "; default %.*s; %s)\n%s: ", STR_ARG(default_text(row)),
                         row->change != TABLE_RESTART ? "reload applies it" : "needs a restart",
                         row->name);
        rc |= put_value(c, i, out);
        rc |= put_derived(c, i, out);
        rc |= buf_append_char(out, '\n');
    }
    return rc == 0 ? 0 : -1;
}

/* What no setting changes. */
static int put_http_limits(struct buf *out)
{
    int rc = buf_append_lit(
        out, "\n# Limits of HTTP that are no settings\n\n| at most | |\n|---|---|\n");

#define LIMIT(name, value, sentence) rc |= buf_printf(out, "| %d | %s |\n", name, sentence);
#include "tbl/http_limits.def"
    return rc == 0 ? 0 : -1;
}

/* The type in a cell, where '|' would end it. */
static int put_cell_type(const struct table_row *row, struct buf *out)
{
    struct buf text = {0};
    int rc = table_write_type(row, &text);

    for (size_t i = 0; i < text.len && rc == 0; i++)
        rc = text.p[i] == '|' ? buf_append_lit(out, "\\|") : buf_append_char(out, text.p[i]);
    buf_fini(&text);
    return rc;
}

static int put_listener_options(struct buf *out)
{
    int rc = buf_append_lit(
        out,
        "\n# Options of listeners\n\nOf each entry of `listeners`; written from "
        "`include/tbl/listeners.def`. To add or remove entries, to reorder\nthem, and to change "
        "what says so needs a restart.\n\n| option | | default | | reload "
        "|\n|---|---|---|---|---|\n");

    for (size_t i = 0; i < listener_table.n && rc == 0; i++) {
        const struct table_row *row = &listener_table.rows[i];

        rc |= buf_printf(out, "| `%s` | ", row->name);
        rc |= put_cell_type(row, out);
        rc |= buf_printf(out, " | `%.*s` | %s | %s |\n",
                         STR_ARG(row->def != NULL ? default_text(row) : STR_LIT("none")),
                         row->sentence, row->change != TABLE_RESTART ? "applies it" : "restart");
    }
    return rc == 0 ? 0 : -1;
}

static int put_channel_options(struct buf *out)
{
    int rc = buf_append_lit(
        out, "\n# Options of channels\n\nOf each entry of `namespaces`, beside its `name`, and of "
             "`channel_without_namespace`; written from\n`include/tbl/channel_options.def`. A "
             "reload applies them.\n\n| option | | default | |\n|---|---|---|---|\n");

    for (size_t i = 0; i < channel_table.n && rc == 0; i++) {
        const struct table_row *row = &channel_table.rows[i];

        rc |= buf_printf(out, "| `%s` | ", row->name);
        rc |= put_cell_type(row, out);
        rc |= buf_printf(out, " | `%.*s` | %s |\n", STR_ARG(default_text(row)), row->sentence);
    }
    return rc == 0 ? 0 : -1;
}

int config_reference(struct buf *out)
{
    int rc = buf_append_lit(
        out, "# Settings of roostd\n\n"
             "Written by `roostd --reference` from `include/tbl/config.def`.\n\n"
             "A setting comes from the file (`--config FILE`, YAML), the environment "
             "(`ROOST_` and the name in\ncapitals) or `--set name=value`; the later one "
             "of these wins. Sizes: 512, 64KiB, 1.5MiB, 1MB (a million).\nDurations: 250ms, 0.5s, "
             "1m30s, 1h. Truth: true, false, yes, no, on, off. Lists: a sequence in the file,\n"
             "in the environment and `--set` words with commas between them, or JSON. What is "
             "`null` or `~`, or an\nempty variable of the environment, is not set.\n");

    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        const struct table_row *row = config_row(i);

        rc |= buf_printf(out, "\n## %s\n\n%s.%s%s\n\n", row->name, row->sentence,
                         row->paragraph[0] ? " " : "", row->paragraph);
        rc |= table_write_type(row, out);
        rc |= buf_printf(out, "; default `%.*s`; %s\n", STR_ARG(default_text(row)),
                         row->change != TABLE_RESTART ? "reload applies it" : "needs a restart");
    }
    return rc == 0 && put_listener_options(out) == 0 && put_channel_options(out) == 0
               ? put_http_limits(out)
               : -1;
}

int config_diff(const struct config *a, const struct config *b, struct buf *reloadable,
                struct buf *restart)
{
    for (size_t i = 0; i < config_row_count(); i++) {
        struct buf *names;

        if (table_equal(&config_table, a, b, i))
            continue;
        names = config_row_reloads(a, b, i) ? reloadable : restart;
        if (buf_printf(names, "%s%s", names->len > 0 ? ", " : "", config_row(i)->name) == -1)
            return -1;
    }
    return config_diff_keys(a, b, reloadable);
}
