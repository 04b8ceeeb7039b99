/* proto/centrifuge/subs.c - a subscription: what it is to be like, its begin, its answer, its end. */
#include "base/config.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "client.h"
#include "core/epoch.h"

static struct reactor_part subs_part = REACTOR_POOL("centrifuge_sub", struct client_sub);
static struct reactor_part starts_part = REACTOR_POOL("centrifuge_start", struct client_start);

#define FLAG_REJECT_UNRECOVERED 2 /* subscribe_request.flag */

struct client_sub *sub_find(const struct client *cl, struct str channel)
{
    for (struct list *n = cl->subs.next; n != &cl->subs; n = n->next) {
        struct client_sub *cs = LIST_ENTRY(n, struct client_sub, link);

        if (str_equal(chan_name(cs->sub.chan), channel))
            return cs;
    }
    return NULL;
}

static void start_free(struct client_sub *cs)
{
    struct client_start *start = cs->start;

    if (start == NULL)
        return;
    cs->start = NULL;
    buf_fini(&start->data);
    buf_fini(&start->missed);
    pool_put(reactor_pool(&starts_part), start);
}

/* Gives back what is not subscribed. */
static void give_back(struct client *cl, struct client_sub *cs)
{
    list_remove(&cs->link);
    if (cs->sub.flags & CLIENT_SUB_SERVER)
        cl->nserver--;
    else
        cl->nsubs--;
    start_free(cs);
    if (cs->more != NULL)
        tags_filter_free(cs->more->filter);
    free(cs->more);
    pool_put(reactor_pool(&subs_part), cs);
    METRIC_ADD(cf_subscriptions, -1);
}

void sub_free(struct client *cl, struct client_sub *cs)
{
    publish_forget(cl, cs);
    presence_leave(cl, cs);
    TRACE(unsubscribe, cl->conn->id, chan_name(cs->sub.chan));
    broker_unsubscribe(reactor->broker, &cs->sub);
    give_back(cl, cs);
}

void sub_end(struct client *cl, struct client_sub *cs, uint32_t code, struct str reason)
{
    struct cf_reply r = {.has_push = true,
                         .push = {.channel = chan_name(cs->sub.chan),
                                  .has_unsubscribe = true,
                                  .unsubscribe = {.code = code, .reason = reason}}};

    reply_send(cl, &r);
    sub_free(cl, cs);
}

/* ---- what it is to be like ---- */

static bool may(const struct client *cl, struct str channel, enum permission_op op)
{
    const struct permission_ask ask = {
        .op = op, .channel = channel, .user = client_user(cl), .subscribed = true};

    return permission_check(&ask, NULL) == PERMISSION_GIVEN;
}

static bool option(const struct sub_wish *w, enum token_override which, bool configured)
{
    return w->options != NULL ? token_option(w->options, which, configured) : configured;
}

/* Positioned, recoverable? What a client asks for it gets where the namespace, or its access to the
 * history, allows it. */
static unsigned stream_flags(const struct client *cl, const struct channel_options *o,
                             const struct sub_wish *w)
{
    const struct cf_subscribe_request *r = w->request;
    bool position = option(w, TOKEN_FORCE_POSITIONING, o->force_positioning);
    bool recovery = option(w, TOKEN_FORCE_RECOVERY, o->force_recovery);

    if (!channel_has_history(o))
        return 0;
    if (r != NULL && !recovery && r->recoverable)
        recovery = o->allow_recovery || may(cl, w->channel, PERMISSION_HISTORY);
    if (r != NULL && !position && r->positioned)
        position = o->allow_positioning || may(cl, w->channel, PERMISSION_HISTORY);
    return (recovery ? CLIENT_SUB_RECOVERABLE | CLIENT_SUB_STREAM : 0u) |
           (position ? CLIENT_SUB_STREAM : 0u);
}

static unsigned presence_flags(const struct channel_options *o, const struct sub_wish *w)
{
    bool tell = option(w, TOKEN_JOIN_LEAVE, o->join_leave);

    return (tell || option(w, TOKEN_PRESENCE, o->presence) ? CLIENT_SUB_PRESENCE : 0u) |
           (tell ? CLIENT_SUB_TELL : 0u);
}

static bool wants_joins(const struct client *cl, const struct channel_options *o,
                        const struct sub_wish *w)
{
    if (!option(w, TOKEN_JOIN_LEAVE, o->join_leave))
        return false;
    if (option(w, TOKEN_FORCE_PUSH_JOIN_LEAVE, o->force_push_join_leave))
        return true;
    return w->request != NULL && w->request->join_leave && may(cl, w->channel, PERMISSION_PRESENCE);
}

/* The positions are looked for in the history the client's text names: one of ours, or none. */
static struct position since_of(const struct cf_subscribe_request *r)
{
    struct position at = {.offset = r->offset};

    if (r->epoch.n > 0 && !epoch_read(r->epoch, &at.epoch))
        at.epoch = UINT64_MAX; /* what no channel has */
    return at;
}

static void wish_recovery(struct client_sub *cs, const struct channel_options *o,
                          const struct sub_wish *w)
{
    struct client_start *start = cs->start;
    const struct cf_subscribe_request *r = w->request;
    bool cache = o->force_recovery_mode == RECOVERY_CACHE;

    if (!(cs->sub.flags & CLIENT_SUB_RECOVERABLE))
        return;
    start->asked = r != NULL && r->recover;
    start->recover = start->asked || (cache && o->auto_cache_recover);
    start->strict = start->asked && (r->flag & FLAG_REJECT_UNRECOVERED) != 0;
    start->since.limit = (uint32_t)config.recovery_max_publication_limit;
    start->since.latest = cache;
    if (start->by_push)
        start->since.variant[0] = client_variant(client_of(cs->conn), AS_IT_IS);
    if (start->asked)
        start->since.since = since_of(r);
}

static int wish_filter(struct client *cl, struct client_sub *cs, const struct channel_options *o,
                       const struct sub_wish *w)
{
    struct str info = w->options != NULL ? w->options->info : STR_NULL;
    struct tags_filter *filter = NULL;

    if (w->request != NULL && w->request->tf.n > 0) {
        int rc = o->allow_tags_filter ? tags_filter_new(cl->encoding, w->request->tf, &filter)
                                      : CF_MALFORMED;

        if (rc != 0)
            return rc == CF_NO_MEMORY ? CF_ERROR_INTERNAL : CF_ERROR_BAD_REQUEST;
    }
    if (filter == NULL && info.n == 0)
        return 0;
    cs->more = malloc(sizeof(*cs->more) + info.n);
    if (cs->more == NULL) {
        tags_filter_free(filter);
        return CF_ERROR_INTERNAL;
    }
    cs->more->filter = filter;
    cs->more->info_len = info.n;
    if (info.n > 0)
        memcpy(cs->more->info, info.p, info.n);
    if (filter != NULL)
        cs->sub.flags |= CLIENT_SUB_FILTER;
    return 0;
}

static void wish_delta(struct client *cl, struct client_sub *cs, const struct channel_options *o,
                       const struct sub_wish *w)
{
    cs->sub.variant = client_variant(cl, AS_IT_IS);
    if (cl->listens || w->request == NULL || w->request->delta.n == 0 ||
        !channel_allows_fossil(o) || !(cs->sub.flags & CLIENT_SUB_STREAM) ||
        (cs->sub.flags & CLIENT_SUB_FILTER))
        return;
    cs->sub.flags |= CLIENT_SUB_DELTA | CLIENT_SUB_BASELESS;
    cs->sub.variant = client_variant(cl, AS_FIRST);
}

/* expire_at: seconds since 1970. */
static int wish_expiry(struct client *cl, struct client_sub *cs, const struct sub_wish *w)
{
    int64_t left;

    if (w->expire_at == 0 || config.insecure)
        return 0;
    left = w->expire_at - client_now();
    if (left <= 0)
        return CF_ERROR_EXPIRED;
    cs->sub.flags |= CLIENT_SUB_EXPIRES;
    cs->expire = client_tick_in(left);
    cs->start->ttl = (uint32_t)MIN(left, (int64_t)UINT32_MAX);
    deadlines_look(cl);
    return 0;
}

static int wish(struct client *cl, struct client_sub *cs, const struct sub_wish *w)
{
    const struct channel_options *o = channel_options_of(w->channel);
    int rc;

    if (o == NULL)
        return CF_ERROR_UNKNOWN_CHANNEL;
    cs->sub.flags |= (uint16_t)stream_flags(cl, o, w);
    cs->sub.flags |= (uint16_t)presence_flags(o, w);
    cs->sub.joins = wants_joins(cl, o, w);
    wish_recovery(cs, o, w);
    rc = wish_filter(cl, cs, o, w);
    if (rc == 0)
        rc = wish_expiry(cl, cs, w);
    if (rc != 0)
        return rc;
    wish_delta(cl, cs, o, w);
    if (o->conflate &&
        !(cs->sub.flags & CLIENT_SUB_DELTA)) /* each difference needs the one before */
        cs->sub.flags |= CLIENT_SUB_CONFLATE;
    if (w->options != NULL && w->options->data.n > 0 &&
        buf_append(&cs->start->data, w->options->data) == -1)
        return CF_ERROR_INTERNAL;
    return 0;
}

static struct client_sub *sub_new(struct client *cl, const struct sub_wish *w)
{
    struct client_sub *cs = pool_get(reactor_pool(&subs_part));

    if (cs == NULL)
        return NULL;
    cs->start = pool_get(reactor_pool(&starts_part));
    if (cs->start == NULL) {
        pool_put(reactor_pool(&subs_part), cs);
        return NULL;
    }
    cs->conn = cl->conn;
    cs->start->id = w->id;
    cs->start->by_push = w->by_push;
    cs->sub.kind = SESSION_CENTRIFUGE;
    cs->sub.flags = CLIENT_SUB_STARTING;
    list_append(&cl->subs, &cs->link);
    if (w->server) {
        cs->sub.flags |= (uint16_t)(CLIENT_SUB_SERVER | (w->token ? CLIENT_SUB_TOKEN : 0));
        cl->nserver++;
    } else {
        cl->nsubs++;
    }
    METRIC_ADD(cf_subscriptions, 1);
    return cs;
}

int sub_begin(struct client *cl, const struct sub_wish *w)
{
    struct client_sub *cs = sub_new(cl, w);
    enum close_reason why;
    int rc = CF_ERROR_INTERNAL;

    if (cs == NULL)
        return CF_ERROR_INTERNAL;
    TRACE(subscribe, cl->conn->id, w->channel);
    rc = wish(cl, cs, w);
    if (rc == 0 && broker_subscribe(reactor->broker, &cs->sub, w->channel, &why) == -1)
        rc = CF_ERROR_INTERNAL;
    if (rc == 0 && (cs->sub.flags & CLIENT_SUB_DELTA) &&
        broker_want_previous(reactor->broker, &cs->sub) == -1) {
        broker_unsubscribe(reactor->broker, &cs->sub);
        rc = CF_ERROR_INTERNAL;
    }
    if (rc != 0)
        give_back(cl, cs);
    return rc;
}

/* ---- its end, and how it cannot go on ---- */

void sub_lose(struct client_sub *cs, bool told)
{
    struct client *cl = client_of(cs->conn);

    if (cs->sub.flags & CLIENT_SUB_LOST)
        return;
    cs->sub.flags |= CLIENT_SUB_LOST;
    if (told)
        cs->sub.flags |= CLIENT_SUB_QUIET;
    cl->lost = true;
    if (cs->sub.flags & CLIENT_SUB_SERVER)
        client_end(cl, CLOSE_CF_INSUFFICIENT_STATE);
    else if (client_work(cl) != NULL)
        client_go_on(cl->work);
}

void subs_end_lost(struct client *cl)
{
    struct list *n = cl->subs.next, *next;

    if (!cl->lost)
        return;
    cl->lost = false;
    for (; n != &cl->subs; n = next) {
        struct client_sub *cs = LIST_ENTRY(n, struct client_sub, link);

        next = n->next;
        if (!(cs->sub.flags & CLIENT_SUB_LOST))
            continue;
        if (cs->sub.flags & CLIENT_SUB_QUIET)
            sub_free(cl, cs);
        else
            sub_end(cl, cs, UNSUBSCRIBED_INSUFFICIENT_STATE, STR_LIT("insufficient state"));
    }
}

/* ---- its answer ---- */

int sub_result(struct client_sub *cs, struct sub_answer *text, struct cf_subscribe_result *out)
{
    const struct client_start *start = cs->start;
    bool stream = (cs->sub.flags & CLIENT_SUB_STREAM) != 0;

    if (starting_end(cs) == -1) {
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
        return -1;
    }
    *out = (struct cf_subscribe_result){
        .expires = start->ttl > 0,
        .ttl = start->ttl,
        .recoverable = (cs->sub.flags & CLIENT_SUB_RECOVERABLE) != 0,
        .positioned = stream,
        .delta = (cs->sub.flags & CLIENT_SUB_DELTA) != 0,
        .data = start->data.len > 0 ? buf_view(&start->data) : STR_NULL,
        .was_recovering = start->recover,
        .recovered = start->recovered,
    };
    if (start->missed.len > 0)
        out->publications = buf_view(&start->missed);
    if (!stream)
        return 0;
    out->offset = start->at.offset;
    if (start->at.epoch != 0) {
        epoch_write(start->at.epoch, text->epoch);
        out->epoch = (struct str){text->epoch, EPOCH_TEXT};
    }
    return 0;
}

void sub_started(struct client *cl, struct client_sub *cs)
{
    enum close_reason why;

    cs->sub.flags &= (uint16_t)~CLIENT_SUB_STARTING;
    start_free(cs);
    why = presence_enter(cl, cs, client_conn_info(cl), 0);
    if (why == CLOSE_NONE)
        return;
    cs->sub.flags &= (uint16_t)~CLIENT_SUB_PRESENCE;
    client_end(cl, why);
}

static void answer(struct client *cl, struct client_sub *cs)
{
    struct cf_reply r = {.id = cs->start->id, .has_subscribe = true};
    struct sub_answer text;

    if (sub_result(cs, &text, &r.subscribe) == 0)
        reply_send(cl, &r);
}

static void push(struct client *cl, struct client_sub *cs)
{
    struct cf_reply r = {.has_push = true,
                         .push = {.channel = chan_name(cs->sub.chan), .has_subscribe = true}};
    struct cf_subscribe_result result;
    struct sub_answer text;

    if (sub_result(cs, &text, &result) == -1)
        return;
    r.push.subscribe = (struct cf_subscribe_push){.recoverable = result.recoverable,
                                                  .epoch = result.epoch,
                                                  .offset = result.offset,
                                                  .positioned = result.positioned,
                                                  .data = result.data};
    reply_send(cl, &r);
}

/* Answers it with an error, and ends it. */
static void refuse(struct client_sub *cs, enum cf_error_code code)
{
    reply_error(client_of(cs->conn), cs->start->id, code);
    start_free(cs);
    cs->sub.flags &= (uint16_t) ~(CLIENT_SUB_STARTING | CLIENT_SUB_PRESENCE | CLIENT_SUB_STREAM);
    sub_lose(cs, true);
}

void sub_cancel(struct client *cl, struct client_sub *cs, uint32_t code)
{
    bool waited = cl->work != NULL && cl->work->waits == WAITS_SUBSCRIBE;

    if (!cs->start->by_push) {
        reply_error(cl, cs->start->id,
                    code < UNSUBSCRIBED_INSUFFICIENT_STATE ? CF_ERROR_PERMISSION_DENIED
                                                           : CF_ERROR_INTERNAL);
        if (waited)
            client_answered(cl);
    }
    sub_free(cl, cs);
}

bool centrifuge_refused(struct sub *s, uint16_t status UNUSED)
{
    struct client_sub *cs = client_sub_of(s);
    struct client *cl = client_of(cs->conn);
    bool waited = cl->work != NULL && cl->work->waits == WAITS_SUBSCRIBE;

    if (cs->start == NULL || cl->state == CLIENT_REFUSED)
        return true; /* it knows */
    if (cl->state == CLIENT_CONNECTING) {
        connect_refused(cl);
        return true;
    }
    if (cs->start->by_push) /* the client has not asked, and waits for nothing */
        return false;
    refuse(cs, CF_ERROR_INTERNAL);
    if (waited)
        client_answered(cl);
    return true;
}

void sub_arrived(struct client_sub *cs)
{
    struct client *cl = client_of(cs->conn);
    bool waited = cl->work != NULL && cl->work->waits == WAITS_SUBSCRIBE;

    if (cl->state == CLIENT_CONNECTING) {
        connect_arrived(cl);
        return;
    }
    if (cs->start->by_push) {
        push(cl, cs);
        sub_started(cl, cs);
        return;
    }
    if (cs->start->strict && !cs->start->recovered) {
        refuse(cs, CF_ERROR_UNRECOVERABLE_POSITION);
    } else {
        answer(cl, cs);
        sub_started(cl, cs);
    }
    if (waited)
        client_answered(cl);
}
