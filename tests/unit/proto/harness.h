/* tests/unit/proto/harness.h - a real reactor on socketpairs under the virtual clock, and on
 * request a broker with an in-memory hub behind it. Include behind the .c under test. */
#ifndef TESTS_PROTO_HARNESS_H
#define TESTS_PROTO_HARNESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "codec/ws_tx.h"
#include "core/broker.h"
#include "core/hub.h"
#include "core/ring.h"
#include "net/partial.h"
#include "net/reactor.h"
#include "net/ws.h"
#include "proto/api.h"
#include "proto/http.h"
#include "proto/session.h"

#define H_RING           (256 * 1024)
#define H_HUB_GENERATION 1

struct peer { /* the far end of a connection */
    int fd;
    struct conn *conn;     /* borrowed; dangling when it has been reaped */
    char got[1024 * 1024]; /* everything received, NUL-terminated by h_read() */
    size_t len;
    bool eof;
};

static struct h_hub {
    struct ring_shared *to_hub, *from_hub;
    struct ring in, out;
    struct hub *hub;
    bool frozen;                      /* the hub does nothing */
    unsigned records[RECORD_KIND_NR]; /* that have come, by kind */
} h_hub UNUSED;

/* Who takes what the broker has for each kind of session. */
static const struct sink_ops *const *h_sinks UNUSED = session_sinks;

static UNUSED int h_hub_send(void *arg UNUSED, unsigned worker UNUSED, const struct record *r)
{
    size_t n = record_bytes(r);
    void *dst = ring_reserve(&h_hub.out, n);

    if (dst == NULL)
        return -1;
    record_encode(r, dst);
    ring_commit(&h_hub.out);
    return 0;
}

static UNUSED uint32_t h_hub_worker(void *arg UNUSED, unsigned worker UNUSED)
{
    return 1;
}

static UNUSED void h_hub_pump(void)
{
    struct record r;
    struct str raw;

    if (h_hub.hub == NULL || h_hub.frozen)
        return;
    while (hub_wants(h_hub.hub, 0) && ring_peek(&h_hub.in, &raw) > 0) {
        assert_int_equal(record_decode(raw, &r), 0);
        h_hub.records[r.kind]++;
        hub_receive(h_hub.hub, 0, &r, h_hub.in.position);
        ring_next(&h_hub.in);
        ring_release(&h_hub.in);
    }
    while (hub_run(h_hub.hub, 1000))
        continue;
}

static UNUSED struct ring_shared *h_ring_new(void)
{
    struct ring_shared *s = aligned_alloc(CACHE_LINE, (ring_bytes(H_RING) + 63) / 64 * 64);

    assert_non_null(s);
    ring_format(s, H_RING);
    return s;
}

static UNUSED uint64_t h_generation(void)
{
    return H_HUB_GENERATION;
}

/* Publishes what nobody waits for. -1: the ring is full. */
static UNUSED int h_fill_ring(struct str data)
{
    const struct broker_publication p = {.channel = STR_LIT("fill"), .data = data};

    return broker_publish(reactor->broker, &p);
}

static UNUSED void h_start_hub(void)
{
    static const struct hub_ops ops = {.send = h_hub_send, .generation = h_hub_worker};
    struct broker_config cfg = {.worker = 0,
                                .generation = 1,
                                .ring_capacity = H_RING,
                                .tasks = &reactor->tasks,
                                .sinks = h_sinks,
                                .nsinks = SESSION_KIND_NR};

    memset(&h_hub, 0, sizeof(h_hub));
    h_hub.to_hub = cfg.to_hub = h_ring_new();
    h_hub.from_hub = cfg.from_hub = h_ring_new();
    ring_attach_consumer(&h_hub.in, h_hub.to_hub, H_RING);
    ring_attach_producer(&h_hub.out, h_hub.from_hub, H_RING);
    h_hub.hub = hub_new(1, H_HUB_GENERATION, engine_memory_new(), &ops, NULL);
    assert_non_null(h_hub.hub);
    hub_set_limits(h_hub.hub,
                   (struct hub_limits){.queue_max = 1 << 20, .answer_ns = 5 * NS_PER_SEC});
    hub_go_live(h_hub.hub);
    reactor_set_broker(broker_new(&cfg));
    assert_non_null(reactor->broker);
}

static UNUSED int h_start(bool with_hub)
{
    static const uint8_t key[16] = {1, 2, 3};
    const struct reactor_config cfg = {.worker = 0,
                                       .wake_fd = -1,
                                       .hub_wake_fd = -1,
                                       .hub_generation = with_hub ? h_generation : NULL};

    config_defaults(&config);
    snprintf(config.admin_hosts, sizeof(config.admin_hosts), "a"); /* as the tests' requests say */
    log_set_level(LOG_ERROR);
    clock_set_virtual(1000 * NS_PER_SEC);
    hash_seed(key);
    memset(metrics, 0, sizeof(*metrics));
    reactor_init(&cfg);
    if (with_hub)
        h_start_hub();
    return 0;
}

static UNUSED int h_stop(void **state UNUSED)
{
    struct broker *broker = reactor->broker;

    reactor_fini();
    if (h_hub.hub != NULL) {
        broker_free(broker);
        hub_free(h_hub.hub);
        free(h_hub.to_hub);
        free(h_hub.from_hub);
        memset(&h_hub, 0, sizeof(h_hub));
    }
    assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
    clock_set_virtual(0);
    return 0;
}

/* Some turns, with the hub between them. */
static UNUSED void h_turns(int n)
{
    while (n-- > 0) {
        reactor_step(false);
        h_hub_pump();
    }
}

static UNUSED void h_wait(uint64_t ns)
{
    clock_advance(ns);
    h_turns(3);
}

static UNUSED struct peer *h_connect(unsigned flags)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(40000)};
    struct peer *p = calloc(1, sizeof(*p));
    int fds[2];

    assert_non_null(p);
    sa.sin_addr.s_addr = htonl(0x7f000001);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    p->fd = fds[1];
    p->conn = reactor_add(fds[0], &http_conn_ops, (struct sockaddr *)&sa, flags);
    assert_non_null(p->conn);
    return p;
}

static UNUSED void h_close(struct peer *p)
{
    if (p->fd != -1)
        close(p->fd);
    free(p);
    h_turns(3);
}

static UNUSED void h_send(struct peer *p, const void *data, size_t n)
{
    assert_int_equal(send(p->fd, data, n, MSG_NOSIGNAL), (ssize_t)n);
}

static UNUSED void h_say(struct peer *p, const char *text)
{
    h_send(p, text, strlen(text));
}

/* Everything that has arrived. */
static UNUSED const char *h_read(struct peer *p)
{
    for (;;) {
        ssize_t n = recv(p->fd, p->got + p->len, sizeof(p->got) - 1 - p->len, 0);

        if (n <= 0) {
            p->eof |= n == 0 || errno != EAGAIN;
            break;
        }
        p->len += (size_t)n;
    }
    p->got[p->len] = '\0';
    return p->got;
}

static UNUSED void h_forget(struct peer *p)
{
    p->len = 0;
    p->got[0] = '\0';
}

/* Sends, runs, reads: what the answer begins with. */
static UNUSED const char *h_ask(struct peer *p, const char *text)
{
    h_forget(p);
    h_say(p, text);
    h_turns(4);
    return h_read(p);
}

static UNUSED int h_status(const struct peer *p)
{
    int status = 0;

    return sscanf(p->got, "HTTP/1.1 %d ", &status) == 1 ? status : -1;
}

/* WebSocket */

#define H_UPGRADE                                                                                  \
    " HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

/* A masked frame, whole. */
static UNUSED void h_append_frame(struct buf *out, enum ws_opcode op, struct str payload)
{
    static const uint8_t key[4] = {0x5a, 0x01, 0xff, 0x80};

    assert_int_equal(ws_tx_masked(op, payload, key, out), 0);
}

static UNUSED void h_frame(struct peer *p, enum ws_opcode op, struct str payload)
{
    struct buf out = {0};

    h_append_frame(&out, op, payload);
    h_send(p, out.p, out.len);
    buf_fini(&out);
}

static UNUSED void h_text(struct peer *p, const char *text)
{
    h_frame(p, WS_OP_TEXT, str_from(text));
}

/* Sends the handshake for a path with query; what comes stays in p->got. */
static UNUSED void h_shake(struct peer *p, const char *path)
{
    char head[5000];
    int n = snprintf(head, sizeof(head), "GET %s" H_UPGRADE, path);

    assert_true(n > 0 && (size_t)n < sizeof(head));
    h_ask(p, head);
}

static UNUSED struct peer *h_open(const char *path)
{
    struct peer *p = h_connect(0);

    h_shake(p, path);
    assert_int_equal(h_status(p), 101);
    assert_int_equal(p->conn->state, CONN_OPEN);
    h_forget(p);
    return p;
}

/* Everything received since h_forget() is exactly these server frames: pairs of first byte and
 * payload, NULL ends. */
#define assert_frames(p, ...)                                                                      \
    h_assert_frames((p), __LINE__, (const char *const[]){__VA_ARGS__, NULL})
#define TEXT        "\x81"
#define BINARY      "\x82"
#define CLOSE_FRAME "\x88"
static UNUSED void h_assert_frames(struct peer *p, int line, const char *const *want)
{
    size_t at = 0;

    h_turns(4);
    h_read(p);
    for (; want[0] != NULL; want += 2) {
        const unsigned char *got = (const unsigned char *)p->got + at;
        size_t n = strlen(want[1]), header = n < 126 ? 2 : 4;

        if (p->len - at < header + n || got[0] != (unsigned char)want[0][0] ||
            memcmp(got + header, want[1], n) != 0)
            fail_msg("line %d: not \"%s\" but \"%.*s\" (%zu bytes at %zu)", line, want[1],
                     (int)(p->len - at), got, p->len - at, at);
        at += header + n;
    }
    if (at != p->len)
        fail_msg("line %d: %zu bytes more: \"%s\"", line, p->len - at, p->got + at);
    h_forget(p);
}

static UNUSED void assert_nothing(struct peer *p)
{
    h_turns(4);
    h_read(p);
    assert_int_equal(p->len, 0);
    assert_false(p->eof);
}

/* A close frame with that code and nothing else. */
static UNUSED void assert_closed(struct peer *p, unsigned code)
{
    h_turns(4);
    h_read(p);
    assert_true(p->len >= 4);
    assert_int_equal((unsigned char)p->got[0], 0x88);
    assert_int_equal((unsigned char)p->got[2] << 8 | (unsigned char)p->got[3], code);
    assert_int_equal(p->len, 2u + (unsigned char)p->got[1]);
    h_forget(p);
}

#define assert_has(p, text)                                                                        \
    do {                                                                                           \
        if (strstr((p)->got, (text)) == NULL)                                                      \
            fail_msg("\"%s\" is not in \"%s\"", (text), (p)->got);                                 \
    } while (0)
#define assert_has_not(p, text)                                                                    \
    do {                                                                                           \
        if (strstr((p)->got, (text)) != NULL)                                                      \
            fail_msg("\"%s\" is in \"%s\"", (text), (p)->got);                                     \
    } while (0)

static UNUSED size_t h_count(const struct peer *p, const char *text)
{
    size_t n = 0;

    for (const char *at = p->got; (at = strstr(at, text)) != NULL; at += strlen(text))
        n++;
    return n;
}

#endif
