/* connect.c - opening a user's connection.
 *
 * Happy path: 1 non-blocking connect, the request queued behind it · 2 wss: the TLS handshake · 3
 * the 101 response · 4 the adapter's hello · 5 ready. Can fail: no socket (try later), refused, an
 * untrusted certificate, timed out, another status, the adapter's refusal. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "engine.h"
#include "net/connect.h"
#include "net/reactor.h"
#include "net/tls.h"
#include "target.h"

#define RETRY_NS       NS_PER_SEC       /* between attempts of one user */
#define STORM_RETRY_NS (50 * NS_PER_MS) /* the same after a storm, and up to three times that */
#define LASTING_MS     1000             /* a connection that lasts so long is no failed attempt */

/* The address that user id comes from, *any when that is the kernel's choice. -1: no address. */
static int pick_source(uint32_t id, const struct load_target *t, struct sockaddr_in *a, bool *any)
{
    struct str sources = str_from(engine.o->source), source;
    size_t n = 0, pick;
    /* The target is id modulo their number: each of them is reached from every address. */
    uint32_t turn = id / load_shared->ntargets;
    char text[64];

    *a = (struct sockaddr_in){.sin_family = AF_INET};
    for (struct str rest = sources; rest.n > 0 && str_cut(&rest, '\n', &source);)
        n++;
    *any = n == 0 && !target_is_loopback4(t);
    if (n == 0) {
        /* Addresses of 127.0.0.0/8 for each process: with few of its ports taken, connect(2) finds
         * a free one at once. */
        a->sin_addr.s_addr =
            htonl(0x7f010001u + engine.process * LOAD_SOURCES + turn % LOAD_SOURCES);
        return 0;
    }
    pick = turn % n;
    while (str_cut(&sources, '\n', &source) && pick-- > 0)
        ;
    return str_copy(source, text, sizeof(text)) == 0 && inet_pton(AF_INET, text, &a->sin_addr) == 1
               ? 0
               : -1;
}

/* NULL with errno. */
static struct conn *open_connection(uint32_t id, const struct load_target *t)
{
    struct sockaddr_in source;
    struct outgoing to = {.peer = (const struct sockaddr *)&t->address,
                          .tls = t->tls ? engine.tls : NULL,
                          .host = t->name};
    bool any;

    if (pick_source(id, t, &source, &any) == -1) {
        errno = EINVAL;
        return NULL;
    }
    to.source = any ? NULL : (const struct sockaddr *)&source;
    return reactor_connect(&to, &user_conn_ops);
}

static void user_connected(struct conn *c)
{
    user_of(c)->flags |= USER_CONNECTED;
    hdr_record(&engine.slot->m.tcp_connect, clock_precise_ns() - user_of(c)->since);
}

/* Without it a subscriber's losses would go unseen: -1, the connection has ended. */
static int start_tracking(struct conn *c)
{
    struct user *u = user_of(c);
    bool fresh = engine.phase == LOAD_RAMP; /* then every sequence starts at 1 */

    if (engine.kept != NULL && engine.kept[u->id - engine.first].seen != NULL) {
        u->seen = engine.kept[u->id - engine.first].seen;
        engine.kept[u->id - engine.first].seen = NULL;
        return 0;
    }
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
    if (engine.kept != NULL) {
        engine.kept[u->id - engine.first].seen = u->seen;
        u->seen = NULL;
        return;
    }
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

    c = open_connection(id, t);
    if (c == NULL && out_of_something(errno))
        return -1;
    if (c == NULL) { /* no route, no such protocol: as an attempt that failed later */
        engine.slot->m.connects_started++;
        engine.slot->m.connect_failed++;
        requeue(id, false);
        return 0;
    }
    u = user_of(c);
    u->id = id;
    u->channel = user_channel(id);
    u->flags = USER_HANDSHAKE;
    u->since = began_ns;
    engine.conns[id - engine.first] = c;
    engine.slot->m.connects_started++;
    engine.slot->connecting++;
    conn_arm(c, (uint64_t)engine.o->connect_timeout);
    conn_establish(c); /* on loopback the peer is there at once */
    handshake_request(u, t, &engine.text);
    if (conn_send(c, buf_view(&engine.text)) == -1)
        return 0; /* counted when it is released */
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
    user_of(c)->flags |= USER_SECURED;
    hdr_record(&engine.slot->m.tls, clock_precise_ns() - tls_began_ns(c));
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

/* An attempt has come to its end before any answer. */
static void count_no_answer(const struct user *u)
{
    char *first = engine.slot->tls_failure;

    if ((u->flags & USER_CONNECTED) == 0) {
        engine.slot->m.connect_failed++;
    } else if ((u->flags & USER_SECURED) ||
               !load_shared->targets[u->id % load_shared->ntargets].tls) {
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
            count_no_answer(u);
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
    if (engine.deltas != NULL)
        buf_fini(&engine.deltas[u->id - engine.first].before);
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
    .connected = user_connected,
    .secured = user_secured,
    .drain = user_drain,
    .release = user_release,
};
