/* net/transport.h - what carries a connection's bytes.
 *
 * net knows one way by heart: plain TCP, whose calls are inlined where they are hot. Every other
 * transport is a table of functions and at most TRANSPORT_STATE_SIZE bytes behind the session,
 * which begin with struct transport; such a connection has the flag CONN_NOT_TCP and comes from a
 * pool of its own, so that a plain one pays for neither.
 *
 * A call never waits. What moves bytes answers how many it has taken (> 0), TRANSPORT_LATER, or
 * that it has ended (< 0); bytes that were taken are the transport's, bytes that were not are
 * offered again. So a transport that learns of completions instead of readiness fits as well: it
 * answers LATER, and conn_ready() when it knows more.
 *
 * Happy path of an outgoing connection: CONNECTING · connected() answers 1 · with secure():
 * SECURING · it answers 1 · HTTP. can fail: either answers -1 (killed with CLOSE_PEER_GONE). */
#ifndef ROOST_NET_TRANSPORT_H
#define ROOST_NET_TRANSPORT_H

#include <sys/uio.h>

#include "net/conn.h"

enum transport_answer {
    TRANSPORT_LATER = 0,
    TRANSPORT_EOF = -1,       /* recv: the peer has said that nothing more comes */
    TRANSPORT_BROKEN = -2,    /* the peer or the way to it is gone */
    TRANSPORT_NO_MEMORY = -3, /* the system has none for it */
    TRANSPORT_FAULT = -4      /* recv: the peer broke the transport's rules, and was told so */
};

enum transport_event { /* what is wanted, or possible */
                       TRANSPORT_READ = EV_READ,
                       TRANSPORT_WRITE = EV_WRITE
};

struct transport_ops { /* static tables; one per transport */
    /* Bytes from the first one refused that must be offered again as they were: its output may not
     * be dropped. */
    uint32_t ahead;
    bool tls; /* its state begins with struct tls_shared */
    ssize_t (*recv)(struct conn *c, char *p, size_t max);
    ssize_t (*send)(struct conn *c, const char *p, size_t n);
    ssize_t (*sendv)(struct conn *c, const struct iovec *iov, size_t n);
    /* State CONNECTING: 1: the peer is there, 0: later, -1: it will not be. NULL: never CONNECTING.
     */
    int (*connected)(struct conn *c);
    /* State SECURING, answers as above. NULL: there is nothing to agree upon. */
    int (*secure)(struct conn *c);
    /* Nothing more will be sent. last: it is closed next, so only what the peer's transport must be
     * told matters. -1: the peer's end cannot be awaited. */
    int (*shut)(struct conn *c, bool last);
    /* The end: gives everything back. The connection is freed next. */
    void (*close)(struct conn *c);
    /* When it is closed, what the peer has not taken is delivered for at most so long; 0: it is
     * thrown away, and the peer told so. */
    void (*linger)(struct conn *c, uint64_t ns);
    /* What is to be told by an event, and no longer: a mask of enum transport_event. May kill. */
    void (*want)(struct conn *c, int events);
    /* Has the transport bytes, or an end, that no event will announce? */
    bool (*pending)(const struct conn *c);
    /* Has the peer not taken, or not acknowledged, all that was sent? */
    bool (*unread)(const struct conn *c);
    /* State PROXY: as recv(), but of what stands before the transport's own bytes; peek: it is left
     * where it is. NULL: read from the socket. */
    ssize_t (*raw)(struct conn *c, char *p, size_t max, bool peek);
    /* Its account of incomplete input (net/partial.h); NULL: there is none. */
    const struct holder *(*holder)(const struct conn *c);
    /* For people: "tls TLSv1.3". */
    void (*describe)(const struct conn *c, char *out, size_t cap);
};

#define TRANSPORT_STATE_SIZE 48 /* transports assert that theirs fits */
struct transport {              /* begins the state of one that is not TCP */
    const struct transport_ops *ops;
};
static inline void *transport_state(const struct conn *c)
{
    return (char *)(uintptr_t)(c + 1) + CONN_SESSION_SIZE;
}

extern const struct transport_ops tcp;
static inline const struct transport_ops *transport_of(const struct conn *c)
{
    return c->flags & CONN_NOT_TCP ? ((const struct transport *)transport_state(c))->ops : &tcp;
}

/* A connection on a transport other than TCP, in state `first`; else as reactor_add(). state,
 * copied, of size bytes: what stands in transport_state(). Nothing is wanted before
 * conn_update_events(). place: the descriptor, or a number that no descriptor and no other
 * connection of this process has, below 1 << CONN_ID_FD_BITS. NULL: no memory (nothing was closed).
 */
struct conn *transport_add(const struct transport *state, size_t size, int place,
                           const struct conn_ops *ops, const struct sockaddr *peer, unsigned flags,
                           enum conn_state first) MUST_CHECK;
/* Brings what is wanted in line with hold, flags and state. May kill. */
void conn_update_events(struct conn *c);
/* From a poll's callback: what is possible now. May kill. */
void conn_event(struct conn *c, int events);
/* From anywhere: something may be possible that no poll will tell; the reactor looks in its next
 * turn. Repeating is harmless. */
void conn_ready(struct conn *c);

#endif
