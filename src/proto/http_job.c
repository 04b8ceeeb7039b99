/* proto/http_job.c - the pooled exchanges: their bytes, and finding one that waits. */
#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "http_internal.h"

struct http_jobs {
    struct pool pool;
    uint64_t serial; /* of the last exchange */
};

static void http_jobs_init(void *part)
{
    pool_init(&((struct http_jobs *)part)->pool, "http_exchange", sizeof(struct http_job), 0);
}

static void http_jobs_fini(void *part)
{
    pool_fini(&((struct http_jobs *)part)->pool);
}

static struct reactor_part http_jobs_part = {
    .size = sizeof(struct http_jobs), .init = http_jobs_init, .fini = http_jobs_fini};

static struct http_jobs *http_jobs(void)
{
    return reactor_part(&http_jobs_part);
}

#define TOKEN_FD_MASK ((UINT64_C(1) << CONN_ID_FD_BITS) - 1)

/* The connection's fd stands in the token, so finding an exchange needs no table of its own. */
static void http_job_number(struct http_job *job)
{
    job->x.token = ++http_jobs()->serial << CONN_ID_FD_BITS;
    job->x.token |= job->x.conn->id & TOKEN_FD_MASK;
}

int http_job_new(struct conn *c)
{
    struct http_job *job;

    job = pool_get(&http_jobs()->pool);
    if (job == NULL)
        return -1;
    list_init(&job->link);
    job->x.conn = c;
    http_job_number(job);
    http_session(c)->job = job;
    return 0;
}

/* Counts what the job's buffers hold now. -1: more than it may. */
static int http_job_account(struct http_job *job)
{
    enum close_reason why = partial_hold(job->x.conn, &job->holder, job->in.cap + job->x.body.cap);

    if (why == CLOSE_NONE)
        return 0;
    job->no_room = (uint8_t)why;
    return -1;
}

/* input has just been appended, or there was no memory for it. */
static int http_job_appended(struct http_job *job, int rc)
{
    if (rc == 0)
        return http_job_account(job);
    job->no_room = CLOSE_NO_MEMORY;
    return -1;
}

void http_job_free(struct conn *c)
{
    struct http_session *s = http_session(c);
    struct http_job *job = s->job;

    if (job == NULL)
        return;
    s->job = NULL;
    if (s->phase == HTTP_PHASE_WAITING && job->x.abandoned != NULL) {
        if (job->x.resource->duration != 0)
            METRIC_INC(api_abandoned);
        job->x.abandoned(&job->x);
    }
    list_remove(&job->link);
    buf_fini(&job->in);
    buf_fini(&job->x.body);
    budget_leave(&job->holder);
    pool_put(&http_jobs()->pool, job);
}

void http_job_reset(struct http_job *job)
{
    struct conn *c = job->x.conn;

    http_client_end(job);
    buf_fini(&job->x.body);
    memset(&job->x, 0, sizeof(job->x));
    job->x.conn = c;
    http_job_number(job);
    budget_renew(&job->holder, job->in.cap);
}

int http_job_keep_more(struct http_job *job, struct str bytes)
{
    return http_job_appended(job, buf_append(&job->in, bytes));
}

int http_job_keep(struct http_job *job, struct str bytes)
{
    uintptr_t at = (uintptr_t)bytes.p, start = (uintptr_t)job->in.p;

    if (bytes.n > 0 && job->in.len > 0 && at >= start && at < start + job->in.len) {
        buf_drop(&job->in, at - start);
        job->in.len = bytes.n;
        return 0;
    }
    buf_clear(&job->in);
    return bytes.n == 0 ? 0 : http_job_keep_more(job, bytes);
}

int http_job_add_body(struct http_job *job, struct str bytes)
{
    return http_job_appended(job, buf_append(&job->x.body, bytes));
}

uint64_t http_defer(struct http_exchange *x)
{
    struct http_job *job = http_job_of(x);

    http_session(x->conn)->phase = HTTP_PHASE_WAITING;
    http_look_at_upgrade(x);
    budget_pin(&job->holder); /* it is complete, and may be in the hub's hands already */
    conn_hold(x->conn, CONN_HOLD_ANSWER);
    conn_arm(x->conn, (uint64_t)config.hub_timeout);
    return x->token;
}

void http_defer_longer(struct http_exchange *x, uint64_t ns)
{
    conn_arm(x->conn, ns);
}

struct http_exchange *http_exchange_find(uint64_t token)
{
    size_t fd = token & TOKEN_FD_MASK;
    struct http_session *s;
    struct conn *c;

    if (fd >= reactor->conns_cap || reactor->conns[fd] == NULL)
        return NULL;
    c = reactor->conns[fd];
    if (conn_ops(c) != &http_conn_ops || c->state != CONN_HTTP)
        return NULL;
    s = http_session(c);
    if (s->job == NULL || s->job->x.token != token || s->phase != HTTP_PHASE_WAITING)
        return NULL;
    return &s->job->x;
}

int http_take_over(struct http_exchange *x, struct buf *rest)
{
    struct conn *c = x->conn;

    struct str early = http_job_of(x)->cur;

    if (early.n > 0 && buf_append(rest, early) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    http_job_free(c);
    memset(conn_session(c), 0, CONN_SESSION_SIZE);
    return 0;
}
