/* codec/centrifuge/json_read.c - messages from JSON, in one pass. */
#include "centrifuge_internal.h"
#include "codec/json.h"

struct json_reader {
    struct str rest;  /* not read yet */
    struct buf *text; /* has room */
};

static int read_message(struct json_reader *r, enum cf_message m, void *out);

static void skip_space(struct json_reader *r)
{
    for (; r->rest.n > 0; r->rest.p++, r->rest.n--) {
        char c = *r->rest.p;

        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            break;
    }
}

/* Is c the next character that is not white space? It is not taken. */
static bool next_is(struct json_reader *r, char c)
{
    skip_space(r);
    return r->rest.n > 0 && *r->rest.p == c;
}

static bool take(struct json_reader *r, char c)
{
    if (!next_is(r, c))
        return false;
    r->rest.p++;
    r->rest.n--;
    return true;
}

int cf_json_room(struct str in, struct buf *text)
{
    buf_clear(text);
    /* Unescaped it is shorter; views of what is in text must stay good while more is added. */
    if (str_find(in, '\\') < in.n && buf_reserve(text, in.n) == -1)
        return CF_NO_MEMORY;
    return 0;
}

static int text_of(struct json_reader *r, const struct json_value *v, struct str *out)
{
    size_t before = r->text->len;

    if (v->type != JSON_STRING)
        return CF_MALFORMED;
    *out = (struct str){.p = v->raw.p + 1, .n = v->raw.n - 2};
    if (str_find(*out, '\\') == out->n)
        return 0;
    if (json_string(v, r->text) == -1)
        return CF_MALFORMED;
    *out = (struct str){.p = r->text->p + before, .n = r->text->len - before};
    return 0;
}

static int number_of(const struct json_value *v, enum cf_kind kind, void *member)
{
    struct json_value digits = *v;
    bool negative = v->type == JSON_NUMBER && *v->raw.p == '-';
    uint64_t n;

    if (negative)
        digits.raw = str_skip(v->raw, 1);
    if (json_u64(&digits, &n) == -1)
        return CF_MALFORMED;
    if (kind == CF_U32 && !negative && n <= UINT32_MAX)
        *(uint32_t *)member = (uint32_t)n;
    else if (kind == CF_U64 && !negative)
        *(uint64_t *)member = n;
    else if (kind == CF_I32 && n <= (uint64_t)INT32_MAX + negative)
        *(int32_t *)member = (int32_t)(negative ? -(int64_t)n : (int64_t)n);
    else if (kind == CF_I64 && n <= (uint64_t)INT64_MAX + negative)
        *(int64_t *)member = (int64_t)(negative ? 0 - n : n);
    else
        return CF_MALFORMED;
    return 0;
}

/* A scalar that is not null. */
static int scalar_of(struct json_reader *r, const struct cf_field *f, const struct json_value *v,
                     void *member)
{
    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        *(bool *)member = v->type == JSON_TRUE;
        return v->type == JSON_TRUE || v->type == JSON_FALSE ? 0 : CF_MALFORMED;
    case CF_U32:
    case CF_U64:
    case CF_I32:
    case CF_I64:
        return number_of(v, (enum cf_kind)f->kind, member);
    case CF_TEXT:
        return text_of(r, v, member);
    case CF_SPAN:
        if (v->type != JSON_OBJECT)
            return CF_MALFORMED;
        break;
    case CF_RAW:
        break;
    case CF_MESSAGE_OF:
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        return CF_MALFORMED; /* they begin with a bracket, which read_member() has looked for */
    }
    *(struct str *)member = v->raw;
    return 0;
}

/* The name before a member's value, up to the value. */
static int read_name(struct json_reader *r, struct json_value *name)
{
    if (json_take(&r->rest, name) == -1 || name->type != JSON_STRING || !take(r, ':'))
        return CF_MALFORMED;
    return 0;
}

/* One item, with its key if it is a map's. */
static int read_item(struct json_reader *r, const struct cf_field *f, struct str *key, void *item)
{
    enum cf_kind kind = cf_item_kind(f);
    struct json_value v;
    int rc;

    if (cf_is_map(f)) {
        rc = read_name(r, &v);
        if (rc == 0)
            rc = text_of(r, &v, key);
        if (rc < 0)
            return rc;
    }
    cf_clear((enum cf_message)f->of, item);
    if (kind == CF_MESSAGE_OF && next_is(r, '{'))
        return read_message(r, (enum cf_message)f->of, item);
    if (json_take(&r->rest, &v) == -1)
        return CF_MALFORMED;
    if (v.type == JSON_NULL)
        return 0;
    if (kind == CF_TEXT)
        return text_of(r, &v, item);
    *(struct str *)item = v.raw;
    return kind == CF_SPAN && v.type == JSON_OBJECT ? 0 : CF_MALFORMED;
}

static char bracket_of(const struct cf_field *f)
{
    return cf_is_map(f) ? '{' : '[';
}

static char closing_of(const struct cf_field *f)
{
    return cf_is_map(f) ? '}' : ']';
}

/* Looks at every item, keeps none. */
static int read_items(struct json_reader *r, const struct cf_field *f, struct str *out)
{
    const char *start = r->rest.p;
    size_t before = r->text->len;
    union cf_item item;
    struct str key;
    int rc;

    if (!take(r, bracket_of(f)))
        return CF_MALFORMED;
    if (!take(r, closing_of(f))) {
        do {
            rc = read_item(r, f, &key, &item);
            r->text->len = before;
            if (rc < 0)
                return rc;
        } while (take(r, ','));
        if (!take(r, closing_of(f)))
            return CF_MALFORMED;
    }
    *out = (struct str){.p = start, .n = (size_t)(r->rest.p - start)};
    return 0;
}

static int read_member(struct json_reader *r, const struct cf_field *f, void *message)
{
    void *member = cf_member(f, message);
    struct json_value v;

    if (f->kind == CF_MESSAGE_OF && next_is(r, '{')) {
        *cf_has(f, message) = true;
        return read_message(r, (enum cf_message)f->of, member);
    }
    if (f->kind > CF_MESSAGE_OF && next_is(r, bracket_of(f)))
        return read_items(r, f, member);
    if (json_take(&r->rest, &v) == -1)
        return CF_MALFORMED;
    if (v.type != JSON_NULL || f->kind == CF_RAW)
        return scalar_of(r, f, &v, member);
    cf_clear_member(f, message);
    return 0;
}

/* The field with that name, or NULL. *hint: where to look first. */
static const struct cf_field *field_by_name(enum cf_message m, const struct json_value *name,
                                            const struct cf_field **hint)
{
    const struct cf_field *first = cf_fields + cf_layouts[m].first,
                          *end = cf_fields + cf_layouts[m].end, *f = *hint;
    struct str inside = {.p = name->raw.p + 1, .n = name->raw.n - 2};
    bool plain = str_find(inside, '\\') == inside.n;

    for (size_t n = (size_t)(end - first); n > 0; n--, f++) {
        if (f == NULL || f == end)
            f = first;
        if (plain ? str_equal(inside, (struct str){.p = f->name, .n = f->name_len})
                  : json_string_equal(name, (struct str){.p = f->name, .n = f->name_len})) {
            *hint = f + 1;
            return f;
        }
    }
    return NULL;
}

/* At '{'. */
static int read_message(struct json_reader *r, enum cf_message m, void *out)
{
    const struct cf_field *f, *hint = NULL;
    struct json_value v;
    int rc;

    if (!take(r, '{'))
        return CF_MALFORMED;
    if (take(r, '}'))
        return 0;
    do {
        rc = read_name(r, &v);
        if (rc < 0)
            return rc;
        f = field_by_name(m, &v, &hint);
        if (f != NULL)
            rc = read_member(r, f, out);
        else if (json_take(&r->rest, &v) == -1)
            rc = CF_MALFORMED;
        if (rc < 0)
            return rc;
    } while (take(r, ','));
    return take(r, '}') ? 0 : CF_MALFORMED;
}

int cf_json_read(enum cf_message m, struct str in, struct buf *text, void *out)
{
    struct json_reader r = {.rest = in, .text = text};
    int rc;

    cf_clear(m, out);
    rc = read_message(&r, m, out);
    if (rc == 0) {
        skip_space(&r);
        if (r.rest.n > 0)
            rc = CF_MALFORMED;
    }
    return rc;
}

/* At the bracket before the first item, at ',' or the closing bracket behind each. >0: in front of the
 * next one. */
static int begin_item(struct json_reader *r, const struct cf_field *f)
{
    if (r->rest.n == 0)
        return 0;
    if (take(r, bracket_of(f)))
        return !take(r, closing_of(f));
    if (take(r, ','))
        return 1;
    return take(r, closing_of(f)) ? 0 : CF_MALFORMED;
}

int cf_json_next(const struct cf_field *f, struct str *rest, struct buf *text, struct str *key,
                 void *item)
{
    struct json_reader r = {.rest = *rest, .text = text};
    int more = begin_item(&r, f), rc = 0;

    if (more > 0)
        rc = read_item(&r, f, key, item);
    *rest = more > 0 && rc == 0 ? r.rest : STR_NULL;
    return rc < 0 ? rc : more;
}

int cf_json_each(const struct cf_field *f, struct str *rest, struct buf *text, struct str *key,
                 void *item)
{
    struct json_reader r = {.rest = *rest};
    struct json_value v;
    int more = begin_item(&r, f);

    /* How long is it? Only then it is known how much room it needs. */
    if (more > 0 && ((cf_is_map(f) && read_name(&r, &v) < 0) || json_take(&r.rest, &v) == -1))
        more = CF_MALFORMED;
    if (more > 0 &&
        cf_json_room((struct str){.p = rest->p, .n = (size_t)(r.rest.p - rest->p)}, text) < 0)
        return CF_NO_MEMORY;
    return more > 0 ? cf_json_next(f, rest, text, key, item) : more;
}
