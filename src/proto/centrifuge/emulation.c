/* proto/centrifuge/emulation.c - POST /emulation: commands of a client whose replies go into a long
 * response.
 *
 * Happy path: 1. the body says which session is meant, which says which worker has it, and on which
 * node 2. the commands are that client's input; on another worker, of this node or of another, they come
 * as an order of proto/control.h 3. 204, the replies go the other way. can fail: a node is meant that
 * does not live (404), the ring to the hub is full (503). What the engine loses, or a session that is
 * gone, is answered 204, too: whoever guesses learns nothing. */
#include "base/config.h"
#include "client.h"
#include "stream.h"

static const char *own_uid = "";
static uint64_t (*find_node)(struct str uid);

void centrifuge_nodes(const char *uid, uint64_t (*find)(struct str uid))
{
    own_uid = uid;
    find_node = find;
}

struct str client_node(void)
{
    return str_from(own_uid);
}

static void answer(struct http_exchange *x)
{
    http_respond(x, 204, NULL, STR_LIT(""), STR_LIT(""));
}

/* To the worker that has it; node: 0: of this one. -1: no room, or no memory. */
static int hand_over(const struct cf_emulation *e, uint64_t node, unsigned worker)
{
    const struct asker nobody = {.kind = SESSION_CENTRIFUGE};
    const struct control order = {.order = CONTROL_INPUT, .session = e->session, .data = e->data};
    struct buf text = {0};
    int rc = control_write(&order, &text);

    if (rc == 0)
        rc = broker_can_publish(reactor->broker, text.len, 1) ? 0 : -1;
    if (rc == 0)
        rc = broker_control_elsewhere(reactor->broker, nobody, node, worker, buf_view(&text));
    buf_fini(&text);
    return rc;
}

static void emulate(struct http_exchange *x, const struct cf_emulation *e)
{
    uint64_t node = 0;
    unsigned worker;

    if (!str_equal(e->node, client_node())) {
        node = find_node != NULL ? find_node(e->node) : 0;
        if (node == 0) {
            http_refuse(x, CLOSE_NOT_FOUND);
            return;
        }
    }
    if (client_session_worker(e->session, &worker) == -1) {
        answer(x);
        return;
    }
    if (node == 0 && worker == reactor->cfg.worker) {
        struct client *cl = client_of_session(e->session);

        if (cl != NULL && client_emulates(cl) && !client_ended(cl))
            client_input(cl, e->data);
        answer(x);
    } else if (hand_over(e, node, worker) == 0) {
        answer(x);
    } else {
        http_refuse(x, CLOSE_HUB_TIMEOUT);
    }
}

static void emulation_handle(struct http_exchange *x)
{
    struct str type = http_field_get(x->request, STR_LIT("Content-Type"), NULL);
    enum cf_encoding encoding =
        str_equal_nocase(type, STR_LIT("application/octet-stream")) ? CF_PROTOBUF : CF_JSON;
    struct buf text = {0};
    struct cf_emulation e;
    int rc;

    if (x->request->method == HTTP_OPTIONS) {
        stream_preflight(x);
        return;
    }
    if (!stream_origin_allowed(x->request)) {
        http_refuse(x, CLOSE_BAD_ORIGIN);
        return;
    }
    if (x->body.len > client_message_max()) {
        http_refuse(x, CLOSE_BODY_TOO_BIG);
        return;
    }
    rc = cf_decode_emulation(encoding, buf_view(&x->body), &text, &e);
    if (rc == 0)
        emulate(x, &e);
    else
        http_refuse(x, rc == CF_NO_MEMORY ? CLOSE_NO_MEMORY : CLOSE_BAD_CONNECT);
    buf_fini(&text);
}

static bool emulation_enabled(void)
{
    return config.http_stream || config.sse;
}

static const struct http_resource emulation_resources[] = {
    {.path = "/emulation",
     .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,
     .methods = 1u << HTTP_POST | 1u << HTTP_OPTIONS,
     .needs_key = true,
     .client_open = true,
     .fields = stream_fields,
     .handle = emulation_handle,
     .enabled = emulation_enabled},
};

void emulation_register(void)
{
    http_register(emulation_resources, ARRAY_LEN(emulation_resources));
}
