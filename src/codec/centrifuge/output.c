/* codec/centrifuge/output.c - whole messages, and publications around their payload. */
#include "centrifuge_internal.h"

/* In Protobuf its length comes first. */
static int encode(enum cf_encoding e, enum cf_message m, const void *in, struct buf *out)
{
    struct cf_writer w = {.out = out};
    size_t before = out->len;
    int rc = 0;

    if (e == CF_PROTOBUF)
        rc = cf_protobuf_put_varint(&w, cf_protobuf_size(m, in));
    if (rc == 0)
        rc = e == CF_JSON ? cf_json_write(&w, m, in) : cf_protobuf_write(&w, m, in);
    if (rc == -1)
        out->len = before;
    return rc;
}

int cf_encode_reply(enum cf_encoding e, const struct cf_reply *r, struct buf *out)
{
    return encode(e, CF_MESSAGE_reply, r, out);
}

int cf_encode_command(enum cf_encoding e, const struct cf_command *c, struct buf *out)
{
    return encode(e, CF_MESSAGE_command, c, out);
}

int cf_encode_push(enum cf_encoding e, const struct cf_push *p, struct buf *out)
{
    return encode(e, CF_MESSAGE_push, p, out);
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

/* ---- around a payload, which is the first member of a publication ---- */

_Static_assert((int)CF_FIELD_publication_data == (int)CF_FIRST_publication, "nothing before it");

static int put_other_members(struct cf_writer *w, enum cf_encoding e, const struct cf_push *p)
{
    for (unsigned i = CF_FIELD_publication_data + 1; i < CF_END_publication; i++) {
        int rc = e == CF_JSON ? cf_json_put_member(w, &cf_fields[i], true, &p->pub)
                              : cf_protobuf_put_member(w, &cf_fields[i], &p->pub);

        if (rc == -1)
            return -1;
    }
    return 0;
}

static int put_json_head(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    struct cf_writer w = {.out = out};

    if (buf_append_lit(out, a.wrapped ? "{\"push\":{" : "{") == -1 ||
        cf_json_put_member(&w, &cf_fields[CF_FIELD_push_id], false, p) == -1 ||
        cf_json_put_member(&w, &cf_fields[CF_FIELD_push_channel], p->id != 0, p) == -1)
        return -1;
    if ((p->id != 0 || p->channel.n > 0) && buf_append_char(out, ',') == -1)
        return -1;
    return buf_append_lit(out, a.quoted ? "\"pub\":{\"data\":\"" : "\"pub\":{\"data\":");
}

/* Other members first, as their order is free: so nothing is left for the tail. */
static int put_protobuf_head(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    const struct cf_field *data = &cf_fields[CF_FIELD_publication_data],
                          *pub = &cf_fields[CF_FIELD_push_pub];
    struct cf_writer w = {.out = out};
    size_t n = cf_protobuf_members_size(CF_FIELD_publication_data + 1, CF_END_publication, &p->pub),
           all;

    n += 1 + cf_varint_size(p->pub.data.n) + p->pub.data.n; /* these tags have one byte */
    all = cf_protobuf_members_size(CF_FIELD_push_id, CF_FIELD_push_channel + 1, p) + 1 +
          cf_varint_size(n) + n;
    if (cf_protobuf_put_varint(&w, a.wrapped ? 1 + cf_varint_size(all) + all : all) == -1 ||
        (a.wrapped && cf_protobuf_put_head(&w, cf_fields[CF_FIELD_reply_push].number, all) == -1) ||
        cf_protobuf_put_member(&w, &cf_fields[CF_FIELD_push_id], p) == -1 ||
        cf_protobuf_put_member(&w, &cf_fields[CF_FIELD_push_channel], p) == -1 ||
        cf_protobuf_put_head(&w, pub->number, n) == -1 ||
        put_other_members(&w, CF_PROTOBUF, p) == -1)
        return -1;
    return cf_protobuf_put_head(&w, data->number, p->pub.data.n);
}

int cf_push_head(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    size_t before = out->len;
    int rc = a.encoding == CF_JSON ? put_json_head(a, p, out) : put_protobuf_head(a, p, out);

    if (rc == -1)
        out->len = before;
    return rc;
}

int cf_push_tail(struct cf_around a, const struct cf_push *p, struct buf *out)
{
    struct cf_writer w = {.out = out};
    size_t before = out->len;

    if (a.encoding == CF_PROTOBUF)
        return 0;
    if ((a.quoted && buf_append_char(out, '"') == -1) || put_other_members(&w, CF_JSON, p) == -1 ||
        buf_append_lit(out, a.wrapped ? "}}}" : "}}") == -1) {
        out->len = before;
        return -1;
    }
    return 0;
}
