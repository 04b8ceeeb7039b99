/* proto/centrifuge/open.c - /connection/websocket: from the request to a client, and what a session
 * of this kind is. */
#include "base/config.h"
#include "client.h"
#include "codec/json.h"
#include "encode.h"
#include "net/tls_server.h"
#include "net/ws.h"
#include "proto/session.h"
#include "stream.h"

#define SUBPROTOCOLS "centrifuge-json\ncentrifuge-protobuf" /* a list of a setting's form */

/* ---- the session ---- */

/* Its first message is what it connects with; what it says later means nothing. */
static void listener_message(struct client *cl, struct str data)
{
    struct buf command = {0};

    if (cl->state != CLIENT_NEW || cl->work != NULL)
        return;
    if (buf_append(&command, data) == -1)
        client_end(cl, CLOSE_NO_MEMORY);
    else if (client_connect_command(&command) == -1)
        client_end(cl, CLOSE_CF_BAD_REQUEST);
    else
        client_input(cl, buf_view(&command));
    buf_fini(&command);
}

static void centrifuge_message(struct conn *c, struct str data, bool binary UNUSED)
{
    struct client *cl = client_of(c);

    if (cl->listens)
        listener_message(cl, data);
    else
        client_input(cl, data);
}

static void centrifuge_answered(const struct record *r)
{
    struct client *cl = client_find(r->token);

    if (cl == NULL) {
        session_answered(r);
        return;
    }
    if (client_ended(cl))
        return;
    switch (r->kind) {
    case RECORD_PUBLISHED:
        publish_answered(cl, r);
        break;
    case RECORD_USER_CONNECTED:
        connect_user_answered(cl, r->status);
        break;
    case RECORD_MEMBERS:
    case RECORD_MEMBER_COUNT:
    case RECORD_HISTORY_PART:
        query_answered(cl, r);
        break;
    default:
        session_answered(r);
        break;
    }
}

/* What its connection finds, in the protocol's words. */
static enum close_reason centrifuge_reason(enum close_reason why)
{
    static const uint8_t words[CLOSE_NR] = {
        [CLOSE_DRAIN] = CLOSE_CF_SHUTDOWN,    [CLOSE_SLOW] = CLOSE_CF_SLOW,
        [CLOSE_OVERLOAD] = CLOSE_CF_SLOW,     [CLOSE_GLITCHES] = CLOSE_CF_TOO_MANY_REQUESTS,
        [CLOSE_NO_PONG] = CLOSE_CF_NO_PONG,   [CLOSE_OPERATOR] = CLOSE_CF_FORCED,
        [CLOSE_INTERNAL] = CLOSE_CF_INTERNAL, [CLOSE_LOST_POSITION] = CLOSE_CF_INSUFFICIENT_STATE};

    return words[why] != 0 ? (enum close_reason)words[why] : why;
}

static int centrifuge_describe(struct conn *c, struct buf *out)
{
    static const char *const waits[] = {
        [WAITS_TOKEN] = "a token to be verified",
        [WAITS_CONNECT] = "the hub: its user and its server-side subscriptions",
        [WAITS_SUBSCRIBE] = "the hub: a subscription, or what it has missed",
        [WAITS_ANSWER] = "the hub: an answer",
        [WAITS_PUBLISHED] = "the hub: its publications",
        [WAITS_ROOM] = "room in the ring to the hub",
    };
    struct client *cl = client_of(c);
    char id[CLIENT_ID_TEXT];

    if (cl == NULL)
        return 0;
    client_id_text(cl, id);
    if (buf_printf(out, ",\"client\":\"%.*s\",\"encoding\":\"%s\",\"user\":", (int)sizeof(id), id,
                   cl->encoding == CF_JSON ? "json" : "protobuf") == -1 ||
        json_append_string(out, client_user(cl)) == -1)
        return -1;
    if (cl->work == NULL || cl->work->waits == WAITS_NOT)
        return 0;
    return buf_printf(out, ",\"waits_for\":\"%s\"", waits[cl->work->waits]);
}

static void centrifuge_channels(struct conn *c,
                                void (*visit)(struct str channel, const struct sub *s, void *arg),
                                void *arg)
{
    struct client *cl = client_of(c);

    for (struct list *n = cl != NULL ? cl->subs.next : NULL; n != NULL && n != &cl->subs;
         n = n->next) {
        struct client_sub *cs = LIST_ENTRY(n, struct client_sub, link);

        if (cs->sub.chan != NULL)
            visit(chan_name(cs->sub.chan), &cs->sub, arg);
    }
}

static int centrifuge_describe_sub(const struct sub *s, struct buf *out)
{
    static const struct {
        uint16_t flag;
        const char *name;
    } flags[] = {
        {CLIENT_SUB_STREAM, "positioned"},     {CLIENT_SUB_RECOVERABLE, "recoverable"},
        {CLIENT_SUB_SERVER, "server_side"},    {CLIENT_SUB_PRESENCE, "presence"},
        {CLIENT_SUB_TELL, "join_leave"},       {CLIENT_SUB_DELTA, "delta"},
        {CLIENT_SUB_FILTER, "tags_filter"},    {CLIENT_SUB_CONFLATE, "conflated"},
        {CLIENT_SUB_STARTING, "starting"},     {CLIENT_SUB_EXPIRES, "expires"},
        {CLIENT_SUB_LOST, "missed_something"},
    };
    const struct client_sub *cs = CONTAINER_OF(s, const struct client_sub, sub);
    const char *sep = "";
    int rc = buf_append_lit(out, ",\"is\":[");

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if ((s->flags & flags[i].flag) == 0)
            continue;
        rc |= buf_printf(out, "%s\"%s\"", sep, flags[i].name);
        sep = ",";
    }
    rc |= buf_append_char(out, ']');
    if (s->flags & CLIENT_SUB_STREAM)
        rc |= buf_printf(out, ",\"offset\":%llu", (unsigned long long)cs->at.offset);
    return rc;
}

static struct str centrifuge_user(struct conn *c)
{
    struct client *cl = client_of(c);

    return cl != NULL ? client_user(cl) : STR_NULL;
}

static uint64_t centrifuge_traced(struct sub *s, size_t *queued)
{
    const struct conn *c = client_sub_of(s)->conn;

    *queued = conn_queued(c);
    return c->id;
}

static void centrifuge_ended(struct conn *c)
{
    if (client_of(c) != NULL)
        client_leave_count(client_of(c));
}

static void centrifuge_release(struct conn *c)
{
    c->flags &= (uint16_t)~CONN_OWN_PINGS;
    client_free(&((struct client_area *)conn_session(c))->client);
}

const struct session_ops centrifuge_session_ops = {
    .sink =
        {
            .subscribed = centrifuge_subscribed,
            .refused = centrifuge_refused,
            .deliver = centrifuge_deliver,
            .conn = centrifuge_traced,
            .lost = centrifuge_lost,
            .restarted = centrifuge_restarted,
            .recovered = centrifuge_recovered,
            .answered = centrifuge_answered,
            .unanswered = client_unanswered,
            .presence = centrifuge_presence,
            .control = centrifuge_control,
        },
    .message = centrifuge_message,
    .message_max = &config.message_size_limit,
    .deadline = centrifuge_deadline,
    .reason = centrifuge_reason,
    .describe = centrifuge_describe,
    .channels = centrifuge_channels,
    .describe_sub = centrifuge_describe_sub,
    .user = centrifuge_user,
    .ended = centrifuge_ended,
    .release = centrifuge_release,
};

/* ---- the request for a WebSocket ---- */

struct wish {
    enum cf_encoding encoding;
    bool frame_pings;
};

static void read_query(struct str query, struct wish *w)
{
    struct str key, value;

    while (http_query_next(&query, &key, &value)) {
        if ((str_equal(key, STR_LIT("format")) || str_equal(key, STR_LIT("cf_protocol"))) &&
            str_equal(value, STR_LIT("protobuf")))
            w->encoding = CF_PROTOBUF;
        else if (str_equal(key, STR_LIT("cf_ws_frame_ping_pong")) &&
                 str_equal(value, STR_LIT("true")))
            w->frame_pings = true;
    }
}

/* By the certificate that it has shown; empty: not. */
static struct str certified_user(const struct conn *c)
{
    switch ((enum user_of_certificate)config.user_id_client_certificate) {
    case USER_OF_NONE:
        break;
    case USER_OF_COMMON_NAME:
        return str_from(tls_common_name(c));
    case USER_OF_SUBJECT:
        return tls_subject(c) != NULL ? str_from(tls_subject(c)) : STR_NULL;
    }
    return STR_NULL;
}

int client_identify_by_peer(struct client *cl, const struct conn *c, const struct http_request *r)
{
    struct str user = certified_user(c);
    bool repeated = false;

    if (user.n > 0)
        return client_identify(cl, user, STR_NULL);
    if (config.user_id_http_header[0] == '\0')
        return 0;
    user = http_field_get(r, str_from(config.user_id_http_header), &repeated);
    if (user.n == 0 || repeated)
        return 0;
    return client_identify(cl, user, STR_NULL);
}

/* The connection is the client's. */
static void open_client(struct http_exchange *x, const struct upgrade *checked, struct client *cl)
{
    struct conn *c = ws_upgrade_take(x, checked, SESSION_CENTRIFUGE, 0);

    if (c == NULL) {
        client_free(&cl);
        return;
    }
    if (!cl->frame_pings && !cl->listens)
        c->flags |= CONN_OWN_PINGS;
    ((struct client_area *)conn_session(c))->client = cl;
}

static void centrifuge_handle(struct http_exchange *x)
{
    struct wish w = {.encoding = CF_JSON};
    struct upgrade checked;
    enum close_reason why;
    struct client *cl;

    if (upgrade_check(x->request, SUBPROTOCOLS, &checked, &why) == -1) {
        http_refuse(x, why);
        return;
    }
    read_query(x->request->query, &w);
    if (strcmp(checked.subprotocol, "centrifuge-protobuf") == 0)
        w.encoding = CF_PROTOBUF;
    cl = client_new(x->conn, w.encoding);
    if (cl == NULL || client_identify_by_peer(cl, x->conn, x->request) == -1) {
        client_free(&cl);
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    cl->frame_pings = w.frame_pings;
    open_client(x, &checked, cl);
}

/* Its connect may be in the target. False: it is refused. */
static bool keep_connect(struct http_exchange *x, struct client *cl)
{
    struct buf connect = {0};
    bool good = client_commands_of_query(x->request->query, &connect) &&
                connect.len <= client_message_max();

    if (good && connect.len > 0)
        good = client_connect_command(&connect) == 0 && client_keep(cl, buf_view(&connect)) == 0;
    buf_fini(&connect);
    if (!good)
        http_refuse(x, CLOSE_BAD_CONNECT);
    return good;
}

static void listener_handle(struct http_exchange *x)
{
    struct upgrade checked;
    enum close_reason why;
    struct client *cl;

    if (upgrade_check(x->request, "centrifuge-json", &checked, &why) == -1) {
        http_refuse(x, why);
        return;
    }
    cl = client_new(x->conn, CF_JSON);
    if (cl == NULL || client_identify_by_peer(cl, x->conn, x->request) == -1) {
        client_free(&cl);
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    cl->listens = true;
    if (keep_connect(x, cl))
        open_client(x, &checked, cl);
    else
        client_free(&cl);
}

/* As those of every client, but for its end, which is a push as well. */
static struct conn_ops listener_ops;

static void listener_end(struct conn *c, enum close_reason why, uint16_t code, struct str text)
{
    if (c->state == CONN_OPEN && code != 0)
        client_say_end(client_of(c), code, text);
    ws_end(c, why, code, text);
}

static void listener_drain(struct conn *c)
{
    session_end(c, CLOSE_CF_SHUTDOWN);
}

static void listener_init(void)
{
    listener_ops = session_open_ops[SESSION_CENTRIFUGE];
    listener_ops.end = listener_end;
    listener_ops.drain = listener_drain;
}

void listener_opened(struct conn *c)
{
    conn_set_ops(c, &listener_ops);
}

static bool websocket_enabled(void)
{
    return config.websocket;
}

static bool uni_websocket_enabled(void)
{
    return config.uni_websocket;
}

static const struct http_resource centrifuge_resources[] = {
    {.path = "/connection/websocket",
     .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,
     .methods = 1u << HTTP_GET,
     .needs_key = true,
     .client_open = true,
     .handshake = true,
     .handle = centrifuge_handle,
     .enabled = websocket_enabled},
    {.path = "/connection/uni_websocket",
     .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,
     .methods = 1u << HTTP_GET,
     .needs_key = true,
     .client_open = true,
     .handshake = true,
     .handle = listener_handle,
     .enabled = uni_websocket_enabled},
};

void centrifuge_init(void)
{
    encode_register();
    listener_init();
    http_register(centrifuge_resources, ARRAY_LEN(centrifuge_resources));
    stream_register();
    emulation_register();
}
