#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/proxy.h"
#include "net/reactor.h"

#define CAPACITY    65536
#define STALL_CALLS 8
/* Numbers that are no descriptors in a test. */
#define PLACE_FIRST 4096
#define PLACES_MAX  65536

struct memory_end {
    struct memory_end *peer; /* borrowed; freed with it */
    struct conn *conn;       /* borrowed; NULL: the test's own end */
    struct reactor *reactor; /* borrowed; conn's */
    char *in;                /* owned; a ring of plan.capacity: on its way to this end */
    size_t head, len;
    struct memory_plan plan;
    uint64_t random;
    unsigned stall; /* calls that answer LATER still */
    int wanted;     /* enum transport_event */
    int place;      /* 0: none yet */
    bool hidden;    /* it does not take its peer's connect */
    bool refusing;
    bool ended;  /* nothing more will come from it */
    bool broken; /* both directions */
    bool closed;
    bool lingers; /* what it has sent is delivered although it is closed */
};

struct memory_state {
    struct transport transport;
    struct memory_end *end; /* owned */
};
_Static_assert(sizeof(struct memory_state) <= TRANSPORT_STATE_SIZE, "TRANSPORT_STATE_SIZE");

static bool places[PLACES_MAX]; /* by place - PLACE_FIRST: taken */

struct memory_end *memory_of(const struct conn *c)
{
    return ((const struct memory_state *)transport_state(c))->end;
}

/* splitmix64 */
static uint64_t next_random(struct memory_end *e)
{
    uint64_t z = (e->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool one_in(struct memory_end *e, unsigned each)
{
    return e->plan.seed != 0 && each != 0 && next_random(e) % each == 0;
}

static bool readable(const struct memory_end *e)
{
    return e->len > 0 || e->peer->ended || e->broken;
}

static bool writable(const struct memory_end *e)
{
    return e->peer->len < e->plan.capacity || e->broken;
}

/* Tells the connection what it wants to know, if it is so. The call may have come from another
 * reactor's. */
static void tell(struct memory_end *e)
{
    struct reactor *running = reactor;
    bool connecting = e->conn != NULL && e->conn->state == CONN_CONNECTING;

    if (e->conn == NULL || (connecting && e->peer->hidden && !e->peer->refusing))
        return;
    reactor = e->reactor;
    if (((e->wanted & TRANSPORT_READ) && readable(e)) ||
        ((e->wanted & TRANSPORT_WRITE) && writable(e)))
        conn_ready(e->conn);
    reactor = running;
}

static void end_init(struct memory_end *e, const struct memory_plan *plan, struct memory_end *peer)
{
    e->peer = peer;
    e->plan = *plan;
    if (e->plan.capacity == 0)
        e->plan.capacity = CAPACITY;
    e->lingers = true;
    e->random = plan->seed ^ (e < peer ? 0 : UINT64_C(0x5851f42d4c957f2d));
    e->in = malloc(e->plan.capacity);
}

int memory_pair(const struct memory_plan *plan, struct memory_end *ends[2])
{
    static const struct memory_plan well_behaved = {0};
    struct memory_end *both = calloc(2, sizeof(*both));

    if (both == NULL)
        return -1;
    for (int i = 0; i < 2; i++) {
        ends[i] = &both[i];
        end_init(&both[i], plan != NULL ? plan : &well_behaved, &both[1 - i]);
    }
    if (both[0].in != NULL && both[1].in != NULL)
        return 0;
    free(both[0].in);
    free(both[1].in);
    free(both);
    return -1;
}

static void break_both(struct memory_end *e)
{
    e->broken = e->peer->broken = true;
    e->len = e->peer->len = 0;
    tell(e->peer);
    tell(e);
}

void memory_reset(struct memory_end *e)
{
    break_both(e);
}

void memory_shut(struct memory_end *e)
{
    e->ended = true;
    tell(e->peer);
}

void memory_close(struct memory_end *e)
{
    struct memory_end *first = e < e->peer ? e : e->peer;

    if (e->place != 0)
        places[e->place - PLACE_FIRST] = false;
    e->conn = NULL;
    e->closed = true;
    if (e->len > 0 || !e->lingers)
        break_both(e);
    else
        memory_shut(e);
    if (!e->peer->closed)
        return;
    free(first[0].in);
    free(first[1].in);
    free(first);
}

/* True: this call answers with *answer, whatever could be done. */
static bool misbehaves(struct memory_end *e, ssize_t *answer)
{
    if (!e->broken && one_in(e, e->plan.reset_each))
        break_both(e);
    *answer = TRANSPORT_BROKEN;
    if (e->broken)
        return true;
    *answer = TRANSPORT_LATER;
    if (e->stall == 0 && one_in(e, e->plan.stall_each))
        e->stall = STALL_CALLS;
    if (e->stall > 0) {
        e->stall--;
        return true;
    }
    return one_in(e, e->plan.later_each);
}

static size_t some_of(struct memory_end *e, size_t n)
{
    return n > 1 && one_in(e, e->plan.short_each) ? 1 + next_random(e) % (n - 1) : n;
}

static ssize_t take_bytes(struct memory_end *e, char *p, size_t max)
{
    size_t n = some_of(e, MIN(e->len, max)), first = MIN(n, e->plan.capacity - e->head);

    memcpy(p, e->in + e->head, first);
    memcpy(p + first, e->in, n - first);
    e->head = (e->head + n) % e->plan.capacity;
    e->len -= n;
    return (ssize_t)n;
}

static size_t put_bytes(struct memory_end *to, const char *p, size_t n)
{
    size_t at = (to->head + to->len) % to->plan.capacity;
    size_t first = MIN(n, to->plan.capacity - at);

    memcpy(to->in + at, p, first);
    memcpy(to->in, p + first, n - first);
    to->len += n;
    return n;
}

ssize_t memory_read(struct memory_end *e, void *p, size_t max)
{
    ssize_t n;

    if (misbehaves(e, &n))
        return n;
    if (e->len == 0)
        return e->peer->ended ? TRANSPORT_EOF : TRANSPORT_LATER;
    n = take_bytes(e, p, max);
    tell(e->peer);
    return n;
}

ssize_t memory_write(struct memory_end *e, const void *p, size_t n)
{
    struct memory_end *to = e->peer;
    ssize_t answer;

    if (misbehaves(e, &answer))
        return answer;
    if (e->ended)
        return TRANSPORT_BROKEN;
    if (to->closed) { /* nobody is there to read it */
        break_both(e);
        return TRANSPORT_BROKEN;
    }
    n = some_of(e, MIN(n, to->plan.capacity - to->len));
    if (n == 0)
        return TRANSPORT_LATER;
    put_bytes(to, p, n);
    tell(to);
    return (ssize_t)n;
}

void memory_listen(struct memory_end *e, bool there)
{
    e->hidden = !there;
    tell(e->peer);
}

void memory_refuse(struct memory_end *e)
{
    e->refusing = true;
    tell(e->peer);
}

/* ---- the transport
 * -------------------------------------------------------------------------------- */

static ssize_t carrier_recv(struct conn *c, char *p, size_t max)
{
    return memory_read(memory_of(c), p, max);
}

static ssize_t carrier_raw(struct conn *c, char *p, size_t max, bool peek)
{
    struct memory_end *e = memory_of(c);
    size_t head = e->head, len = e->len;
    ssize_t n;

    if (!peek)
        return memory_read(e, p, max);
    if (misbehaves(e, &n))
        return n;
    if (len == 0)
        return e->peer->ended ? TRANSPORT_EOF : TRANSPORT_LATER;
    n = take_bytes(e, p, max);
    e->head = head;
    e->len = len;
    return n;
}

static ssize_t carrier_send(struct conn *c, const char *p, size_t n)
{
    return c->state == CONN_CONNECTING ? TRANSPORT_LATER : memory_write(memory_of(c), p, n);
}

static ssize_t carrier_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    ssize_t total = 0, sent;

    for (size_t i = 0; i < n; i++) {
        sent = carrier_send(c, iov[i].iov_base, iov[i].iov_len);
        if (sent <= 0)
            return total > 0 ? total : sent;
        total += sent;
        if ((size_t)sent < iov[i].iov_len)
            break;
    }
    return total;
}

static int carrier_connected(struct conn *c)
{
    const struct memory_end *peer = memory_of(c)->peer;

    if (peer->refusing || peer->broken)
        return -1;
    return peer->hidden ? 0 : 1;
}

static int carrier_shut(struct conn *c, bool last UNUSED)
{
    if (memory_of(c)->broken)
        return -1;
    memory_shut(memory_of(c));
    return 0;
}

static void carrier_close(struct conn *c)
{
    memory_close(memory_of(c));
}

static void carrier_linger(struct conn *c, uint64_t ns)
{
    memory_of(c)->lingers = ns > 0;
}

static void carrier_want(struct conn *c, int events)
{
    memory_of(c)->wanted = events;
    tell(memory_of(c));
}

static bool carrier_pending(const struct conn *c)
{
    return readable(memory_of(c));
}

static bool carrier_unread(const struct conn *c)
{
    return memory_of(c)->peer->len > 0;
}

static void carrier_describe(const struct conn *c UNUSED, char *out, size_t cap)
{
    snprintf(out, cap, "memory");
}

static const struct transport_ops memory_transport = {
    .recv = carrier_recv,
    .raw = carrier_raw,
    .send = carrier_send,
    .sendv = carrier_sendv,
    .connected = carrier_connected,
    .shut = carrier_shut,
    .close = carrier_close,
    .linger = carrier_linger,
    .want = carrier_want,
    .pending = carrier_pending,
    .unread = carrier_unread,
    .describe = carrier_describe,
};

static int place_take(void)
{
    for (int i = 0; i < PLACES_MAX; i++)
        if (!places[i]) {
            places[i] = true;
            return PLACE_FIRST + i;
        }
    fprintf(stderr, "memory: more than %d connections\n", PLACES_MAX);
    abort();
}

struct conn *memory_add(struct memory_end *e, const struct conn_ops *ops,
                        const struct sockaddr *peer, unsigned flags, enum conn_state first)
{
    const struct memory_state state = {{&memory_transport}, e};

    e->place = place_take();
    e->reactor = reactor;
    e->conn = transport_add(&state.transport, sizeof(state), e->place, ops, peer, flags, first);
    if (e->conn == NULL) {
        memory_close(e);
        return NULL;
    }
    if (first == CONN_PROXY)
        proxy_begin(e->conn);
    conn_update_events(e->conn);
    return e->conn;
}
