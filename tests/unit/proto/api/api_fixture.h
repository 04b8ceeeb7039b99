/* tests/unit/proto/api/api_fixture.h - asking the server API. Include behind the .c under test. */
#ifndef TESTS_PROTO_API_FIXTURE_H
#define TESTS_PROTO_API_FIXTURE_H

#include "../harness.h"
#include "proto/api.h"
#include "proto/session.h"

static UNUSED int h_api_setup(void **state UNUSED)
{
    return h_start(true);
}

static UNUSED struct peer *h_admin(void)
{
    return h_connect(CONN_ADMIN);
}

/* Calls and commands that are under way. */
static UNUSED size_t api_in_use(void)
{
    size_t n = 0;

    for (struct list *l = pool_list()->next; l != pool_list(); l = l->next) {
        const struct pool *p = LIST_ENTRY(l, struct pool, link);

        if (strcmp(p->name, "api_call") == 0 || strcmp(p->name, "api_op") == 0)
            n += p->in_use;
    }
    return n;
}

/* As curl -d sends it. */
static UNUSED void post(struct peer *p, const char *path, const char *body)
{
    static char text[300000];
    int n = snprintf(text, sizeof(text),
                     "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: "
                     "application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n\r\n%s",
                     path, strlen(body), body);

    assert_true(n > 0 && (size_t)n < sizeof(text));
    h_forget(p);
    for (size_t at = 0; at < (size_t)n;) { /* a socket takes only so much at a time */
        ssize_t sent = send(p->fd, text + at, (size_t)n - at, MSG_NOSIGNAL);

        if (sent > 0)
            at += (size_t)sent;
        h_turns(1);
    }
    h_turns(5);
    h_read(p);
}

static UNUSED const char *body_of(const struct peer *p)
{
    const char *at = strstr(p->got, "\r\n\r\n");

    return at == NULL ? "" : at + 4;
}

#define assert_answer(p, want)                                                                     \
    do {                                                                                           \
        assert_int_equal(h_status(p), 200);                                                        \
        assert_has(p, "Content-Type: application/json\r\n");                                       \
        assert_string_equal(body_of(p), want);                                                     \
    } while (0)

/* As long as that, looked at as often as in life. */
static UNUSED void wait_long(uint64_t ns)
{
    for (; ns > 0; ns -= 100 * NS_PER_MS)
        h_wait(100 * NS_PER_MS);
}

static UNUSED unsigned tell_nodes(struct engine_node *out, unsigned max)
{
    assert_true(max > 1);
    out[0] = (struct engine_node){.name = "n \"1\"",
                                  .version = "0.1",
                                  .uid = "u-1",
                                  .clients = 3,
                                  .users = 7,
                                  .channels = 2,
                                  .subscriptions = 4,
                                  .uptime_s = 5,
                                  .rss_bytes = 6,
                                  .cpu_hundredths = 150};
    out[1] = (struct engine_node){.name = "n2", .uid = "u-2", .clients = 1};
    return 2;
}

#endif
