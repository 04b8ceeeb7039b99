/* base/table_origin.c - web origins as browsers send them (RFC 6454 §6.2): scheme and host in lower
 * case, no default port, nothing behind. Globs stay globs. */
#include "table_internal.h"

static bool is_scheme_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' ||
           c == '*' || c == '?';
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '*' || c == '?';
}

static bool is_v6_char(char c)
{
    return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9') || c == ':' || c == '.';
}

static bool all(struct str s, bool (*is)(char))
{
    for (size_t i = 0; i < s.n; i++)
        if (!is(s.p[i]))
            return false;
    return s.n > 0;
}

static const char *check_port(struct str port)
{
    uint64_t n;

    if (str_find(port, '*') < port.n || str_find(port, '?') < port.n)
        return NULL;
    if (str_to_u64(port, &n) == -1 || n > UINT16_MAX)
        return "an origin whose port is a number from 0 to 65535 or a glob";
    return NULL;
}

/* *host loses its port where that is the scheme's own. */
static const char *check_authority(struct str scheme, struct str *authority)
{
    struct str host = *authority, port = STR_NULL;
    size_t end = 0;

    if (host.n > 0 && host.p[0] == '[')
        end = str_find(host, ']');
    end += str_find(str_skip(host, MIN(end, host.n)), ':');
    if (end < host.n) {
        port = str_skip(host, end + 1);
        host.n = end;
    }
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        if (!all((struct str){host.p + 1, host.n - 2}, is_v6_char))
            return "an origin whose host is an address or a name";
    } else if (!all(host, is_host_char)) {
        return "an origin whose host is an address or a name in ASCII (browsers send others as "
               "xn--...)";
    }
    if (port.p == NULL)
        return NULL;
    if ((str_equal(port, STR_LIT("80")) && str_equal(scheme, STR_LIT("http"))) ||
        (str_equal(port, STR_LIT("443")) && str_equal(scheme, STR_LIT("https"))))
        *authority = host;
    return check_port(port);
}

/* What follows the host, but one "/", which people copy from the address bar. */
static const char *check_end(struct str *authority)
{
    for (size_t i = 0; i < authority->n; i++) {
        char c = authority->p[i];

        if (c == '@')
            return "an origin without a user name";
        if (c != '/' && c != '#')
            continue;
        if (c == '#' || i + 1 < authority->n)
            return "an origin without a path, as browsers send none";
        authority->n = i;
    }
    return NULL;
}

const char *table_origin(struct str in, char *out, size_t cap)
{
    struct str scheme, authority;
    const char *wrong;
    size_t colon;

    if (in.n >= cap || memchr(in.p != NULL ? in.p : "", '\0', in.n) != NULL)
        return "an origin of at most 299 bytes";
    for (size_t i = 0; i < in.n; i++)
        out[i] = in.p[i] >= 'A' && in.p[i] <= 'Z' ? (char)(in.p[i] | 0x20) : in.p[i];
    out[in.n] = '\0';
    if (str_equal(in, STR_LIT("*")) || str_equal(str_from(out), STR_LIT("null")))
        return NULL; /* all; what pages without an origin of their own send */
    colon = str_find(str_from(out), ':');
    if (colon + 3 > in.n || memcmp(out + colon, "://", 3) != 0)
        return "an origin with its scheme, such as https://example.com (*://example.com is any)";
    scheme = (struct str){out, colon};
    authority = str_skip(str_from(out), colon + 3);
    wrong = check_end(&authority);
    if (wrong == NULL && !all(scheme, is_scheme_char))
        wrong = "an origin with its scheme, such as https://example.com";
    if (wrong == NULL)
        wrong = check_authority(scheme, &authority);
    if (wrong == NULL)
        out[(size_t)(authority.p - out) + authority.n] = '\0';
    return wrong;
}
