/* proto/plain/plain_envelope.c - the query form: which channel a message is of stands in the message. */
#include "base/utf8.h"
#include "codec/json.h"
#include "plain_internal.h"
#include "proto/payload.h"

enum plain_phase { /* of a message that is being encoded; struct batch_part.phase */
                   PLAIN_BEGIN = 0,
                   PLAIN_VERBATIM, /* binary, or JSON */
                   PLAIN_STRING
};

static int plain_begin_text(const struct batch_item *item, struct str channel, struct str payload,
                            struct batch_part *part, struct buf *out)
{
    if (buf_append_lit(out, "{\"channel\":") == -1 || json_append_string(out, channel) == -1 ||
        buf_append_lit(out, ",\"data\":") == -1)
        return -1;
    if (payload_is_json(item->flags, payload)) {
        part->phase = PLAIN_VERBATIM;
        return 0;
    }
    part->phase = PLAIN_STRING;
    return buf_append_char(out, '"');
}

static int plain_begin_binary(struct str channel, struct batch_part *part, struct buf *out)
{
    part->phase = PLAIN_VERBATIM;
    if (buf_append_char(out, (char)(unsigned char)channel.n) == -1)
        return -1;
    return buf_append(out, channel);
}

static int plain_begin(const struct batch *b, const struct batch_item *item, struct str payload,
                       struct batch_part *part, struct buf *out)
{
    return item->flags & RECORD_BINARY ? plain_begin_binary(b->channel, part, out)
                                       : plain_begin_text(item, b->channel, payload, part, out);
}

static int plain_piece(struct str payload, struct batch_part *part, size_t max, struct buf *out)
{
    struct str piece = str_skip(payload, part->done);

    if (part->phase == PLAIN_STRING)
        piece = utf8_cut(piece, max);
    else
        piece.n = MIN(piece.n, max);
    part->done += piece.n;
    return part->phase == PLAIN_STRING ? json_append_text(out, piece) : buf_append(out, piece);
}

static int plain_end(const struct batch_item *item, const struct batch_part *part, struct buf *out)
{
    if (part->phase == PLAIN_STRING && buf_append_char(out, '"') == -1)
        return -1;
    return item->flags & RECORD_BINARY ? 0 : buf_append_char(out, '}');
}

int plain_envelope_encode(const struct batch *b, uint32_t item, struct batch_part *part, size_t max,
                          struct buf *out)
{
    const struct batch_item *it = &b->items[item];
    struct str payload = batch_payload(b, item);

    if (part->phase == PLAIN_BEGIN && plain_begin(b, it, payload, part, out) == -1)
        return -1;
    if (plain_piece(payload, part, max, out) == -1)
        return -1;
    if (part->done < payload.n)
        return 1;
    return plain_end(it, part, out);
}

static int plain_read_binary(struct str in, struct plain_message *out)
{
    size_t n;

    if (in.n == 0)
        return -1;
    n = (unsigned char)in.p[0];
    if (in.n - 1 < n)
        return -1;
    out->channel = (struct str){.p = in.p + 1, .n = n};
    out->data = str_skip(in, 1 + n);
    out->flags = RECORD_BINARY;
    return 0;
}

/* The two members of a message. A repeated one could be read either way (RFC 8259 §4). */
static int plain_read_members(const struct json_value *message, struct json_value *channel,
                              struct json_value *data)
{
    struct str rest = message->raw;
    struct json_value key, value;

    channel->raw = data->raw = STR_NULL;
    while (json_member(&rest, &key, &value)) {
        bool is_channel = json_string_equal(&key, STR_LIT("channel"));

        if (!is_channel && !json_string_equal(&key, STR_LIT("data")))
            continue;
        if ((is_channel ? channel : data)->raw.p != NULL)
            return -1;
        *(is_channel ? channel : data) = value;
    }
    return channel->raw.p != NULL && data->raw.p != NULL && channel->type == JSON_STRING ? 0 : -1;
}

/* A JSON string is published as the text it stands for, everything else as it is written: so it is
 * read back as it was sent, by clients of either form. */
static int plain_read_text(struct str in, struct buf *text, struct plain_message *out)
{
    struct json_value v, channel, data;
    size_t at, split;

    if (json_parse(in, &v, &at) == -1 || v.type != JSON_OBJECT ||
        plain_read_members(&v, &channel, &data) == -1)
        return -1;
    if (json_string(&channel, text) == -1)
        return -1;
    split = text->len;
    if (data.type == JSON_STRING && json_string(&data, text) == -1)
        return -1;
    out->channel = (struct str){.p = text->p, .n = split};
    if (data.type == JSON_STRING) {
        out->data = str_skip(buf_view(text), split);
        out->flags = 0;
    } else {
        out->data = data.raw;
        out->flags = RECORD_JSON;
    }
    return 0;
}

int plain_envelope_read(bool binary, struct str in, struct buf *text, struct plain_message *out)
{
    return binary ? plain_read_binary(in, out) : plain_read_text(in, text, out);
}
