#include "scrape.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "loopback.h"
#include "net/address.h"
#include "net/dial.h"
#include "url.h"

#define PAGE_MAX ((size_t)4 * 1024 * 1024)

/* Asks whoever is there. -1: err. */
static int ask(const struct addrinfo *found, const struct url *u, struct buf *page, char *err,
               size_t errcap)
{
    const struct dial_limits limits = {clock_precise_ns() + SCRAPE_LIMIT_NS, SCRAPE_LIMIT_NS};
    struct str path = u->path.n == 0 ? STR_LIT("/metrics") : u->path;
    struct buf request = {0};
    struct dialed d = {.fd = dial(found, &limits, NULL)};
    int status = -1;

    if (d.fd != -1 && buf_printf(&request,
                                 "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nAccept: text/plain\r\n"
                                 "Connection: close\r\n\r\n",
                                 STR_ARG(path), STR_ARG(u->authority)) == 0)
        status = dial_http(&d, buf_view(&request), PAGE_MAX, &limits, page);
    if (status == -1)
        snprintf(err, errcap, "%s", strerror(errno));
    else if (status == 0)
        snprintf(err, errcap, "what answers does not speak HTTP/1.1");
    else if (status != 200)
        snprintf(err, errcap, "it answers with HTTP status %d", status);
    dial_close(&d);
    buf_fini(&request);
    return status == 200 ? 0 : -1;
}

int scrape(const char *url, bool elsewhere, struct buf *page, char *err, size_t errcap)
{
    struct addrinfo *found;
    struct url u;
    const char *why;
    char host[256], port[16];
    size_t before = page->len;
    int rc;

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
    if (elsewhere || loopback_all(found)) {
        rc = ask(found, &u, page, err, errcap);
    } else {
        snprintf(err, errcap, LOOPBACK_ELSEWHERE);
        rc = -1;
    }
    freeaddrinfo(found);
    if (rc == -1)
        page->len = before; /* what came with another status is no page */
    return rc;
}
