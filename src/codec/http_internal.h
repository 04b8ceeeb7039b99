/* codec/http_internal.h - what http.c and the http_*.c of codec share; nobody else
 * includes it. */
#ifndef ROOST_CODEC_HTTP_INTERNAL_H
#define ROOST_CODEC_HTTP_INTERNAL_H

#include "codec/http.h"

/* Classes of a byte; a byte is in any number of them. */
#define HTTP_C_TOKEN  0x01u /* tchar, RFC 9110 §5.6.2 */
#define HTTP_C_TARGET 0x02u /* visible ASCII except '#': what a request target may hold */
#define HTTP_C_VALUE  0x04u /* field-vchar, SP, HTAB, RFC 9110 §5.5 */
#define HTTP_C_HOST   0x08u /* reg-name without pct-encoded, RFC 3986 §3.2.2 */
#define HTTP_C_DIGIT  0x10u
#define HTTP_C_HEX    0x20u

extern const uint8_t http_class[256];

static inline bool http_is(char c, unsigned class_bits)
{
    return (http_class[(uint8_t)c] & class_bits) != 0;
}

/* Value of a byte of class HEX. */
static inline unsigned http_hex_value(char c)
{
    return http_is(c, HTTP_C_DIGIT) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* Place in a head that may be incomplete. The http_read_* functions return >0 done, 0 the input
 * ends first, <0 refused with *why. They go strictly from left to right and judge by what they have
 * passed alone, so a head is refused at the same byte for the same reason however it arrived. */
struct http_cursor {
    const char *p, *end; /* borrowed */
};

static inline int http_fail(enum close_reason *why, enum close_reason reason)
{
    *why = reason;
    return -1;
}

static inline struct str http_view(const char *from, const char *to)
{
    return (struct str){.p = from, .n = (size_t)(to - from)};
}

/* The CRLF at which the cursor stands; anything else is refused as `reason`. */
int http_read_crlf(struct http_cursor *cur, enum close_reason reason,
                   enum close_reason *why) MUST_CHECK;
/* Field lines and the empty line behind them; more than max of them are HEADER_TOO_BIG. */
int http_read_fields(struct http_cursor *cur, struct http_field *fields, size_t max, size_t *n,
                     enum close_reason *why) MUST_CHECK;

/* First field of that name, its value in *value (p == NULL when absent). Returns how many there
 * are. */
size_t http_fields_find(const struct http_field *fields, size_t n, struct str name,
                        struct str *value);
bool http_fields_have_token(const struct http_field *fields, size_t n, struct str name,
                            struct str token);
/* Body framing by RFC 9112 §6.3. 0, or -1 with *why. */
int http_fields_framing(const struct http_field *fields, size_t n, uint8_t minor,
                        enum http_body_kind *kind, uint64_t *length,
                        enum close_reason *why) MUST_CHECK;
bool http_fields_keep_alive(const struct http_field *fields, size_t n, uint8_t minor);

/* Splits a target into r->path and r->query (r->method is set). *authority is that of the
 * absolute-form, else p == NULL. -1: none of the forms that an origin server takes. */
int http_target_split(struct str target, struct http_request *r, struct str *authority) MUST_CHECK;
/* Is s uri-host [ ":" port ] (RFC 9110 §7.2), not empty? */
bool http_host_valid(struct str s);

/* http_accept.c: what http_param_next() takes, without the ";" before it. */
int http_pair_next(struct str *rest, struct str *name, struct str *value) MUST_CHECK;

/* http_accept.c: a qvalue (RFC 9110 §12.4.2) in thousandths. -1: it is none. */
int http_read_weight(struct str s, unsigned *out) MUST_CHECK;

#endif
