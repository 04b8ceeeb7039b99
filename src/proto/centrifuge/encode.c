/* proto/centrifuge/encode.c - the variants of a batch: a push for each publication.
 *
 * What is around the payload is written from the item's fields, the payload in pieces between. */
#include "encode.h"

#include "client.h"
#include "core/client_info.h"
#include "core/epoch.h"
#include "core/tags.h"

/* Each encoding of tbl/variants.def of these messages. */
static const struct form {
    uint8_t encoding; /* enum cf_encoding */
    bool delta;       /* differences are spoken of: JSON stands in strings */
    bool differences; /* and sent, */
    bool chained;     /* also for the first item */
    bool bare;        /* pushes stand for themselves, not in replies */
} forms[ENCODING_NR] = {
    [ENCODING_CF_JSON] = {CF_JSON, false, false, false, false},
    [ENCODING_CF_PROTOBUF] = {CF_PROTOBUF, false, false, false, false},
    [ENCODING_CF_JSON_DELTA] = {CF_JSON, true, true, true, false},
    [ENCODING_CF_PROTOBUF_DELTA] = {CF_PROTOBUF, true, true, true, false},
    [ENCODING_CF_JSON_FIRST] = {CF_JSON, true, true, false, false},
    [ENCODING_CF_PROTOBUF_FIRST] = {CF_PROTOBUF, true, true, false, false},
    [ENCODING_CF_JSON_STRING] = {CF_JSON, true, false, false, false},
    [ENCODING_CF_JSON_PUSH] = {.encoding = CF_JSON, .bare = true},
};

bool encode_info(struct str fields, struct cf_client_info *out)
{
    struct client_info info;
    struct str field;

    if (!record_field(fields, FIELD_INFO, &field) || client_info_read(field, &info) == -1)
        return false;
    *out = (struct cf_client_info){.user = info.user,
                                   .client = info.client,
                                   .conn_info = info.conn_info,
                                   .chan_info = info.chan_info};
    return true;
}

static int encode_tags(enum cf_encoding e, struct str fields, struct buf *text, struct str *out)
{
    struct cf_items items;
    struct str rest, name, value;

    if (!record_field(fields, FIELD_TAGS, &rest))
        return 0;
    buf_clear(text);
    cf_items_begin(&items, e, text);
    while (tags_next(&rest, &name, &value))
        if (cf_add_publication_tags(&items, name, value) == -1)
            return -1;
    if (cf_items_end(&items) == -1)
        return -1;
    *out = buf_view(text);
    return 0;
}

int encode_publication(enum cf_encoding e, struct encode_place *place, struct buf *text,
                       struct cf_publication *out)
{
    *out = (struct cf_publication){.offset = 0};
    if (place->flags & RECORD_IN_STREAM) {
        out->offset = place->offset;
        if (place->offset == 1 && place->epoch != 0) { /* the first one tells which stream it is */
            epoch_write(place->epoch, place->epoch_text);
            out->epoch = (struct str){place->epoch_text, EPOCH_TEXT};
        }
    }
    if (place->fields.n == 0)
        return 0;
    out->has_info = encode_info(place->fields, &out->info);
    return encode_tags(e, place->fields, text, &out->tags);
}

static struct encode_place place_of(const struct batch *b, uint32_t i)
{
    return (struct encode_place){.offset = b->items[i].offset,
                                 .epoch = b->epoch,
                                 .flags = b->items[i].flags,
                                 .fields = batch_fields(b, i)};
}

int encode_add(struct cf_items *items, const struct batch *b, uint32_t i, bool delta, bool chained)
{
    static struct buf text, data; /* kept */
    struct encode_place place = place_of(b, i);
    struct str payload = batch_payload(b, i), difference;
    struct cf_publication pub;
    enum encode_form form;
    size_t done = 0;
    int rc = delta && chained ? encode_delta(items->encoding, b, i, &difference) : 0;

    if (rc == -1 || encode_publication(items->encoding, &place, &text, &pub) == -1)
        return -1;
    pub.delta = rc > 0;
    if (rc > 0) {
        payload = difference;
        form = items->encoding == CF_JSON ? FORM_TEXT : FORM_RAW;
    } else {
        form = encode_form(items->encoding, b->items[i].flags, payload, delta);
    }
    pub.data = payload;
    if (form != FORM_RAW) {
        buf_clear(&data);
        if (encode_data(items->encoding, form, payload, SIZE_MAX, &done, &data) == -1)
            return -1;
        pub.data = buf_view(&data);
    }
    return cf_add_subscribe_result_publications(items, &pub);
}

static int encode_member(const struct form *f, const struct batch *b, uint32_t item,
                         struct buf *out)
{
    const enum cf_encoding e = (enum cf_encoding)f->encoding;
    struct cf_reply r = {.has_push = true, .push = {.channel = b->channel}};
    struct cf_join_push member;

    member.has_info = encode_info(batch_fields(b, item), &member.info);
    if (b->class == BATCH_JOINS) {
        r.push.has_join = true;
        r.push.join = member;
    } else {
        r.push.has_leave = true;
        r.push.leave = member;
    }
    return f->bare ? cf_encode_push(e, &r.push, out) : cf_encode_reply(e, &r, out);
}

/* struct batch_part.phase */
enum phase { PHASE_BEGIN = 0, PHASE_DATA };

static int encode(const struct batch *b, uint32_t item, const struct form *f,
                  struct batch_part *part, size_t max, struct buf *out)
{
    static struct buf text; /* kept */
    struct encode_place place = place_of(b, item);
    const struct cf_around around = {.encoding = (enum cf_encoding)f->encoding,
                                     .wrapped = !f->bare};
    struct str payload = batch_payload(b, item), difference = STR_NULL;
    struct cf_push push = {.channel = b->channel, .has_pub = true};
    enum encode_form form = encode_form(around.encoding, b->items[item].flags, payload, f->delta);
    size_t all = SIZE_MAX;
    int rc = 0;

    if (encode_publication(around.encoding, &place, &text, &push.pub) == -1)
        return -1;
    if (part->phase == PHASE_BEGIN && f->differences && (item > 0 || f->chained))
        rc = encode_delta(around.encoding, b, item, &difference);
    if (rc == -1)
        return -1;
    if (rc > 0) { /* shorter than the payload, and made anyway: in one piece */
        push.pub.delta = true;
        push.pub.data = difference;
        form = around.encoding == CF_JSON ? FORM_TEXT : FORM_RAW;
        if (cf_push_head(around, &push, out) == -1 ||
            encode_data(around.encoding, form, difference, all, &part->done, out) == -1)
            return -1;
        part->done = payload.n;
        return cf_push_tail(around, &push, out);
    }
    push.pub.data = payload;
    if (part->phase == PHASE_BEGIN && cf_push_head(around, &push, out) == -1)
        return -1;
    part->phase = PHASE_DATA;
    rc = encode_data(around.encoding, form, payload, max, &part->done, out);
    return rc == 0 ? cf_push_tail(around, &push, out) : rc;
}

#define ENCODER(NAME)                                                                              \
    static int encode_##NAME(const struct batch *b, uint32_t item, struct batch_part *part,        \
                             size_t max, struct buf *out)                                          \
    {                                                                                              \
        const struct form *f = &forms[ENCODING_##NAME];                                            \
                                                                                                   \
        return b->class == BATCH_PUBLICATIONS ? encode(b, item, f, part, max, out)                 \
                                              : encode_member(f, b, item, out);                    \
    }
ENCODER(CF_JSON)
ENCODER(CF_PROTOBUF)
ENCODER(CF_JSON_DELTA)
ENCODER(CF_PROTOBUF_DELTA)
ENCODER(CF_JSON_FIRST)
ENCODER(CF_PROTOBUF_FIRST)
ENCODER(CF_JSON_STRING)
ENCODER(CF_JSON_PUSH)

void encode_register(void)
{
    batch_register(ENCODING_CF_JSON, encode_CF_JSON);
    batch_register(ENCODING_CF_PROTOBUF, encode_CF_PROTOBUF);
    batch_register(ENCODING_CF_JSON_DELTA, encode_CF_JSON_DELTA);
    batch_register(ENCODING_CF_PROTOBUF_DELTA, encode_CF_PROTOBUF_DELTA);
    batch_register(ENCODING_CF_JSON_FIRST, encode_CF_JSON_FIRST);
    batch_register(ENCODING_CF_PROTOBUF_FIRST, encode_CF_PROTOBUF_FIRST);
    batch_register(ENCODING_CF_JSON_STRING, encode_CF_JSON_STRING);
    batch_register(ENCODING_CF_JSON_PUSH, encode_CF_JSON_PUSH);
}
