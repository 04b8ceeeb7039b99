/* net/tls_server.c - TLS on accepted connections. */
#include "net_internal.h"

struct conn *tls_accept(int fd UNUSED, const struct conn_ops *ops UNUSED,
                        const struct sockaddr *peer UNUSED, unsigned flags UNUSED,
                        enum conn_state first UNUSED)
{
    return NULL;
}
