/* proto/http_guard.c - who may ask for what an api_key protects, when there is none.
 *
 * Without an api_key the listener is on loopback, but a web page in a browser on this machine
 * reaches it, too: by a request that needs no permission (fetch with mode no-cors, a form, an
 * image, a WebSocket), or under a name of its own that it lets resolve to 127.0.0.1 (DNS
 * rebinding). A browser says what a page cannot change: Host, Origin, Sec-Fetch-Site. With a key it
 * is the key that counts, because a page does not know it. */
#include <arpa/inet.h>

#include "base/config.h"
#include "http_internal.h"
#include "proto/upgrade.h"

/* Without port and brackets. */
static struct str guard_host_name(struct str host)
{
    if (host.n > 0 && host.p[0] == '[')
        return str_skip((struct str){.p = host.p, .n = str_find(host, ']')}, 1);
    host.n = str_find(host, ':');
    return host;
}

/* A name that nobody else can let point here: an address, localhost, or one that was configured.
 * text is of CONFIG_STRING_MAX bytes. */
static bool guard_host_known(struct str host, char *text)
{
    struct in6_addr address;
    struct str name = guard_host_name(host);

    if (str_copy(name, text, CONFIG_STRING_MAX) == -1)
        return false;
    if (inet_pton(host.p[0] == '[' ? AF_INET6 : AF_INET, text, &address) == 1)
        return true;
    for (size_t i = 0; i < name.n; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] | 0x20);
    name.p = text;
    return str_equal(name, STR_LIT("localhost")) || config_list_glob(config.admin_hosts, name);
}

/* HTTP/1.0 without Host is no browser. */
static bool guard_host_good(const struct http_request *r)
{
    char text[CONFIG_STRING_MAX];

    return r->host.n == 0 || guard_host_known(r->host, text);
}

/* Every field of that name is looked at: whoever sends two means to have one overlooked. */
static bool guard_page_good(const struct http_request *r)
{
    for (size_t i = 0; i < r->nfields; i++) {
        const struct http_field *f = &r->fields[i];

        if (str_equal_nocase(f->name, STR_LIT("Origin")) && !upgrade_origin_same(f->value, r->host))
            return false;
        if (str_equal_nocase(f->name, STR_LIT("Sec-Fetch-Site")) &&
            !str_equal(f->value, STR_LIT("same-origin")) && !str_equal(f->value, STR_LIT("none")))
            return false;
    }
    return true;
}

/* The whole admin listener, and with api_insecure the server API on the client listener. */
static bool guard_needed(const struct http_exchange *x)
{
    if (x->conn->flags & CONN_ADMIN)
        return config.api_key[0] == '\0';
    return x->resource != NULL && x->resource->needs_key && !x->resource->client_open &&
           config.api_insecure;
}

int http_guard(const struct http_exchange *x, const struct http_request *r, enum close_reason *why)
{
    if (!guard_needed(x))
        return 0;
    if (!guard_host_good(r))
        *why = CLOSE_ADMIN_HOST;
    else if (!guard_page_good(r))
        *why = CLOSE_ADMIN_ORIGIN;
    else
        return 0;
    return -1;
}
