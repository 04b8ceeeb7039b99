/* A broker on real rings; the test plays the hub and the sessions. */
#ifndef ROOST_TEST_BROKER_HARNESS_H
#define ROOST_TEST_BROKER_HARNESS_H

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "core/broker.h"

#define RING_SIZE 16384
#ifndef LOG_MAX /* a test of many clients has less */
#define LOG_MAX 4096
#endif
#define PAYLOAD_MAX 16 /* of it that is logged */

struct client {
    struct sub sub;
    char log[LOG_MAX]; /* "S" subscribed, "L" lost, "(text)" for each publication, "!"
 for a variant that could not be made, "R<text text @5>" recovered up to 5, "N<@5>" not
                        recovered, "E" the history has begun anew, "U" refused */
    size_t n;
    unsigned batches;
    struct position at; /* told when it was subscribed */
    struct position lost_to;
    bool recovers; /* asks for this when it is subscribed */
    struct recover want;
    bool ends; /* when it is refused */
};

static struct broker *broker;
static struct ring_shared *to_hub, *from_hub;
static struct ring hub_in, hub_out; /* the hub's ends */
static struct task_queue tasks;
static uint64_t published_token, fenced_token;
static unsigned nlisted, npublished, nfenced;
static uint64_t next_position;

static void client_log(struct sub *s, const char *p, size_t n)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    assert_true(c->n + n < LOG_MAX);
    memcpy(c->log + c->n, p, n);
    c->n += n;
    c->log[c->n] = '\0';
}

static void on_subscribed(struct sub *s, struct position at)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    c->at = at;
    assert_true(s->live && s->chan != NULL);
    client_log(s, "S", 1);
    if (c->recovers)
        assert_int_equal(broker_recover(broker, s, &c->want), 0);
}

static bool on_refused(struct sub *s, uint16_t status)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    assert_true(!s->live && !s->recovering && status != ENGINE_OK);
    if (c->ends)
        client_log(s, "U", 1);
    return c->ends;
}

static void on_recovered(struct sub *s, const struct recovery *r)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);
    char at[32];

    assert_true(s->live && !s->recovering);
    c->at = r->at;
    client_log(s, r->recovered ? "R<" : "N<", 2);
    for (uint32_t i = r->first; r->batch != NULL && i < r->batch->nitems; i++) {
        struct str p = batch_payload(r->batch, i);

        client_log(s, p.p, MIN(p.n, PAYLOAD_MAX));
        client_log(s, " ", 1);
        for (unsigned v = 0; v < 2; v++) {
            if (c->want.variant[v] != BATCH_RAW &&
                batch_variant(r->batch, c->want.variant[v]) == NULL)
                client_log(s, "!", 1);
        }
    }
    client_log(s, at, (size_t)snprintf(at, sizeof(at), "@%u>", (unsigned)r->at.offset));
}

static void on_restarted(struct sub *s, struct position at)
{
    CONTAINER_OF(s, struct client, sub)->at = at;
    assert_true(s->live);
    client_log(s, "E", 1);
}

static void on_deliver(struct sub *s, struct batch *b)
{
    assert_true(s->live);
    CONTAINER_OF(s, struct client, sub)->batches++;
    if (batch_variant(b, s->variant) == NULL) {
        client_log(s, "!", 1);
        return;
    }
    for (uint32_t i = 0; i < b->nitems; i++) {
        struct str p = batch_payload(b, i);

        client_log(s, "(", 1);
        client_log(s, p.p, MIN(p.n, PAYLOAD_MAX));
        client_log(s, ")", 1);
    }
}

static void on_lost(struct sub *s, struct position to)
{
    assert_true(s->live);
    CONTAINER_OF(s, struct client, sub)->lost_to = to;
    client_log(s, "L", 1);
}

static uint64_t unanswered_to;
static unsigned nunanswered;

static void on_unanswered(uint64_t position)
{
    unanswered_to = position;
    nunanswered++;
}

static void on_answered(const struct record *r)
{
    if (r->kind == RECORD_PUBLISHED) {
        assert_true(r->epoch != 0 && r->offset != 0);
        published_token = r->token;
        npublished++;
    } else if (r->kind == RECORD_FENCED) {
        fenced_token = r->token;
        nfenced++;
    } else {
        assert_int_equal(r->kind, RECORD_LISTED);
        nlisted++;
    }
}

enum { NOBODY = 0, CLIENT, ASKER, KINDS }; /* kinds of sessions; CLIENT only subscribes */

static void not_asked(const struct record *r)
{
    fail_msg("%s for a session that does not ask", record_kind_name(r->kind));
}

static const struct sink_ops client_ops = {.subscribed = on_subscribed,
                                           .refused = on_refused,
                                           .deliver = on_deliver,
                                           .lost = on_lost,
                                           .restarted = on_restarted,
                                           .recovered = on_recovered,
                                           .answered = not_asked};
static const struct sink_ops asker_ops = {.answered = on_answered, .unanswered = on_unanswered};
static const struct sink_ops *const sinks[KINDS] = {[CLIENT] = &client_ops, [ASKER] = &asker_ops};

static inline struct asker asker(uint64_t token)
{
    return (struct asker){.kind = ASKER, .token = token};
}

/* As broker_publish(), by an asker. */
static inline int publish(struct str channel, struct str data, uint8_t flags, uint64_t token)
{
    const struct broker_publication p = {
        .channel = channel, .data = data, .flags = flags, .origin = asker(token)};

    return broker_publish(broker, &p);
}

static void broker_start(uint32_t generation)
{
    const struct broker_config cfg = {
        .worker = 3,
        .generation = generation,
        .to_hub = to_hub,
        .from_hub = from_hub,
        .ring_capacity = RING_SIZE,
        .tasks = &tasks,
        .sinks = sinks,
        .nsinks = KINDS,
    };

    broker = broker_new(&cfg);
    assert_non_null(broker);
}

static int broker_setup(void **state)
{
    (void)state;
    config_defaults(&config);
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(NS_PER_SEC);
    task_queue_init(&tasks);
    to_hub = aligned_alloc(CACHE_LINE, ring_bytes(RING_SIZE));
    from_hub = aligned_alloc(CACHE_LINE, ring_bytes(RING_SIZE));
    ring_format(to_hub, RING_SIZE);
    ring_format(from_hub, RING_SIZE);
    ring_attach_consumer(&hub_in, to_hub, RING_SIZE);
    ring_attach_producer(&hub_out, from_hub, RING_SIZE);
    nlisted = npublished = nfenced = 0;
    next_position = 0;
    broker_start(1);
    return 0;
}

static int broker_teardown(void **state)
{
    (void)state;
    broker_free(broker);
    free(to_hub);
    free(from_hub);
    assert_int_equal(metrics->subscriptions, 0);
    assert_int_equal(metrics->worker_channels, 0);
    assert_true(list_empty(&tasks.runnable));
    return 0;
}

/* --- the hub's side --- */

static inline void flush(void)
{
    bool more;

    broker_flush(broker, &more);
}

/* The next record from the broker; NULL: none. Valid until the next call. */
static inline const struct record *from_broker(void)
{
    static struct record r;
    static char copy[RING_SIZE];
    struct str raw;
    int rc = ring_peek(&hub_in, &raw);

    assert_int_not_equal(rc, -1);
    if (rc == 0)
        return NULL;
    memcpy(copy, raw.p, raw.n);
    raw.p = copy;
    ring_next(&hub_in);
    ring_release(&hub_in);
    assert_int_equal(record_decode(raw, &r), 0);
    assert_int_equal(r.source, 3);
    return &r;
}

static inline const struct record *expect_record(enum record_kind kind, const char *name)
{
    const struct record *r = from_broker();

    if (r == NULL)
        fail_msg("no record, expected %s", record_kind_name((uint8_t)kind));
    assert_string_equal(record_kind_name(r->kind), record_kind_name((uint8_t)kind));
    assert_true(str_equal(r->name, str_from(name)));
    return r;
}

static inline void expect_nothing(void)
{
    assert_null(from_broker());
}

static inline bool to_broker(struct record r)
{
    void *p;

    if (r.generation == 0)
        r.generation = 1;
    if (r.asker == NOBODY)
        r.asker = ASKER;
    p = ring_reserve(&hub_out, record_bytes(&r));
    if (p == NULL)
        return false;
    record_encode(&r, p);
    ring_commit(&hub_out);
    return true;
}

static inline void send_subscribed(uint32_t chan)
{
    assert_true(to_broker((struct record){.kind = RECORD_SUBSCRIBED, .chan = chan, .epoch = 9}));
}

static inline uint64_t send_publication(uint32_t chan, const char *data)
{
    uint64_t position = next_position;

    next_position += 8;
    assert_true(to_broker((struct record){.kind = RECORD_PUBLICATION,
                                          .chan = chan,
                                          .epoch = 9,
                                          .offset = 1,
                                          .position = position,
                                          .data = str_from(data)}));
    return position;
}

/* One turn of the worker, until nothing is left to do. */
static inline void turn(void)
{
    while (broker_receive(broker, 100)) {
    }
    while (task_run(&tasks, NS_PER_SEC)) {
    }
    flush();
}

/* --- the sessions' side --- */

static inline void join(struct client *c, const char *channel)
{
    enum close_reason why;

    memset(c, 0, sizeof(*c));
    c->sub.kind = CLIENT;
    assert_int_equal(broker_subscribe(broker, &c->sub, str_from(channel), &why), 0);
}

static inline void leave(struct client *c)
{
    broker_unsubscribe(broker, &c->sub);
    assert_null(c->sub.chan);
}

/* Joins the first client and answers for the hub; returns the channel's id. */
static inline uint32_t join_live(struct client *c, const char *channel)
{
    const struct record *r;
    uint32_t id;

    join(c, channel);
    flush();
    while ((r = from_broker()) != NULL && r->kind != RECORD_SUBSCRIBE) {
    }
    assert_non_null(r);
    id = r->chan;
    send_subscribed(id);
    turn();
    assert_string_equal(c->log, "S");
    return id;
}

#endif
