/* An engine that takes its time: each call completes when the test says so, in order, with the
 * status that the test says. Beneath is the memory engine. */
#ifndef ROOST_TEST_LATE_ENGINE_H
#define ROOST_TEST_LATE_ENGINE_H

#include "base/list.h"
#include "core/engine.h"

enum late_kind { LATE_PUBLISH = 0, LATE_SUBSCRIBE, LATE_OTHER };
struct late_call {
    struct list link;
    enum late_kind kind;
    struct engine_channel *channel;
    struct record publication;
    char name[64], data[256];
    uint64_t token;
};

static struct late {
    struct engine engine;
    struct list calls;
    unsigned ncalls, unsubscribed;
    bool wants;
    enum engine_status fail; /* how the next call ends; OK: as it should */
    uint64_t next_epoch;
} late;

static struct late_call *late_add(enum late_kind kind, struct engine_channel *c, struct str name)
{
    struct late_call *call = calloc(1, sizeof(*call));

    assert_non_null(call);
    assert_true(name.n < sizeof(call->name));
    call->kind = kind;
    call->channel = c;
    if (name.n > 0)
        memcpy(call->name, name.p, name.n);
    list_append(&late.calls, &call->link);
    late.ncalls++;
    return call;
}

static void late_publish(struct engine *e UNUSED, struct engine_channel *c, const struct record *p,
                         const struct engine_condition *condition, uint64_t token)
{
    struct late_call *call = late_add(LATE_PUBLISH, c, p->name);

    assert_true(p->data.n < sizeof(call->data));
    call->token = token;
    call->publication = *p;
    memcpy(call->data, p->data.p, p->data.n);
    call->publication.data.p = call->data;
    call->publication.name.p = call->name;
    if (condition != NULL && condition->idempotency_key.n > 0)
        call->kind = LATE_OTHER;
}

static void late_subscribe(struct engine *e UNUSED, struct engine_channel *c, struct str name)
{
    late_add(LATE_SUBSCRIBE, c, name);
}

static void late_unsubscribe(struct engine *e UNUSED, struct engine_channel *c,
                             struct str name UNUSED)
{
    struct list *n, *next;

    late.unsubscribed++;
    for (n = late.calls.next; n != &late.calls; n = next) {
        struct late_call *call = LIST_ENTRY(n, struct late_call, link);

        next = n->next;
        if (call->channel != c)
            continue;
        call->channel = NULL;
        if (call->kind == LATE_SUBSCRIBE) {
            list_remove(&call->link);
            late.ncalls--;
            free(call);
        }
    }
}

static void late_other(uint64_t token)
{
    late_add(LATE_OTHER, NULL, STR_NULL)->token = token;
}

static void late_history(struct engine *e UNUSED, struct str name UNUSED,
                         struct position since UNUSED, uint32_t limit UNUSED, bool reverse UNUSED,
                         uint64_t token)
{
    late_other(token);
}

static void late_remove(struct engine *e UNUSED, struct str name UNUSED, uint64_t token)
{
    late_other(token);
}

static void late_presence(struct engine *e UNUSED, const struct engine_presence *p UNUSED,
                          uint64_t token)
{
    late_other(token);
}

static void late_control(struct engine *e UNUSED, struct str node UNUSED,
                         const struct record *r UNUSED, bool must_arrive UNUSED, uint64_t token)
{
    late_other(token);
}

static bool late_wants(const struct engine *e UNUSED)
{
    return late.wants;
}

static void late_end(struct late_call *call)
{
    struct engine *e = &late.engine;
    enum engine_status status = call->kind == LATE_OTHER ? ENGINE_REFUSED : late.fail;
    struct position at = {0};

    late.fail = ENGINE_OK;
    if (call->kind == LATE_SUBSCRIBE) {
        if (status == ENGINE_OK)
            call->channel->at = (struct position){.epoch = late.next_epoch++};
        e->events->subscribed(e->hub, call->channel, status);
        return;
    }
    if (status == ENGINE_OK && call->channel != NULL) {
        call->channel->at.offset++;
        at = call->channel->at;
        e->events->message(e->hub, call->channel, &call->publication);
    }
    e->events->done(e->hub, call->token, status, at);
}

/* Completes the oldest call. False: there is none. */
static bool late_complete(void)
{
    struct list *n = list_pop(&late.calls);

    if (n == NULL)
        return false;
    late.ncalls--;
    late_end(LIST_ENTRY(n, struct late_call, link));
    free(LIST_ENTRY(n, struct late_call, link));
    return true;
}

/* The newest one, before all others: another server's. */
static UNUSED bool late_complete_last(void)
{
    struct list *n = late.calls.prev;

    if (list_empty(&late.calls))
        return false;
    list_remove(n);
    list_prepend(&late.calls, n);
    return late_complete();
}

static void late_free(struct engine *e UNUSED)
{
    while (!list_empty(&late.calls))
        free(LIST_ENTRY(list_pop(&late.calls), struct late_call, link));
    late.ncalls = 0;
}

static const struct engine_ops late_ops = {
    .name = "late",
    .capabilities = ENGINE_CAN_ORDER,
    .publish = late_publish,
    .subscribe = late_subscribe,
    .unsubscribe = late_unsubscribe,
    .history = late_history,
    .remove_history = late_remove,
    .presence = late_presence,
    .control = late_control,
    .wants = late_wants,
    .free = late_free,
};

static struct engine *late_engine_new(void)
{
    late = (struct late){.engine = {.ops = &late_ops}, .wants = true, .next_epoch = 77};
    list_init(&late.calls);
    return &late.engine;
}

#endif
