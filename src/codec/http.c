/* codec/http.c - request heads. */
#include "http_internal.h"

/* RFC 9112 §2.2: a server should ignore at least one empty line before the request line. */
static int read_empty_line(struct http_cursor *cur, enum close_reason *why)
{
    if (cur->p == cur->end)
        return 0;
    if (*cur->p != '\r')
        return 1;
    return http_read_crlf(cur, CLOSE_BAD_REQUEST_LINE, why);
}

static enum http_method method_of(struct str name)
{
    if (str_equal(name, STR_LIT("GET")))
        return HTTP_GET;
    if (str_equal(name, STR_LIT("HEAD")))
        return HTTP_HEAD;
    if (str_equal(name, STR_LIT("POST")))
        return HTTP_POST;
    if (str_equal(name, STR_LIT("OPTIONS")))
        return HTTP_OPTIONS;
    return HTTP_OTHER;
}

static int read_method(struct http_cursor *cur, struct str *name, enum close_reason *why)
{
    const char *start = cur->p;

    while (cur->p < cur->end && http_is(*cur->p, HTTP_C_TOKEN)) {
        if (cur->p - start == HTTP_METHOD_MAX)
            return http_fail(why, CLOSE_BAD_REQUEST_LINE);
        cur->p++;
    }
    if (cur->p == cur->end)
        return 0;
    if (cur->p == start || *cur->p != ' ')
        return http_fail(why, CLOSE_BAD_REQUEST_LINE);
    *name = http_view(start, cur->p++);
    return 1;
}

static int read_target(struct http_cursor *cur, struct str *target, enum close_reason *why)
{
    const char *start = cur->p;

    while (cur->p < cur->end && http_is(*cur->p, HTTP_C_TARGET))
        cur->p++;
    if (cur->p == cur->end)
        return 0;
    switch (*cur->p) {
    case ' ':
        if (cur->p == start)
            return http_fail(why, CLOSE_BAD_REQUEST_LINE);
        *target = http_view(start, cur->p++);
        return 1;
    case '\t':
    case '\r': /* no version: HTTP/0.9 */
    case '\n':
        return http_fail(why, CLOSE_BAD_REQUEST_LINE);
    default: /* a fragment, a control character, or not ASCII */
        return http_fail(why, CLOSE_BAD_TARGET);
    }
}

/* A later minor version is ours with additions that may be ignored (RFC 9110 §2.5); another major
 * one is 505, anything else malformed (§15.6.6). */
static int read_version(struct http_cursor *cur, uint8_t *minor, enum close_reason *why)
{
    static const char form[] = "HTTP/0.0"; /* '0' stands for any digit */
    char digit[2];
    size_t i, ndigits = 0;
    int rc;

    for (i = 0; i < sizeof(form) - 1; i++, cur->p++) {
        if (cur->p == cur->end)
            return 0;
        if (form[i] == '0' ? !http_is(*cur->p, HTTP_C_DIGIT) : *cur->p != form[i])
            return http_fail(why, CLOSE_BAD_REQUEST_LINE);
        if (form[i] == '0')
            digit[ndigits++] = *cur->p;
    }
    rc = http_read_crlf(cur, CLOSE_BAD_REQUEST_LINE, why);
    if (rc <= 0)
        return rc;
    if (digit[0] != '1')
        return http_fail(why, CLOSE_BAD_VERSION);
    *minor = digit[1] == '0' ? 0 : 1;
    return 1;
}

/* *target is set as soon as it is complete. */
static int read_request_line(struct http_cursor *cur, struct http_request *r, struct str *target,
                             struct str *authority, enum close_reason *why)
{
    int rc;

    if ((rc = read_empty_line(cur, why)) <= 0)
        return rc;
    if ((rc = read_method(cur, &r->method_name, why)) <= 0)
        return rc;
    if ((rc = read_target(cur, target, why)) <= 0)
        return rc;
    if ((rc = read_version(cur, &r->minor, why)) <= 0)
        return rc;
    r->method = method_of(r->method_name);
    if (http_target_split(*target, r, authority) == -1)
        return http_fail(why, CLOSE_BAD_TARGET);
    return 1;
}

/* RFC 9112 §3.2: exactly one, valid Host in HTTP/1.1. What an absolute-form target says counts, the
 * Host beside it does not (§3.2.2). */
static int check_host(struct http_request *r, struct str authority, enum close_reason *why)
{
    size_t count = http_fields_find(r->fields, r->nfields, STR_LIT("Host"), &r->host);

    if (count > 1 || (count == 0 && r->minor == 1))
        return http_fail(why, CLOSE_BAD_HOST);
    if (count == 1 && !http_host_valid(r->host))
        return http_fail(why, CLOSE_BAD_HOST);
    if (authority.p != NULL)
        r->host = authority;
    return 0;
}

/* RFC 9110 §10.1.1: the only expectation is 100-continue; it means nothing in HTTP/1.0 or without a
 * body. */
static int check_expect(struct http_request *r, enum close_reason *why)
{
    struct str value;
    size_t count = http_fields_find(r->fields, r->nfields, STR_LIT("Expect"), &value);

    r->expect_continue = false;
    if (count == 0 || r->minor == 0)
        return 0;
    if (count > 1 || !str_equal_nocase(value, STR_LIT("100-continue")))
        return http_fail(why, CLOSE_BAD_EXPECT);
    r->expect_continue = r->body == HTTP_BODY_CHUNKED || r->content_length > 0;
    return 0;
}

static int check_head(struct http_request *r, struct str authority, enum close_reason *why)
{
    if (check_host(r, authority, why) == -1)
        return -1;
    if (http_fields_framing(r->fields, r->nfields, r->minor, &r->body, &r->content_length, why) ==
        -1)
        return -1;
    if (check_expect(r, why) == -1)
        return -1;
    r->keep_alive = http_fields_keep_alive(r->fields, r->nfields, r->minor);
    return 0;
}

int http_request_parse(struct str *in, size_t max, size_t max_fields, struct http_request *out,
                       enum close_reason *why)
{
    struct http_cursor cur = {.p = in->p, .end = in->p};
    struct str target = STR_NULL, authority = STR_NULL;
    int rc;

    if (in->n > 0)
        cur.end += MIN(in->n, max);
    out->method_name = STR_NULL;
    out->nfields = 0;
    rc = read_request_line(&cur, out, &target, &authority, why);
    if (rc > 0)
        rc = http_read_fields(&cur, out->fields, MIN(max_fields, (size_t)HTTP_MAX_FIELDS),
                              &out->nfields, why);
    if (rc == 0 && in->n >= max)
        return http_fail(why, out->method_name.p != NULL && target.p == NULL
                                  ? CLOSE_URI_TOO_LONG
                                  : CLOSE_HEADER_TOO_BIG);
    if (rc <= 0)
        return rc;
    if (check_head(out, authority, why) == -1)
        return -1;
    *in = str_skip(*in, (size_t)(cur.p - in->p));
    return 1;
}

struct str http_field_get(const struct http_request *r, struct str name, bool *repeated)
{
    struct str value;
    size_t count = http_fields_find(r->fields, r->nfields, name, &value);

    if (repeated != NULL)
        *repeated = count > 1;
    return value;
}

bool http_field_has_token(const struct http_request *r, struct str name, struct str token)
{
    return http_fields_have_token(r->fields, r->nfields, name, token);
}
