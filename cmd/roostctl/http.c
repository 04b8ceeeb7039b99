/* cmd/roostctl/http.c - one HTTP exchange with the admin listener. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/http.h"
#include "ctl.h"

#define TIMEOUT_S    10
#define RESPONSE_MAX ((size_t)64 * 1024 * 1024)

struct ctl ctl;

int ctl_set_admin(const char *url)
{
    struct str rest = str_from(url), authority;
    size_t colon;

    if (str_starts_with(rest, STR_LIT("http://")))
        rest = str_skip(rest, 7);
    authority = (struct str){rest.p, str_find(rest, '/')};
    for (colon = authority.n; colon > 0 && authority.p[colon - 1] != ':'; colon--)
        ;
    if (colon == 0 || colon == authority.n ||
        str_copy(str_skip(authority, colon), ctl.port, sizeof(ctl.port)) == -1)
        goto bad;
    authority.n = colon - 1;
    if (authority.n > 2 && authority.p[0] == '[' && authority.p[authority.n - 1] == ']')
        authority = (struct str){authority.p + 1, authority.n - 2};
    if (authority.n == 0 || str_copy(authority, ctl.host, sizeof(ctl.host)) == -1)
        goto bad;
    return 0;
bad:
    fprintf(stderr, "roostctl: --admin: expected http://HOST:PORT, got \"%s\"\n", url);
    return -1;
}

static void explain(const char *what, const char *why)
{
    fprintf(
        stderr,
        "roostctl: %s http://%s:%s: %s\n"
        "Is roostd running there? Start it with make run, or name its admin listener with --admin "
        "http://HOST:PORT (or ROOSTCTL_ADMIN).\n",
        what, ctl.host, ctl.port, why);
}

int ctl_connect(bool quiet)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *a;
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    int fd = -1, rc = getaddrinfo(ctl.host, ctl.port, &hints, &found);

    if (rc != 0) {
        if (!quiet)
            explain("cannot resolve", gai_strerror(rc));
        return -1;
    }
    for (a = found; a != NULL && fd == -1; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd == -1)
            continue;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
            connect(fd, a->ai_addr, a->ai_addrlen) == -1) {
            rc = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd == -1 && !quiet)
        explain("cannot reach", strerror(rc));
    return fd;
}

static int send_request(int fd, const char *path, const struct str *request)
{
    struct buf out = {0};
    int rc = buf_printf(&out, "%s %s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n",
                        request == NULL ? "GET" : "POST", path, ctl.host, ctl.port);

    if (ctl.key[0] != '\0')
        rc |= buf_printf(&out, "X-API-Key: %s\r\n", ctl.key);
    if (request != NULL)
        rc |= buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         request->n);
    rc |= buf_append_lit(&out, "\r\n");
    if (request != NULL)
        rc |= buf_append(&out, *request);
    for (size_t sent = 0; rc == 0 && sent < out.len;) {
        ssize_t n = send(fd, out.p + sent, out.len - sent, MSG_NOSIGNAL);

        if (n <= 0)
            rc = -1;
        else
            sent += (size_t)n;
    }
    buf_fini(&out);
    return rc == 0 ? 0 : -1;
}

/* Everything until the server closes: we asked it to. */
static int read_all(int fd, struct buf *in)
{
    ssize_t n;

    do {
        if (in->len > RESPONSE_MAX || buf_reserve(in, 65536) == -1)
            return -1;
        n = recv(fd, in->p + in->len, in->cap - in->len, 0);
        if (n > 0)
            in->len += (size_t)n;
    } while (n > 0);
    return n == 0 ? 0 : -1;
}

int ctl_http(const char *path, const struct str *request, struct buf *body, bool quiet)
{
    struct buf in = {0};
    struct http_response r;
    enum close_reason why;
    struct str rest;
    int fd = ctl_connect(quiet), status = -1;

    if (fd == -1)
        return -1;
    errno = 0;
    if (send_request(fd, path, request) == -1 || read_all(fd, &in) == -1) {
        if (!quiet)
            explain("no answer from", errno != 0 ? strerror(errno) : "the connection was closed");
    } else {
        rest = buf_view(&in);
        if (http_response_parse(&rest, 65536, &r, &why) > 0 && buf_append(body, rest) == 0)
            status = r.status;
        else if (!quiet)
            explain("no HTTP from", "is this the admin listener?");
    }
    close(fd);
    buf_fini(&in);
    if (status == 401 && !quiet)
        fprintf(stderr, "roostctl: the server wants its API key: --key KEY, or ROOSTCTL_KEY\n");
    return status;
}
