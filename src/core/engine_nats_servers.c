/* core/engine_nats_servers.c - whom to connect to: the servers of the settings, and those that they name. */
#include "engine_nats_internal.h"

#include <arpa/inet.h>

#include "base/clock.h"

void nats_servers_init(struct nats *e)
{
    char text[ENGINE_ADDRESS_TEXT];

    e->nservers = e->s.addresses;
    memcpy(e->servers, e->s.address, e->nservers * sizeof(e->servers[0]));
    e->current = (unsigned)engine_chance(e->nservers - 1); /* nodes spread over them */
    engine_address_format(&e->servers[0], text, sizeof(text));
    e->shard = engine_shard_take(text); /* all of them are one */
}

static bool known(const struct nats *e, const struct engine_address *a)
{
    for (unsigned i = 0; i < e->nservers; i++)
        if (e->servers[i].port == a->port && strcmp(e->servers[i].host, a->host) == 0)
            return true;
    return false;
}

static bool is_odd(struct str url)
{
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || strchr("@%,/?", url.p[i]) != NULL)
            return true;
    return false;
}

static bool is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Servers tell each other's addresses, certificates are for names: often for the one that all of them are known by. */
static void give_alias(struct engine_address *to, const struct engine_address *from)
{
    const char *name = from->alias[0] != '\0' ? from->alias : from->host;

    if (!to->tls || !is_numeric(to->host) || is_numeric(name))
        return;
    memcpy(to->alias, name, strlen(name) + 1);
    to->by_alias = true;
}

void nats_servers_refused(struct nats *e)
{
    struct engine_address *a = &e->servers[e->current];

    if (a->alias[0] != '\0')
        a->by_alias = !a->by_alias;
}

/* -1: no address. */
static int read_url(const struct nats *e, struct str url, struct engine_address *out)
{
    const struct engine_address *from = nats_server(e);
    struct engine_address parsed[ENGINE_ADDRESSES_MAX];
    char text[320] = "nats://", err[256];
    unsigned n = 0;

    if (url.n >= sizeof(text) - 7 || is_odd(url))
        return -1;
    memcpy(text + 7, url.p, url.n);
    text[7 + url.n] = '\0';
    if (engine_addresses_parse(str_from(text), parsed, &n, err, sizeof(err)) == -1 || n != 1)
        return -1;
    *out = parsed[0];
    out->tls = from->tls; /* as this one: what is said there is secret or it is not */
    out->tls_first = from->tls_first;
    memcpy(out->user, from->user, sizeof(out->user));
    memcpy(out->password, from->password, sizeof(out->password));
    give_alias(out, from);
    return 0;
}

void nats_servers_learn(struct nats *e, const struct nats_info *info)
{
    struct engine_address current = *nats_server(e), one;
    struct str urls = info->urls;
    struct buf url = {0};

    if (urls.n == 0)
        return;
    e->nservers = e->s.addresses;
    if (e->current >= e->nservers) { /* one that was named before: it stays */
        e->servers[e->nservers] = current;
        e->current = e->nservers++;
    }
    while (e->nservers < ARRAY_LEN(e->servers) && nats_next_url(&urls, &url)) {
        if (read_url(e, buf_view(&url), &one) == 0 && !known(e, &one))
            e->servers[e->nservers++] = one;
        buf_clear(&url);
    }
    buf_fini(&url);
}

/* Later and later, but not before all were tried. */
uint64_t nats_servers_next(struct nats *e)
{
    unsigned rounds = e->tried++ / e->nservers;

    e->current = (e->current + 1) % e->nservers;
    return clock_ns() + engine_retry_delay_ns(rounds, e->s.reconnect_max_ns);
}
