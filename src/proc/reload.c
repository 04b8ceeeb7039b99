/* proc/reload.c - see reload.h: the worker's part. */
#include "proc/reload.h"

#include "base/clock.h"
#include "base/config.h"
#include "proc/config_load.h"
#include "proc/master_wait.h"
#include "proc/shm.h"
#include "proto/http.h"

#define JSON "application/json"

static struct {
    unsigned worker;
    struct master_wait wait;
} r;

static bool query_has(struct http_exchange *x, struct str name, struct str value)
{
    struct str rest = x->request->query, k, v;

    while (rest.p != NULL && http_query_next(&rest, &k, &v))
        if (str_equal(k, name) && str_equal(v, value))
            return true;
    return false;
}

/* Report n. 1: it has been overwritten, or is being. */
static int copy_report(uint32_t n, struct buf *out)
{
    const struct shm_reload *s = &shm->reload;
    uint32_t place = n % RELOAD_REPORTS;
    struct str text = {s->texts[place].text, MIN(s->texts[place].len, (uint32_t)RELOAD_REPORT_MAX)};

    buf_clear(out);
    if (buf_append(out, n > 0 ? text : STR_LIT("{\"result\":\"none\"}\n")) == -1)
        return -1;
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&s->n) - n < RELOAD_REPORTS - 1 ? 0 : 1;
}

static void answer(struct http_exchange *x, int rc, const struct buf *report)
{
    if (rc == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else if (rc == 1)
        http_respond(x, 503, JSON, STR_LIT("Retry-After: 1\r\n"),
                     STR_LIT("{\"error\":\"it is done, but reports on others have taken the place "
                             "of its own\"}\n"));
    else
        http_respond(x, 200, JSON, STR_LIT(""), buf_view(report));
}

static void answer_last(struct http_exchange *x)
{
    struct buf out = {0};
    int rc;

    do
        rc = copy_report(atomic_load(&shm->reload.n), &out);
    while (rc == 1);
    answer(x, rc, &out);
    buf_fini(&out);
}

/* Not a part of each turn: its stack frame would be, too. */
static __attribute__((noinline)) void answer_asked(struct http_exchange *x)
{
    struct buf out = {0};

    answer(x, copy_report(atomic_load(&shm->reload.told[r.worker]), &out), &out);
    buf_fini(&out);
}

static void abandoned(struct http_exchange *x UNUSED)
{
    master_wait_end(&r.wait);
}

static void overdue(struct http_exchange *x)
{
    master_wait_end(&r.wait);
    http_respond(
        x, 503, JSON, STR_LIT("Retry-After: 5\r\n"),
        STR_LIT("{\"error\":\"the master does not answer; the reload may still come\"}\n"));
}

/* Its number. */
static uint32_t leave_wish(enum reload_wish what)
{
    struct shm_slot *mine = &shm->slots[SHM_WORKER + r.worker];

    atomic_store(&mine->reload_what, (uint32_t)what);
    return atomic_fetch_add(&mine->reload_wish, 1) + 1;
}

/* Nobody waits for it any more, but the master is still to apply: a look would take its place. */
static bool applies_yet(void)
{
    const struct shm_slot *mine = &shm->slots[SHM_WORKER + r.worker];

    return atomic_load(&shm->reload.taken[r.worker]) != r.wait.wish &&
           atomic_load(&mine->reload_what) == RELOAD_APPLY;
}

static void handle_reload(struct http_exchange *x)
{
    bool look = query_has(x, STR_LIT("look"), STR_LIT("1"));

    if (x->request->method != HTTP_POST) {
        answer_last(x);
    } else if (atomic_load(&shm->draining)) {
        http_respond(x, 409, JSON, STR_LIT(""), STR_LIT("{\"error\":\"the node stops\"}\n"));
    } else if (r.wait.exchange != 0 || (look && applies_yet())) {
        http_respond(x, 503, JSON, STR_LIT("Retry-After: 1\r\n"),
                     STR_LIT("{\"error\":\"another reload is on its way\"}\n"));
    } else {
        master_wait_begin(&r.wait, x, leave_wish(look ? RELOAD_LOOK : RELOAD_APPLY), abandoned,
                          overdue);
        http_defer_longer(x, RELOAD_PATIENCE_NS);
    }
}

static void handle_config(struct http_exchange *x)
{
    bool json = query_has(x, STR_LIT("format"), STR_LIT("json"));
    struct buf out = {0};

    if ((json ? config_write_json(&config, &out) : config_print(&config, &out)) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, json ? JSON : "application/yaml", STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

void reload_init(unsigned worker)
{
    static const struct http_resource table[] = {
        {.path = "/debug/reload",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET | 1u << HTTP_POST,
         .needs_key = true,
         .handle = handle_reload},
        {.path = "/debug/config",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_config},
    };

    r.worker = worker;
    r.wait.wish = atomic_load(&shm->slots[SHM_WORKER + worker].reload_wish);
    http_register(table, ARRAY_LEN(table));
}

void reload_turn(void)
{
    struct http_exchange *x = master_wait_done(&r.wait, &shm->reload.taken[r.worker]);

    if (x != NULL)
        answer_asked(x);
}
