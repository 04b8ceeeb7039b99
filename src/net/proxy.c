/* net/proxy.c - the header that a proxy in front writes before everything else (PROXY protocol).
 *
 * Happy path: 1 proxy_begin(), the peer is trusted · 2 bytes have come: they are looked at, not
 * taken · 3 the header is complete: it is taken, and not a byte more, as what follows is the
 * transport's own (a TLS handshake) · 4 the connection has its client's address, and its own ops.
 * can fail: the peer is nobody's proxy (at once), no header, a malformed one, its deadline, the
 * client is over a limit (CONN_REFUSED: answered so, if it speaks). Of a header that comes in parts,
 * all that is there belongs to it: it is taken and kept, or the socket would stay readable. */
#include "net/proxy.h"

#include "base/buf.h"
#include "base/config.h"
#include "base/metrics.h"
#include "codec/proxy_protocol.h"
#include "net/client.h"
#include "net_internal.h"
#include "tcp.h"

struct proxy_session { /* in the connection's session area */
    const struct conn_ops *next;
    struct buf got; /* owned; of an incomplete header */
};
_Static_assert(sizeof(struct proxy_session) <= CONN_SESSION_SIZE, "proxy_session must fit");

static void proxy_deadline(struct conn *c)
{
    conn_abandon(c, CLOSE_PROXY_TIMEOUT);
}

static void proxy_release(struct conn *c)
{
    struct proxy_session *s = conn_session(c);

    buf_fini(&s->got);
}

static const struct conn_ops proxy_ops = {
    .name = conn_name_proxy, .deadline = proxy_deadline, .release = proxy_release};

void proxy_begin(struct conn *c)
{
    struct proxy_session *s = conn_session(c);

    s->next = conn_ops(c);
    conn_set_ops(c, &proxy_ops);
    if (!client_is_proxy(c->address))
        conn_kill(c, CLOSE_PROXY_UNTRUSTED);
}

static void say_client(const struct conn *c, const struct proxy_header *h)
{
    char address[CONN_ADDRESS_MAX];

    if (log_level() > LOG_DEBUG)
        return;
    conn_format_address(c, address, sizeof(address));
    LOG(LOG_DEBUG, "PROXY header", KV_S("peer", address), KV_U("conn", c->id),
        KV_U("version", h->version), KV_B("local", h->local), KV_B("named", h->addressed),
        KV_STR("authority", h->authority), KV_STR("tls", h->tls_version),
        KV_STR("tls_subject", h->tls_subject), KV_B("tls_verified", h->tls_verified));
}

/* The header is there. -1: killed. */
static int proxy_accept(struct conn *c, const struct proxy_header *h)
{
    struct proxy_session *s = conn_session(c);
    enum close_reason why = CLOSE_NONE;
    const struct conn_ops *next = s->next;

    if (h->addressed) {
        METRIC_INC(clients_proxied);
        why = client_named(c, h->source, h->source_port);
    }
    say_client(c, h);
    buf_fini(&s->got);
    memset(conn_session(c), 0, CONN_SESSION_SIZE);
    conn_set_ops(c, next);
    if (why != CLOSE_NONE)
        conn_set_refused(c, why);
    return conn_dead(c) ? -1 : 1;
}

/* What has come is no whole header: n bytes more of it are in the scratch. */
static int proxy_keep(struct conn *c, size_t before, size_t n)
{
    struct buf *got = &((struct proxy_session *)conn_session(c))->got;

    got->len = before;
    if (buf_append(got, (struct str){reactor->scratch, n}) == 0)
        return 0;
    conn_kill(c, CLOSE_NO_MEMORY);
    return -1;
}

int proxy_receive(struct conn *c)
{
    struct proxy_session *s = conn_session(c);
    size_t before = s->got.len, ours;
    enum close_reason why = CLOSE_NONE;
    struct proxy_header h;
    struct str seen, rest;
    ssize_t n = transport_raw(c, reactor->scratch, PROXY_HEADER_MAX - before, true);
    int rc;

    if (n <= 0)
        return n == TRANSPORT_LATER ? 0 : -1;
    seen = (struct str){reactor->scratch, (size_t)n};
    if (before > 0) {
        if (proxy_keep(c, before, seen.n) == -1)
            return -1;
        seen = buf_view(&s->got);
    }
    rest = seen;
    rc = proxy_header_parse(&rest, &h, &why);
    if (rc < 0) {
        conn_kill(c, why);
        return -1;
    }
    /* The same bytes again, so what h shows of them stays. */
    ours = (rc > 0 ? seen.n - rest.n : seen.n) - before;
    n = transport_raw(c, reactor->scratch, ours, false);
    if (n < 0)
        return -1;
    METRIC_INC(reads);
    METRIC_ADD(read_bytes, (uint64_t)n);
    c->heard = reactor->tick;
    return rc > 0 && (size_t)n == ours ? proxy_accept(c, &h) : proxy_keep(c, before, (size_t)n);
}
