/* proto/http_internal.h - what the files of the HTTP server share.
 *
 * http.c reads (input, deadlines, ends) · http_route.c finds the resource and checks method and key
 * · http_guard.c keeps web pages from the admin listener · http_answer.c writes responses ·
 * http_client.c knows whose request it is · http_job.c owns the pooled exchanges and their bytes · http_date.c makes the Date line. */
#ifndef ROOST_PROTO_HTTP_INTERNAL_H
#define ROOST_PROTO_HTTP_INTERNAL_H

#include "base/trace.h"
#include "net/partial.h"
#include "net/reactor.h"
#include "proto/http.h"

enum http_phase {
    HTTP_PHASE_HEAD = 0, /* between requests, or a head is incomplete */
    HTTP_PHASE_BODY,     /* the head is known, its body is incomplete */
    HTTP_PHASE_HANDLING, /* being answered */
    HTTP_PHASE_WAITING,  /* the answer comes later */
    HTTP_PHASE_STALLED   /* pipelined requests wait for their turn, or for the peer to read */
};

struct http_job { /* pooled; the exchange and what the server itself keeps of it */
    struct http_exchange x;
    struct list link; /* in the list of those to be resumed */
    /* Input not looked at yet: in the scratch or in `in`; valid inside http_run() only. */
    struct str cur;
    /* Owned; an incomplete head; the head of an incomplete body; or pipelined bytes. */
    struct buf in;
    struct http_body rx;  /* body receiver */
    size_t looked_at;     /* bytes of an incomplete head that have been parsed in vain */
    struct holder holder; /* the account of in and body */
    uint8_t no_room;      /* enum close_reason: why input could not be kept */
    uint8_t minor;        /* HTTP/1.<minor> of the request */
    bool forwarded; /* the connection has the address of the request's client; its peer's is: */
    uint8_t peer[16];
    uint16_t peer_port;
};

struct http_session {     /* in the connection's session area */
    struct http_job *job; /* owned; NULL on an idle connection */
    uint8_t phase;        /* enum http_phase */
    bool inside;          /* http_run() goes on when the answer has been given */
    bool served;          /* has had an answer: the idle deadline is another one */
    bool ended;           /* the peer's end of file has been seen */
    uint8_t keyless;      /* requests in a row without the right API key */
};
_Static_assert(sizeof(struct http_session) <= CONN_SESSION_SIZE, "http_session must fit");

#define HTTP_KEY_TRIES 3 /* requests without the right API key, then the connection ends */

#define HTTP_RETRY_NS WHEEL_TICK_NS /* how often something held up is looked at again */

static inline struct http_session *http_session(struct conn *c)
{
    return conn_session(c);
}
static inline struct http_job *http_job_of(struct http_exchange *x)
{
    return CONTAINER_OF(x, struct http_job, x);
}

/* -1: no memory. The job is the session's. */
int http_job_new(struct conn *c) MUST_CHECK;
/* Gives the session's job back, if it has one. A waiting handler is told (abandoned). */
void http_job_free(struct conn *c);
/* Forgets the request, keeps unread input. */
void http_job_reset(struct http_job *job);
/* Makes job->in hold exactly bytes (which may lie in job->in). -1: job->no_room says why. */
int http_job_keep(struct http_job *job, struct str bytes) MUST_CHECK;
/* Appends to job->in, or to the body. Same failures. */
int http_job_keep_more(struct http_job *job, struct str bytes) MUST_CHECK;
int http_job_add_body(struct http_job *job, struct str bytes) MUST_CHECK;

/* Finds the resource of r: x->resource, x->path. -1: *why (NOT_FOUND, BAD_METHOD, UNAUTHORIZED,
 * BAD_TARGET, and those of http_guard()). */
int http_route(struct http_exchange *x, const struct http_request *r,
               enum close_reason *why) MUST_CHECK;
/* Sets x->path again, for a request that was routed before. */
void http_route_path(struct http_exchange *x, const struct http_request *r);
/* The methods it knows, HEAD included. */
unsigned http_route_methods(const struct http_resource *res);
/* May r be asked as far as the place it came from says? x->resource may be NULL. -1: *why
 * (ADMIN_HOST, ADMIN_ORIGIN), and a line is logged. */
int http_guard(const struct http_exchange *x, const struct http_request *r,
               enum close_reason *why) MUST_CHECK;
/* May it be asked on a connection that is refused? */
bool http_route_always(const struct http_request *r);

/* http_client.c */
/* A trusted proxy has said whose request r is: the connection goes by that address until the
 * exchange ends. -1: *why (BAD_FORWARDED, or what the client is refused for). */
int http_client_begin(struct http_job *job, const struct http_request *r,
                      enum close_reason *why) MUST_CHECK;
/* The connection is its peer's own again. */
void http_client_end(struct http_job *job);

/* Behind an upgrade that is not granted the connection ends: a proxy that has not looked at the
 * status would go on as a tunnel, and what its client says there, past the proxy's own rules, would
 * be requests. (While x->request is there.) */
void http_look_at_upgrade(struct http_exchange *x);

/* After an answer: looks at the pipelined bytes in a task. */
void http_resume_later(struct http_job *job);
/* No exchange any more: waits for the next request. */
void http_idle(struct conn *c);

#endif
