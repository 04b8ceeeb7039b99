/* A connection's input, one exchange at a time.
 *
 * Happy path: 1 http_input() has bytes · 2 http_take_head() parses, routes · 3 http_take_body()
 * collects · 4 http_handle() · 5 the answer, or WAITING until it comes · 6 the same again with what
 * follows, or http_idle(). can fail: refusals (http_refuse() with keep_alive false ends the
 * connection), deadlines (http_deadline()), the peer's end of file (http_eof()). Whatever ends the
 * connection also frees the job, so every call that may do so is followed by a look at the state.
 */
#include "base/clock.h"
#include "base/config.h"
#include "codec/proxy_protocol.h"
#include "http_internal.h"
#include "net/tls_server.h"

static enum task_result http_resume_step(struct task *t);

struct http_resumed {
    struct list jobs;
    struct task task;
};

static void http_resumed_init(void *part)
{
    struct http_resumed *r = part;

    list_init(&r->jobs);
    task_init(&r->task, "http_resume", http_resume_step);
}

static struct reactor_part http_resumed_part = {.size = sizeof(struct http_resumed),
                                                .init = http_resumed_init};

static struct http_resumed *http_resumed(void)
{
    return reactor_part(&http_resumed_part);
}

/* Refuses what is in doubt: where the next request begins is not known any more. */
static void http_refuse_last(struct http_job *job, enum close_reason why)
{
    struct http_session *s = http_session(job->x.conn);
    struct str head = buf_view(&job->in);
    struct http_request r;
    enum close_reason none;

    /* While a body comes only the bytes of its head are there: the answer and the log go by it. */
    if (s->phase == HTTP_PHASE_BODY && job->x.request == NULL &&
        http_request_parse(&head, SIZE_MAX, HTTP_MAX_FIELDS, &r, &none) > 0)
        job->x.request = &r;
    job->x.keep_alive = false;
    http_refuse(&job->x, why);
    if (s->job == job)
        job->x.request = NULL;
}

/* Input cannot be kept. */
static void http_no_room(struct http_job *job)
{
    http_refuse_last(job, (enum close_reason)job->no_room);
}

static void http_handle(struct http_job *job, const struct http_request *r)
{
    struct conn *c = job->x.conn;

    struct http_session *s = http_session(c);

    s->phase = HTTP_PHASE_HANDLING;
    conn_arm(c, 0);
    job->x.request = r;
    if (job->x.resource->duration != 0)
        job->x.began_ns = clock_precise_ns();
    job->x.resource->handle(&job->x);
    if (c->state != CONN_HTTP) /* over, or taken over */
        return;
    job->x.request = NULL;
    job->x.path = STR_NULL;
}

/* Moves body bytes from job->cur. 1 the body is complete, 0 more must come, -1 refused. */
static int http_collect(struct http_job *job)
{
    enum close_reason why = CLOSE_NONE;
    struct str piece;
    int rc = 0;

    while (!http_body_done(&job->rx)) {
        rc = http_body_next(&job->rx, (uint64_t)config.max_body_size, &job->cur, &piece, &why);
        if (rc <= 0)
            break;
        if (piece.n > 0 && http_job_add_body(job, piece) == -1) {
            http_no_room(job);
            return -1;
        }
    }
    if (rc < 0) {
        http_refuse_last(job, why);
        return -1;
    }
    return http_body_done(&job->rx) ? 1 : 0;
}

static int http_send_continue(struct conn *c)
{
    struct str date = http_date_line();
    char text[128];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 100 Continue\r\n%.*s\r\n", STR_ARG(date));

    return conn_send(c, (struct str){.p = text, .n = (size_t)n});
}

/* The head is routed and has a body: 1 it is all there, 0 it is awaited, -1 refused. */
static int http_begin_body(struct http_job *job, const struct http_request *r, struct str head)
{
    struct conn *c = job->x.conn;
    int rc;

    if (r->body == HTTP_BODY_LENGTH && r->content_length > (uint64_t)config.max_body_size) {
        http_refuse_last(job, CLOSE_BODY_TOO_BIG);
        return -1;
    }
    http_body_init(&job->rx, r);
    rc = http_collect(job);
    if (rc != 0)
        return rc;
    http_session(c)->phase = HTTP_PHASE_BODY;
    conn_arm(c, (uint64_t)config.body_timeout);
    if (http_job_keep(job, head) == -1) {
        http_no_room(job);
        return -1;
    }
    /* RFC 9110 §10.1.1: not when the body has begun to come, or of HTTP/1.0. */
    if (r->expect_continue && r->minor > 0 && job->rx.received == 0 && http_send_continue(c) == -1)
        return -1;
    return 0;
}

/* A whole head: refuses it, awaits its body, or has it handled. 0: the body is incomplete. */
static int http_begin(struct http_job *job, const struct http_request *r, struct str head)
{
    struct conn *c = job->x.conn;
    enum close_reason why;

    job->minor = r->minor;
    job->x.head = r->method == HTTP_HEAD;
    job->x.keep_alive = r->keep_alive && !(c->flags & CONN_REFUSED);
    job->x.request = r;
    if (http_client_begin(job, r, &why) == -1) {
        http_refuse_last(job, why);
        return 1;
    }
    if (http_route(&job->x, r, &why) == -1) {
        /* A body that nobody asked for is not waited for. */
        job->x.keep_alive = job->x.keep_alive && !http_request_has_body(r);
        if (c->flags & CONN_REFUSED)
            why = (enum close_reason)c->refusal;
        http_refuse(&job->x, why);
        return 1;
    }
    if ((c->flags & CONN_REFUSED) && !http_route_always(r)) {
        http_refuse_last(job, (enum close_reason)c->refusal);
        return 1;
    }
    if (http_request_has_body(r)) {
        int rc = http_begin_body(job, r, head);

        if (rc == 0)
            job->x.request = NULL; /* parsed again when the body is there */
        if (rc <= 0)
            return rc;
    }
    http_handle(job, r);
    return 1;
}

/* What stands where a head should: a proxy that sends its header unasked is told so. */
static enum close_reason http_no_head(struct str in, enum close_reason why)
{
    struct proxy_header h;
    enum close_reason other;

    return proxy_header_parse(&in, &h, &other) > 0 ? CLOSE_PROXY_UNEXPECTED : why;
}

/* Looks for a head at job->cur. 0: incomplete, its bytes are kept. */
static int http_take_head(struct http_job *job)
{
    struct http_request req;
    struct str head = job->cur;
    enum close_reason why;
    int rc = http_request_parse(&job->cur, (size_t)config.max_header_size,
                                (size_t)config.max_header_fields, &req, &why);

    if (rc == 0) {
        job->looked_at = head.n;
        if (http_job_keep(job, job->cur) == -1)
            http_no_room(job);
        return 0;
    }
    if (rc < 0) {
        http_refuse_last(job, http_no_head(job->cur, why));
        return -1;
    }
    job->looked_at = 0;
    head.n -= job->cur.n;
    return http_begin(job, &req, head);
}

/* More of the body at job->cur; the head is in job->in. */
static int http_take_body(struct http_job *job)
{
    struct str head = buf_view(&job->in);
    struct http_request req;
    enum close_reason why;
    int rc = http_collect(job);

    if (rc <= 0)
        return rc;
    /* The same bytes were accepted before; the limits on them may have changed since. */
    if (http_request_parse(&head, SIZE_MAX, HTTP_MAX_FIELDS, &req, &why) <= 0) {
        http_refuse_last(job, CLOSE_INTERNAL); /* UNTESTED: the parser contradicts itself */
        return -1;
    }
    http_route_path(&job->x, &req);
    http_handle(job, &req);
    return 1;
}

/* Pipelined requests were answered, more bytes are in hand: others first. */
static void http_stall(struct http_job *job)
{
    struct conn *c = job->x.conn;

    if (http_job_keep(job, job->cur) == -1) {
        http_no_room(job);
        return;
    }
    http_resume_later(job);
    conn_hold(c, CONN_HOLD_ANSWER);
}

/* One exchange from job->cur. False: there is no more to do now, and job may be gone. */
static bool http_run_one(struct http_job *job)
{
    struct conn *c = job->x.conn;
    struct http_session *s = http_session(c);
    int rc;

    s->inside = true;
    rc = s->phase == HTTP_PHASE_BODY ? http_take_body(job) : http_take_head(job);
    if (c->state != CONN_HTTP) /* finishing, killed, or another protocol's: the job is not ours */
        return false;
    s->inside = false;
    if (s->phase == HTTP_PHASE_WAITING) {
        if (http_job_keep(job, job->cur) == -1)
            conn_kill(c, (enum close_reason)job->no_room);
        return false;
    }
    if (rc == 0) {
        if (s->ended) /* what is missing will not come */
            conn_kill(c, CLOSE_PEER_GONE);
        return false;
    }
    http_job_reset(job);
    if (job->cur.n == 0) {
        http_idle(c);
        return false;
    }
    return true;
}

/* Works on job->cur until it is used up, an answer is awaited, or the connection is over. */
static void http_run(struct http_job *job)
{
    struct conn *c = job->x.conn;
    unsigned served = 0;

    while (http_run_one(job)) {
        if (++served == HTTP_PIPELINED_MAX || conn_queued(c) >= (size_t)config.output_limit) {
            http_stall(job);
            return;
        }
        conn_arm(c, (uint64_t)config.header_timeout);
    }
}

/* The parser keeps no state and begins at the front each time. So that a head which comes byte by
 * byte costs no more than its size times the number of its lines, it is looked at again when a line
 * has ended, when it has doubled, or when it is too long. */
static bool http_look_again(const struct http_job *job, struct str more)
{
    return job->in.len >= 2 * job->looked_at || job->in.len >= (size_t)config.max_header_size ||
           memchr(more.p, '\n', more.n) != NULL;
}

static void http_input(struct conn *c, struct str in)
{
    struct http_session *s = http_session(c);

    if (s->job == NULL) {
        s->phase = HTTP_PHASE_HEAD;
        if (http_job_new(c) == -1) {
            conn_kill(c, CLOSE_NO_MEMORY);
            return;
        }
        if (UNLIKELY(tls_looks_like(in))) {
            http_refuse_last(s->job, CLOSE_TLS_ON_PLAIN);
            return;
        }
        conn_arm(c, (uint64_t)config.header_timeout);
    } else if (s->phase != HTTP_PHASE_BODY) {
        /* Behind an incomplete head. (A held connection is not read.) */
        if (http_job_keep_more(s->job, in) == -1) {
            http_no_room(s->job);
            return;
        }
        if (s->phase != HTTP_PHASE_HEAD || !http_look_again(s->job, in))
            return;
        in = buf_view(&s->job->in);
    }
    s->job->cur = in;
    http_run(s->job);
}

void http_resume_later(struct http_job *job)
{
    struct conn *c = job->x.conn;

    http_session(c)->phase = HTTP_PHASE_STALLED;
    conn_arm(c, 0);
    list_remove(&job->link);
    list_append(&http_resumed()->jobs, &job->link);
    task_add(&reactor->tasks, &http_resumed()->task);
}

/* Goes on with one connection's pipelined bytes, unless its peer does not read the answers: then
 * the deadline looks again (net ends it after config.output_timeout). */
static enum task_result http_resume_step(struct task *t UNUSED)
{
    struct list *n = list_pop(&http_resumed()->jobs);
    struct http_job *job;
    struct conn *c;

    if (n == NULL)
        return TASK_DONE;
    job = LIST_ENTRY(n, struct http_job, link);
    c = job->x.conn;
    if (!conn_dead(c)) {
        if (conn_queued(c) >= (size_t)config.output_limit) {
            conn_arm(c, HTTP_RETRY_NS);
        } else {
            http_session(c)->phase = HTTP_PHASE_HEAD;
            conn_release_hold(c, CONN_HOLD_ANSWER);
            conn_arm(c, (uint64_t)config.header_timeout);
            job->cur = buf_view(&job->in);
            http_run(job);
        }
    }
    return list_empty(&http_resumed()->jobs) ? TASK_DONE : TASK_MORE;
}

static void http_eof(struct conn *c)
{
    struct http_session *s = http_session(c);

    s->ended = true;
    if (s->job == NULL)
        conn_kill(c, s->served ? CLOSE_HTTP_DONE : CLOSE_PEER_GONE);
    else if (s->phase == HTTP_PHASE_HEAD || s->phase == HTTP_PHASE_BODY)
        conn_kill(c, CLOSE_PEER_GONE);
    /* else the answer is still wanted: a half-closed peer reads */
}

static void http_wait_over(struct http_job *job)
{
    struct http_exchange *x = &job->x;

    if (x->overdue != NULL) {
        x->overdue(x);
        return;
    }
    if (x->abandoned != NULL)
        x->abandoned(x);
    http_refuse(x, CLOSE_HUB_TIMEOUT);
}

/* TLS is agreed upon: the head's time begins. */
static void http_secured(struct conn *c)
{
    conn_arm(c, (uint64_t)config.header_timeout);
}

static void http_deadline(struct conn *c)
{
    struct http_session *s = http_session(c);

    if (conn_opening(c)) {
        conn_abandon(c, CLOSE_HEADER_TIMEOUT);
        return;
    }
    if (s->job == NULL) { /* nothing was asked: nothing is answered */
        conn_abandon(c, s->served ? CLOSE_IDLE_TIMEOUT : CLOSE_HEADER_TIMEOUT);
        return;
    }
    switch ((enum http_phase)s->phase) {
    case HTTP_PHASE_HEAD:
        http_refuse_last(s->job, CLOSE_HEADER_TIMEOUT);
        break;
    case HTTP_PHASE_BODY:
        http_refuse_last(s->job, CLOSE_BODY_TIMEOUT);
        break;
    case HTTP_PHASE_WAITING:
        http_wait_over(s->job);
        break;
    case HTTP_PHASE_STALLED:
        http_resume_later(s->job);
        break;
    case HTTP_PHASE_HANDLING:
        break; /* nothing is armed inside handle() */
    }
}

/* Busy connections end behind their answer. */
static void http_drain(struct conn *c)
{
    struct http_session *s = http_session(c);

    if ((c->flags & CONN_ADMIN) && !s->served)
        return; /* a probe on its way in: it is answered, and closed behind the answer */
    if (s->job == NULL || s->phase == HTTP_PHASE_HEAD) {
        http_job_free(c);
        conn_finish(c, CLOSE_DRAIN);
    }
}

/* What waits for its answer is complete, and never asked to go (http_defer()). */
static void http_partial_over(struct conn *c, enum close_reason why)
{
    struct http_session *s = http_session(c);

    if (conn_finished(c))
        http_job_free(c);
    else if (s->phase == HTTP_PHASE_HEAD || s->phase == HTTP_PHASE_BODY)
        http_refuse_last(s->job, why);
    else
        conn_kill(c, why);
}

static void http_release(struct conn *c)
{
    http_job_free(c);
}

const struct conn_ops http_conn_ops = {
    .name = conn_name_http,
    .input = http_input,
    .eof = http_eof,
    .deadline = http_deadline,
    .secured = http_secured,
    .partial_over = http_partial_over,
    .drain = http_drain,
    .release = http_release,
};
