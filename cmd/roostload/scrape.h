/* scrape.h - one GET of a Prometheus page, within a limited time. */
#ifndef ROOSTLOAD_SCRAPE_H
#define ROOSTLOAD_SCRAPE_H

#include "base/buf.h"

/* Appends the body that http://host[:port][/path] answers with status 200 within SCRAPE_LIMIT_NS;
 * path /metrics unless given. elsewhere: may be another machine. -1: err is the end of
 * a sentence. */
#define SCRAPE_LIMIT_NS ((uint64_t)500 * 1000 * 1000)
int scrape(const char *url, bool elsewhere, struct buf *page, char *err, size_t errcap) MUST_CHECK;

#endif
