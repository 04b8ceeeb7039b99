/* core/record.c - records on the rings: one fixed header, the name, the payload, the fields. */
#include "core/record.h"

#include "core/channel_name.h"

struct wire { /* both ends are the same binary on the same machine */
    uint32_t data_len;
    uint16_t fields_len, source;
    uint8_t name_len, kind, flags, asker;
    uint32_t generation, chan, count;
    uint64_t token, epoch, offset, position, time_ns;
};
_Static_assert(sizeof(struct wire) == RECORD_OVERHEAD, "the header has no padding");
_Static_assert(CHANNEL_NAME_MAX <= UINT8_MAX, "name_len holds every name");

struct field { /* in front of each value; values have no alignment */
    uint8_t type;
    uint8_t unused; /* zero */
    uint16_t len;
};

_Static_assert(sizeof(struct field) == RECORD_FIELD_OVERHEAD, "as record.h says");

static const char *const labels[RECORD_KIND_NR] = {
#define TO_HUB(name, label)    [RECORD_##name] = label,
#define TO_WORKER(name, label) [RECORD_##name] = label,
#include "tbl/records.def"
#undef TO_HUB
#undef TO_WORKER
};

const char *record_kind_name(uint8_t kind)
{
    return kind > RECORD_NONE && kind < RECORD_KIND_NR ? labels[kind] : "unknown";
}

size_t record_size(size_t name_len, size_t data_len)
{
    return RECORD_OVERHEAD + name_len + data_len;
}

size_t record_bytes(const struct record *r)
{
    return RECORD_OVERHEAD + r->name.n + r->data.n + r->fields.n;
}

static char *put(char *p, struct str s)
{
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

void record_encode(const struct record *r, void *dst)
{
    struct wire w = {
        .data_len = (uint32_t)r->data.n,
        .fields_len = (uint16_t)r->fields.n,
        .source = r->source,
        .name_len = (uint8_t)r->name.n,
        .kind = r->kind,
        .flags = r->flags,
        .asker = r->asker,
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
    p = put(p + sizeof(w), r->name);
    p = put(p, r->data);
    put(p, r->fields);
}

/* --- fields --- */

/* Takes the next field off *rest. 1: there it is, 0: the end, -1: it does not fit. */
static int next_field(struct str *rest, uint8_t *type, struct str *value)
{
    struct field f;

    if (rest->n == 0)
        return 0;
    if (rest->n < sizeof(f))
        return -1;
    memcpy(&f, rest->p, sizeof(f)); /* once: the writer may change it between a check and a use */
    if (f.len > rest->n - sizeof(f))
        return -1;
    *type = f.type;
    *value = (struct str){.p = rest->p + sizeof(f), .n = f.len};
    *rest = str_skip(*rest, sizeof(f) + f.len);
    return 1;
}

bool record_next_field(struct str *rest, uint8_t *type, struct str *value)
{
    return next_field(rest, type, value) > 0;
}

static bool fields_valid(struct str fields)
{
    struct str value;
    uint8_t type;
    int rc;

    while ((rc = next_field(&fields, &type, &value)) > 0) {
    }
    return rc == 0;
}

int record_add_field(struct buf *out, uint8_t type, struct str value)
{
    struct field f = {.type = type};

    if (out->len > RECORD_FIELDS_MAX - sizeof(f) ||
        value.n > RECORD_FIELDS_MAX - sizeof(f) - out->len ||
        buf_reserve(out, sizeof(f) + value.n) == -1)
        return -1;
    f.len = (uint16_t)value.n;
    memcpy(out->p + out->len, &f, sizeof(f));
    put(out->p + out->len + sizeof(f), value);
    out->len += sizeof(f) + value.n;
    return 0;
}

bool record_field(struct str fields, enum record_field type, struct str *value)
{
    uint8_t t;

    while (next_field(&fields, &t, value) > 0) {
        if (t == type)
            return true;
    }
    return false;
}

/* --- reading --- */

int record_decode(struct str raw, struct record *out)
{
    struct wire w;
    const char *p;
    size_t rest;

    if (raw.n < sizeof(w))
        return -1;
    /* One copy: the writer may be hostile and change the bytes between a check and a use. */
    memcpy(&w, raw.p, sizeof(w));
    p = raw.p + sizeof(w);
    rest = raw.n - sizeof(w);
    if (w.kind == RECORD_NONE || w.kind >= RECORD_KIND_NR || w.name_len > rest ||
        w.fields_len > rest - w.name_len || w.data_len != rest - w.name_len - w.fields_len)
        return -1;
    *out = (struct record){
        .kind = w.kind,
        .flags = w.flags,
        .asker = w.asker,
        .source = w.source,
        .generation = w.generation,
        .chan = w.chan,
        .count = w.count,
        .token = w.token,
        .epoch = w.epoch,
        .offset = w.offset,
        .position = w.position,
        .time_ns = w.time_ns,
        .name = {.p = p, .n = w.name_len},
        .data = {.p = p + w.name_len, .n = w.data_len},
        .fields = {.p = p + w.name_len + w.data_len, .n = w.fields_len},
    };
    return LIKELY(w.fields_len == 0) || fields_valid(out->fields) ? 0 : -1;
}
