/* codec/centrifuge/output.c - whole messages, and publications around their payload. */
#include "centrifuge_internal.h"

static int write_message(struct cf_writer *w, enum cf_encoding e, enum cf_message m, const void *in)
{
    return e == CF_JSON ? cf_json_write(w, m, in) : cf_protobuf_write(w, m, in);
}

/* A message, or in Protobuf, if delimited, its length and a message. */
static int encode(enum cf_encoding e, enum cf_message m, const void *in, bool delimited,
                  struct buf *out)
{
    struct cf_writer w = {.out = out};
    size_t before = out->len;
    int rc = 0;

    if (e == CF_PROTOBUF && delimited)
        rc = cf_protobuf_put_varint(&w, cf_protobuf_size(&w, m, in));
    if (rc == 0)
        rc = write_message(&w, e, m, in);
    if (rc == -1)
        out->len = before;
    return rc;
}

int cf_encode_reply(enum cf_encoding e, const struct cf_reply *r, struct buf *out)
{
    return encode(e, CF_MESSAGE_reply, r, true, out);
}

int cf_encode_command(enum cf_encoding e, const struct cf_command *c, struct buf *out)
{
    return encode(e, CF_MESSAGE_command, c, true, out);
}

int cf_encode_push(enum cf_encoding e, const struct cf_push *p, struct buf *out)
{
    return encode(e, CF_MESSAGE_push, p, true, out);
}

int cf_encode_connect_request(enum cf_encoding e, const struct cf_connect_request *c,
                              struct buf *out)
{
    return encode(e, CF_MESSAGE_connect_request, c, false, out);
}

int cf_encode_client_info(enum cf_encoding e, const struct cf_client_info *i, struct buf *out)
{
    return encode(e, CF_MESSAGE_client_info, i, false, out);
}

int cf_encode_filter_node(enum cf_encoding e, const struct cf_filter_node *n, struct buf *out)
{
    return encode(e, CF_MESSAGE_filter_node, n, false, out);
}

int cf_join(enum cf_encoding e, struct buf *out)
{
    return e == CF_JSON ? buf_append_char(out, '\n') : 0;
}

struct cf_connect_push cf_connect_push_of(const struct cf_connect_result *r)
{
    return (struct cf_connect_push){.client = r->client,
                                    .version = r->version,
                                    .data = r->data,
                                    .subs = r->subs,
                                    .expires = r->expires,
                                    .ttl = r->ttl,
                                    .ping = r->ping,
                                    .pong = r->pong,
                                    .session = r->session,
                                    .node = r->node,
                                    .time = r->time};
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

int cf_append_raw(enum cf_encoding e, struct str piece, struct buf *out)
{
    char *to;

    if (e == CF_PROTOBUF || (str_find(piece, '\n') == piece.n && str_find(piece, '\r') == piece.n))
        return buf_append(out, piece);
    if (buf_reserve(out, piece.n) == -1)
        return -1;
    to = out->p + out->len;
    for (size_t i = 0; i < piece.n; i++) {
        if (!is_line_end(piece.p[i]))
            *to++ = piece.p[i];
    }
    out->len = (size_t)(to - out->p);
    return 0;
}

/* What is around a push in a reply. */
static int wrap(struct cf_writer *w, enum cf_encoding e, const struct cf_push *p)
{
    size_t n;

    if (e == CF_JSON)
        return cf_json_put(w, STR_LIT("{\"push\":"));
    n = cf_protobuf_size(w, CF_MESSAGE_push, p);
    return cf_protobuf_put_head(w, cf_fields[CF_FIELD_reply_push].number, n);
}

static size_t push_size(const struct cf_writer *w, bool wrapped, const struct cf_push *p)
{
    size_t n = cf_protobuf_size(w, CF_MESSAGE_push, p);

    return wrapped ? 1 + cf_varint_size(n) + n : n; /* its tag has one byte */
}

static int around(struct cf_around a, enum cf_part part, const struct cf_push *p, struct buf *out)
{
    struct cf_writer w = {.out = out,
                          .hole = &cf_fields[CF_FIELD_publication_data],
                          .part = part,
                          .quoted = a.quoted,
                          .silent = part == CF_TAIL};
    size_t before = out->len;
    int rc = 0;

    if (a.encoding == CF_PROTOBUF)
        rc = cf_protobuf_put_varint(&w, push_size(&w, a.wrapped, p));
    if (rc == 0 && a.wrapped)
        rc = wrap(&w, a.encoding, p);
    if (rc == 0)
        rc = write_message(&w, a.encoding, CF_MESSAGE_push, p);
    if (rc == 0 && a.wrapped && a.encoding == CF_JSON)
        rc = cf_json_put(&w, STR_LIT("}"));
    if (rc == -1)
        out->len = before;
    return rc;
}

int cf_push_head(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    return around(a, CF_HEAD, p, out);
}

int cf_push_tail(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    return around(a, CF_TAIL, p, out);
}
