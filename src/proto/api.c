/* proto/api.c - the methods.
 *
 * Happy path: 1 the body is parsed · 2 the exchange is deferred · 3 api_hand() hands to the ring what
 * fits, a waiter (core/waiters.h) the rest · 4 the hub answers: PUBLISHED (publish), FENCED behind the last of a broadcast, LISTED
 * (channels) · 5 the response. can fail: the body (400, or HTTP 200 with an error object), the
 * connection's end (api_abandoned()), the time (api_overdue()).
 *
 * What is in the ring will be delivered, whatever the caller is told. So 503 with Retry-After ("not
 * done, retry") is said only while nothing is, and 504 ("outcome unknown") otherwise. The time is
 * config.hub_timeout without progress: nothing new fits the ring, and the hub takes nothing of what
 * is in it up to this call's last record. */
#include "proto/api.h"

#include "api_internal.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/engine.h"
#include "http_internal.h"
#include "proto/session.h"

#define API_SLICE 64 /* channels of a broadcast published in one step */
#define API_LOOKS 16 /* per config.hub_timeout */
#define API_JSON  "application/json"

struct api_call {            /* pooled; what an exchange waits for */
    struct http_exchange *x; /* borrowed; owns this (x->state) */
    enum api_method method;
    struct api_request req; /* owned */
    struct task task;       /* broadcast: runnable while channels are left and the ring has room */
    struct str rest;        /* broadcast: channels not yet published */
    size_t answered;        /* entries in out */
    struct waiter waiter;   /* for room in the ring */
    size_t handed;          /* records in the ring: what cannot be taken back */
    uint64_t end;           /* ring position behind the last of them */
    uint64_t taken;         /* how far the hub had come when last looked at, end at most */
    bool sent;              /* everything has been handed to the ring */
    uint64_t moved_ns;      /* when it came nearer to its answer, as far as was seen */
    struct buf out;         /* owned; the response so far */
};

static struct reactor_part api_calls = REACTOR_POOL("api_call", struct api_call);

static void api_call_free(struct api_call *call)
{
    task_remove(&call->task);
    waiter_remove(&call->waiter);
    api_request_fini(&call->req);
    buf_fini(&call->out);
    pool_put(reactor_pool(&api_calls), call);
}

static void api_abandoned(struct http_exchange *x)
{
    api_call_free(x->state);
}

void api_respond(struct http_exchange *x, struct str body)
{
    http_respond(x, 200, API_JSON, STR_LIT(""), body);
}

/* The answer of a call that waits; the call ends. */
static void api_finish(struct api_call *call, struct str body)
{
    struct http_exchange *x = call->x;

    x->abandoned = NULL;
    api_respond(x, body);
    api_call_free(call);
}

static int api_append_error(struct buf *out, int code, struct str message)
{
    if (buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", code) == -1 ||
        json_append_string(out, message) == -1)
        return -1;
    return buf_append_lit(out, "}}");
}

/* Which channels of a broadcast are in doubt: they are handed over in the request's order. */
static int api_append_doubt(const struct api_call *call, struct buf *text)
{
    size_t all = call->req.channel_count;
    struct str rest = call->rest;
    struct json_value next;

    if (!json_element(&rest, &next))
        return buf_printf(text, "; it concerns all %zu channels", all);
    if (buf_printf(text, "; it concerns the first %zu of %zu channels, for the others",
                   call->answered, all) == -1)
        return -1;
    if (next.raw.n <= CHANNEL_NAME_MAX &&
        buf_printf(text, ", from %.*s on,", STR_ARG(next.raw)) == -1)
        return -1;
    return buf_append_lit(text, " it is not done");
}

/* The ring has it, and nobody has said what became of it. */
static void api_finish_unknown(struct api_call *call, enum close_reason why)
{
    struct http_exchange *x = call->x;
    struct buf text = {0}, body = {0};

    x->abandoned = NULL;
    x->keep_alive = false;
    if (buf_printf(&text, "outcome unknown: %s", close_row(why)->text) == -1 ||
        (call->method == API_BROADCAST && api_append_doubt(call, &text) == -1) ||
        api_append_error(&body, API_INTERNAL, buf_view(&text)) == -1)
        conn_kill(x->conn, CLOSE_NO_MEMORY); /* no answer says as much */
    else
        http_respond(x, 504, API_JSON, STR_LIT(""), buf_view(&body));
    buf_fini(&text);
    buf_fini(&body);
    api_call_free(call);
}

/* The call ends without a result. A listing changes nothing, so it is never in doubt. */
static void api_finish_failed(struct api_call *call, enum close_reason why)
{
    struct http_exchange *x = call->x;

    if (call->handed > 0 && call->method != API_CHANNELS) {
        api_finish_unknown(call, why);
        return;
    }
    x->abandoned = NULL;
    http_refuse(x, why);
    api_call_free(call);
}

/* One more record of the call is in the ring. */
static void api_handed(struct api_call *call)
{
    if (call->handed++ == 0)
        call->taken = broker_taken(reactor->broker);
    call->end = broker_written(reactor->broker);
    call->moved_ns = clock_ns();
}

/* Looks a few times within config.hub_timeout whether the hub has come nearer to the call's end. */
static void api_overdue(struct http_exchange *x)
{
    struct api_call *call = x->state;
    uint64_t taken = MIN(broker_taken(reactor->broker), call->end), most, quiet;

    if (taken > call->taken)
        call->moved_ns = clock_ns();
    call->taken = MAX(taken, call->taken);
    most = (uint64_t)config.hub_timeout;
    quiet = clock_ns() - call->moved_ns;
    if (quiet < most)
        http_defer_longer(x, MIN(most - quiet, most / API_LOOKS));
    else
        api_finish_failed(call, CLOSE_HUB_TIMEOUT);
}

void api_answer_fault(struct http_exchange *x, const struct api_fault *f)
{
    struct buf out = {0};
    char text[96];
    int n;

    x->error_object = true;
    if (f->why != CLOSE_NONE) {
        http_refuse(x, f->why);
        return;
    }
    if (f->code == 0) {
        n = snprintf(text, sizeof(text), "the body is %s (byte %zu)\n", f->message, f->at);
        http_respond(x, 400, "text/plain; charset=utf-8", STR_LIT(""),
                     (struct str){.p = text, .n = (size_t)n});
        return;
    }
    if (api_append_error(&out, f->code, str_from(f->message)) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        api_respond(x, buf_view(&out));
    buf_fini(&out);
}

/* One entry of a broadcast's responses: message NULL for a publication that was handed over. */
static int api_append_response(struct api_call *call, const char *message)
{
    if (call->answered++ > 0 && buf_append_char(&call->out, ',') == -1)
        return -1;
    return message == NULL ? buf_append_lit(&call->out, "{\"result\":{}}")
                           : api_append_error(&call->out, API_BAD_REQUEST, str_from(message));
}

static struct asker api_asker(const struct api_call *call)
{
    return (struct asker){SESSION_API, call->x->token};
}

/* -1: no room in the ring. */
static int api_publish_to(struct api_call *call, struct str channel, uint8_t flags)
{
    const struct broker_publication p = {
        .channel = channel,
        .data = call->req.data,
        .flags = call->req.flags | flags,
        .origin = api_asker(call),
    };

    return broker_publish(reactor->broker, &p);
}

/* Publishes to one channel of a broadcast. 1 done, 0 no room in the ring, -1 no memory. */
static int api_broadcast_one(struct api_call *call, const struct json_value *name)
{
    struct buf channel = {0};
    int rc = -1;

    if (buf_reserve(&channel, name->raw.n) == -1) { /* enough: then a failure is the name's */
        rc = -1;
    } else if (json_string(name, &channel) == -1 || !channel_name_valid(buf_view(&channel))) {
        rc = api_append_response(call, api_bad_channel) == -1 ? -1 : 1;
    } else if (api_publish_to(call, buf_view(&channel), 0) == -1) {
        rc = 0;
    } else {
        api_handed(call);
        rc = api_append_response(call, NULL) == -1 ? -1 : 1;
    }
    buf_fini(&channel);
    return rc;
}

/* Some of a broadcast. 1 all channels are done, 0 more is left, or no room (*full), -1 no memory.
 */
static int api_broadcast_slice(struct api_call *call, bool *full)
{
    struct str next = call->rest;
    struct json_value name;

    *full = false;
    for (int i = 0; i < API_SLICE; i++) {
        int rc;

        if (!json_element(&next, &name))
            return 1;
        *full = !broker_can_publish(reactor->broker, call->req.data.n, 1);
        rc = *full ? 0 : api_broadcast_one(call, &name);
        if (rc == 0) {
            *full = true;
            return 0;
        }
        call->rest = next;
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Asks to be told when the last publication has been ordered. */
static bool api_broadcast_end(struct api_call *call)
{
    if (broker_fence(reactor->broker, api_asker(call)) == -1)
        return false;
    call->end = broker_written(reactor->broker);
    call->moved_ns = clock_ns();
    call->sent = true;
    return true;
}

static enum task_result api_broadcast_step(struct task *t)
{
    struct api_call *call = CONTAINER_OF(t, struct api_call, task);
    bool full;
    int rc = api_broadcast_slice(call, &full);

    if (rc < 0) {
        api_finish_failed(call, CLOSE_NO_MEMORY);
        return TASK_DONE;
    }
    if (rc == 0 && !full)
        return TASK_MORE;
    if (full || !api_broadcast_end(call))
        waiters_add(&reactor->waiters, &call->waiter, false);
    return TASK_DONE;
}

static bool api_publish_now(struct api_call *call)
{
    const struct api_request *r = &call->req;

    return broker_can_publish(reactor->broker, r->data.n, 1) &&
           api_publish_to(call, r->channel, RECORD_WANT_ACK) == 0;
}

/* Hands to the ring what it takes; false: no room. */
static bool api_hand(struct api_call *call)
{
    switch (call->method) {
    case API_PUBLISH:
        call->sent = api_publish_now(call);
        break;
    case API_BROADCAST:
        if (!broker_can_publish(reactor->broker, call->req.data.n, 1))
            return false;
        task_add(&reactor->tasks, &call->task);
        return true;
    case API_CHANNELS:
        call->sent =
            broker_list(reactor->broker, api_asker(call), call->req.pattern, API_MAX_LISTED) == 0;
        break;
    case API_INFO:
        break;
    }
    if (call->sent)
        api_handed(call);
    return call->sent;
}

static enum waiter_answer api_ask(struct waiter *w)
{
    return api_hand(CONTAINER_OF(w, struct api_call, waiter)) ? WAITER_SERVED : WAITER_NO_ROOM;
}

/* The call of a token, if it still waits for such an answer. */
static struct api_call *api_call_find(uint64_t token, enum api_method method)
{
    struct http_exchange *x = http_exchange_find(token);
    struct api_call *call = x == NULL ? NULL : x->state;

    return call != NULL && x->abandoned == api_abandoned && call->method == method && call->sent
               ? call
               : NULL;
}

/* The engine will not take it: trying again does not help. */
static void api_finish_refused(struct api_call *call, enum engine_status status)
{
    struct buf text = {0}, body = {0};

    if (buf_printf(&text, "not available: the engine says %s", engine_status_name(status)) == -1 ||
        api_append_error(&body, API_NOT_AVAILABLE, buf_view(&text)) == -1)
        api_finish_failed(call, CLOSE_NO_MEMORY);
    else
        api_finish(call, buf_view(&body));
    buf_fini(&text);
    buf_fini(&body);
}

static void api_published(const struct record *r)
{
    struct api_call *call = api_call_find(r->token, API_PUBLISH);

    if (call == NULL)
        return;
    if (r->status == ENGINE_UNKNOWN) {
        api_finish_unknown(call, CLOSE_HUB_TIMEOUT);
    } else if (r->status == ENGINE_UNAVAILABLE) {
        call->handed = 0; /* the engine is sure that it has not happened */
        api_finish_failed(call, CLOSE_HUB_TIMEOUT);
    } else if (r->status == ENGINE_TOO_BIG || r->status == ENGINE_REFUSED) {
        api_finish_refused(call, r->status);
    } else {
        /* Without history a position says nothing to the caller. */
        api_finish(call, STR_LIT("{\"result\":{}}"));
    }
}

static void api_fenced(uint64_t token)
{
    struct api_call *call = api_call_find(token, API_BROADCAST);

    if (call == NULL)
        return;
    if (buf_append_lit(&call->out, "]}}") == -1)
        api_finish_failed(call, CLOSE_NO_MEMORY);
    else
        api_finish(call, buf_view(&call->out));
}

static int api_close_listing(struct buf *out, uint32_t matches)
{
    if (buf_append_char(out, '}') == -1)
        return -1;
    /* Beside the original's shape: said only when the listing was cut short. */
    if (matches > API_MAX_LISTED && buf_printf(out, ",\"total\":%u", matches) == -1)
        return -1;
    return buf_append_lit(out, "}}");
}

/* The parts are the members of one object. */
static void api_listed(uint64_t token, const struct record *part)
{
    struct api_call *call = api_call_find(token, API_CHANNELS);

    if (call == NULL)
        return;
    call->moved_ns = clock_ns();
    if (part->data.n > 0 && buf_append(&call->out, part->data) == -1)
        api_finish_failed(call, CLOSE_NO_MEMORY);
    else if (!(part->flags & RECORD_LAST))
        return;
    else if (part->status != ENGINE_OK) /* too many at once, or its asker was too slow */
        api_finish_failed(call, CLOSE_HUB_TIMEOUT);
    else if (api_close_listing(&call->out, part->count) == -1)
        api_finish_failed(call, CLOSE_NO_MEMORY);
    else
        api_finish(call, buf_view(&call->out));
}

static void api_answered(const struct record *r)
{
    if (r->kind == RECORD_PUBLISHED)
        api_published(r);
    else if (r->kind == RECORD_FENCED)
        api_fenced(r->token);
    else if (r->kind == RECORD_LISTED)
        api_listed(r->token, r);
}

const struct session_ops api_session_ops = {.sink = {.answered = api_answered}};

/* Parses the body and makes a call of it. NULL: answered. */
static struct api_call *api_begin(struct http_exchange *x, enum api_method method,
                                  const char *response)
{
    struct api_request req = {0};
    struct api_fault fault;
    struct api_call *call;

    if (api_parse(method, buf_view(&x->body), &req, &fault) == -1) {
        api_request_fini(&req);
        api_answer_fault(x, &fault);
        return NULL;
    }
    call = pool_get(reactor_pool(&api_calls));
    if (call == NULL || buf_append_lit(&call->out, response) == -1) {
        api_request_fini(&req);
        pool_put(reactor_pool(&api_calls), call);
        http_refuse(x, CLOSE_NO_MEMORY);
        return NULL;
    }
    call->x = x;
    call->method = method;
    call->req = req;
    call->rest = req.channels;
    task_init(&call->task, "api_broadcast", api_broadcast_step);
    x->state = call;
    x->abandoned = api_abandoned;
    x->overdue = api_overdue;
    call->moved_ns = clock_ns();
    waiter_init(&call->waiter, api_ask);
    http_defer(x);
    http_defer_longer(x, (uint64_t)config.hub_timeout / API_LOOKS);
    return call;
}

static void api_start(struct http_exchange *x, enum api_method method, const char *response)
{
    struct api_call *call = api_begin(x, method, response);

    if (call != NULL && !api_hand(call))
        waiters_add(&reactor->waiters, &call->waiter, false);
}

static void api_publish(struct http_exchange *x)
{
    api_start(x, API_PUBLISH, "");
}

static void api_broadcast(struct http_exchange *x)
{
    api_start(x, API_BROADCAST, "{\"result\":{\"responses\":[");
}

static void api_channels(struct http_exchange *x)
{
    api_start(x, API_CHANNELS, "{\"result\":{\"channels\":{");
}

#define API_DURATION(member) offsetof(struct metrics, member)
#define API(path_, method, histogram)                                                              \
    {                                                                                              \
        .path = path_, .where = HTTP_ON_ADMIN, .methods = 1u << HTTP_POST, .needs_key = true,      \
        .json_refusals = true, .duration = histogram, .handle = method                             \
    }

static const struct http_resource api_resources[] = {
    API("/api/publish", api_publish, API_DURATION(api_publish_duration)),
    API("/api/broadcast", api_broadcast, API_DURATION(api_broadcast_duration)),
    API("/api/channels", api_channels, API_DURATION(api_channels_duration)),
    API("/api/info", api_info, API_DURATION(api_info_duration)),
};

void api_init(void (*info)(struct api_node *out))
{
    api_info_init(info);
    http_register(api_resources, ARRAY_LEN(api_resources));
}
