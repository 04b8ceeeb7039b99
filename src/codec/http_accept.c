/* codec/http_accept.c - parameters of list elements, and what Accept says of a media type. */
#include "http_internal.h"

static struct str skip_ows(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    return s;
}

/* The token at the start of *rest, which may be empty. */
static struct str take_token(struct str *rest)
{
    size_t n = 0;
    struct str token;

    while (n < rest->n && http_is(rest->p[n], HTTP_C_TOKEN))
        n++;
    token = (struct str){.p = rest->p, .n = n};
    *rest = str_skip(*rest, n);
    return token;
}

/* quoted-string at the start of *rest, RFC 9110 §5.6.4; *value is what stands between
 * the quotes. */
static int take_quoted(struct str *rest, struct str *value)
{
    size_t i = 1;

    while (i < rest->n && rest->p[i] != '"')
        i += rest->p[i] == '\\' ? 2 : 1;
    if (i >= rest->n)
        return -1;
    *value = (struct str){.p = rest->p + 1, .n = i - 1};
    *rest = str_skip(*rest, i + 1);
    return 0;
}

int http_param_next(struct str *rest, struct str *name, struct str *value)
{
    *rest = skip_ows(*rest);
    *value = STR_NULL;
    if (rest->n == 0)
        return 0;
    if (rest->p[0] != ';')
        return -1;
    *rest = str_skip(*rest, 1);
    return http_pair_next(rest, name, value);
}

int http_pair_next(struct str *rest, struct str *name, struct str *value)
{
    *value = STR_NULL;
    *rest = skip_ows(*rest);
    *name = take_token(rest);
    if (name->n == 0 || rest->n == 0 || rest->p[0] != '=')
        return 1;
    *rest = str_skip(*rest, 1);
    if (rest->n > 0 && rest->p[0] == '"')
        return take_quoted(rest, value) == -1 ? -1 : 1;
    *value = take_token(rest);
    return value->n > 0 ? 1 : -1;
}

int http_read_weight(struct str s, unsigned *out)
{
    unsigned scale = 100;

    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return -1;
    *out = s.p[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < s.n; i++, scale /= 10) {
        if (!http_is(s.p[i], HTTP_C_DIGIT))
            return -1;
        *out += (unsigned)(s.p[i] - '0') * scale;
    }
    return *out <= 1000 ? 0 : -1;
}

/* How precisely a media range names the type, 1 to 3; 0: it does not. */
static unsigned range_names(struct str range, struct str type)
{
    size_t slash = str_find(type, '/');

    if (str_equal_nocase(range, type))
        return 3;
    if (range.n == slash + 2 && range.p[slash + 1] == '*' &&
        str_equal_nocase((struct str){range.p, slash + 1}, (struct str){type.p, slash + 1}))
        return 2;
    return str_equal(range, STR_LIT("*/*")) ? 1 : 0;
}

/* One element of Accept. Malformed, or of another version: names nothing. */
static unsigned accept_element(struct str element, struct str type, struct str version,
                               unsigned *weight)
{
    struct str range = str_trim((struct str){element.p, str_find(element, ';')});
    struct str rest = str_skip(element, str_find(element, ';')), name, value;
    unsigned precision = range_names(range, type);
    int rc = 0;

    *weight = 1000;
    while (precision > 0 && (rc = http_param_next(&rest, &name, &value)) > 0) {
        if (str_equal_nocase(name, STR_LIT("q"))) {
            if (http_read_weight(value, weight) == -1)
                return 0;
        } else if (str_equal_nocase(name, STR_LIT("version"))) {
            if (!str_equal(value, version))
                return 0;
            precision += precision == 3;
        }
    }
    return rc < 0 ? 0 : precision;
}

unsigned http_accept_weight(const struct http_request *r, struct str type, struct str version,
                            unsigned *precision)
{
    unsigned best = 0, weight, p;
    bool any = false;

    *precision = 0;
    for (size_t i = 0; i < r->nfields; i++) {
        struct str rest = r->fields[i].value, element;

        if (!str_equal_nocase(r->fields[i].name, STR_LIT("Accept")))
            continue;
        any = true;
        while (http_list_next(&rest, &element)) {
            p = accept_element(element, type, version, &weight);
            if (p > *precision || (p > 0 && p == *precision && weight > best)) {
                *precision = p;
                best = weight;
            }
        }
    }
    return any ? best : 1000;
}
