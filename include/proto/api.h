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

#include "core/engine_nodes.h"

/* Registers the resources. nodes: fills in this node and then the others, at most max; how many. */
void api_init(unsigned (*nodes)(struct engine_node *out, unsigned max));

#endif
