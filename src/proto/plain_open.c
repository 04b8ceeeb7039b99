/* proto/plain_open.c - from the request to the 101.
 *
 * Happy path: 1 the request is in order · 2 the connection is taken over, state SUBSCRIBING, not
 * read · 3 each channel is subscribed to · 4 the hub has confirmed the last of them · 5 in a task:
 * 101, state OPEN · 6 what came behind the head is fed. So whoever sees the 101 misses nothing
 * published after it. can fail: the checks (http_refuse(), the connection may be kept), a channel
 * limit or no memory, the hub's silence (HUB_TIMEOUT), a drain; then the answer is a refusal and
 * the end. */
#include "base/config.h"
#include "base/metrics.h"
#include "plain_internal.h"

#define PLAIN_OPEN_SLICE 16 /* sessions opened in one step */

static enum task_result plain_open_step(struct task *t);
static enum waiter_answer plain_feed_asked(struct waiter *waiter);

static struct pool plain_waits = {.name = NULL};
static struct list plain_opening = LIST_INIT(plain_opening);
static struct task plain_open_task = {
    .link = LIST_INIT(plain_open_task.link), .step = plain_open_step, .name = "plain_open"};

struct plain_wait *plain_wait_new(struct conn *c)
{
    struct plain_wait *w = pool_get(&plain_waits);

    if (w == NULL)
        return NULL;
    list_init(&w->link);
    waiter_init(&w->waiter, plain_feed_asked);
    w->conn = c;
    return w;
}

static void plain_wait_put(struct plain_wait *w)
{
    if (w == NULL)
        return;
    list_remove(&w->link);
    waiter_remove(&w->waiter);
    buf_fini(&w->early);
    pool_put(&plain_waits, w);
}

void plain_wait_free(struct plain_session *ps)
{
    plain_wait_put(ps->wait);
    ps->wait = NULL;
}

/* What the session needs beside its area: *memory is a set, names, or NULL when one subscription
 * does. */
static int plain_memory_new(struct conn *c, const struct plain_query *q, void **memory)
{
    *memory = NULL;
    if (q->mode == PLAIN_PUB) {
        struct plain_names *names = malloc(sizeof(*names) + q->bytes);

        if (names == NULL)
            return -1;
        names->bytes = q->bytes;
        memcpy(names->packed, q->names, q->bytes);
        *memory = names;
    } else if (q->n > 1) {
        struct plain_set *set = calloc(1, sizeof(*set) + q->n * sizeof(set->subs[0]));

        if (set == NULL)
            return -1;
        set->conn = c;
        set->n = q->n;
        *memory = set;
    }
    return 0;
}

static void plain_session_init(struct conn *c, const struct plain_query *q, void *memory,
                               struct plain_wait *wait)
{
    struct plain_session *ps = plain_session(c);

    ps->mode = (uint8_t)q->mode;
    ps->quiet = q->quiet;
    ps->envelope = q->envelope;
    ps->wait = wait;
    if (q->mode == PLAIN_PUB)
        ps->names = memory;
    else if (memory != NULL)
        ps->set = memory;
    ps->has_set = q->mode != PLAIN_PUB && memory != NULL;
    wait->want = q->mode == PLAIN_PUB ? 0 : q->n;
    conn_set_ops(c, &plain_waiting_ops);
    conn_set_state(c, CONN_SUBSCRIBING);
    conn_hold(c, CONN_HOLD_ANSWER);
    conn_arm(c, (uint64_t)config.hub_timeout);
}

static uint16_t plain_sub_flags(const struct plain_session *ps, unsigned index)
{
    unsigned flags = 0;

    if (ps->has_set)
        flags |= PLAIN_SUB_IN_SET | index << PLAIN_SUB_INDEX_SHIFT;
    if (ps->quiet)
        flags |= PLAIN_SUB_QUIET;
    return (uint16_t)flags;
}

/* Confirmations may come before this returns. */
static int plain_subscribe(struct plain_session *ps, const struct plain_query *q,
                           enum close_reason *why)
{
    struct str rest = {.p = q->names, .n = q->bytes}, name;
    size_t n;
    struct sub *subs = plain_subs(ps, &n);

    for (unsigned i = 0; i < n && plain_name_next(&rest, &name); i++) {
        subs[i].flags = plain_sub_flags(ps, i);
        subs[i].kind = SESSION_PLAIN;
        subs[i].variant = ps->envelope ? BATCH_PLAIN_ENVELOPE : BATCH_RAW;
        if (broker_subscribe(reactor->broker, &subs[i], name, why) == -1)
            return -1;
    }
    return 0;
}

static void plain_open_later(struct plain_wait *w)
{
    list_remove(&w->link);
    list_append(&plain_opening, &w->link);
    task_add(&reactor->tasks, &plain_open_task);
}

void plain_open_subscribed(struct conn *c)
{
    struct plain_wait *w = plain_session(c)->wait;

    if (c->state == CONN_SUBSCRIBING && ++w->live == w->want)
        plain_open_later(w);
}

static void plain_handle(struct http_exchange *x)
{
    static struct plain_query q; /* large; valid in here only */
    struct conn *c = x->conn;
    struct upgrade up;
    struct plain_wait *wait = NULL;
    struct str channel = x->resource->prefix ? x->path : STR_NULL;
    void *memory = NULL;
    enum close_reason why;

    if (upgrade_check(x->request, &up, &why) == -1 ||
        plain_query_parse(channel, x->request->query, &q, &why) == -1) {
        http_refuse(x, why);
        return;
    }
    wait = plain_wait_new(c);
    if (reactor->draining || wait == NULL || plain_memory_new(c, &q, &memory) == -1) {
        plain_wait_put(wait);
        http_refuse(x, reactor->draining ? CLOSE_DRAIN : CLOSE_NO_MEMORY);
        return;
    }
    wait->upgrade = up;
    if (http_take_over(x, &wait->early) == -1) {
        plain_wait_put(wait);
        free(memory);
        return;
    }
    plain_session_init(c, &q, memory, wait);
    if (wait->want == 0) {
        plain_open_later(wait);
    } else if (plain_subscribe(plain_session(c), &q, &why) == -1) {
        plain_release(c);
        http_refuse_conn(c, why);
    }
}

/* Feeds what the ring has room for; true when nothing is left, or nothing matters any more. */
static bool plain_feed_some(struct conn *c)
{
    struct plain_session *ps = plain_session(c);
    struct buf *early = &ps->wait->early;
    size_t n;

    if (early->len == 0)
        return true;
    n = MIN(ws_may_read(c, early->len), early->len);
    if (n == 0)
        return false;
    ws_input(c, (struct str){.p = early->p, .n = n});
    if (c->state != CONN_OPEN)
        return true; /* closing: the rest is freed with the session */
    buf_drop(early, n);
    return early->len == 0;
}

/* Held (CONN_HOLD_ANSWER, as since the request) until all of it is fed. */
static void plain_feed(struct conn *c)
{
    if (!plain_feed_some(c)) {
        waiters_add(&reactor->waiters, &plain_session(c)->wait->waiter, false);
        return;
    }
    if (c->state != CONN_OPEN)
        return;
    plain_wait_free(plain_session(c));
    conn_release_hold(c, CONN_HOLD_ANSWER);
}

static enum waiter_answer plain_feed_asked(struct waiter *waiter)
{
    struct plain_wait *w = CONTAINER_OF(waiter, struct plain_wait, waiter);

    if (w->conn->state != CONN_OPEN)
        return WAITER_GONE;
    if (ws_may_read(w->conn, w->early.len) == 0)
        return WAITER_NO_ROOM;
    plain_feed(w->conn);
    return WAITER_SERVED;
}

static void plain_open(struct conn *c)
{
    struct plain_session *ps = plain_session(c);
    struct buf out = {0};
    int rc = upgrade_response(&ps->wait->upgrade, &out);

    if (rc == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
    else
        rc = conn_send(c, buf_view(&out));
    buf_fini(&out);
    if (rc == -1)
        return;
    METRIC_INC(http_requests);
    METRIC_INC(upgrades);
    conn_set_ops(c, &plain_open_ops);
    ws_open(c);
    plain_feed(c);
}

static enum task_result plain_open_step(struct task *t)
{
    (void)t;
    for (int i = 0; i < PLAIN_OPEN_SLICE; i++) {
        struct list *n = list_pop(&plain_opening);
        struct conn *c;

        if (n == NULL)
            return TASK_DONE;
        c = LIST_ENTRY(n, struct plain_wait, link)->conn;
        if (c->state == CONN_SUBSCRIBING)
            plain_open(c);
    }
    return TASK_MORE;
}

static void plain_give_up(struct conn *c, enum close_reason why)
{
    plain_release(c);
    http_refuse_conn(c, why);
}

static void plain_waiting_input(struct conn *c, struct str in)
{
    struct plain_wait *w = plain_session(c)->wait;

    /* Held, so this is what one read brought at most. */
    if (w != NULL && buf_append(&w->early, in) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
}

static void plain_waiting_deadline(struct conn *c)
{
    plain_give_up(c, CLOSE_HUB_TIMEOUT);
}

static void plain_waiting_drain(struct conn *c)
{
    plain_give_up(c, CLOSE_DRAIN);
}

const struct conn_ops plain_waiting_ops = {
    .name = "plain",
    .input = plain_waiting_input,
    .deadline = plain_waiting_deadline,
    .drain = plain_waiting_drain,
    .release = plain_release,
};

#define PLAIN_RESOURCE                                                                             \
    .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN, .methods = 1u << HTTP_GET, .needs_key = true,         \
    .client_open = true, .handshake = true, .handle = plain_handle

static const struct http_resource plain_resources[] = {
    {.path = "/ws", PLAIN_RESOURCE},
    {.path = "/ws/", .prefix = true, PLAIN_RESOURCE},
};

void plain_open_init(void)
{
    pool_init(&plain_waits, "plain_wait", sizeof(struct plain_wait), 0);
    http_register(plain_resources, ARRAY_LEN(plain_resources));
}
