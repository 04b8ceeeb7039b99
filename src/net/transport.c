/* net/transport.c - what is the same for all transports that are not plain TCP. */
#include "net/transport.h"

#include <assert.h>

#include "net_internal.h"
#include "tcp.h"

struct conn *transport_add(const struct transport *state, size_t size, int place,
                           const struct conn_ops *ops, const struct sockaddr *peer, unsigned flags,
                           enum conn_state first)
{
    struct conn *c = conn_new(place, ops, peer, flags | CONN_NOT_TCP, first);

    assert(size <= TRANSPORT_STATE_SIZE);
    if (c == NULL)
        return NULL;
    memcpy(transport_state(c), state, size);
    return c;
}

void transport_rewatch(struct conn *c, int events)
{
    transport_of(c)->want(c, events);
    if ((events & TRANSPORT_READ) && transport_of(c)->pending(c))
        conn_ready(c);
}

void conn_ready(struct conn *c)
{
    if (conn_dead(c) || (c->flags & CONN_READY))
        return;
    if (ids_push(&reactor->ready, c->id) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return;
    }
    c->flags |= CONN_READY;
}

bool ready_turn(void)
{
    /* Who is queued again meanwhile waits for the next turn. */
    for (size_t n = reactor->ready.n; n > 0; n--) {
        struct conn *c = conn_find(ids_pop(&reactor->ready));

        if (c == NULL)
            continue;
        c->flags &= (uint16_t)~CONN_READY;
        conn_event(c, TRANSPORT_READ | TRANSPORT_WRITE);
    }
    return reactor->ready.n > 0;
}
