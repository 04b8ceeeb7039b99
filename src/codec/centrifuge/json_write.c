/* codec/centrifuge/json_write.c - messages as JSON. */
#include "centrifuge_internal.h"
#include "codec/json.h"

int cf_json_put(struct cf_writer *w, struct str s)
{
    return w->silent ? 0 : buf_append(w->out, s);
}

static int put_number(struct cf_writer *w, bool negative, uint64_t v)
{
    char digits[21], *p = digits + sizeof(digits);

    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    if (negative)
        *--p = '-';
    return cf_json_put(w, (struct str){.p = p, .n = (size_t)(digits + sizeof(digits) - p)});
}

static int put_signed(struct cf_writer *w, int64_t v)
{
    return put_number(w, v < 0, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* A value without its line ends, which are between its tokens. */
static int put_raw(struct cf_writer *w, struct str s)
{
    return w->silent ? 0 : cf_append_raw(CF_JSON, s, w->out);
}

int cf_json_put_name(struct buf *out, bool comma, const struct cf_field *f)
{
    char *p;

    if (buf_reserve(out, f->name_len + 4u) == -1)
        return -1;
    p = out->p + out->len;
    if (comma)
        *p++ = ',';
    *p++ = '"';
    memcpy(p, f->name, f->name_len);
    p += f->name_len;
    *p++ = '"';
    *p++ = ':';
    out->len = (size_t)(p - out->p);
    return 0;
}

static bool is_empty(const struct cf_field *f, const void *message)
{
    const void *member = cf_member_of(f, message);

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        return !*(const bool *)member;
    case CF_U32:
    case CF_I32:
        return *(const uint32_t *)member == 0;
    case CF_U64:
    case CF_I64:
        return *(const uint64_t *)member == 0;
    case CF_TEXT:
    case CF_RAW:
    case CF_SPAN:
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        return ((const struct str *)member)->n == 0;
    case CF_MESSAGE_OF:
        return !cf_has_of(f, message);
    }
    return true;
}

static int put_value(struct cf_writer *w, const struct cf_field *f, const void *message)
{
    const void *member = cf_member_of(f, message);
    const struct str *s = member;

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        return cf_json_put(w, *(const bool *)member ? STR_LIT("true") : STR_LIT("false"));
    case CF_U32:
        return put_number(w, false, *(const uint32_t *)member);
    case CF_U64:
        return put_number(w, false, *(const uint64_t *)member);
    case CF_I32:
        return put_signed(w, *(const int32_t *)member);
    case CF_I64:
        return put_signed(w, *(const int64_t *)member);
    case CF_TEXT:
        return w->silent ? 0 : json_append_string(w->out, *s);
    case CF_RAW:
    case CF_SPAN:
        return put_raw(w, *s);
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
        return s->n > 0 ? put_raw(w, *s) : cf_json_put(w, STR_LIT("[]"));
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        return s->n > 0 ? put_raw(w, *s) : cf_json_put(w, STR_LIT("{}"));
    case CF_MESSAGE_OF:
        return cf_json_write(w, (enum cf_message)f->of, member);
    }
    return -1;
}

/* The member that is the hole, up to it and from behind it. */
static int put_hole(struct cf_writer *w, bool *some)
{
    bool list = w->hole->kind != CF_RAW, empty = list && !w->items;
    int rc = 0;

    w->comma = *some;
    if (list && w->part == CF_HEAD) {
        w->silent = true;
        return 0;
    }
    if (w->part == CF_HEAD) {
        rc = cf_json_put_name(w->out, *some, w->hole);
        if (rc == 0 && w->quoted)
            rc = buf_append_char(w->out, '"');
        w->silent = true;
        return rc;
    }
    w->silent = false;
    if (empty && w->hole->always) {
        if (cf_json_put_name(w->out, *some, w->hole) == -1)
            return -1;
        rc = buf_append_lit(w->out, cf_is_map(w->hole) ? "{}" : "[]");
    }
    if (!empty || w->hole->always)
        *some = true;
    return rc == 0 && w->quoted ? buf_append_char(w->out, '"') : rc;
}

int cf_json_write(struct cf_writer *w, enum cf_message m, const void *in)
{
    bool some = false;

    if (cf_json_put(w, STR_LIT("{")) == -1)
        return -1;
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        const struct cf_field *f = &cf_fields[i];

        if (f == w->hole) {
            if (put_hole(w, &some) == -1)
                return -1;
            continue;
        }
        if (!f->always && is_empty(f, in))
            continue;
        if ((!w->silent && cf_json_put_name(w->out, some, f) == -1) || put_value(w, f, in) == -1)
            return -1;
        some = true;
    }
    return cf_json_put(w, STR_LIT("}"));
}
