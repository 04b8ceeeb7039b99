/* cmd/roostctl/http.c - one HTTP exchange with the admin listener. */
#include <errno.h>

#include "base/clock.h"
#include "codec/http.h"
#include "ctl.h"
#include "net/tls.h"

#define RESPONSE_MAX ((size_t)64 * 1024 * 1024)

struct ctl ctl;
const struct dial_limits ctl_patience = {.end_ns = UINT64_MAX, .idle_ns = 10 * NS_PER_SEC};

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

static int set_socket(struct str url)
{
    char err[256];

    if (address_parse(url, &ctl.socket, err, sizeof(err)) == -1) {
        fprintf(stderr, "roostctl: --admin: %s\n", err);
        return -1;
    }
    snprintf(ctl.authority, sizeof(ctl.authority), "localhost");
    return 0;
}

int ctl_set_admin(const char *url)
{
    struct str rest = str_from(url), authority;

    if (str_starts_with(rest, STR_LIT("unix:")))
        return set_socket(rest);
    ctl.tls = false;
    if (rest.n >= 7 && str_equal_nocase((struct str){rest.p, 7}, STR_LIT("http://"))) {
        rest = str_skip(rest, 7);
    } else if (rest.n >= 8 && str_equal_nocase((struct str){rest.p, 8}, STR_LIT("https://"))) {
        ctl.tls = true;
        rest = str_skip(rest, 8);
    }
    authority = (struct str){rest.p, str_find(rest, '/')};
    if (set_authority(authority) == 0)
        return 0;
    fprintf(stderr,
            "roostctl: --admin: expected http://HOST:PORT or https://HOST:PORT (IPv6: "
            "http://[ADDRESS]:PORT) or unix:/PATH, got \"%s\"\n",
            url);
    return -1;
}

const char *ctl_url(void)
{
    static char url[sizeof(ctl.authority) + 16];

    if (ctl.socket.len > 0)
        snprintf(url, sizeof(url), "unix:%s", address_path(&ctl.socket));
    else
        snprintf(url, sizeof(url), "%s://%s", ctl.tls ? "https" : "http", ctl.authority);
    return url;
}

static void explain(const char *what, const char *why)
{
    fprintf(stderr,
            "roostctl: %s %s: %s\n"
            "Is roostd running there? Start it with make run, or name its admin listener with "
            "--admin http://HOST:PORT or unix:/PATH (or ROOSTCTL_ADMIN).\n",
            what, ctl_url(), why);
}

int ctl_wrong_server(const char *what, bool quiet)
{
    if (!quiet)
        fprintf(stderr,
                "roostctl: %s answers, but is not the admin listener of roostd: %s\n"
                "A listener for clients answers so, too. --admin (or ROOSTCTL_ADMIN) wants the "
                "address in its setting admin_listen.\n",
                ctl_url(), what);
    return -1;
}

static int secure(struct dialed *d, bool quiet)
{
    static struct tls_context *context; /* one is enough for all connections */
    char why[256];

    if (context == NULL)
        context = ctl.any_name ? tls_client_context_of(ctl.ca, why, sizeof(why))
                               : tls_client_context(ctl.ca, true, why, sizeof(why));
    if (context != NULL && dial_secure(d, context, ctl.any_name ? NULL : ctl.host, &ctl_patience,
                                       why, sizeof(why)) == 0)
        return 0;
    if (!quiet && context == NULL)
        fprintf(stderr, "roostctl: %s: %s\n", ctl.ca, why);
    else if (!quiet)
        fprintf(stderr,
                "roostctl: no TLS with %s: %s\n"
                "--ca FILE (or ROOSTCTL_CA) names certificates to trust instead of the system's.\n",
                ctl_url(), why);
    dial_close(d);
    return -1;
}

static int connect_socket(struct dialed *d, bool quiet)
{
    const struct addrinfo there = {.ai_family = AF_UNIX,
                                   .ai_addr = (struct sockaddr *)&ctl.socket.sa,
                                   .ai_addrlen = ctl.socket.len};

    d->fd = dial(&there, &ctl_patience, NULL);
    if (d->fd == -1 && !quiet)
        explain("cannot reach", strerror(errno));
    return d->fd == -1 ? -1 : 0;
}

int ctl_connect(struct dialed *d, bool quiet)
{
    struct addrinfo *found;
    int rc;

    *d = (struct dialed){.fd = -1};
    if (ctl.socket.len > 0)
        return connect_socket(d, quiet);
    rc = address_lookup(ctl.host, ctl.port, &found);
    if (rc != 0) {
        if (!quiet)
            explain("cannot resolve", gai_strerror(rc));
        errno = EHOSTUNREACH;
        return -1;
    }
    d->fd = dial(found, &ctl_patience, NULL);
    rc = errno;
    freeaddrinfo(found);
    if (d->fd == -1 && !quiet)
        explain("cannot reach", strerror(rc));
    if (d->fd == -1) {
        errno = rc;
        return -1;
    }
    return ctl.tls ? secure(d, quiet) : 0;
}

struct str ctl_line_of(struct str text)
{
    text.n = MIN(str_find(text, '\n'), str_find(text, '\r'));
    return str_trim(text);
}

static int append_request(struct buf *out, const char *path, const struct str *request)
{
    int rc = buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n",
                        request == NULL ? "GET" : "POST", path, ctl.authority);

    if (ctl.key[0] != '\0')
        rc |= buf_printf(out, "X-API-Key: %s\r\n", ctl.key);
    if (request != NULL)
        rc |= buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                         request->n);
    rc |= buf_append_lit(out, "\r\n");
    if (request != NULL)
        rc |= buf_append(out, *request);
    if (rc != 0)
        errno = ENOMEM;
    return rc == 0 ? 0 : -1;
}

int ctl_http(const char *path, const struct str *request, struct buf *body, bool quiet)
{
    return ctl_http_within(path, request, body, quiet, &ctl_patience);
}

void ctl_wants_key(void)
{
    if (ctl.key != NULL && ctl.key[0] != '\0')
        fprintf(stderr,
                "roostctl: %s does not take this key: it wants its setting api_key, by --key KEY "
                "or ROOSTCTL_KEY\n",
                ctl_url());
    else
        fprintf(stderr, "roostctl: the server wants its API key: --key KEY, or ROOSTCTL_KEY\n");
}

int ctl_http_within(const char *path, const struct str *request, struct buf *body, bool quiet,
                    const struct dial_limits *l)
{
    struct buf out = {0};
    struct dialed d;
    int status = -1, why;

    if (ctl_connect(&d, quiet) == -1) {
        errno = ENOTCONN;
        return -1;
    }
    if (append_request(&out, path, request) == 0)
        status = dial_http(&d, buf_view(&out), RESPONSE_MAX, l, body);
    why = status == -1 ? errno : 0;
    if (status == -1 && !quiet)
        explain("no answer from", strerror(why));
    else if (status == 0 && !quiet)
        explain("no HTTP from", "is this its admin listener?");
    dial_close(&d);
    buf_fini(&out);
    if (status == 401 && !quiet)
        ctl_wants_key();
    errno = why;
    return status > 0 ? status : -1;
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
