/* core/engine_nats_calls.c - publications and control messages, from the hub's call to its end.
 *
 * Waiting · sent, behind which a PING is written · done with its PONG. Those that were sent over a connection that
 * has ended are sent again, before all that waits: whoever has had them knows them. */
#include "engine_nats_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

static struct nats_call *call_of(struct list *n)
{
    return LIST_ENTRY(n, struct nats_call, link);
}

static struct str name_of(const struct nats_call *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

int nats_call_new(struct nats *e, enum nats_call_kind kind, const struct record *r, uint64_t token)
{
    struct nats_call *c = pool_get(&e->calls);
    struct envelope env = {.node = e->s.node, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};

    if (c == NULL)
        return -1;
    env.call = c->id = ++e->next_id;
    env.r.kind = kind == NATS_CONTROL ? RECORD_CONTROL : RECORD_PUBLICATION;
    if (envelope_write(&c->body, &env) == -1 ||
        (kind == NATS_CONTROL && engine_nodes_control_sent(e->engine.nodes, &env, token) == -1)) {
        buf_fini(&c->body);
        pool_put(&e->calls, c);
        return -1;
    }
    c->kind = (uint8_t)kind;
    c->token = token;
    c->since_ns = clock_ns();
    c->name_len = (uint8_t)r->name.n;
    memcpy(c->name, r->name.p != NULL ? r->name.p : "", r->name.n);
    list_append(&e->waiting, &c->link);
    e->nwaiting++;
    e->waiting_bytes += c->body.len;
    return 0;
}

/* Out of the queue that it is in. */
static void leave(struct nats *e, struct nats_call *c)
{
    if (c->flight != 0) {
        if (e->echo == &c->link)
            e->echo = c->link.next;
        e->nsent--;
        e->sent_bytes -= c->body.len;
    } else {
        e->nwaiting--;
        e->waiting_bytes -= c->body.len;
    }
    list_remove(&c->link);
}

static void end(struct nats *e, struct nats_call *c, enum engine_status status)
{
    uint64_t token = c->token;
    struct position at = status == ENGINE_OK ? c->at : (struct position){0};
    bool control = c->kind == NATS_CONTROL;

    if (c->flight != 0 && status == ENGINE_OK)
        hist_record(control ? &metrics->engine_call_control : &metrics->engine_call_publish,
                    clock_ns() - c->sent_ns);
    leave(e, c);
    buf_fini(&c->body);
    pool_put(&e->calls, c);
    engine_count_call(status);
    if (control) /* done when the nodes have it, too */
        engine_nodes_control_done(e->engine.nodes, token, status);
    else
        e->engine.events->done(e->engine.hub, token, status, at);
}

bool nats_wants(const struct nats *e)
{
    return e->nwaiting < e->s.window && e->waiting_bytes < e->s.queue_bytes;
}

bool nats_given_up(const struct nats *e)
{
    return e->state != NATS_UP && clock_ns() - e->down_since_ns > e->s.patience_ns;
}

/* --- sending --- */

/* Its number, the first time it is written: what was never written leaves no hole. */
static void number(struct nats *e, struct nats_call *c)
{
    uint64_t count;

    if (c->tries > 0 || c->kind != NATS_PUBLISH)
        return;
    count = nats_count(&e->counters, name_of(c), clock_ns());
    memcpy(c->body.p + ENVELOPE_COUNT_AT, &count, sizeof(count));
}

static struct str subject_of(struct nats *e, const struct nats_call *c)
{
    return c->kind == NATS_CONTROL ? nats_subject(e, "control", STR_NULL)
                                   : nats_subject(e, "c", name_of(c));
}

static void send_one(struct nats *e, struct nats_call *c)
{
    struct str subject = subject_of(e, c);

    if (e->max_payload != 0 && c->body.len > e->max_payload) {
        end(e, c, ENGINE_TOO_BIG);
        return;
    }
    number(e, c);
    if (subject.n == 0 || nats_write_pub(&e->out, subject, buf_view(&c->body)) == -1) {
        end(e, c, c->tries > 0 ? ENGINE_UNKNOWN : ENGINE_UNAVAILABLE);
        return;
    }
    leave(e, c);
    list_append(&e->sent, &c->link);
    c->tries++;
    c->flight = e->pings + 1;
    c->sent_ns = clock_ns();
    e->nsent++;
    e->sent_bytes += c->body.len;
    e->unanswered = true;
    if (e->echo == NULL || e->echo == &e->sent)
        e->echo = &c->link;
}

void nats_send_waiting(struct nats *e)
{
    while (!list_empty(&e->waiting) && e->nsent < e->s.window && e->out.len < NATS_OUT_MAX &&
           e->sent_bytes < e->s.queue_bytes && e->wires->queued(e->wire) < e->s.queue_bytes)
        send_one(e, call_of(e->waiting.next));
}

/* --- what becomes of them --- */

void nats_calls_answered(struct nats *e, uint64_t flight)
{
    while (!list_empty(&e->sent) && call_of(e->sent.next)->flight <= flight)
        end(e, call_of(e->sent.next), ENGINE_OK);
}

void nats_calls_down(struct nats *e)
{
    struct list again, *n;

    list_take(&again, &e->sent);
    e->echo = NULL;
    e->nwaiting += e->nsent;
    e->waiting_bytes += e->sent_bytes;
    e->nsent = 0;
    e->sent_bytes = 0;
    for (n = again.next; n != &again; n = n->next)
        call_of(n)->flight = 0;
    list_prepend_all(&e->waiting, &again);
    while (!list_empty(&e->waiting) && call_of(e->waiting.next)->tries >= NATS_TRIES_MAX)
        end(e, call_of(e->waiting.next), ENGINE_UNKNOWN);
}

void nats_calls_expire(struct nats *e, uint64_t now_ns)
{
    struct list *n, *next;

    if (e->state == NATS_UP || now_ns - e->down_since_ns <= e->s.patience_ns)
        return;
    for (n = e->waiting.next; n != &e->waiting; n = next) {
        struct nats_call *c = call_of(n);

        next = n->next;
        if (now_ns - c->since_ns > e->s.patience_ns)
            end(e, c, c->tries > 0 ? ENGINE_UNKNOWN : ENGINE_UNAVAILABLE);
    }
}

/* Copies come in the order in which they were sent. */
void nats_calls_echo(struct nats *e, uint64_t id, struct position at)
{
    struct list *n = e->echo != NULL ? e->echo : e->sent.next;

    while (n != &e->sent && call_of(n)->id < id)
        n = n->next;
    e->echo = n;
    if (n != &e->sent && call_of(n)->id == id && call_of(n)->at.epoch == 0)
        call_of(n)->at = at;
}

void nats_calls_refused(struct nats *e, struct str subject)
{
    for (struct list *n = e->sent.next; n != &e->sent; n = n->next) {
        if (!str_equal(subject_of(e, call_of(n)), subject))
            continue;
        end(e, call_of(n), ENGINE_UNAVAILABLE);
        return;
    }
}

void nats_calls_too_big(struct nats *e)
{
    struct nats_call *largest = NULL;

    for (struct list *n = e->sent.next; n != &e->sent; n = n->next)
        if (largest == NULL || call_of(n)->body.len > largest->body.len)
            largest = call_of(n);
    if (largest != NULL)
        end(e, largest, ENGINE_TOO_BIG);
}

void nats_calls_fini(struct nats *e)
{
    struct list *n;

    while ((n = list_pop(&e->sent)) != NULL || (n = list_pop(&e->waiting)) != NULL)
        buf_fini(&call_of(n)->body);
    pool_fini(&e->calls);
}
