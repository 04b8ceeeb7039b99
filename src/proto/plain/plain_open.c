/* proto/plain/plain_open.c - from the request to a subscribed session (proto/ws_upgrade.h does the rest).
 *
 * Happy path: 1 the request is in order · 2 the connection is taken over · 3 each channel is
 * subscribed to. can fail: the checks (http_refuse(), the connection may be kept), a channel limit
 * or no memory; then the answer is a refusal and the end. */
#include "base/config.h"
#include "plain_internal.h"
#include "proto/permission.h"

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

static void plain_session_init(struct conn *c, const struct plain_query *q, void *memory)
{
    struct plain_session *ps = plain_session(c);

    ps->mode = (uint8_t)q->mode;
    ps->quiet = q->quiet;
    ps->envelope = q->envelope;
    if (q->mode == PLAIN_PUB)
        ps->names = memory;
    else if (memory != NULL)
        ps->set = memory;
    ps->has_set = q->mode != PLAIN_PUB && memory != NULL;
}

/* exclude_self of the channel's namespace does what ?echo=0 does. */
static uint16_t plain_sub_flags(struct plain_session *ps, unsigned index, struct str name)
{
    const struct channel_options *o =
        plain_is_judged(conn_of_session(ps)) ? channel_options_of(name) : NULL;
    unsigned flags = 0;

    if (ps->has_set)
        flags |= PLAIN_SUB_IN_SET | index << PLAIN_SUB_INDEX_SHIFT;
    if (ps->quiet || (o != NULL && o->exclude_self))
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
        subs[i].flags = plain_sub_flags(ps, i, name);
        subs[i].kind = SESSION_PLAIN;
        subs[i].variant =
            session_variant(conn_of_session(ps), ps->envelope ? BATCH_PLAIN_ENVELOPE : BATCH_RAW);
        TRACE(subscribe, conn_of_session(ps)->id, name);
        if (broker_subscribe(reactor->broker, &subs[i], name, why) == -1)
            return -1;
    }
    return 0;
}

/* May an anonymous client do this in all channels of the request? */
static bool plain_permitted(const struct plain_query *q, enum close_reason *why)
{
    struct permission_ask ask = {.op = q->mode == PLAIN_PUB ? PERMISSION_PUBLISH
                                                            : PERMISSION_SUBSCRIBE};
    struct str rest = {.p = q->names, .n = q->bytes};

    while (plain_name_next(&rest, &ask.channel)) {
        switch (permission_check(&ask, NULL)) {
        case PERMISSION_GIVEN:
            continue;
        case PERMISSION_UNKNOWN:
            *why = CLOSE_CHANNEL_UNKNOWN;
            return false;
        case PERMISSION_BAD_NAME:
            *why = CLOSE_BAD_CHANNEL;
            return false;
        case PERMISSION_DENIED:
        case PERMISSION_NOT_AVAILABLE:
            *why = CLOSE_CHANNEL_DENIED;
            return false;
        }
    }
    return true;
}

static void plain_handle(struct http_exchange *x)
{
    static struct plain_query q; /* large; valid in here only */
    struct conn *c;
    struct upgrade checked;
    struct str channel = x->resource->prefix ? x->path : STR_NULL;
    void *memory = NULL;
    enum close_reason why;

    if (!config.plain && (x->conn->flags & CONN_ADMIN) == 0) {
        http_refuse(x, CLOSE_NOT_FOUND);
        return;
    }
    if (upgrade_check(x->request, config.subprotocols, &checked, &why) == -1 ||
        plain_query_parse(channel, x->request->query, &q, &why) == -1 ||
        (plain_is_judged(x->conn) && !plain_permitted(&q, &why))) {
        http_refuse(x, why);
        return;
    }
    if (plain_memory_new(x->conn, &q, &memory) == -1) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    c = ws_upgrade_take(x, &checked, SESSION_PLAIN, q.mode == PLAIN_PUB ? 0 : q.n);
    if (c == NULL) {
        free(memory);
        return;
    }
    plain_session_init(c, &q, memory);
    if (plain_subscribe(plain_session(c), &q, &why) == -1)
        ws_upgrade_refuse(c, why);
}

#define PLAIN_RESOURCE                                                                             \
    .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN, .methods = 1u << HTTP_GET, .needs_key = true,         \
    .client_open = true, .handshake = true, .handle = plain_handle

static const struct http_resource plain_resources[] = {
    {.path = "/ws", PLAIN_RESOURCE},
    {.path = "/ws/", .prefix = true, PLAIN_RESOURCE},
};

void plain_init(void)
{
    batch_register(ENCODING_PLAIN_ENVELOPE, plain_envelope_encode);
    http_register(plain_resources, ARRAY_LEN(plain_resources));
}
