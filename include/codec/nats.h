/* codec/nats.h - the protocol between a NATS server and its clients: commands out, what it says in.
 *
 * https://docs.nats.io/reference/reference-protocols/nats-protocol. Lines end with CR LF; what follows a line of
 * MSG or HMSG is counted. Nothing that a name holds can end a line or mean more than a name:
 * nats_escape() makes one token of it, and the writers refuse what is no subject. */
#ifndef ROOST_CODEC_NATS_H
#define ROOST_CODEC_NATS_H

#include "base/buf.h"
#include "base/str.h"

#define NATS_LINE_MAX    65536 /* bytes; the longest is INFO's, which names all servers */
#define NATS_PAYLOAD_MAX (64u << 20)
/* Bytes that a name may become at most. */
#define NATS_ESCAPED(n) ((n)*3 + 1)

enum nats_op { NATS_INFO = 0, NATS_MSG, NATS_PING, NATS_PONG, NATS_OK, NATS_ERR };

struct nats_item { /* views into what was scanned */
    enum nats_op op;
    struct str text; /* INFO: JSON; ERR: a sentence, without its quotes */
    struct str subject, sid, reply, headers, payload; /* MSG; HMSG is one with headers */
};

struct nats_scan { /* zeroed: at the beginning of an item */
    size_t at;     /* bytes of the line looked at */
    size_t bytes;  /* of the whole item; 0: not known yet */
};

/* Looks for the end of the item at the front of `in`, which begins with the same byte as in the
 * call before and has only grown. > 0: the item's bytes, and *s is zeroed for the next one; 0: more
 * is needed; -1: this is not what a server says, or beyond the limits. */
ssize_t nats_scan(struct nats_scan *s, struct str in, struct nats_item *out) MUST_CHECK;

struct nats_info { /* of INFO; the first and later ones, in which only some may stand */
    uint64_t max_payload;
    bool tls_required, auth_required;
    bool lame_duck; /* it is going down; connect to another one */
    struct str name;
    struct str urls; /* what nats_next_url() takes from */
};
/* -1: not an object, or its members are not what they should be. Views into json. */
int nats_read_info(struct str json, struct nats_info *out) MUST_CHECK;
/* "host:port" of another server, appended to out. False: there is none, or no memory. */
bool nats_next_url(struct str *urls, struct buf *out);

struct nats_connect {
    const char *user, *password, *token; /* "": none */
    const char *name;
    bool tls;
};

/* Writers append a command. -1: no memory, or the subject is none; out is unchanged then. */
int nats_write_connect(struct buf *out, const struct nats_connect *c) MUST_CHECK;
int nats_write_pub(struct buf *out, struct str subject, struct str payload) MUST_CHECK;
int nats_write_sub(struct buf *out, struct str subject, uint64_t sid) MUST_CHECK;
int nats_write_unsub(struct buf *out, uint64_t sid) MUST_CHECK;
int nats_write_ping(struct buf *out) MUST_CHECK;
int nats_write_pong(struct buf *out) MUST_CHECK;

/* One to so many tokens, none of them empty or a wildcard, no space, no control character. */
bool nats_subject_valid(struct str subject);
/* Appends the token that stands for these bytes: letters, digits, '_' and '-' as they are, any other byte as
 * '=' and two digits; for no bytes at all '='. -1: no memory. */
int nats_escape(struct buf *out, struct str bytes) MUST_CHECK;
/* The other way. -1: no token that nats_escape() makes, or no memory. */
int nats_unescape(struct buf *out, struct str token) MUST_CHECK;

#endif
