/* url.c - see url.h. */
#include "url.h"

static bool clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '#')
            return false;
    return true;
}

static int split_authority(struct str a, struct url *out)
{
    size_t end;

    if (a.n > 0 && a.p[0] == '[') {
        end = str_find(a, ']');
        if (end == a.n)
            return -1;
        out->host = (struct str){a.p + 1, end - 1};
        a = str_skip(a, end + 1);
    } else {
        end = str_find(a, ':');
        out->host = (struct str){a.p, end};
        a = str_skip(a, end);
    }
    if (a.n == 0)
        return 0;
    out->port = str_skip(a, 1);
    return a.p[0] == ':' ? 0 : -1;
}

bool url_has_scheme(struct str text, struct str scheme)
{
    return text.n >= scheme.n && str_equal_nocase((struct str){text.p, scheme.n}, scheme);
}

int url_split(struct str text, struct str scheme, struct str port, struct url *out,
              const char **why)
{
    struct str rest;
    uint64_t number;
    size_t end = 0;

    *why = "expected";
    if (!url_has_scheme(text, scheme))
        return -1;
    rest = str_skip(text, scheme.n);
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
        end++;
    *out = (struct url){.authority = {rest.p, end}, .port = port, .path = str_skip(rest, end)};
    *why = "a blank, a control character or a #fragment must be percent-encoded";
    if (!clean(text))
        return -1;
    *why = "user names are not supported; send them with --header";
    if (str_find(out->authority, '@') < out->authority.n)
        return -1;
    *why = "a query stands behind a path: /?";
    if (out->path.n > 0 && out->path.p[0] == '?')
        return -1;
    *why = "expected host or host:port, with brackets around an IPv6 address";
    if (split_authority(out->authority, out) == -1 || out->host.n == 0)
        return -1;
    *why = "the port is a number from 1 to 65535";
    return str_to_u64(out->port, &number) == -1 || number == 0 || number > 65535 ? -1 : 0;
}
