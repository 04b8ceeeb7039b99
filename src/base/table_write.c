/* base/table_write.c - members as text and as YAML. */
#include "base/units.h"
#include "table_internal.h"

static void format_number(const struct table_row *row, int64_t v, char *out, size_t cap)
{
    if (row->type == TABLE_SIZE || row->type == TABLE_AUTO_SIZE)
        units_format_size(v, out, cap);
    else if (row->type == TABLE_DURATION)
        units_format_duration(v, out, cap);
    else if (row->type == TABLE_AUTO_INT && v == 0)
        snprintf(out, cap, "auto");
    else
        snprintf(out, cap, "%lld", (long long)v);
}

/* The shortest digits that read back as the same number. */
static void format_rate(double rate, char *out, size_t cap)
{
    for (int digits = 0; digits <= 29; digits++) {
        struct str text;
        double back = 0;

        snprintf(out, cap, "%.*f", digits, rate);
        text = str_from(out);
        if (str_take_number(&text, &back) == 0 && !(back < rate) && !(back > rate))
            return;
    }
}

static void format_choice(const struct table_row *row, const char *member, char *out, size_t cap)
{
    struct str words = str_from(row->def), word = STR_NULL;
    int choice;

    memcpy(&choice, member, sizeof(choice));
    while (choice-- >= 0 && str_cut(&words, '|', &word))
        ;
    word.n = str_find(word, '=');
    snprintf(out, cap, "%.*s", STR_ARG(word));
}

struct str table_format(const struct table *t, const void *obj, size_t i, char *out, size_t cap)
{
    const struct table_row *row = &t->rows[i];
    const char *member = (const char *)obj + row->offset;
    int64_t number = 0;
    double rate = 0;

    out[0] = '\0';
    switch (row->type) {
    case TABLE_BOOL:
        snprintf(out, cap, "%s", *(const bool *)member ? "true" : "false");
        break;
    case TABLE_AUTO_SIZE:
        if (!table_was_set(t, obj, i)) {
            snprintf(out, cap, "auto");
            break;
        }
        memcpy(&number, member, sizeof(number));
        format_number(row, number, out, cap);
        break;
    case TABLE_INT:
    case TABLE_SIZE:
    case TABLE_DURATION:
    case TABLE_AUTO_INT:
        memcpy(&number, member, sizeof(number));
        format_number(row, number, out, cap);
        break;
    case TABLE_RATE:
        memcpy(&rate, member, sizeof(rate));
        format_rate(rate, out, cap);
        break;
    case TABLE_SECRET:
        snprintf(out, cap, "%s", member[0] != '\0' ? TABLE_HIDDEN : "");
        break;
    case TABLE_STRING:
    case TABLE_PATH:
    case TABLE_KEY:
    case TABLE_LIST:
    case TABLE_TOKENS:
    case TABLE_ORIGINS:
    case TABLE_FILES:
    case TABLE_LINES:
    case TABLE_ADDRESS:
        snprintf(out, cap, "%s", member);
        break;
    case TABLE_CHOICE:
        format_choice(row, member, out, cap);
        break;
    case TABLE_MAPS:
    case TABLE_MAP:
        break;
    }
    return str_from(out);
}

bool table_equal(const struct table *t, const void *a, const void *b, size_t i)
{
    const struct table_row *row = &t->rows[i];

    if (row->type == TABLE_AUTO_SIZE && !table_was_set(t, a, i) && !table_was_set(t, b, i))
        return true;
    if (row->type == TABLE_AUTO_SIZE && table_was_set(t, a, i) != table_was_set(t, b, i))
        return false;
    /* Members are cleared before they are written. */
    return memcmp((const char *)a + row->offset, (const char *)b + row->offset, row->size) == 0;
}

/* In single quotes nothing is special but the quote itself (YAML 1.1 §7.3.2). */
static int write_quoted(struct str s, struct buf *out)
{
    if (buf_append_char(out, '\'') == -1)
        return -1;
    for (size_t i = 0; i < s.n; i++)
        if (buf_append_char(out, s.p[i]) == -1 ||
            (s.p[i] == '\'' && buf_append_char(out, '\'') == -1))
            return -1;
    return buf_append_char(out, '\'');
}

/* PEM on one line. */
static int write_key(struct str s, struct buf *out)
{
    if (!table_key_is_inline(s))
        return write_quoted(s, out);
    if (buf_append_char(out, '"') == -1)
        return -1;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n'
                ? buf_append_lit(out, "\\n") == -1
                : ((s.p[i] == '"' || s.p[i] == '\\') && buf_append_char(out, '\\') == -1) ||
                      buf_append_char(out, s.p[i]) == -1)
            return -1;
    return buf_append_char(out, '"');
}

static int write_list(struct str entries, struct buf *out)
{
    struct str entry;
    const char *sep = "[";

    if (entries.n == 0)
        return buf_append_lit(out, "[]");
    while (str_cut(&entries, '\n', &entry)) {
        if (buf_append_lit(out, sep) == -1 || write_quoted(entry, out) == -1)
            return -1;
        sep = ", ";
    }
    return buf_append_lit(out, "]");
}

/* What is as by default is left out, or namespaces would be unreadable. */
static int write_map(const struct table *t, const void *item, struct buf *out)
{
    void *plain = calloc(1, t->size);
    const char *sep = "";
    int rc = plain != NULL ? buf_append_lit(out, "{") : -1;

    if (rc == 0)
        table_defaults(t, plain);
    for (size_t i = 0; i < t->n && rc == 0; i++) {
        if (t->rows[i].def != NULL && table_equal(t, plain, item, i))
            continue;
        rc = buf_printf(out, "%s%s: ", sep, t->rows[i].name) == -1 ? -1
                                                                   : table_write(t, item, i, out);
        sep = ", ";
    }
    free(plain);
    return rc == 0 ? buf_append_lit(out, "}") : -1;
}

static int write_maps(const struct table_row *row, void *obj, struct buf *out)
{
    size_t n = *table_maps_count(row, obj);

    if (buf_append_lit(out, "[") == -1)
        return -1;
    for (size_t i = 0; i < n; i++)
        if ((i > 0 && buf_append_lit(out, ", ") == -1) ||
            write_map(row->of, table_maps_item(row, obj, i), out) == -1)
            return -1;
    return buf_append_lit(out, "]");
}

int table_write(const struct table *t, const void *obj, size_t i, struct buf *out)
{
    const struct table_row *row = &t->rows[i];
    char text[4096];

    switch (row->type) {
    case TABLE_STRING:
    case TABLE_PATH:
    case TABLE_SECRET:
    case TABLE_ADDRESS:
        return write_quoted(table_format(t, obj, i, text, sizeof(text)), out);
    case TABLE_KEY:
        return write_key(table_format(t, obj, i, text, sizeof(text)), out);
    case TABLE_LIST:
    case TABLE_TOKENS:
    case TABLE_ORIGINS:
    case TABLE_FILES:
    case TABLE_LINES:
        return write_list(str_from((const char *)obj + row->offset), out);
    case TABLE_MAPS:
        return write_maps(row, (void *)(uintptr_t)obj, out);
    case TABLE_MAP:
        return write_map(row->of, (const char *)obj + row->offset, out);
    case TABLE_BOOL:
    case TABLE_INT:
    case TABLE_SIZE:
    case TABLE_DURATION:
    case TABLE_RATE:
    case TABLE_AUTO_INT:
    case TABLE_AUTO_SIZE:
    case TABLE_CHOICE:
        break;
    }
    return buf_append(out, table_format(t, obj, i, text, sizeof(text)));
}

static int write_words(const struct table_row *row, struct buf *out)
{
    struct str words = str_from(row->def), word;
    const char *sep = "one of ";

    while (str_cut(&words, '|', &word)) {
        word.n = str_find(word, '=');
        if (buf_printf(out, "%s%.*s", sep, STR_ARG(word)) == -1)
            return -1;
        sep = "|";
    }
    return 0;
}

int table_write_type(const struct table_row *row, struct buf *out)
{
    static const char *const names[] = {
        [TABLE_BOOL] = "true or false",
        [TABLE_INT] = "whole number",
        [TABLE_SIZE] = "size",
        [TABLE_DURATION] = "duration",
        [TABLE_RATE] = "number",
        [TABLE_AUTO_INT] = "auto or a whole number",
        [TABLE_AUTO_SIZE] = "auto or a size",
        [TABLE_STRING] = "text",
        [TABLE_PATH] = "file",
        [TABLE_SECRET] = "secret text",
        [TABLE_KEY] = "public key in PEM, or the name of its file",
        [TABLE_LIST] = "list of words",
        [TABLE_TOKENS] = "list of tokens",
        [TABLE_ORIGINS] = "list of origins",
        [TABLE_FILES] = "list of files",
        [TABLE_LINES] = "lines of text",
        [TABLE_ADDRESS] = "address",
        [TABLE_CHOICE] = "one of",
        [TABLE_MAPS] = "list of mappings",
        [TABLE_MAP] = "mapping",
    };
    char lo[64], hi[64];

    switch (row->type) {
    case TABLE_INT:
    case TABLE_SIZE:
    case TABLE_DURATION:
    case TABLE_RATE:
    case TABLE_AUTO_INT:
    case TABLE_AUTO_SIZE:
        format_number(row, row->min, lo, sizeof(lo));
        format_number(row, row->max, hi, sizeof(hi));
        return buf_printf(out, "%s, %s to %s", names[row->type], lo, hi);
    case TABLE_CHOICE:
        return write_words(row, out);
    case TABLE_ADDRESS:
        return buf_printf(out, "address%s", row->min == 0 ? ", or off" : "");
    case TABLE_STRING:
    case TABLE_PATH:
    case TABLE_SECRET:
        return buf_printf(out, "%s of %lld to %lld bytes",
                          row->type == TABLE_PATH ? "file name" : names[row->type],
                          (long long)row->min, (long long)row->max);
    case TABLE_BOOL:
    case TABLE_KEY:
    case TABLE_LIST:
    case TABLE_TOKENS:
    case TABLE_ORIGINS:
    case TABLE_FILES:
    case TABLE_LINES:
    case TABLE_MAPS:
    case TABLE_MAP:
        break;
    }
    return buf_append_lit(out, names[row->type]);
}
