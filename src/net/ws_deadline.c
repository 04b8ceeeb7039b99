/* net/ws_deadline.c - what is due on a WebSocket connection: pings, and ends by the clock. */
#include "base/config.h"
#include "base/metrics.h"
#include "net_internal.h"
#include "ws_internal.h"

static uint64_t ticks_ns(uint32_t ticks)
{
    return ticks * WHEEL_TICK_NS;
}

/* However late this runs, the pong's time begins now. */
static void ws_await_pong(struct conn *c)
{
    c->heard = reactor->tick - (uint32_t)((uint64_t)config.ping_interval / WHEEL_TICK_NS);
}

static int ws_ping(struct conn *c)
{
    METRIC_INC(pings_out);
    c->flags |= CONN_PINGED;
    ws_await_pong(c);
    return ws_send_control(c, WS_OP_PING, NULL, 0);
}

/* How long a connection may stay silent from now on; 0: it has ended. */
static uint64_t ws_check_silence(struct conn *c)
{
    uint64_t interval = (uint64_t)config.ping_interval;
    uint64_t pong_due = interval + (uint64_t)config.pong_timeout;

    if (!(c->flags & CONN_PINGED) && ticks_ns(reactor->tick - c->heard) < interval)
        return interval - ticks_ns(reactor->tick - c->heard);
    if (!(c->flags & CONN_PINGED) && ws_ping(c) == -1)
        return 0;
    /* The ping may stand behind what the peer still takes. Looked at often, as most of the time
     * must be left when that has gone. Who takes nothing any more is ended by
     * config.output_timeout. */
    if (c->flags & CONN_OUT_STALLED) {
        ws_await_pong(c);
        return MIN(interval, (uint64_t)config.pong_timeout / 4);
    }
    /* Looked at after an interval at the latest, so that an answered ping is followed by the next
     * one in time. */
    if (ticks_ns(reactor->tick - c->heard) < pong_due)
        return MIN(pong_due - ticks_ns(reactor->tick - c->heard), interval);
    ws_close(c, CLOSE_NO_PONG);
    return 0;
}

/* How long until something is due by RFC 6455; 0: it has ended. */
static uint64_t ws_due(struct conn *c)
{
    uint64_t timeout = (uint64_t)config.message_timeout, silence, age;

    if (c->hold != 0) { /* it is not read: the silence is ours, and other limits bound it */
        c->heard = c->begun = reactor->tick;
        return (uint64_t)config.ping_interval;
    }
    age = ws_rx_partial(&c->rx) ? ticks_ns(reactor->tick - c->begun) : 0;
    if (age >= timeout) {
        ws_close(c, CLOSE_MESSAGE_TIMEOUT);
        return 0;
    }
    silence = c->flags & CONN_OWN_PINGS ? UINT64_MAX : ws_check_silence(c);
    return ws_rx_partial(&c->rx) ? MIN(silence, timeout - age) : silence;
}

static void ws_deadline_open(struct conn *c)
{
    uint64_t due = ws_due(c), own;

    if (due == 0)
        return;
    own = ws_session(c)->deadline != NULL ? ws_session(c)->deadline(c) : UINT64_MAX;
    due = MIN(due, own);
    if (c->state == CONN_OPEN && due != UINT64_MAX)
        conn_arm(c, due);
}

/* The peer has not answered our close frame. */
static void ws_deadline_closing(struct conn *c)
{
    uint32_t dropped = 0;

    /* It does not read; but what stands before the close frame may have been too much. */
    if (c->out != NULL)
        dropped = conn_drop_publications(c);
    METRIC_ADD(drops_disconnect, dropped);
    if (dropped > 0) {
        conn_arm(c, (uint64_t)config.close_timeout);
        return;
    }
    /* The first reason stands, unless it was an ordinary end of ours, which this is not any more.
     */
    if (c->reason == CLOSE_DRAIN || c->reason == CLOSE_NORMAL)
        c->reason = CLOSE_CLOSE_TIMEOUT;
    if (conn_unread(c))
        conn_abandon(c, c->reason);
    else
        conn_finish(c, c->reason);
}

void ws_deadline(struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_OPEN:
        ws_deadline_open(c);
        break;
    case CONN_SETTLING:
        ws_settled(c);
        break;
    case CONN_CLOSING:
        ws_deadline_closing(c);
        break;
    case CONN_FREE:
    case CONN_CONNECTING:
    case CONN_PROXY:
    case CONN_SECURING:
    case CONN_HTTP:
    case CONN_SUBSCRIBING:
    case CONN_FLUSHING:
    case CONN_LINGERING:
    case CONN_DEAD:
    case CONN_STATE_NR:
        break; /* not this protocol's */
    }
}
