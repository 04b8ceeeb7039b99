/* proto/api/api.c - where the server API is asked: on the admin listener, and on the client listener
 * if config.api_on_client_listener. */
#include "proto/api.h"

#include "api_internal.h"
#include "base/config.h"
#include "base/metrics.h"
#include "proto/session.h"

const struct session_ops api_session_ops = {.sink = {.answered = api_answered}};

#define METHOD(NAME, name, changes, sentence)                                                      \
    static void handle_##name(struct http_exchange *x)                                             \
    {                                                                                              \
        api_handle(x, API_##NAME);                                                                 \
    }
#include "tbl/api.def"

static bool on_client_listener(void)
{
    return config.api_on_client_listener;
}

#define ROW(path_, on, is_on, method, handler, histogram)                                          \
    {                                                                                              \
        .path = path_, .where = HTTP_ON_##on, .methods = 1u << HTTP_##method, .needs_key = true,   \
        .json_refusals = true, .duration = histogram, .handle = handler, .enabled = is_on          \
    }
#define DURATION(name) offsetof(struct metrics, api_##name##_duration)
#define METHOD(NAME, name, changes, sentence)                                                      \
    ROW("/api/" #name, ADMIN, NULL, POST, handle_##name, DURATION(name)),                          \
        ROW("/api/" #name, CLIENT, on_client_listener, POST, handle_##name, DURATION(name)),

static const struct http_resource resources[] = {
#include "tbl/api.def"
    ROW("/api", ADMIN, NULL, POST, api_handle_legacy, DURATION(legacy)),
    ROW("/api", CLIENT, on_client_listener, POST, api_handle_legacy, DURATION(legacy)),
    ROW("/api/openapi.json", ADMIN, NULL, GET, api_openapi, 0),
    ROW("/api/openapi.json", CLIENT, on_client_listener, GET, api_openapi, 0),
};

void api_init(unsigned (*nodes)(struct engine_node *out, unsigned max))
{
    api_info_init(nodes);
    http_register(resources, ARRAY_LEN(resources));
}
