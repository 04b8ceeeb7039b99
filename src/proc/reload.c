/* proc/reload.c - see reload.h: the worker's part. */
#include "proc/reload.h"

#include "base/clock.h"
#include "base/config.h"
#include "proc/config_load.h"
#include "proc/shm.h"
#include "proto/http.h"

#define JSON "application/json"
/* A reload reads files and certificates; whoever asks for one waits that long. */
#define PATIENCE_NS (30 * NS_PER_SEC)

static struct {
    unsigned worker;
    uint64_t asks; /* the exchange that waits for the master, or 0 */
    uint32_t wish;
} r;

static bool query_has(struct http_exchange *x, struct str name, struct str value)
{
    struct str rest = x->request->query, k, v;

    while (rest.p != NULL && http_query_next(&rest, &k, &v))
        if (str_equal(k, name) && str_equal(v, value))
            return true;
    return false;
}

/* The copy in use is not written to before there is another one: if so, it is read again. */
static int copy_report(struct buf *out)
{
    const struct shm_reload *s = &shm->reload;
    uint32_t n;

    do {
        struct str text;

        n = atomic_load(&s->n);
        text = (struct str){s->texts[n & 1].text,
                            MIN(s->texts[n & 1].len, (uint32_t)RELOAD_REPORT_MAX)};
        buf_clear(out);
        if (buf_append(out, n > 0 ? text : STR_LIT("{\"result\":\"none\"}\n")) == -1)
            return -1;
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&s->n) != n);
    return 0;
}

static void answer_report(struct http_exchange *x)
{
    struct buf out = {0};

    if (copy_report(&out) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, JSON, STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

static void abandoned(struct http_exchange *x UNUSED)
{
    r.asks = 0;
}

static void overdue(struct http_exchange *x)
{
    r.asks = 0;
    http_respond(
        x, 503, JSON, STR_LIT("Retry-After: 5\r\n"),
        STR_LIT("{\"error\":\"the master does not answer; the reload may still come\"}\n"));
}

static void leave_wish(enum reload_wish what)
{
    struct shm_slot *mine = &shm->slots[SHM_WORKER + r.worker];

    atomic_store(&mine->reload_what, (uint32_t)what);
    r.wish = atomic_fetch_add(&mine->reload_wish, 1) + 1;
}

static void handle_reload(struct http_exchange *x)
{
    if (x->request->method != HTTP_POST) {
        answer_report(x);
    } else if (atomic_load(&shm->draining)) {
        http_respond(x, 409, JSON, STR_LIT(""), STR_LIT("{\"error\":\"the node stops\"}\n"));
    } else if (r.asks != 0) {
        http_respond(x, 503, JSON, STR_LIT("Retry-After: 1\r\n"),
                     STR_LIT("{\"error\":\"another reload is on its way\"}\n"));
    } else {
        leave_wish(query_has(x, STR_LIT("look"), STR_LIT("1")) ? RELOAD_LOOK : RELOAD_APPLY);
        x->abandoned = abandoned;
        x->overdue = overdue;
        r.asks = http_defer(x);
        http_defer_longer(x, PATIENCE_NS);
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
    r.wish = atomic_load(&shm->slots[SHM_WORKER + worker].reload_wish);
    http_register(table, ARRAY_LEN(table));
}

void reload_turn(void)
{
    struct http_exchange *x;

    if (LIKELY(r.asks == 0) || atomic_load(&shm->reload.taken[r.worker]) != r.wish)
        return;
    x = http_exchange_find(r.asks);
    r.asks = 0;
    if (x == NULL)
        return;
    x->abandoned = NULL;
    x->overdue = NULL;
    answer_report(x);
}
