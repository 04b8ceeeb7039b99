/* codec/centrifuge/protobuf_read.c - messages from Protobuf. */
#include "base/utf8.h"
#include "centrifuge_internal.h"

int cf_varint(struct str *rest, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < rest->n && i < 10; i++) {
        uint8_t c = (uint8_t)rest->p[i];

        if (i == 9 && c > 1) /* more than 64 bits */
            return -1;
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *out = v;
            *rest = str_skip(*rest, i + 1);
            return 0;
        }
    }
    return -1;
}

static int take_bytes(struct str *rest, uint64_t n, struct str *out)
{
    if (n > rest->n)
        return -1;
    *out = (struct str){.p = rest->p, .n = (size_t)n};
    *rest = str_skip(*rest, (size_t)n);
    return 0;
}

int cf_protobuf_take(struct str *rest, struct cf_value *out)
{
    const char *start = rest->p;
    uint64_t tag, n;
    int rc = -1;

    if (cf_varint(rest, &tag) == -1 || tag > UINT32_MAX || tag >> 3 == 0)
        return -1;
    out->number = (uint32_t)tag >> 3;
    out->wire = tag & 7;
    out->bytes = STR_NULL;
    switch (out->wire) {
    case CF_WIRE_VARINT:
        rc = cf_varint(rest, &out->varint);
        break;
    case CF_WIRE_64:
        rc = take_bytes(rest, 8, &out->bytes);
        break;
    case CF_WIRE_BYTES:
        rc = cf_varint(rest, &n) == -1 ? -1 : take_bytes(rest, n, &out->bytes);
        break;
    case CF_WIRE_32:
        rc = take_bytes(rest, 4, &out->bytes);
        break;
    } /* others, groups among them, are refused */
    out->whole = (struct str){.p = start, .n = (size_t)(rest->p - start)};
    return rc;
}

static int number_of(enum cf_kind kind, uint64_t v, void *member)
{
    int64_t i = (int64_t)v;

    if (kind == CF_BOOL)
        *(bool *)member = v != 0;
    else if (kind == CF_U64)
        *(uint64_t *)member = v;
    else if (kind == CF_I64)
        *(int64_t *)member = i;
    else if (kind == CF_U32 && v <= UINT32_MAX)
        *(uint32_t *)member = (uint32_t)v;
    else if (kind == CF_I32 && i >= INT32_MIN && i <= INT32_MAX)
        *(int32_t *)member = (int32_t)i;
    else
        return CF_MALFORMED;
    return 0;
}

static int text_of(const struct cf_value *v, struct str *out)
{
    if (!utf8_valid(v->bytes))
        return CF_MALFORMED;
    *out = v->bytes;
    return 0;
}

static int read_message(enum cf_message m, struct str in, void *out);

static int read_value(const struct cf_field *f, const struct cf_value *v, void *item)
{
    if (cf_item_kind(f) == CF_MESSAGE_OF)
        return read_message((enum cf_message)f->of, v->bytes, item);
    if (cf_item_kind(f) == CF_TEXT)
        return text_of(v, item);
    *(struct str *)item = v->bytes;
    return 0;
}

/* key = 1, value = 2 of a map's entry. Either may be missing. */
static int read_entry(const struct cf_field *f, struct str in, struct str *key, void *item)
{
    struct cf_value v;
    int rc = 0;

    *key = STR_LIT("");
    while (in.n > 0 && rc == 0) {
        if (cf_protobuf_take(&in, &v) == -1)
            return CF_MALFORMED;
        if (v.number > 2)
            continue;
        if (v.wire != CF_WIRE_BYTES)
            return CF_MALFORMED;
        rc = v.number == 1 ? text_of(&v, key) : read_value(f, &v, item);
    }
    return rc;
}

static int read_item(const struct cf_field *f, const struct cf_value *v, struct str *key,
                     void *item)
{
    cf_clear((enum cf_message)f->of, item);
    return cf_is_map(f) ? read_entry(f, v->bytes, key, item) : read_value(f, v, item);
}

/* in: the message that f is a member of. */
static int read_member(const struct cf_field *f, const struct cf_value *v, struct str in,
                       void *message)
{
    void *member = cf_member(f, message);
    union cf_item item;
    struct str key;
    int rc = 0;

    if (v->wire != (f->kind <= CF_I64 ? CF_WIRE_VARINT : CF_WIRE_BYTES))
        return CF_MALFORMED;
    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
    case CF_U32:
    case CF_U64:
    case CF_I32:
    case CF_I64:
        return number_of((enum cf_kind)f->kind, v->varint, member);
    case CF_TEXT:
        return text_of(v, member);
    case CF_RAW:
    case CF_SPAN:
        *(struct str *)member = v->bytes;
        return 0;
    case CF_MESSAGE_OF:
        *cf_has(f, message) = true;
        return read_message((enum cf_message)f->of, v->bytes, member);
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        /* Its items may stand anywhere between the others: all of it is what they are found in. */
        *(struct str *)member = in;
        rc = read_item(f, v, &key, &item);
        break;
    }
    return rc;
}

/* Into what is there already. */
static int read_message(enum cf_message m, struct str in, void *out)
{
    const struct cf_field *f, *hint = NULL;
    struct str rest = in;
    struct cf_value v;
    int rc;

    while (rest.n > 0) {
        if (cf_protobuf_take(&rest, &v) == -1)
            return CF_MALFORMED;
        f = cf_field_by_number(m, v.number, &hint);
        rc = f != NULL ? read_member(f, &v, in, out) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cf_protobuf_read(enum cf_message m, struct str in, void *out)
{
    cf_clear(m, out);
    return read_message(m, in, out);
}

int cf_protobuf_each(const struct cf_field *f, struct str *rest, struct str *key, void *item)
{
    struct cf_value v;
    int rc;

    while (rest->n > 0) {
        if (cf_protobuf_take(rest, &v) == -1)
            return CF_MALFORMED;
        if (v.number != f->number)
            continue;
        if (v.wire != CF_WIRE_BYTES)
            return CF_MALFORMED;
        rc = read_item(f, &v, key, item);
        return rc < 0 ? rc : 1;
    }
    return 0;
}
