#include "core/engine_address.h"

#include <inttypes.h>

static const struct scheme {
    const char *text;
    enum engine_scheme scheme;
    bool tls;
    uint16_t port;
} schemes[] = {
    {"redis", ENGINE_SCHEME_REDIS, false, 6379},
    {"rediss", ENGINE_SCHEME_REDIS, true, 6379},
    {"redis+sentinel", ENGINE_SCHEME_SENTINEL, false, 26379},
    {"rediss+sentinel", ENGINE_SCHEME_SENTINEL, true, 26379},
    {"redis+cluster", ENGINE_SCHEME_CLUSTER, false, 6379},
    {"rediss+cluster", ENGINE_SCHEME_CLUSTER, true, 6379},
    {"nats", ENGINE_SCHEME_NATS, false, 4222},
    {"tls", ENGINE_SCHEME_NATS, true, 4222},
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded into dst. -1: malformed, with a NUL, or too long. */
static int decode(struct str s, char *dst, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];

        if (c == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return -1;
            c = hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]);
            i += 2;
        }
        if (c == 0 || n + 1 >= cap)
            return -1;
        dst[n++] = (char)c;
    }
    dst[n] = '\0';
    return 0;
}

static int take_credentials(struct str *s, struct engine_address *out)
{
    size_t at = s->n;
    struct str who, user;

    while (at > 0 && s->p[at - 1] != '@')
        at--;
    if (at == 0)
        return 0;
    who = (struct str){.p = s->p, .n = at - 1};
    *s = str_skip(*s, at);
    if (!str_cut(&who, ':', &user) || decode(user, out->user, sizeof(out->user)) == -1)
        return -1;
    return who.p == NULL ? 0 : decode(who, out->password, sizeof(out->password));
}

static int take_host(struct str s, struct engine_address *out)
{
    struct str host = s, port = STR_NULL;
    uint64_t number;

    if (s.n > 0 && s.p[0] == '[') {
        size_t end = str_find(s, ']');

        if (end == s.n)
            return -1;
        host = (struct str){.p = s.p + 1, .n = end - 1};
        s = str_skip(s, end + 1);
        if (s.n > 0 && s.p[0] != ':')
            return -1;
        port = s.n > 0 ? str_skip(s, 1) : STR_NULL;
    } else if (str_find(s, ':') < s.n) {
        host.n = str_find(s, ':');
        port = str_skip(s, host.n + 1);
    }
    if (port.p != NULL) {
        if (str_to_u64(port, &number) == -1 || number == 0 || number > UINT16_MAX)
            return -1;
        out->port = (uint16_t)number;
    }
    return host.n > 0 && decode(host, out->host, sizeof(out->host)) == 0 && out->host[0] != '/'
               ? 0
               : -1;
}

/* One of "?name=value&name=value". False: there is none of that name, or it is not for that scheme. */
static bool take_parameter(struct str one, struct engine_address *out)
{
    if (out->scheme == ENGINE_SCHEME_SENTINEL && str_starts_with(one, STR_LIT("master=")))
        return decode(str_skip(one, 7), out->master, sizeof(out->master)) == 0;
    if (out->scheme != ENGINE_SCHEME_NATS || !out->tls ||
        !str_starts_with(one, STR_LIT("handshake_first=")))
        return false;
    out->tls_first = str_equal(str_skip(one, 16), STR_LIT("true"));
    return out->tls_first || str_equal(str_skip(one, 16), STR_LIT("false"));
}

/* "/3", "?master=name" */
static int take_rest(struct str path, struct str query, struct engine_address *out, char *err,
                     size_t errcap)
{
    struct str one;
    uint64_t number;

    if (path.n > 0) {
        if ((out->scheme != ENGINE_SCHEME_REDIS && out->scheme != ENGINE_SCHEME_SENTINEL) ||
            str_to_u64(path, &number) == -1 || number > UINT8_MAX) {
            snprintf(err, errcap, "what follows the host is no number of a database");
            return -1;
        }
        out->database = (uint8_t)number;
    }
    while (query.n > 0 && str_cut(&query, '&', &one)) {
        if (take_parameter(one, out))
            continue;
        snprintf(err, errcap, "unknown parameter \"%.*s\"", STR_ARG(one));
        return -1;
    }
    if (out->scheme == ENGINE_SCHEME_SENTINEL && out->master[0] == '\0') {
        snprintf(err, errcap, "the name of the master is missing: add ?master=NAME");
        return -1;
    }
    return 0;
}

static const struct scheme *find_scheme(struct str s)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (str_equal(s, str_from(schemes[i].text)))
            return &schemes[i];
    return NULL;
}

/* One host of an entry: what stands in front of it and behind all of them is in *like. */
static int add_host(struct str host, const struct engine_address *like, struct engine_address *out,
                    unsigned max, unsigned *n, char *err, size_t errcap)
{
    if (*n == max) {
        snprintf(err, errcap,
                 max == 1 ? "several hosts where there can be one"
                          : "there are more hosts than 64");
        return -1;
    }
    out[*n] = *like;
    if (take_host(str_trim(host), &out[*n]) == -1) {
        snprintf(err, errcap, "\"%.*s\" is no host:port", STR_ARG(host));
        return -1;
    }
    ++*n;
    return 0;
}

/* host:port, with commas or line ends between where there may be several. */
static int take_hosts(struct str hosts, const struct engine_address *like,
                      struct engine_address *out, unsigned max, unsigned *n, char *err,
                      size_t errcap)
{
    unsigned before = *n;
    struct str part, host;

    while (str_cut(&hosts, '\n', &part))
        while (str_cut(&part, ',', &host))
            if (add_host(host, like, out, max, n, err, errcap) == -1)
                return -1;
    if (like->scheme == ENGINE_SCHEME_REDIS && *n - before > 1) {
        snprintf(err, errcap,
                 "each redis:// is a server of its own: write the scheme in front of each");
        return -1;
    }
    return 0;
}

/* Everything that begins with one scheme. Appends to out. */
static int parse_entry(struct str s, struct engine_address *out, unsigned max, unsigned *n,
                       char *err, size_t errcap)
{
    struct str scheme = {.p = s.p, .n = str_find(s, ':')}, hosts, path = STR_NULL, query = STR_NULL;
    const struct scheme *known = find_scheme(scheme);
    struct engine_address like = {0};

    if (str_starts_with(s, STR_LIT("unix:/"))) {
        if (*n < max && decode(str_skip(s, 5), like.host, sizeof(like.host)) == 0) {
            out[(*n)++] = like;
            return 0;
        }
        snprintf(err, errcap, "the path is too long");
        return -1;
    }
    if (known == NULL || !str_starts_with(str_skip(s, scheme.n), STR_LIT("://"))) {
        snprintf(err, errcap,
                 "an address begins with redis://, rediss://, redis+sentinel://, redis+cluster://, "
                 "nats://, tls:// or unix:/");
        return -1;
    }
    like.scheme = known->scheme;
    like.tls = known->tls;
    like.port = known->port;
    hosts = str_skip(s, scheme.n + 3);
    if (str_find(hosts, '?') < hosts.n) {
        query = str_skip(hosts, str_find(hosts, '?') + 1);
        hosts.n = str_find(hosts, '?');
    }
    if (str_find(hosts, '/') < hosts.n) {
        path = str_skip(hosts, str_find(hosts, '/') + 1);
        hosts.n = str_find(hosts, '/');
    }
    if (take_credentials(&hosts, &like) == -1) {
        snprintf(err, errcap,
                 "user or password cannot be read; other characters than letters and digits are "
                 "written as %%XX");
        return -1;
    }
    if (take_rest(path, query, &like, err, errcap) == -1)
        return -1;
    return take_hosts(hosts, &like, out, max, n, err, errcap);
}

static bool begins_entry(struct str line)
{
    size_t colon = str_find(line, ':');

    return str_starts_with(line, STR_LIT("unix:")) ||
           str_starts_with(str_skip(line, MIN(colon, line.n)), STR_LIT("://"));
}

int engine_addresses_parse(struct str list, struct engine_address out[ENGINE_ADDRESSES_MAX],
                           unsigned *n, char *err, size_t errcap)
{
    struct str line, entry = STR_NULL;

    *n = 0;
    while (list.n > 0 && str_cut(&list, '\n', &line)) {
        if (entry.n > 0 && !begins_entry(line)) {
            entry.n = (size_t)(line.p + line.n - entry.p);
            continue;
        }
        if (entry.n > 0 && parse_entry(entry, out, ENGINE_ADDRESSES_MAX, n, err, errcap) == -1)
            return -1;
        entry = line;
    }
    return entry.n == 0 ? 0 : parse_entry(entry, out, ENGINE_ADDRESSES_MAX, n, err, errcap);
}

void engine_address_format(const struct engine_address *a, char *out, size_t cap)
{
    bool v6 = strchr(a->host, ':') != NULL;
    const char *scheme = "redis";

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (schemes[i].scheme == a->scheme && schemes[i].tls == a->tls)
            scheme = schemes[i].text;
    if (a->host[0] == '/')
        snprintf(out, cap, "unix:%s", a->host);
    else
        snprintf(out, cap, "%s://%s%s%s:%u", scheme, v6 ? "[" : "", a->host, v6 ? "]" : "",
                 a->port);
}

bool engine_address_same_master(const struct engine_address *a, const struct engine_address *b)
{
    return a->scheme == ENGINE_SCHEME_SENTINEL && b->scheme == ENGINE_SCHEME_SENTINEL &&
           strcmp(a->master, b->master) == 0 && a->database == b->database;
}
