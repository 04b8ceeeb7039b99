/* net/conn.h - one client connection: socket, state, deadline, output, and room for a session.
 *
 * A conn is one pool object of the reactor: struct conn, then CONN_SESSION_SIZE bytes that belong
 * to whatever speaks on it (HTTP first, then a WebSocket session), then its transport's state if
 * that is not plain TCP (net/transport.h). An idle connection owns nothing else.
 *
 * Rules. State changes only through conn_set_state(). conn_kill() records the first reason and
 * lists the connection as condemned; reactor_turn() frees it in its last step, so a killed conn
 * stays readable until then. After any call that may kill, check the return value or conn_dead()
 * and leave.
 *
 * Reading: a readable socket is read once per turn into the reactor's shared scratch (at most
 * config.read_budget bytes) and given to ops->input(), which takes all of it. Level-triggered
 * readiness brings the rest next turn. conn_hold() stops reading for a reason; reading goes on when
 * no reason is left.
 *
 * Writing: with an empty queue, the first send of a turn goes straight to the socket; what does not
 * fit, and every later send of that turn, is queued and flushed by one sendmsg() per turn (step 5).
 * Queued bytes are references to blobs, never copies of publications. */
#ifndef ROOST_NET_CONN_H
#define ROOST_NET_CONN_H

#include <ev.h>
#include <netinet/in.h>

#include "base/blob.h"
#include "base/close.h"
#include "base/config.h"
#include "base/list.h"
#include "base/wheel.h"
#include "codec/deflate.h"
#include "codec/ws_rx.h"

#define CONN_BIT(name) (1u << CONN_##name)
enum conn_state {
#define X(name, ...) CONN_##name,
#include "tbl/states.def"
#undef X
    CONN_STATE_NR
};
_Static_assert(CONN_STATE_NR <= 31, "each has a bit of an int, CONN_BIT()");
const char *conn_state_name(enum conn_state s);

/* tbl/states.def's columns, for those who ask on a hot path: masks of CONN_BIT(). */
enum conn_takes { CONN_TAKES_NOTHING = 0, CONN_TAKES_REPLIES, CONN_TAKES_ALL };
enum {
    CONN_STATES_FINISHED = 0
#define X(name, label, gauge, deadline, takes, successors)                                         \
    | (CONN_TAKES_##takes == CONN_TAKES_NOTHING ? CONN_BIT(name) : 0)
#include "tbl/states.def"
#undef X
    ,
    CONN_STATES_OPENING = CONN_BIT(CONNECTING) | CONN_BIT(PROXY) | CONN_BIT(SECURING),
    CONN_STATES_DELIVERING = 0
#define X(name, label, gauge, deadline, takes, successors)                                         \
    | (CONN_TAKES_##takes == CONN_TAKES_ALL ? CONN_BIT(name) : 0)
#include "tbl/states.def"
#undef X
};

/* tbl/conn_flags.def: numbers, then bits. */
enum {
#define HOLD(name, label) CONN_HOLD_NUMBER_##name,
#include "tbl/conn_flags.def"
    CONN_HOLD_NR
};
enum conn_hold { /* reasons for not reading */
#define HOLD(name, label) CONN_HOLD_##name = 1 << CONN_HOLD_NUMBER_##name,
#include "tbl/conn_flags.def"
};
enum {
#define FLAG(name, label) CONN_FLAG_NUMBER_##name,
#include "tbl/conn_flags.def"
    CONN_FLAG_NR
};
enum conn_flag {
#define FLAG(name, label) CONN_##name = 1 << CONN_FLAG_NUMBER_##name,
#include "tbl/conn_flags.def"
};
_Static_assert(CONN_FLAG_NUMBER_DEFLATE_SMALL == CONN_FLAG_NUMBER_DEFLATE + 1, "one number");
_Static_assert(CONN_HOLD_NR <= 8 && CONN_FLAG_NR <= 16, "struct conn has a byte and two for them");

struct conn;
struct outq;
struct session_ops;

/* conn_ops.name of those that are no session's: conn_name_http, ... */
#define SPOKEN(name, label) extern const char conn_name_##name[];
#include "tbl/protocols.def"

struct conn_ops {     /* static tables */
    const char *name; /* "http", "plain": label in /debug */
    /* What is spoken on it (enum session_kind), SESSION_NONE: no session. Says which gauge counts
     * its connections in state OPEN. */
    unsigned kind;
    const struct session_ops *session; /* NULL: none */
    bool streamed;                     /* what is sent on it is in no WebSocket frames */
    /* What a session asks of its connection (net/session.h). NULL: it is not open yet. */
    int (*send)(struct conn *c, struct str data, bool binary);
    void (*end)(struct conn *c, enum close_reason why, uint16_t code, struct str text);
    /* Bytes arrived in the writable scratch; takes all of them. May kill or change the ops. */
    void (*input)(struct conn *c, struct str in);
    /* The peer shut down its sending side. Default when NULL: conn_kill(c, CLOSE_PEER_GONE). */
    void (*eof)(struct conn *c);
    /* The deadline of conn_arm() has passed; the first one, config.header_timeout, is armed by
     * reactor_add(). Called in the states whose row of tbl/states.def says OPS. */
    void (*deadline)(struct conn *c);
    /* Asked before each read: how many bytes, of at most want, may be read now? 0: the conn is held
     * (CONN_HOLD_RING) and asked again in later turns. NULL = want. */
    size_t (*may_read)(struct conn *c, size_t want);
    /* Its incomplete input takes too much memory, and the account of it has been closed
     * (net/partial.h): free it and end. */
    void (*partial_over)(struct conn *c, enum close_reason why);
    /* The server drains: finish politely, soon. Default when NULL: conn_finish(c, CLOSE_DRAIN). */
    void (*drain)(struct conn *c);
    /* It does not read fast enough (net/slow.c), and takes replies still: end politely, for this
     * reason; may kill. Is to call conn_drop_publications(). Default when NULL: conn_kill(). */
    void (*slow)(struct conn *c, enum close_reason why);
    /* An outgoing connection: the peer is there. Any connection: the transports have agreed on
     * keys, if they have any. May kill. May be NULL. */
    void (*connected)(struct conn *c);
    void (*secured)(struct conn *c);
    /* The connection is about to be freed. Called once, from the reaping step. May be NULL. */
    void (*release)(struct conn *c);
};

/* What each delivery touches comes last, beside the session. io is the transport's (net/tcp.c)
 * and stands here because its data is the place for ops: apart, a connection would cost eight
 * bytes more. */
struct conn {
    ev_io io;                    /* events = what is wanted now; io.data: the conn_ops */
    struct wheel_entry deadline; /* of the current phase; dead: its link is in the condemned list */
    struct ws_rx rx;             /* of net/ws */
    uint8_t address[16];         /* IPv6, or IPv4-mapped */
    uint32_t since;              /* tick (reactor->tick) of the accept */
    uint32_t heard;              /* tick of the last input */
    union {                      /* of net/ws */
        uint32_t begun;          /* OPEN: tick at which the incomplete message began */
        uint32_t close_code; /* SETTLING: what the peer's close frame said; TOLD: what was sent */
    };
    uint32_t frames_in;  /* wraps */
    uint64_t id;         /* unique in this worker's life: serial, listener, descriptor */
    struct outq *out;    /* owned; NULL while nothing is queued */
    uint16_t port;       /* host byte order */
    uint8_t state;       /* enum conn_state */
    uint8_t reason;      /* enum close_reason, CLOSE_NONE until killed or closing */
    uint8_t refusal;     /* enum close_reason: what was said last; CONN_REFUSED: what to answer */
    uint8_t hold;        /* enum conn_hold bits */
    uint16_t flags;      /* enum conn_flag bits */
    uint32_t sent_turn;  /* low bits of the turn of the last direct send */
    uint32_t frames_out; /* wraps */
};

#define CONN_ID_FD_BITS 24
#define CONN_ID_SERIAL_BITS                                                                        \
    (CONN_ID_FD_BITS + LISTENERS_BITS) /* the serial is what is above them */
/* Its place in reactor->conns: the descriptor, if its transport has one. */
static inline int conn_fd(const struct conn *c)
{
    return (int)(c->id & ((1u << CONN_ID_FD_BITS) - 1));
}
/* Which listener it came by, beside the flags that a connection is made with. */
#define CONN_VIA(listener) ((unsigned)(listener) << 16)
/* Its place in config.listener. */
static inline unsigned conn_listener_index(const struct conn *c)
{
    return (unsigned)(c->id >> CONN_ID_FD_BITS) & (LISTENERS_MAX - 1);
}
/* Options of the listener it came by; borrowed until config changes. Of one that we have opened:
 * of no meaning. */
static inline const struct listener_options *conn_listener(const struct conn *c)
{
    return &config.listener[conn_listener_index(c)];
}
#define CONN_SESSION_SIZE 32 /* sessions assert that they fit */
/* permessage-deflate as agreed on: enum deflate_window + 1; 0: it was not. */
static inline unsigned conn_deflate(const struct conn *c)
{
    return c->flags >> CONN_FLAG_NUMBER_DEFLATE & 3;
}
static inline void conn_set_deflate(struct conn *c, enum deflate_window window)
{
    c->flags |= (uint16_t)((window + 1u) << CONN_FLAG_NUMBER_DEFLATE);
}
/* Static tables; who speaks on the connection changes them. */
static inline const struct conn_ops *conn_ops(const struct conn *c)
{
    return c->io.data;
}
static inline void conn_set_ops(struct conn *c, const struct conn_ops *ops)
{
    c->io.data = (void *)(uintptr_t)ops; /* libev's member is not const; nobody writes there */
}
static inline void *conn_session(struct conn *c)
{
    return c + 1;
}
static inline struct conn *conn_of_session(void *session)
{
    return (struct conn *)session - 1;
}

/* Asserts the transition (tbl/states.def) and keeps the gauges. */
void conn_set_state(struct conn *c, enum conn_state s);
static inline bool conn_dead(const struct conn *c)
{
    return c->state == CONN_DEAD;
}
/* It is connecting, says on whose behalf it comes, or is securing: nothing has passed either way
 * yet. */
static inline bool conn_opening(const struct conn *c)
{
    return (CONN_STATES_OPENING >> c->state & 1) != 0;
}
/* Nothing can be sent on it any more, and what it says is discarded: it is flushing, lingering or
 * dead. */
static inline bool conn_finished(const struct conn *c)
{
    return (CONN_STATES_FINISHED >> c->state & 1) != 0;
}
/* A number below n that others cannot foretell, the same each time: for what connections are not to
 * do all at once. */
unsigned conn_chance(const struct conn *c, unsigned n);
/* Does it take publications? */
static inline bool conn_delivers(const struct conn *c)
{
    return (CONN_STATES_DELIVERING >> c->state & 1) != 0;
}
/* The connection with that id, or NULL when it is gone (or dead). */
struct conn *conn_find(uint64_t id);

/* Schedules the end: nothing more is sent, the socket is closed in the reaping step. Records the
 * first reason; repeating is harmless. */
void conn_kill(struct conn *c, enum close_reason why);
/* The same for one that has had its time to read: what it has not taken is thrown away, with a
 * reset, or the kernel would keep it for minutes. */
void conn_abandon(struct conn *c, enum close_reason why);
/* Ends after everything queued has been sent (state FLUSHING): shutdown(SHUT_WR), then discards
 * input until the peer's end of file or config.close_timeout (LINGERING, so that no reset destroys
 * the last bytes, RFC 9112 §9.6). From now on nothing more can be sent and ops is called for
 * release() alone. Harmless when that is so already; one that is opening still is killed. May kill.
 */
void conn_finish(struct conn *c, enum close_reason why);

/* (Re)arms the deadline; 0 disarms. Relative to reactor_ns(). */
void conn_arm(struct conn *c, uint64_t delay_ns);
/* Adds or removes reasons for not reading. conn_hold() may kill (CLOSE_NO_MEMORY). */
void conn_hold(struct conn *c, unsigned reasons);
void conn_release_hold(struct conn *c, unsigned reasons);

/* Sends a copy of s (heads, control frames). -1: killed (CLOSE_NO_MEMORY, CLOSE_PEER_GONE) or past
 * conn_finish(). Not subject to the slow-consumer policy; while the queue holds config.output_limit
 * bytes or more, the connection is not read (CONN_HOLD_OUTPUT), so a peer cannot make it grow. */
int conn_send(struct conn *c, struct str s) MUST_CHECK;
/* Sends a reference to b's bytes [offset, end). Same rules. */
int conn_send_blob(struct conn *c, struct blob *b, uint32_t offset, uint32_t end) MUST_CHECK;
/* Sends publications: b's bytes [offset, end), which are items frames, the last one starting at
 * last. No effect unless conn_delivers(). When its queue makes it slow (net/slow.c),
 * config.slow_consumer decides: DISCONNECT ends it with CLOSE_SLOW; DROP loses these; LATEST
 * replaces every queued publication that has not begun with the last one. Counts deliveries and
 * drops. */
void conn_deliver(struct conn *c, struct blob *b, uint32_t offset, uint32_t end, uint32_t last,
                  uint32_t items);
/* Sends one publication of which, while it waits for a socket that takes no more, only the newest
 * with this tag (not 0) need be kept. Otherwise as conn_deliver(). */
void conn_deliver_newest(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                         uint64_t tag);
/* Bytes queued and not sent. */
size_t conn_queued(const struct conn *c);

/* "192.0.2.1:50000" or "[2001:db8::1]:50000". cap >= CONN_ADDRESS_MAX. */
#define CONN_ADDRESS_MAX 56
void conn_format_address(const struct conn *c, char *out, size_t cap);

#endif
