/* A hub between fake workers: what it sends is kept in arrays, rings are as large as the
 * test says. */
#ifndef ROOST_TEST_HUB_HARNESS_H
#define ROOST_TEST_HUB_HARNESS_H

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define FAKES    4
#define SENT_MAX 4096

struct sent {
    struct record r;
    char data[512];
    char fields[128];
    char name[CHANNEL_NAME_MAX];
};

static struct fake {
    struct sent sent[SENT_MAX];
    unsigned n, seen; /* seen: what the test has looked at */
    unsigned room;    /* records that still fit */
    uint32_t generation;
    struct ring_debt debt;
} fakes[FAKES];

static struct hub *hub;
static char last_line[512]; /* of the log */
static uint64_t next_position;
static void (*on_sent)(unsigned worker, const struct record *r); /* may be NULL */

static int fake_send(void *arg, unsigned worker, const struct record *r)
{
    struct fake *f = &fakes[worker];
    struct sent *s = &f->sent[f->n % SENT_MAX];

    assert_ptr_equal(arg, fakes);
    assert_true(worker < FAKES && r->data.n <= RECORD_OVERHEAD + 16384 &&
                r->name.n <= sizeof(s->name));
    if (f->room == 0)
        return -1;
    f->room--;
    s->r = *r;
    s->r.data.p = s->data;
    if (r->data.n > 0)
        memcpy(s->data, r->data.p, MIN(r->data.n, sizeof(s->data)));
    s->r.name.p = s->name;
    if (r->name.n > 0)
        memcpy(s->name, r->name.p, r->name.n);
    s->r.fields.p = s->fields;
    if (r->fields.n > 0)
        memcpy(s->fields, r->fields.p, MIN(r->fields.n, sizeof(s->fields)));
    f->n++;
    if (on_sent != NULL)
        on_sent(worker, r);
    return 0;
}

static uint32_t fake_generation(void *arg, unsigned worker)
{
    (void)arg;
    return fakes[worker].generation;
}

static struct ring_debt *fake_debt(void *arg, unsigned worker)
{
    (void)arg;
    return &fakes[worker].debt;
}

static const struct hub_ops fake_ops = {
    .send = fake_send, .generation = fake_generation, .debt = fake_debt};

static void keep_line(struct str line, void *arg)
{
    (void)arg;
    if (str_copy(line, last_line, sizeof(last_line)) == -1)
        fail();
}

#define QUEUE_MAX 4096

static const struct hub_limits limits = {.queue_max = QUEUE_MAX, .answer_ns = 5 * NS_PER_SEC};
static struct engine *(*engine_new)(void) = engine_memory_new;

static void hub_start(uint32_t generation)
{
    hub = hub_new(FAKES, generation, engine_new(), &fake_ops, fakes);
    assert_non_null(hub);
    hub_set_limits(hub, limits);
    if (generation == 1)
        hub_go_live(hub);
}

static int hub_setup(void **state)
{
    (void)state;
    memset(fakes, 0, sizeof(fakes));
    memset(metrics, 0, sizeof(*metrics));
    last_line[0] = '\0';
    log_set_sink(keep_line, NULL);
    for (unsigned i = 0; i < FAKES; i++) {
        fakes[i].generation = 1;
        fakes[i].room = UINT32_MAX;
    }
    next_position = 0;
    on_sent = NULL;
    hub_start(1);
    return 0;
}

static int hub_teardown(void **state)
{
    (void)state;
    hub_free(hub);
    hub = NULL;
    assert_int_equal(metrics->hub_channels, 0);
    assert_int_equal(metrics->hub_queue_bytes, 0);
    assert_int_equal(metrics->presence_members, 0);
    assert_int_equal(metrics->presence_bytes, 0);
    assert_int_equal(metrics->users, 0);
    return 0;
}

/* A record from a worker's present incarnation; returns its position. */
static inline uint64_t from(unsigned worker, struct record r)
{
    uint64_t position = next_position;

    if (r.generation == 0)
        r.generation = fakes[worker].generation;
    next_position += 8;
    hub_receive(hub, worker, &r, position);
    return position;
}

static inline struct str name_of(const char *s)
{
    return str_from(s);
}

static inline void subscribe(unsigned worker, uint32_t chan, const char *name, uint32_t count)
{
    from(worker,
         (struct record){
             .kind = RECORD_SUBSCRIBE, .chan = chan, .count = count, .name = name_of(name)});
}

static inline void unsubscribe(unsigned worker, uint32_t chan, const char *name)
{
    from(worker, (struct record){.kind = RECORD_UNSUBSCRIBE, .chan = chan, .name = name_of(name)});
}

static inline uint64_t publish(unsigned worker, const char *name, const char *data)
{
    return from(worker, (struct record){
                            .kind = RECORD_PUBLISH, .name = name_of(name), .data = name_of(data)});
}

static inline void announced(unsigned worker, uint32_t hub_generation)
{
    from(worker, (struct record){.kind = RECORD_ANNOUNCED, .count = hub_generation});
}

/* The next record sent to the worker, which must be of that kind. */
static inline const struct record *next_sent(unsigned worker, enum record_kind kind)
{
    struct fake *f = &fakes[worker];

    if (f->seen == f->n)
        fail_msg("worker %u was sent nothing, expected %s", worker,
                 record_kind_name((uint8_t)kind));
    assert_string_equal(record_kind_name(f->sent[f->seen].r.kind), record_kind_name((uint8_t)kind));
    assert_int_equal(f->sent[f->seen].r.generation, f->generation);
    return &f->sent[f->seen++].r;
}

static inline void next_data(unsigned worker, const char *data)
{
    const struct record *r = next_sent(worker, RECORD_PUBLICATION);

    assert_true(str_equal(r->data, name_of(data)));
}

static inline void nothing_sent(unsigned worker)
{
    assert_int_equal(fakes[worker].n, fakes[worker].seen);
}

static inline void run_all(void)
{
    for (int i = 0; hub_run(hub, 64); i++)
        assert_true(i < 100000);
}

#endif
