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
#include "engine.h"
#include "net/reactor.h"
#include "target.h"

#define RETRY_NS       NS_PER_SEC       /* between attempts of one user */
#define STORM_RETRY_NS (50 * NS_PER_MS) /* the same after a storm, and up to three times that */
#define LASTING_MS     1000             /* a connection that lasts so long is no failed attempt */

/* Binds the local address, leaving the port to connect(2), so that one address serves
 * many targets. */
static int bind_source(int fd, uint32_t id, const struct load_target *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct str sources = str_from(engine.o->source), source;
    size_t n = 0, pick;
    /* The target is id modulo their number: each of them is reached from every address. */
    uint32_t turn = id / load_shared->ntargets;
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
            htonl(0x7f010001u + engine.process * LOAD_SOURCES + turn % LOAD_SOURCES);
    } else {
        pick = turn % n;
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

static void (*net_event)(struct ev_loop *loop, ev_io *io, int revents); /* of every connection */

static bool socket_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* Net has found the socket writable: the request is gone, or the TLS handshake has begun. */
static bool conn_connected(const struct conn *c)
{
    return c->flags & CONN_TLS ? conn_tls_began_ns(c) != 0 : c->out == NULL;
}

static void record_connected(struct conn *c, uint64_t now)
{
    ev_set_cb(&c->io, net_event);
    hdr_record(&engine.slot->m.tcp_connect, now - user_of(c)->since);
}

/* In the place of net's own callback until the connection is there, or has failed: the daemon,
 * which accepts, has no use for such an event, and net does not look for it. */
static void on_connected(struct ev_loop *loop, ev_io *io, int revents)
{
    struct conn *c = CONTAINER_OF(io, struct conn, io);
    uint64_t now = clock_precise_ns();

    net_event(loop, io, revents);
    if (!conn_dead(c) && conn_connected(c))
        record_connected(c, now);
}

/* On loopback it is there at once; else what net watches for, so as to send the request, tells. */
static void watch_connecting(struct conn *c)
{
    net_event = ev_cb(&c->io);
    if (socket_connected(c->io.fd))
        record_connected(c, clock_precise_ns());
    else
        ev_set_cb(&c->io, on_connected);
}

/* Without it a subscriber's losses would go unseen: -1, the connection has ended. */
static int start_tracking(struct conn *c)
{
    struct user *u = user_of(c);
    bool fresh = engine.phase == LOAD_RAMP; /* then every sequence starts at 1 */

    if (engine.slots == 0 || (user_is_publisher(u->id) && engine.o->scenario != SCENARIO_CHAT))
        return 0;
    u->seen = calloc(engine.slots, sizeof(*u->seen));
    if (u->seen == NULL) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    for (uint32_t i = 0; i < engine.slots; i++)
        u->seen[i].last = fresh ? 0 : SEQUENCE_ANY;
    return 0;
}

static void free_tracking(struct user *u)
{
    for (uint32_t i = 0; u->seen != NULL && i < engine.slots; i++)
        seen_fini(&u->seen[i]);
    free(u->seen);
    u->seen = NULL;
}

/* Will it be better in a while? */
static bool out_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
           error == EADDRNOTAVAIL || error == EAGAIN;
}

/* How long a user waits after an attempt that failed: what the storm measures is not our patience,
 * and clients that back off do not come all at once. */
static uint64_t retry_ns(uint32_t id)
{
    if (engine.storm[id - engine.first] & STORM_AWAY)
        return STORM_RETRY_NS + engine_random() % (2 * STORM_RETRY_NS);
    return RETRY_NS;
}

/* A user that is gone and was not meant to be comes back: at once after it has been of use, else in
 * a while, and during the ramp not for ever. */
static void requeue(uint32_t id, bool was_of_use)
{
    uint8_t *attempts = &engine.attempts[id - engine.first];

    if (engine.phase >= LOAD_GRACE)
        return;
    if (was_of_use) {
        *attempts = 0;
        engine.waiting[engine.wait_tail++ % engine.count] = id;
        return;
    }
    if (*attempts < LOAD_ATTEMPTS_MAX)
        ++*attempts;
    if (*attempts == LOAD_ATTEMPTS_MAX && engine.phase == LOAD_RAMP) {
        engine.slot->given_up++;
        return;
    }
    dues_set(&engine.later, (uint32_t)(id - engine.first), clock_ns() + retry_ns(id));
}

/* A server that drops what it has just taken is no better than one that refuses. */
static bool of_use(const struct user *u)
{
    return (u->flags & USER_CLOSING) ||
           ((u->flags & USER_READY) &&
            (uint32_t)(clock_ns() / NS_PER_MS) - engine.ready_ms[u->id - engine.first] >=
                LASTING_MS);
}

int user_connect(uint32_t id)
{
    const struct load_target *t = &load_shared->targets[id % load_shared->ntargets];
    struct conn *c;
    struct user *u;
    uint64_t began_ns = clock_precise_ns();
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
    u->since = began_ns;
    watch_connecting(c);
    engine.conns[id - engine.first] = c;
    engine.slot->m.connects_started++;
    engine.slot->connecting++;
    conn_arm(c, (uint64_t)engine.o->connect_timeout);
    if (t->tls && conn_start_tls(c, engine.tls, t->name) == -1)
        return 0; /* counted when it is released */
    handshake_request(u, t, &engine.text);
    if (conn_send(c, buf_view(&engine.text)) == -1)
        return 0; /* counted when it is released */
    /* It came meanwhile: then net awaits the answer and nothing before it. */
    if (ev_cb(&c->io) == on_connected && conn_connected(c))
        record_connected(c, clock_precise_ns());
    return 0;
}

void user_ready(struct conn *c)
{
    struct user *u = user_of(c);

    u->flags |= USER_READY;
    engine.ready_ms[u->id - engine.first] = (uint32_t)(clock_ns() / NS_PER_MS);
    engine.slot->connecting--;
    engine.slot->ready++;
    engine.slot->m.connects_done++;
    hdr_record(&engine.slot->m.ready, clock_precise_ns() - u->since);
    storm_returned(u->id);
    u->since = clock_precise_ns();
    if (start_tracking(c) == -1)
        return;
    conn_arm(c, (uint64_t)engine.o->ping_interval);
    publish_resume(u->id);
    if (engine.echoes != NULL)
        u->base = engine.echoes[u->id - engine.first].sequence;
    if (engine.echoes != NULL && engine.phase == LOAD_RUN)
        user_echo(c);
    if (engine.o->scenario == SCENARIO_SLOW && engine.phase == LOAD_RUN)
        user_stall(c);
}

void user_input(struct conn *c, struct str in)
{
    if (engine.phase == LOAD_STOP)
        return; /* everything has been counted */
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

void user_broke(struct conn *c, enum close_reason why, const char *what)
{
    char *first = engine.slot->protocol_error;

    user_of(c)->flags |= USER_BROKE;
    engine.slot->m.protocol_errors++;
    if (first[0] == '\0')
        snprintf(first, sizeof(engine.slot->protocol_error), "%s", what);
    conn_kill(c, why);
}

/* Has anybody taken the connection? Then its handshake was timed. */
static bool was_connected(const struct conn *c)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    return getsockopt(c->io.fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_rtt > 0;
}

/* An attempt has come to its end before any answer. */
static void count_no_answer(const struct conn *c)
{
    char *first = engine.slot->tls_failure;

    if (!was_connected(c)) {
        engine.slot->m.connect_failed++;
    } else if ((c->flags & CONN_TLS) == 0 || conn_tls_established(c) || conn_tls_began_ns(c) == 0) {
        engine.slot->m.not_answered++;
    } else {
        engine.slot->m.tls_failed++;
        if (first[0] == '\0')
            snprintf(first, sizeof(engine.slot->tls_failure), "%s", tls_failure());
    }
}

static void count_ended(const struct conn *c, const struct user *u)
{
    struct load_metrics *m = &engine.slot->m;

    if ((u->flags & USER_BROKE) || engine.phase == LOAD_STOP)
        return; /* counted; it is the test that ends */
    if ((u->flags & USER_READY) == 0) {
        if (c->reason == CLOSE_PEER_GONE && (u->flags & USER_HANDSHAKE))
            count_no_answer(c);
        else if (c->reason == CLOSE_PEER_GONE || c->reason == CLOSE_PEER_CLOSED)
            m->turned_away++;
    } else if (u->flags & USER_CLOSING) {
        m->closed++;
    } else if (u->flags & USER_STALLED) {
        m->evicted++;
    } else if (c->reason == CLOSE_PEER_CLOSED) {
        m->server_closed++;
    } else {
        m->connection_lost++;
    }
}

static void user_release(struct conn *c)
{
    struct user *u = user_of(c);

    atomic_fetch_sub(u->flags & USER_READY ? &engine.slot->ready : &engine.slot->connecting, 1);
    count_ended(c, u);
    if (u->flags & USER_HANDSHAKE)
        handshake_free_head(u);
    else
        free_tracking(u);
    if (engine.echoes != NULL)
        echo_released(u);
    if (engine.partial != NULL)
        buf_fini(&engine.partial[u->id - engine.first]);
    ws_rx_fini(&c->rx, engine.rx);
    engine.conns[u->id - engine.first] = NULL;
    if ((u->flags & USER_CLOSING) == 0)
        storm_left(u->id);
    requeue(u->id, of_use(u));
}

/* The test has ended: a close frame for whoever is there (RFC 6455 §7.1.1); net ends them all when
 * the server has closed, or after config.close_timeout. */
static void user_drain(struct conn *c)
{
    if (user_can_send(c)) {
        user_close(c);
        return;
    }
    user_of(c)->flags |= USER_CLOSING;
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
