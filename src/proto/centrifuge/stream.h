/* proto/centrifuge/stream.h - what stream.c, emulation.c and open.c share: requests of pages that were
 * loaded from elsewhere (CORS), connects that are no commands, and ends that are pushes. */
#ifndef ROOST_PROTO_CENTRIFUGE_STREAM_H
#define ROOST_PROTO_CENTRIFUGE_STREAM_H

#include "client.h"
#include "proto/http.h"
#include "proto/upgrade.h"

/* By config.allowed_origins; what comes from no page has no Origin. */
bool stream_origin_allowed(const struct http_request *r);
/* Of a resource: what a browser wants to see in every answer, a refusal, too, before it shows the page any
 * of it (Fetch, 3.3). */
int stream_fields(const struct http_request *r, struct buf *out) MUST_CHECK;
/* Answers OPTIONS. */
void stream_preflight(struct http_exchange *x);

/* Sends a disconnect push: by a long response, and to who only listens, the end is told so before it
 * comes. Without memory for it, it is not. */
void client_say_end(struct client *cl, uint16_t code, struct str text);
/* A unidirectional client whose WebSocket has just been opened. */
void listener_opened(struct conn *c);

/* The query's cf_connect, decoded; without it out stays empty. False: malformed, or no memory. */
bool client_commands_of_query(struct str query, struct buf *out) MUST_CHECK;
/* Makes a command of what a unidirectional client connects with; of nothing, too. -1: it is no JSON
 * object, or no memory. */
int client_connect_command(struct buf *text) MUST_CHECK;

#endif
