/* codec/http.h - HTTP/1.1 request heads and bodies (RFC 9110, RFC 9112), strict.
 *
 * Pure parsing: bytes in, views out; no sockets, no clocks. Refuses what two implementations could
 * read differently: bare LF or CR, obs-fold, space before the colon, repeated or conflicting
 * Content-Length, Content-Length together with Transfer-Encoding, authority-form, control
 * characters in field values, missing or repeated Host in HTTP/1.1. HTTP/1.2 to 1.9 are read as
 * HTTP/1.1 (RFC 9110 §2.5). */
#ifndef ROOST_CODEC_HTTP_H
#define ROOST_CODEC_HTTP_H

#include "base/buf.h"
#include "base/close.h"
#include "base/str.h"

enum {
#define LIMIT(name, value, sentence) name = value,
#include "tbl/http_limits.def"
};

enum http_method { HTTP_GET = 0, HTTP_HEAD, HTTP_POST, HTTP_OPTIONS, HTTP_OTHER, HTTP_METHOD_NR };
enum http_body_kind { HTTP_BODY_NONE = 0, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_field {
    struct str name, value; /* value without surrounding white space */
};

struct http_request { /* views borrowed from the input of http_request_parse(), or static */
    enum http_method method;
    struct str method_name;
    struct str path;  /* of the target, still percent-encoded; starts with '/'; "*" for OPTIONS * */
    struct str query; /* without '?'; p == NULL when the target has none */
    struct str host;  /* with port; of an absolute-form target, else of Host; p == NULL: neither */
    uint8_t minor;    /* HTTP/1.<minor>: 0 or 1 */
    bool keep_alive;
    bool expect_continue;
    enum http_body_kind body;
    uint64_t content_length; /* with HTTP_BODY_LENGTH */
    size_t nfields;
    struct http_field fields[HTTP_MAX_FIELDS];
};

/* Will a body follow the head? */
static inline bool http_request_has_body(const struct http_request *r)
{
    return r->body == HTTP_BODY_CHUNKED || (r->body == HTTP_BODY_LENGTH && r->content_length > 0);
}

/* Parses one head of at most max bytes and max_fields fields from *in. One empty line before the
 * request line is skipped (RFC 9112 §2.2).
 *   >0  *out is valid, *in starts behind the head
 *    0  the head is incomplete (and shorter than max); *in untouched
 *   <0  refused; *why says which of 400, 414, 417, 431, 501, 505 */
int http_request_parse(struct str *in, size_t max, size_t max_fields, struct http_request *out,
                       enum close_reason *why) MUST_CHECK;

/* Value of the only field of that name; p == NULL when absent; *repeated (may be NULL) when
 * several. */
struct str http_field_get(const struct http_request *r, struct str name, bool *repeated);
/* Does a comma-separated list field (all fields of that name together) hold the token, ignoring
 * case? */
bool http_field_has_token(const struct http_request *r, struct str name, struct str token);
/* Next element of a comma-separated list; false at the end. Empty elements are skipped. */
bool http_list_next(struct str *rest, struct str *element);
/* Next parameter of a list element, behind its first part: ";" [ name [ "=" ( token / quoted ) ] ]
 * (RFC 9110 §5.6.6). value is what stands between the quotes, escapes and all; p == NULL: none.
 *   >0  *name (which may be empty) and *value are set
 *    0  the end
 *   <0  malformed */
int http_param_next(struct str *rest, struct str *name, struct str *value) MUST_CHECK;
/* How much all Accept fields together want a media type of that version (its parameter `version`):
 * 0, not at all, to 1000, which it is when nothing is said (RFC 9110 §12.5.1). The most precise
 * range counts: *precision is 0 when none names it, 3 or 4 when one names this very type. */
unsigned http_accept_weight(const struct http_request *r, struct str type, struct str version,
                            unsigned *precision);
/* Does Accept-Encoding want gzip, and nothing rather? */
bool http_wants_gzip(const struct http_request *r);
/* Is s a token (RFC 9110 §5.6.2)? */
bool http_is_token(struct str s);

/* Body receiver for both framings; a zeroed struct plus http_body_init(). */
struct http_body {
    enum http_body_kind kind;
    uint8_t state;     /* private */
    uint8_t digits;    /* private: of the current chunk size */
    uint32_t extra;    /* private: bytes of chunk extensions and trailers so far */
    uint64_t left;     /* bytes of the body or the current chunk still to come */
    uint64_t received; /* payload bytes so far */
};
void http_body_init(struct http_body *b, const struct http_request *r);
/* Hands out the next piece of payload in *data (a view into *in; may be empty).
 *   >0  a piece, call again
 *    0  *in is used up, or the body was done
 *   <0  *why (BAD_CHUNK, BODY_TOO_BIG)
 * After the last piece http_body_done() is true and *in starts behind the body. */
int http_body_next(struct http_body *b, uint64_t max, struct str *in, struct str *data,
                   enum close_reason *why) MUST_CHECK;
bool http_body_done(const struct http_body *b);

/* Response side, for roostctl and roostload: parses a status line and fields.
 * Returns as http_request_parse(); the head is kept simple (views into *in). */
struct http_response {
    int status;
    struct str reason;
    enum http_body_kind body; /* LENGTH, CHUNKED, or NONE = until the connection closes */
    uint64_t content_length;
    bool keep_alive;
    size_t nfields;
    struct http_field fields[HTTP_RESPONSE_FIELDS];
};
int http_response_parse(struct str *in, size_t max, struct http_response *out,
                        enum close_reason *why) MUST_CHECK;
/* The same of the final response: interim ones before it (1xx but 101, RFC 9110 §15.2) are skipped.
 * max is for all heads together. */
int http_response_final(struct str *in, size_t max, struct http_response *out,
                        enum close_reason *why) MUST_CHECK;
/* As http_body_init(). A body that lasts until the connection closes is never http_body_done().
 * After a HEAD request do not call it: there is no body, whatever the fields say. */
void http_body_init_response(struct http_body *b, const struct http_response *r);
struct str http_response_field(const struct http_response *r, struct str name);

/* Standard reason phrase; "Unknown" for others. */
const char *http_status_phrase(int status);

/* Percent-decodes s into out (cap bytes), *n its length. '+' stays '+'. -1: malformed escape or no
 * room. */
int http_percent_decode(struct str s, char *out, size_t cap, size_t *n) MUST_CHECK;
/* Appends s so that http_percent_decode() gives it back, as part of a path: '/' and ':' and what
 * RFC 3986 calls unreserved stay. */
int http_percent_encode(struct str s, struct buf *out) MUST_CHECK;
/* Next key=value pair of a query, still encoded; false at the end. Empty pairs are skipped. As
 * everywhere in a URL (RFC 3986), '+' is '+': no channel name has a space. */
bool http_query_next(struct str *rest, struct str *key, struct str *value);

#endif
