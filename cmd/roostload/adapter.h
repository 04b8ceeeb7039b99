/* adapter.h - what a server's messages look like. One file per protocol (adapter_*.c); nothing
 * else knows. */
#ifndef ROOSTLOAD_ADAPTER_H
#define ROOSTLOAD_ADAPTER_H

#include "options.h"

enum adapter_event {
    ADAPTER_NOTHING = 0, /* nothing to count */
    ADAPTER_READY,       /* connected and subscribed */
    ADAPTER_MESSAGE,     /* *payload is a publication */
    ADAPTER_HISTORY,     /* what was asked for once it was ready */
    ADAPTER_REPLY,       /* nothing to count, but there is an answer */
    ADAPTER_MORE,        /* stream: *rest, not empty, is the beginning of a message */
    ADAPTER_REFUSED      /* the server refused the connection or the subscription */
};

struct adapter_position { /* in a channel's stream, kept while a user is away */
    uint64_t offset;
    char epoch[32]; /* "": not known */
};

struct adapter_delta { /* kept as long as a user's connection */
    bool on;           /* the server agreed */
    struct buf before; /* owned; the publication before */
};

/* For whom a message is written or read. */
struct adapter_user {
    const struct options *o;
    struct str token_user;             /* borrowed; for hello() */
    struct adapter_position *position; /* borrowed; NULL: it recovers nothing */
    struct adapter_delta *delta;       /* borrowed; NULL: it asks for none */
    /* Of the frame that is being read; zeroed before. */
    struct str held;  /* private: publications of one message that are still to be reported */
    bool recovered;   /* the publication came by recovery */
    bool jumped;      /* and its offset does not follow the one before */
    bool was_delta;   /* and it came as a difference */
    bool unrecovered; /* the server could not bring what was missed */
    char refusal[96]; /* what it says when it refuses; "": nothing */
};

struct adapter {
    const char *name;
    int protocol;             /* of options.def, where the adapter has several */
    const char *default_path; /* used when the URL has no path */
    const char *subprotocol;  /* offered unless --subprotocol says otherwise; "" = none */
    bool binary;              /* sends binary frames instead of text */
    bool stream;              /* messages may go over the end of a frame: ADAPTER_MORE */
    bool ready_at_upgrade;    /* the 101 response means subscribed */
    /* Appends the first frame's payload after the 101 response. NULL: none. -1: no memory. */
    int (*hello)(const struct adapter_user *u, struct str channel, struct buf *out);
    /* Looks at one message; is called again until *rest and u->held are empty (several messages in a
     * frame). *payload is borrowed until the next call. What is appended to *reply is sent as one
     * frame. */
    enum adapter_event (*receive)(struct adapter_user *u, struct str *rest, struct str *payload,
                                  struct buf *reply);
    /* Appends what asks for u->o->history publications. NULL: there is no such thing. -1: no
     * memory. */
    int (*ask_history)(const struct adapter_user *u, struct str channel, struct buf *out);
    /* Appends the frame's payload that publishes `payload`. NULL: the payload is the frame.
     * -1: no memory. */
    int (*publish)(const struct adapter_user *u, struct str channel, struct str payload,
                   struct buf *out);
};

extern const struct adapter adapter_raw, adapter_centrifuge_json, adapter_centrifuge_protobuf,
    adapter_mqtt, adapter_nats;
/* NULL: no such adapter. */
const struct adapter *adapter_find(struct str name);
/* The one that the options mean; they have been checked. */
const struct adapter *adapter_of(const struct options *o);

#endif
