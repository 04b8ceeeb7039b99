/* codec/centrifuge/protobuf_write.c - messages as Protobuf. */
#include "centrifuge_internal.h"

size_t cf_varint_size(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

size_t cf_varint_write(uint64_t v, char *to)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        to[n++] = (char)(0x80 | (v & 0x7f));
    to[n++] = (char)v;
    return n;
}

int cf_protobuf_put(struct cf_writer *w, struct str s)
{
    return buf_append(w->out, s);
}

int cf_protobuf_put_varint(struct cf_writer *w, uint64_t v)
{
    if (buf_reserve(w->out, 10) == -1)
        return -1;
    w->out->len += cf_varint_write(v, w->out->p + w->out->len);
    return 0;
}

int cf_protobuf_put_head(struct cf_writer *w, unsigned number, size_t n)
{
    if (cf_protobuf_put_varint(w, number << 3 | CF_WIRE_BYTES) == -1)
        return -1;
    return cf_protobuf_put_varint(w, n);
}

/* The value of a number's member as it is written. */
static uint64_t number_of(const struct cf_field *f, const void *member)
{
    switch (f->kind) {
    case CF_BOOL:
        return *(const bool *)member;
    case CF_U32:
        return *(const uint32_t *)member;
    case CF_I32:
        return (uint64_t)(int64_t) * (const int32_t *)member;
    default: /* CF_U64, CF_I64 */
        return *(const uint64_t *)member;
    }
}

/* Those fields of a span that are items of f. */
static bool next_item(const struct cf_field *f, struct str *rest, struct str *whole)
{
    struct cf_value v;

    while (rest->n > 0 && cf_protobuf_take(rest, &v) == 0) {
        *whole = v.whole;
        if (v.number == f->number)
            return true;
    }
    return false;
}

static size_t member_size(const struct cf_field *f, const void *message)
{
    const void *member = cf_member_of(f, message);
    struct str s, whole;
    size_t tag = cf_varint_size((uint64_t)f->number << 3), n = 0;
    uint64_t v;

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
    case CF_U32:
    case CF_U64:
    case CF_I32:
    case CF_I64:
        v = number_of(f, member);
        return v != 0 ? tag + cf_varint_size(v) : 0;
    case CF_TEXT:
    case CF_RAW:
    case CF_SPAN:
        s = *(const struct str *)member;
        return s.n > 0 ? tag + cf_varint_size(s.n) + s.n : 0;
    case CF_MESSAGE_OF:
        if (!cf_has_of(f, message))
            return 0;
        n = cf_protobuf_size((enum cf_message)f->of, member);
        return tag + cf_varint_size(n) + n;
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        for (s = *(const struct str *)member; next_item(f, &s, &whole);)
            n += whole.n;
        return n;
    }
    return 0;
}

size_t cf_protobuf_members_size(unsigned first, unsigned end, const void *in)
{
    size_t n = 0;

    for (unsigned i = first; i < end; i++)
        n += member_size(&cf_fields[i], in);
    return n;
}

size_t cf_protobuf_size(enum cf_message m, const void *in)
{
    return cf_protobuf_members_size(cf_layouts[m].first, cf_layouts[m].end, in);
}

static int put_bytes(struct cf_writer *w, const struct cf_field *f, struct str s)
{
    if (s.n == 0)
        return 0;
    return cf_protobuf_put_head(w, f->number, s.n) == -1 ? -1 : cf_protobuf_put(w, s);
}

int cf_protobuf_put_member(struct cf_writer *w, const struct cf_field *f, const void *message)
{
    const void *member = cf_member_of(f, message);
    struct str s, whole;
    uint64_t v;

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
    case CF_U32:
    case CF_U64:
    case CF_I32:
    case CF_I64:
        v = number_of(f, member);
        if (v == 0)
            return 0;
        if (cf_protobuf_put_varint(w, (uint64_t)f->number << 3) == -1)
            return -1;
        return cf_protobuf_put_varint(w, v);
    case CF_TEXT:
    case CF_RAW:
    case CF_SPAN:
        return put_bytes(w, f, *(const struct str *)member);
    case CF_MESSAGE_OF:
        if (!cf_has_of(f, message))
            return 0;
        if (cf_protobuf_put_head(w, f->number, cf_protobuf_size((enum cf_message)f->of, member)) ==
            -1)
            return -1;
        return cf_protobuf_write(w, (enum cf_message)f->of, member);
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        for (s = *(const struct str *)member; next_item(f, &s, &whole);) {
            if (cf_protobuf_put(w, whole) == -1)
                return -1;
        }
        return 0;
    }
    return -1;
}

int cf_protobuf_write(struct cf_writer *w, enum cf_message m, const void *in)
{
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        if (cf_protobuf_put_member(w, &cf_fields[i], in) == -1)
            return -1;
    }
    return 0;
}
