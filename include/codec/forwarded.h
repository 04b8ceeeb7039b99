/* codec/forwarded.h - who a proxy says that it asks for: X-Forwarded-For, and Forwarded (RFC 7239).
 *
 * Each proxy appends the address it was asked from, so only the end of the list is what our own
 * proxies have written: what a client made up stands left of its own address. The walk goes from
 * the right over the addresses of trusted proxies to the first that is not one: the client's. An
 * entry that is no address ("unknown", "_hidden") ends it: the trusted one behind it is what is
 * known. */
#ifndef ROOST_CODEC_FORWARDED_H
#define ROOST_CODEC_FORWARDED_H

#include "base/network.h"
#include "codec/http.h"

enum forwarded_field { FORWARDED_X_FORWARDED_FOR = 0, FORWARDED_RFC_7239, FORWARDED_NR };

struct forwarded_client {
    uint8_t address[16];
    uint16_t port; /* 0: not said */
};

/* Does r have that field? */
bool forwarded_said(const struct http_request *r, enum forwarded_field field);
/* The client, as far as it is known; all fields of that name are one list. Only for a request from
 * a trusted proxy.
 *   >0  *out is set
 *    0  nobody is named
 *   <0  the field is malformed (RFC 7239): where an element ends is not sure, and so not who wrote
 *       it */
int forwarded_client(const struct http_request *r, enum forwarded_field field,
                     const struct networks *trusted, struct forwarded_client *out) MUST_CHECK;

#endif
