/* proc/admin.c - the daemon's own resources but for /debug. */
#include "proc/admin.h"
#include "net/reactor.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "proc/admin_page.h"
#include "proc/debug.h"
#include "proc/demo_page.h"
#include "proc/drain.h"
#include "proc/exposition.h"
#include "proc/gzip.h"
#include "proc/node.h"
#include "proc/nodes.h"
#include "proc/shm.h"
#include "proc/usage.h"
#include "proc/worker.h"
#include "proto/api.h"
#include "proto/control.h"
#include "proto/http.h"
#include "proto/upgrade.h"

#define TEXT "text/plain; charset=utf-8"
#define GET  (1u << HTTP_GET)

static void handle_demo(struct http_exchange *x)
{
    http_respond(x, 200, "text/html; charset=utf-8",
                 STR_LIT("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                         "script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; "
                         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
                         "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"),
                 demo_page());
}

/* Whether a handshake from that page would be refused, and why, which a browser does not
 * tell it. */
static void handle_demo_check(struct http_exchange *x)
{
    struct str origin = http_field_get(x->request, STR_LIT("Origin"), NULL);

    if (origin.p != NULL && !upgrade_origin_allowed(origin, x->request->host))
        http_refuse(x, CLOSE_BAD_ORIGIN);
    else
        http_respond(x, 200, TEXT, STR_LIT(""), STR_LIT("ok\n"));
}

static bool demo_enabled(void)
{
    return config.demo_page;
}

static void handle_healthz(struct http_exchange *x)
{
    http_respond(x, 200, TEXT, STR_LIT(""), STR_LIT("ok\n"));
}

/* The node takes new clients, but not everything in it works. */
static int put_absent(struct buf *out)
{
    int rc = 0;

    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++) {
        char name[32];

        if (shm_serves(i) || !shm_slot_used(i))
            continue;
        shm_slot_name(i, name, sizeof(name));
        rc |= buf_printf(out,
                         i < SHM_WORKER ? "%s does not move\n"
                                        : "%s does not serve: others accept its connections\n",
                         name);
    }
    return rc;
}

/* How the engine's servers are, one to a line. */
static int put_shards(struct buf *out)
{
    struct engine_shard s;
    int rc = 0;

    for (unsigned i = 0; engine_shard_next(&i, &s);) {
        uint64_t now = clock_ns(), ns = now > s.since_ns ? now - s.since_ns : 0;

        rc |=
            buf_printf(out, "engine %s: %s for %llu s%s%s\n", s.name,
                       shard_state_name((enum shard_state)s.state),
                       (unsigned long long)(ns / NS_PER_SEC), s.why[0] != '\0' ? ": " : "", s.why);
    }
    return rc;
}

/* Then clients' listeners are the only ones that can be asked. */
static bool admin_off(void)
{
    for (size_t i = 0; i < config.listeners_count; i++)
        if (listener_is_admin(&config.listener[i]))
            return false;
    return true;
}

static void handle_readyz(struct http_exchange *x)
{
    struct buf out = {0};
    const char *why;

    if (worker_ready(&why)) {
        if (buf_append_lit(&out, "ready\n") == -1 || put_absent(&out) == -1 ||
            put_shards(&out) == -1)
            http_refuse(x, CLOSE_NO_MEMORY);
        else
            http_respond(x, 200, TEXT, STR_LIT(""), buf_view(&out));
    } else if (buf_printf(&out, "not ready: %s\n", why) == -1 || put_shards(&out) == -1) {
        http_refuse(x, CLOSE_NO_MEMORY);
    } else {
        http_respond(x, 503, TEXT, STR_LIT("Retry-After: 1\r\n"), buf_view(&out));
    }
    buf_fini(&out);
}

static void respond_metrics(struct http_exchange *x, enum exposition_format f, struct str page)
{
    struct buf packed = {0};

    if (!http_wants_gzip(x->request))
        http_respond(x, 200, exposition_content_type(f),
                     STR_LIT("Vary: Accept, Accept-Encoding\r\n"), page);
    else if (gzip_append(page, &packed) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, exposition_content_type(f),
                     STR_LIT("Content-Encoding: gzip\r\nVary: Accept, Accept-Encoding\r\n"),
                     buf_view(&packed));
    buf_fini(&packed);
}

static void handle_metrics(struct http_exchange *x)
{
    enum exposition_format f = exposition_negotiate(x->request);
    struct metrics *sum = calloc(1, sizeof(*sum));
    struct buf out = {0};

    reactor_update_gauges();
    if (sum != NULL)
        shm_sum_metrics(sum);
    if (sum == NULL || exposition_write_metrics(sum, f, &out) == -1 ||
        exposition_write_node(f, &out) == -1 || exposition_write_end(f, &out) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        respond_metrics(x, f, buf_view(&out));
    buf_fini(&out);
    free(sum);
}

void admin_init(unsigned worker)
{
    static const struct http_resource table[] = {
        {.path = "/",
         .where = HTTP_ON_CLIENT,
         .methods = GET,
         .handle = handle_demo,
         .enabled = demo_enabled},
        {.path = "/demo/check",
         .where = HTTP_ON_CLIENT,
         .methods = 1u << HTTP_POST,
         .handle = handle_demo_check,
         .enabled = demo_enabled},
        {.path = "/healthz",
         .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,
         .methods = GET,
         .handle = handle_healthz},
        {.path = "/readyz", .where = HTTP_ON_ADMIN, .methods = GET, .handle = handle_readyz},
        {.path = "/readyz",
         .where = HTTP_ON_CLIENT,
         .methods = GET,
         .handle = handle_readyz,
         .enabled = admin_off},
        {.path = "/metrics",
         .where = HTTP_ON_ADMIN,
         .methods = GET,
         .needs_key = true,
         .own_key = offsetof(struct config, metrics_key),
         .bearer = true,
         .handle = handle_metrics},
    };

    node_init();
    http_register(table, ARRAY_LEN(table));
    admin_page_init();
    debug_init(worker);
    drain_init(worker);
    api_init(nodes_read);
    centrifuge_nodes(node_uid(), nodes_find);
}
