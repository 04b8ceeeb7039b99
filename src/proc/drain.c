/* proc/drain.c - see drain.h. */
#include "proc/drain.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/units.h"
#include "net/reactor.h"
#include "proc/master_wait.h"
#include "proto/http.h"

#define JSON "application/json"

static struct {
    unsigned worker;
    struct master_wait wait;
} d;

uint64_t drain_most(uint64_t from, uint64_t leave, uint64_t elapsed_ns, uint64_t time_ns)
{
    if (from <= leave || elapsed_ns >= time_ns)
        return leave;
    return from - (uint64_t)((double)(from - leave) * ((double)elapsed_ns / (double)time_ns));
}

/* The largest rest, where equal that of who has more: each share is made of the one before, so what is
 * rounded to one's disadvantage must not be so each time. */
static unsigned neediest(const uint64_t *rest, const uint64_t *told, unsigned n)
{
    unsigned at = 0;

    for (unsigned i = 1; i < n; i++)
        if (rest[i] > rest[at] || (rest[i] == rest[at] && told[i] > told[at]))
            at = i;
    return at;
}

void drain_share(uint64_t most, const uint64_t *have, unsigned n, uint64_t *told)
{
    uint64_t rest[HUB_WORKERS_MAX], all = 0, given = 0;

    for (unsigned i = 0; i < n; i++)
        all += MIN(have[i], told[i]);
    if (all <= most)
        return;
    for (unsigned i = 0; i < n; i++) {
        unsigned __int128 part = (unsigned __int128)most * MIN(have[i], told[i]);

        told[i] = (uint64_t)(part / all);
        rest[i] = (uint64_t)(part % all);
        given += told[i];
    }
    for (; given < most; given++) {
        unsigned at = neediest(rest, told, n);

        told[at]++;
        rest[at] = 0;
    }
}

uint64_t drain_target(void)
{
    return atomic_load(&shm->drain.state) == DRAIN_NONE ? 0 : atomic_load(&shm->drain.leave);
}

uint64_t drain_left(void)
{
    uint64_t have = shm_node_connections(), target = drain_target();

    return atomic_load(&shm->drain.state) != DRAIN_NONE && have > target ? have - target : 0;
}

/* ---- pages ---- */

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static int put_state(struct buf *out)
{
    static const char *const names[] = {"none", "draining", "drained"};
    const struct shm_drain *s = &shm->drain;
    uint32_t state = MIN(atomic_load(&s->state), (uint32_t)DRAIN_DONE);
    uint64_t have = shm_node_connections(), leave = atomic_load(&s->leave), staying = 0;
    uint64_t from = atomic_load(&s->from), time_ns = atomic_load(&s->time_ns);
    uint64_t started = atomic_load(&s->started_ns), now = clock_ns();
    uint64_t elapsed = now > started ? now - started : 0;

    for (unsigned i = 0; i < shm->workers; i++)
        staying += atomic_load(&shm->slots[SHM_WORKER + i].staying);
    if (buf_printf(out, "{\"state\":\"%s\",\"connections\":%llu",
                   atomic_load(&shm->draining) ? "stopping" : names[state],
                   (unsigned long long)have) == -1)
        return -1;
    if (state != DRAIN_NONE &&
        buf_printf(out,
                   ",\"leave\":%llu,\"from\":%llu,\"left\":%llu,\"closing\":%llu,\"time\":%.3f,"
                   "\"rate\":%.1f,\"elapsed\":%.1f,\"eta\":%.1f,\"stop\":%s,\"order\":%u",
                   (unsigned long long)leave, (unsigned long long)from,
                   (unsigned long long)drain_left(),
                   (unsigned long long)(have > staying ? have - staying : 0), seconds(time_ns),
                   time_ns > 0 && from > leave ? (double)(from - leave) / seconds(time_ns) : 0,
                   seconds(elapsed),
                   state == DRAIN_GOING && time_ns > elapsed ? seconds(time_ns - elapsed) : 0,
                   atomic_load(&s->stop) ? "true" : "false", atomic_load(&s->order)) == -1)
        return -1;
    return buf_append_lit(out, "}\n");
}

/* Not a part of each turn: its stack frame would be, too. */
static __attribute__((noinline)) void answer_state(struct http_exchange *x)
{
    struct buf out = {0};

    if (put_state(&out) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, JSON, STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

static int parse_count(struct str text, uint64_t *out)
{
    char digits[24], *end;

    if (text.n == 0 || text.p[0] < '0' || text.p[0] > '9' ||
        str_copy(text, digits, sizeof(digits)) == -1)
        return -1;
    *out = strtoull(digits, &end, 10);
    return *end == '\0' && *out < UINT64_C(1) << 32 ? 0 : -1;
}

struct wish {
    bool cancel, stop, given_time;
    uint64_t leave, rate;
    int64_t time_ns;
};

static int parse_flag(struct str text, bool *out)
{
    *out = str_equal(text, STR_LIT("1"));
    return *out || str_equal(text, STR_LIT("0")) ? 0 : -1;
}

/* "leave=1000&rate=500", "leave=0&time=30s&stop=1", "cancel=1". */
static int parse_wish(struct str query, struct wish *w)
{
    struct str key, value;
    int rc = 0;

    *w = (struct wish){.time_ns = config.drain_time};
    while (rc == 0 && query.p != NULL && http_query_next(&query, &key, &value)) {
        if (str_equal(key, STR_LIT("leave")))
            rc = parse_count(value, &w->leave);
        else if (str_equal(key, STR_LIT("rate")))
            rc = parse_count(value, &w->rate) == -1 || w->rate == 0 ? -1 : 0;
        else if (str_equal(key, STR_LIT("time"))) {
            rc = units_parse_duration(value, &w->time_ns);
            w->given_time = true;
        } else if (str_equal(key, STR_LIT("stop")))
            rc = parse_flag(value, &w->stop);
        else if (str_equal(key, STR_LIT("cancel")))
            rc = parse_flag(value, &w->cancel);
        else if (!str_equal(key, STR_LIT("api_key")))
            rc = -1;
    }
    if (w->time_ns < 0 || w->time_ns > DRAIN_TIME_MAX_NS || (w->rate != 0 && w->given_time))
        rc = -1;
    return rc;
}

/* Nobody waits for it any more: it is not to come later, when nobody expects it. False: it has
 * begun. */
static bool withdraw(void)
{
    master_wait_end(&d.wait);
    atomic_store(&shm->slots[SHM_WORKER + d.worker].wish.withdrawn, d.wait.wish);
    return atomic_load(&shm->drain.begun[d.worker]) != d.wait.wish;
}

static void overdue(struct http_exchange *x)
{
    http_respond(
        x, 503, JSON, STR_LIT("Retry-After: 5\r\n"),
        withdraw() ? STR_LIT("{\"error\":\"the master does not answer; the order is withdrawn\"}\n")
                   : STR_LIT("{\"error\":\"the master does not answer; the order may still "
                             "come\"}\n"));
}

static void abandoned(struct http_exchange *x UNUSED)
{
    (void)withdraw();
}

/* Its number. */
static uint32_t leave_wish(const struct wish *w)
{
    struct shm_wish *mine = &shm->slots[SHM_WORKER + d.worker].wish;
    uint32_t n;

    atomic_store(&mine->cancel, w->cancel);
    atomic_store(&mine->stop, w->stop);
    atomic_store(&mine->leave, w->leave);
    atomic_store(&mine->rate, w->rate);
    atomic_store(&mine->time_ns, (uint64_t)w->time_ns);
    n = atomic_fetch_add(&mine->n, 1) + 1;
    shm_wake(shm->master_wake_fd);
    return n;
}

static void handle_drain(struct http_exchange *x)
{
    struct wish w;

    if (x->request->method != HTTP_POST) {
        answer_state(x);
    } else if (parse_wish(x->request->query, &w) == -1) {
        http_refuse(x, CLOSE_BAD_QUERY);
    } else if (atomic_load(&shm->draining)) {
        http_respond(x, 409, JSON, STR_LIT(""), STR_LIT("{\"error\":\"the node stops\"}\n"));
    } else if (d.wait.exchange != 0) {
        http_respond(x, 503, JSON, STR_LIT("Retry-After: 1\r\n"),
                     STR_LIT("{\"error\":\"another order is being given\"}\n"));
    } else {
        master_wait_begin(&d.wait, x, leave_wish(&w), abandoned, overdue);
    }
}

void drain_init(unsigned worker)
{
    static const struct http_resource table[] = {
        {.path = "/debug/drain",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET | 1u << HTTP_POST,
         .needs_key = true,
         .handle = handle_drain},
    };

    d.worker = worker;
    http_register(table, ARRAY_LEN(table));
}

/* ---- the order ---- */

void drain_turn(void)
{
    const struct shm_drain *s = &shm->drain;
    bool on = atomic_load_explicit(&s->state, memory_order_acquire) != DRAIN_NONE;
    struct http_exchange *x;

    if (UNLIKELY(on || reactor->shed.on))
        reactor_shed(on, (size_t)atomic_load(&s->most[d.worker]));
    atomic_store_explicit(&shm->slots[SHM_WORKER + d.worker].staying, reactor_staying(),
                          memory_order_relaxed);
    x = master_wait_done(&d.wait, &s->taken[d.worker]);
    if (x != NULL)
        answer_state(x);
}
