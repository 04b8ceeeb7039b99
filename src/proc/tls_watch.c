/* proc/tls_watch.c - certificates grow old: tls_files_watch(). */
#include "base/log.h"
#include "proc/tls_files.h"

#define DAY INT64_C(86400)

/* Steps of a certificate's end: how many of them it has reached. */
static unsigned steps_reached(int64_t left)
{
    static const int64_t days[] = {21, 7, 1, 0};
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(days); i++)
        n += left <= days[i] * DAY;
    return n;
}

static void tell(const struct listener_options *o, const char *path, int64_t left)
{
    if (left <= 0)
        LOG(LOG_ERROR, "a certificate has expired: clients refuse it",
            KV_S("listener", listener_label(o)), KV_S("file", path));
    else
        LOG(LOG_WARN, "a certificate expires soon: replace the file, then SIGHUP",
            KV_S("listener", listener_label(o)), KV_S("file", path),
            KV_U("days", (uint64_t)(left / DAY)));
}

static void watch_pair(const struct listener_options *o, size_t i, const struct tls_file_pair *p,
                       uint8_t *told, int64_t now)
{
    unsigned reached = steps_reached(p->expires - now);
    char path[LISTENER_FILES_MAX];

    if (reached > *told)
        tell(o, tls_files_name(o->tls_certificate, i, path), p->expires - now);
    *told = (uint8_t)reached; /* fewer: it has been replaced */
}

static void watch_staple(const struct listener_options *o, size_t i, const struct tls_file_pair *p,
                         bool *told, int64_t now)
{
    bool stale = p->ocsp_until != 0 && p->ocsp_until < now;
    char path[LISTENER_FILES_MAX];

    if (stale && !*told)
        LOG(LOG_WARN, "an OCSP response is out of date and not stapled any more",
            KV_S("listener", listener_label(o)),
            KV_S("file", tls_files_name(o->tls_ocsp, i, path)));
    *told = stale;
}

void tls_files_watch(const struct config *c, const struct tls_files *f, int64_t now)
{
    static uint8_t told[LISTENERS_MAX][TLS_PAIRS_MAX];
    static bool staples[LISTENERS_MAX][TLS_PAIRS_MAX];

    for (unsigned k = 0; k < c->listeners_count; k++)
        for (size_t i = 0; i < f->listener[k].npairs; i++) {
            watch_pair(&c->listener[k], i, &f->listener[k].pairs[i], &told[k][i], now);
            watch_staple(&c->listener[k], i, &f->listener[k].pairs[i], &staples[k][i], now);
        }
}
