/* adapter.h - what a server's messages look like. One file per protocol (adapter_*.c); nothing
 * else knows. */
#ifndef ROOSTLOAD_ADAPTER_H
#define ROOSTLOAD_ADAPTER_H

#include "base/buf.h"
#include "base/str.h"

enum adapter_event {
    ADAPTER_NOTHING = 0, /* nothing to count */
    ADAPTER_READY,       /* connected and subscribed */
    ADAPTER_MESSAGE,     /* *payload is a publication */
    ADAPTER_REPLY,       /* answer with what was appended to *reply, as one frame */
    ADAPTER_MORE,        /* stream: *rest, not empty, is the beginning of a message */
    ADAPTER_REFUSED      /* the server refused the connection or the subscription */
};

struct adapter {
    const char *name;
    const char *default_path; /* used when the URL has no path */
    const char *subprotocol;  /* offered unless --subprotocol says otherwise; "" = none */
    bool binary;              /* sends binary frames instead of text */
    bool stream;              /* messages may go over the end of a frame: ADAPTER_MORE */
    bool ready_at_upgrade;    /* the 101 response means subscribed */
    /* Appends the first frame's payload after the 101 response. NULL: none. -1: no memory. */
    int (*hello)(struct str channel, struct buf *out);
    /* Looks at one message; may be called again with *rest until it is empty (several messages in a
     * frame). *payload is borrowed from the frame. */
    enum adapter_event (*receive)(struct str *rest, struct str *payload, struct buf *reply);
    /* Appends the frame's payload that publishes `payload`. NULL: the payload is the frame.
     * -1: no memory. */
    int (*publish)(struct str channel, struct str payload, struct buf *out);
};

extern const struct adapter adapter_raw, adapter_centrifuge, adapter_mqtt, adapter_nats;
/* NULL: no such adapter. */
const struct adapter *adapter_find(struct str name);

#endif
