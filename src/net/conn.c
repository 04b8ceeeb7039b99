/* Happy path of a read event:
 *   1. input.c says whose turn it is                2. ops->may_read() says how much may come now
 *   3. one read into the worker's scratch           4. ops->input() takes all of it
 *   5. leave; what was answered is flushed later
 * can fail: no room in the ring (held, asked again each turn), end of file (ops->eof), reset
 * (CLOSE_PEER_GONE).
 *
 * Happy path of an end: conn_finish(), state FLUSHING · the queue is flushed · shutdown(SHUT_WR),
 * state LINGERING · input is discarded until the peer's end of file · conn_kill() · reaped at the
 * end of the turn. */
#include <assert.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net/session.h"
#include "net/tls_server.h"
#include "net_internal.h"
#include "tcp.h"

enum gauge { GAUGE_NONE = 0, GAUGE_HTTP, GAUGE_PROTOCOL, GAUGE_CLOSING };
enum deadline { DEADLINE_NONE = 0, DEADLINE_OPS, DEADLINE_END };

static const struct { /* as tbl/states.def explains */
    const char *label;
    enum gauge gauge;
    enum deadline deadline;
    uint32_t successors;
} states[CONN_STATE_NR] = {
#define X(name, label, gauge, deadline, takes, successors)                                         \
    [CONN_##name] = {label, GAUGE_##gauge, DEADLINE_##deadline, successors},
#include "tbl/states.def"
#undef X
};

#define SPOKEN(name, label) const char conn_name_##name[] = label;
#include "tbl/protocols.def"

const char *conn_state_name(enum conn_state s)
{
    return states[s].label;
}

/* The gauge that counts open connections of a kind, or NULL. */
static int64_t *kind_gauge(unsigned kind)
{
    switch (kind) {
#define WS_SESSION(NAME, name, label)                                                              \
    case SESSION_##NAME:                                                                           \
        return &metrics->connections_##name;
#include "tbl/protocols.def"
    }
    return NULL;
}

/* The gauge that counts connections in the state that c is in, or NULL. */
static int64_t *state_gauge(const struct conn *c)
{
    switch (states[c->state].gauge) {
    case GAUGE_HTTP:
        return &metrics->connections_http;
    case GAUGE_PROTOCOL:
        return kind_gauge(conn_ops(c)->kind);
    case GAUGE_CLOSING:
        return &metrics->connections_closing;
    case GAUGE_NONE:
        break;
    }
    return NULL;
}

void conn_set_state(struct conn *c, enum conn_state s)
{
    const struct session_ops *session = conn_ops(c)->session;
    bool ends = c->state == CONN_OPEN && s != CONN_OPEN;
    int64_t *gauge;

    assert(states[c->state].successors & (1u << s));
    gauge = state_gauge(c);
    if (gauge != NULL)
        --*gauge;
    c->state = (uint8_t)s;
    gauge = state_gauge(c);
    if (gauge != NULL)
        ++*gauge;
    TRACE(state, c->id, str_from(conn_state_name(s)));
    if (ends && session != NULL && session->ended != NULL)
        session->ended(c);
}

struct conn *conn_find(uint64_t id)
{
    size_t fd = id & ((UINT64_C(1) << CONN_ID_FD_BITS) - 1);
    struct conn *c = fd < reactor->conns_cap ? reactor->conns[fd] : NULL;

    return c != NULL && c->id == id && !conn_dead(c) ? c : NULL;
}

void conn_kill(struct conn *c, enum close_reason why)
{
    if (conn_dead(c))
        return;
    if (c->reason == CLOSE_NONE)
        c->reason = (uint8_t)why;
    if (TRACE_WANTED(close))
        conn_trace_close(c);
    conn_set_state(c, CONN_DEAD);
    transport_want(c, 0);
    wheel_disarm(&reactor->wheel, &c->deadline);
    if (c->out != NULL) {
        list_remove(&c->out->link);
        slow_forget(c->out);
    }
    list_append(&reactor->condemned, &c->deadline.link);
}

unsigned conn_chance(const struct conn *c, unsigned n)
{
    return (unsigned)(hash_str((struct str){(const char *)&c->id, sizeof(c->id)}) % n);
}

void conn_broken(struct conn *c, ssize_t answer)
{
    if (answer == TRANSPORT_FAULT && c->out == NULL) /* what it was told must not be reset away */
        conn_finish(c, CLOSE_TLS_BROKEN);
    else if (answer == TRANSPORT_FAULT)
        conn_kill(c, CLOSE_TLS_BROKEN);
    else
        conn_kill(c, answer == TRANSPORT_NO_MEMORY ? CLOSE_NO_MEMORY : CLOSE_PEER_GONE);
}

bool conn_unread(const struct conn *c)
{
    return c->out != NULL || transport_of(c)->unread(c);
}

void conn_abandon(struct conn *c, enum close_reason why)
{
    if (conn_unread(c))
        transport_of(c)->linger(c, 0);
    conn_kill(c, why);
}

void conn_finish(struct conn *c, enum close_reason why)
{
    if (conn_finished(c))
        return;
    if (c->reason == CLOSE_NONE)
        c->reason = (uint8_t)why;
    if (conn_opening(c)) {
        conn_kill(c, why);
        return;
    }
    conn_set_state(c, CONN_FLUSHING);
    conn_arm(c, 0);
    conn_release_hold(c, CONN_HOLD_RING | CONN_HOLD_ANSWER | CONN_HOLD_OUTPUT | CONN_HOLD_ENDED);
    /* While the queue is not empty, config.output_timeout is what bounds it. */
    if (c->out == NULL)
        conn_shut(c);
}

/* Its end has come already and nothing more is awaited from it: the kernel delivers the rest, for
 * as long as anybody else has to take it. */
static void conn_leave_rest(struct conn *c)
{
    if (conn_unread(c))
        transport_of(c)->linger(c, (uint64_t)config.close_timeout);
    conn_kill(c, c->reason);
}

void conn_shut(struct conn *c)
{
    bool last = (c->flags & CONN_EOF) != 0;
    int rc = transport_of(c)->shut(c, last);

    if (last) {
        conn_leave_rest(c);
        return;
    }
    if (rc == -1) {
        conn_kill(c, c->reason);
        return;
    }
    conn_set_state(c, CONN_LINGERING);
    conn_arm(c, (uint64_t)config.close_timeout);
}

void conn_arm(struct conn *c, uint64_t delay_ns)
{
    if (conn_dead(c)) /* its link is the condemned list's */
        return;
    if (delay_ns == 0)
        wheel_disarm(&reactor->wheel, &c->deadline);
    else
        wheel_arm(&reactor->wheel, &c->deadline, reactor_ns(), delay_ns);
}

void conn_deadline_fired(struct wheel_entry *e, void *arg UNUSED)
{
    struct conn *c = CONTAINER_OF(e, struct conn, deadline);

    switch (states[c->state].deadline) {
    case DEADLINE_OPS:
        if (UNLIKELY(c->state == CONN_SECURING) && tls_overdue(c))
            break;
        conn_ops(c)->deadline(c);
        break;
    case DEADLINE_END:
        conn_abandon(c, c->reason);
        break;
    case DEADLINE_NONE:
        break;
    }
}

void conn_update_events(struct conn *c)
{
    int want = 0;

    if (conn_dead(c))
        return;
    if (UNLIKELY(conn_opening(c))) {
        want = c->state == CONN_CONNECTING ? TRANSPORT_WRITE : TRANSPORT_READ;
    } else {
        if (conn_wants_input(c))
            want |= TRANSPORT_READ;
        if (c->flags & CONN_OUT_STALLED)
            want |= TRANSPORT_WRITE;
    }
    /* The header stands in front of what the transport reads. */
    if (UNLIKELY(c->state == CONN_PROXY) && transport_of(c)->raw == NULL)
        tcp_want(c, want);
    else
        transport_want(c, want);
}

void conn_hold(struct conn *c, unsigned reasons)
{
    if (conn_dead(c))
        return;
    if ((reasons & CONN_HOLD_RING) && !(c->hold & CONN_HOLD_RING) && held_add(c) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return;
    }
    if (TRACE_WANTED(hold))
        conn_trace_holds(c, reasons & ~(unsigned)c->hold, true);
    c->hold |= (uint8_t)reasons;
    conn_update_events(c);
}

void conn_release_hold(struct conn *c, unsigned reasons)
{
    if (conn_dead(c))
        return;
    if (TRACE_WANTED(resume))
        conn_trace_holds(c, reasons & c->hold, false);
    c->hold &= (uint8_t)~reasons;
    conn_update_events(c);
    if (c->hold == 0 && ws_rx_aside(&c->rx)) /* no poll tells of that */
        conn_ready(c);
}

/* A finished one is read only to find its end, or a reset would destroy the last bytes we
 * sent (RFC 9112 §9.6). */
static void conn_read_last(struct conn *c)
{
    c->flags |= CONN_EOF;
    if (c->state == CONN_LINGERING)
        conn_kill(c, c->reason);
    else
        conn_update_events(c);
}

static void conn_read_eof(struct conn *c)
{
    c->flags |= CONN_EOF;
    conn_hold(c, CONN_HOLD_ENDED);
    if (conn_ops(c)->eof != NULL)
        conn_ops(c)->eof(c);
    else
        conn_kill(c, CLOSE_PEER_GONE);
}

static void conn_input(struct conn *c, size_t n)
{
    struct str in = {reactor->scratch, n};
    uint64_t before;

    c->heard = reactor->tick;
    if (!input_note(c, n)) {
        conn_ops(c)->input(c, in);
        return;
    }
    before = clock_precise_ns();
    conn_ops(c)->input(c, in);
    input_took(before);
}

/* A read brought no bytes. */
static void conn_read_nothing(struct conn *c, ssize_t answer)
{
    if (answer == TRANSPORT_LATER)
        return;
    if (answer != TRANSPORT_EOF)
        conn_broken(c, answer);
    else if (conn_finished(c))
        conn_read_last(c);
    else
        conn_read_eof(c);
}

void conn_read(struct conn *c, size_t max)
{
    ssize_t n = transport_recv(c, reactor->scratch, max);

    METRIC_INC(reads);
    if (UNLIKELY(n <= 0)) {
        conn_read_nothing(c, n);
    } else {
        METRIC_ADD(read_bytes, (uint64_t)n);
        TRACE(read, c->id, STR_NULL, (uint64_t)n);
        if (!conn_finished(c))
            conn_input(c, (size_t)n);
    }
    if (UNLIKELY(c->flags & CONN_NOT_TCP)) /* what it waits for may be another now */
        conn_update_events(c);
}

size_t conn_may_read(struct conn *c)
{
    size_t want = input_max(c);

    if (conn_ops(c)->may_read == NULL || conn_finished(c))
        return want;
    return conn_ops(c)->may_read(c, want);
}

void conn_readable(struct conn *c)
{
    /* Who may publish much stands behind those who wait and may publish little. */
    bool behind = (c->flags & CONN_BULK) && conn_ops(c)->may_read != NULL && !conn_finished(c) &&
                  !list_empty(&reactor->waiters.light);
    size_t max = behind ? 0 : conn_may_read(c);

    if (max > 0) {
        conn_read(c, max);
    } else {
        METRIC_INC(ring_stalls);
        conn_hold(c, CONN_HOLD_RING);
    }
}

void conn_event(struct conn *c, int events)
{
    bool other = (c->flags & CONN_NOT_TCP) != 0;

    if (UNLIKELY(conn_opening(c))) {
        conn_establish(c);
        return;
    }
    if (UNLIKELY(other)) /* either direction may have waited for what the other usually does */
        events = TRANSPORT_READ | TRANSPORT_WRITE;
    if ((events & TRANSPORT_WRITE) && (c->flags & CONN_OUT_STALLED))
        conn_flush(c);
    /* The flush may have killed it, or stopped reading. */
    if ((events & TRANSPORT_READ) && !conn_dead(c) && conn_wants_input(c))
        input_readable(c);
    if (UNLIKELY(other))
        conn_update_events(c);
}

void conn_set_peer(struct conn *c, const struct sockaddr *sa)
{
    address_bytes(sa, c->address, &c->port);
}

void conn_format_address(const struct conn *c, char *out, size_t cap)
{
    address_format_bytes(c->address, c->port, out, cap);
}
