/* adapter_centrifuge.c - the Centrifuge protocol, JSON and Protobuf: connect and subscribe in one
 * frame, {} pings, pushes, recovery, history.
 *
 * Commands have the ids of enum id: an answer says by its id what it answers. */
#include "adapter.h"

#include <time.h>

#include "codec/centrifuge.h"
#include "codec/fossil.h"
#include "codec/json.h"
#include "hmac_token.h"

#define TOKEN_LIFE 86400              /* seconds */
#define DELTA_MAX  ((size_t)64 << 20) /* bytes of a payload */

enum id { ID_CONNECT = 1, ID_SUBSCRIBE, ID_PUBLISH, ID_HISTORY };

static enum cf_encoding encoding_of(const struct adapter_user *u)
{
    return (enum cf_encoding)u->o->protocol;
}

/* What is read is kept here until the next call. */
static struct buf read_text, held_text;

static int centrifuge_put_connect(const struct adapter_user *u, struct buf *out)
{
    struct cf_command c = {.id = ID_CONNECT, .has_connect = true};
    struct str key = str_from(u->o->token_key);
    struct buf token = {0};
    int rc = 0;

    c.connect.name = STR_LIT("roostload");
    if (key.n > 0)
        rc = hmac_token(key, u->token_user, (int64_t)time(NULL) + TOKEN_LIFE, &token);
    c.connect.token = buf_view(&token);
    if (rc == 0)
        rc = cf_encode_command(encoding_of(u), &c, out);
    buf_fini(&token);
    return rc;
}

static int centrifuge_put_subscribe(const struct adapter_user *u, struct str channel,
                                    struct buf *out)
{
    struct cf_command c = {.id = ID_SUBSCRIBE, .has_subscribe = true};

    c.subscribe.channel = channel;
    c.subscribe.delta = u->delta != NULL ? STR_LIT("fossil") : STR_NULL;
    c.subscribe.positioned = c.subscribe.recoverable = u->position != NULL;
    if (u->position != NULL && u->position->epoch[0] != '\0') {
        c.subscribe.recover = true;
        c.subscribe.epoch = str_from(u->position->epoch);
        c.subscribe.offset = u->position->offset;
    }
    return cf_encode_command(encoding_of(u), &c, out);
}

static int centrifuge_hello(const struct adapter_user *u, struct str channel, struct buf *out)
{
    if (centrifuge_put_connect(u, out) == -1 || cf_join(encoding_of(u), out) == -1)
        return -1;
    return centrifuge_put_subscribe(u, channel, out);
}

/* The payload is a JSON string, also in Protobuf: others in the channel may speak JSON. */
static int centrifuge_publish(const struct adapter_user *u, struct str channel, struct str payload,
                              struct buf *out)
{
    struct cf_command c = {.id = ID_PUBLISH, .has_publish = true};
    struct buf data = {0};
    int rc = -1;

    if (buf_append_char(&data, '"') == 0 && buf_append(&data, payload) == 0 &&
        buf_append_char(&data, '"') == 0) {
        c.publish.channel = channel;
        c.publish.data = buf_view(&data);
        rc = cf_encode_command(encoding_of(u), &c, out);
    }
    buf_fini(&data);
    return rc;
}

static int centrifuge_ask_history(const struct adapter_user *u, struct str channel, struct buf *out)
{
    struct cf_command c = {.id = ID_HISTORY, .has_history = true};

    c.history.channel = channel;
    c.history.limit = (int32_t)u->o->history;
    return cf_encode_command(encoding_of(u), &c, out);
}

/* What a publication says once both sides have agreed on deltas: in JSON it is a string then, of the
 * payload or of the difference from the one before. -1: not so, or it cannot be applied. */
static int centrifuge_make_whole(struct adapter_user *u, const struct cf_publication *p,
                                 struct str *payload)
{
    static struct buf said, made;
    struct json_value v;

    buf_clear(&said);
    buf_clear(&made);
    if (encoding_of(u) == CF_PROTOBUF) {
        if (buf_append(&said, p->data) == -1)
            return -1;
    } else if (json_parse(p->data, &v, NULL) == -1 || json_string(&v, &said) == -1) {
        return -1;
    }
    if (p->delta &&
        fossil_apply(buf_view(&u->delta->before), buf_view(&said), DELTA_MAX, &made) == -1)
        return -1;
    buf_clear(&u->delta->before);
    if (buf_append(&u->delta->before, buf_view(p->delta ? &made : &said)) == -1)
        return -1;
    u->was_delta = p->delta;
    *payload = buf_view(&u->delta->before);
    return 0;
}

static enum adapter_event centrifuge_on_publication(struct adapter_user *u,
                                                    const struct cf_publication *p,
                                                    struct str *payload)
{
    *payload = p->data;
    if (u->delta != NULL && u->delta->on && centrifuge_make_whole(u, p, payload) == -1) {
        snprintf(u->refusal, sizeof(u->refusal), "the server's delta cannot be applied");
        return ADAPTER_REFUSED;
    }
    if (payload->n >= 2 && *payload->p == '"')
        *payload = (struct str){payload->p + 1, payload->n - 2};
    if (u->position != NULL && p->offset > 0) {
        u->jumped = p->offset != u->position->offset + 1;
        u->position->offset = p->offset;
    }
    return ADAPTER_MESSAGE;
}

static enum adapter_event centrifuge_next_held(struct adapter_user *u, struct str *payload)
{
    struct cf_publication p;
    int rc = cf_each_subscribe_result_publications(encoding_of(u), &u->held, &held_text, &p);

    u->recovered = rc > 0;
    if (rc > 0)
        return centrifuge_on_publication(u, &p, payload);
    u->held = STR_NULL;
    return rc < 0 ? ADAPTER_REFUSED : ADAPTER_NOTHING;
}

/* An epoch that is too long to be kept is not: then nothing is recovered, which is counted. */
static void centrifuge_on_subscribed(struct adapter_user *u, const struct cf_subscribe_result *r)
{
    struct adapter_position *p = u->position;

    if (u->delta != NULL) {
        u->delta->on = r->delta;
        buf_clear(&u->delta->before);
    }
    u->held = r->publications;
    if (p == NULL)
        return;
    u->unrecovered = p->epoch[0] != '\0' && !r->recovered;
    if (!r->recovered)
        p->offset = r->offset;
    if (str_copy(r->epoch, p->epoch, sizeof(p->epoch)) == -1)
        p->epoch[0] = '\0';
}

static enum adapter_event centrifuge_refused(struct adapter_user *u, const char *what,
                                             uint32_t code, struct str message)
{
    snprintf(u->refusal, sizeof(u->refusal), "the server refused %s: %u %.*s", what, code,
             (int)MIN(message.n, (size_t)40), message.p != NULL ? message.p : "");
    return ADAPTER_REFUSED;
}

static enum adapter_event centrifuge_on_push(struct adapter_user *u, const struct cf_push *p,
                                             struct str *payload, struct buf *reply)
{
    if (p->has_pub)
        return centrifuge_on_publication(u, &p->pub, payload);
    if (p->has_disconnect)
        return centrifuge_refused(u, "the connection", p->disconnect.code, p->disconnect.reason);
    if (!p->has_unsubscribe)
        return ADAPTER_NOTHING;
    /* From 2500 on a client is to subscribe again. */
    if (p->unsubscribe.code < 2500 || centrifuge_put_subscribe(u, p->channel, reply) == -1)
        return ADAPTER_REFUSED;
    return ADAPTER_REPLY;
}

static enum adapter_event centrifuge_on_reply(struct adapter_user *u, const struct cf_reply *r,
                                              struct str *payload, struct buf *reply)
{
    if (r->has_push)
        return centrifuge_on_push(u, &r->push, payload, reply);
    if (r->has_error)
        return centrifuge_refused(u, r->id == ID_PUBLISH ? "a publication" : "a command",
                                  r->error.code, r->error.message);
    switch (r->id) {
    case 0: /* a ping */
        return cf_encode_reply(encoding_of(u), &(struct cf_reply){0}, reply) == -1 ? ADAPTER_REFUSED
                                                                                   : ADAPTER_REPLY;
    case ID_SUBSCRIBE:
        centrifuge_on_subscribed(u, &r->subscribe);
        return ADAPTER_READY;
    case ID_HISTORY:
        return ADAPTER_HISTORY;
    default:
        return ADAPTER_NOTHING;
    }
}

static enum adapter_event centrifuge_receive(struct adapter_user *u, struct str *rest,
                                             struct str *payload, struct buf *reply)
{
    struct cf_input in;
    struct cf_reply r;
    int rc;

    u->recovered = u->jumped = u->was_delta = u->unrecovered = false;
    if (u->held.p != NULL)
        return centrifuge_next_held(u, payload);
    cf_input_init(&in, encoding_of(u), *rest, &read_text);
    rc = rest->n > 0 ? cf_next_reply(&in, &r) : 0;
    *rest = rc > 0 ? in.rest : STR_NULL;
    if (rc <= 0)
        return rc < 0 ? ADAPTER_REFUSED : ADAPTER_NOTHING;
    return centrifuge_on_reply(u, &r, payload, reply);
}

/* Both: what they have in common. */
#define IN_BOTH                                                                                    \
    .name = "centrifuge", .default_path = "/connection/websocket", .hello = centrifuge_hello,      \
    .receive = centrifuge_receive, .publish = centrifuge_publish,                                  \
    .ask_history = centrifuge_ask_history

const struct adapter adapter_centrifuge_json = {
    IN_BOTH,
    .protocol = CF_JSON,
    .subprotocol = "centrifuge-json",
};

const struct adapter adapter_centrifuge_protobuf = {
    IN_BOTH,
    .protocol = CF_PROTOBUF,
    .subprotocol = "centrifuge-protobuf",
    .binary = true,
};

#undef IN_BOTH
