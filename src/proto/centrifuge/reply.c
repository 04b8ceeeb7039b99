/* proto/centrifuge/reply.c - output: what one input is answered with goes out together, in frames of
 * at most 16 messages. What nobody's input asked for goes at once. */
#include "base/metrics.h"
#include "base/trace.h"
#include "client.h"

#define FRAME_MESSAGES 16
#define FRAME_BYTES    (64 * 1024)  /* then the frame is sent */
#define KEPT_BYTES     (256 * 1024) /* of the buffer */

static struct {
    struct client *client; /* borrowed; whose input is being taken, NULL: nobody's */
    unsigned messages;
    struct buf out; /* owned; kept */
} gathered;

static void send_frame(struct client *cl)
{
    struct buf *out = &gathered.out;

    if (out->len > 0 && wire_send(cl, buf_view(out)) == -1) {
        /* it has ended */
    }
    gathered.messages = 0;
    buf_clear(out);
    if (out->cap > KEPT_BYTES)
        buf_fini(out);
}

void reply_flush(struct client *cl)
{
    if (gathered.client == cl)
        send_frame(cl);
}

void reply_begin(struct client *cl)
{
    gathered.client = cl;
    gathered.messages = 0;
}

void reply_end(struct client *cl)
{
    send_frame(cl);
    gathered.client = NULL;
}

/* Room for one more message; its separator is written. -1: no memory. */
static int frame_open(struct client *cl)
{
    if (gathered.client != NULL && gathered.client != cl) /* somebody else's come first */
        send_frame(gathered.client);
    if (gathered.messages == FRAME_MESSAGES || gathered.out.len >= FRAME_BYTES)
        send_frame(cl);
    return gathered.messages++ == 0 ? 0 : cf_join(cl->encoding, &gathered.out);
}

/* How a message ends that was begun by frame_open(). */
static void frame_close(struct client *cl, int rc)
{
    if (rc == -1) {
        buf_clear(&gathered.out);
        gathered.messages = 0;
        client_end(cl, CLOSE_NO_MEMORY);
    } else if (gathered.client != cl) {
        send_frame(cl);
    }
}

/* How an error is put to who only listens: it is the end. */
static enum close_reason end_for(uint32_t error)
{
    switch (error) {
    case CF_ERROR_TOKEN_EXPIRED:
    case CF_ERROR_EXPIRED:
        return CLOSE_CF_EXPIRED;
    case CF_ERROR_TOO_MANY_REQUESTS:
        return CLOSE_CF_TOO_MANY_REQUESTS;
    case CF_ERROR_PERMISSION_DENIED:
        return CLOSE_CF_DENIED;
    default:
        return CLOSE_CF_INTERNAL;
    }
}

/* The reply as a push. */
static int encode_push_of(const struct client *cl, const struct cf_reply *r, struct buf *out)
{
    struct cf_push push = r->push;

    if (!r->has_connect && !r->has_push) /* a ping */
        return buf_append_lit(out, "{}");
    if (r->has_connect) {
        push = (struct cf_push){.has_connect = true};
        push.connect = cf_connect_push_of(&r->connect);
    }
    return cf_encode_push((enum cf_encoding)cl->encoding, &push, out);
}

void reply_send(struct client *cl, const struct cf_reply *r)
{
    int rc;

    if (client_ended(cl))
        return;
    if (cl->listens && r->has_error) {
        client_end(cl, end_for(r->error.code));
        return;
    }
    rc = frame_open(cl);
    if (rc == 0)
        rc = cl->listens ? encode_push_of(cl, r, &gathered.out)
                         : cf_encode_reply(cl->encoding, r, &gathered.out);
    frame_close(cl, rc);
}

void reply_raw(struct client *cl, struct str encoded)
{
    int rc;

    if (client_ended(cl))
        return;
    rc = frame_open(cl);
    if (rc == 0)
        rc = buf_append(&gathered.out, encoded);
    frame_close(cl, rc);
}

void reply_error(struct client *cl, uint32_t id, enum cf_error_code code)
{
    const struct cf_reply r = {.id = id, .has_error = true, .error = cf_error(code)};

    METRIC_INC(cf_errors);
    TRACE(error, cl->conn->id, r.error.message, code, id);
    reply_send(cl, &r);
}

void reply_ping(struct client *cl)
{
    static const struct cf_reply nothing = {.id = 0};

    reply_send(cl, &nothing);
}
