#include "proto/ws_upgrade.h"

#include "base/config.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "net/reactor.h"
#include "net/ws.h"
#include "proto/session.h"

#define OPEN_SLICE 16 /* sessions opened in one step */

struct ws_upgrade {       /* while an upgrade waits, and while early input is left */
    struct list link;     /* in the list of those to be opened */
    struct waiter waiter; /* for room for early input */
    struct conn *conn;    /* borrowed; owns this */
    unsigned want, live;  /* subscriptions asked for and confirmed */
    bool refused;         /* one of them cannot be had now */
    struct upgrade checked;
    struct buf early; /* owned; what came behind the request head */
};

static enum task_result open_step(struct task *t);
static enum waiter_answer feed_asked(struct waiter *waiter);

struct upgrades {
    struct pool pool;
    struct list opening; /* struct ws_upgrade, for: */
    struct task open;
};

static void upgrades_init(void *part)
{
    struct upgrades *u = part;

    pool_init(&u->pool, "ws_upgrade", sizeof(struct ws_upgrade), 0);
    list_init(&u->opening);
    task_init(&u->open, "ws_open", open_step);
}

static void upgrades_fini(void *part)
{
    pool_fini(&((struct upgrades *)part)->pool);
}

static struct reactor_part upgrades_part = {
    .size = sizeof(struct upgrades), .init = upgrades_init, .fini = upgrades_fini};

static struct upgrades *upgrades(void)
{
    return reactor_part(&upgrades_part);
}

static struct ws_upgrade **upgrade_of(struct conn *c)
{
    return &((struct ws_session *)conn_session(c))->upgrade;
}

static struct ws_upgrade *upgrade_new(struct conn *c, const struct upgrade *checked)
{
    struct ws_upgrade *u = pool_get(&upgrades()->pool);

    if (u == NULL)
        return NULL;
    list_init(&u->link);
    waiter_init(&u->waiter, feed_asked);
    u->conn = c;
    u->checked = *checked;
    return u;
}

static void upgrade_free(struct ws_upgrade **u)
{
    if (*u == NULL)
        return;
    list_remove(&(*u)->link);
    waiter_remove(&(*u)->waiter);
    buf_fini(&(*u)->early);
    pool_put(&upgrades()->pool, *u);
    *u = NULL;
}

static void open_later(struct ws_upgrade *u)
{
    list_remove(&u->link);
    list_append(&upgrades()->opening, &u->link);
    task_add(&reactor->tasks, &upgrades()->open);
}

struct conn *ws_upgrade_take(struct http_exchange *x, const struct upgrade *checked,
                             enum session_kind kind, unsigned subscriptions)
{
    struct conn *c = x->conn;
    bool elsewhere = reactor_sends_away(c);
    struct ws_upgrade *u = elsewhere ? NULL : upgrade_new(c, checked);

    if (u == NULL) {
        http_refuse(x, elsewhere ? CLOSE_DRAIN : CLOSE_NO_MEMORY);
        return NULL;
    }
    if (http_take_over(x, &u->early) == -1) {
        upgrade_free(&u);
        return NULL;
    }
    u->want = subscriptions;
    *upgrade_of(c) = u;
    conn_set_ops(c, &session_waiting_ops[kind]);
    if (checked->deflate.window != 0)
        conn_set_deflate(c, deflate_window_of(checked->deflate.window));
    TRACE(upgrade, c->id, str_from(conn_ops(c)->name), subscriptions);
    conn_set_state(c, CONN_SUBSCRIBING);
    conn_hold(c, CONN_HOLD_ANSWER);
    conn_arm(c, (uint64_t)config.hub_timeout);
    if (u->want == 0)
        open_later(u);
    return c;
}

void ws_upgrade_subscribed(struct conn *c)
{
    struct ws_upgrade *u = *upgrade_of(c);

    if (c->state == CONN_SUBSCRIBING && ++u->live == u->want)
        open_later(u);
}

void ws_upgrade_refused(struct conn *c)
{
    struct ws_upgrade *u = *upgrade_of(c);

    if (c->state != CONN_SUBSCRIBING || u->refused)
        return;
    u->refused = true;
    open_later(u);
}

/* Feeds what the ring has room for; true when nothing is left, or nothing matters any more. */
static bool feed_some(struct conn *c)
{
    struct buf *early = &(*upgrade_of(c))->early;
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
static void feed(struct conn *c)
{
    struct ws_upgrade **u = upgrade_of(c);

    if (!feed_some(c)) {
        waiters_add(&reactor->waiters, &(*u)->waiter, false);
        return;
    }
    if (c->state != CONN_OPEN)
        return;
    upgrade_free(u);
    conn_release_hold(c, CONN_HOLD_ANSWER);
}

static enum waiter_answer feed_asked(struct waiter *waiter)
{
    struct ws_upgrade *u = CONTAINER_OF(waiter, struct ws_upgrade, waiter);

    if (u->conn->state != CONN_OPEN)
        return WAITER_GONE;
    if (ws_may_read(u->conn, u->early.len) == 0)
        return WAITER_NO_ROOM;
    feed(u->conn);
    return WAITER_SERVED;
}

static void open_now(struct conn *c)
{
    struct buf out = {0};
    int rc = upgrade_response(&(*upgrade_of(c))->checked, &out);

    if (rc == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
    else
        rc = conn_send(c, buf_view(&out));
    buf_fini(&out);
    if (rc == -1)
        return;
    METRIC_INC(http_requests);
    METRIC_INC(upgrades);
    METRIC_ADD(deflate_agreed, conn_deflate(c) != 0);
    conn_set_ops(c, &session_open_ops[conn_ops(c)->kind]);
    ws_open(c);
    feed(c);
}

static enum task_result open_step(struct task *t UNUSED)
{
    for (int i = 0; i < OPEN_SLICE; i++) {
        struct list *n = list_pop(&upgrades()->opening);
        struct conn *c;

        if (n == NULL)
            return TASK_DONE;
        c = LIST_ENTRY(n, struct ws_upgrade, link)->conn;
        if (c->state != CONN_SUBSCRIBING)
            continue;
        if ((*upgrade_of(c))->refused)
            ws_upgrade_refuse(c, CLOSE_ENGINE_AWAY);
        else
            open_now(c);
    }
    return TASK_MORE;
}

void ws_upgrade_release(struct conn *c)
{
    upgrade_free(upgrade_of(c));
    ws_release(c);
    memset(conn_session(c), 0, CONN_SESSION_SIZE);
}

void ws_upgrade_refuse(struct conn *c, enum close_reason why)
{
    ws_upgrade_release(c);
    http_refuse_conn(c, why);
}

void ws_upgrade_input(struct conn *c, struct str in)
{
    struct ws_upgrade *u = *upgrade_of(c);

    /* Held, so this is what one read brought at most. */
    if (u != NULL && buf_append(&u->early, in) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
}

void ws_upgrade_deadline(struct conn *c)
{
    ws_upgrade_refuse(c, CLOSE_HUB_TIMEOUT);
}

void ws_upgrade_drain(struct conn *c)
{
    ws_upgrade_refuse(c, CLOSE_DRAIN);
}
