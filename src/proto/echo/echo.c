/* proto/echo/echo.c - the echo protocol: each message goes back to its sender as it is.
 *
 * Nothing is published and the hub is not asked, so this is what a connection alone does: for
 * conformance suites, for benches, and as the smallest example of a protocol. Whoever does not read
 * the answers is not read either (CONN_HOLD_OUTPUT). */
#include "base/config.h"
#include "proto/session.h"
#include "proto/ws_upgrade.h"

static void echo_message(struct conn *c, struct str data, bool binary)
{
    (void)!session_send(c, data, binary); /* else it has ended */
}

const struct session_ops echo_session_ops = {
    .sink = {.answered = session_answered},
    .message = echo_message,
};

static void echo_handle(struct http_exchange *x)
{
    struct upgrade checked;
    enum close_reason why;

    if (upgrade_check(x->request, config.subprotocols, &checked, &why) == -1)
        http_refuse(x, why);
    else
        (void)!ws_upgrade_take(x, &checked, SESSION_ECHO, 0); /* else it has been refused */
}

static bool echo_enabled(void)
{
    return config.echo;
}

static const struct http_resource echo_resources[] = {
    {.path = "/echo",
     .where = HTTP_ON_CLIENT | HTTP_ON_ADMIN,
     .methods = 1u << HTTP_GET,
     .needs_key = true,
     .client_open = true,
     .handshake = true,
     .handle = echo_handle,
     .enabled = echo_enabled},
};

void echo_init(void)
{
    http_register(echo_resources, ARRAY_LEN(echo_resources));
}
