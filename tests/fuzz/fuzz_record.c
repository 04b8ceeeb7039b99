/* tests/fuzz/fuzz_record.c - the hub against workers that a hostile client has taken over.
 *
 * The input is a program: one byte of operation, then its operands (see run()). Records come as raw
 * bytes, as bytes written over a whole ring, and, so that the depths are reached quickly, built
 * from small numbers. What must hold: no memory error, answers are well-formed, the hub's memory
 * stays within its bounds, and nothing is left when it is freed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/channel_options.h"
#include "core/hub.h"
#include "core/ring.h"
#include "tests/fuzz/fuzz.h"

#define WORKERS   4
#define RING_SIZE 4096
#define QUEUE_MAX 4096
/* Each worker's queue: the bound, the answers' reserve, and one step beyond. */
#define QUEUED_MAX (WORKERS * (QUEUE_MAX + 256 * 1024 + 16 * 1024))

static struct state {
    const uint8_t *p, *end;
    struct hub *hub;
    uint32_t hub_generation;
    uint64_t position;
    unsigned room[WORKERS];
    uint32_t generation[WORKERS];
    struct ring_debt debt[WORKERS];
    struct ring_shared *ring;
} s;

static uint8_t byte(void)
{
    return s.p < s.end ? *s.p++ : 0;
}

/* At most n bytes of the input, in memory of their own, so that a read beyond them is seen. */
static struct str bytes(size_t n)
{
    struct str out = {.n = MIN(n, (size_t)(s.end - s.p))};
    char *copy = malloc(out.n + (out.n == 0));

    REQUIRE(copy != NULL);
    memcpy(copy, s.p, out.n);
    s.p += out.n;
    out.p = copy;
    return out;
}

static void check_listing(struct str part)
{
    struct json_value v;
    size_t at;
    char text[16384];
    int n;

    if (part.n > 0 && part.p[0] == ',')
        part = str_skip(part, 1);
    REQUIRE(part.n < sizeof(text) - 3);
    n = snprintf(text, sizeof(text), "{%.*s}", STR_ARG(part));
    REQUIRE(json_parse((struct str){.p = text, .n = (size_t)n}, &v, &at) == 0);
}

static int on_send(void *arg, unsigned worker, const struct record *r)
{
    (void)arg;
    REQUIRE(worker < WORKERS);
    REQUIRE(r->kind >= RECORD_SUBSCRIBED && r->kind < RECORD_KIND_NR && r->name.n == 0);
    if (s.room[worker] == 0)
        return -1;
    s.room[worker]--;
    if (r->kind == RECORD_LISTED)
        check_listing(r->data);
    if (r->kind == RECORD_PUBLICATION)
        REQUIRE(r->source < WORKERS && r->epoch > 0 &&
                (r->offset > 0 || r->flags & RECORD_SKIP_HISTORY));
    return 0;
}

static uint32_t on_generation(void *arg, unsigned worker)
{
    (void)arg;
    return s.generation[worker];
}

static struct ring_debt *on_debt(void *arg, unsigned worker)
{
    (void)arg;
    return &s.debt[worker];
}

static const struct hub_ops ops = {.send = on_send, .generation = on_generation, .debt = on_debt};

static void receive(unsigned worker, const struct record *r)
{
    s.position += 8;
    if (hub_wants(s.hub, worker))
        hub_receive(s.hub, worker, r, s.position);
}

static void raw_record(unsigned worker)
{
    struct str raw = bytes(byte() * 4u);
    struct record r;

    if (record_decode(raw, &r) == 0) {
        REQUIRE(r.name.n <= CHANNEL_NAME_MAX && r.name.n + r.data.n <= raw.n);
        receive(worker, &r);
    }
    free((void *)(uintptr_t)raw.p);
}

static void built_record(unsigned worker)
{
    static const char *const names[] = {"a", "b", "room/1", "", "*", "\"", "a b", "n:x"};
    uint8_t kind = byte(), how = byte();
    struct record r = {
        .kind = kind,
        .flags = byte(),
        .generation = how & 1 ? s.generation[worker] : how,
        .chan = byte(),
        .count = how & 2 ? s.hub_generation : byte(),
        .token = byte(),
    };
    struct str data = bytes(byte());
    struct str name = how & 4 ? bytes(byte()) : STR_NULL;

    r.data = data;
    r.offset = r.token; /* of a HISTORY */
    r.name = how & 4 ? name : str_from(names[how >> 3 & 7]);
    receive(worker, &r);
    free((void *)(uintptr_t)data.p);
    free((void *)(uintptr_t)name.p);
}

/* A worker may write whatever it likes into its ring, its counters included. */
static void raw_ring(unsigned worker)
{
    struct ring in = {0};
    struct str raw, record;
    struct record r;

    ring_format(s.ring, RING_SIZE);
    atomic_store(&s.ring->head, byte() * 8u);
    atomic_store(&s.ring->tail, atomic_load(&s.ring->head) + byte() * (byte() % 32u));
    raw = bytes(byte() * 8u);
    memcpy(s.ring->data, raw.p, raw.n);
    ring_attach_consumer(&in, s.ring, RING_SIZE);
    for (int i = 0; i < 100 && ring_peek(&in, &record) > 0; i++) {
        REQUIRE(record.p >= s.ring->data && record.p + record.n <= s.ring->data + RING_SIZE);
        if (record_decode(record, &r) == 0)
            receive(worker, &r);
        ring_next(&in);
        ring_release(&in);
    }
    free((void *)(uintptr_t)raw.p);
}

static void restart_hub(void)
{
    hub_free(s.hub);
    REQUIRE(metrics->history_channels == 0 && metrics->history_publications == 0 &&
            metrics->history_bytes == 0);
    REQUIRE(metrics->hub_channels == 0 && metrics->hub_queue_bytes == 0);
    s.hub = hub_new(WORKERS, ++s.hub_generation, engine_memory_new(), &ops, NULL);
    REQUIRE(s.hub != NULL);
    hub_set_limits(s.hub, (struct hub_limits){.queue_max = QUEUE_MAX, .answer_ns = 5 * NS_PER_SEC});
}

static void worker_ends(unsigned worker)
{
    uint32_t generation = s.generation[worker];

    s.generation[worker] = 0;
    hub_worker_gone(s.hub, worker);
    s.generation[worker] = byte() & 1 ? generation + 1 : 0;
}

static void run(void)
{
    uint8_t op = byte();
    unsigned worker = op >> 4 & (WORKERS - 1);

    switch (op & 15) {
    case 0:
        raw_record(worker);
        break;
    case 1:
        raw_ring(worker);
        break;
    case 2:
        hub_run(s.hub, 1u + byte());
        break;
    case 3:
        s.room[worker] = byte();
        break;
    case 4:
        worker_ends(worker);
        break;
    case 5:
        hub_gather_timeout(s.hub);
        break;
    case 6:
        restart_hub();
        break;
    case 7:
        s.generation[worker]++;
        break;
    default:
        built_record(worker);
    }
    REQUIRE(metrics->hub_queue_bytes >= 0 && metrics->hub_queue_bytes <= QUEUED_MAX);
}

static void quiet(struct str line, void *arg)
{
    (void)line;
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring_shared *ring = s.ring;

    if (ring == NULL) {
        ring = aligned_alloc(CACHE_LINE, ring_bytes(RING_SIZE));
        REQUIRE(ring != NULL);
        memset(ring, 0, ring_bytes(RING_SIZE));
        log_set_sink(quiet, NULL);
    }
    config_defaults(&config);
    config.channel_without_namespace.history_size = 5;
    config.channel_without_namespace.history_ttl = 60 * (int64_t)NS_PER_SEC;
    config.history_memory = 4096;
    channel_options_changed();
    s = (struct state){.p = data, .end = data + size, .ring = ring};
    memset(metrics, 0, sizeof(*metrics));
    for (unsigned i = 0; i < WORKERS; i++) {
        s.room[i] = 1000;
        s.generation[i] = 1;
    }
    restart_hub();
    if (byte() & 1)
        hub_go_live(s.hub);
    while (s.p < s.end)
        run();
    for (unsigned i = 0; i < WORKERS; i++)
        s.room[i] = UINT32_MAX;
    for (int i = 0; hub_run(s.hub, 1000); i++)
        REQUIRE(i < 1000000);
    hub_free(s.hub);
    REQUIRE(metrics->hub_channels == 0 && metrics->hub_queue_bytes == 0);
    return 0;
}
