#include "proto/upgrade.h"

#include "base/config.h"

/* The port a scheme implies, without which an authority means the same. */
static struct str origin_default_port(struct str scheme)
{
    if (str_equal_nocase(scheme, STR_LIT("http")) || str_equal_nocase(scheme, STR_LIT("ws")))
        return STR_LIT(":80");
    if (str_equal_nocase(scheme, STR_LIT("https")) || str_equal_nocase(scheme, STR_LIT("wss")))
        return STR_LIT(":443");
    return STR_NULL;
}

static struct str origin_strip_port(struct str authority, struct str port)
{
    if (port.n > 0 && authority.n > port.n &&
        memcmp(authority.p + authority.n - port.n, port.p, port.n) == 0)
        authority.n -= port.n;
    return authority;
}

/* Scheme and authority of "scheme://authority"; an Origin has nothing behind (RFC 6454 §6.2). */
static bool origin_split(struct str origin, struct str *scheme, struct str *authority)
{
    size_t colon = str_find(origin, ':');

    if (colon == 0 || origin.n < colon + 3 || memcmp(origin.p + colon, "://", 3) != 0)
        return false;
    *scheme = (struct str){.p = origin.p, .n = colon};
    *authority = str_skip(origin, colon + 3);
    return authority->n > 0 && str_find(*authority, '/') == authority->n;
}

bool upgrade_origin_same(struct str origin, struct str host)
{
    struct str scheme, authority, port;

    if (!origin_split(origin, &scheme, &authority))
        return false; /* "null" too: an opaque origin is nobody's page */
    port = origin_default_port(scheme);
    return str_equal_nocase(origin_strip_port(authority, port), origin_strip_port(host, port));
}

bool upgrade_origin_allowed(struct str origin, struct str host)
{
    if (config.allowed_origins[0] != '\0')
        return config_list_glob(config.allowed_origins, origin);
    return upgrade_origin_same(origin, host);
}

static bool upgrade_has_body(const struct http_request *r)
{
    return r->body == HTTP_BODY_CHUNKED || (r->body == HTTP_BODY_LENGTH && r->content_length > 0);
}

/* The first offered subprotocol that is configured. -1: an offer is no token. */
static int upgrade_pick_subprotocol(const struct http_request *r, struct upgrade *out)
{
    for (size_t i = 0; i < r->nfields; i++) {
        struct str rest = r->fields[i].value, word;

        if (!str_equal_nocase(r->fields[i].name, STR_LIT("Sec-WebSocket-Protocol")))
            continue;
        while (http_list_next(&rest, &word)) {
            if (!http_is_token(word))
                return -1;
            if (out->subprotocol[0] == '\0' && word.n < sizeof(out->subprotocol) &&
                config_list_has(config.subprotocols, word) &&
                str_copy(word, out->subprotocol, sizeof(out->subprotocol)) == -1)
                return -1;
        }
    }
    return 0;
}

static int upgrade_check_key(const struct http_request *r, struct upgrade *out)
{
    bool repeated = false;
    struct str key = http_field_get(r, STR_LIT("Sec-WebSocket-Key"), &repeated);

    if (key.p == NULL || repeated || !ws_key_valid(key))
        return -1;
    ws_accept_key(key, out->accept);
    return 0;
}

/* Not asked at all: no Upgrade to websocket, or by HTTP/1.0, where it means nothing (RFC 9110
 * §7.8). */
static bool upgrade_asked(const struct http_request *r)
{
    return r->minor >= 1 && http_field_has_token(r, STR_LIT("Upgrade"), STR_LIT("websocket"));
}

static bool upgrade_version_good(const struct http_request *r)
{
    bool repeated = false;
    struct str version = http_field_get(r, STR_LIT("Sec-WebSocket-Version"), &repeated);

    return version.p != NULL && !repeated && str_equal(version, STR_LIT("13"));
}

/* Requests without an Origin are not from browsers. */
static bool upgrade_origin_good(const struct http_request *r)
{
    bool repeated = false;
    struct str origin = http_field_get(r, STR_LIT("Origin"), &repeated);

    if (repeated)
        return false;
    return origin.p == NULL || upgrade_origin_allowed(origin, r->host);
}

int upgrade_check(const struct http_request *r, struct upgrade *out, enum close_reason *why)
{
    memset(out, 0, sizeof(*out));
    *why = CLOSE_NONE;
    if (r->method != HTTP_GET)
        *why = CLOSE_BAD_METHOD;
    else if (!upgrade_asked(r))
        *why = CLOSE_UPGRADE_REQUIRED;
    else if (!upgrade_version_good(r))
        *why = CLOSE_UPGRADE_VERSION;
    else if (upgrade_check_key(r, out) == -1)
        *why = CLOSE_UPGRADE_KEY;
    else if (!http_field_has_token(r, STR_LIT("Connection"), STR_LIT("upgrade")) ||
             upgrade_has_body(r) || upgrade_pick_subprotocol(r, out) == -1)
        *why = CLOSE_UPGRADE_HEADER;
    else if (!upgrade_origin_good(r))
        *why = CLOSE_BAD_ORIGIN;
    return *why == CLOSE_NONE ? 0 : -1;
}

int upgrade_response(const struct upgrade *u, struct buf *out)
{
    if (buf_printf(out,
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n",
                   WS_ACCEPT_LEN, u->accept) == -1)
        return -1;
    if (u->subprotocol[0] != '\0' &&
        buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", u->subprotocol) == -1)
        return -1;
    return buf_append_lit(out, "\r\n");
}
