/* proto/http_client.c - whose request it is, behind a proxy that says so in a header field. */
#include "base/config.h"
#include "base/metrics.h"
#include "codec/forwarded.h"
#include "http_internal.h"
#include "net/client.h"

static bool proxies_trusted(void)
{
    return config.trusted.n > 0 || config.trusted.unix_peers;
}

/* A client that names itself is not believed. */
static void http_client_ignored(const struct http_request *r)
{
    if (forwarded_said(r, (enum forwarded_field)config.trusted_proxy_header))
        METRIC_INC(forwarded_ignored);
}

int http_client_begin(struct http_job *job, const struct http_request *r, enum close_reason *why)
{
    struct conn *c = job->x.conn;
    struct forwarded_client client;
    int rc;

    *why = CLOSE_NONE;
    if (LIKELY(!proxies_trusted()) || config.trusted_proxy_header >= FORWARDED_NR)
        return 0;
    if (!client_is_proxy(c->address)) {
        http_client_ignored(r);
        return 0;
    }
    rc = forwarded_client(r, (enum forwarded_field)config.trusted_proxy_header, &config.trusted,
                          &client);
    if (rc < 0)
        *why = CLOSE_BAD_FORWARDED;
    if (rc <= 0)
        return rc;
    METRIC_INC(clients_forwarded);
    memcpy(job->peer, c->address, sizeof(job->peer));
    job->peer_port = c->port;
    job->forwarded = true;
    *why = client_named(c, client.address, client.port);
    return *why == CLOSE_NONE ? 0 : -1;
}

void http_client_end(struct http_job *job)
{
    if (LIKELY(!job->forwarded))
        return;
    client_gone(job->x.conn, job->peer, job->peer_port);
    job->forwarded = false;
}
