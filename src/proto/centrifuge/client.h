/* proto/centrifuge/client.h - a Centrifuge client: the session, its subscriptions, its commands.
 *
 * The session speaks messages (codec/centrifuge.h); in which encoding is a member, how they are
 * framed is its connection's. Shared by all files of this folder:
 *
 * open.c        from the request for a WebSocket to a client; session_ops
 * stream.c      clients of one long HTTP response, who say more in requests of their own
 * emulation.c   those requests
 * wire.c        how messages go out
 * client.c      clients: pool, identity, who is which user
 * dispatch.c    input: commands one after the other, those that wait, those behind them
 * reply.c       output: replies of one input go out together
 * connect.c     connect, with server_subs.c for its subscriptions
 * subscribe.c   subscribe, unsubscribe; subs.c what is done with a subscription
 * deliver.c     publications, joins, leaves, losses to a subscription
 * recover.c     a subscription that has missed something
 * publish.c     publish
 * presence.c    who is present: what the hub is told of a client
 * query.c       presence, presence_stats, history: what the hub is asked
 * refresh.c     refresh, sub_refresh
 * deadlines.c   pings, stale, expiry
 * control.c     what the server API, or a client that takes their place, asks of clients,
 *               whatever worker they are on
 * single.c      of a user's connections the last one stays
 * encode.c      the variants of a batch; encode_delta.c those with differences
 *
 * Order. Commands are done in their order, and so answered. One that has to wait (for a token, the
 * hub, room in the ring) makes the client wait: the rest of its input is kept, beginning with that
 * command, which is read again when it goes on. Publications need not wait for each other: several
 * may be on their way, but any other command waits until they are answered. */
#ifndef ROOST_PROTO_CENTRIFUGE_CLIENT_H
#define ROOST_PROTO_CENTRIFUGE_CLIENT_H

#include "base/clock.h"
#include "base/hash.h"
#include "codec/centrifuge.h"
#include "codec/tags_filter.h"
#include "core/channel_options.h"
#include "core/client_info.h"
#include "core/engine.h"
#include "net/reactor.h"
#include "net/session.h"
#include "proto/control.h"
#include "proto/permission.h"
#include "proto/tokens.h"
#include "proto/ws_upgrade.h"

#define CLIENT_ID_TEXT      36 /* of a UUID */
#define CLIENT_SESSION_TEXT 34

/* ---- subscriptions ---- */

enum client_sub_flag { /* struct sub.flags. Those of CLIENT_SUB_PLAIN leave the delivery as it is */
                       CLIENT_SUB_STREAM =
                           1, /* positioned: its position is kept, and a loss ends it */
                       CLIENT_SUB_RECOVERABLE = 2,
                       CLIENT_SUB_SERVER = 4,   /* server-side: the client has not asked for it */
                       CLIENT_SUB_PRESENCE = 8, /* it has been added to the channel's presence, */
                       CLIENT_SUB_TELL = 16,    /* which is told to others */
                       CLIENT_SUB_EXPIRES = 32,
                       CLIENT_SUB_DELTA = 64,     /* gets differences */
                       CLIENT_SUB_BASELESS = 128, /* but has nothing yet to which one could apply */
                       CLIENT_SUB_STARTING = 256, /* not answered yet: nothing is delivered */
                       CLIENT_SUB_FILTER = 512,   /* by tags */
                       CLIENT_SUB_LOST = 1024,    /* has missed something, and is being ended */
                       CLIENT_SUB_QUIET = 2048,   /* and that has been told */
                       CLIENT_SUB_TOKEN = 4096,   /* server-side, by the connection's token */
                       CLIENT_SUB_CONFLATE = 8192 /* while it lags, the newest suffice */
};
#define CLIENT_SUB_SPECIAL                                                                         \
    (CLIENT_SUB_STARTING | CLIENT_SUB_DELTA | CLIENT_SUB_FILTER | CLIENT_SUB_LOST |                \
     CLIENT_SUB_CONFLATE)

struct client_start { /* from the request for a subscription to its answer; pooled */
    uint32_t id;      /* of the command; 0: a server-side one */
    uint32_t ttl;     /* seconds; 0: does not expire */
    bool by_push;     /* told by a push */
    bool asked;       /* the client has asked for recovery, */
    bool strict;      /* or for an error where that is impossible */
    bool recover;     /* what was missed is to be fetched, as since says */
    bool recovered;
    struct recover since;
    struct position at;    /* what the answer says */
    struct buf data;       /* owned; of the token, raw */
    struct buf missed;     /* owned; the publications it had missed, as cf_items has them */
    struct cf_items items; /* of missed, which has */
    bool any;              /* any, */
    bool chained;          /* and the newest of the channel's: the next may build on it */
};

struct client_sub { /* pooled */
    struct sub sub;
    struct conn *conn;            /* borrowed */
    struct list link;             /* in client.subs */
    struct position at;           /* STREAM: of the last publication it knows */
    struct client_start *start;   /* owned; NULL when it has been answered */
    struct client_sub_more *more; /* owned; NULL: neither */
    uint32_t expire;              /* EXPIRES: client_tick_in() */
};
struct client_sub_more {        /* malloc'ed */
    struct tags_filter *filter; /* owned; NULL: none */
    size_t info_len;
    char info[]; /* chan_info, raw */
};

enum { /* codes of an unsubscribe push; from 2500 on the client subscribes again */
       UNSUBSCRIBED_BY_SERVER = 2000,
       UNSUBSCRIBED_INSUFFICIENT_STATE = 2500,
       UNSUBSCRIBED_EXPIRED = 2501
};

/* ---- clients ---- */

enum client_wire {                  /* how messages are set apart */
                   WIRE_FRAMES = 0, /* WebSocket's */
                   WIRE_LINES,      /* of one response; Protobuf: by their lengths */
                   WIRE_EVENTS,     /* of one response: server-sent events */
                   WIRE_NR
};
enum client_form { /* in which a publication goes out */
                   AS_IT_IS = 0,
                   AS_DIFFERENCE,
                   AS_FIRST, /* the batch's first stands for itself, the others are differences */
                   AS_BASE   /* all stand for themselves, in the form that differences apply to */
};
enum client_state {
    CLIENT_NEW = 0,    /* has not connected */
    CLIENT_CONNECTING, /* its connect waits */
    CLIENT_REFUSED,    /* its connect was answered with an error: nothing more is */
    CLIENT_CONNECTED
};
enum client_waits { /* what for */
                    WAITS_NOT = 0,
                    WAITS_TOKEN,
                    WAITS_CONNECT,   /* the hub: user, server-side subscriptions */
                    WAITS_SUBSCRIBE, /* the hub, or what was missed */
                    WAITS_ANSWER,    /* the hub's, to a question */
                    WAITS_PUBLISHED, /* publications on their way */
                    WAITS_ROOM       /* in the ring to the hub */
};

struct client_published { /* pooled; a publication that is not answered */
    struct list link;
    uint32_t id;
    bool answered;
    uint64_t from;          /* in the ring to the hub: not behind it */
    uint64_t position;      /* likewise: behind it */
    uint16_t status;        /* enum engine_status, unless */
    uint16_t error;         /* it was refused: enum cf_error_code */
    struct client_sub *sub; /* borrowed; where it will come back. NULL: nowhere */
};

struct client_work {       /* pooled; while there is something unfinished */
    struct list link;      /* in the list of those that go on; of no list: waits */
    struct list all;       /* in the list of all */
    struct client *client; /* borrowed; owns this */
    struct waiter room;
    enum client_waits waits;
    struct buf input;  /* owned; pieces of commands, each behind its length */
    size_t begin, end; /* of the command that waits, in the first of them */
    size_t need;       /* WAITS_ROOM: bytes */
    struct token_ask *ask;
    struct list published; /* struct client_published */
    unsigned npublished;
    unsigned left;         /* WAITS_CONNECT: what has not come */
    uint32_t id;           /* WAITS_CONNECT, WAITS_ANSWER: of the command */
    uint32_t ttl;          /* WAITS_CONNECT: seconds; 0: does not expire */
    struct position since; /* WAITS_ANSWER: of a history */
    uint64_t position;     /* WAITS_ANSWER: in the ring to the hub, behind the question */
    uint32_t overdue;      /* the tick when that is given up, as its hub is gone; 0: it is not */
    /* WAITS_ANSWER: a reply that is written while its parts come */
    struct buf out;
    struct cf_items items;
    bool failed;
};

struct client {               /* pooled */
    struct conn *conn;        /* borrowed; owns this */
    struct list by_user;      /* in the user's clients */
    struct client_user *user; /* shared by its clients; NULL: it is not known yet */
    struct list subs;
    struct client_work *work;        /* owned; NULL: nothing is unfinished */
    struct client_text *info;        /* owned; conn_info, raw JSON; NULL: none */
    uint64_t commands, publications; /* when what it has sent would be due, at its rates; ns */
    uint64_t connected; /* its stamp, see single.c; 0: others of its user may be beside it */
    uint8_t id[16];
    uint16_t nsubs, nserver; /* subscriptions: the client's own, server-side ones */
    uint8_t state;           /* enum client_state */
    uint8_t encoding;        /* enum cf_encoding */
    uint8_t wire;            /* enum client_wire */
    bool pinged : 1;         /* a ping is out */
    bool frame_pings : 1;    /* WebSocket's own pings instead */
    bool listens : 1;        /* unidirectional: pushes alone, and nothing is awaited from it */
    bool counted : 1;        /* broker_user_connect() */
    bool lost : 1;           /* some subscription is LOST */
    uint32_t ping;           /* tick of the last ping; NEW: of the beginning */
    uint32_t expire;         /* client_tick_in(); 0: never */
    uint32_t look; /* tick of the next look at subscriptions that expire; 0: there is none */
};
struct client_text { /* malloc'ed */
    size_t len;
    char p[];
};

struct client_area { /* in the connection's session area */
    struct ws_session ws;
    struct client *client; /* owned */
};
_Static_assert(sizeof(struct client_area) <= CONN_SESSION_SIZE, "client_area must fit");

static inline struct client *client_of(struct conn *c)
{
    return ((struct client_area *)conn_session(c))->client;
}
static inline struct client_sub *client_sub_of(struct sub *s)
{
    return CONTAINER_OF(s, struct client_sub, sub);
}

/* open.c */
extern const struct session_ops centrifuge_session_ops;
/* Who its certificate, or a proxy in front, says that it is. -1: no memory. */
int client_identify_by_peer(struct client *cl, const struct conn *c,
                            const struct http_request *r) MUST_CHECK;

/* stream.c, emulation.c */
void stream_register(void);
void emulation_register(void);

/* wire.c */
/* The variant of batches that it gets. */
uint8_t client_variant(const struct client *cl, enum client_form form);
/* Sends messages, as reply.c joins them. -1: it has ended. */
int wire_send(struct client *cl, struct str messages) MUST_CHECK;

/* client.c */
struct client *client_new(struct conn *c, enum cf_encoding e) MUST_CHECK;
/* Gives everything back. Nulls *cl; safe on NULL. */
void client_free(struct client **cl);
/* Can somebody be called that? Not, where it is too long: CLOSE_CF_INFO_TOO_LONG. */
bool client_may_be(struct str user, struct str info);
/* -1: no memory. */
int client_identify(struct client *cl, struct str user, struct str info) MUST_CHECK;
struct str client_user(const struct client *cl);
struct str client_conn_info(const struct client *cl);
void client_id_text(const struct client *cl, char out[CLIENT_ID_TEXT]);
/* The one with that connection, unless it is gone. */
struct client *client_find(uint64_t conn_id);
/* Calls visit for each client of that user, also for those that are ending. visit may end it. */
void client_each_of(struct str user, void (*visit)(struct client *cl, void *arg), void *arg);
/* A text that leads to the client, and that nobody can guess. */
void client_session_text(const struct client *cl, char out[CLIENT_SESSION_TEXT + 1]);
/* NULL: there is none in this worker. */
struct client *client_of_session(struct str session);
/* Which worker has it, if there is one. -1: it is no such text. */
int client_session_worker(struct str session, unsigned *worker) MUST_CHECK;
/* The node's uid, by which requests of /emulation find it. Static. */
struct str client_node(void);
/* Its user has one connection less: at once, as its close handshake may take long and the user may be on the way
 * back. */
void client_leave_count(struct client *cl);
/* What it has been answered before goes first. */
void client_end(struct client *cl, enum close_reason why);
/* The same in the words of the server API. */
void client_end_as(struct client *cl, uint16_t code, struct str text);
/* Seconds since 1970. */
static inline int64_t client_now(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_SEC);
}
/* What expires goes by ticks of clock_ns(): it does so, too, while this process stands still. */
uint32_t client_tick_now(void);
/* Seconds as such ticks from now, bounded. */
uint32_t client_tick_in(int64_t seconds);
static inline bool client_ended(const struct client *cl)
{
    return cl->conn->state != CONN_OPEN;
}
/* Does it say what it has to say in requests of their own (emulation.c)? */
static inline bool client_emulates(const struct client *cl)
{
    return cl->wire != WIRE_FRAMES && !cl->listens;
}

/* control.c */
void centrifuge_control(unsigned from, struct str data);

/* single.c */
/* It takes a stamp, if its user may have but one connection. */
void single_connected(struct client *cl);
/* If it has one, those end that connected before, on whatever worker and node. It ends itself where that cannot be
 * said. */
void single_close_earlier(struct client *cl);
/* Any control message that has come, as it is and not empty: a stamp that is in it is known from now on. */
void single_heard(struct str data);
/* What control.c does with the orders of other clients: each of its user's is given to one of the first two, then
 * comes the last, to which other orders are nothing. */
void single_disconnect_earlier(struct client *cl, const struct control *o);
void single_stamp(struct client *cl, const struct control *o);
void single_end(const struct control *o);

/* reply.c: replies of one input are collected between these two. */
void reply_begin(struct client *cl);
void reply_end(struct client *cl);
/* What has been collected for it goes. */
void reply_flush(struct client *cl);
void reply_send(struct client *cl, const struct cf_reply *r);
void reply_error(struct client *cl, uint32_t id, enum cf_error_code code);
/* A reply that is encoded, without what stands between two. */
void reply_raw(struct client *cl, struct str encoded);
/* {} or an empty message. */
void reply_ping(struct client *cl);

/* dispatch.c */
enum client_did {          /* what a command has come to */
                  DID = 0, /* it is answered (or the client has ended) */
                  WAITS,   /* it will be: client_answered() */
                  AGAIN /* it has not begun, and is to be read again when it can: client_wait() */
};
/* One more at so many a second, of which a second's worth may come at once; *due: the rate's own.
 * False: it is refused, which the client has been told, or has ended for. */
bool client_paced(struct client *cl, uint32_t id, uint64_t *due, double rate) MUST_CHECK;
/* Bytes of a client's message, or of a request that stands for one. */
static inline size_t client_message_max(void)
{
    return (size_t)MIN(config.message_size_limit, config.max_message_size);
}
/* A piece of input: a frame of commands. */
void client_input(struct client *cl, struct str frame);
/* The same for when it goes on. -1: no memory, and it has ended. */
int client_keep(struct client *cl, struct str frame) MUST_CHECK;
/* The client waits; the command then says WAITS, or AGAIN if it is to be begun anew. -1: no memory,
 * and it has ended. */
int client_wait(struct client *cl, enum client_waits why) MUST_CHECK;
/* The command that waits is answered: those behind it go on, in a task. */
void client_answered(struct client *cl);
/* The command that waits can be tried again, in a task. */
void client_again(struct client *cl);
/* The command that waits, read again: borrowed until the next call. -1: no memory. */
int client_current(struct client *cl, struct cf_command *out) MUST_CHECK;
/* Waits for so many bytes in the ring to the hub. */
enum client_did client_wait_room(struct client *cl, size_t bytes);
/* What is unfinished; made when there is none. NULL: no memory, and the client has ended. */
struct client_work *client_work(struct client *cl) MUST_CHECK;
/* As sink_ops.unanswered(). */
void client_unanswered(uint64_t position);
void client_work_free(struct client *cl);
/* The task will look at it. */
void client_go_on(struct client_work *w);

/* The commands. */
enum client_did connect_begin(struct client *cl, const struct cf_command *c);
enum client_did subscribe_begin(struct client *cl, const struct cf_command *c);
enum client_did unsubscribe_do(struct client *cl, const struct cf_command *c);
enum client_did publish_begin(struct client *cl, const struct cf_command *c);
enum client_did presence_begin(struct client *cl, const struct cf_command *c);
enum client_did presence_stats_begin(struct client *cl, const struct cf_command *c);
enum client_did history_begin(struct client *cl, const struct cf_command *c);
enum client_did refresh_begin(struct client *cl, const struct cf_command *c);
enum client_did sub_refresh_begin(struct client *cl, const struct cf_command *c);

/* connect.c */
/* A server-side subscription cannot be had now: the client is to try again. */
void connect_refused(struct client *cl);
void connect_user_answered(struct client *cl, uint16_t status);
/* One of the things that a connect waits for has come. */
void connect_arrived(struct client *cl);

/* server_subs.c: begins them; work.left counts those that have not come. A Centrifuge error code: the
 * connect is refused. -1: the client is to end, *why. */
int server_subs_begin(struct client *cl, const struct cf_connect_request *r,
                      const struct token_connection *t, enum close_reason *why) MUST_CHECK;

/* publish.c */
/* An error, in its place among the answers. */
void publish_refuse(struct client *cl, uint32_t id, enum cf_error_code code);
void publish_answered(struct client *cl, const struct record *r);
/* What was written before the position is not answered any more. */
void publish_unanswered(struct client *cl, uint64_t position);
/* Answers those that can be; false: one is still being delivered. */
bool publish_settle(struct client *cl);
/* The subscription goes. */
void publish_forget(struct client *cl, const struct client_sub *sub);
void publish_drop(struct client_work *w);

/* presence.c. -1: no memory, or more than a record can hold. */
int sub_info_write(struct client *cl, const struct client_sub *cs, struct buf *out) MUST_CHECK;
/* The client is in the channel, if that has presence, and this is its info. flags: 0 or PRESENCE_AGAIN.
 * These return CLOSE_NONE, or what the client is to end with. */
enum close_reason presence_enter(struct client *cl, const struct client_sub *cs,
                                 struct str conn_info, uint8_t flags) MUST_CHECK;
/* This becomes its info, unless it is nothing, and is told in all its channels. */
enum close_reason presence_change(struct client *cl, struct str conn_info) MUST_CHECK;
/* The same of one subscription's; here nothing is one, too. */
enum close_reason presence_change_sub(struct client *cl, struct client_sub *cs,
                                      struct str chan_info) MUST_CHECK;
/* It leaves; before broker_unsubscribe(). */
void presence_leave(struct client *cl, const struct client_sub *cs);
/* A broker_sink_ops.presence. */
int centrifuge_presence(struct sub *s, struct buf *out, bool *tell);

/* query.c */
void query_answered(struct client *cl, const struct record *r);
/* The question that stands before the position may have gone with a hub: it has hub_timeout from now on. */
void query_unanswered(struct client *cl, uint64_t position);

/* subs.c */
struct client_sub *sub_find(const struct client *cl, struct str channel);
struct sub_wish { /* what a subscription shall be like */
    struct str channel;
    const struct cf_subscribe_request *request; /* NULL: the server's own wish */
    const struct token_options *options;        /* NULL: none */
    int64_t expire_at;                          /* 0: never */
    uint32_t id;
    bool server;  /* server-side, */
    bool token;   /* by the connection's token */
    bool by_push; /* told by a push, not by an answer */
};
/* Begins it: sub.start is set until it has been answered, which may be so already.
 * 0, a Centrifuge error code, or -1: the client has ended. */
int sub_begin(struct client *cl, const struct sub_wish *w) MUST_CHECK;
/* Unsubscribes and gives back; not from within a broker upcall. */
void sub_free(struct client *cl, struct client_sub *cs);
/* The same, told to the client by a push. */
void sub_end(struct client *cl, struct client_sub *cs, uint32_t code, struct str reason);
/* One that has not been answered yet: a client that has asked for it is told an error, which says as the code of an
 * unsubscribe push does whether it may ask again; others nothing. */
void sub_cancel(struct client *cl, struct client_sub *cs, uint32_t code);
/* It has been answered: it takes part, and is delivered to. */
void sub_started(struct client *cl, struct client_sub *cs);
/* Fills in the answer; views into cs and text. -1: no memory, and the client has ended. */
struct sub_answer {
    char epoch[16];
};
int sub_result(struct client_sub *cs, struct sub_answer *text,
               struct cf_subscribe_result *out) MUST_CHECK;

/* What it needs to begin has come: it is answered, or its client's connect may be. */
void sub_arrived(struct client_sub *cs);
/* It cannot go on, which is found inside of a broker upcall: nothing more is delivered, and the
 * task ends it. told: the client knows. */
void sub_lose(struct client_sub *cs, bool told);
/* Ends those. */
void subs_end_lost(struct client *cl);

/* deliver.c */
void centrifuge_subscribed(struct sub *s, struct position at);
bool centrifuge_refused(struct sub *s, uint16_t status);
void centrifuge_deliver(struct sub *s, struct batch *b);
/* Is that publication for it, by its filter and by who is left out? */
bool client_sub_wants(const struct client_sub *cs, const struct batch *b, uint32_t i);
/* Those of the batch that are, from the first on. */
void deliver_some(struct client_sub *cs, const struct batch *b, unsigned variant, uint32_t first);
void centrifuge_lost(struct sub *s, struct position to);
void centrifuge_restarted(struct sub *s, struct position at);
void centrifuge_recovered(struct sub *s, const struct recovery *r);

/* recover.c */
/* A batch came for one that is not answered yet. */
void starting_keep(struct client_sub *cs, const struct batch *b, uint32_t first);
/* It has lost what it knew, and begins at `to`. */
void starting_lost(struct client_sub *cs, struct position to);
/* What is missed is complete. -1: no memory. */
int starting_end(struct client_sub *cs) MUST_CHECK;

/* deadlines.c */
uint64_t centrifuge_deadline(struct conn *c);
/* A subscription expires. */
void deadlines_look(struct client *cl);
/* What it has asked may have gone with a hub: the tick at which it is given up. */
uint32_t deadlines_unanswered(struct client *cl);
/* client.expire has been set. */
void deadlines_changed(struct client *cl);
/* It has connected: pings begin. */
void deadlines_begin(struct client *cl);
/* It has said {}. */
void deadlines_pong(struct client *cl);

/* encode.c */
void encode_register(void);

#endif
