/* proc/debug_connection.c - GET /debug/connection?id=W:ID (or ID) and POST /debug/disconnect?id=W:ID, whatever
 * worker has it: that one is asked (proto/inquiry.h). */
#include "base/utf8.h"
#include "codec/json.h"
#include "debug_internal.h"
#include "net/reactor.h"
#include "net/session.h"
#include "proto/inquiry.h"

#define REASON_MAX 123 /* RFC 6455 §5.5 */

static unsigned own_worker;

struct conn_request { /* travels as it is */
    uint64_t id;
    uint16_t code, reason_len; /* of a disconnect; code 0: the usual one */
    char reason[REASON_MAX];
};

/* What an endpoint may send (RFC 6455 §7.4), as far as it makes sense from an operator. */
static bool code_may_be_sent(uint64_t code)
{
    return code == 1000 || code == 1001 || code == 1008 || (code >= 1011 && code <= 1013) ||
           (code >= 3000 && code <= 4999);
}

/* Nothing is answered for one that is gone. */
static struct conn *meant(const struct inquiry_job *j, struct conn_request *r)
{
    if (j->request.n != sizeof(*r))
        return NULL;
    memcpy(r, j->request.p, sizeof(*r));
    r->reason_len = MIN(r->reason_len, REASON_MAX);
    /* Who asks has looked, unless its process is not itself. */
    if ((r->code != 0 && !code_may_be_sent(r->code)) ||
        !utf8_valid((struct str){r->reason, r->reason_len}))
        r->code = r->reason_len = 0;
    return conn_find(r->id);
}

static enum inquiry_step connection_step(struct inquiry_job *j)
{
    struct conn_request r;
    struct conn *c = meant(j, &r);
    struct buf one = {0};
    int rc;

    if (c == NULL)
        return INQUIRY_DONE;
    rc = debug_put_conn(c, own_worker, &one);
    rc |= debug_put_full(c, &one);
    rc |= buf_append_char(&one, '}');
    if (rc == 0)
        rc = inquiry_put(&j->out, 0, buf_view(&one));
    buf_fini(&one);
    return rc == 0 ? INQUIRY_DONE : INQUIRY_FAILED;
}

/* As its protocol ends connections; what is no session's, or is ending already, just ends. */
static void end_conn(struct conn *c, const struct conn_request *r)
{
    const struct session_ops *session = conn_ops(c)->session;
    enum close_reason why = CLOSE_OPERATOR;
    const struct close_row *row;

    if (session == NULL || conn_ops(c)->end == NULL || c->state != CONN_OPEN) {
        conn_kill(c, why);
        return;
    }
    if (session->reason != NULL)
        why = session->reason(why);
    row = close_row(why);
    session_end_as(c, why, r->code != 0 ? r->code : row->code,
                   r->reason_len > 0 ? (struct str){r->reason, r->reason_len}
                                     : str_from(row->text));
}

static enum inquiry_step disconnect_step(struct inquiry_job *j)
{
    struct conn_request r;
    struct conn *c = meant(j, &r);
    char text[64];
    int n;

    if (c == NULL)
        return INQUIRY_DONE;
    end_conn(c, &r);
    n = snprintf(text, sizeof(text), "\"%s\"", conn_state_name((enum conn_state)c->state));
    return inquiry_put(&j->out, 0, (struct str){text, (size_t)n}) == 0 ? INQUIRY_DONE
                                                                       : INQUIRY_FAILED;
}

/* A worker that is not there has no connections. */
static enum close_reason absence_reason(const struct inquiry_answer *a)
{
    switch (a->absence) {
    case INQUIRY_IS_DOWN:
        return CLOSE_NOT_FOUND;
    case INQUIRY_IS_BUSY:
        return CLOSE_BUSY;
    case INQUIRY_HAS_FAILED:
        return CLOSE_NO_MEMORY;
    default:
        return CLOSE_HUB_TIMEOUT;
    }
}

/* The one item of the one answer. False: none, and x is refused. */
static bool only_item(struct http_exchange *x, const struct inquiry *q, enum json_type type,
                      struct str *json)
{
    struct str rest = buf_view(&q->answers[0].data);
    struct json_value v;
    int64_t key;

    if (!q->answers[0].complete)
        http_refuse(x, absence_reason(&q->answers[0]));
    else if (!inquiry_next(&rest, &key, json) || !inquiry_json(*json, type, &v))
        http_refuse(x, CLOSE_NOT_FOUND);
    else
        return true;
    return false;
}

static void answer_with(struct http_exchange *x, unsigned worker, struct str json)
{
    struct buf out = {0};
    int rc = buf_printf(&out, "{\"worker\":%u,\"connection\":", worker);

    rc |= buf_append(&out, json);
    debug_answer(x, &out, rc | buf_append_lit(&out, "}\n"));
}

static void connection_done(struct http_exchange *x, const struct inquiry *q)
{
    struct str json;

    if (only_item(x, q, JSON_OBJECT, &json))
        answer_with(x, q->answers[0].worker, json);
}

/* All have been asked for an id without its worker: it is said whose it is only if that is certain. */
static void any_connection_done(struct http_exchange *x, const struct inquiry *q)
{
    struct str rest, json, found = STR_NULL;
    enum close_reason why = CLOSE_NOT_FOUND;
    unsigned n = 0, worker = 0;
    struct json_value v;
    int64_t key;

    for (unsigned i = 0; i < q->nanswers; i++) {
        rest = buf_view(&q->answers[i].data);
        if (!q->answers[i].complete && why == CLOSE_NOT_FOUND)
            why = absence_reason(&q->answers[i]);
        if (!q->answers[i].complete || !inquiry_next(&rest, &key, &json) ||
            !inquiry_json(json, JSON_OBJECT, &v))
            continue;
        found = json;
        worker = q->answers[i].worker;
        n++;
    }
    if (n > 1)
        http_refuse(x, CLOSE_BAD_QUERY);
    else if (n == 0 || why != CLOSE_NOT_FOUND) /* one that is missing may have it, too */
        http_refuse(x, why);
    else
        answer_with(x, worker, found);
}

static void disconnect_done(struct http_exchange *x, const struct inquiry *q)
{
    struct buf out = {0};
    struct conn_request r;
    struct str json;
    int rc;

    if (!only_item(x, q, JSON_STRING, &json))
        return;
    memcpy(&r, q->request.p, sizeof(r));
    rc = buf_printf(&out, "{\"disconnected\":\"%u:%llu\",\"state\":", q->answers[0].worker,
                    (unsigned long long)r.id);
    rc |= buf_append(&out, json);
    debug_answer(x, &out, rc | buf_append_lit(&out, "}\n"));
}

/* 1: "W:ID"; 0: "ID", of whatever worker; -1: neither. */
static int read_id(struct http_exchange *x, unsigned *worker, struct conn_request *r)
{
    char text[64];

    if (debug_param(x, "id", text, sizeof(text)) <= 0)
        return -1;
    if (strchr(text, ':') == NULL)
        return str_to_u64(str_from(text), &r->id);
    return debug_id_parse(str_from(text), worker, &r->id) == 0 ? 1 : -1;
}

static int read_words(struct http_exchange *x, struct conn_request *r)
{
    char reason[REASON_MAX + 1], number[8];
    uint64_t code = 0;
    int has_reason = debug_param(x, "reason", reason, sizeof(reason));
    int has_code = debug_param(x, "code", number, sizeof(number));

    if (has_reason == -1 || has_code == -1 || !utf8_valid(str_from(reason)))
        return -1;
    if (has_code > 0 && (str_to_u64(str_from(number), &code) == -1 || !code_may_be_sent(code)))
        return -1;
    r->code = (uint16_t)code;
    r->reason_len = (uint16_t)strlen(reason);
    memcpy(r->reason, reason, r->reason_len);
    return 0;
}

static void ask(struct http_exchange *x, enum inquiry_kind kind, uint32_t worker,
                const struct conn_request *r,
                void (*done)(struct http_exchange *x, const struct inquiry *q))
{
    inquiry_begin(x, &(struct inquiry_wish){.kind = kind,
                                            .worker = worker,
                                            .request = {(const char *)r, sizeof(*r)},
                                            .done = done});
}

static void handle_connection(struct http_exchange *x)
{
    struct conn_request r = {0};
    unsigned worker;
    int rc = read_id(x, &worker, &r);

    if (rc == -1)
        debug_refuse_query(x);
    else if (rc == 0)
        ask(x, INQUIRY_CONNECTION, INQUIRY_ALL, &r, any_connection_done);
    else
        ask(x, INQUIRY_CONNECTION, worker, &r, connection_done);
}

static void handle_disconnect(struct http_exchange *x)
{
    struct conn_request r = {0};
    unsigned worker;

    if (read_id(x, &worker, &r) != 1 || read_words(x, &r) == -1) /* whose it is must be said */
        debug_refuse_query(x);
    else
        ask(x, INQUIRY_DISCONNECT, worker, &r, disconnect_done);
}

void debug_connection_init(unsigned worker)
{
    static const struct http_resource table[] = {
        {.path = "/debug/connection",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_connection},
        {.path = "/debug/disconnect",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_POST,
         .needs_key = true,
         .handle = handle_disconnect},
    };
    static const struct inquiry_ops connection_ops = {.step = connection_step},
                                    disconnect_ops = {.step = disconnect_step};

    own_worker = worker;
    inquiry_answers(INQUIRY_CONNECTION, &connection_ops);
    inquiry_answers(INQUIRY_DISCONNECT, &disconnect_ops);
    http_register(table, ARRAY_LEN(table));
}
