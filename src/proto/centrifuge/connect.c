/* proto/centrifuge/connect.c - connect.
 *
 * Happy path: 1. the token is verified, or none is needed 2. the hub says that the user may have one
 * more connection, and confirms the subscriptions of the server's wish (server_subs.c) 3. the
 * answer; from now on the client is pinged, may do more, and is delivered to. can fail: no
 * credentials, a bad token, a limit (the connection ends); an expired token (an error, and nothing
 * more is answered). */
#include "base/config.h"
#include "client.h"

static enum client_did end(struct client *cl, enum close_reason why)
{
    client_end(cl, why);
    return DID;
}

static enum client_did refuse(struct client *cl, uint32_t id, enum cf_error_code code)
{
    reply_error(cl, id, code);
    cl->state = CLIENT_REFUSED;
    return DID;
}

/* ---- the answer ---- */

static int add_sub(struct cf_items *items, struct client_sub *cs)
{
    struct cf_subscribe_result result;
    struct sub_answer text;

    if (sub_result(cs, &text, &result) == -1)
        return -1;
    return cf_add_connect_result_subs(items, chan_name(cs->sub.chan), &result);
}

static int write_subs(struct client *cl, struct buf *out)
{
    struct cf_items items;

    if (list_empty(&cl->subs))
        return 0;
    cf_items_begin(&items, cl->encoding, out);
    for (struct list *n = cl->subs.next; n != &cl->subs; n = n->next)
        if (add_sub(&items, LIST_ENTRY(n, struct client_sub, link)) == -1)
            return -1;
    return cf_items_end(&items);
}

static void connected(struct client *cl)
{
    char id[CLIENT_ID_TEXT], session[CLIENT_SESSION_TEXT + 1];
    struct buf subs = {0};
    struct cf_reply r = {.id = cl->work->id, .has_connect = true};
    struct cf_connect_result *result = &r.connect;

    client_id_text(cl, id);
    if (write_subs(cl, &subs) == -1) {
        buf_fini(&subs);
        client_end(cl, CLOSE_NO_MEMORY);
        return;
    }
    result->client = (struct str){id, sizeof(id)};
    result->version = STR_LIT(ROOST_VERSION);
    result->expires = cl->work->ttl > 0;
    result->ttl = cl->work->ttl;
    result->subs = buf_view(&subs);
    if (!cl->frame_pings) {
        result->ping = (uint32_t)MAX(config.ping_interval / 1000000000, 1);
        result->pong = !cl->listens;
    }
    if (client_emulates(cl) || cl->listens) {
        client_session_text(cl, session);
        result->session = (struct str){session, CLIENT_SESSION_TEXT};
    }
    if (client_emulates(cl))
        result->node = client_node();
    if (config.connect_include_server_time)
        result->time = (int64_t)(clock_wall_ns() / NS_PER_MS);
    cl->state = CLIENT_CONNECTED;
    single_connected(cl);
    reply_send(cl, &r);
    buf_fini(&subs);
    deadlines_begin(cl);
    single_close_earlier(cl);
    for (struct list *n = cl->subs.next; n != &cl->subs && !client_ended(cl); n = n->next)
        sub_started(cl, LIST_ENTRY(n, struct client_sub, link));
}

/* ---- what it waits for ---- */

void connect_refused(struct client *cl)
{
    bool waits = cl->work->waits == WAITS_CONNECT;

    (void)refuse(cl, cl->work->id, CF_ERROR_INTERNAL);
    if (waits)
        client_answered(cl);
}

void connect_arrived(struct client *cl)
{
    struct client_work *w = cl->work;

    if (cl->state != CLIENT_CONNECTING) /* it has been refused */
        return;
    if (--w->left > 0 || client_ended(cl))
        return;
    connected(cl);
    if (w->waits == WAITS_CONNECT && !client_ended(cl))
        client_answered(cl);
}

void connect_user_answered(struct client *cl, uint16_t status)
{
    if (cl->state != CLIENT_CONNECTING || cl->work == NULL)
        return;
    if (status != ENGINE_REFUSED) { /* a hub that cannot count does not turn people away */
        connect_arrived(cl);
        return;
    }
    client_end(cl, CLOSE_CF_CONNECTION_LIMIT);
}

static int ask_user(struct client *cl)
{
    const struct asker asker = {.kind = SESSION_CENTRIFUGE, .token = cl->conn->id};
    int rc = broker_user_connect(reactor->broker, asker, client_user(cl),
                                 (uint32_t)config.user_connection_limit);

    if (rc == -1)
        return -1;
    cl->counted = true;
    cl->work->left += rc == 0;
    return 0;
}

/* Seconds that are left of it; 0: it does not expire. -1: none. */
static int64_t time_left(const struct token_connection *t)
{
    int64_t left;

    if (t == NULL || t->expire_at == 0 || config.insecure)
        return 0;
    left = t->expire_at - client_now();
    return left > 0 ? left : -1;
}

static enum client_did start(struct client *cl, const struct cf_command *c,
                             const struct token_connection *t)
{
    int64_t left = time_left(t);
    enum close_reason why = CLOSE_NO_MEMORY;
    int rc;

    if (left < 0)
        return refuse(cl, c->id, CF_ERROR_EXPIRED);
    if (t != NULL && !client_may_be(t->user, t->info))
        return end(cl, CLOSE_CF_INFO_TOO_LONG);
    if ((t != NULL && client_identify(cl, t->user, t->info) == -1) || client_work(cl) == NULL)
        return end(cl, CLOSE_NO_MEMORY);
    cl->state = CLIENT_CONNECTING;
    cl->work->id = c->id;
    cl->work->ttl = (uint32_t)MIN(left, (int64_t)UINT32_MAX);
    cl->expire = left > 0 ? client_tick_in(left) : 0;
    cl->work->left = 1;
    if (ask_user(cl) == -1)
        return end(cl, CLOSE_CF_INTERNAL);
    rc = server_subs_begin(cl, &c->connect, t, &why);
    if (rc > 0)
        return refuse(cl, c->id, (enum cf_error_code)rc);
    if (rc == -1)
        return end(cl, why);
    if (cl->work->left > 1 && client_wait(cl, WAITS_CONNECT) == -1)
        return DID;
    connect_arrived(cl);
    return cl->work->waits == WAITS_CONNECT ? WAITS : DID;
}

/* ---- who it is ---- */

static void token_good(struct client *cl, const struct cf_command *c,
                       const struct token_connection *t)
{
    if (t->user.n == 0 && config.disallow_anonymous_connection_tokens) {
        client_end(cl, CLOSE_CF_DENIED);
        return;
    }
    cl->work->waits = WAITS_NOT;
    if (start(cl, c, t) == DID && !client_ended(cl))
        client_answered(cl);
}

/* In the queue's task. */
static void token_done(void *arg, enum token_fault fault, struct token_connection *connection,
                       struct token_subscription *subscription UNUSED)
{
    struct client *cl = arg;
    struct cf_command c;

    cl->work->ask = NULL;
    if (client_ended(cl) || client_current(cl, &c) == -1)
        return;
    reply_begin(cl);
    switch (fault) {
    case TOKEN_GOOD:
        token_good(cl, &c, connection);
        break;
    case TOKEN_EXPIRED:
        (void)refuse(cl, c.id, CF_ERROR_TOKEN_EXPIRED);
        client_answered(cl);
        break;
    case TOKEN_UNAVAILABLE:
        (void)refuse(cl, c.id, CF_ERROR_INTERNAL);
        client_answered(cl);
        break;
    case TOKEN_INVALID:
    case TOKEN_MISMATCH:
        client_end(cl, CLOSE_CF_INVALID_TOKEN);
        break;
    }
    reply_end(cl);
}

static enum client_did verify(struct client *cl, const struct cf_command *c)
{
    const struct token_query q = {
        .kind = TOKEN_CONNECTION, .token = c->connect.token, .done = token_done, .arg = cl};

    if (client_wait(cl, WAITS_TOKEN) == -1)
        return DID;
    cl->work->ask = token_submit(&q);
    if (cl->work->ask != NULL)
        return WAITS;
    cl->work->waits = WAITS_NOT;
    return refuse(cl, c->id, CF_ERROR_INTERNAL);
}

enum client_did connect_begin(struct client *cl, const struct cf_command *c)
{
    if (cl->state != CLIENT_NEW)
        return end(cl, CLOSE_CF_BAD_REQUEST);
    if (c->connect.token.n > 0)
        return verify(cl, c);
    if (cl->user != NULL) /* its certificate, or a proxy, has said so: user_id_... */
        return start(cl, c, NULL);
    if (!config.allow_anonymous_connect_without_token && !config.insecure)
        return end(cl, CLOSE_CF_NO_CREDENTIALS);
    if (client_identify(cl, STR_LIT(""), STR_NULL) == -1)
        return end(cl, CLOSE_NO_MEMORY);
    return start(cl, c, NULL);
}
