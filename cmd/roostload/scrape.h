/* scrape.h - one GET of a Prometheus page, within a limited time. */
#ifndef ROOSTLOAD_SCRAPE_H
#define ROOSTLOAD_SCRAPE_H

#include "base/buf.h"

/* A non-blocking socket connected to host:port before clock_ns() reaches end_ns, the first of the
 * host's addresses that takes it; *which (may be NULL) is its place in `found`. -1 with errno. */
struct addrinfo;
int scrape_connect(const struct addrinfo *found, uint64_t end_ns, unsigned *which) MUST_CHECK;

/* Appends the body that http://host[:port][/path] answers with status 200 within SCRAPE_LIMIT_NS;
 * path /metrics unless given. elsewhere: may be another machine. -1: err is the end of
 * a sentence. */
#define SCRAPE_LIMIT_NS ((uint64_t)500 * 1000 * 1000)
int scrape(const char *url, bool elsewhere, struct buf *page, char *err, size_t errcap) MUST_CHECK;

#endif
