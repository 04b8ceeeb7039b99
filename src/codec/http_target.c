/* codec/http_target.c - request targets, Host, percent-encoding, queries. */
#include <arpa/inet.h>

#include "http_internal.h"

static bool skip_scheme(struct str *s)
{
    static const struct str schemes[] = {{.p = "http://", .n = 7},
                                         {.p = "https://", .n = 8},
                                         {.p = "ws://", .n = 5},
                                         {.p = "wss://", .n = 6}};
    size_t i;

    for (i = 0; i < ARRAY_LEN(schemes); i++) {
        if (s->n >= schemes[i].n &&
            str_equal_nocase((struct str){.p = s->p, .n = schemes[i].n}, schemes[i])) {
            *s = str_skip(*s, schemes[i].n);
            return true;
        }
    }
    return false;
}

static void split_query(struct str s, struct http_request *r)
{
    size_t mark = str_find(s, '?');

    r->path = (struct str){.p = s.p, .n = mark};
    r->query = mark < s.n ? str_skip(s, mark + 1) : STR_NULL;
}

/* absolute-form, RFC 9112 §3.2.2; with the schemes of RFC 6455 §3, too. No userinfo: RFC 9110
 * §4.2.4. */
static int split_absolute(struct str s, struct http_request *r, struct str *authority)
{
    size_t n = 0;

    if (!skip_scheme(&s))
        return -1;
    while (n < s.n && s.p[n] != '/' && s.p[n] != '?')
        n++;
    *authority = (struct str){.p = s.p, .n = n};
    if (!http_host_valid(*authority))
        return -1;
    s = str_skip(s, n);
    split_query(s, r);
    if (r->path.n == 0) /* RFC 9110 §4.2.3, and RFC 9112 §3.2.4 for OPTIONS */
        r->path = r->method == HTTP_OPTIONS && s.n == 0 ? STR_LIT("*") : STR_LIT("/");
    return 0;
}

int http_target_split(struct str target, struct http_request *r, struct str *authority)
{
    *authority = STR_NULL;
    if (target.n > 0 && target.p[0] == '/') {
        split_query(target, r);
        return 0;
    }
    if (str_equal(target, STR_LIT("*"))) {
        r->path = target;
        r->query = STR_NULL;
        return r->method == HTTP_OPTIONS ? 0 : -1;
    }
    return split_absolute(target, r, authority); /* authority-form is for proxies */
}

/* "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ), RFC 3986 §3.2.2. */
static bool ip_future(struct str s)
{
    size_t i = 1;

    if (s.n == 0 || (s.p[0] | 0x20) != 'v')
        return false;
    while (i < s.n && http_is(s.p[i], HTTP_C_HEX))
        i++;
    if (i == 1 || i + 1 >= s.n || s.p[i] != '.')
        return false;
    while (++i < s.n)
        if (!http_is(s.p[i], HTTP_C_HOST) && s.p[i] != ':')
            return false;
    return true;
}

/* "[" ( IPv6address / IPvFuture ) "]" at the start of s; its length, or 0. */
static size_t ip_literal(struct str s)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];
    size_t end = str_find(s, ']');
    struct str inner = {.p = s.p + 1, .n = end - 1};

    if (end == s.n)
        return 0;
    if (ip_future(inner))
        return end + 1;
    if (str_copy(inner, text, sizeof(text)) == -1)
        return 0;
    return inet_pton(AF_INET6, text, &address) == 1 ? end + 1 : 0;
}

/* reg-name or IPv4address at the start of s; its length, or 0. */
static size_t reg_name(struct str s)
{
    size_t i = 0;

    while (i < s.n) {
        if (http_is(s.p[i], HTTP_C_HOST))
            i++;
        else if (s.p[i] == '%' && s.n - i >= 3 && http_is(s.p[i + 1], HTTP_C_HEX) &&
                 http_is(s.p[i + 2], HTTP_C_HEX))
            i += 3;
        else
            break;
    }
    return i;
}

bool http_host_valid(struct str s)
{
    uint64_t port;
    size_t n;

    if (s.n == 0)
        return false;
    n = s.p[0] == '[' ? ip_literal(s) : reg_name(s);
    if (n == 0)
        return false;
    s = str_skip(s, n);
    if (s.n == 0)
        return true;
    if (s.p[0] != ':')
        return false;
    s = str_skip(s, 1);
    return s.n == 0 || (s.n <= 5 && str_to_u64(s, &port) == 0 && port <= UINT16_MAX);
}

int http_percent_decode(struct str s, char *out, size_t cap, size_t *n)
{
    size_t i, len = 0;

    for (i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '%') {
            if (s.n - i < 3 || !http_is(s.p[i + 1], HTTP_C_HEX) || !http_is(s.p[i + 2], HTTP_C_HEX))
                return -1;
            c = (char)(http_hex_value(s.p[i + 1]) << 4 | http_hex_value(s.p[i + 2]));
            i += 2;
        }
        if (len == cap)
            return -1;
        out[len++] = c;
    }
    *n = len;
    return 0;
}

int http_percent_encode(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~' || c == '/' || c == ':';

        if ((plain ? buf_append_char(out, (char)c) : buf_printf(out, "%%%02X", c)) == -1)
            return -1;
    }
    return 0;
}

bool http_query_next(struct str *rest, struct str *key, struct str *value)
{
    while (rest->n > 0) {
        size_t end = str_find(*rest, '&');
        struct str pair = {.p = rest->p, .n = end};
        size_t mark = str_find(pair, '=');

        *rest = str_skip(*rest, end < rest->n ? end + 1 : end);
        if (pair.n == 0)
            continue;
        *key = (struct str){.p = pair.p, .n = mark};
        *value = str_skip(pair, mark < pair.n ? mark + 1 : mark);
        return true;
    }
    return false;
}
