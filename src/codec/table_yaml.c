/* codec/table_yaml.c - YAML events into the rows of a table. */
#include "codec/table_yaml.h"

#include <yaml.h>

#include "base/suggest.h"

struct reader { /* one text being read */
    const char *where;
    struct buf *errors;
    yaml_parser_t parser;
    struct table_yaml_seen seen;
    int bad;
};

struct place { /* where in the tables the reader is */
    const struct table *t;
    void *obj;
    char prefix[80]; /* "listeners[1]." inside an item, else "" */
};

static void report(struct buf *errors, const char *where, const char *text)
{
    if (buf_printf(errors, "%s: %s\n", where, text) == -1)
        return;
}

static void report_at(struct reader *r, yaml_mark_t at, const char *text)
{
    char where[512];

    snprintf(where, sizeof(where), "%s:%zu:%zu", r->where, at.line + 1, at.column + 1);
    report(r->errors, where, text);
    r->bad = -1;
}

static void report_row(struct reader *r, yaml_mark_t at, const struct place *p, int row,
                       const char *what)
{
    char text[512];

    snprintf(text, sizeof(text), "%s%s: %s", p->prefix, p->t->rows[row].name, what);
    report_at(r, at, text);
}

void table_unknown(const struct table *t, struct str name, char *out, size_t cap)
{
    struct suggest s;
    size_t n = 0;

    suggest_init(&s, name);
    for (size_t i = 0; i < t->n; i++)
        suggest_offer(&s, t->rows[i].name);

    /* Somebody may have written name=secret, or the secret alone. */
    while (n < MIN(name.n, (size_t)60) &&
           ((name.p[n] >= '0' && name.p[n] <= '9') || name.p[n] == '_' || name.p[n] == '-' ||
            name.p[n] == '.' || ((name.p[n] | 0x20) >= 'a' && (name.p[n] | 0x20) <= 'z')))
        n++;
    if (s.nearest != NULL)
        snprintf(out, cap, "unknown key \"%.*s%s\"; did you mean \"%s\"?", (int)n, name.p,
                 n < name.n ? "..." : "", s.nearest);
    else
        snprintf(out, cap, "unknown key \"%.*s%s\"; %s", (int)n, name.p, n < name.n ? "..." : "",
                 t->help != NULL ? t->help : "");
}

static struct str scalar(const yaml_event_t *e)
{
    return (struct str){(const char *)e->data.scalar.value, e->data.scalar.length};
}

static bool is_null_word(struct str s)
{
    return s.n == 0 || str_equal(s, STR_LIT("~")) || str_equal_nocase(s, STR_LIT("null"));
}

/* YAML 1.2 §10.3.2. In quotes it is text. */
static bool is_null(const yaml_event_t *e)
{
    return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && is_null_word(scalar(e));
}

static int next_event(struct reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e) == 1)
        return 0;
    report_at(r, r->parser.problem_mark,
              r->parser.problem != NULL ? r->parser.problem : "this is not YAML");
    return -1;
}

static int read_mapping(struct reader *r, const struct place *p, yaml_mark_t at);

static void set_scalar(struct reader *r, const struct place *p, int row, const yaml_event_t *e)
{
    char err[384];

    if (row < 0 || is_null(e))
        return;
    r->seen.keys++;
    if (table_set(p->t, p->obj, (size_t)row, scalar(e), err, sizeof(err)) == -1)
        report_row(r, e->start_mark, p, row, err);
}

static void add_entry(struct reader *r, const struct place *p, int row, const yaml_event_t *e)
{
    char err[384];

    if (row < 0)
        return;
    if (!table_is_list(p->t->rows[row].type)) /* refused as a whole; MAPS wants mappings */
        snprintf(err, sizeof(err), "expected a mapping");
    else if (is_null(e))
        snprintf(err, sizeof(err), "an entry is missing (the text null wants quotes)");
    else if (table_list_add(p->t, p->obj, (size_t)row, scalar(e), err, sizeof(err)) == 0)
        return;
    report_row(r, e->start_mark, p, row, err);
}

/* What spans the rows of a mapping that is complete, and those of the items before it. */
static void check_item(struct reader *r, const struct place *p, int row, size_t i, const void *item,
                       yaml_mark_t at)
{
    const struct table_row *desc = &p->t->rows[row];
    const char *key = (const char *)item + desc->of->rows[0].offset;
    char err[384], text[400];

    if (desc->of->check != NULL && desc->of->check(item, err, sizeof(err)) == -1)
        report_row(r, at, p, row, err);
    for (size_t k = 0; desc->of->key && k < i; k++) {
        const char *other = table_maps_item(desc, p->obj, k);

        if (strcmp(other + desc->of->rows[0].offset, key) != 0)
            continue;
        snprintf(text, sizeof(text), "there are two with the %s %s", desc->of->rows[0].name, key);
        report_row(r, at, p, row, text);
        return;
    }
}

/* After the start of the one mapping, at `at`. What was there is replaced. */
static int read_map(struct reader *r, const struct place *p, int row, yaml_mark_t at)
{
    const struct table_row *desc = &p->t->rows[row];
    struct place item = {.t = desc->of, .obj = (char *)p->obj + desc->offset};
    int bad = r->bad;

    snprintf(item.prefix, sizeof(item.prefix), "%.48s%.24s.", p->prefix, desc->name);
    table_default(p->t, p->obj, (size_t)row);
    table_mark(p->t, p->obj, (size_t)row, true);
    r->seen.keys++;
    r->bad = 0;
    if (read_mapping(r, &item, at) == -1)
        return -1;
    if (r->bad == 0)
        check_item(r, p, row, 0, item.obj, at);
    r->bad |= bad;
    return 0;
}

static int add_item(struct reader *r, const struct place *p, int row, yaml_mark_t at)
{
    const struct table_row *desc = &p->t->rows[row];
    struct place item = {.t = desc->of, .obj = table_maps_add(desc, p->obj)};
    size_t i = *table_maps_count(desc, p->obj) - 1;
    int bad = r->bad;
    char text[64];

    if (item.obj == NULL) {
        snprintf(text, sizeof(text), "at most %lld are possible", (long long)desc->max);
        report_row(r, at, p, row, text);
        return -1;
    }
    snprintf(item.prefix, sizeof(item.prefix), "%.48s%.24s[%zu].", p->prefix, desc->name, i);
    r->bad = 0;
    if (read_mapping(r, &item, at) == -1)
        return -1;
    if (r->bad == 0)
        check_item(r, p, row, i, item.obj, at);
    r->bad |= bad;
    return 0;
}

/* One event within a sequence. 1: its end. */
static int read_element(struct reader *r, const struct place *p, int row, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        add_entry(r, p, row, e);
        return 0;
    case YAML_SEQUENCE_END_EVENT:
        return 1;
    case YAML_MAPPING_START_EVENT:
        if (row >= 0 && p->t->rows[row].type == TABLE_MAPS)
            return add_item(r, p, row, e->start_mark);
        break;
    default:
        break;
    }
    report_at(r, e->start_mark, "expected a list of words");
    return -1;
}

static int read_sequence(struct reader *r, const struct place *p, int row, yaml_mark_t at)
{
    bool one =
        row >= 0 && !table_is_list(p->t->rows[row].type) && p->t->rows[row].type != TABLE_MAPS;
    yaml_event_t e;
    int rc = 0;

    if (one)
        report_at(r, at, "expected one value, not a list");
    else if (row >= 0) { /* what was there, from a file perhaps, is replaced */
        table_list_clear(p->t, p->obj, (size_t)row);
        r->seen.keys++;
    }
    while (rc == 0) {
        if (next_event(r, &e) == -1)
            return -1;
        rc = read_element(r, p, one ? -1 : row, &e);
        yaml_event_delete(&e);
    }
    return rc == 1 ? 0 : -1;
}

static int read_value(struct reader *r, const struct place *p, int row)
{
    yaml_event_t e;
    yaml_mark_t at;
    int rc = 0;

    if (next_event(r, &e) == -1)
        return -1;
    at = e.start_mark;
    switch (e.type) {
    case YAML_SCALAR_EVENT:
        set_scalar(r, p, row, &e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        yaml_event_delete(&e);
        return read_sequence(r, p, row, at);
    case YAML_MAPPING_START_EVENT:
        if (row >= 0 && p->t->rows[row].type == TABLE_MAP) {
            rc = read_map(r, p, row, at);
            break;
        }
        report_at(r, at, "expected a value, not a mapping");
        rc = -1;
        break;
    default:
        report_at(r, at, "expected a value; aliases are not supported");
        rc = -1;
        break;
    }
    yaml_event_delete(&e);
    return rc;
}

static int read_key(struct reader *r, const struct place *p, bool *seen, const yaml_event_t *e)
{
    int row = table_find(p->t, scalar(e));
    char text[256];

    if (row < 0) {
        table_unknown(p->t, scalar(e), text, sizeof(text));
        report_at(r, e->start_mark, text);
    } else if (seen[row]) {
        snprintf(text, sizeof(text), "%s%s is set twice", p->prefix, p->t->rows[row].name);
        report_at(r, e->start_mark, text);
    } else {
        seen[row] = true;
    }
    return read_value(r, p, row);
}

/* Rows without a default are in every item. */
static void check_given(struct reader *r, const struct place *p, const bool *seen, yaml_mark_t at)
{
    for (size_t i = 0; i < p->t->n; i++)
        if (p->t->rows[i].def == NULL && !seen[i])
            report_row(r, at, p, (int)i, "is missing");
}

/* After its start, at `at`. */
static int read_mapping(struct reader *r, const struct place *p, yaml_mark_t at)
{
    bool seen[TABLE_ROWS_MAX] = {false};
    yaml_event_t e;
    int rc = 0;

    while (rc == 0) {
        if (next_event(r, &e) == -1)
            return -1;
        if (e.type == YAML_MAPPING_END_EVENT) {
            rc = 1;
        } else if (e.type == YAML_SCALAR_EVENT) {
            rc = read_key(r, p, seen, &e);
        } else {
            report_at(r, e.start_mark, "expected \"name: value\"");
            rc = -1;
        }
        yaml_event_delete(&e);
    }
    if (rc == 1)
        check_given(r, p, seen, at);
    return rc == 1 ? 0 : -1;
}

/* One event outside of everything. row: of table_yaml_value(), or -1 for a file's mapping. */
static int read_top(struct reader *r, const struct place *p, int row, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_MAPPING_START_EVENT:
        if (row >= 0 && p->t->rows[row].type == TABLE_MAP)
            return read_map(r, p, row, e->start_mark);
        if (row >= 0 || r->seen.mapping)
            break;
        r->seen.mapping = true;
        return read_mapping(r, p, e->start_mark);
    case YAML_SEQUENCE_START_EVENT:
        if (row < 0 || p->t->rows[row].type == TABLE_MAP)
            break;
        return read_sequence(r, p, row, e->start_mark);
    case YAML_SCALAR_EVENT:
        if (row < 0 && e->data.scalar.length == 0) /* a file of nothing but comments */
            return 0;
        break;
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    default:
        break;
    }
    report_at(r, e->start_mark,
              row >= 0 && p->t->rows[row].type == TABLE_MAP ? "expected one mapping"
              : row >= 0                                    ? "expected one list"
              : r->seen.mapping                             ? "expected one document"
                                : "expected settings as \"name: value\" lines");
    return -1;
}

static int read_all(struct reader *r, const struct place *p, int row, struct str text)
{
    bool more = true;

    if (yaml_parser_initialize(&r->parser) == 0) {
        report(r->errors, r->where, "out of memory");
        return -1;
    }
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    while (more) {
        yaml_event_t e;

        if (next_event(r, &e) == -1)
            break;
        more = read_top(r, p, row, &e) == 0 && e.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&r->parser);
    return r->bad;
}

int table_yaml(const struct table *t, void *obj, const char *where, struct str text,
               struct table_yaml_seen *seen, struct buf *errors)
{
    struct reader r = {.where = where, .errors = errors};
    struct place p = {.t = t, .obj = obj};
    int rc = read_all(&r, &p, -1, text);

    if (seen != NULL)
        *seen = r.seen;
    return rc;
}

int table_yaml_value(const struct table *t, void *obj, size_t i, const char *where, struct str text,
                     struct buf *errors)
{
    struct reader r = {.where = where, .errors = errors};
    struct place p = {.t = t, .obj = obj};
    char err[384];

    if (text.n > 0 && is_null_word(text))
        return 0;
    if (table_is_map(t->rows[i].type) ||
        (table_is_list(t->rows[i].type) && text.n > 0 && text.p[0] == '['))
        return read_all(&r, &p, (int)i, text);
    if (table_set(t, obj, i, text, err, sizeof(err)) == 0)
        return 0;
    report(errors, where, err);
    return -1;
}
