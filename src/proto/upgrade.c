#include "proto/upgrade.h"

#include "base/config.h"
#include "proto/http.h"

/* Each is compared with all before it, so there must be few. */
#define UPGRADE_OFFERS_MAX 64

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
    else if (authority.n > 0 && authority.p[authority.n - 1] == ':')
        authority.n--; /* an empty port is the scheme's, too (RFC 3986 §6.2.3) */
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

struct upgrade_offer { /* subprotocols offered so far */
    struct str names[UPGRADE_OFFERS_MAX];
    size_t n;
};

/* One line of Sec-WebSocket-Protocol. RFC 6455 §4.1 item 10: tokens, at least one, each once, on
 * one line or on several (§11.3.4). The first one that is spoken here is chosen. */
static int upgrade_read_subprotocols(struct str rest, const char *spoken,
                                     struct upgrade_offer *offer, struct upgrade *out)
{
    size_t before = offer->n;
    struct str word;

    if (rest.n == 0) /* clients that have nothing to offer say so with an empty field */
        return 0;
    while (http_list_next(&rest, &word)) {
        if (!http_is_token(word) || offer->n == UPGRADE_OFFERS_MAX)
            return -1;
        for (size_t i = 0; i < offer->n; i++)
            if (str_equal(offer->names[i], word))
                return -1;
        offer->names[offer->n++] = word;
        if (out->subprotocol[0] == '\0' && word.n < sizeof(out->subprotocol) &&
            config_list_has(spoken, word) &&
            str_copy(word, out->subprotocol, sizeof(out->subprotocol)) == -1)
            return -1;
    }
    return offer->n > before ? 0 : -1;
}

/* RFC 6455 §9.1: a quoted value is a token behind its escapes. */
static bool upgrade_quoted_token(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\\' && ++i == value.n)
            return false;
        if (!http_is_token((struct str){.p = value.p + i, .n = 1}))
            return false;
    }
    return value.n > 0;
}

/* One line of Sec-WebSocket-Extensions, RFC 6455 §9.1. What is malformed fails the handshake; of
 * what is well-formed the first permessage-deflate in order is taken (RFC 7692 §5). */
static bool upgrade_read_extensions(struct str rest, struct ws_deflate *deflate)
{
    struct str element, name, value;
    bool any = false;

    while (http_list_next(&rest, &element)) {
        size_t end = str_find(element, ';');
        struct str params = str_skip(element, end), all = params;
        struct str extension = str_trim((struct str){.p = element.p, .n = end});
        int rc;

        any = true;
        if (!http_is_token(extension))
            return false;
        while ((rc = http_param_next(&params, &name, &value)) > 0)
            if (name.n == 0 || (value.p != NULL && !upgrade_quoted_token(value)))
                return false;
        if (rc < 0)
            return false;
        if (config.compression && deflate->window == 0 &&
            str_equal_nocase(extension, WS_DEFLATE_NAME))
            (void)ws_deflate_offered(all, deflate); /* false: declined */
    }
    return any;
}

/* What the client offers; picks the subprotocol and the compression. */
static int upgrade_read_offers(const struct http_request *r, const char *spoken,
                               struct upgrade *out)
{
    struct upgrade_offer offer;

    offer.n = 0;
    for (size_t i = 0; i < r->nfields; i++) {
        struct str name = r->fields[i].name, value = r->fields[i].value;

        if (str_equal_nocase(name, STR_LIT("Sec-WebSocket-Protocol"))) {
            if (upgrade_read_subprotocols(value, spoken, &offer, out) == -1)
                return -1;
        } else if (str_equal_nocase(name, STR_LIT("Sec-WebSocket-Extensions"))) {
            if (!upgrade_read_extensions(value, &out->deflate))
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

int upgrade_check(const struct http_request *r, const char *subprotocols, struct upgrade *out,
                  enum close_reason *why)
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
             http_request_has_body(r) || upgrade_read_offers(r, subprotocols, out) == -1)
        *why = CLOSE_UPGRADE_HEADER;
    else if (!upgrade_origin_good(r))
        *why = CLOSE_BAD_ORIGIN;
    return *why == CLOSE_NONE ? 0 : -1;
}

int upgrade_response(const struct upgrade *u, struct buf *out)
{
    if (buf_reserve(out, 256) == -1 || /* one allocation for most */
        buf_append_lit(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: ") == -1 ||
        buf_append(out, (struct str){.p = u->accept, .n = WS_ACCEPT_LEN}) == -1 ||
        buf_append_lit(out, "\r\n") == -1 || buf_append(out, http_date_line()) == -1)
        return -1;
    if (u->subprotocol[0] != '\0' &&
        buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", u->subprotocol) == -1)
        return -1;
    if (u->deflate.window != 0 &&
        (buf_append_lit(out, "Sec-WebSocket-Extensions: ") == -1 ||
         ws_deflate_answer(&u->deflate, out) == -1 || buf_append_lit(out, "\r\n") == -1))
        return -1;
    return buf_append_lit(out, "\r\n");
}
