#include "net/client.h"

#include "base/config.h"
#include "net_internal.h"

bool client_is_proxy(const uint8_t address[16])
{
    static const uint8_t of_unix_socket[16];

    if (memcmp(address, of_unix_socket, 16) == 0)
        return config.trusted.unix_peers;
    return networks_have(&config.trusted, address);
}

void client_gone(struct conn *c, const uint8_t address[16], uint16_t port)
{
    if (c->flags & CONN_COUNTED)
        admission_leave(c->address, conn_listener_index(c));
    c->flags &= (uint16_t)~CONN_COUNTED;
    memcpy(c->address, address, sizeof(c->address));
    c->port = port;
}

enum close_reason client_named(struct conn *c, const uint8_t address[16], uint16_t port)
{
    enum close_reason why = CLOSE_NONE;

    client_gone(c, address, port);
    if ((c->flags & (CONN_ADMIN | CONN_REFUSED)) == 0)
        why = admission_client(c);
    return why;
}
