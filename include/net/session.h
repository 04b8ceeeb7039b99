/* net/session.h - what is spoken on a connection, as far as its connection knows it, and the other
 * way round.
 *
 * A session is what a connection or an exchange means to publish/subscribe: it takes messages,
 * subscribes, is handed publications, and is told what the hub has answered. Each kind is a row of
 * tbl/protocols.def and a struct session_ops. It says what is to be delivered, sent, and why its
 * connection ends; frames, states, deadlines and the close handshake are the connection's. So a
 * session calls nothing of net/ws.h and never asks in which state its connection is. */
#ifndef ROOST_NET_SESSION_H
#define ROOST_NET_SESSION_H

#include "base/buf.h"
#include "core/broker.h"
#include "net/conn.h"

enum session_kind {
    SESSION_NONE = 0,
#define SESSION(NAME, name, label) SESSION_##NAME,
#include "tbl/protocols.def"
    SESSION_KIND_NR
};
_Static_assert(SESSION_KIND_NR <= 128, "struct sub has seven bits for it");

/* Static tables; one per kind. Without connections of its own only the sink is used. A session that
 * is to outlive its process will have save() and restore() here: its area holds plain data. */
struct session_ops {
    /* The broker's upcalls: subscribed, deliver, lost, answered. */
    struct sink_ops sink;
    /* A complete message, borrowed until return; binary, or text in UTF-8. The connection is open.
     * May end it. */
    void (*message)(struct conn *c, struct str data, bool binary);
    /* Asked before more is read: may it publish `bytes` of payload, in at most `messages`
     * publications, now? NULL: it publishes nothing. */
    bool (*may_publish)(struct conn *c, size_t bytes, size_t messages);
    /* The most bytes a message may have, as a setting; NULL: config.max_message_size. */
    const int64_t *message_max;
    /* What is due by the session's own clock is done. Returns after how many ns it wants to be
     * asked again (UINT64_MAX: not of itself); session_wake() brings that forward. Asked first when
     * the connection has been opened; it may have ended when this returns. NULL: it has no clock. */
    uint64_t (*deadline)(struct conn *c);
    /* How the protocol puts a reason that its connection has found (slow, drain, ...): another row
     * of tbl/close.def, or the same. NULL: the same. */
    enum close_reason (*reason)(enum close_reason why);
    /* The peer's input has ended; the connection ends when this says true: nothing that the session
     * published is still on its way back to it. Asked once without `fenced`; if that was not so,
     * the hub is asked, and when its answer says that all of it has been handed to the fan-out,
     * this is asked with `fenced` until true (or too long has passed). NULL: true. */
    bool (*closing)(struct conn *c, bool fenced);
    /* Appends JSON members (",\"mode\":...") for one line of /debug/connections, its channels not
     * among them. -1: no memory. NULL: there is nothing to say. */
    int (*describe)(struct conn *c, struct buf *out);
    /* Calls visit for each channel of it; s: its subscription, NULL where it publishes alone. NULL:
     * it has no channels. */
    void (*channels)(struct conn *c,
                     void (*visit)(struct str channel, const struct sub *s, void *arg), void *arg);
    /* Appends JSON members about a subscription. NULL: there is nothing to say. */
    int (*describe_sub)(const struct sub *s, struct buf *out);
    /* Whose it is; STR_NULL: nobody has said. Borrowed. NULL: it has no users. */
    struct str (*user)(struct conn *c);
    /* It is not open any more; nothing comes in from now on, but its end may take close_timeout. Called
     * once, from anywhere: it ends nobody. NULL: that is nothing to it. */
    void (*ended)(struct conn *c);
    /* Gives everything back. Also called on an area of zeros. NULL: there is nothing. */
    void (*release)(struct conn *c);
};

/* sink_ops.answered of a session that asks nothing of its own: what the connection asked for
 * because of closing(). Others hand on what they do not know. */
void session_answered(const struct record *r);

/* Delivers the publications [first, end) of a sealed batch, in a variant that is encoded. As
 * conn_deliver(), which those with a whole variant in hand may call themselves. */
void session_deliver(struct conn *c, const struct batch *b, unsigned variant, uint32_t first,
                     uint32_t end);
/* That form of batches (enum batch_variant) as the connection may have it: compressed, if that has
 * been agreed on. */
static inline uint8_t session_variant(const struct conn *c, unsigned form)
{
    return batch_deflated(form, conn_deflate(c));
}
/* Sends a message to the peer (a copy, as conn_send()). Without effect when the connection is not
 * open. -1: it has ended. */
int session_send(struct conn *c, struct str data, bool binary) MUST_CHECK;
/* Ends the connection for this reason. Without effect when it is not open: nothing was promised
 * yet, or it ends already. */
void session_end(struct conn *c, enum close_reason why);
/* The same in other words than the reason's row has: what somebody has asked for. */
void session_end_as(struct conn *c, enum close_reason why, uint16_t code, struct str text);
/* conn_ops.slow and conn_ops.release where there is no close handshake. */
void session_slow(struct conn *c, enum close_reason why);
void session_release(struct conn *c);
/* session_ops.deadline shall be called within ns, if not earlier. */
void session_wake(struct conn *c, uint64_t ns);

#endif
