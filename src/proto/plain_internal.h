/* proto/plain_internal.h - what the files of the plain protocol share.
 *
 * plain_query.c reads what the request asks for · plain_open.c subscribes and answers 101 · plain.c
 * is the open session: publishing, delivering, settling · plain_envelope.c encodes and reads the
 * query form's messages. */
#ifndef ROOST_PROTO_PLAIN_INTERNAL_H
#define ROOST_PROTO_PLAIN_INTERNAL_H

#include "core/channel_name.h"
#include "net/reactor.h"
#include "net/ws.h"
#include "proto/http.h"
#include "proto/plain.h"
#include "proto/session.h"
#include "proto/upgrade.h"

enum plain_mode { PLAIN_BOTH = 0, PLAIN_SUB, PLAIN_PUB };

#define PLAIN_CHANNELS_MAX 1024 /* the greatest max_channels_per_connection */
#define PLAIN_INDEX_SLOTS  (2 * PLAIN_CHANNELS_MAX)

/* What a request asks for. Names stand packed: a byte with the length, the bytes. Too large for a
 * stack; what is not used is not touched. */
struct plain_query {
    enum plain_mode mode;
    bool quiet;    /* echo=0 */
    bool envelope; /* the query form */
    unsigned n;    /* names, each once */
    size_t bytes;
    char names[PLAIN_CHANNELS_MAX * (1 + CHANNEL_NAME_MAX)];
    uint32_t index[PLAIN_INDEX_SLOTS]; /* of many names: by hash, the place in names + 1 */
};

/* channel: the decoded name of the path form, p == NULL for the query form. query: raw, may be
 * NULL. -1: *why (BAD_CHANNEL, BAD_QUERY, TOO_MANY_CHANNELS). */
int plain_query_parse(struct str channel, struct str query, struct plain_query *out,
                      enum close_reason *why) MUST_CHECK;
/* Next of packed names; false at the end. */
bool plain_name_next(struct str *rest, struct str *name);
bool plain_name_in(struct str packed, struct str name);

enum plain_sub_flag { /* struct sub.flags; the index in the set stands above; 0: one channel, with
                         echo */
                      PLAIN_SUB_IN_SET = 1,
                      PLAIN_SUB_QUIET = 2
};
#define PLAIN_SUB_INDEX_SHIFT 2

struct plain_set {     /* malloc'ed, as its size varies; for more than one channel */
    struct conn *conn; /* borrowed; owns this */
    uint32_t n;
    struct sub subs[];
};

struct plain_names { /* malloc'ed; of a session that publishes without being subscribed */
    size_t bytes;
    char packed[];
};

struct plain_wait {   /* pooled; while an upgrade waits, early input is left, or a close settles */
    struct list link; /* in the list of those to be opened, or of those that settle */
    struct waiter waiter; /* for room for early input */
    struct conn *conn;    /* borrowed; owns this */
    unsigned want, live;  /* subscriptions asked for and confirmed */
    struct upgrade upgrade;
    struct buf early; /* owned; what came behind the request head */
};

struct plain_session { /* in the connection's session area */
    union {
        struct sub one;            /* neither of the others */
        struct plain_set *set;     /* owned; has_set */
        struct plain_names *names; /* owned; mode PLAIN_PUB */
    };
    struct plain_wait *wait; /* owned, or NULL */
    uint8_t mode;            /* enum plain_mode */
    bool has_set;
    bool quiet, envelope;
    bool published; /* has sent a publication, which may still be on its way back */
};
_Static_assert(sizeof(struct plain_session) <= CONN_SESSION_SIZE, "plain_session must fit");

static inline struct plain_session *plain_session(struct conn *c)
{
    return conn_session(c);
}
static inline struct conn *plain_conn(struct sub *s)
{
    if (s->flags & PLAIN_SUB_IN_SET)
        return CONTAINER_OF(s - (s->flags >> PLAIN_SUB_INDEX_SHIFT), struct plain_set, subs)->conn;
    return conn_of_session(CONTAINER_OF(s, struct plain_session, one));
}

/* All subscriptions of a session (mode PLAIN_PUB has none): *n of them. */
struct sub *plain_subs(struct plain_session *ps, size_t *n);

/* plain_open.c */
void plain_open_init(void);
/* The hub has confirmed one more. */
void plain_open_subscribed(struct conn *c);
/* NULL: no memory. */
struct plain_wait *plain_wait_new(struct conn *c) MUST_CHECK;
void plain_wait_free(struct plain_session *ps);
extern const struct conn_ops plain_waiting_ops; /* until the 101 */

/* plain.c */
extern const struct conn_ops plain_open_ops; /* after it */
/* Gives everything back: subscriptions, set, wait. Not from within a broker upcall. */
void plain_release(struct conn *c);

/* plain_envelope.c */
/* A batch_encoder. */
int plain_envelope_encode(const struct batch *b, uint32_t item, struct batch_part *part, size_t max,
                          struct buf *out) MUST_CHECK;
struct plain_message {
    struct str channel, data; /* borrowed from the input or from text */
    uint8_t flags;            /* enum record_flags */
};
/* Reads a message of the query form. text: room for what must be unescaped (zeroed; the caller's
 * buf_fini()). -1: it is none (or no memory). */
int plain_envelope_read(enum ws_item_kind kind, struct str in, struct buf *text,
                        struct plain_message *out) MUST_CHECK;

#endif
