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

int cf_json_put_member(struct cf_writer *w, const struct cf_field *f, bool comma,
                       const void *message)
{
    if (!f->always && is_empty(f, message))
        return 0;
    if (!w->silent && cf_json_put_name(w->out, comma, f) == -1)
        return -1;
    return put_value(w, f, message);
}

/* The list that is the hole: what follows goes into it, what is behind it comes later. */
static int put_hole(struct cf_writer *w, bool *some)
{
    bool comma = *some;

    w->comma = comma;
    w->silent = w->part == CF_HEAD;
    if (w->silent)
        return 0;
    *some = comma || w->items || w->hole->always;
    if (w->items || !w->hole->always)
        return 0;
    if (cf_json_put_name(w->out, comma, w->hole) == -1)
        return -1;
    return buf_append_lit(w->out, cf_is_map(w->hole) ? "{}" : "[]");
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
        if (cf_json_put_member(w, f, some, in) == -1)
            return -1;
        some = some || f->always || !is_empty(f, in);
    }
    return cf_json_put(w, STR_LIT("}"));
}
