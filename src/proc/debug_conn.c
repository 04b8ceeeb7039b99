/* proc/debug_conn.c - one connection as JSON. */
#include "base/clock.h"
#include "codec/json.h"
#include "debug_internal.h"
#include "net/glitch.h"
#include "net/outq.h"
#include "net/reactor.h"
#include "net/session.h"
#include "net/tls_server.h"
#include "net/transport.h"
#include "proto/inquiry.h"

/* Of the names of one connection, but for the last one: in a listing, and in full. */
#define LISTED_BYTES 8192
#define SHOWN_BYTES  (INQUIRY_ANSWER_MAX / 2)

double debug_age(uint32_t tick)
{
    uint32_t now = (uint32_t)(reactor_ns() / WHEEL_TICK_NS);

    return (double)(now - tick) * (double)WHEEL_TICK_NS / 1e9;
}

struct channels {
    struct buf *out;
    const struct session_ops *session;
    size_t n, shown, max;
    size_t end; /* of out: how long it may get */
    bool full;  /* each is an object */
    int rc;
};

static void put_channel(struct str name, const struct sub *s, void *arg)
{
    struct channels *l = arg;
    struct buf *out = l->out;

    l->n++;
    if (l->shown >= l->max || out->len >= l->end || l->rc != 0)
        return;
    l->rc = buf_append_lit(out, l->shown++ > 0 ? "," : "");
    if (l->full)
        l->rc |= buf_append_lit(out, "{\"channel\":");
    l->rc |= json_append_string(out, name);
    if (!l->full)
        return;
    l->rc |= buf_printf(out, ",\"subscribed\":%s,\"live\":%s", s != NULL ? "true" : "false",
                        s != NULL && s->live ? "true" : "false");
    if (s != NULL && l->session->describe_sub != NULL)
        l->rc |= l->session->describe_sub(s, out);
    l->rc |= buf_append_char(out, '}');
}

/* ",\"<name>\":[...]", and how many there are where these are not all. */
static int put_channels(struct conn *c, const char *name, bool full, struct buf *out)
{
    const struct session_ops *session = conn_ops(c)->session;
    struct channels l = {.out = out,
                         .session = session,
                         .max = full ? DEBUG_CHANNELS_SHOWN : DEBUG_CHANNELS_LISTED,
                         .end = out->len + (full ? SHOWN_BYTES : LISTED_BYTES),
                         .full = full};

    if (session == NULL || session->channels == NULL)
        return 0;
    l.rc = buf_printf(out, ",\"%s\":[", name);
    session->channels(c, put_channel, &l);
    l.rc |= buf_append_char(out, ']');
    if (l.n > l.shown || full)
        l.rc |= buf_printf(out, ",\"%s_count\":%zu", name, l.n);
    return l.rc;
}

int debug_put_conn(struct conn *c, unsigned worker, struct buf *out)
{
    const struct session_ops *session = conn_ops(c)->session;
    char address[CONN_ADDRESS_MAX];
    int rc;

    conn_format_address(c, address, sizeof(address));
    rc = buf_printf(
        out,
        "{\"id\":\"%u:%llu\",\"worker\":%u,\"fd\":%d,\"address\":\"%s\",\"listener\":\"%s\","
        "\"protocol\":\"%s\",\"state\":\"%s\",\"age\":%.1f,\"idle\":%.1f,\"frames_in\":%u,"
        "\"frames_out\":%u,\"queued\":%zu",
        worker, (unsigned long long)c->id, worker, conn_fd(c), address,
        c->flags & CONN_ADMIN ? "admin" : "client", conn_ops(c)->name,
        conn_state_name((enum conn_state)c->state), debug_age(c->since), debug_age(c->heard),
        c->frames_in, c->frames_out, conn_queued(c));
    rc |= buf_append_lit(out, ",\"by\":");
    rc |= json_append_string(out, str_from(listener_label(conn_listener(c))));
    if (tls_subject(c) != NULL) {
        rc |= buf_append_lit(out, ",\"certificate\":");
        rc |= json_append_string(out, str_from(tls_subject(c)));
    }
    if (rc == 0 && session != NULL && session->describe != NULL)
        rc = session->describe(c, out);
    return rc | put_channels(c, "channels", false, out);
}

/* The names of the bits that are set. */
static int put_bits(const char *name, unsigned bits, const char *const *labels, size_t n,
                    struct buf *out)
{
    const char *sep = "";
    int rc = buf_printf(out, ",\"%s\":[", name);

    for (size_t i = 0; i < n; i++) {
        if ((bits >> i & 1) == 0)
            continue;
        rc |= buf_printf(out, "%s\"%s\"", sep, labels[i]);
        sep = ",";
    }
    return rc | buf_append_char(out, ']');
}

static int put_flags(const struct conn *c, struct buf *out)
{
    static const char *const holds[] = {
#define HOLD(name, label) label,
#include "tbl/conn_flags.def"
    };
    static const char *const flags[] = {
#define FLAG(name, label) label,
#include "tbl/conn_flags.def"
    };

    if (put_bits("held_for", c->hold, holds, ARRAY_LEN(holds), out) == -1)
        return -1;
    return put_bits("flags", c->flags, flags, ARRAY_LEN(flags), out);
}

static double seconds_since(uint64_t ns)
{
    return reactor_ns() > ns ? (double)(reactor_ns() - ns) / 1e9 : 0;
}

static int put_sentence(struct buf *out, const char **sep, const char *text)
{
    int rc = buf_append_lit(out, *sep);

    *sep = ",";
    return rc | json_append_string(out, str_from(text));
}

/* Why it is slow, in words: to send to, and to read from. Nothing: it is not. */
static int put_why_slow(const struct conn *c, struct buf *out)
{
    static const struct {
        unsigned hold;
        const char *text;
    } holds[] = {
        {CONN_HOLD_RING, "it is not read: the ring to the hub has no room for what it publishes"},
        {CONN_HOLD_ANSWER, "it is not read: what it has asked for is not answered yet"},
        {CONN_HOLD_OUTPUT, "it is not read: its own output has reached output_limit"},
        {CONN_HOLD_ENDED, "its input has ended"},
    };
    const char *sep = "";
    char text[200];
    int rc = buf_append_lit(out, ",\"why_slow\":[");

    if (c->out != NULL && (c->flags & CONN_OUT_STALLED)) {
        snprintf(text, sizeof(text),
                 "the socket is full: the peer, or the way to it, has taken none of %zu bytes for "
                 "%.1f s",
                 conn_queued(c), seconds_since(outq_since(c->out)));
        rc |= put_sentence(out, &sep, text);
    }
    if (c->out != NULL && c->out->over_since != 0) {
        snprintf(text, sizeof(text), "its queue has been longer than output_limit for %.1f s",
                 seconds_since(c->out->over_since));
        rc |= put_sentence(out, &sep, text);
    }
    for (size_t i = 0; i < ARRAY_LEN(holds); i++)
        if (c->hold & holds[i].hold)
            rc |= put_sentence(out, &sep, holds[i].text);
    if (c->flags & CONN_LATE)
        rc |= put_sentence(out, &sep, "it has sent something that waits for its turn to be read");
    return rc | buf_append_char(out, ']');
}

int debug_put_full(struct conn *c, struct buf *out)
{
    double due = ((double)c->deadline.tick * (double)WHEEL_TICK_NS - (double)reactor_ns()) / 1e9;
    char transport[64];
    int rc = put_flags(c, out);

    transport_of(c)->describe(c, transport, sizeof(transport));
    rc |= buf_printf(out,
                     ",\"transport\":\"%s\",\"reason\":\"%s\",\"deadline_in\":%.1f,\"partial_"
                     "bytes\":%zu,\"glitches\":%u,\"last_sent_turn\":%u,"
                     "\"queue_age\":%.3f,\"queued_frames\":%u",
                     transport, close_row((enum close_reason)c->reason)->label,
                     wheel_armed(&c->deadline) ? MAX(due, 0.0) : -1.0, ws_rx_held(&c->rx),
                     glitch_points(c), c->sent_turn,
                     c->out != NULL ? seconds_since(outq_since(c->out)) : 0.0,
                     c->out != NULL ? outq_items(c->out) : 0);
    rc |= put_channels(c, "subscriptions", true, out);
    return rc | put_why_slow(c, out);
}
