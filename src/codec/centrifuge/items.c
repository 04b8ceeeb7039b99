/* codec/centrifuge/items.c - the items of lists and maps, one by one. */
#include "centrifuge_internal.h"
#include "codec/json.h"

/* ---- reading ---- */

static int each(enum cf_field_at at, enum cf_encoding e, struct str *rest, struct buf *text,
                struct str *key, void *item)
{
    const struct cf_field *f = &cf_fields[at];

    return e == CF_JSON ? cf_json_each(f, rest, text, key, item)
                        : cf_protobuf_each(f, rest, key, item);
}

#define LIST(message, name, number, of, omit)                                                      \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct cf_##of *item)                                           \
    {                                                                                              \
        return each(CF_FIELD_##message##_##name, e, rest, text, NULL, item);                       \
    }
#define MAP(message, name, number, of, omit)                                                       \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *key, struct cf_##of *item)                          \
    {                                                                                              \
        return each(CF_FIELD_##message##_##name, e, rest, text, key, item);                        \
    }
#define TEXT_MAP(message, name, number, omit)                                                      \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *key, struct str *item)                              \
    {                                                                                              \
        return each(CF_FIELD_##message##_##name, e, rest, text, key, item);                        \
    }
#define TEXTS(message, name, number, omit)                                                         \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *item)                                               \
    {                                                                                              \
        return each(CF_FIELD_##message##_##name, e, rest, text, NULL, item);                       \
    }
#define SPANS(message, name, number, omit) TEXTS(message, name, number, omit)
#include "tbl/centrifuge.def"

/* ---- writing ---- */

void cf_items_begin(struct cf_items *items, enum cf_encoding e, struct buf *out)
{
    *items = (struct cf_items){.encoding = e, .out = out, .begin = out->len};
}

int cf_items_end(struct cf_items *items)
{
    return items->closing != 0 ? buf_append_char(items->out, items->closing) : 0;
}

/* What stands before an item in JSON. */
static int open_json(struct cf_items *items, const struct cf_field *f)
{
    if (items->closing != 0)
        return buf_append_char(items->out, ',');
    if (items->named && cf_json_put_name(items->out, items->comma, f) == -1)
        return -1;
    return buf_append_char(items->out, cf_is_map(f) ? '{' : '[');
}

static int add_json(struct cf_items *items, const struct cf_field *f, struct str key,
                    const void *item)
{
    struct cf_writer w = {.out = items->out};
    enum cf_kind kind = cf_item_kind(f);

    if (open_json(items, f) == -1)
        return -1;
    if (cf_is_map(f) && (json_append_string(w.out, key) == -1 || buf_append_char(w.out, ':') == -1))
        return -1;
    if (kind == CF_TEXT)
        return json_append_string(w.out, *(const struct str *)item);
    if (kind == CF_SPAN)
        return cf_append_raw(CF_JSON, *(const struct str *)item, w.out);
    return cf_json_write(&w, (enum cf_message)f->of, item);
}

static size_t bytes_size(size_t n)
{
    return 1 + cf_varint_size(n) + n; /* numbers of a map's entry have one byte */
}

static int add_protobuf(struct cf_items *items, const struct cf_field *f, struct str key,
                        const void *item)
{
    struct cf_writer w = {.out = items->out};
    bool message = cf_item_kind(f) == CF_MESSAGE_OF;
    size_t n =
        message ? cf_protobuf_size((enum cf_message)f->of, item) : ((const struct str *)item)->n;

    if (cf_is_map(f)) { /* key = 1, value = 2 */
        if (cf_protobuf_put_head(&w, f->number, bytes_size(key.n) + bytes_size(n)) == -1 ||
            cf_protobuf_put_head(&w, 1, key.n) == -1 || cf_protobuf_put(&w, key) == -1)
            return -1;
    }
    if (cf_protobuf_put_head(&w, cf_is_map(f) ? 2 : f->number, n) == -1)
        return -1;
    return message ? cf_protobuf_write(&w, (enum cf_message)f->of, item)
                   : cf_protobuf_put(&w, *(const struct str *)item);
}

static int add(struct cf_items *items, enum cf_field_at at, struct str key, const void *item)
{
    const struct cf_field *f = &cf_fields[at];
    size_t before = items->out->len;
    int rc;

    if (items->encoding == CF_JSON)
        rc = add_json(items, f, key, item);
    else
        rc = add_protobuf(items, f, key, item);
    if (rc == -1)
        items->out->len = before;
    else if (items->encoding == CF_JSON)
        items->closing = cf_is_map(f) ? '}' : ']';
    return rc;
}

#define LIST(message, name, number, of, omit)                                                      \
    int cf_add_##message##_##name(struct cf_items *items, const struct cf_##of *item)              \
    {                                                                                              \
        return add(items, CF_FIELD_##message##_##name, STR_NULL, item);                            \
    }
#define MAP(message, name, number, of, omit)                                                       \
    int cf_add_##message##_##name(struct cf_items *items, struct str key,                          \
                                  const struct cf_##of *item)                                      \
    {                                                                                              \
        return add(items, CF_FIELD_##message##_##name, key, item);                                 \
    }
#define TEXT_MAP(message, name, number, omit)                                                      \
    int cf_add_##message##_##name(struct cf_items *items, struct str key, struct str item)         \
    {                                                                                              \
        return add(items, CF_FIELD_##message##_##name, key, &item);                                \
    }
#define TEXTS(message, name, number, omit)                                                         \
    int cf_add_##message##_##name(struct cf_items *items, struct str item)                         \
    {                                                                                              \
        return add(items, CF_FIELD_##message##_##name, STR_NULL, &item);                           \
    }
#define SPANS(message, name, number, omit) TEXTS(message, name, number, omit)
#include "tbl/centrifuge.def"

/* ---- items right in a reply ---- */

/* The reply's result: its member. */
static const struct cf_field *result_of(const struct cf_reply *r)
{
#define RESULT(METHOD, name, number, of)                                                           \
    if (r->has_##name)                                                                             \
        return &cf_fields[CF_FIELD_reply_##name];
#include "tbl/centrifuge.def"
    return NULL;
}

/* Its list. */
static const struct cf_field *list_of(const struct cf_field *result)
{
    for (unsigned i = cf_layouts[result->of].first; i < cf_layouts[result->of].end; i++) {
        if (cf_fields[i].kind > CF_MESSAGE_OF)
            return &cf_fields[i];
    }
    return NULL;
}

int cf_reply_open(struct cf_items *items, enum cf_encoding e, const struct cf_reply *r,
                  struct buf *out)
{
    const struct cf_field *result = result_of(r);
    struct cf_writer w = {.out = out, .hole = list_of(result), .part = CF_HEAD};
    int rc;

    cf_items_begin(items, e, out);
    if (e == CF_JSON) {
        items->named = true;
        rc = cf_json_write(&w, CF_MESSAGE_reply, r);
        items->comma = w.comma;
    } else { /* its own members first, as their order is free; what is before them needs the length */
        rc = buf_reserve(out, CF_ROOM);
        if (rc == 0) {
            out->len += CF_ROOM;
            w.part = CF_WHOLE;
            rc = cf_protobuf_write(&w, (enum cf_message)result->of, cf_member_of(result, r));
        }
    }
    if (rc == -1)
        out->len = items->begin;
    return rc;
}

/* Writes what is before the result right in front of it; where it begins. */
static size_t close_protobuf(struct cf_items *items, const struct cf_reply *r,
                             const struct cf_field *result)
{
    size_t body = items->begin + CF_ROOM, n = items->out->len - body, len = 0, all;
    char head[CF_ROOM], length[10];

    if (r->id != 0) {
        len = cf_varint_write((uint64_t)cf_fields[CF_FIELD_reply_id].number << 3, head);
        len += cf_varint_write(r->id, head + len);
    }
    len += cf_varint_write((uint64_t)result->number << 3 | CF_WIRE_BYTES, head + len);
    len += cf_varint_write(n, head + len);
    all = cf_varint_write(len + n, length);
    memcpy(items->out->p + body - len, head, len);
    memcpy(items->out->p + body - len - all, length, all);
    return body - len - all;
}

int cf_reply_close(struct cf_items *items, const struct cf_reply *r, size_t *start)
{
    const struct cf_field *result = result_of(r);
    struct cf_writer w = {.out = items->out,
                          .hole = list_of(result),
                          .part = CF_TAIL,
                          .items = items->closing != 0,
                          .silent = true};
    size_t before = items->out->len;

    *start = items->begin;
    if (items->encoding == CF_PROTOBUF) {
        *start = close_protobuf(items, r, result);
        return 0;
    }
    if (cf_items_end(items) == -1 || cf_json_write(&w, CF_MESSAGE_reply, r) == -1) {
        items->out->len = before;
        return -1;
    }
    return 0;
}
