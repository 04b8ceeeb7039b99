/* target.c - see target.h. */
#include "target.h"

#include <unistd.h>

#include "adapter.h"
#include "base/clock.h"
#include "loopback.h"
#include "net/address.h"
#include "net/dial.h"
#include "net/tls.h"
#include "scrape.h"
#include "url.h"

static int refuse(struct buf *errors, struct str url, const char *why)
{
    char text[640];

    snprintf(text, sizeof(text), "--url %.*s: %s", (int)MIN(url.n, (size_t)200), url.p, why);
    options_complain(errors, text);
    return -1;
}

bool target_is_loopback4(const struct load_target *t)
{
    return loopback4_is((const struct sockaddr *)&t->address);
}

/* {channel}, {n} and {c} are all there is. */
static bool templates_known(struct str path)
{
    static const struct str known[] = {STR_LIT("{channel}"), STR_LIT("{n}"), STR_LIT("{c}")};
    size_t at;

    for (; (at = str_find(path, '{')) < path.n; path = str_skip(path, at + 1)) {
        bool found = false;

        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            found |= str_starts_with(str_skip(path, at), known[i]);
        if (!found)
            return false;
    }
    return true;
}

/* "localhost" is ::1 and 127.0.0.1, and a server may listen on one of them. */
static const struct addrinfo *choose(const struct addrinfo *found)
{
    const struct dial_limits limits = {clock_precise_ns() + SCRAPE_LIMIT_NS, SCRAPE_LIMIT_NS};
    unsigned which = 0;
    int fd = found->ai_next == NULL || !loopback_all(found) ? -1 : dial(found, &limits, &which);

    if (fd != -1)
        close(fd);
    while (which-- > 0)
        found = found->ai_next;
    return found;
}

static int resolve(const struct url *url, struct load_target *t, const char **why)
{
    struct addrinfo *all;
    const struct addrinfo *a;
    char *h = t->name, p[16];
    int rc;

    *why = "the host is too long";
    if (str_copy(url->host, h, sizeof(t->name)) == -1 || str_copy(url->port, p, sizeof(p)) == -1)
        return -1;
    rc = address_lookup(h, p, &all);
    if (rc != 0) {
        *why = gai_strerror(rc);
        return -1;
    }
    a = choose(all);
    memcpy(&t->address, a->ai_addr, a->ai_addrlen);
    t->address_len = a->ai_addrlen;
    freeaddrinfo(all);
    snprintf(t->host, sizeof(t->host), strchr(h, ':') != NULL ? "[%s]:%s" : "%s:%s", h, p);
    return 0;
}

/* Each load process makes its own context; whether one can be made is known before. */
static int check_tls(const struct options *o, struct buf *errors)
{
    char err[256], text[1400];
    struct tls_context *t = tls_client_context(o->ca, !o->insecure, err, sizeof(err));

    if (t == NULL) {
        snprintf(text, sizeof(text), "--ca %s: %s", o->ca, err);
        options_complain(errors, text);
        return -1;
    }
    tls_context_free(t);
    return 0;
}

static int add_target(struct load_target *t, const struct options *o, struct str text,
                      struct buf *errors)
{
    static const struct str ws = STR_LIT("ws://"), wss = STR_LIT("wss://");
    const char *why = "";
    struct url url;

    t->tls = url_has_scheme(text, wss);
    if (!t->tls && !url_has_scheme(text, ws))
        return refuse(errors, text, "expected ws://host:port/path or wss://host:port/path");
    if (url_split(text, t->tls ? wss : ws, t->tls ? STR_LIT("443") : STR_LIT("80"), &url, &why) ==
            -1 ||
        resolve(&url, t, &why) == -1)
        return refuse(errors, text, why);
    if (url.path.n == 0)
        url.path = str_from(adapter_of(o)->default_path);
    if (str_copy(url.path, t->path, sizeof(t->path)) == -1)
        return refuse(errors, text, "the path is too long");
    if (!templates_known(url.path))
        return refuse(errors, text, "{channel}, {n} and {c} can be replaced, and nothing else");
    if (!loopback_is((const struct sockaddr *)&t->address) && !o->i_own_the_target)
        return refuse(errors, text, LOOPBACK_ELSEWHERE);
    return t->tls ? check_tls(o, errors) : 0;
}

int targets_make(const struct options *o, struct load_target *targets, unsigned *n,
                 struct buf *errors)
{
    struct str urls = str_from(o->url), url;
    char text[64];

    for (*n = 0; urls.n > 0 && str_cut(&urls, '\n', &url); ++*n) {
        if (*n == LOAD_TARGETS_MAX) {
            snprintf(text, sizeof(text), "--url: at most %d targets", LOAD_TARGETS_MAX);
            options_complain(errors, text);
            return -1;
        }
        if (add_target(&targets[*n], o, url, errors) == -1)
            return -1;
        if (o->source[0] != '\0' && targets[*n].address.ss_family != AF_INET)
            return refuse(errors, url, "--source needs IPv4 targets");
    }
    return 0;
}
