/* proc/config_compare.c - settings as JSON, for programs and for who asks what a reload would change:
 * config_load.h. A secret is said to be set, or to have changed, and never shown. */
#include "proc/config_load.h"

#include "codec/json.h"
#include "config_internal.h"

#define SET     "(set)"
#define CHANGED "(changed)"

/* Entries of a list with commas between them. */
static int put_list(struct str entries, struct buf *out)
{
    struct str entry;
    const char *sep = "";

    while (entries.n > 0 && str_cut(&entries, '\n', &entry)) {
        if (buf_append_lit(out, sep) == -1 || buf_append(out, entry) == -1)
            return -1;
        sep = ", ";
    }
    return 0;
}

int config_value_text(const struct config *c, size_t i, struct buf *out)
{
    const struct table_row *row = config_row(i);
    const char *member = (const char *)c + row->offset;
    char text[TABLE_LIST_MAX + 1];

    if (row->type == TABLE_SECRET)
        return buf_append_lit(out, member[0] != '\0' ? SET : "");
    if (row->type == TABLE_KEY && table_key_is_inline(str_from(member)))
        return buf_append_lit(out, SET);
    if (table_is_map(row->type))
        return table_write(&config_table, c, i, out);
    if (table_is_list(row->type))
        return put_list(str_from(member), out);
    return buf_append(out, table_format(&config_table, c, i, text, sizeof(text)));
}

/* `,"name":"text"` */
static int put_member(struct buf *out, const char *name, struct str text)
{
    return buf_printf(out, ",\"%s\":", name) == -1 ? -1 : json_append_string(out, text);
}

static int put_value(struct buf *out, const char *name, const struct config *c, size_t i)
{
    struct buf text = {0};
    int rc = config_value_text(c, i, &text);

    rc |= put_member(out, name, buf_view(&text));
    buf_fini(&text);
    return rc == 0 ? 0 : -1;
}

static int put_name(struct buf *out, const char *name)
{
    bool first = out->len > 0 && out->p[out->len - 1] == '[';

    return buf_printf(out, "%s\n{\"name\":\"%s\"", first ? "" : ",", name);
}

static int put_end(struct buf *out, bool reload)
{
    return buf_printf(out, ",\"applies\":\"%s\"}", reload ? "reload" : "restart");
}

int config_write_json(const struct config *c, struct buf *out)
{
    static struct config defaults; /* not for the stack */
    int rc = buf_append_lit(out, "{\"settings\":[");

    config_defaults(&defaults);
    config_derive(&defaults);
    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        const struct table_row *row = config_row(i);

        rc |= put_name(out, row->name);
        rc |= put_value(out, "value", c, i);
        rc |= put_value(out, "default", &defaults, i);
        rc |= buf_printf(out, ",\"set\":%s,\"is_default\":%s",
                         table_was_set(&config_table, c, i) ? "true" : "false",
                         table_equal(&config_table, c, &defaults, i) ? "true" : "false");
        rc |= put_end(out, row->change != TABLE_RESTART);
    }
    return rc == 0 ? buf_append_lit(out, "]}\n") : -1;
}

/* What is not to be seen has changed when both look the same. */
static int put_change(const struct config *a, const struct config *b, size_t i, struct buf *out)
{
    struct buf before = {0}, after = {0};
    int rc = config_value_text(a, i, &before);

    rc |= config_value_text(b, i, &after);
    if (rc == 0 && str_equal(buf_view(&before), buf_view(&after))) {
        buf_clear(&after);
        rc |= buf_append_lit(&after, CHANGED);
    }
    rc |= put_name(out, config_row(i)->name);
    rc |= put_member(out, "before", buf_view(&before));
    rc |= put_member(out, "after", buf_view(&after));
    buf_fini(&before);
    buf_fini(&after);
    return rc == 0 ? 0 : -1;
}

bool config_row_reloads(const struct config *a, const struct config *b, size_t i)
{
    const struct table_row *row = config_row(i);

    return row->change != TABLE_RESTART &&
           !(row->type == TABLE_MAPS && row->of == &listener_table && config_listeners_moved(a, b));
}

int config_compare_json(const struct config *a, const struct config *b, struct str contents,
                        struct buf *out)
{
    struct str name;
    int rc = buf_append_char(out, '[');

    for (size_t i = 0; i < config_row_count() && rc == 0; i++) {
        if (table_equal(&config_table, a, b, i))
            continue;
        rc |= put_change(a, b, i, out);
        rc |= put_end(out, config_row_reloads(a, b, i));
    }
    while (contents.n > 0 && str_cut(&contents, ',', &name) && rc == 0) {
        int i = config_row_find(str_trim(name));

        if (i < 0 || !table_equal(&config_table, a, b, (size_t)i))
            continue; /* listed above */
        rc |= put_name(out, config_row((size_t)i)->name);
        rc |= put_member(out, "before", STR_LIT("(what the file held)"));
        rc |= put_member(out, "after", STR_LIT(CHANGED));
        rc |= put_end(out, true);
    }
    return rc == 0 ? buf_append_char(out, ']') : -1;
}
