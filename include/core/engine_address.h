/* core/engine_address.h - where an engine's server is, as a setting says it.
 *
 * redis://[user[:password]@]host[:port][/database], rediss:// with TLS, unix:/path; the schemes with
 * +sentinel (?master=NAME) and +cluster; nats://, tls:// likewise. IPv6 addresses in brackets. */
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

struct engine_address {
    enum engine_scheme scheme;
    bool tls;
    uint16_t port;
    uint8_t database;
    char host[256]; /* name or numeric address; beginning with '/': the path of a UNIX socket */
    char user[128], password[256];
    char master[128]; /* of Sentinel */
};

/* -1 with a sentence in err, which never holds the password. */
int engine_address_parse(struct str s, struct engine_address *out, char *err,
                         size_t errcap) MUST_CHECK;
/* "redis://host:6379": for people, without user and password. */
void engine_address_format(const struct engine_address *a, char *out, size_t cap);
#define ENGINE_ADDRESS_TEXT 320

#endif
