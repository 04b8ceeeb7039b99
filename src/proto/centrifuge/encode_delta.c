/* proto/centrifuge/encode_delta.c - a publication as the difference to the one before it. */
#include "base/utf8.h"
#include "codec/fossil.h"
#include "encode.h"
#include "proto/payload.h"

/* In JSON a difference applies to the text of a JSON value, so both have to be one. */
static bool fits(enum cf_encoding e, uint8_t flags, struct str payload)
{
    return e == CF_PROTOBUF || payload_is_json(flags, payload);
}

static bool base_of(enum cf_encoding e, const struct batch *b, uint32_t i, struct str *base)
{
    if (i > 0) {
        *base = batch_payload(b, i - 1);
        return fits(e, b->items[i - 1].flags, *base);
    }
    if (b->previous == NULL)
        return false;
    *base = (struct str){b->previous->data, b->previous->len};
    return fits(e, b->previous_flags, *base);
}

int encode_delta(enum cf_encoding e, const struct batch *b, uint32_t i, struct str *out)
{
    static struct buf work, delta; /* kept */
    const struct batch_item *item = &b->items[i];
    struct str payload = batch_payload(b, i), base;
    int rc;

    if (!(item->flags & RECORD_DELTA) || !fits(e, item->flags, payload) || !base_of(e, b, i, &base))
        return 0;
    buf_clear(&delta);
    rc = fossil_create(base, payload, payload.n, &work, &delta);
    *out = buf_view(&delta);
    /* What it makes is text, but for commands that cut one of its characters. */
    if (rc > 0 && e == CF_JSON && !utf8_valid(*out))
        return 0;
    return rc;
}
