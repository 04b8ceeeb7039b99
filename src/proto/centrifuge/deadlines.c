/* proto/centrifuge/deadlines.c - pings, and what ends by itself.
 *
 * A client has one deadline, the nearest of what is due; it is looked at when it passes, and what
 * comes nearer brings it forward. Times are ticks of the reactor, but for what expires. */
#include <openssl/rand.h>

#include "base/config.h"
#include "base/metrics.h"
#include "client.h"
#include "stream.h"

static uint32_t ticks(int64_t ns)
{
    return (uint32_t)((uint64_t)ns / WHEEL_TICK_NS);
}

static bool due(uint32_t tick)
{
    return (int32_t)(reactor->tick - tick) >= 0;
}

/* From now until then, in ns; not 0. */
static uint64_t until(uint32_t tick)
{
    return due(tick) ? 1 : (uint64_t)(tick - reactor->tick) * WHEEL_TICK_NS;
}

/* What expires does so by the clock, also while this process stood still (reactor_ns()). */
static bool expired(uint32_t tick)
{
    return (int32_t)(client_tick_now() - tick) >= 0;
}

static uint64_t until_expired(uint32_t tick)
{
    return expired(tick) ? 1 : (uint64_t)(tick - client_tick_now()) * WHEEL_TICK_NS;
}

void deadlines_pong(struct client *cl)
{
    if (!cl->pinged)
        client_end(cl, CLOSE_CF_BAD_REQUEST);
    cl->pinged = false;
}

/* What is due of pings; when is the next? cl->ping is when the last one went. */
static uint64_t look_at_ping(struct client *cl)
{
    uint32_t end;

    if (cl->frame_pings)
        return UINT64_MAX;
    if (cl->pinged && cl->conn->hold != 0)
        cl->ping = reactor->tick; /* it is not read: the silence is ours */
    if (!cl->pinged && due(cl->ping + ticks(config.ping_interval))) {
        METRIC_INC(pings_out);
        cl->ping = reactor->tick;
        cl->pinged = !cl->listens;
        reply_ping(cl);
    }
    if (!cl->pinged)
        return until(cl->ping + ticks(config.ping_interval));
    if (cl->conn->flags & CONN_OUT_STALLED) {
        /* The ping may stand behind what the client still takes. Looked at often, as most of the
         * time must be left when that has gone. */
        cl->ping = reactor->tick;
        return (uint64_t)config.pong_timeout / 4;
    }
    end = cl->ping + ticks(config.pong_timeout);
    if (!due(end))
        return until(end);
    client_end(cl, CLOSE_CF_NO_PONG);
    return UINT64_MAX;
}

static uint64_t look_at_expiry(struct client *cl)
{
    uint32_t end = cl->expire + ticks(config.expired_close_delay);

    if (cl->expire == 0)
        return UINT64_MAX;
    if (!expired(end))
        return until_expired(end);
    client_end(cl, CLOSE_CF_EXPIRED);
    return UINT64_MAX;
}

static void look_at_subs(struct client *cl)
{
    struct list *n = cl->subs.next, *next;
    bool more = false;

    for (; n != &cl->subs && !client_ended(cl); n = next) {
        struct client_sub *cs = LIST_ENTRY(n, struct client_sub, link);

        next = n->next;
        if (!(cs->sub.flags & CLIENT_SUB_EXPIRES))
            continue;
        more = true;
        if (cs->start != NULL || !expired(cs->expire + ticks(config.expired_sub_close_delay)))
            continue;
        if (cs->sub.flags & CLIENT_SUB_SERVER)
            client_end(cl, CLOSE_CF_SUB_EXPIRED);
        else
            sub_end(cl, cs, UNSUBSCRIBED_EXPIRED, STR_LIT("subscription expired"));
    }
    cl->look = more ? reactor->tick + ticks(config.presence_update_interval) : 0;
    if (more && cl->look == 0)
        cl->look = 1;
}

static uint64_t look_at_subs_in_time(struct client *cl)
{
    if (cl->look == 0)
        return UINT64_MAX;
    if (due(cl->look))
        look_at_subs(cl);
    return cl->look == 0 ? UINT64_MAX : until(cl->look);
}

uint32_t deadlines_unanswered(struct client *cl)
{
    uint32_t end = reactor->tick + ticks(config.hub_timeout);

    end += end == 0;
    session_wake(cl->conn, until(end));
    return end;
}

/* An answer that came after all would be taken for the next question's: so the connection ends. */
static uint64_t look_at_question(struct client *cl)
{
    const struct client_work *w = cl->work;

    if (w == NULL || w->waits != WAITS_ANSWER || w->overdue == 0)
        return UINT64_MAX;
    if (!due(w->overdue))
        return until(w->overdue);
    client_end(cl, CLOSE_CF_INTERNAL);
    return UINT64_MAX;
}

void deadlines_look(struct client *cl)
{
    if (cl->look != 0)
        return;
    cl->look = reactor->tick + ticks(config.presence_update_interval);
    if (cl->look == 0)
        cl->look = 1;
    session_wake(cl->conn, until(cl->look));
}

void deadlines_changed(struct client *cl)
{
    if (cl->expire != 0)
        session_wake(cl->conn, until_expired(cl->expire + ticks(config.expired_close_delay)));
}

/* The first ping comes after 50 to 100 % of the interval, so that clients that came together are
 * not pinged together. */
void deadlines_begin(struct client *cl)
{
    uint32_t interval = ticks(config.ping_interval), chance = 0;

    (void)RAND_bytes((unsigned char *)&chance, sizeof(chance)); /* without luck: 100 % */
    cl->ping = reactor->tick - chance % (interval / 2 + 1);
    if (!cl->frame_pings)
        session_wake(cl->conn, until(cl->ping + interval));
    deadlines_changed(cl);
}

uint64_t centrifuge_deadline(struct conn *c)
{
    struct client *cl = client_of(c);
    uint64_t next;

    if (cl->state != CLIENT_CONNECTED) {
        uint32_t end;

        if (cl->ping == 0) { /* asked for the first time: it has just been opened */
            cl->ping = reactor->tick;
            if (cl->listens && cl->wire == WIRE_FRAMES)
                listener_opened(c);
            if (cl->work != NULL) /* its connect came with the request */
                client_go_on(cl->work);
        }
        end = cl->ping + ticks(config.stale_close_delay);
        if (!due(end))
            return until(end);
        client_end(cl, CLOSE_CF_STALE);
        return UINT64_MAX;
    }
    next = look_at_ping(cl);
    if (!client_ended(cl))
        next = MIN(next, look_at_expiry(cl));
    if (!client_ended(cl))
        next = MIN(next, look_at_subs_in_time(cl));
    if (!client_ended(cl))
        next = MIN(next, look_at_question(cl));
    return next;
}
