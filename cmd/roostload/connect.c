/* connect.c - opening a user's connection.
 *
 * Happy path: 1 non-blocking connect, the request queued behind it · 2 wss: the TLS handshake · 3
 * the 101 response · 4 the adapter's hello · 5 ready. Can fail: no socket (try later), refused, an
 * untrusted certificate, timed out, another status, the adapter's refusal. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/http.h"
#include "codec/ws_tx.h"
#include "engine.h"
#include "net/reactor.h"
#include "target.h"

#define SOURCES_PER_PROCESS 4
#define HANDSHAKE_KEY                                                                              \
    "cm9vc3Rsb2FkLWtleS0wMQ==" /* any 16 bytes; the answer to it never changes                     \
                                */

/* Replaces {channel}, {n}, {c}; unknown braces stay. */
void user_render(struct str text, uint32_t id, uint32_t channel, struct buf *out)
{
    while (text.n > 0) {
        size_t brace = str_find(text, '{');
        int rc = buf_append(out, (struct str){text.p, brace});

        text = str_skip(text, brace);
        if (rc == 0 && str_starts_with(text, STR_LIT("{n}"))) {
            rc = buf_printf(out, "%u", id);
            text = str_skip(text, 3);
        } else if (rc == 0 && str_starts_with(text, STR_LIT("{c}"))) {
            rc = buf_printf(out, "%u", channel);
            text = str_skip(text, 3);
        } else if (rc == 0 && str_starts_with(text, STR_LIT("{channel}"))) {
            user_render(str_from(engine.o->channel), id, channel, out);
            text = str_skip(text, 9);
        } else if (rc == 0 && text.n > 0) {
            rc = buf_append(out, (struct str){text.p, 1});
            text = str_skip(text, 1);
        }
        if (rc == -1)
            return; /* the request is then malformed and refused: counted */
    }
}

static struct str offered_subprotocols(void)
{
    return str_from(engine.o->subprotocol[0] ? engine.o->subprotocol : engine.adapter->subprotocol);
}

static void build_request(uint32_t id, uint32_t channel, const struct load_target *t,
                          struct buf *out)
{
    struct str headers = str_from(engine.o->header), header;
    bool host = false;
    int rc;

    buf_clear(out);
    rc = buf_append_lit(out, "GET ");
    user_render(str_from(t->path), id, channel, out);
    rc |= buf_append_lit(out,
                         " HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: " HANDSHAKE_KEY "\r\nSec-WebSocket-Version: 13\r\n");
    if (offered_subprotocols().n > 0)
        rc |= buf_printf(out, "Sec-WebSocket-Protocol: %.*s\r\n", STR_ARG(offered_subprotocols()));
    while (headers.n > 0 && str_cut(&headers, '\n', &header)) {
        host = host ||
               str_equal_nocase((struct str){header.p, MIN(header.n, (size_t)5)}, STR_LIT("Host:"));
        rc |= buf_printf(out, "%.*s\r\n", STR_ARG(header));
    }
    if (!host)
        rc |= buf_printf(out, "Host: %s\r\n", t->host);
    if ((rc | buf_append_lit(out, "\r\n")) != 0)
        buf_clear(out);
}

/* Binds the local address, leaving the port to connect(2), so that one address serves many targets.
 */
static int bind_source(int fd, uint32_t id, const struct load_target *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct str sources = str_from(engine.o->source), source;
    size_t n = 0, pick;
    char text[64];
    int one = 1;

    for (struct str rest = sources; rest.n > 0 && str_cut(&rest, '\n', &source);)
        n++;
    if (n == 0) {
        if (!target_is_loopback4(t))
            return 0;
        /* Addresses of 127.0.0.0/8 for each process: with few of its ports taken, connect(2) finds
         * a free one at once. */
        a.sin_addr.s_addr =
            htonl(0x7f010001u + engine.process * SOURCES_PER_PROCESS + id % SOURCES_PER_PROCESS);
    } else {
        pick = id % n;
        while (str_cut(&sources, '\n', &source) && pick-- > 0)
            ;
        if (str_copy(source, text, sizeof(text)) == -1 ||
            inet_pton(AF_INET, text, &a.sin_addr) != 1)
            return -1;
    }
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) == -1)
        return -1;
    return bind(fd, (struct sockaddr *)&a, sizeof(a));
}

static int open_socket(uint32_t id, const struct load_target *t)
{
    int fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd == -1)
        return -1;
    if (bind_source(fd, id, t) == -1 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == -1 ||
        (connect(fd, (const struct sockaddr *)&t->address, t->address_len) == -1 &&
         errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct seen *new_tracking(uint32_t id)
{
    struct seen *seen = NULL;
    bool fresh = engine.phase == LOAD_RAMP; /* then every sequence starts at 1 */

    if (engine.slots == 0 || (user_is_publisher(id) && engine.o->scenario != SCENARIO_CHAT))
        return NULL;
    seen = calloc(engine.slots, sizeof(*seen));
    for (uint32_t i = 0; seen != NULL && i < engine.slots; i++)
        seen[i].last = fresh ? 0 : SEQUENCE_ANY;
    return seen;
}

/* Will it be better in a while? */
static bool out_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
           error == EADDRNOTAVAIL || error == EAGAIN;
}

/* A user that is gone and was not meant to be comes back, but not for ever. */
static void requeue(uint32_t id, bool was_ready)
{
    uint8_t *attempts = &engine.attempts[id - engine.first];

    if (engine.phase >= LOAD_GRACE)
        return;
    if (!was_ready && ++*attempts >= LOAD_ATTEMPTS_MAX) {
        engine.slot->given_up++;
        return;
    }
    engine.waiting[engine.wait_tail++ % engine.count] = id;
}

int user_connect(uint32_t id)
{
    const struct load_target *t = &load_shared->targets[id % load_shared->ntargets];
    struct conn *c;
    struct user *u;
    int fd = open_socket(id, t);

    if (fd == -1 && out_of_something(errno))
        return -1;
    if (fd == -1) { /* no route, no such protocol: as an attempt that failed later */
        engine.slot->m.connects_started++;
        engine.slot->m.connect_failed++;
        requeue(id, false);
        return 0;
    }
    c = reactor_add(fd, &user_conn_ops, (const struct sockaddr *)&t->address, 0);
    if (c == NULL)
        return -1;
    u = user_of(c);
    u->id = id;
    u->channel = user_channel(id);
    u->flags = USER_HANDSHAKE;
    u->since = clock_ns();
    engine.conns[id - engine.first] = c;
    engine.slot->m.connects_started++;
    engine.slot->connecting++;
    conn_arm(c, (uint64_t)engine.o->connect_timeout);
    if (t->tls && conn_start_tls(c, engine.tls, t->name) == -1)
        return 0; /* counted when it is released */
    build_request(id, u->channel, t, &engine.text);
    if (conn_send(c, buf_view(&engine.text)) == -1)
        return 0; /* counted when it is released */
    return 0;
}

void user_ready(struct conn *c)
{
    struct user *u = user_of(c);
    struct tcp_info info;
    socklen_t len = sizeof(info);

    u->flags |= USER_READY;
    engine.attempts[u->id - engine.first] = 0;
    engine.slot->connecting--;
    engine.slot->ready++;
    engine.slot->m.connects_done++;
    hdr_record(&engine.slot->m.ready, clock_precise_ns() - u->since);
    if (getsockopt(c->io.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
        hdr_record(&engine.slot->m.tcp_connect, (uint64_t)info.tcpi_rtt * 1000);
    if (engine.slot->storm_ns != 0 && engine.slot->recovered_ns == 0 &&
        engine.slot->ready + engine.slot->given_up == engine.count)
        atomic_store(&engine.slot->recovered_ns, clock_precise_ns());
    u->since = clock_ns();
    if (engine.o->scenario != SCENARIO_ECHO)
        u->seen = new_tracking(u->id);
    conn_arm(c, (uint64_t)engine.o->ping_interval);
    if (engine.o->scenario == SCENARIO_ECHO && engine.phase == LOAD_RUN)
        user_echo(c);
}

static void upgraded(struct conn *c, struct str rest)
{
    struct user *u = user_of(c);

    u->flags &= (uint8_t)~USER_HANDSHAKE;
    conn_set_state(c, CONN_OPEN);
    hdr_record(&engine.slot->m.upgrade, clock_precise_ns() - u->since);
    if (engine.adapter->hello != NULL) {
        struct buf name = {0};

        buf_clear(&engine.text);
        user_render(str_from(engine.o->channel), u->id, u->channel, &name);
        if (engine.adapter->hello(buf_view(&name), &engine.text) == -1 ||
            user_send_data(c, buf_view(&engine.text)) == -1)
            conn_kill(c, CLOSE_NO_MEMORY);
        buf_fini(&name);
    }
    if (engine.adapter->ready_at_upgrade && !conn_dead(c))
        user_ready(c);
    if (rest.n > 0 && !conn_dead(c))
        user_frames(c, rest);
}

static bool list_has(struct str list, struct str token)
{
    struct str one;

    while (list.n > 0 && str_cut(&list, ',', &one))
        if (str_equal_nocase(str_trim(one), token))
            return true;
    return false;
}

/* What RFC 6455 §4.1 has a client check in a 101. No extension was offered. */
static bool answers_the_handshake(const struct http_response *r)
{
    struct str sub = http_response_field(r, STR_LIT("Sec-WebSocket-Protocol"));
    char accept[WS_ACCEPT_LEN];

    ws_accept_key(STR_LIT(HANDSHAKE_KEY), accept);
    return str_equal(http_response_field(r, STR_LIT("Sec-WebSocket-Accept")),
                     (struct str){accept, sizeof(accept)}) &&
           str_equal_nocase(http_response_field(r, STR_LIT("Upgrade")), STR_LIT("websocket")) &&
           list_has(http_response_field(r, STR_LIT("Connection")), STR_LIT("Upgrade")) &&
           http_response_field(r, STR_LIT("Sec-WebSocket-Extensions")).n == 0 &&
           (sub.n == 0 || list_has(offered_subprotocols(), sub));
}

static void handshake_answer(struct conn *c, const struct http_response *r, struct str rest)
{
    uint32_t none = 0;

    if (r->status != 101) {
        engine.slot->m.upgrade_refused++;
        atomic_compare_exchange_strong(&engine.slot->first_status, &none, (uint32_t)r->status);
        conn_kill(c, CLOSE_UPGRADE_REQUIRED);
    } else if (!answers_the_handshake(r)) {
        engine.slot->m.protocol_errors++;
        conn_kill(c, CLOSE_UPGRADE_KEY);
    } else {
        upgraded(c, rest);
    }
}

static void free_head(struct user *u)
{
    if (u->head != NULL)
        buf_fini(u->head);
    free(u->head);
    u->head = NULL;
}

/* The response head comes whole in one read, or is put together in u->head. */
static void user_handshake(struct conn *c, struct str in)
{
    struct user *u = user_of(c);
    struct buf head = {0};
    struct http_response r;
    enum close_reason why;
    int rc;

    if (u->head != NULL) {
        if (buf_append(u->head, in) == -1) {
            conn_kill(c, CLOSE_NO_MEMORY);
            return;
        }
        in = buf_view(u->head);
    }
    rc = http_response_parse(&in, 16384, &r, &why);
    if (rc < 0) {
        engine.slot->m.protocol_errors++;
        conn_kill(c, why);
    } else if (rc > 0) {
        if (u->head != NULL) { /* the views must outlive it */
            head = *u->head;
            *u->head = (struct buf){0};
            free_head(u);
        }
        handshake_answer(c, &r, in);
        buf_fini(&head);
    } else if (u->head == NULL) {
        u->head = calloc(1, sizeof(*u->head));
        if (u->head == NULL || buf_append(u->head, in) == -1)
            conn_kill(c, CLOSE_NO_MEMORY);
    }
}

void user_input(struct conn *c, struct str in)
{
    if (user_of(c)->flags & USER_HANDSHAKE)
        user_handshake(c, in);
    else
        user_frames(c, in);
}

static void user_deadline(struct conn *c)
{
    struct user *u = user_of(c);

    if (u->flags & USER_READY) {
        user_ping(c);
        return;
    }
    engine.slot->m.connect_timeout++;
    conn_kill(c, CLOSE_HEADER_TIMEOUT);
}

static void user_secured(struct conn *c)
{
    hdr_record(&engine.slot->m.tls, clock_precise_ns() - conn_tls_began_ns(c));
}

/* An attempt has come to its end before any answer. */
static void count_no_answer(const struct conn *c)
{
    char *first = engine.slot->tls_failure;

    if ((c->flags & CONN_TLS) == 0 || conn_tls_established(c) || conn_tls_began_ns(c) == 0) {
        engine.slot->m.connect_failed++;
        return;
    }
    engine.slot->m.tls_failed++;
    if (first[0] == '\0')
        snprintf(first, sizeof(engine.slot->tls_failure), "%s", tls_failure());
}

static void user_release(struct conn *c)
{
    struct user *u = user_of(c);

    if (u->flags & USER_READY) {
        engine.slot->ready--;
        if (u->flags & USER_CLOSING)
            engine.slot->m.closed++;
        else if (c->reason == CLOSE_PEER_CLOSED)
            engine.slot->m.server_closed++;
        else
            engine.slot->m.connection_lost++;
    } else {
        engine.slot->connecting--;
        if (c->reason == CLOSE_PEER_GONE && (u->flags & USER_HANDSHAKE))
            count_no_answer(c);
        else if (c->reason == CLOSE_PEER_GONE || c->reason == CLOSE_PEER_CLOSED)
            engine.slot->m.turned_away++;
    }
    if (u->flags & USER_HANDSHAKE)
        free_head(u);
    else if (engine.o->scenario != SCENARIO_ECHO)
        free(u->seen);
    if (engine.partial != NULL)
        buf_fini(&engine.partial[u->id - engine.first]);
    ws_rx_fini(&c->rx, engine.rx);
    engine.conns[u->id - engine.first] = NULL;
    requeue(u->id, (u->flags & USER_READY) != 0);
}

static void user_drain(struct conn *c)
{
    conn_kill(c, CLOSE_NORMAL);
}

const struct conn_ops user_conn_ops = {
    .name = "user",
    .input = user_input,
    .deadline = user_deadline,
    .secured = user_secured,
    .drain = user_drain,
    .release = user_release,
};
