/* proto/plain.h - the plain protocol: the path names the channel, a frame is a publication.
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
 * known one with a bad value is BAD_QUERY. */
#ifndef ROOST_PROTO_PLAIN_H
#define ROOST_PROTO_PLAIN_H

#include "net/conn.h"

/* Registers /ws and /ws/ with the HTTP server (both listeners; the admin one needs the key), the
 * batch encoder for several channels, and the pools. */
void plain_init(void);
bool plain_is(const struct conn *c);

#endif
