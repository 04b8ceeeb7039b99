/* proc/config_print.c - the configuration as annotated YAML and as a reference page. */
#include "proc/config_load.h"

static const char *type_name(enum config_type t)
{
    switch (t) {
    case CONFIG_BOOL:
        return "true or false";
    case CONFIG_INT:
        return "whole number";
    case CONFIG_SIZE:
        return "size";
    case CONFIG_DURATION:
        return "duration";
    case CONFIG_AUTO_INT:
        return "auto or a whole number";
    case CONFIG_STRING:
        return "text";
    case CONFIG_LIST:
        return "list of words";
    case CONFIG_ADDRESS:
        return "address";
    case CONFIG_CHOICE:
        return "one of";
    }
    return "";
}

/* A bound in the setting's own units. */
static void show_bound(const struct config_row *row, size_t i, int64_t bound, char *out, size_t cap)
{
    struct config c;

    memset(&c, 0, sizeof(c));
    memcpy((char *)&c + row->offset, &bound, sizeof(bound));
    if (row->type == CONFIG_AUTO_INT && bound == 0)
        snprintf(out, cap, "auto");
    else
        config_format_value(&c, i, out, cap);
}

static int put_range(size_t i, struct buf *out)
{
    const struct config_row *row = config_row(i);
    char lo[64], hi[64];

    switch (row->type) {
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_AUTO_INT:
        show_bound(row, i, row->min, lo, sizeof(lo));
        show_bound(row, i, row->max, hi, sizeof(hi));
        return buf_printf(out, "%s, %s to %s", type_name(row->type), lo, hi);
    case CONFIG_CHOICE:
        return buf_printf(out, "one of %s", row->def);
    case CONFIG_ADDRESS:
        return buf_printf(out, "address%s", row->min == 0 ? ", or off" : "");
    case CONFIG_STRING:
        return buf_printf(out, "text of %lld to %lld bytes", (long long)row->min,
                          (long long)row->max);
    case CONFIG_BOOL:
    case CONFIG_LIST:
        break;
    }
    return buf_append_lit(out, type_name(row->type));
}

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

/* In single quotes nothing is special but the quote itself (YAML 1.1 §7.3.2). */
static int put_quoted(struct str s, struct buf *out)
{
    int rc = buf_append_char(out, '\'');

    for (size_t i = 0; i < s.n; i++) {
        rc |= buf_append_char(out, s.p[i]);
        if (s.p[i] == '\'')
            rc |= buf_append_char(out, '\'');
    }
    return rc | buf_append_char(out, '\'');
}

static int put_list(struct str entries, struct buf *out)
{
    struct str entry;
    const char *sep = "[";
    int rc = 0;

    if (entries.n == 0)
        return buf_append_lit(out, "[]");
    while (str_cut(&entries, '\n', &entry)) {
        rc |= buf_append_lit(out, sep);
        rc |= put_quoted(entry, out);
        sep = ", ";
    }
    return rc | buf_append_lit(out, "]");
}

static int put_value(const struct config *c, size_t i, struct buf *out)
{
    char text[CONFIG_LIST_MAX];
    struct str value = config_format_value(c, i, text, sizeof(text));

    switch (config_row(i)->type) {
    case CONFIG_STRING:
    case CONFIG_ADDRESS:
        return put_quoted(value, out);
    case CONFIG_LIST:
        return put_list(value, out);
    case CONFIG_BOOL:
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
    case CONFIG_AUTO_INT:
    case CONFIG_CHOICE:
        break;
    }
    return buf_append(out, value);
}

static struct str default_text(const struct config_row *row)
{
    struct str def = str_from(row->def);

    if (row->type == CONFIG_CHOICE)
        def.n = str_find(def, '|');
    return def.n > 0 ? def : STR_LIT("empty");
}

int config_print(const struct config *c, struct buf *out)
{
    int rc = buf_append_lit(out, "# Every setting of roostd with its value in force.\n");

    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        const struct config_row *row = config_row(i);

        rc |= buf_append_char(out, '\n');
        rc |= put_comment(row->sentence, out);
        rc |= put_comment(row->paragraph, out);
        rc |= buf_append_lit(out, "# (");
        rc |= put_range(i, out);
        rc |= buf_printf(out, "; default %.*s; %s)\n%s: ", STR_ARG(default_text(row)),
                         row->reload ? "reload applies it" : "needs a restart", row->name);
        rc |= put_value(c, i, out);
        rc |= buf_append_char(out, '\n');
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
             "of these wins. Sizes: 512, 64KiB, 1MiB. Durations:\n250ms, 10s, 5m, 1h.\n");

    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        const struct config_row *row = config_row(i);

        rc |= buf_printf(out, "\n## %s\n\n%s.%s%s\n\n", row->name, row->sentence,
                         row->paragraph[0] ? " " : "", row->paragraph);
        rc |= put_range(i, out);
        rc |= buf_printf(out, "; default `%.*s`; %s\n", STR_ARG(default_text(row)),
                         row->reload ? "reload applies it" : "needs a restart");
    }
    return rc == 0 ? 0 : -1;
}

int config_diff(const struct config *a, const struct config *b, struct buf *reloadable,
                struct buf *restart)
{
    char x[CONFIG_LIST_MAX], y[CONFIG_LIST_MAX];

    for (size_t i = 0; i < config_row_count(); i++) {
        const struct config_row *row = config_row(i);
        struct buf *names = row->reload ? reloadable : restart;

        if (str_equal(config_format_value(a, i, x, sizeof(x)),
                      config_format_value(b, i, y, sizeof(y))))
            continue;
        if (buf_printf(names, "%s%s", names->len > 0 ? ", " : "", row->name) == -1)
            return -1;
    }
    return 0;
}
