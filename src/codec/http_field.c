/* codec/http_field.c - byte classes, field lines, lists, and what the framing fields mean. */
#include "http_internal.h"

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_ALPHA(c) ((((c) | 0x20) >= 'a') && (((c) | 0x20) <= 'z'))
#define IS_HEX(c)   (IS_DIGIT(c) || ((((c) | 0x20) >= 'a') && (((c) | 0x20) <= 'f')))
#define IS_TOKEN(c)                                                                                \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' ||         \
     (c) == '&' || (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' ||          \
     (c) == '^' || (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define IS_TARGET(c) ((c) > 0x20 && (c) < 0x7f && (c) != '#')
#define IS_VALUE(c)  ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
#define IS_HOST(c)                                                                                 \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' ||         \
     (c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' ||          \
     (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define CLASS(c)                                                                                   \
    ((IS_TOKEN(c) ? HTTP_C_TOKEN : 0) | (IS_TARGET(c) ? HTTP_C_TARGET : 0) |                       \
     (IS_VALUE(c) ? HTTP_C_VALUE : 0) | (IS_HOST(c) ? HTTP_C_HOST : 0) |                           \
     (IS_DIGIT(c) ? HTTP_C_DIGIT : 0) | (IS_HEX(c) ? HTTP_C_HEX : 0))
#define CLASS_4(c)  CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define CLASS_16(c) CLASS_4(c), CLASS_4((c) + 4), CLASS_4((c) + 8), CLASS_4((c) + 12)
#define CLASS_64(c) CLASS_16(c), CLASS_16((c) + 16), CLASS_16((c) + 32), CLASS_16((c) + 48)

const uint8_t http_class[256] = {CLASS_64(0), CLASS_64(64), CLASS_64(128), CLASS_64(192)};

int http_read_crlf(struct http_cursor *cur, enum close_reason reason, enum close_reason *why)
{
    if (cur->p == cur->end)
        return 0;
    if (*cur->p != '\r')
        return http_fail(why, reason);
    if (cur->end - cur->p == 1)
        return 0;
    if (cur->p[1] != '\n')
        return http_fail(why, reason);
    cur->p += 2;
    return 1;
}

static struct str trim_ows(const char *from, const char *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return http_view(from, to);
}

/* One field line. White space at its start is obs-fold (RFC 9112 §5.2), white space before the
 * colon an attack (§5.1): neither is in a token, so both are refused. */
static int read_field(struct http_cursor *cur, struct http_field *field, enum close_reason *why)
{
    const char *start = cur->p;

    while (cur->p < cur->end && http_is(*cur->p, HTTP_C_TOKEN))
        cur->p++;
    if (cur->p == cur->end)
        return 0;
    if (cur->p == start || *cur->p != ':')
        return http_fail(why, CLOSE_BAD_HEADER);
    field->name = http_view(start, cur->p++);
    start = cur->p;
    while (cur->p < cur->end && http_is(*cur->p, HTTP_C_VALUE))
        cur->p++;
    field->value = trim_ows(start, cur->p);
    return http_read_crlf(cur, CLOSE_BAD_HEADER, why);
}

int http_read_fields(struct http_cursor *cur, struct http_field *fields, size_t max, size_t *n,
                     enum close_reason *why)
{
    int rc;

    for (;;) {
        if (cur->p == cur->end)
            return 0;
        if (*cur->p == '\r')
            return http_read_crlf(cur, CLOSE_BAD_HEADER, why);
        if (*n == max)
            return http_fail(why, CLOSE_HEADER_TOO_BIG);
        rc = read_field(cur, &fields[*n], why);
        if (rc <= 0)
            return rc;
        (*n)++;
    }
}

size_t http_fields_find(const struct http_field *fields, size_t n, struct str name,
                        struct str *value)
{
    size_t i, count = 0;

    *value = STR_NULL;
    for (i = 0; i < n; i++) {
        if (!str_equal_nocase(fields[i].name, name))
            continue;
        if (count++ == 0)
            *value = fields[i].value;
    }
    return count;
}

bool http_fields_have_token(const struct http_field *fields, size_t n, struct str name,
                            struct str token)
{
    struct str rest, element;
    size_t i;

    for (i = 0; i < n; i++) {
        if (!str_equal_nocase(fields[i].name, name))
            continue;
        rest = fields[i].value;
        while (http_list_next(&rest, &element)) {
            if (str_equal_nocase(element, token))
                return true;
        }
    }
    return false;
}

/* RFC 9112 §6.1 and §6.3, the strict side of each choice: whatever request smuggling is made of is
 * refused. A list such as "5, 5" is not digits and so refused, too. */
int http_fields_framing(const struct http_field *fields, size_t n, uint8_t minor,
                        enum http_body_kind *kind, uint64_t *length, enum close_reason *why)
{
    struct str cl, te;
    size_t ncl = http_fields_find(fields, n, STR_LIT("Content-Length"), &cl);
    size_t nte = http_fields_find(fields, n, STR_LIT("Transfer-Encoding"), &te);

    *kind = HTTP_BODY_NONE;
    *length = 0;
    if (ncl > 1 || (nte > 0 && (ncl > 0 || minor == 0)))
        return http_fail(why, CLOSE_BAD_LENGTH);
    if (nte > 0) {
        if (nte > 1 || !str_equal_nocase(te, STR_LIT("chunked")))
            return http_fail(why, CLOSE_BAD_TRANSFER);
        *kind = HTTP_BODY_CHUNKED;
        return 0;
    }
    if (ncl > 0) {
        if (str_to_u64(cl, length) == -1)
            return http_fail(why, CLOSE_BAD_LENGTH);
        *kind = HTTP_BODY_LENGTH;
    }
    return 0;
}

bool http_fields_keep_alive(const struct http_field *fields, size_t n, uint8_t minor)
{
    static const struct str name = {.p = "Connection", .n = 10};

    if (http_fields_have_token(fields, n, name, STR_LIT("close")))
        return false;
    return minor == 1 || http_fields_have_token(fields, n, name, STR_LIT("keep-alive"));
}

/* End of the list element that starts at p: the next comma outside quotes (RFC 9110 §5.6.1,
 * §5.6.4). */
static const char *element_end(const char *p, const char *end)
{
    bool quoted = false;

    for (; p < end; p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (*p == '\\' && quoted && end - p > 1)
            p++;
        else if (*p == ',' && !quoted)
            break;
    }
    return p;
}

bool http_list_next(struct str *rest, struct str *element)
{
    while (rest->n > 0) {
        const char *end = rest->p + rest->n;
        const char *comma = element_end(rest->p, end);

        *element = trim_ows(rest->p, comma);
        *rest = http_view(comma < end ? comma + 1 : end, end);
        if (element->n > 0)
            return true;
    }
    return false;
}

bool http_is_token(struct str s)
{
    size_t i;

    for (i = 0; i < s.n; i++) {
        if (!http_is(s.p[i], HTTP_C_TOKEN))
            return false;
    }
    return s.n > 0;
}
