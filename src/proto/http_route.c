/* proto/http_route.c - which resource a request is for, and whether it may ask. */
#include "base/config.h"
#include "base/metrics.h"
#include "http_internal.h"

#define HTTP_TABLES_MAX 32

static struct http_table {
    const struct http_resource *rows; /* borrowed for ever */
    size_t n;
} http_tables[HTTP_TABLES_MAX];
static size_t http_table_count;

static char http_path[HTTP_MAX_HEAD]; /* decoded rest of the path of the request in hand */

void http_register(const struct http_resource *table, size_t n)
{
    if (http_table_count == HTTP_TABLES_MAX) {
        fprintf(stderr, "roost: more than %d tables of HTTP resources\n", HTTP_TABLES_MAX);
        exit(1);
    }
    http_tables[http_table_count++] = (struct http_table){.rows = table, .n = n};
}

/* The raw path is compared: an escape in a fixed path names another resource, one that does not
 * exist. */
static bool http_resource_matches(const struct http_resource *res, struct str path, unsigned where)
{
    struct str own = str_from(res->path);

    if ((res->where & where) == 0 || (res->enabled != NULL && !res->enabled()))
        return false;
    return res->prefix ? str_starts_with(path, own) : str_equal(path, own);
}

static const struct http_resource *http_resource_find(struct str path, unsigned where)
{
    for (size_t t = 0; t < http_table_count; t++)
        for (size_t i = 0; i < http_tables[t].n; i++)
            if (http_resource_matches(&http_tables[t].rows[i], path, where))
                return &http_tables[t].rows[i];
    return NULL;
}

bool http_key_equal(struct str presented, struct str key)
{
    volatile size_t diff = presented.n ^ key.n;

    for (size_t i = 0; i < presented.n; i++)
        diff |= (size_t)(unsigned char)(presented.p[i] ^ key.p[key.n == 0 ? 0 : i % key.n]);
    return diff == 0;
}

/* "apikey KEY", or "Bearer KEY" where res takes that: the scheme's name ignores case (RFC 9110
 * §11.1). */
static bool http_key_in_authorization(const struct http_resource *res, const struct http_request *r,
                                      struct str key)
{
    struct str given = http_field_get(r, STR_LIT("Authorization"), NULL);
    struct str scheme;

    if (given.p == NULL || !str_cut(&given, ' ', &scheme) || given.p == NULL)
        return false;
    return (str_equal_nocase(scheme, STR_LIT("apikey")) ||
            (res->bearer && str_equal_nocase(scheme, STR_LIT("Bearer")))) &&
           http_key_equal(str_trim(given), key);
}

static bool http_key_in_query(const struct http_request *r, struct str key)
{
    char text[CONFIG_STRING_MAX];
    struct str rest = r->query, name, value;
    bool good = false;
    size_t n;

    while (rest.p != NULL && http_query_next(&rest, &name, &value)) {
        if (!str_equal(name, STR_LIT("api_key")))
            continue;
        if (http_percent_decode(value, text, sizeof(text), &n) == 0)
            good |= http_key_equal((struct str){.p = text, .n = n}, key);
    }
    return good;
}

static bool http_key_given(const struct http_resource *res, const struct http_request *r,
                           struct str key)
{
    bool repeated = false;
    struct str given = http_field_get(r, STR_LIT("X-API-Key"), &repeated);

    if (key.n == 0)
        return false;
    if (given.p != NULL && !repeated && http_key_equal(given, key))
        return true;
    return http_key_in_authorization(res, r, key) || http_key_in_query(r, key);
}

/* On the client listener nobody is let in for want of a key, unless that is said. */
static bool http_key_needed(const struct http_exchange *x)
{
    if (!x->resource->needs_key)
        return false;
    if (x->conn->flags & CONN_ADMIN)
        return config.api_key[0] != '\0';
    return !x->resource->client_open && !config.api_insecure;
}

static struct str http_own_key(const struct http_resource *res)
{
    return res->own_key == 0 ? STR_NULL : str_from((const char *)&config + res->own_key);
}

/* Whoever has not the right key is answered, but has to connect again and again: a connection for
 * every few guesses, and a count of all of them. */
static bool http_key_good(struct http_exchange *x, const struct http_request *r)
{
    struct http_session *s = http_session(x->conn);

    if (http_key_given(x->resource, r, str_from(config.api_key)) ||
        http_key_given(x->resource, r, str_from(config.api_key_old)) ||
        http_key_given(x->resource, r, http_own_key(x->resource))) {
        s->keyless = 0;
        return true;
    }
    METRIC_INC(api_key_failures);
    if (++s->keyless >= HTTP_KEY_TRIES)
        x->keep_alive = false;
    return false;
}

static int http_path_decode(struct http_exchange *x, const struct http_request *r)
{
    struct str rest = str_skip(r->path, str_from(x->resource->path).n);
    size_t n;

    if (http_percent_decode(rest, http_path, sizeof(http_path), &n) == -1)
        return -1;
    x->path = (struct str){.p = http_path, .n = n};
    return 0;
}

void http_route_path(struct http_exchange *x, const struct http_request *r)
{
    /* It was decoded when the request was routed; http_path may have served another one since. */
    if (http_path_decode(x, r) == -1)
        x->path = STR_NULL;
}

unsigned http_route_methods(const struct http_resource *res)
{
    unsigned methods = res->methods;

    /* A handshake has no answer that HEAD could be given without its body. */
    if ((methods & 1u << HTTP_GET) && !res->handshake)
        methods |= 1u << HTTP_HEAD;
    return methods;
}

int http_route(struct http_exchange *x, const struct http_request *r, enum close_reason *why)
{
    unsigned where = x->conn->flags & CONN_ADMIN ? HTTP_ON_ADMIN : HTTP_ON_CLIENT;
    unsigned methods;

    *why = CLOSE_NOT_FOUND;
    if (str_equal(r->path, STR_LIT("*"))) /* OPTIONS *: of the server as a whole */
        *why = CLOSE_BAD_METHOD;
    x->resource = http_resource_find(r->path, where);
    if (http_guard(x, r, why) == -1 || x->resource == NULL)
        return -1;
    *why = CLOSE_BAD_METHOD;
    methods = http_route_methods(x->resource);
    if (r->method == HTTP_OTHER || !(methods & 1u << r->method))
        return -1;
    *why = CLOSE_UNAUTHORIZED;
    if (http_key_needed(x) && !http_key_good(x, r))
        return -1;
    *why = CLOSE_BAD_TARGET;
    return http_path_decode(x, r);
}

bool http_route_always(const struct http_request *r)
{
    return (r->method == HTTP_GET || r->method == HTTP_HEAD) &&
           str_equal(r->path, STR_LIT("/healthz"));
}
