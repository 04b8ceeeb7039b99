/* proto/api.h - the server API: POST /api/<method>, by tbl/api.def.
 *
 * Shapes as Centrifugo's HTTP API: HTTP 200 with {"result":{...}} or
 * {"error":{"code":N,"message":"..."}}; 400 with text when the body cannot be read as what the method
 * takes; 401 for a missing or wrong key; 503 when nothing was done, 504 when nobody knows (both
 * otherwise with config.api_error_mode). `data` passes through byte for byte; `b64data` becomes a
 * binary message. publish answers after the hub has ordered it; broadcast publishes in resumable
 * steps; large answers are written as they come. POST /api/batch has many commands, POST /api a
 * stream of {"method":...,"params":...}, GET /api/openapi.json describes all that. */
#ifndef ROOST_PROTO_API_H
#define ROOST_PROTO_API_H

#include "base/buf.h"

struct api_node { /* what /api/info says of this node; filled by proc */
    const char *name, *version;
    char uid[40];
    uint64_t num_clients, num_users, num_channels, num_subs, uptime_s, rss_bytes;
    double cpu; /* percent of one core since the last call */
};

/* Registers the resources. info fills *out from the shared metrics. */
void api_init(void (*info)(struct api_node *out));

#endif
