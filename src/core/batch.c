/* core/batch.c - the publications of one fan-out walk: collecting them as frames. */
#include "core/batch.h"

#include <assert.h>

#include "codec/ws_tx.h"

struct batch *batch_new(struct str channel)
{
    struct batch *b = malloc(sizeof(*b));

    if (b == NULL)
        return NULL;
    *b = (struct batch){.channel = channel, .cap = 1};
    b->items = &b->first;
    return b;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    blob_put(&b->variant[BATCH_RAW]);
    if (b->codings != NULL || b->deflated) {
        for (unsigned v = BATCH_RAW + 1; v < BATCH_VARIANT_NR; v++)
            blob_put(&b->variant[v]);
        batch_codings_free(b->codings);
    }
    blob_put(&b->previous);
    batch_index_free(b->index);
    buf_fini(&b->fields);
    if (b->items != &b->first)
        free(b->items);
    free(b);
}

static int grow_items(struct batch *b)
{
    struct batch_item *items;

    if (b->nitems < b->cap)
        return 0;
    items = realloc(b->items == &b->first ? NULL : b->items, 2 * b->cap * sizeof(*items));
    if (items == NULL)
        return -1;
    if (b->items == &b->first)
        items[0] = b->first;
    b->items = items;
    b->cap *= 2;
    return 0;
}

/* Room for n more bytes of the raw variant: exactly that for the first publication, half as much
 * again for others. */
static int grow_raw(struct batch *b, size_t n)
{
    struct blob **raw = &b->variant[BATCH_RAW];
    size_t need = b->raw_len + n;

    if (need > BLOB_MAX)
        return -1;
    if (*raw == NULL)
        return (*raw = blob_new(need)) != NULL ? 0 : -1;
    if (need <= (*raw)->len)
        return 0;
    return blob_grow(raw, MIN(MAX(need, (size_t)b->raw_len + b->raw_len / 2), BLOB_MAX));
}

bool batch_has_room(const struct batch *b, const struct record *r)
{
    size_t n = r->data.n;

    return b->nitems == 0 || (b->nitems < BATCH_ITEMS_MAX && n <= BATCH_BYTES_MAX &&
                              b->raw_len <= BATCH_BYTES_MAX - n && b->epoch == r->epoch &&
                              b->class == batch_class_of(r));
}

/* -1: no memory. They count little, so what they cost is bounded by the number of items. */
static int append_fields(struct batch *b, struct batch_item *item, struct str fields)
{
    if (LIKELY(fields.n == 0))
        return 0;
    if (b->fields.len > BLOB_MAX || buf_append(&b->fields, fields) == -1)
        return -1;
    item->fields = (uint32_t)(b->fields.len - fields.n);
    item->fields_len = (uint16_t)fields.n;
    return 0;
}

int batch_append(struct batch *b, const struct record *r)
{
    uint8_t header[WS_HEADER_MAX];
    enum ws_opcode op = r->flags & RECORD_BINARY ? WS_OP_BINARY : WS_OP_TEXT;
    size_t n = ws_tx_header(op, r->data.n, header);
    struct batch_item *item;
    char *to;

    assert(!b->sealed);
    if (r->data.n > BLOB_MAX - WS_HEADER_MAX || grow_items(b) == -1 ||
        grow_raw(b, n + r->data.n) == -1)
        return -1;
    item = &b->items[b->nitems];
    *item = (struct batch_item){
        .offset = r->offset,
        .start = b->raw_len,
        .header = (uint8_t)n,
        .size = (uint32_t)(n + r->data.n),
        .source = r->source,
        .flags = r->flags,
        .asker = r->asker,
        .token = r->token,
    };
    if (append_fields(b, item, r->fields) == -1)
        return -1;
    to = b->variant[BATCH_RAW]->data + b->raw_len;
    memcpy(to, header, n);
    if (r->data.n > 0)
        memcpy(to + n, r->data.p, r->data.n);
    b->raw_len += (uint32_t)(n + r->data.n);
    b->any |= r->flags;
    b->epoch = r->epoch;
    b->class = (uint8_t)batch_class_of(r);
    if (b->nitems++ == 0 || r->time_ns < b->published_ns)
        b->published_ns = r->time_ns;
    return 0;
}

size_t batch_bytes(const struct batch *b)
{
    return b->raw_len;
}

void batch_seal(struct batch *b)
{
    assert(!b->sealed && b->nitems > 0);
    b->sealed = true;
    blob_shorten(&b->variant[BATCH_RAW], b->raw_len);
}

struct str batch_payload(const struct batch *b, uint32_t i)
{
    const struct batch_item *item = &b->items[i];
    const char *frame = b->variant[BATCH_RAW]->data + item->start;

    return (struct str){.p = frame + item->header, .n = item->size - item->header};
}

struct str batch_fields(const struct batch *b, uint32_t i)
{
    const struct batch_item *item = &b->items[i];

    return item->fields_len > 0
               ? (struct str){.p = b->fields.p + item->fields, .n = item->fields_len}
               : STR_NULL;
}
