/* codec/centrifuge/input.c - frames, and the messages in them. */
#include "centrifuge_internal.h"

/* One message, whole. */
static int read_one(enum cf_encoding e, enum cf_message m, struct str in, struct buf *text,
                    void *out)
{
    int rc;

    if (e == CF_PROTOBUF)
        return cf_protobuf_read(m, in, out);
    rc = cf_json_room(in, text);
    return rc < 0 ? rc : cf_json_read(m, in, text, out);
}

void cf_input_init(struct cf_input *in, enum cf_encoding e, struct str frame, struct buf *text)
{
    *in = (struct cf_input){.encoding = e, .rest = frame, .text = text};
    if (frame.n == 0)
        in->rest = STR_LIT("");
}

/* What is before the next line end; one at the very end has nothing behind it. */
static void cut_line(struct cf_input *in, struct str *message)
{
    str_cut(&in->rest, '\n', message);
    if (in->rest.p != NULL && in->rest.n == 0)
        in->rest = STR_NULL;
}

static int cut_length(struct cf_input *in, struct str *message)
{
    uint64_t n;

    if (cf_varint(&in->rest, &n) == -1 || n > in->rest.n)
        return CF_MALFORMED;
    *message = (struct str){.p = in->rest.p, .n = (size_t)n};
    in->rest = str_skip(in->rest, (size_t)n);
    if (in->rest.n == 0)
        in->rest = STR_NULL;
    return 0;
}

static int next_message(struct cf_input *in, enum cf_message m, void *out)
{
    struct str message;
    int rc = 0;

    if (in->rest.p == NULL)
        return 0;
    if (in->encoding == CF_JSON)
        cut_line(in, &message);
    else
        rc = cut_length(in, &message);
    if (rc == 0)
        rc = read_one(in->encoding, m, message, in->text, out);
    if (rc < 0)
        in->rest = STR_NULL;
    return rc < 0 ? rc : 1;
}

int cf_next_command(struct cf_input *in, struct cf_command *out)
{
    return next_message(in, CF_MESSAGE_command, out);
}

int cf_next_reply(struct cf_input *in, struct cf_reply *out)
{
    return next_message(in, CF_MESSAGE_reply, out);
}

int cf_next_push(struct cf_input *in, struct cf_push *out)
{
    return next_message(in, CF_MESSAGE_push, out);
}

int cf_decode_connect_request(enum cf_encoding e, struct str in, struct buf *text,
                              struct cf_connect_request *out)
{
    return read_one(e, CF_MESSAGE_connect_request, in, text, out);
}

int cf_decode_filter_node(enum cf_encoding e, struct str in, struct buf *text,
                          struct cf_filter_node *out)
{
    return read_one(e, CF_MESSAGE_filter_node, in, text, out);
}

int cf_decode_emulation(enum cf_encoding e, struct str in, struct buf *text,
                        struct cf_emulation *out)
{
    struct cf_emulation_protobuf p;
    struct cf_emulation_json j;
    int rc;

    if (e == CF_PROTOBUF) {
        rc = cf_protobuf_read(CF_MESSAGE_emulation_protobuf, in, &p);
        *out = (struct cf_emulation){.node = p.node, .session = p.session, .data = p.data};
        return rc;
    }
    rc = read_one(e, CF_MESSAGE_emulation_json, in, text, &j);
    if (rc == 0)
        *out = (struct cf_emulation){.node = j.node, .session = j.session, .data = j.data};
    return rc;
}
