/* core/engine_redis_restore.c - a new connection subscribes to what the one before was subscribed to.
 *
 * One SUBSCRIBE is under way at a time, of a bounded number of names and of bytes that answer it; so many names a
 * second as engine_resubscribe_rate says; channels that somebody waits for come first. Behind each SUBSCRIBE
 * stands a SYNC for each channel that is kept: whatever was missed is fetched, or subscribers are told. */
#include "engine_redis_internal.h"

#include "base/clock.h"

#define RESUBSCRIBE_OUT ((size_t)64 * 1024)
#define NO_MEMORY_NS    (100 * NS_PER_MS)
#define WAITING_MAX     4096 /* of the last ones asked for, that are looked at for who waits */

static struct str name_of(const struct redis_sub *sub)
{
    return (struct str){.p = sub->name, .n = sub->name_len};
}

/* Those whom somebody waits for stand among the last. */
void redis_subs_down(struct redis_server *s)
{
    struct list *n = s->subs.prev, *prev;

    for (unsigned i = 0; i < WAITING_MAX && n != &s->subs; i++, n = prev) {
        prev = n->prev;
        if (!LIST_ENTRY(n, struct redis_sub, link)->waits)
            continue;
        list_remove(n);
        list_prepend(&s->wanted, n);
    }
    list_prepend_all(&s->resubscribe, &s->subs);
}

bool redis_subs_restored(const struct redis_server *s)
{
    return list_empty(&s->wanted) && list_empty(&s->resubscribe) && s->asking == 0;
}

void redis_subs_up(struct redis_server *s)
{
    s->up_ns = clock_ns();
    engine_pace_begin(&s->pace, s->engine->s.resubscribe_rate, s->engine->subs.count);
}

/* The next one that fits into the same SUBSCRIBE: in a cluster those of one partition do. */
static struct list *next_to_ask(struct redis_server *s, struct redis_partition **p)
{
    struct redis_sub *sub;

    if (list_empty(&s->resubscribe) && list_empty(&s->wanted))
        return NULL;
    sub = LIST_ENTRY(list_empty(&s->wanted) ? s->resubscribe.next : s->wanted.next,
                     struct redis_sub, link);
    if (*p != NULL)
        sub = LIST_ENTRY((*p)->subs.next, struct redis_sub, in_partition);
    *p = sub->partition;
    if (*p != NULL) {
        if (sub->connection == s->connections)
            return NULL;
        list_remove(&sub->in_partition);
        list_append(&(*p)->subs, &sub->in_partition);
        sub->connection = s->connections;
    }
    list_remove(&sub->link);
    return &sub->link;
}

/* One SUBSCRIBE for as many as fit, then a SYNC for each that is kept. */
void redis_resubscribe(struct redis_server *s)
{
    struct list some, *n;
    struct redis_call *c;
    uint64_t names = 0, most;
    unsigned half = MAX(s->engine->s.window / 2, 1u), room;
    size_t bytes = 0;
    int rc;

    /* One SUBSCRIBE at a time, so that its answers are few at any moment. */
    if (s->asking > 0 || redis_subs_restored(s))
        return;
    /* Half of the window stays for what the hub asks; a reply that makes room wakes it. */
    if (s->nwaiting >= half)
        return;
    room = half - s->nwaiting;
    most = engine_pace_now(&s->pace, s->engine->s.resubscribe_rate);
    if (most == 0)
        return;
    c = redis_call_new(s, REDIS_SUBSCRIBE, STR_NULL);
    if (c == NULL) {
        s->pace.next_ns = clock_ns() + NO_MEMORY_NS;
        return;
    }
    s->asking++;
    list_init(&some);
    while (names < most && room > 0 && bytes < RESUBSCRIBE_OUT &&
           (n = next_to_ask(s, &c->partition)) != NULL) {
        struct redis_sub *sub = LIST_ENTRY(n, struct redis_sub, link);

        sub->kept = redis_is_kept(name_of(sub));
        room -= sub->kept; /* for its SYNC */
        bytes += sub->name_len + 64u;
        list_append(&some, n);
        names++;
    }
    engine_pace_asked(&s->pace, names);
    rc = resp_command(&c->body, names + 1) ||
         resp_arg(&c->body, redis_word(s->engine, "SSUBSCRIBE"));
    for (n = some.next; n != &some; n = n->next)
        rc |= redis_arg_channel(s, &c->body, "c:", name_of(LIST_ENTRY(n, struct redis_sub, link)));
    redis_call_send_new(c);
    if (s->asking == 0) /* it could not be written */
        rc = -1;
    while ((n = list_pop(&some)) != NULL) {
        struct redis_sub *sub = LIST_ENTRY(n, struct redis_sub, link);

        list_append(&s->subs, n);
        sub->connection = s->connections;
        sub->confirmed = false;
        sub->again = true;
        sub->state = REDIS_SUB_ASKED;
        if (sub->kept && redis_sub_sync(sub) == -1)
            rc = -1;
    }
    if (rc != 0)
        redis_server_restart(s, ENDING_MEMORY);
}
