/* proto/http_answer.c - responses: heads, refusals, and what follows an answer. */
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http_internal.h"
#include "net/refusal.h"

struct http_status_line { /* what a response head is made of */
    int status;
    const char *type;  /* borrowed; NULL: no Content-Type */
    struct str fields; /* borrowed */
    size_t length;     /* of the body */
    bool keep_alive;
    uint8_t minor; /* of the request's version */
};

#define HTTP_HEAD_USUAL 320 /* bytes: one allocation for most heads */

static int http_resource_fields(struct buf *out, const struct http_exchange *x)
{
    if (x == NULL || x->request == NULL || x->resource == NULL || x->resource->fields == NULL)
        return 0;
    return x->resource->fields(x->request, out);
}

/* x: what is answered, or NULL. */
static int http_head_append(struct buf *out, const struct http_exchange *x,
                            const struct http_status_line *h)
{
    bool upgrade = h->status == 426;

    if (buf_reserve(out, HTTP_HEAD_USUAL + h->fields.n) == -1)
        return -1;
    if (buf_printf(out, "HTTP/1.1 %d %s\r\n", h->status, http_status_phrase(h->status)) == -1 ||
        buf_append(out, http_date_line()) == -1)
        return -1;
    if (h->type != NULL &&
        (buf_append_lit(out, "Content-Type: ") == -1 || buf_append_lit(out, h->type) == -1 ||
         buf_append_lit(out, "\r\n") == -1))
        return -1;
    /* RFC 9110 §8.6: not in a 204. */
    if (h->status != 204 && buf_printf(out, "Content-Length: %zu\r\n", h->length) == -1)
        return -1;
    if (buf_append_lit(out, "Cache-Control: no-store\r\n") == -1)
        return -1;
    /* RFC 9110 §7.8: who sends Upgrade names it in Connection. */
    if (upgrade && buf_append_lit(out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n") == -1)
        return -1;
    if (!h->keep_alive || upgrade || h->minor == 0) {
        const char *keep = !h->keep_alive ? "close" : h->minor == 0 ? "keep-alive" : "";

        if (buf_printf(out, "Connection: %s%s%s\r\n", upgrade ? "Upgrade" : "",
                       upgrade && *keep != '\0' ? ", " : "", keep) == -1)
            return -1;
    }
    if ((h->fields.n > 0 && buf_append(out, h->fields) == -1) || http_resource_fields(out, x) == -1)
        return -1;
    return buf_append_lit(out, "\r\n");
}

/* The server API's requests, whoever answers them. */
static void http_measure(const struct http_exchange *x, int status)
{
    size_t duration = x->resource != NULL ? x->resource->duration : 0;

    if (duration == 0)
        return;
    if (x->began_ns != 0)
        hist_record((struct hist *)((char *)metrics + duration), clock_precise_ns() - x->began_ns);
    if (status == 504)
        METRIC_INC(api_unknown);
    else if (status >= 500)
        METRIC_INC(api_failed);
    else if (status >= 400 || x->error_object)
        METRIC_INC(api_refused);
    else
        METRIC_INC(api_ok);
}

/* After the last byte of an answer: the next request, or the end. */
static void http_answered(struct http_exchange *x, enum close_reason why)
{
    struct conn *c = x->conn;
    struct http_session *s = http_session(c);
    struct http_job *job = s->job;

    METRIC_INC(http_requests);
    s->phase = HTTP_PHASE_HEAD; /* also: abandoned() is not called any more */
    if (conn_dead(c))           /* the send failed; the job goes with the connection */
        return;
    s->served = true;
    if (why == CLOSE_HTTP_DONE)
        c->flags |= CONN_WELCOME;
    if (!x->keep_alive) {
        http_job_free(c);
        conn_finish(c, why);
        return;
    }
    if (s->inside) { /* http_run() goes on with what follows */
        conn_release_hold(c, CONN_HOLD_ANSWER);
        return;
    }
    http_job_reset(job);
    if (job->in.len > 0)
        http_resume_later(job);
    else
        http_idle(c);
}

void http_look_at_upgrade(struct http_exchange *x)
{
    if (x->request != NULL && http_field_get(x->request, STR_LIT("Upgrade"), NULL).p != NULL)
        x->keep_alive = false;
}

/* A connection is not kept while draining, nor behind the last request before the peer's end of
 * file. */
static void http_decide_keep(struct http_exchange *x, struct http_status_line *h)
{
    const struct http_session *s = http_session(x->conn);
    const struct http_job *job = http_job_of(x);

    http_look_at_upgrade(x);
    if (reactor->draining || (x->conn->flags & CONN_LEAVING) || (s->ended && job->in.len == 0))
        x->keep_alive = false;
    h->keep_alive = x->keep_alive;
    h->minor = job->minor;
}

/* Ours: the peer's may hold a key. */
static struct str http_trace_path(const struct http_exchange *x)
{
    return x->resource != NULL ? str_from(x->resource->path) : STR_NULL;
}

static void http_send_answer(struct http_exchange *x, struct http_status_line *h, struct str body,
                             enum close_reason why)
{
    struct buf out = {0};

    http_measure(x, x->counts_as != 0 ? x->counts_as : h->status);
    http_decide_keep(x, h);
    h->length = body.n;
    TRACE(request, x->conn->id, http_trace_path(x), (uint64_t)h->status, body.n);
    if (http_head_append(&out, x, h) == -1 ||
        (!x->head && body.n > 0 && buf_append(&out, body) == -1)) {
        conn_kill(x->conn, CLOSE_NO_MEMORY);
    } else if (conn_send(x->conn, buf_view(&out)) == -1) {
        /* killed with its reason */
    }
    buf_fini(&out);
    http_answered(x, why);
}

void http_respond(struct http_exchange *x, int status, const char *type, struct str fields,
                  struct str body)
{
    struct http_status_line h = {.status = status, .type = type, .fields = fields};

    http_send_answer(x, &h, body, CLOSE_HTTP_DONE);
}

#define HTTP_COPY_MAX 16384 /* bytes that are rather copied than sent by themselves */

void http_respond_blob(struct http_exchange *x, int status, const char *type, struct blob *body)
{
    struct http_status_line h = {.status = status, .type = type, .length = body->len};
    struct str view = {.p = body->data, .n = body->len};
    struct buf out = {0};

    if (body->len <= HTTP_COPY_MAX || x->head) {
        http_send_answer(x, &h, view, CLOSE_HTTP_DONE);
        return;
    }
    http_measure(x, x->counts_as != 0 ? x->counts_as : status);
    http_decide_keep(x, &h);
    TRACE(request, x->conn->id, http_trace_path(x), (uint64_t)status, body->len);
    if (http_head_append(&out, x, &h) == -1) {
        conn_kill(x->conn, CLOSE_NO_MEMORY);
    } else if (conn_send(x->conn, buf_view(&out)) == -1 ||
               conn_send_blob(x->conn, body, 0, body->len) == -1) {
        /* killed with its reason */
    }
    buf_fini(&out);
    http_answered(x, CLOSE_HTTP_DONE);
}

/* Seconds after which whoever is refused for that reason may ask again. */
static unsigned http_retry_after(const struct conn *c, enum close_reason why)
{
    static const struct {
        uint8_t seconds, spread;
    } rows[CLOSE_NR] = {
#define RETRY(reason, seconds, spread) [CLOSE_##reason] = {seconds, spread},
#include "tbl/retry_after.def"
    };

    if (rows[why].seconds == 0)
        return 1;
    return rows[why].seconds + conn_chance(c, rows[why].spread + 1u);
}

/* The fields that a status must carry. res: what was asked for, or NULL. */
static struct str http_refusal_fields(const struct conn *c, const struct http_resource *res,
                                      enum close_reason why, int status, char *out, size_t cap)
{
    unsigned methods = 1u << HTTP_GET | 1u << HTTP_HEAD | 1u << HTTP_POST;
    int n = 0;

    if (res != NULL)
        methods = http_route_methods(res);
    switch (status) {
    case 401: /* RFC 9110 §11.6.1 */
        n = snprintf(out, cap, "WWW-Authenticate: apikey realm=\"roost\"%s\r\n",
                     res != NULL && res->bearer ? ", Bearer realm=\"roost\"" : "");
        break;
    case 405: /* RFC 9110 §15.5.6 */
        n = snprintf(out, cap, "Allow: %s%s%s%s%s\r\n", methods & 1u << HTTP_GET ? "GET" : "",
                     methods & 1u << HTTP_HEAD ? ", HEAD" : "",
                     (methods & 1u << HTTP_GET) && (methods & 1u << HTTP_POST) ? ", " : "",
                     methods & 1u << HTTP_POST ? "POST" : "",
                     methods & 1u << HTTP_OPTIONS ? ", OPTIONS" : "");
        break;
    case 429:
    case 503:
        n = snprintf(out, cap, "Retry-After: %u\r\n", http_retry_after(c, why));
        break;
    }
    return (struct str){.p = out, .n = (size_t)n};
}

static bool http_asks_upgrade(const struct http_request *r)
{
    return r != NULL && http_field_has_token(r, STR_LIT("Upgrade"), STR_LIT("websocket"));
}

/* A handshake: by the resource, or, where there is none, by what was asked. */
static bool http_is_handshake(const struct http_exchange *x)
{
    return x->resource != NULL ? x->resource->handshake : http_asks_upgrade(x->request);
}

/* Who is refused by a browser sees nothing of the answer, so the log has what it was about. The
 * path is ours, not the peer's: theirs may hold a key. */
static void http_say_refusal(struct http_exchange *x, enum close_reason why)
{
    const char *what = http_is_handshake(x) ? "handshake refused" : "request refused";
    struct log_kv more[3];
    size_t n = 0;

    if (x->resource != NULL)
        more[n++] = KV_S("path", x->resource->path);
    if (x->request != NULL) {
        struct str origin = http_field_get(x->request, STR_LIT("Origin"), NULL);

        more[n++] = KV_STR("host", x->request->host);
        if (origin.p != NULL)
            more[n++] = KV_STR("origin", origin);
    }
    refusal_say(x->conn, why, what, more, n);
}

void http_refuse(struct http_exchange *x, enum close_reason why)
{
    http_refuse_saying(x, why, close_row(why)->text);
}

void http_refuse_saying(struct http_exchange *x, enum close_reason why, const char *words)
{
    const struct close_row *row = close_row(why);
    int status = row->status == 0 ? 500 : row->status;
    struct http_status_line h = {.status = status, .type = "text/plain; charset=utf-8"};
    char fields[128], text[256];
    int n;

    if (status >= 500 && x->resource != NULL && x->resource->json_refusals) {
        h.type = "application/json";
        n = snprintf(text, sizeof(text),
                     "{\"error\":{\"code\":100,\"message\":\"not done, retry: %s\"}}", words);
    } else {
        n = snprintf(text, sizeof(text), "%s\n", words);
    }
    if (http_is_handshake(x))
        METRIC_INC(handshake_failures[why]);
    if (status >= 500)
        x->keep_alive = false;
    http_say_refusal(x, why);
    h.fields = http_refusal_fields(x->conn, x->resource, why, status, fields, sizeof(fields));
    http_send_answer(x, &h, (struct str){.p = text, .n = (size_t)n}, why);
}

void http_refuse_conn(struct conn *c, enum close_reason why)
{
    const struct close_row *row = close_row(why);
    struct http_status_line h = {.status = row->status == 0 ? 500 : row->status,
                                 .type = "text/plain; charset=utf-8",
                                 .minor = 1};
    struct buf out = {0};
    char fields[128];

    METRIC_INC(http_requests);
    METRIC_INC(handshake_failures[why]);
    refusal_say(c, why, "handshake refused", NULL, 0);
    h.length = strlen(row->text) + 1;
    TRACE(request, c->id, STR_NULL, (uint64_t)h.status, h.length);
    h.fields = http_refusal_fields(c, NULL, why, h.status, fields, sizeof(fields));
    if (http_head_append(&out, NULL, &h) == -1 || buf_printf(&out, "%s\n", row->text) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
    else if (conn_send(c, buf_view(&out)) == 0)
        conn_finish(c, why);
    buf_fini(&out);
}

void http_idle(struct conn *c)
{
    struct http_session *s = http_session(c);

    http_job_free(c);
    if (s->ended || reactor->draining || (c->flags & CONN_LEAVING)) {
        conn_finish(c, CLOSE_HTTP_DONE);
        return;
    }
    conn_release_hold(c, CONN_HOLD_ANSWER);
    conn_arm(c, (uint64_t)config.keepalive_timeout);
}
