/* proto/centrifuge/refresh.c - refresh and sub_refresh: a new token before the old one expires. */
#include "base/config.h"
#include "client.h"

/* Seconds that are left; 0: it does not expire. */
static int64_t left_until(int64_t expire_at)
{
    return expire_at == 0 || config.insecure ? 0 : MAX(expire_at - client_now(), 1);
}

static enum client_did ask(struct client *cl, uint32_t id, struct token_query *q)
{
    q->arg = cl;
    if (client_wait(cl, WAITS_TOKEN) == -1)
        return DID;
    cl->work->ask = token_submit(q);
    if (cl->work->ask != NULL)
        return WAITS;
    cl->work->waits = WAITS_NOT;
    reply_error(cl, id, CF_ERROR_INTERNAL);
    return DID;
}

/* ---- the connection ---- */

/* Are the subscriptions that the first token asked for those of this one? */
static bool same_subs(const struct client *cl, const struct token_connection *t)
{
    struct token_options options;
    struct str rest = t->subs, channel;
    unsigned named = 0, have = 0;

    for (const struct list *n = cl->subs.next; n != &cl->subs; n = n->next)
        have += (LIST_ENTRY((struct list *)(uintptr_t)n, struct client_sub, link)->sub.flags &
                 CLIENT_SUB_TOKEN) != 0;
    while (token_next_sub(t, &rest, &channel, &options)) {
        const struct client_sub *cs = sub_find(cl, channel);

        if (cs == NULL || !(cs->sub.flags & CLIENT_SUB_SERVER))
            return false;
        named++;
    }
    return named >= have; /* a name may come twice */
}

static void refreshed(struct client *cl, uint32_t id, const struct token_connection *t)
{
    struct cf_reply r = {.id = id, .has_refresh = true};
    int64_t left = left_until(t->expire_at);
    enum close_reason why;

    if (!str_equal(t->user, client_user(cl))) {
        client_end(cl, CLOSE_CF_INVALID_TOKEN);
        return;
    }
    if (!same_subs(cl, t)) {
        client_end(cl, CLOSE_CF_INSUFFICIENT_STATE);
        return;
    }
    why = presence_change(cl, t->info);
    if (why != CLOSE_NONE) {
        client_end(cl, why);
        return;
    }
    cl->expire = left > 0 ? client_tick_in(left) : 0;
    deadlines_changed(cl);
    r.refresh.expires = left > 0;
    r.refresh.ttl = (uint32_t)left;
    reply_send(cl, &r);
}

static void refresh_done(void *arg, enum token_fault fault, struct token_connection *t,
                         struct token_subscription *subscription UNUSED)
{
    struct client *cl = arg;
    struct cf_command c;

    cl->work->ask = NULL;
    if (client_ended(cl) || client_current(cl, &c) == -1)
        return;
    switch (fault) {
    case TOKEN_GOOD:
        refreshed(cl, c.id, t);
        break;
    case TOKEN_EXPIRED:
        client_end(cl, CLOSE_CF_EXPIRED);
        break;
    case TOKEN_INVALID:
    case TOKEN_MISMATCH:
        client_end(cl, CLOSE_CF_INVALID_TOKEN);
        break;
    case TOKEN_UNAVAILABLE:
        reply_error(cl, c.id, CF_ERROR_INTERNAL);
        break;
    }
    client_answered(cl);
}

enum client_did refresh_begin(struct client *cl, const struct cf_command *c)
{
    struct token_query q = {
        .kind = TOKEN_CONNECTION, .token = c->refresh.token, .done = refresh_done};

    if (c->refresh.token.n == 0) {
        client_end(cl, CLOSE_CF_BAD_REQUEST);
        return DID;
    }
    return ask(cl, c->id, &q);
}

/* ---- a subscription ---- */

static void sub_refreshed(struct client *cl, const struct cf_command *c,
                          const struct token_subscription *t)
{
    struct cf_reply r = {.id = c->id, .has_sub_refresh = true};
    struct client_sub *cs = sub_find(cl, c->sub_refresh.channel);
    int64_t left = left_until(t->expire_at);
    enum close_reason why;

    if (cs == NULL) { /* it has been ended meanwhile */
        reply_error(cl, c->id, CF_ERROR_PERMISSION_DENIED);
        return;
    }
    why = presence_change_sub(cl, cs, t->options.info);
    if (why != CLOSE_NONE) {
        client_end(cl, why);
        return;
    }
    cs->sub.flags &= (uint16_t)~CLIENT_SUB_EXPIRES;
    if (left > 0) {
        cs->sub.flags |= CLIENT_SUB_EXPIRES;
        cs->expire = client_tick_in(left);
        deadlines_look(cl);
    }
    r.sub_refresh.expires = left > 0;
    r.sub_refresh.ttl = (uint32_t)left;
    reply_send(cl, &r);
}

static void sub_refresh_done(void *arg, enum token_fault fault,
                             struct token_connection *connection UNUSED,
                             struct token_subscription *t)
{
    struct client *cl = arg;
    struct cf_command c;

    cl->work->ask = NULL;
    if (client_ended(cl) || client_current(cl, &c) == -1)
        return;
    switch (fault) {
    case TOKEN_GOOD:
        sub_refreshed(cl, &c, t);
        break;
    case TOKEN_EXPIRED: /* an error would be the subscription's end; so it comes again with a new token */
        client_end(cl, CLOSE_CF_SUB_EXPIRED);
        break;
    case TOKEN_INVALID:
    case TOKEN_MISMATCH:
        client_end(cl, CLOSE_CF_INVALID_TOKEN);
        break;
    case TOKEN_UNAVAILABLE:
        reply_error(cl, c.id, CF_ERROR_INTERNAL);
        break;
    }
    client_answered(cl);
}

enum client_did sub_refresh_begin(struct client *cl, const struct cf_command *c)
{
    const struct cf_sub_refresh_request *r = &c->sub_refresh;
    char client[CLIENT_ID_TEXT];
    struct token_query q = {.kind = TOKEN_SUBSCRIPTION,
                            .token = r->token,
                            .channel = r->channel,
                            .user = client_user(cl),
                            .client = {client, sizeof(client)},
                            .done = sub_refresh_done};

    if (r->channel.n == 0) {
        client_end(cl, CLOSE_CF_BAD_REQUEST);
        return DID;
    }
    if (sub_find(cl, r->channel) == NULL || r->type != 0) { /* tracking is for shared polls */
        reply_error(cl, c->id, CF_ERROR_PERMISSION_DENIED);
        return DID;
    }
    if (r->token.n == 0) {
        reply_error(cl, c->id, CF_ERROR_BAD_REQUEST);
        return DID;
    }
    client_id_text(cl, client);
    return ask(cl, c->id, &q);
}
