/* proto/centrifuge/wire.c - how messages go out: in which variant of a batch, and what stands between
 * those that are sent alone. */
#include "client.h"
#include "core/batch.h"

#define KEPT_BYTES (256 * 1024) /* of the buffer */

/* By enum client_form. */
static const uint8_t json[WIRE_NR][4] = {
    [WIRE_FRAMES] = {BATCH_CF_JSON, BATCH_CF_JSON_DELTA, BATCH_CF_JSON_FIRST, BATCH_CF_JSON_STRING},
    [WIRE_LINES] = {BATCH_CF_JSON_LINE, BATCH_CF_JSON_DELTA_LINE, BATCH_CF_JSON_FIRST_LINE,
                    BATCH_CF_JSON_STRING_LINE},
    [WIRE_EVENTS] = {BATCH_CF_JSON_EVENT, BATCH_CF_JSON_DELTA_EVENT, BATCH_CF_JSON_FIRST_EVENT,
                     BATCH_CF_JSON_STRING_EVENT},
};
static const uint8_t protobuf[WIRE_EVENTS][4] = {
    /* events are text */
    [WIRE_FRAMES] = {BATCH_CF_PROTOBUF, BATCH_CF_PROTOBUF_DELTA, BATCH_CF_PROTOBUF_FIRST,
                     BATCH_CF_PROTOBUF},
    [WIRE_LINES] = {BATCH_CF_PROTOBUF_BARE, BATCH_CF_PROTOBUF_DELTA_BARE,
                    BATCH_CF_PROTOBUF_FIRST_BARE, BATCH_CF_PROTOBUF_BARE},
};
static const uint8_t pushes[WIRE_NR] = {
    [WIRE_FRAMES] = BATCH_CF_JSON_PUSH,
    [WIRE_LINES] = BATCH_CF_JSON_PUSH_LINE,
    [WIRE_EVENTS] = BATCH_CF_JSON_PUSH_EVENT,
};

uint8_t client_variant(const struct client *cl, enum client_form form)
{
    unsigned of = pushes[cl->wire];

    if (!cl->listens)
        of = cl->encoding == CF_JSON ? json[cl->wire][form] : protobuf[cl->wire][form];
    return session_variant(cl->conn, of);
}

/* JSON messages have no line ends but those between them. */
static int write_events(struct str messages, struct buf *out)
{
    struct str line;

    while (str_cut(&messages, '\n', &line))
        if (buf_append_lit(out, "data: ") == -1 || buf_append(out, line) == -1 ||
            buf_append_lit(out, "\n\n") == -1)
            return -1;
    return 0;
}

static int write_lines(struct str messages, struct buf *out)
{
    return buf_append(out, messages) == -1 ? -1 : buf_append_char(out, '\n');
}

int wire_send(struct client *cl, struct str messages)
{
    static struct buf out; /* kept */
    int rc;

    if (cl->wire == WIRE_FRAMES || cl->encoding == CF_PROTOBUF)
        return session_send(cl->conn, messages, cl->encoding == CF_PROTOBUF);
    buf_clear(&out);
    rc = cl->wire == WIRE_EVENTS ? write_events(messages, &out) : write_lines(messages, &out);
    if (rc == 0)
        rc = session_send(cl->conn, buf_view(&out), false);
    else
        conn_kill(cl->conn, CLOSE_NO_MEMORY);
    if (out.cap > KEPT_BYTES)
        buf_fini(&out);
    return rc;
}
