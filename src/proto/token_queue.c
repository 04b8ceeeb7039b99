/* proto/token_queue.c - tokens that wait to be verified, one per step of a task.
 *
 * Each ask is an allocation of its own, as long as its token: a client has one at a time, and what
 * they hold together is bounded. */
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "token_internal.h"

#define WAITING_MAX ((size_t)32 * 1024 * 1024) /* bytes */

struct token_ask {
    struct list link;
    struct token_query q; /* its texts are behind this */
    size_t size;
};

static struct {
    struct task_queue *tasks; /* borrowed; NULL: none */
    struct task task;
    struct list waiting;
    size_t bytes;
} queue;

static void forget(struct token_ask *ask)
{
    list_remove(&ask->link);
    queue.bytes -= ask->size;
    metrics->tokens_waiting--;
    free(ask);
}

/* An expired token is every day's; of the others somebody has to know why. */
static void tell(enum token_kind kind, enum token_fault fault)
{
    static struct log_site site = {.window_ns = 10 * NS_PER_SEC, .burst = 3};
    enum log_level level = fault == TOKEN_EXPIRED ? LOG_DEBUG : LOG_WARN;

    if (fault != TOKEN_GOOD)
        LOG_AT(&site, level, "token refused",
               KV_S("kind", kind == TOKEN_CONNECTION ? "connection" : "subscription"),
               KV_S("reason", token_reason()));
}

static void answer(const struct token_query *q)
{
    struct token_connection connection;
    struct token_subscription subscription;
    enum token_fault fault;

    if (q->kind == TOKEN_CONNECTION) {
        fault = token_verify_connection(q->token, &connection);
        tell(q->kind, fault);
        q->done(q->arg, fault, &connection, NULL);
    } else {
        fault = token_verify_subscription(q->token, q->channel, q->user, q->client, &subscription);
        tell(q->kind, fault);
        q->done(q->arg, fault, NULL, &subscription);
    }
}

/* The ask is off the list before done() is called: it may submit and cancel others. Its texts stay
 * until then. */
static enum task_result step(struct task *t UNUSED)
{
    struct token_ask *ask = LIST_ENTRY(queue.waiting.next, struct token_ask, link);

    list_remove(&ask->link);
    queue.bytes -= ask->size;
    metrics->tokens_waiting--;
    answer(&ask->q);
    free(ask);
    return list_empty(&queue.waiting) ? TASK_DONE : TASK_MORE;
}

void token_queue_init(struct task_queue *tasks)
{
    queue.tasks = tasks;
    queue.bytes = 0;
    list_init(&queue.waiting);
    task_init(&queue.task, "tokens", step);
}

void token_queue_fini(void)
{
    while (queue.waiting.next != NULL && !list_empty(&queue.waiting))
        forget(LIST_ENTRY(queue.waiting.next, struct token_ask, link));
    if (queue.tasks != NULL)
        task_remove(&queue.task);
    queue.tasks = NULL;
}

static void copy(struct str *s, char **at)
{
    if (s->n > 0)
        memcpy(*at, s->p, s->n);
    s->p = *at;
    *at += s->n;
}

struct token_ask *token_submit(const struct token_query *q)
{
    /* One that is too long is refused, whatever it says. */
    struct str token = {q->token.p, MIN(q->token.n, (size_t)JWT_SIZE_MAX + 1)};
    size_t size = sizeof(struct token_ask) + token.n + q->channel.n + q->user.n + q->client.n;
    struct token_ask *ask = NULL;
    char *at;

    if (queue.bytes + size <= WAITING_MAX)
        ask = malloc(size);
    if (ask == NULL) {
        METRIC_INC(tokens_unavailable);
        return NULL;
    }
    *ask = (struct token_ask){.q = *q, .size = size};
    ask->q.token = token;
    at = (char *)(ask + 1);
    copy(&ask->q.token, &at);
    copy(&ask->q.channel, &at);
    copy(&ask->q.user, &at);
    copy(&ask->q.client, &at);
    list_append(&queue.waiting, &ask->link);
    queue.bytes += size;
    metrics->tokens_waiting++;
    task_add(queue.tasks, &queue.task);
    return ask;
}

void token_cancel(struct token_ask **ask)
{
    if (*ask != NULL)
        forget(*ask);
    *ask = NULL;
    if (list_empty(&queue.waiting))
        task_remove(&queue.task);
}
