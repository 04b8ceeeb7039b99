/* tests/unit/proto/http_fixture.h - resources that show what the HTTP server hands to a handler. */
#ifndef TESTS_PROTO_HTTP_FIXTURE_H
#define TESTS_PROTO_HTTP_FIXTURE_H

#include "harness.h"

static uint64_t deferred; /* token of the last one */
static unsigned abandoned, overdue;
static void *const deferred_state = &deferred;

static void on_hello(struct http_exchange *x)
{
    http_respond(x, 200, "text/plain", STR_LIT("X-Own: 1\r\n"), STR_LIT("hello\n"));
}

/* Answers with what it was given. */
static void on_echo(struct http_exchange *x)
{
    assert_non_null(x->request);
    assert_int_equal(http_field_get(x->request, STR_LIT("Host"), NULL).n, 1);
    http_respond(x, 200, "application/octet-stream", STR_LIT(""), buf_view(&x->body));
}

static void on_prefix(struct http_exchange *x)
{
    http_respond(x, 200, "text/plain", STR_LIT(""), x->path);
}

static void on_large(struct http_exchange *x)
{
    static char page[60000];

    memset(page, 'x', sizeof(page));
    http_respond(x, 200, "text/plain", STR_LIT(""), (struct str){.p = page, .n = sizeof(page)});
}

static void count_abandoned(struct http_exchange *x)
{
    assert_ptr_equal(x->state, deferred_state);
    abandoned++;
}

/* Asks for another second, twice. */
static void not_yet(struct http_exchange *x)
{
    assert_ptr_equal(x->state, deferred_state);
    if (++overdue < 3)
        http_defer_longer(x, NS_PER_SEC);
    else
        http_respond(x, 200, NULL, STR_LIT(""), STR_LIT("at last"));
}

static void on_later(struct http_exchange *x)
{
    x->state = deferred_state;
    x->abandoned = count_abandoned;
    deferred = http_defer(x);
}

static void on_longer(struct http_exchange *x)
{
    x->state = deferred_state;
    x->overdue = not_yet;
    deferred = http_defer(x);
}

/* Deferred and yet answered before it returns. */
static void on_soon(struct http_exchange *x)
{
    struct http_exchange *same = http_exchange_find(http_defer(x));

    assert_ptr_equal(same, x);
    http_respond(x, 200, NULL, STR_LIT(""), STR_LIT("soon"));
}

static void on_refuse(struct http_exchange *x)
{
    http_refuse(x, CLOSE_BAD_QUERY);
}

static bool never(void)
{
    return false;
}

#define GET  (1u << HTTP_GET)
#define POST (1u << HTTP_POST)
#define BOTH (HTTP_ON_CLIENT | HTTP_ON_ADMIN)

static const struct http_resource h_resources[] = {
    {.path = "/hello", .where = BOTH, .methods = GET, .handle = on_hello},
    {.path = "/healthz", .where = BOTH, .methods = GET, .handle = on_hello},
    {.path = "/echo", .where = BOTH, .methods = POST | GET, .handle = on_echo},
    {.path = "/under/", .prefix = true, .where = BOTH, .methods = GET, .handle = on_prefix},
    {.path = "/large", .where = BOTH, .methods = GET, .handle = on_large},
    {.path = "/later", .where = BOTH, .methods = GET | POST, .handle = on_later},
    {.path = "/longer", .where = BOTH, .methods = GET, .handle = on_longer},
    {.path = "/soon", .where = BOTH, .methods = GET, .handle = on_soon},
    {.path = "/refuse", .where = BOTH, .methods = GET, .handle = on_refuse},
    {.path = "/admin", .where = HTTP_ON_ADMIN, .methods = GET, .handle = on_hello},
    {.path = "/key", .where = BOTH, .methods = GET, .needs_key = true, .handle = on_hello},
    {.path = "/numbers",
     .where = BOTH,
     .methods = GET,
     .needs_key = true,
     .own_key = offsetof(struct config, metrics_key),
     .bearer = true,
     .handle = on_hello},
    {.path = "/open",
     .where = BOTH,
     .methods = GET,
     .needs_key = true,
     .client_open = true,
     .handle = on_hello},
    {.path = "/off", .where = BOTH, .methods = GET, .handle = on_hello, .enabled = never},
    {.path = "/hand", .where = BOTH, .methods = GET, .handshake = true, .handle = on_refuse},
};

static UNUSED int h_http_setup(void **state UNUSED)
{
    deferred = 0;
    abandoned = overdue = 0;
    return h_start(false);
}

#endif
