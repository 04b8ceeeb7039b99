/* base/table.c - rows: finding, defaults, reading numbers, words and truth. */
#include "base/suggest.h"
#include "base/units.h"
#include "table_internal.h"

/* What the user wrote, fit for a terminal: control characters and quotes become '?'; long text is
 * cut. */
static const char *shown(struct str s, char out[64])
{
    size_t n = MIN(s.n, (size_t)59);

    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        out[i] = c < 0x20 || c == 0x7f || c == '"' ? '?' : s.p[i];
    }
    snprintf(out + n, 64 - n, "%s", s.n > n ? "..." : "");
    return out;
}

int table_expected(const char *what, struct str got, char *err, size_t errcap)
{
    char text[64];

    snprintf(err, errcap, "expected %s, got \"%s\"", what, shown(got, text));
    return -1;
}

static void format_number(enum table_type type, int64_t v, char *out, size_t cap)
{
    if (type == TABLE_SIZE || type == TABLE_AUTO_SIZE)
        units_format_size(v, out, cap);
    else if (type == TABLE_DURATION)
        units_format_duration(v, out, cap);
    else
        snprintf(out, cap, "%lld", (long long)v);
}

/* What a number of this type looks like. */
static const char *number_kind(enum table_type type)
{
    switch (type) {
    case TABLE_SIZE:
        return "a size such as 512, 64KiB, 1MiB or 2GiB";
    case TABLE_AUTO_SIZE:
        return "auto or a size such as 512, 64KiB, 1MiB or 2GiB";
    case TABLE_DURATION:
        return "a duration such as 250ms, 10s, 5m or 1h";
    case TABLE_RATE:
        return "a number";
    case TABLE_AUTO_INT:
        return "auto or a whole number";
    case TABLE_INT:
    case TABLE_BOOL:
    case TABLE_STRING:
    case TABLE_PATH:
    case TABLE_SECRET:
    case TABLE_KEY:
    case TABLE_LIST:
    case TABLE_TOKENS:
    case TABLE_ORIGINS:
    case TABLE_FILES:
    case TABLE_LINES:
    case TABLE_ADDRESS:
    case TABLE_CHOICE:
    case TABLE_MAPS:
    case TABLE_MAP:
        break;
    }
    return "a whole number";
}

/* Out of range, or no number at all. */
static int bad_number(const struct table_row *row, bool parsed, struct str value, char *err,
                      size_t errcap)
{
    bool united =
        row->type == TABLE_SIZE || row->type == TABLE_DURATION || row->type == TABLE_AUTO_SIZE;
    char lo[32], hi[32], what[128];

    format_number(row->type, row->min, lo, sizeof(lo));
    format_number(row->type, row->max, hi, sizeof(hi));
    if (united && !parsed)
        snprintf(what, sizeof(what), "%s", number_kind(row->type));
    else if (united)
        snprintf(what, sizeof(what), "a value from %s to %s", lo, hi);
    else
        snprintf(what, sizeof(what), "%s from %s to %s", number_kind(row->type), lo, hi);
    return table_expected(what, value, err, errcap);
}

static int parse_number(enum table_type type, struct str s, int64_t *out)
{
    uint64_t v;

    if (type == TABLE_SIZE || type == TABLE_AUTO_SIZE)
        return units_parse_size(s, out);
    if (type == TABLE_DURATION)
        return units_parse_duration(s, out);
    if (str_to_u64(s, &v) == -1 || v > INT64_MAX)
        return -1;
    *out = (int64_t)v;
    return 0;
}

static bool has_auto(enum table_type type)
{
    return type == TABLE_AUTO_INT || type == TABLE_AUTO_SIZE;
}

static int set_number(const struct table_row *row, int64_t *member, struct str value, char *err,
                      size_t errcap)
{
    int64_t v = 0;

    if (has_auto(row->type) && str_equal_nocase(value, STR_LIT("auto"))) {
        *member = 0;
        return 0;
    }
    if (parse_number(row->type, value, &v) == -1)
        return bad_number(row, false, value, err, errcap);
    if (v < row->min || v > row->max)
        return bad_number(row, true, value, err, errcap);
    *member = v;
    return 0;
}

static int set_rate(const struct table_row *row, double *member, struct str value, char *err,
                    size_t errcap)
{
    struct str rest = value;
    double v;

    if (str_take_number(&rest, &v) == -1 || rest.n > 0 || v < (double)row->min ||
        v > (double)row->max)
        return bad_number(row, true, value, err, errcap);
    *member = v;
    return 0;
}

static int set_bool(bool *member, struct str value, char *err, size_t errcap)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (int k = 0; k < 2; k++) {
            if (str_equal_nocase(value, str_from(words[i][k]))) {
                *member = k == 1;
                return 0;
            }
        }
    }
    return table_expected("true or false", value, err, errcap);
}

/* The words of a CHOICE, without their second spellings, separated by sep. */
static void choice_words(const struct table_row *row, const char *sep, char *out, size_t cap)
{
    struct str words = str_from(row->def), word, first;
    size_t n = 0;

    while (str_cut(&words, '|', &word) && n < cap) {
        str_cut(&word, '=', &first);
        n += (size_t)snprintf(out + n, cap - n, "%s%.*s", n > 0 ? sep : "", STR_ARG(first));
    }
}

/* The word may be a slip of one of those. */
static void suggest_choice(const struct table_row *row, struct str value, struct suggest *s)
{
    struct str words = str_from(row->def), word;
    const char *at = row->def;
    char text[64];

    suggest_init(s, value);
    while (str_cut(&words, '|', &word)) {
        const char *before = s->nearest;

        word.n = str_find(word, '=');
        snprintf(text, sizeof(text), "%.*s", STR_ARG(word));
        suggest_offer(s, text);
        if (s->nearest != before) /* text is about to go */
            s->nearest = at;
        at = words.p;
    }
}

static int set_choice(const struct table_row *row, int *member, struct str value, char *err,
                      size_t errcap)
{
    struct str words = str_from(row->def), word, spelling;
    char what[160], list[128];
    struct suggest s;
    size_t n;

    for (int i = 0; str_cut(&words, '|', &word); i++) {
        while (str_cut(&word, '=', &spelling)) {
            if (str_equal_nocase(spelling, value)) {
                *member = i;
                return 0;
            }
        }
    }
    choice_words(row, "|", list, sizeof(list));
    snprintf(what, sizeof(what), "one of %s", list);
    table_expected(what, value, err, errcap);
    suggest_choice(row, value, &s);
    n = str_from(err).n;
    if (s.nearest != NULL)
        snprintf(err + n, errcap - n, "; did you mean %.*s?", (int)strcspn(s.nearest, "|="),
                 s.nearest);
    return -1;
}

bool table_is_list(enum table_type type)
{
    return type == TABLE_LIST || type == TABLE_TOKENS || type == TABLE_ORIGINS ||
           type == TABLE_FILES || type == TABLE_LINES;
}

bool table_is_map(enum table_type type)
{
    return type == TABLE_MAPS || type == TABLE_MAP;
}

int table_find(const struct table *t, struct str name)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_equal(str_from(t->rows[i].name), name))
            return (int)i;
    return -1;
}

bool table_was_set(const struct table *t, const void *obj, size_t i)
{
    return t->set != TABLE_NO_SET && ((const bool *)obj + t->set)[i];
}

void table_mark(const struct table *t, void *obj, size_t i, bool set)
{
    if (t->set != TABLE_NO_SET)
        ((bool *)obj + t->set)[i] = set;
}

static int set_member(const struct table_row *row, char *member, bool replace, struct str value,
                      char *err, size_t errcap)
{
    switch (row->type) {
    case TABLE_BOOL:
        return set_bool((bool *)member, value, err, errcap);
    case TABLE_INT:
    case TABLE_SIZE:
    case TABLE_DURATION:
    case TABLE_AUTO_INT:
    case TABLE_AUTO_SIZE:
        return set_number(row, (int64_t *)(void *)member, value, err, errcap);
    case TABLE_RATE:
        return set_rate(row, (double *)(void *)member, value, err, errcap);
    case TABLE_STRING:
    case TABLE_PATH:
    case TABLE_SECRET:
    case TABLE_KEY:
    case TABLE_ADDRESS:
        return table_set_text(row, member, value, err, errcap);
    case TABLE_LIST:
    case TABLE_TOKENS:
    case TABLE_ORIGINS:
    case TABLE_FILES:
    case TABLE_LINES:
        return table_set_list(row, member, replace, value, err, errcap);
    case TABLE_CHOICE:
        return set_choice(row, (int *)(void *)member, value, err, errcap);
    case TABLE_MAPS:
        return table_expected("a list of mappings", value, err, errcap);
    case TABLE_MAP:
        break;
    }
    return table_expected("a mapping", value, err, errcap);
}

int table_set(const struct table *t, void *obj, size_t i, struct str value, char *err,
              size_t errcap)
{
    const struct table_row *row = &t->rows[i];
    /* The first line replaces the default. */
    bool replace = row->type != TABLE_LINES || !table_was_set(t, obj, i);

    if (set_member(row, (char *)obj + row->offset, replace, value, err, errcap) == -1)
        return -1;
    /* "auto" is what nobody has to say. */
    table_mark(t, obj, i, !has_auto(row->type) || !str_equal_nocase(value, STR_LIT("auto")));
    return 0;
}

void table_list_clear(const struct table *t, void *obj, size_t i)
{
    memset((char *)obj + t->rows[i].offset, 0, t->rows[i].size);
    table_mark(t, obj, i, true);
}

int table_list_add(const struct table *t, void *obj, size_t i, struct str entry, char *err,
                   size_t errcap)
{
    const struct table_row *row = &t->rows[i];

    table_mark(t, obj, i, true);
    return table_add_entry(row, (char *)obj + row->offset, entry, err, errcap);
}

size_t *table_maps_count(const struct table_row *row, void *obj)
{
    return (size_t *)(void *)((char *)obj + row->offset);
}

void *table_maps_item(const struct table_row *row, void *obj, size_t i)
{
    return (char *)obj + row->offset + sizeof(size_t) + i * row->of->size;
}

void *table_maps_add(const struct table_row *row, void *obj)
{
    size_t *n = table_maps_count(row, obj);
    void *item;

    if (*n >= (size_t)row->max)
        return NULL;
    item = table_maps_item(row, obj, (*n)++);
    table_defaults(row->of, item);
    return item;
}

struct str table_default_text(const struct table_row *row)
{
    struct str def = str_from(row->def);

    if (row->type == TABLE_CHOICE) {
        def.n = str_find(def, '|');
        def.n = str_find(def, '=');
    }
    return def;
}

void table_default(const struct table *t, void *obj, size_t i)
{
    const struct table_row *row = &t->rows[i];
    struct str def = table_default_text(row);
    char err[256];

    memset((char *)obj + row->offset, 0, row->size);
    if (row->type == TABLE_MAP)
        table_defaults(row->of, (char *)obj + row->offset);
    if (!table_is_map(row->type) && row->def != NULL && (def.n > 0 || !table_is_list(row->type)) &&
        table_set(t, obj, i, def, err, sizeof(err)) == -1) {
        fprintf(stderr, "default of %s: %s\n", row->name, err);
        abort(); /* a wrong row of the table: the first test finds it */
    }
    table_mark(t, obj, i, false);
}

void table_defaults(const struct table *t, void *obj)
{
    memset(obj, 0, t->size);
    for (size_t i = 0; i < t->n; i++)
        table_default(t, obj, i);
}
