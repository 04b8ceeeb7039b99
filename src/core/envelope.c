#include "core/envelope.h"

struct header { /* as on the wire, on a little-endian machine */
    uint8_t version, kind, flags, asker;
    uint32_t bytes; /* of all of it */
    uint32_t data_len, fields_len;
    uint64_t node; /* ENVELOPE_ORIGIN_AT */
    uint16_t source, reserved;
    uint32_t generation;
    uint64_t position;
    uint64_t token, call, wall_ms;
    uint64_t count; /* ENVELOPE_COUNT_AT */
};
_Static_assert(sizeof(struct header) == ENVELOPE_HEADER, "no holes");
_Static_assert(offsetof(struct header, node) == ENVELOPE_ORIGIN_AT, "ENVELOPE_ORIGIN_AT");
_Static_assert(offsetof(struct header, token) == ENVELOPE_ORIGIN_AT + ENVELOPE_ORIGIN_BYTES,
               "ENVELOPE_ORIGIN_BYTES");
_Static_assert(offsetof(struct header, count) == ENVELOPE_COUNT_AT, "ENVELOPE_COUNT_AT");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");

int envelope_write(struct buf *out, const struct envelope *e)
{
    uint64_t bytes = sizeof(struct header) + (uint64_t)e->r.data.n + e->r.fields.n;
    const struct header h = {
        .version = ENVELOPE_VERSION,
        .kind = e->r.kind,
        .flags = e->r.flags,
        .asker = e->r.asker,
        .bytes = (uint32_t)bytes,
        .data_len = (uint32_t)e->r.data.n,
        .fields_len = (uint32_t)e->r.fields.n,
        .node = e->node,
        .source = e->r.source,
        .generation = e->r.generation,
        .position = e->r.position,
        .token = e->r.token,
        .call = e->call,
        .wall_ms = e->wall_ms,
        .count = e->count,
    };

    if (bytes > UINT32_MAX || buf_reserve(out, bytes) == -1)
        return -1;
    return buf_append(out, (struct str){.p = (const char *)&h, .n = sizeof(h)}) ||
                   buf_append(out, e->r.data) || buf_append(out, e->r.fields)
               ? -1
               : 0;
}

/* Do the fields end where they should? */
static bool sound(struct str fields)
{
    struct str value;
    uint8_t type;

    while (record_next_field(&fields, &type, &value))
        ;
    return fields.n == 0;
}

int envelope_next(struct str *rest, struct envelope *out)
{
    struct header h;

    if (rest->n == 0)
        return 0;
    if (rest->n < sizeof(h))
        return -1;
    memcpy(&h, rest->p, sizeof(h));
    if (h.version != ENVELOPE_VERSION || h.bytes > rest->n || h.fields_len > RECORD_FIELDS_MAX ||
        (uint64_t)sizeof(h) + h.data_len + h.fields_len != h.bytes)
        return -1;
    *out = (struct envelope){
        .node = h.node,
        .call = h.call,
        .wall_ms = h.wall_ms,
        .count = h.count,
        .r = {.kind = h.kind,
              .flags = h.flags,
              .asker = h.asker,
              .source = h.source,
              .generation = h.generation,
              .token = h.token,
              .position = h.position,
              .data = {.p = rest->p + sizeof(h), .n = h.data_len},
              .fields = {.p = rest->p + sizeof(h) + h.data_len, .n = h.fields_len}},
    };
    *rest = str_skip(*rest, h.bytes);
    return sound(out->r.fields) ? 1 : -1;
}
