/* engine.h - one load process: its users, its schedule. Internal to roostload.
 *
 * A user is a connection of net/conn with 32 bytes of session. The process runs net's reactor;
 * load_tick(), called each turn, opens connections, sends and closes what the schedules say is due.
 * Schedules are open-loop: the n-th event is due at start + n / rate whatever happened before, and
 * latency counts from that time.
 *
 * engine.c is the process · connect.c, handshake.c, traffic.c are a user's life · schedule.c opens and
 * closes · publish.c publishes · send.c sends. */
#ifndef ROOSTLOAD_ENGINE_H
#define ROOSTLOAD_ENGINE_H

#include "adapter.h"
#include "due.h"
#include "net/conn.h"
#include "net/tls.h"
#include "payload.h"
#include "shared.h"

enum user_flag {
    USER_HANDSHAKE = 1,   /* the request is out, no 101 yet */
    USER_READY = 2,       /* upgraded and subscribed */
    USER_STALLED = 4,     /* slow: reads nothing any more */
    USER_CLOSING = 8,     /* the scenario closes it */
    USER_HEARD = 16,      /* has received a message */
    USER_PINGED = 32,     /* a ping is out; engine.pinged_ns = when */
    USER_BROKE = 64,      /* the server broke the protocol: counted */
    USER_CONNECTED = 128, /* somebody has taken the connection */
    USER_SECURED = 256    /* TLS: and shaken hands */
};

struct user {    /* in the connection's session area */
    uint32_t id; /* number among all users */
    uint32_t channel;
    uint16_t flags;    /* enum user_flag */
    uint16_t inflight; /* echo */
    uint32_t base;     /* echo: last sequence before this connection */
    uint64_t since;    /* attempt's start; then, when it became ready */
    union {
        struct buf *head;  /* handshake: owned; the first part of a response head, or NULL */
        struct seen *seen; /* ready: owned; by publisher slot, or NULL; echo: NULL */
    };
};

struct kept { /* of a user that recovers, while it has no connection */
    struct adapter_position position;
    struct seen *seen; /* owned; as struct user's; NULL: it was never ready */
};

struct echo {          /* what outlives a user's connections */
    uint64_t due;      /* intended time of the next message */
    uint32_t sequence; /* of the last one */
    uint32_t floor;    /* what was sent up to here is not waited for: the scenario hung up */
    struct seen seen;  /* answers */
};

enum storm_flag {
    STORM_AWAY = 1, /* dropped by the storm, and not ready */
    STORM_BACK = 2  /* has been ready since */
};

#define BURST_MAX 256 /* events of one kind per turn */

struct engine {
    unsigned process;
    struct load_slot *slot;
    const struct options *o;
    const struct adapter *adapter;
    struct tls_context *tls; /* owned; NULL: no target wants it */
    uint64_t first, count;   /* users of this process */
    struct conn **conns;     /* owned; by user - first; NULL: not connected */
    uint8_t *attempts;       /* owned; failed ones in a row */
    struct buf *partial;     /* owned; by user - first: a message's beginning; NULL: no stream */
    uint32_t *waiting;       /* owned; FIFO of users to connect */
    uint64_t wait_head, wait_tail;
    struct dues later;   /* owned; users whose attempt failed: they wait before the next */
    struct dues echo;    /* owned; with a rate: when whose next message is due; it has one
                            place free in flight */
    uint8_t *storm;      /* owned; by user - first: enum storm_flag */
    uint64_t storm_away; /* users with STORM_AWAY */
    uint32_t *ready_ms;  /* owned; by user - first: when it became ready, CLOCK_MONOTONIC */
    struct kept *kept;   /* owned; by user - first; NULL: without --recover */
    struct adapter_delta *deltas; /* owned; by user - first; NULL: without --delta */
    struct echo *echoes;          /* owned; by user - first; NULL: not scenario echo */
    uint64_t *pinged_ns; /* owned; by user - first: when its ping went out; NULL: no pings */
    uint32_t slots;      /* publisher slots a subscriber tracks */
    bool own_heard;      /* chat: somebody has received a message of their own */
    struct ws_rx_pool *rx;
    struct buf text; /* scratch of the turn */
    struct buf frame;
    uint64_t random;
    uint32_t phase; /* the one seen last */
};
extern struct engine engine;

/* Runs process p until LOAD_STOP; returns the exit status. */
int engine_run(unsigned p);

/* connect.c */
int user_connect(uint32_t id) MUST_CHECK; /* -1: no socket now, try later */
void user_ready(struct conn *c);
void user_input(struct conn *c, struct str in);
/* The server broke the protocol: what is a sentence's end for people, borrowed. */
void user_broke(struct conn *c, enum close_reason why, const char *what);

/* handshake.c: appends nothing and frees u->head; the request is malformed when memory ends */
void user_render(struct str text, uint32_t id, uint32_t channel, struct buf *out);
void handshake_request(const struct user *u, const struct load_target *t, struct buf *out);
void user_handshake(struct conn *c, struct str in);
#define HANDSHAKE_TLS_THERE "the server speaks TLS there: use wss:// in --url"
void handshake_free_head(struct user *u);
extern const struct conn_ops user_conn_ops;

/* traffic.c */
/* As adapters know the user. */
struct adapter_user user_for_adapter(const struct user *u);
void user_frames(struct conn *c, struct str in);
int user_send(struct conn *c, enum ws_opcode op, struct str payload) MUST_CHECK;
/* One frame of the adapter's kind. */
int user_send_data(struct conn *c, struct str payload) MUST_CHECK;
/* Publishes one test message as `publisher`; intended_ns from the schedule. -1: the connection is
 * gone, or too much waits in front of it: try again later. */
int user_publish(struct conn *c, uint32_t publisher, uint32_t channel, uint32_t sequence,
                 uint64_t intended_ns) MUST_CHECK;
/* Ready, and neither side is closing. */
bool user_can_send(struct conn *c);
/* echo: the run begins; sends what is due; the connection is released; no more is sent. */
void echo_start(uint64_t start);
void user_echo(struct conn *c);
void echo_released(const struct user *u);
void echo_stop(uint64_t until);
void user_close(struct conn *c);
void user_ping(struct conn *c);
void user_count_missing(void);

/* schedule.c, publish.c */
void schedule_start(void);
/* Does what is due; returns when the next event is due (ns), UINT64_MAX when none. */
uint64_t schedule_run(uint64_t now);
/* The user is ready; it is gone again, by no wish of ours. */
void storm_returned(uint32_t id);
void storm_left(uint32_t id);
/* slow, during the run: from now on a ready user reads nothing if it is one of those that stall. */
void user_stall(struct conn *c);
void publish_start(uint64_t start);
/* Does what is due; returns when more is, or when blocked ones are to be tried again. */
uint64_t publish_run(uint64_t now);
/* The user is ready (again): it may have to catch up. */
void publish_resume(uint32_t user);
/* The run is over: sends what was due before its end (or before now, if it was cut short) and
 * counts what cannot be sent any more. */
void publish_stop(uint64_t now);
uint32_t user_channel(uint32_t id);
bool user_is_publisher(uint32_t id);
/* Publishers stay when others are sent away: what is on its way when a connection is cut was lost by
 * the test. */
bool user_may_leave(uint32_t id);
uint64_t engine_random(void);
/* Another sequence for each seed and process. */
void engine_seed(uint64_t seed, unsigned process);

/* Events at a steady rate: number n is due at start + n * interval. */
struct pace {
    uint64_t start_ns;
    double interval_ns; /* 0: never */
    uint64_t done;
};

static inline uint64_t pace_at(const struct pace *p, uint64_t n)
{
    return p->start_ns + (uint64_t)((double)n * p->interval_ns);
}

static inline void pace_start(struct pace *p, uint64_t now, double per_second)
{
    *p = (struct pace){.start_ns = now, .interval_ns = per_second > 0 ? 1e9 / per_second : 0};
}

static inline uint64_t pace_due(const struct pace *p)
{
    return p->interval_ns > 0 ? pace_at(p, p->done) : UINT64_MAX;
}

/* Up to when things are due: now, within the run. */
static inline uint64_t run_time(uint64_t now)
{
    uint64_t end = atomic_load(&load_shared->run_end_ns);

    return end > 0 ? MIN(now, end - 1) : now;
}

static inline struct user *user_of(struct conn *c)
{
    return conn_session(c);
}

#endif
