/* scrape.c - see scrape.h. The limit is for all of it, so that a server which answers one byte at a
 * time does not hold up the test. */
#include "scrape.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/http.h"
#include "loopback.h"
#include "net/address.h"
#include "url.h"

#define PAGE_MAX ((size_t)4 * 1024 * 1024)

/* Waits for events on fd; -1 with ETIMEDOUT when end_ns comes first. */
static int wait_for(int fd, short events, uint64_t end_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    uint64_t now = clock_precise_ns();
    int rc = now >= end_ns ? 0 : poll(&p, 1, (int)((end_ns - now) / NS_PER_MS) + 1);

    if (rc == 0)
        errno = ETIMEDOUT;
    return rc > 0 || (rc == -1 && errno == EINTR) ? 0 : -1;
}

static int connect_one(const struct addrinfo *a, uint64_t end_ns)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), why = 0;
    socklen_t len = sizeof(why);

    if (fd == -1)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == -1 &&
        (errno != EINPROGRESS || wait_for(fd, POLLOUT, end_ns) == -1))
        goto err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0)
        return fd;
    errno = why;
err:
    why = errno;
    close(fd);
    errno = why;
    return -1;
}

int scrape_connect(const struct addrinfo *found, uint64_t end_ns, unsigned *which)
{
    unsigned n = 0;

    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next, n++) {
        int fd = connect_one(a, end_ns);

        if (fd == -1)
            continue;
        if (which != NULL)
            *which = n;
        return fd;
    }
    return -1;
}

static int send_request(int fd, struct str authority, struct str path, uint64_t end_ns)
{
    struct buf out = {0};
    int rc = buf_printf(&out,
                        "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nAccept: text/plain\r\n"
                        "Connection: close\r\n\r\n",
                        STR_ARG(path), STR_ARG(authority));

    for (size_t sent = 0; rc == 0 && sent < out.len;) {
        ssize_t n = send(fd, out.p + sent, out.len - sent, MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else
            rc = errno == EAGAIN ? wait_for(fd, POLLOUT, end_ns) : -1;
    }
    buf_fini(&out);
    return rc == 0 ? 0 : -1;
}

static int receive(int fd, struct buf *in, uint64_t end_ns)
{
    for (;;) {
        ssize_t n;

        if (in->len > PAGE_MAX || buf_reserve(in, 65536) == -1) {
            errno = EMSGSIZE;
            return -1;
        }
        n = recv(fd, in->p + in->len, in->cap - in->len, 0);
        if (n == 0)
            return 0;
        if (n > 0)
            in->len += (size_t)n;
        else if (errno != EAGAIN || wait_for(fd, POLLIN, end_ns) == -1)
            return -1;
    }
}

static int take_body(struct str in, struct buf *page, char *err, size_t errcap)
{
    enum close_reason why;
    struct http_response r;
    struct http_body b;
    struct str data;

    if (http_response_final(&in, 65536, &r, &why) <= 0) {
        snprintf(err, errcap, "what answers does not speak HTTP/1.1");
        return -1;
    }
    if (r.status != 200) {
        snprintf(err, errcap, "it answers with HTTP status %d", r.status);
        return -1;
    }
    http_body_init_response(&b, &r);
    while (http_body_next(&b, PAGE_MAX, &in, &data, &why) > 0)
        if (buf_append(page, data) == -1)
            break;
    return 0;
}

int scrape(const char *url, bool elsewhere, struct buf *page, char *err, size_t errcap)
{
    struct addrinfo *found;
    uint64_t end_ns = clock_precise_ns() + SCRAPE_LIMIT_NS;
    struct url u;
    const char *why;
    char host[256], port[16];
    struct buf in = {0};
    int fd, rc;

    if (url_split(str_from(url), STR_LIT("http://"), STR_LIT("80"), &u, &why) == -1 ||
        str_copy(u.host, host, sizeof(host)) == -1 || str_copy(u.port, port, sizeof(port)) == -1) {
        snprintf(err, errcap, "expected http://HOST:PORT/PATH");
        return -1;
    }
    rc = address_lookup(host, port, &found);
    if (rc != 0) {
        snprintf(err, errcap, "%s", gai_strerror(rc));
        return -1;
    }
    rc = -1;
    if (!elsewhere && !loopback_all(found)) {
        freeaddrinfo(found);
        snprintf(err, errcap, LOOPBACK_ELSEWHERE);
        return -1;
    }
    fd = scrape_connect(found, end_ns, NULL);
    freeaddrinfo(found);
    if (u.path.n == 0)
        u.path = STR_LIT("/metrics");
    if (fd == -1 || send_request(fd, u.authority, u.path, end_ns) == -1 ||
        receive(fd, &in, end_ns) == -1)
        snprintf(err, errcap, "%s", strerror(errno));
    else
        rc = take_body(buf_view(&in), page, err, errcap);
    if (fd != -1)
        close(fd);
    buf_fini(&in);
    return rc;
}
