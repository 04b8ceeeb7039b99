/* core/record.c - records on the rings: one fixed header, the name, the data. */
#include "core/record.h"

#include "core/channel_name.h"

struct wire { /* both ends are the same binary on the same machine */
    uint32_t name_len, data_len;
    uint8_t kind, flags;
    uint16_t source;
    uint32_t generation, chan, count;
    uint64_t token, epoch, offset, position, time_ns;
};
_Static_assert(sizeof(struct wire) == RECORD_OVERHEAD, "the header has no padding");

size_t record_size(size_t name_len, size_t data_len)
{
    return RECORD_OVERHEAD + name_len + data_len;
}

void record_encode(const struct record *r, void *dst)
{
    struct wire w = {
        .name_len = (uint32_t)r->name.n,
        .data_len = (uint32_t)r->data.n,
        .kind = r->kind,
        .flags = r->flags,
        .source = r->source,
        .generation = r->generation,
        .chan = r->chan,
        .count = r->count,
        .token = r->token,
        .epoch = r->epoch,
        .offset = r->offset,
        .position = r->position,
        .time_ns = r->time_ns,
    };
    char *p = dst;

    memcpy(p, &w, sizeof(w));
    p += sizeof(w);
    if (r->name.n > 0)
        memcpy(p, r->name.p, r->name.n);
    if (r->data.n > 0)
        memcpy(p + r->name.n, r->data.p, r->data.n);
}

int record_decode(struct str raw, struct record *out)
{
    struct wire w;

    if (raw.n < sizeof(w))
        return -1;
    /* One copy: the writer may be hostile and change the bytes between a check and a use. */
    memcpy(&w, raw.p, sizeof(w));
    if (w.kind < RECORD_HELLO || w.kind >= RECORD_KIND_NR || w.name_len > CHANNEL_NAME_MAX ||
        w.name_len > raw.n - sizeof(w) || w.data_len != raw.n - sizeof(w) - w.name_len)
        return -1;
    *out = (struct record){
        .kind = w.kind,
        .flags = w.flags,
        .source = w.source,
        .generation = w.generation,
        .chan = w.chan,
        .count = w.count,
        .token = w.token,
        .epoch = w.epoch,
        .offset = w.offset,
        .position = w.position,
        .time_ns = w.time_ns,
        .name = {.p = raw.p + sizeof(w), .n = w.name_len},
        .data = {.p = raw.p + sizeof(w) + w.name_len, .n = w.data_len},
    };
    return 0;
}

const char *record_kind_name(uint8_t kind)
{
    static const char *const names[RECORD_KIND_NR] = {
        [RECORD_HELLO] = "hello",           [RECORD_SUBSCRIBE] = "subscribe",
        [RECORD_COUNT] = "count",           [RECORD_UNSUBSCRIBE] = "unsubscribe",
        [RECORD_ANNOUNCED] = "announced",   [RECORD_PUBLISH] = "publish",
        [RECORD_FENCE] = "fence",           [RECORD_LIST] = "list",
        [RECORD_SUBSCRIBED] = "subscribed", [RECORD_PUBLICATION] = "publication",
        [RECORD_PUBLISHED] = "published",   [RECORD_FENCED] = "fenced",
        [RECORD_LISTED] = "listed",         [RECORD_LOST] = "lost",
    };

    return kind < RECORD_KIND_NR && names[kind] != NULL ? names[kind] : "unknown";
}
