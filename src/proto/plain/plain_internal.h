/* proto/plain/plain_internal.h - the plain protocol: the path names the channel, a frame is a publication.
 *
 *   /ws/<channel>              one channel: every publication is one frame, unchanged
 *   /ws?channel=a&channel=b    the query form, one or more channels (repeated names count once)
 *
 * In the query form text is delivered as {"channel":"a","data":...}: data is the publication itself
 * when it is a JSON object or array or came by the server API, else its text as a JSON string.
 * Binary is delivered as one byte with the length of the name, the name, the payload. The client
 * publishes in the same two forms, to a channel it named; anything else closes with NOT_PERMITTED.
 *
 *   echo=0      not my own publications
 *   mode=sub    may not publish (1008)
 *   mode=pub    is not subscribed
 *
 * Unknown query parameters are ignored (proxies and libraries add their own), api_key among them; a
 * known one with a bad value is BAD_QUERY.
 *
 * plain_query.c reads what the request asks for, plain_open.c subscribes, plain.c is the session
 * (publishing, delivering, ending), plain_envelope.c encodes and reads the query form's messages.
 */
#ifndef ROOST_PROTO_PLAIN_INTERNAL_H
#define ROOST_PROTO_PLAIN_INTERNAL_H

#include "base/config.h"
#include "base/trace.h"
#include "core/channel_name.h"
#include "net/reactor.h"
#include "proto/session.h"
#include "proto/ws_upgrade.h"

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

struct plain_session { /* in the connection's session area */
    struct ws_session ws;
    union {
        struct sub one;            /* neither of the others */
        struct plain_set *set;     /* owned; has_set */
        struct plain_names *names; /* owned; mode PLAIN_PUB */
    };
    uint8_t mode; /* enum plain_mode */
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

/* Who asks on the admin listener may publish by the server API anyway; elsewhere, once permissions
 * are set, a plain client is an anonymous one. */
static inline bool plain_is_judged(const struct conn *c)
{
    return UNLIKELY(config.permissions) && (c->flags & CONN_ADMIN) == 0;
}

/* All subscriptions of a session (mode PLAIN_PUB has none): *n of them. */
struct sub *plain_subs(struct plain_session *ps, size_t *n);

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
int plain_envelope_read(bool binary, struct str in, struct buf *text,
                        struct plain_message *out) MUST_CHECK;

#endif
