/* cmd/roostctl/http.c - one HTTP exchange with the admin listener. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/http.h"
#include "ctl.h"
#include "net/address.h"

#define TIMEOUT_S    10
#define RESPONSE_MAX ((size_t)64 * 1024 * 1024)

struct ctl ctl;

/* "HOST:PORT" or "[ADDRESS]:PORT" into ctl. */
static int set_authority(struct str authority)
{
    struct str host = authority, port;
    size_t colon = authority.n;
    uint64_t number;

    while (colon > 0 && authority.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return -1;
    port = str_skip(authority, colon);
    host.n = colon - 1;
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    else if (str_find(host, ':') < host.n)
        return -1; /* an IPv6 address without brackets: where would its port begin? */
    if (str_to_u64(port, &number) == -1 || number == 0 || number > UINT16_MAX || host.n == 0 ||
        str_copy(port, ctl.port, sizeof(ctl.port)) == -1 ||
        str_copy(host, ctl.host, sizeof(ctl.host)) == -1)
        return -1;
    snprintf(ctl.authority, sizeof(ctl.authority),
             str_find(host, ':') < host.n ? "[%s]:%s" : "%s:%s", ctl.host, ctl.port);
    return 0;
}

int ctl_set_admin(const char *url)
{
    struct str rest = str_from(url), authority;

    if (rest.n >= 7 && str_equal_nocase((struct str){rest.p, 7}, STR_LIT("http://")))
        rest = str_skip(rest, 7);
    authority = (struct str){rest.p, str_find(rest, '/')};
    if (set_authority(authority) == 0)
        return 0;
    fprintf(stderr,
            "roostctl: --admin: expected http://HOST:PORT (IPv6: http://[ADDRESS]:PORT), got "
            "\"%s\"\n",
            url);
    return -1;
}

static void explain(const char *what, const char *why)
{
    fprintf(stderr,
            "roostctl: %s http://%s: %s\n"
            "Is roostd running there? Start it with make run, or name its admin listener with "
            "--admin http://HOST:PORT (or ROOSTCTL_ADMIN).\n",
            what, ctl.authority, why);
}

int ctl_wrong_server(const char *what, bool quiet)
{
    if (!quiet)
        fprintf(stderr,
                "roostctl: http://%s answers, but is not the admin listener of roostd: %s\n"
                "A listener for clients answers so, too. --admin (or ROOSTCTL_ADMIN) wants the "
                "address in its setting admin_listen.\n",
                ctl.authority, what);
    return -1;
}

int ctl_connect(bool quiet)
{
    struct addrinfo *found, *a;
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    int fd = -1, rc = address_lookup(ctl.host, ctl.port, &found);

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

struct str ctl_line_of(struct str text)
{
    text.n = MIN(str_find(text, '\n'), str_find(text, '\r'));
    return str_trim(text);
}

static int send_request(int fd, const char *path, const struct str *request)
{
    struct buf out = {0};
    int rc = buf_printf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n",
                        request == NULL ? "GET" : "POST", path, ctl.authority);

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
        if (http_response_final(&rest, 65536, &r, &why) > 0 && buf_append(body, rest) == 0)
            status = r.status;
        else if (!quiet)
            explain("no HTTP from", "is this its admin listener?");
    }
    close(fd);
    buf_fini(&in);
    if (status == 401 && !quiet)
        fprintf(stderr, "roostctl: the server wants its API key: --key KEY, or ROOSTCTL_KEY\n");
    return status;
}

int ctl_ask(const char *path, const struct str *request, struct buf *body, bool quiet)
{
    int status = ctl_http(path, request, body, quiet);
    char what[128];

    if (status == 200)
        return 0;
    if (status == 404) {
        snprintf(what, sizeof(what), "it has no %s", path);
        return ctl_wrong_server(what, quiet);
    }
    if (status != -1 && status != 401 && !quiet)
        fprintf(stderr, "roostctl: %d %s: %.*s\n", status, http_status_phrase(status),
                STR_ARG(ctl_line_of(buf_view(body))));
    return -1;
}
