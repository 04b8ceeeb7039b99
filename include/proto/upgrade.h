/* proto/upgrade.h - the checks of a WebSocket handshake, RFC 6455 §4.2.1, and its answer. */
#ifndef ROOST_PROTO_UPGRADE_H
#define ROOST_PROTO_UPGRADE_H

#include "codec/http.h"
#include "codec/ws_deflate.h"
#include "codec/ws_tx.h"

struct upgrade {
    char accept[WS_ACCEPT_LEN];
    char subprotocol[64]; /* chosen, "" = none */
    struct ws_deflate deflate;
};

/* Is this an upgrade request in good order? 0, or -1 with *why: UPGRADE_REQUIRED (no upgrade asked:
 * 426), UPGRADE_VERSION (426), UPGRADE_KEY, UPGRADE_HEADER (400), BAD_METHOD, BAD_ORIGIN (403).
 * Malformed offers (Sec-WebSocket-Protocol with a name twice, Sec-WebSocket-Extensions not
 * of the grammar) are UPGRADE_HEADER.
 * Picks the first offered subprotocol that the list `subprotocols` (as a setting) has, and the first
 * offer of permessage-deflate that is in order, if config.compression allows. */
int upgrade_check(const struct http_request *r, const char *subprotocols, struct upgrade *out,
                  enum close_reason *why) MUST_CHECK;
/* Appends the 101 response. -1: no memory. */
int upgrade_response(const struct upgrade *u, struct buf *out) MUST_CHECK;
/* Is origin a page of that very host and port? */
bool upgrade_origin_same(struct str origin, struct str host);
/* config.allowed_origins against an Origin and a Host; the rule is in config.def. */
bool upgrade_origin_allowed(struct str origin, struct str host);

#endif
