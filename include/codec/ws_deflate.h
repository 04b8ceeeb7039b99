/* codec/ws_deflate.h - agreeing on permessage-deflate (RFC 7692 §5 and §7.1), both sides.
 *
 * Neither side of ours keeps anything between messages, and each says so: a server may require both
 * no_context_takeover of whoever offers the extension at all (§7.1.1), a client may ask a server for
 * its own, and says of itself that it does the same. */
#ifndef ROOST_CODEC_WS_DEFLATE_H
#define ROOST_CODEC_WS_DEFLATE_H

#include "base/buf.h"

#define WS_DEFLATE_NAME STR_LIT("permessage-deflate")

struct ws_deflate { /* what is agreed on; zeroed: nothing */
    uint8_t window; /* bits of what the server writes, 8 to 15; 0: there is no compression */
    bool named;     /* the client has asked for that window, so it is answered */
};

/* The server's: takes the parameters of one offer, as they stand behind the name. False: it has to
 * be declined (§7.1: an unknown or repeated parameter, a value that is none); another may follow. */
bool ws_deflate_offered(struct str params, struct ws_deflate *out);
/* Appends the value of Sec-WebSocket-Extensions that accepts it. -1: no memory. */
int ws_deflate_answer(const struct ws_deflate *agreed, struct buf *out) MUST_CHECK;

/* The client's: what it offers, */
#define WS_DEFLATE_OFFER                                                                           \
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
/* and whether a server's answer is one to that. */
bool ws_deflate_answered(struct str value);

#endif
