/* net/connect.c - connections that are not open yet. Happy path of an outgoing one:
 *   1. a non-blocking connect(2)                    2. the socket is writable: the peer is there
 *   3. ops->connected(); with TLS, SECURING         4. the handshake, as the socket allows
 *   5. ops->secured(); state HTTP                   6. what was queued meanwhile is sent
 * One that was accepted begins with a header (PROXY), the handshake or at once: net/listener.c.
 * can fail: no socket (errno), nobody there or the handshake (CLOSE_PEER_GONE), its deadline. */
#include "net/connect.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/proxy.h"
#include "net/tls.h"
#include "net_internal.h"
#include "tcp.h"

static socklen_t address_len(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_UNIX)
        return sizeof(struct sockaddr_un);
    return sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* One local address then serves as many connections to each peer as there are ports. */
static int bind_source(int fd, const struct sockaddr *source)
{
    int one = 1;

    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) == -1)
        return -1;
    return bind(fd, source, address_len(source));
}

static int open_socket(const struct outgoing *to)
{
    int fd = socket(to->peer->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    int saved;

    if (fd == -1)
        return -1;
    if ((to->source == NULL || bind_source(fd, to->source) == 0) &&
        (to->peer->sa_family == AF_UNIX ||
         setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0) &&
        (connect(fd, to->peer, address_len(to->peer)) == 0 || errno == EINPROGRESS))
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

struct conn *reactor_connect(const struct outgoing *to, const struct conn_ops *ops)
{
    int fd = open_socket(to);
    struct conn *c;

    if (fd == -1)
        return NULL;
    if (to->tls != NULL)
        c = tls_connect(fd, to, ops);
    else
        c = conn_new(fd, ops, to->peer, 0, CONN_CONNECTING);
    if (c == NULL) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    tcp_watch(c);
    conn_update_events(c);
    return c;
}

/* Answers as struct transport_ops says. */
static int establish_peer(struct conn *c)
{
    const struct transport_ops *t = transport_of(c);
    int rc = t->connected(c);

    if (rc != 1)
        return rc;
    conn_set_state(c, t->secure != NULL ? CONN_SECURING : CONN_HTTP);
    if (conn_ops(c)->connected != NULL)
        conn_ops(c)->connected(c);
    return 1;
}

static int establish_keys(struct conn *c)
{
    int rc = transport_of(c)->secure(c);

    if (rc != 1)
        return rc;
    conn_set_state(c, CONN_HTTP);
    if (conn_ops(c)->secured != NULL)
        conn_ops(c)->secured(c);
    return 1;
}

void conn_establish(struct conn *c)
{
    int rc = 1;

    if (c->state == CONN_CONNECTING)
        rc = establish_peer(c);
    if (c->state == CONN_PROXY) {
        rc = proxy_receive(c);
        if (rc == 1)
            accepted_next(c);
    }
    if (rc == 1 && c->state == CONN_SECURING)
        rc = establish_keys(c);
    if (rc == -1)
        conn_kill(c, CLOSE_PEER_GONE);
    else if (rc == 1 && !conn_dead(c))
        conn_flush(c);
    conn_update_events(c);
}
