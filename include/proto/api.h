/* proto/api.h - the server API: POST /api/publish, /api/broadcast, /api/channels, /api/info.
 *
 * Shapes as Centrifugo's HTTP API: HTTP 200 with {"result":{...}} or
 * {"error":{"code":N,"message":"..."}} (100 internal, 102 unknown channel, 107 bad request, 108 not
 * available); 400 with text when the body is not a JSON object; 401 for a missing or wrong key.
 * `data` passes through byte for byte; `b64data` becomes a binary message. publish answers after
 * the hub has ordered it. broadcast publishes in resumable steps. */
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
