/* core/engine_address.h - where an engine's server is, as a setting says it.
 *
 * redis://[user[:password]@]host[:port][/database], rediss:// with TLS, unix:/path; the schemes with
 * +sentinel (host,host/database?master=NAME) and +cluster (host,host); nats://, tls://host,host[?handshake_first=true]
 * likewise. IPv6 addresses in brackets. */
#ifndef ROOST_CORE_ENGINE_ADDRESS_H
#define ROOST_CORE_ENGINE_ADDRESS_H

#include "base/common.h"
#include "base/str.h"

enum engine_scheme {
    ENGINE_SCHEME_REDIS = 0,
    ENGINE_SCHEME_SENTINEL,
    ENGINE_SCHEME_CLUSTER,
    ENGINE_SCHEME_NATS
};

#define ENGINE_HOST_MAX 256
struct engine_address {
    enum engine_scheme scheme;
    bool tls;
    bool tls_first; /* of NATS: before the server says anything */
    uint16_t port;
    uint8_t database;
    char host
        [ENGINE_HOST_MAX]; /* name or numeric address; beginning with '/': the path of a UNIX socket */
    char user[128], password[256];
    char master[128]; /* of Sentinel */
    /* Who told of it, where that is a name and this an address: its certificate may be for either. */
    char alias[ENGINE_HOST_MAX];
    bool by_alias; /* it has to be for that one, this time */
};

/* "redis://host:6379": for people, without user and password. */
void engine_address_format(const struct engine_address *a, char *out, size_t cap);
#define ENGINE_ADDRESS_TEXT 320

/* Do both ask Sentinels for the same server? */
bool engine_address_same_master(const struct engine_address *a, const struct engine_address *b);

/* All of a setting, with line ends between: each host becomes one of out. An entry may have several hosts,
 * with commas between, where they are of one service (Sentinel, Cluster, NATS); what has no scheme belongs to
 * the entry before it, as a list is cut at its commas. -1 with a sentence in err, which never holds the password. */
#define ENGINE_ADDRESSES_MAX 64
int engine_addresses_parse(struct str list, struct engine_address out[ENGINE_ADDRESSES_MAX],
                           unsigned *n, char *err, size_t errcap) MUST_CHECK;

#endif
