/* net/net_internal.h - what the files of net share and nobody else needs.
 *
 * Without a header of their own: conn_output.c, conn_trace.c, held.c, ids.c, input.c, listener_turn.c,
 * slow.c, reactor_drain.c, reactor_shed.c, reactor_turn.c, ws_settle.c. */
#ifndef ROOST_NET_INTERNAL_H
#define ROOST_NET_INTERNAL_H

#include "base/clock.h"
#include "base/trace.h"
#include "net/address.h"
#include "net/connect.h"
#include "net/listener.h"
#include "net/reactor.h"
#include "net/transport.h"

/* How long a held connection, or a record that waits for ring room, may wait to be asked again. */
#define NAP_RETRY_NS (UINT64_C(1000) * 1000)
/* The longest sleep: the heartbeat and the age of stalled output are looked at once a turn. */
#define NAP_MAX_NS (UINT64_C(500) * 1000 * 1000)

static inline uint32_t reactor_tick_now(void)
{
    return (uint32_t)(reactor_ns() / WHEEL_TICK_NS);
}

/* May it be read? Else what comes stays where it is. */
static inline bool conn_wants_input(const struct conn *c)
{
    return c->hold == 0 && !(c->flags & CONN_EOF);
}

/* conn.c */
/* The transport has answered so (< 0): killed. */
void conn_broken(struct conn *c, ssize_t answer);
/* How many bytes may be read now; 0: none. */
size_t conn_may_read(struct conn *c);
/* One read of at most max bytes, handed to ops. */
void conn_read(struct conn *c, size_t max);
/* The same, if and as far as may_read() allows; else it is held. */
void conn_readable(struct conn *c);
/* The queue of a flushing connection is empty: shut down, linger. May kill. */
void conn_shut(struct conn *c);
void conn_deadline_fired(struct wheel_entry *e, void *arg);
/* The peer has not taken, or not acknowledged, all that was sent. */
bool conn_unread(const struct conn *c);
void conn_set_peer(struct conn *c, const struct sockaddr *sa);

/* conn_trace.c: a trace tells of it; for where TRACE_WANTED() */
void conn_trace_init(void);
void conn_trace_connect(const struct conn *c);
/* Reasons for not reading that have come, or gone. */
void conn_trace_holds(const struct conn *c, unsigned reasons, bool held);
void conn_trace_stall(const struct conn *c);
/* policy: what is done about it. publications: that have just come. */
void conn_trace_slow(const struct conn *c, const char *policy, uint32_t publications);
void conn_trace_close(const struct conn *c);

/* conn_output.c */
/* One sendmsg() for what is queued. May kill. */
void conn_flush(struct conn *c);
/* Flushes the dirty list within budget_ns. True when some remain. */
bool conn_flush_dirty(uint64_t budget_ns);
/* Queues publications, whatever is queued already. */
/* Of what waits for the socket, only the newest of each tag stays (conn_deliver_newest()). */
void conn_conflate(struct conn *c);
void conn_deliver_later(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                        uint32_t items);
/* Drops the queued publications, but for a frame that has begun. Returns how many. */
uint32_t conn_drop_publications(struct conn *c);
/* The queue is given config.output_timeout anew. There is one. */
void conn_restart_age(struct conn *c);

/* slow.c */
/* Is c, to whose queue so many bytes come, too slow for them? There is one. */
bool slow_with(const struct conn *c, size_t bytes);
/* It is, and publications come; the last one begins at last: what the policy says. May kill or
 * close. */
void slow_deliver(struct conn *c, struct blob *b, uint32_t last, uint32_t end, uint32_t items);
/* Ends c, which has a queue; more: publications that are lost besides those in it. */
void slow_end(struct conn *c, uint32_t more, enum close_reason why);
/* The length of c's queue has changed. There is one. */
void slow_note(struct conn *c);
/* q is no longer in the list of those over the limit. */
void slow_forget(struct outq *q);
/* Step 4: ends those that are too slow, at most max. True when there may be more. */
bool slow_sweep(size_t max);

/* transport.c */
/* Step 3: those of conn_ready(). True when some are left. */
bool ready_turn(void);

/* reactor.c */
/* A connection in the table, unknown to its transport yet; it has its state's room with
 * CONN_NOT_TCP. NULL: no memory. */
struct conn *conn_new(int place, const struct conn_ops *ops, const struct sockaddr *peer,
                      unsigned flags, enum conn_state first) MUST_CHECK;
/* Step 6: frees at most max of the condemned. Returns how many. */
size_t reactor_reap(size_t max);

/* ids.c */
/* -1: no memory. */
int ids_push(struct ids *q, uint64_t id) MUST_CHECK;
/* The oldest; there is one. */
uint64_t ids_pop(struct ids *q);

/* held.c */
void held_init(void);
void held_fini(void);
/* c is held for want of ring room: waits until it may be read again. -1: no memory. */
int held_add(struct conn *c) MUST_CHECK;
/* Step 3: asks those that wait for ring room. True when more could go on at once. */
bool held_turn(void);

/* ws.c */
/* What settle_begin() waited for has happened: the close frame, and the end. */
void ws_settled(struct conn *c);

/* ws_settle.c */
void settle_init(void);
void settle_fini(void);
/* c is SETTLING, and what it published is on its way back to it: ws_settled() when that has come.
 * -1: that cannot be known. */
int settle_begin(struct conn *c) MUST_CHECK;

/* input.c */
void input_init(void);
void input_fini(void);
/* The turn begins: turn_started_ns is set. */
void input_begin(void);
/* The poll says that c is readable: reads it now, or gives it a place in a queue. */
void input_readable(struct conn *c);
/* Bytes that may be read from c at a time. */
size_t input_max(const struct conn *c);
/* n bytes have been read. True: what their handling takes is to be measured: input_took(). */
bool input_note(struct conn *c, size_t n);
void input_took(uint64_t began_ns);
/* Step 3: reads from those that wait. True when some are left. */
bool input_turn(void);

/* tls_client.c: a client's connection on the descriptor, CONNECTING; for reactor_connect(). NULL: no
 * memory (nothing was closed). */
struct conn *tls_connect(int fd, const struct outgoing *to, const struct conn_ops *ops) MUST_CHECK;

/* listener.c: what c's state waited for has happened: the next one, of SECURING and HTTP, and its
 * deadline. For accepted connections in state PROXY. */
void accepted_next(struct conn *c);

/* reactor_turn.c */
void turn_init(void);
void turn_fini(void);

/* reactor_drain.c */
void drain_step(void);
void drain_reset(void);

/* reactor_shed.c */
void shed_step(void);
/* It ends, or is no client any more. */
void shed_forget(struct conn *c);

/* admission.c: the limits on new client connections.
 * CLOSE_NONE, or why not. node_total: client connections of the node. On CLOSE_NONE *counted says
 * whether admission_leave() must be called when the connection ends. */
enum close_reason admission_check(const struct sockaddr *peer, unsigned listener,
                                  uint64_t node_total, bool *counted);
/* Clients that the node may accept by the listener in a second, now; 0: any number. */
uint64_t admission_rate(unsigned listener);
/* Is who comes next to wait, because of the listener's accept_rate? One has been accepted. */
bool admission_waits(unsigned listener);
void admission_accepted(unsigned listener);
/* A place on the admin listener, if need be of who waits longest. CLOSE_FULL: nobody waits. */
enum close_reason admission_check_admin(void);
/* c, which came by a trusted proxy, has its client's address now: counts it. */
enum close_reason admission_client(struct conn *c);
/* reactor.c: c, counted as one that is served, is over a limit: one of those that are answered so,
 * while there is a place for them; else killed. */
void conn_set_refused(struct conn *c, enum close_reason why);
/* c has such a place. May kill. */
void admission_admin_added(struct conn *c);
void admission_leave(const uint8_t address[16], unsigned listener);
void admission_fini(void);

/* admission.c: the bytes of an address that are counted together, its host's or its /64. */
void address_key(const uint8_t address[16], uint8_t key[16]);

/* address.c: IPv6 or IPv4-mapped bytes and the port; zeros, shown as "unix", for other families. */
void address_bytes(const struct sockaddr *sa, uint8_t out[16], uint16_t *port);
/* False: its peer came by a UNIX socket. */
bool address_known(const uint8_t address[16]);

/* listener_turn.c: l is shared and readable. True: it stands back for a turn, and is in
 * reactor->paused. */
bool listener_stands_back(struct listener *l, const struct listener_others *o);
/* It has, and is about to be watched again. */
void listener_turn_comes(struct listener *l);

/* One writer: no locked instruction. */
static inline void listener_count_add(_Atomic uint64_t *n, uint64_t delta)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + delta,
                          memory_order_relaxed);
}

/* listener.c: starts paused listeners again that have waited, or all when fds have become free. */
void listener_resume(bool fds_freed);

#endif
