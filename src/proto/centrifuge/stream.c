/* proto/centrifuge/stream.c - clients that have no WebSocket: they get one long response, and say what
 * they have to say in the request for it and in others (emulation.c).
 *
 * Happy path: 1. the request is whole, its Origin is allowed 2. the connection is taken over, state
 * OPEN, and the head of the response goes out 3. the commands of the request are done, as those of a
 * frame 4. what they are answered with, and everything later, follows in the same response: a line
 * or an event each 5. its end is the connection's, behind a disconnect push. can fail: the Origin,
 * what a GET has as cf_connect, no memory.
 *
 * The response has no length and is not chunked: it ends with the connection (RFC 9112 §6.3), so a
 * publication costs a stream no more bytes than a frame, and proxies of HTTP/1.0 do as well. */
#include "stream.h"

#include "base/config.h"
#include "base/metrics.h"
#include "client.h"
#include "codec/json.h"
#include "proto/session.h"

static const struct stream_path {
    const char *path;
    enum client_wire wire;
    bool listens; /* unidirectional */
} paths[] = {
    {"/connection/http_stream", WIRE_LINES, false},
    {"/connection/sse", WIRE_EVENTS, false},
    {"/connection/uni_http_stream", WIRE_LINES, true},
    {"/connection/uni_sse", WIRE_EVENTS, true},
};

/* ---- the connection ---- */

static int stream_send(struct conn *c, struct str data, bool binary UNUSED)
{
    return c->state == CONN_OPEN ? conn_send(c, data) : -1;
}

void client_say_end(struct client *cl, uint16_t code, struct str text)
{
    const struct cf_reply r = {.has_push = true,
                               .push = {.has_disconnect = true, .disconnect = {code, text}}};
    enum cf_encoding e = (enum cf_encoding)cl->encoding;
    struct buf out = {0};
    int rc = cl->listens ? cf_encode_push(e, &r.push, &out) : cf_encode_reply(e, &r, &out);

    if (rc == 0)
        rc = wire_send(cl, buf_view(&out)); /* it ends, in either case */
    buf_fini(&out);
}

static void stream_end(struct conn *c, enum close_reason why, uint16_t code, struct str text)
{
    if (c->state != CONN_OPEN)
        return;
    if (code == 0) {
        conn_kill(c, why);
        return;
    }
    client_say_end(client_of(c), code, text);
    c->close_code = code;
    c->flags |= CONN_TOLD;
    conn_finish(c, why);
}

/* What comes behind the request means nothing. */
static void stream_input(struct conn *c UNUSED, struct str in UNUSED)
{
}

static void stream_deadline(struct conn *c)
{
    uint64_t next = centrifuge_deadline(c);

    if (c->state == CONN_OPEN && next != UINT64_MAX)
        conn_arm(c, next);
}

/* EventSource comes again by itself: not all at the same moment. */
static void stream_drain(struct conn *c)
{
    char retry[32];
    int n = snprintf(retry, sizeof(retry), "retry: %u\n\n", 1000 + conn_chance(c, 4000));

    if (client_of(c)->wire == WIRE_EVENTS &&
        stream_send(c, (struct str){retry, (size_t)n}, false) == -1)
        return; /* killed */
    session_end(c, CLOSE_CF_SHUTDOWN);
}

static const struct conn_ops stream_ops = {
    .name = conn_name_centrifuge_stream,
    .kind = SESSION_CENTRIFUGE,
    .session = &centrifuge_session_ops,
    .streamed = true,
    .send = stream_send,
    .end = stream_end,
    .input = stream_input,
    .deadline = stream_deadline,
    .slow = session_slow,
    .drain = stream_drain,
    .release = session_release,
};

/* ---- the request ---- */

bool stream_origin_allowed(const struct http_request *r)
{
    bool repeated = false;
    struct str origin = http_field_get(r, STR_LIT("Origin"), &repeated);

    return origin.p == NULL || (!repeated && upgrade_origin_allowed(origin, r->host));
}

int stream_fields(const struct http_request *r, struct buf *out)
{
    struct str origin = http_field_get(r, STR_LIT("Origin"), NULL);

    if (origin.p == NULL || !stream_origin_allowed(r))
        return 0;
    return buf_printf(out,
                      "Access-Control-Allow-Origin: %.*s\r\n"
                      "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n",
                      STR_ARG(origin));
}

/* A browser asks before it sends a page's request elsewhere (Fetch, 4.8). */
void stream_preflight(struct http_exchange *x)
{
    struct str wanted = http_field_get(x->request, STR_LIT("Access-Control-Request-Headers"), NULL);
    const char *get = x->resource->methods & 1u << HTTP_GET ? "GET, " : "";
    struct buf fields = {0};

    if (wanted.p == NULL)
        wanted = STR_LIT("Content-Type");
    if (!stream_origin_allowed(x->request))
        http_refuse(x, CLOSE_BAD_ORIGIN);
    else if (buf_printf(&fields,
                        "Access-Control-Allow-Methods: %sPOST, OPTIONS\r\n"
                        "Access-Control-Allow-Headers: %.*s\r\nAccess-Control-Max-Age: 300\r\n",
                        get, STR_ARG(wanted)) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 204, NULL, buf_view(&fields), STR_LIT(""));
    buf_fini(&fields);
}

bool client_commands_of_query(struct str query, struct buf *out)
{
    struct str key, value;
    size_t n;

    while (query.p != NULL && http_query_next(&query, &key, &value)) {
        if (!str_equal(key, STR_LIT("cf_connect")))
            continue;
        if (buf_append(out, value) == -1 || buf_reserve(out, 1) == -1)
            return false;
        /* As pages write it: application/x-www-form-urlencoded. */
        for (size_t i = 0; i < out->len; i++)
            if (out->p[i] == '+')
                out->p[i] = ' ';
        if (http_percent_decode(buf_view(out), out->p, out->len + 1, &n) == -1)
            return false;
        out->len = n;
        return true;
    }
    return true;
}

/* What a listener says is a connect's content alone; it becomes a command. */
int client_connect_command(struct buf *text)
{
    static const char head[] = "{\"id\":1,\"connect\":";
    struct buf out = {0};
    struct json_value v;
    size_t at;

    if (text->len == 0 && buf_append_lit(text, "{}") == -1)
        return -1;
    if (json_parse(buf_view(text), &v, &at) == -1 || v.type != JSON_OBJECT ||
        buf_append_lit(&out, head) == -1 || buf_append(&out, v.raw) == -1 ||
        buf_append_char(&out, '}') == -1) {
        buf_fini(&out);
        return -1;
    }
    buf_fini(text);
    *text = out;
    return 0;
}

static int send_head(struct conn *c, struct str cors, const char *type)
{
    struct buf out = {0};
    int rc = buf_append_lit(&out, "HTTP/1.1 200 OK\r\n");

    if (rc == 0)
        rc = buf_append(&out, http_date_line());
    if (rc == 0)
        rc =
            buf_printf(&out,
                       "Content-Type: %s\r\nCache-Control: private, no-cache, no-store, "
                       "must-revalidate, max-age=0\r\nPragma: no-cache\r\nX-Accel-Buffering: no\r\n"
                       "Connection: close\r\n%.*s\r\n",
                       type, STR_ARG(cors));
    /* Some browsers tell a page of the response when there is something in it. A lone line feed:
     * behind CR LF, when the first event comes with it, npm's eventsource 2 loses that event. */
    if (rc == 0 && client_of(c)->wire == WIRE_EVENTS)
        rc = buf_append_char(&out, '\n');
    if (rc == 0)
        rc = conn_send(c, buf_view(&out));
    else
        conn_kill(c, CLOSE_NO_MEMORY);
    buf_fini(&out);
    return rc;
}

static const char *type_of(const struct client *cl)
{
    if (cl->wire == WIRE_EVENTS)
        return "text/event-stream";
    return cl->encoding == CF_PROTOBUF ? "application/octet-stream" : "application/json";
}

/* The client owns the connection from here on. */
static void begin(struct http_exchange *x, struct client *cl, struct str cors, struct str commands)
{
    struct conn *c = x->conn;
    struct buf rest = {0};
    int rc = http_take_over(x, &rest);

    buf_fini(&rest);
    if (rc == -1) {
        client_free(&cl);
        return;
    }
    ((struct client_area *)conn_session(c))->client = cl;
    conn_set_ops(c, &stream_ops);
    conn_set_state(c, CONN_OPEN);
    c->heard = reactor->tick;
    METRIC_INC(http_requests);
    if (send_head(c, cors, type_of(cl)) == -1)
        return;
    stream_deadline(c);
    client_input(cl, commands);
}

static bool is_protobuf(const struct http_request *r)
{
    return str_equal_nocase(http_field_get(r, STR_LIT("Content-Type"), NULL),
                            STR_LIT("application/octet-stream"));
}

/* Takes the commands out of the request. False: it is refused. */
static bool take_commands(struct http_exchange *x, const struct client *cl, struct buf *out)
{
    if (x->request->method == HTTP_POST) {
        *out = x->body;
        x->body = (struct buf){.p = NULL};
    } else if (!client_commands_of_query(x->request->query, out)) {
        http_refuse(x, CLOSE_BAD_TARGET);
        return false;
    }
    if (out->len > client_message_max()) {
        http_refuse(x, CLOSE_BODY_TOO_BIG);
        return false;
    }
    if (cl->listens && client_connect_command(out) == -1) {
        http_refuse(x, CLOSE_BAD_CONNECT);
        return false;
    }
    return true;
}

static void stream_handle(struct http_exchange *x)
{
    const struct stream_path *path = paths;
    bool allowed = stream_origin_allowed(x->request);
    enum cf_encoding encoding = is_protobuf(x->request) ? CF_PROTOBUF : CF_JSON;
    struct buf commands = {0}, cors = {0};
    struct client *cl;

    if (x->request->method == HTTP_OPTIONS) {
        stream_preflight(x);
        return;
    }
    while (strcmp(path->path, x->resource->path) != 0)
        path++;
    if (!allowed || reactor_sends_away(x->conn)) {
        http_refuse(x, allowed ? CLOSE_DRAIN : CLOSE_BAD_ORIGIN);
        return;
    }
    if (path->wire == WIRE_EVENTS || path->listens)
        encoding = CF_JSON;
    cl = client_new(x->conn, encoding);
    if (cl == NULL || client_identify_by_peer(cl, x->conn, x->request) == -1 ||
        stream_fields(x->request, &cors) == -1) {
        client_free(&cl);
        buf_fini(&cors);
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    cl->wire = (uint8_t)path->wire;
    cl->listens = path->listens;
    if (take_commands(x, cl, &commands))
        begin(x, cl, buf_view(&cors), buf_view(&commands));
    else
        client_free(&cl);
    buf_fini(&commands);
    buf_fini(&cors);
}

static bool http_stream_enabled(void)
{
    return config.http_stream;
}

static bool sse_enabled(void)
{
    return config.sse;
}

static bool uni_http_stream_enabled(void)
{
    return config.uni_http_stream;
}

static bool uni_sse_enabled(void)
{
    return config.uni_sse;
}

#define METHOD(name) (1u << HTTP_##name)
#define STREAM(path_, methods_, enabled_)                                                          \
    {                                                                                              \
        .path = path_, .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,                                    \
        .methods = (methods_) | METHOD(OPTIONS), .needs_key = true, .client_open = true,           \
        .handshake = true, .fields = stream_fields, .handle = stream_handle, .enabled = enabled_   \
    }
static const struct http_resource stream_resources[] = {
    STREAM("/connection/http_stream", METHOD(POST), http_stream_enabled),
    STREAM("/connection/sse", METHOD(GET) | METHOD(POST), sse_enabled),
    STREAM("/connection/uni_http_stream", METHOD(POST), uni_http_stream_enabled),
    STREAM("/connection/uni_sse", METHOD(GET) | METHOD(POST), uni_sse_enabled),
};

void stream_register(void)
{
    http_register(stream_resources, ARRAY_LEN(stream_resources));
}
