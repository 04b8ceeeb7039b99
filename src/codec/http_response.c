/* codec/http_response.c - response heads, for clients; status phrases. */
#include "http_internal.h"

/* status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 §4). Servers that leave
 * out the second SP together with the phrase are common enough to be understood. */
static int read_status_line(struct http_cursor *cur, struct http_response *r, uint8_t *minor,
                            enum close_reason *why)
{
    static const char form[] = "HTTP/1.0 000"; /* '0' stands for any digit (RFC 9110 §2.5) */
    const char *start = cur->p;
    size_t i;

    for (i = 0; i < sizeof(form) - 1; i++, cur->p++) {
        if (cur->p == cur->end)
            return 0;
        if (form[i] == '0' ? !http_is(*cur->p, HTTP_C_DIGIT) : *cur->p != form[i])
            return http_fail(why, i < 8 ? CLOSE_BAD_VERSION : CLOSE_BAD_HEADER);
    }
    *minor = start[7] == '0' ? 0 : 1;
    r->status = (start[9] - '0') * 100 + (start[10] - '0') * 10 + (start[11] - '0');
    if (r->status < 100)
        return http_fail(why, CLOSE_BAD_HEADER);
    r->reason = http_view(cur->p, cur->p);
    if (cur->p < cur->end && *cur->p == ' ') {
        start = ++cur->p;
        while (cur->p < cur->end && http_is(*cur->p, HTTP_C_VALUE))
            cur->p++;
        r->reason = http_view(start, cur->p);
    }
    return http_read_crlf(cur, CLOSE_BAD_HEADER, why);
}

/* RFC 9112 §6.3 item 1: these have no body, whatever their fields say. */
static bool status_has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

int http_response_parse(struct str *in, size_t max, struct http_response *out,
                        enum close_reason *why)
{
    struct http_cursor cur = {.p = in->p, .end = in->p};
    uint8_t minor = 0;
    int rc;

    if (in->n > 0)
        cur.end += MIN(in->n, max);
    out->nfields = 0;
    rc = read_status_line(&cur, out, &minor, why);
    if (rc > 0)
        rc = http_read_fields(&cur, out->fields, HTTP_RESPONSE_FIELDS, &out->nfields, why);
    if (rc == 0 && in->n >= max)
        return http_fail(why, CLOSE_HEADER_TOO_BIG);
    if (rc <= 0)
        return rc;
    if (http_fields_framing(out->fields, out->nfields, minor, &out->body, &out->content_length,
                            why) == -1)
        return -1;
    if (status_has_no_body(out->status)) {
        out->body = HTTP_BODY_LENGTH;
        out->content_length = 0;
    }
    out->keep_alive = http_fields_keep_alive(out->fields, out->nfields, minor);
    *in = str_skip(*in, (size_t)(cur.p - in->p));
    return 1;
}

int http_response_final(struct str *in, size_t max, struct http_response *out,
                        enum close_reason *why)
{
    struct str rest = *in;
    int rc;

    do {
        size_t used = in->n - rest.n;

        if (used >= max)
            return http_fail(why, CLOSE_HEADER_TOO_BIG);
        rc = http_response_parse(&rest, max - used, out, why);
    } while (rc > 0 && out->status < 200 && out->status != 101);
    if (rc > 0)
        *in = rest;
    return rc;
}

struct str http_response_field(const struct http_response *r, struct str name)
{
    struct str value;

    http_fields_find(r->fields, r->nfields, name, &value);
    return value;
}

const char *http_status_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].status == status)
            return rows[i].phrase;
    }
    return "Unknown";
}
