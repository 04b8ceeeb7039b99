/* proto/api_internal.h - what the files of the server API share.
 *
 * api_parse.c reads request bodies · api.c answers, now or when the hub has · api_info.c tells
 * about the node. */
#ifndef ROOST_PROTO_API_INTERNAL_H
#define ROOST_PROTO_API_INTERNAL_H

#include "base/buf.h"
#include "base/close.h"
#include "proto/api.h"
#include "proto/http.h"

#define API_MAX_BROADCAST 10000  /* channels of one request */
#define API_MAX_LISTED    100000 /* channels of one answer */

enum api_method { API_PUBLISH = 0, API_BROADCAST, API_CHANNELS, API_INFO };

enum api_code {
    API_INTERNAL = 100,
    API_UNKNOWN_CHANNEL = 102,
    API_BAD_REQUEST = 107,
    API_NOT_AVAILABLE = 108
};

extern const char api_bad_channel[]; /* the message for a name that is not valid */

struct api_request {     /* zeroed + api_parse(); api_request_fini() in any case */
    struct str channel;  /* publish; in text */
    struct str channels; /* broadcast: the JSON array; borrowed from the body */
    size_t channel_count;
    struct str pattern; /* channels: glob; in text, or static */
    struct str data;    /* publish, broadcast: borrowed from the body or in text */
    uint8_t flags;      /* enum record_flags of data */
    struct buf text;    /* owned; what had to be unescaped or decoded */
};

struct api_fault {         /* why a body is refused */
    enum close_reason why; /* CLOSE_NO_MEMORY, or CLOSE_NONE */
    int code;              /* enum api_code; 0: no JSON object, see at */
    const char *message;   /* static */
    size_t at;             /* byte offset of what is no JSON */
};

/* -1: *fault says why. */
int api_parse(enum api_method method, struct str body, struct api_request *out,
              struct api_fault *fault) MUST_CHECK;
void api_request_fini(struct api_request *r);

/* Strict base64 (RFC 4648 §4, padded). Appends to out. -1: malformed; *why as in fault. */
int api_base64_decode(struct str s, struct buf *out, enum close_reason *why) MUST_CHECK;

/* 200 with a body. */
void api_respond(struct http_exchange *x, struct str body);
/* The answer to a body that was refused. */
void api_answer_fault(struct http_exchange *x, const struct api_fault *f);

void api_info_init(void (*info)(struct api_node *out));
void api_info(struct http_exchange *x);

#endif
