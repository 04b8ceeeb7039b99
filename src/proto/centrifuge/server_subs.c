/* proto/centrifuge/server_subs.c - subscriptions of a connect: those of the token, the user's
 * personal channel, and those that the client wishes itself, of which it is not told which were
 * refused. */
#include "base/config.h"
#include "client.h"
#include "core/channel_name.h"

struct begin {
    struct client *client;
    const struct cf_connect_request *request;
    enum close_reason *why;
};

/* What the client says of that channel: how far it has come. */
static bool wish_of(const struct begin *b, struct str channel, struct cf_subscribe_request *out)
{
    static struct buf text; /* kept */
    struct str rest = b->request->subs, key;
    bool found = false;
    struct cf_subscribe_request r;

    while (cf_each_connect_request_subs(b->client->encoding, &rest, &text, &key, &r) > 0) {
        if (!str_equal(key, channel))
            continue;
        *out = r;
        found = true;
        if (r.epoch.n > 0 && text.len > 0) /* the next item would empty it */
            break;
    }
    return found;
}

/* 0, 1 not begun, -1: the client is to end. */
static int begin_one(const struct begin *b, struct sub_wish *w)
{
    struct client *cl = b->client;
    struct cf_subscribe_request r;

    if (sub_find(cl, w->channel) != NULL)
        return 0;
    if (cl->nserver >= (uint64_t)config.channel_limit) {
        *b->why = CLOSE_CF_CHANNEL_LIMIT;
        return -1;
    }
    if (w->request == NULL && wish_of(b, w->channel, &r))
        w->request = &r;
    w->server = true;
    w->token = w->options != NULL;
    cl->work->left++;
    if (sub_begin(cl, w) != 0) {
        cl->work->left--;
        return 1;
    }
    return 0;
}

/* 0, an error code, or -1. */
static int begin_token(const struct begin *b, const struct token_connection *t)
{
    struct token_options options;
    struct str rest = t->subs, channel;

    while (token_next_sub(t, &rest, &channel, &options)) {
        struct sub_wish w = {.channel = channel, .options = &options};
        const struct channel_options *o = channel_options_of(channel);
        int rc;

        if (o == NULL)
            return CF_ERROR_UNKNOWN_CHANNEL;
        if (!channel_name_valid(channel)) { /* channel_regex binds what clients ask for */
            *b->why = CLOSE_CF_DENIED;
            return -1;
        }
        rc = begin_one(b, &w);
        if (rc > 0)
            *b->why = CLOSE_CF_INTERNAL;
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int begin_personal(const struct begin *b)
{
    char name[CHANNEL_NAME_MAX];
    struct sub_wish w = {.channel = permission_personal_channel(client_user(b->client), name)};

    if (w.channel.n == 0 || channel_options_of(w.channel) == NULL)
        return 0;
    return begin_one(b, &w) < 0 ? -1 : 0;
}

static int begin_requested(const struct begin *b)
{
    static struct buf text; /* kept */
    struct client *cl = b->client;
    struct str rest = b->request->subs, channel;
    struct cf_subscribe_request r;

    while (cf_each_connect_request_subs(cl->encoding, &rest, &text, &channel, &r) > 0) {
        const struct permission_ask ask = {
            .op = PERMISSION_SUBSCRIBE, .channel = channel, .user = client_user(cl)};
        struct sub_wish w = {.channel = channel, .request = &r};

        if (channel.n == 0 || r.type != 0 || permission_check(&ask, NULL) != PERMISSION_GIVEN)
            continue;
        if (begin_one(b, &w) < 0)
            return -1;
    }
    return 0;
}

int server_subs_begin(struct client *cl, const struct cf_connect_request *r,
                      const struct token_connection *t, enum close_reason *why)
{
    const struct begin b = {.client = cl, .request = r, .why = why};
    int rc = t != NULL ? begin_token(&b, t) : 0;

    if (rc != 0)
        return rc;
    return begin_personal(&b) == -1 ? -1 : begin_requested(&b);
}
