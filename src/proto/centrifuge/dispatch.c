/* proto/centrifuge/dispatch.c - input: commands one after the other.
 *
 * Happy path: 1. a frame comes 2. its commands are read and done, each answered 3. what they were
 * answered with goes out. A command that waits: 1. the rest of the frame, beginning with it, and
 * all frames behind it are kept 2. its answer comes, client_answered() 3. a task goes on behind it.
 * can fail: malformed commands (3501), no memory, the client ends meanwhile (all is given back). */
#include "base/config.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "client.h"

#define GO_ON_SLICE 8           /* clients in one step */
#define PIECES      32          /* of one of them */
#define KEPT_MAX    (64 * 1024) /* bytes of commands that wait; then the client is not read */

static enum task_result go_on_step(struct task *t);
static enum waiter_answer room_asked(struct waiter *w);

struct works {
    struct pool pool;
    struct list all;   /* struct client_work */
    struct list ready; /* of these, those for: */
    struct task go_on;
};

static void works_init(void *part)
{
    struct works *w = part;

    pool_init(&w->pool, "centrifuge_work", sizeof(struct client_work), 0);
    list_init(&w->all);
    list_init(&w->ready);
    task_init(&w->go_on, "centrifuge", go_on_step);
}

static void works_fini(void *part)
{
    pool_fini(&((struct works *)part)->pool);
}

static struct reactor_part works_part = {
    .size = sizeof(struct works), .init = works_init, .fini = works_fini};

static struct works *works(void)
{
    return reactor_part(&works_part);
}

/* For what has to be unescaped: of the command that is being done, of one that is read again. */
static struct buf reading, rereading;

/* ---- what is unfinished ---- */

struct client_work *client_work(struct client *cl)
{
    struct client_work *w = cl->work;

    if (w != NULL)
        return w;
    w = pool_get(&works()->pool);
    if (w == NULL) {
        client_end(cl, CLOSE_NO_MEMORY);
        return NULL;
    }
    list_init(&w->link);
    list_append(&works()->all, &w->all);
    list_init(&w->published);
    waiter_init(&w->room, room_asked);
    w->client = cl;
    cl->work = w;
    return w;
}

void client_work_free(struct client *cl)
{
    struct client_work *w = cl->work;

    if (w == NULL)
        return;
    cl->work = NULL;
    list_remove(&w->link);
    list_remove(&w->all);
    waiter_remove(&w->room);
    if (w->ask != NULL)
        token_cancel(&w->ask);
    publish_drop(w);
    buf_fini(&w->input);
    buf_fini(&w->out);
    pool_put(&works()->pool, w);
}

static void trim(struct client *cl)
{
    struct client_work *w = cl->work;

    if (w != NULL && w->waits == WAITS_NOT && w->input.len == 0 && list_empty(&w->published) &&
        !list_linked(&w->link))
        client_work_free(cl);
}

void client_go_on(struct client_work *w)
{
    if (!list_linked(&w->link))
        list_append(&works()->ready, &w->link);
    task_add(&reactor->tasks, &works()->go_on);
}

void client_unanswered(uint64_t position)
{
    struct list *n;

    for (n = works()->all.next; n != &works()->all; n = n->next) {
        struct client *cl = LIST_ENTRY(n, struct client_work, all)->client;

        if (client_ended(cl))
            continue;
        publish_unanswered(cl, position);
        query_unanswered(cl, position);
    }
}

int client_wait(struct client *cl, enum client_waits why)
{
    struct client_work *w = client_work(cl);

    if (w == NULL)
        return -1;
    w->waits = why;
    return 0;
}

enum client_did client_wait_room(struct client *cl, size_t bytes)
{
    if (client_wait(cl, WAITS_ROOM) == -1)
        return DID;
    cl->work->need = bytes;
    waiters_add(&reactor->waiters, &cl->work->room, false);
    return AGAIN;
}

static enum waiter_answer room_asked(struct waiter *waiter)
{
    struct client_work *w = CONTAINER_OF(waiter, struct client_work, room);

    if (client_ended(w->client))
        return WAITER_GONE;
    if (!broker_can_publish(reactor->broker, w->need, 1))
        return WAITER_NO_ROOM;
    client_again(w->client);
    return WAITER_SERVED;
}

void client_again(struct client *cl)
{
    cl->work->waits = WAITS_NOT;
    client_go_on(cl->work);
}

void client_answered(struct client *cl)
{
    cl->work->begin = cl->work->end;
    client_again(cl);
}

/* ---- commands ---- */

static enum client_did send_do(struct client *cl, const struct cf_command *c UNUSED)
{
    client_end(cl, CLOSE_CF_NOT_AVAILABLE); /* nobody here takes messages */
    return DID;
}

static enum client_did rpc_do(struct client *cl, const struct cf_command *c)
{
    reply_error(cl, c->id, CF_ERROR_NOT_AVAILABLE);
    return DID;
}

static enum client_did bad_do(struct client *cl, const struct cf_command *c UNUSED)
{
    client_end(cl, CLOSE_CF_BAD_REQUEST);
    return DID;
}

static const struct {
    enum client_did (*begin)(struct client *cl, const struct cf_command *c);
    bool early;     /* before connect */
    bool overtakes; /* need not wait for publications to be answered */
} commands[CF_METHOD_NR] = {
    [CF_NONE] = {bad_do, false, true},
    [CF_CONNECT] = {connect_begin, true, false},
    [CF_SUBSCRIBE] = {subscribe_begin, false, false},
    [CF_UNSUBSCRIBE] = {unsubscribe_do, false, false},
    [CF_PUBLISH] = {publish_begin, false, true},
    [CF_PRESENCE] = {presence_begin, false, false},
    [CF_PRESENCE_STATS] = {presence_stats_begin, false, false},
    [CF_HISTORY] = {history_begin, false, false},
    [CF_PING] = {bad_do, false, true},
    [CF_SEND] = {send_do, false, false},
    [CF_RPC] = {rpc_do, false, false},
    [CF_REFRESH] = {refresh_begin, false, false},
    [CF_SUB_REFRESH] = {sub_refresh_begin, false, false},
};

static const char *const method_names[CF_METHOD_NR] = {
    [CF_NONE] = "none",
#define REQUEST(METHOD, name, number, of) [CF_##METHOD] = #name,
#include "tbl/centrifuge.def"
};

static void count(enum cf_method m)
{
    switch (m) {
    case CF_NONE:
        METRIC_INC(cf_commands_none);
        return;
#define REQUEST(METHOD, name, number, of)                                                          \
    case CF_##METHOD:                                                                              \
        METRIC_INC(cf_commands_##name);                                                            \
        return;
#include "tbl/centrifuge.def"
    case CF_METHOD_NR:
        return;
    }
}

bool client_paced(struct client *cl, uint32_t id, uint64_t *due, double rate)
{
    uint64_t now = clock_ns(), each = (uint64_t)(1e9 / rate);

    *due = MAX(*due, now) + each;
    if (*due - now <= MAX(NS_PER_SEC, each))
        return true;
    if (*due - now <= 2 * MAX(NS_PER_SEC, each))
        publish_refuse(cl, id, CF_ERROR_TOO_MANY_REQUESTS);
    else
        client_end(cl, CLOSE_CF_TOO_MANY_REQUESTS);
    return false;
}

static enum client_did dispatch(struct client *cl, const struct cf_command *c)
{
    enum cf_method m = cf_method_of(c);

    count(m);
    TRACE(command, cl->conn->id, str_from(method_names[m]), c->id);
    if (cl->state == CLIENT_REFUSED)
        return DID;
    if (cl->state != CLIENT_CONNECTED && !commands[m].early)
        return bad_do(cl, c);
    if (c->id == 0 && m == CF_NONE) {
        deadlines_pong(cl);
        return DID;
    }
    if (c->id == 0 && m != CF_SEND)
        return bad_do(cl, c);
    if (config.command_rate_limit > 0 &&
        !client_paced(cl, c->id, &cl->commands, config.command_rate_limit))
        return DID;
    if (!commands[m].overtakes && cl->work != NULL && !list_empty(&cl->work->published))
        return client_wait(cl, WAITS_PUBLISHED) == -1 ? DID : AGAIN;
    return commands[m].begin(cl, c);
}

/* Does what there is until one waits; then *before is where that begins and *behind where it ends.
 * False: all is done, or the client has ended. */
static bool run(struct client *cl, struct cf_input *in, struct str *before, struct str *behind)
{
    struct cf_command c;
    enum client_did did;
    int rc;

    while (!client_ended(cl)) {
        *before = in->rest;
        rc = cf_next_command(in, &c);
        if (rc == 0)
            return false;
        if (rc < 0) {
            client_end(cl, rc == CF_NO_MEMORY ? CLOSE_NO_MEMORY : CLOSE_CF_BAD_REQUEST);
            return false;
        }
        did = dispatch(cl, &c);
        *behind = did == AGAIN ? *before : in->rest;
        if (did != DID && !client_ended(cl))
            return true;
    }
    return false;
}

int client_keep(struct client *cl, struct str piece)
{
    struct client_work *w = client_work(cl);
    uint32_t n = (uint32_t)piece.n;

    if (w == NULL)
        return -1;
    /* Not reading its connection stops nobody who says what he says in requests of their own. */
    if (cl->wire != WIRE_FRAMES && w->input.len + piece.n > KEPT_MAX + client_message_max()) {
        client_end(cl, CLOSE_CF_TOO_MANY_REQUESTS);
        return -1;
    }
    if (buf_append(&w->input, (struct str){(const char *)&n, sizeof(n)}) == -1 ||
        buf_append(&w->input, piece) == -1) {
        client_end(cl, CLOSE_NO_MEMORY);
        return -1;
    }
    if (w->input.len > KEPT_MAX && cl->wire == WIRE_FRAMES)
        conn_hold(cl->conn, CONN_HOLD_ANSWER);
    return 0;
}

static bool busy(const struct client *cl)
{
    return cl->work != NULL && (cl->work->waits != WAITS_NOT || cl->work->input.len > 0);
}

void client_input(struct client *cl, struct str frame)
{
    struct cf_input in;
    struct str before, behind;

    if (busy(cl)) {
        (void)!client_keep(cl, frame);
        return;
    }
    reply_begin(cl);
    cf_input_init(&in, cl->encoding, frame, &reading);
    if (run(cl, &in, &before, &behind) && client_keep(cl, before) == 0) {
        cl->work->begin = 0;
        cl->work->end = before.n - behind.n;
    }
    reply_end(cl);
    trim(cl);
}

/* The first piece; false: there is none. */
static bool first_piece(const struct client_work *w, struct str *out)
{
    uint32_t n;

    if (w->input.len == 0)
        return false;
    memcpy(&n, w->input.p, sizeof(n));
    *out = (struct str){w->input.p + sizeof(n), n};
    return true;
}

int client_current(struct client *cl, struct cf_command *out)
{
    struct cf_input in = {.encoding = cl->encoding, .text = &rereading};
    struct str piece;

    if (!first_piece(cl->work, &piece))
        return -1; /* UNTESTED: who waits has kept its command */
    in.rest = str_skip(piece, cl->work->begin);
    if (cf_next_command(&in, out) > 0)
        return 0;
    client_end(cl, CLOSE_NO_MEMORY); /* it could be read before */
    return -1;
}

static void go_on(struct client *cl)
{
    struct client_work *w = cl->work;
    struct str piece, before, behind;
    int left = PIECES;

    while (w->waits == WAITS_NOT && !client_ended(cl) && first_piece(w, &piece)) {
        struct cf_input in;

        if (left-- == 0) { /* others first */
            client_go_on(w);
            break;
        }

        cf_input_init(&in, cl->encoding, piece, &reading);
        if (w->begin > 0)
            in.rest = w->begin < piece.n ? str_skip(piece, w->begin) : STR_NULL;
        if (run(cl, &in, &before, &behind)) {
            w->begin = piece.n - before.n;
            w->end = piece.n - behind.n;
        } else {
            buf_drop(&w->input, sizeof(uint32_t) + piece.n);
            w->begin = 0;
        }
    }
    if (w->input.len <= KEPT_MAX)
        conn_release_hold(cl->conn, CONN_HOLD_ANSWER);
}

static enum task_result go_on_step(struct task *t UNUSED)
{
    struct list again = LIST_INIT(again);

    for (int i = 0; i < GO_ON_SLICE; i++) {
        struct list *n = list_pop(&works()->ready);
        struct client_work *w;
        struct client *cl;

        if (n == NULL)
            break;
        w = LIST_ENTRY(n, struct client_work, link);
        cl = w->client;
        if (client_ended(cl))
            continue;
        reply_begin(cl);
        subs_end_lost(cl);
        if (!publish_settle(cl))
            list_append(&again, &w->link);
        go_on(cl);
        reply_end(cl);
        trim(cl);
    }
    while (!list_empty(&again))
        list_append(&works()->ready, list_pop(&again));
    return list_empty(&works()->ready) ? TASK_DONE : TASK_MORE;
}
