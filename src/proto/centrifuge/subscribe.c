/* proto/centrifuge/subscribe.c - subscribe and unsubscribe.
 *
 * Happy path: 1. what the client may not ask for is refused 2. its token is verified, if it has
 * given one 3. permission 4. the hub confirms 5. what it has missed comes 6. the answer; from now on
 * it is delivered to. can fail: by an error of the protocol; where the token was made for somebody
 * else, the connection ends. */
#include "base/config.h"
#include "client.h"

#include "core/channel_name.h"

static enum client_did refuse(struct client *cl, uint32_t id, enum cf_error_code code)
{
    reply_error(cl, id, code);
    return DID;
}

static enum client_did bad_request(struct client *cl)
{
    client_end(cl, CLOSE_CF_BAD_REQUEST);
    return DID;
}

/* 0, or enum cf_error_code. Asked again behind the token: the server API may have subscribed it meanwhile. */
static int may_have(struct client *cl, struct str channel)
{
    if (sub_find(cl, channel) != NULL)
        return CF_ERROR_ALREADY_SUBSCRIBED;
    return cl->nsubs + cl->nserver >= (uint64_t)config.channel_limit ? CF_ERROR_LIMIT_EXCEEDED : 0;
}

static enum client_did begin(struct client *cl, uint32_t id, const struct cf_subscribe_request *r,
                             const struct token_subscription *token)
{
    const struct permission_ask ask = {.op = PERMISSION_SUBSCRIBE,
                                       .channel = r->channel,
                                       .user = client_user(cl),
                                       .token = token != NULL};
    struct sub_wish wish = {.channel = r->channel,
                            .request = r,
                            .options = token != NULL ? &token->options : NULL,
                            .expire_at = token != NULL ? token->expire_at : 0,
                            .id = id};
    struct client_sub *cs;
    int rc = may_have(cl, r->channel);

    if (rc == 0)
        rc = (int)permission_check(&ask, NULL);
    if (rc == 0)
        rc = sub_begin(cl, &wish);
    if (rc != 0)
        return refuse(cl, id, (enum cf_error_code)rc);
    cs = sub_find(cl, r->channel);
    if (cs == NULL || cs->start == NULL) /* told at once */
        return DID;
    return client_wait(cl, WAITS_SUBSCRIBE) == -1 ? DID : WAITS;
}

/* In the queue's task. */
static void token_done(void *arg, enum token_fault fault,
                       struct token_connection *connection UNUSED, struct token_subscription *token)
{
    struct client *cl = arg;
    struct cf_command c;

    cl->work->ask = NULL;
    if (client_ended(cl) || client_current(cl, &c) == -1)
        return;
    reply_begin(cl);
    switch (fault) {
    case TOKEN_GOOD:
        if (begin(cl, c.id, &c.subscribe, token) == WAITS) {
            reply_end(cl);
            return;
        }
        break;
    case TOKEN_EXPIRED:
        reply_error(cl, c.id, CF_ERROR_TOKEN_EXPIRED);
        break;
    case TOKEN_INVALID:
        reply_error(cl, c.id, CF_ERROR_PERMISSION_DENIED);
        break;
    case TOKEN_MISMATCH:
        client_end(cl, CLOSE_CF_INVALID_TOKEN);
        break;
    case TOKEN_UNAVAILABLE:
        reply_error(cl, c.id, CF_ERROR_INTERNAL);
        break;
    }
    reply_end(cl);
    client_answered(cl);
}

static enum client_did verify(struct client *cl, uint32_t id, const struct cf_subscribe_request *r)
{
    char client[CLIENT_ID_TEXT];
    const struct token_query q = {.kind = TOKEN_SUBSCRIPTION,
                                  .token = r->token,
                                  .channel = r->channel,
                                  .user = client_user(cl),
                                  .client = {client, sizeof(client)},
                                  .done = token_done,
                                  .arg = cl};

    if (client_wait(cl, WAITS_TOKEN) == -1)
        return DID;
    client_id_text(cl, client);
    cl->work->ask = token_submit(&q);
    if (cl->work->ask != NULL)
        return WAITS;
    cl->work->waits = WAITS_NOT;
    return refuse(cl, id, CF_ERROR_INTERNAL);
}

enum client_did subscribe_begin(struct client *cl, const struct cf_command *c)
{
    const struct cf_subscribe_request *r = &c->subscribe;
    int rc;

    if (r->channel.n == 0 || (r->delta.n > 0 && !str_equal(r->delta, STR_LIT("fossil"))))
        return bad_request(cl);
    if (r->channel.n > (size_t)config.channel_max_length)
        return refuse(cl, c->id, CF_ERROR_BAD_REQUEST);
    rc = may_have(cl, r->channel);
    if (rc != 0)
        return refuse(cl, c->id, (enum cf_error_code)rc);
    if (r->type != 0) /* maps and shared polls */
        return refuse(cl, c->id, CF_ERROR_PERMISSION_DENIED);
    if (r->token.n > 0 && channel_options_of(r->channel) != NULL)
        return verify(cl, c->id, r);
    return begin(cl, c->id, r, NULL);
}

enum client_did unsubscribe_do(struct client *cl, const struct cf_command *c)
{
    const struct cf_reply r = {.id = c->id, .has_unsubscribe = true};
    struct client_sub *cs;

    if (c->unsubscribe.channel.n == 0)
        return bad_request(cl);
    cs = sub_find(cl, c->unsubscribe.channel);
    if (cs != NULL)
        sub_free(cl, cs);
    reply_send(cl, &r);
    return DID;
}
