/* proto/http.h - the one HTTP/1.1 server; both listeners speak it.
 *
 * Happy path: 1 bytes arrive, an exchange is borrowed from the pool only if the head is incomplete,
 * has a body, or is answered later · 2 the head is parsed · 3 the resource is found by path, then
 * listener, method and key are checked · 4 the body is collected (bounded by config.max_body_size
 * and config.max_partial_bytes) · 5 the handler answers, now or later · 6 pipelined bytes are
 * looked at again. One exchange of a connection is handled at a time; while one waits the
 * connection is not read. Refusals answer with the close row's status and text and end the
 * connection (conn_finish). HEAD is answered as GET without a body. Every response has few
 * fields: Date, Content-Type, Content-Length, Cache-Control: no-store, Connection where needed,
 * Allow with 405, Sec-WebSocket-Version: 13 with 426, Retry-After with 503 and 429. */
#ifndef ROOST_PROTO_HTTP_H
#define ROOST_PROTO_HTTP_H

#include "base/blob.h"
#include "codec/http.h"
#include "net/conn.h"

enum http_where { HTTP_ON_CLIENT = 1, HTTP_ON_ADMIN = 2 };

struct http_exchange { /* pooled; valid until answered */
    struct conn *conn; /* borrowed; an exchange ends with its connection */
    const struct http_resource *resource;
    const struct http_request *request; /* borrowed; valid inside handle() only, NULL later */
    struct str path; /* percent-decoded rest behind the resource's prefix; inside handle() only */
    struct buf body; /* owned; complete when handle() is called */
    uint64_t token;  /* unique in this worker's life; for http_exchange_find() */
    void *state;     /* the handler's own, for an answer later */
    void (*abandoned)(struct http_exchange *x); /* optional: the connection died or the answer timed
                                                   out: free state */
    /* Optional: the time is over. Answers, and frees state, or calls http_defer_longer(). Without
     * it: abandoned(), HUB_TIMEOUT. */
    void (*overdue)(struct http_exchange *x);
    bool head; /* HEAD: no body in the answer */
    bool keep_alive;
    bool error_object;  /* of the server API: 200 does not mean that it was done */
    uint16_t counts_as; /* of the server API: a status that says more than the one sent, or 0 */
    uint64_t began_ns;  /* the handler was called; 0: not measured */
};

struct http_resource { /* static tables; registered at start */
    const char *path;  /* "/metrics"; with prefix: "/ws/" matches everything below */
    bool prefix;
    uint8_t where;   /* enum http_where bits: 404 elsewhere */
    uint8_t methods; /* bits 1 << enum http_method; HEAD is implied by GET */
    bool needs_key;  /* 401 unless config.api_key is empty or given (X-API-Key, Authorization:
                        apikey, ?api_key=) */
    size_t own_key;  /* where in struct config a key is that opens this one, too; 0: none */
    bool bearer;     /* its keys may come as Authorization: Bearer, too: what scrapers say */
    bool handshake;  /* its refusals count as handshake failures */
    size_t duration; /* of the server API: where in struct metrics its histogram is; 0: another's */
    bool client_open; /* on the client listener no key is asked even if needs_key */
    /* A refusal of the 500s is said as the server API says errors: code 100, "not done, retry". */
    bool json_refusals;
    /* Optional: lines of every answer that is given while the request is at hand, each ending in
     * CRLF, appended to *out. -1: no memory. */
    int (*fields)(const struct http_request *r, struct buf *out);
    void (*handle)(struct http_exchange *x);
    bool (*enabled)(void); /* optional: 404 when false */
};

/* table is borrowed for the life of the process. At start, before listening. */
void http_register(const struct http_resource *table, size_t n);
/* For listener_start(). */
extern const struct conn_ops http_conn_ops;

/* Answers and gives the exchange back. type NULL: no Content-Type. fields: extra lines, each ending
 * in CRLF, or "". */
void http_respond(struct http_exchange *x, int status, const char *type, struct str fields,
                  struct str body);
/* The same with a body that is not copied when it is large. Borrowed: takes a reference of its own. */
void http_respond_blob(struct http_exchange *x, int status, const char *type, struct blob *body);
/* Answers with the row's status and text; the connection ends when the request's framing is in
 * doubt (400-class head errors), otherwise it is kept. */
void http_refuse(struct http_exchange *x, enum close_reason why);
/* The same with a text that says more than the row's. */
void http_refuse_saying(struct http_exchange *x, enum close_reason why, const char *words);
/* The answer comes later: holds reading, arms config.hub_timeout (then HUB_TIMEOUT). Returns
 * x->token. */
uint64_t http_defer(struct http_exchange *x);
/* Of one that waits: its time is over in ns, not 0. */
void http_defer_longer(struct http_exchange *x, uint64_t ns);
/* The waiting exchange with that token, or NULL. */
struct http_exchange *http_exchange_find(uint64_t token);

/* The handler takes the connection over (upgrade): the exchange is given back without an answer.
 * Bytes behind the head are appended to *rest (owned by the caller). -1: no memory (killed). */
int http_take_over(struct http_exchange *x, struct buf *rest) MUST_CHECK;
/* Sends a whole refusal on a connection taken over (state SUBSCRIBING) and finishes it. */
void http_refuse_conn(struct conn *c, enum close_reason why);

/* "Date: ...\r\n" of now (RFC 9110 §6.6.1); valid until the next call. */
struct str http_date_line(void);

/* Constant-time comparison of a presented key. */
bool http_key_equal(struct str presented, struct str key);

#endif
