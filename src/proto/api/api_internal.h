/* proto/api/api_internal.h - what the files of the server API share.
 *
 * parse.c reads bodies by tbl/api.def · call.c an exchange: one command, or many (many.c:
 * batch, legacy) · op.c one command from its body to its outcome · publish.c, query.c, control.c,
 * info.c what the methods do · write.c results and errors · openapi.c the description · api.c where
 * all of it is registered.
 *
 * Happy path of an exchange: 1 api_call_new() · 2 api_op_new() reads the body and begins · 3 what
 * the hub has to know goes into the ring, or waits for room (core/waiters.h) · 4 the hub's answers
 * come, found by the op's token · 5 api_op_done() · 6 the call writes the response. can fail: the body
 * (400, or an error), the connection's end, the time.
 *
 * What is in the ring will be done, whatever the caller is told. So 503 with Retry-After ("not done,
 * retry") is said only while nothing is, and 504 ("outcome unknown") otherwise. The time is
 * config.hub_timeout without progress: nothing new fits the ring, and the hub takes nothing of what
 * is in it up to the call's last record. */
#ifndef ROOST_PROTO_API_INTERNAL_H
#define ROOST_PROTO_API_INTERNAL_H

#include "base/blob.h"
#include "base/close.h"
#include "base/hash.h"
#include "codec/json.h"
#include "core/broker.h"
#include "core/channel_name.h"
#include "core/channel_options.h"
#include "core/engine.h"
#include "core/waiters.h"
#include "net/reactor.h"
#include "proto/api.h"
#include "proto/http.h"

#define API_MAX_BROADCAST 10000               /* channels of one request */
#define API_MAX_LISTED    100000              /* channels of one answer */
#define API_MAX_PARALLEL  1024                /* commands of a batch under way at once */
#define API_MAX_ANSWER    ((size_t)256 << 20) /* bytes */
#define API_LOOKS         16                  /* per config.hub_timeout */
#define API_JSON          "application/json"

enum api_method {
#define METHOD(NAME, name, changes, sentence) API_##NAME,
#include "tbl/api.def"
    API_METHOD_NR
};
const char *api_method_name(enum api_method m);
/* API_METHOD_NR: there is none of that name. */
enum api_method api_method_find(const struct json_value *name);

enum api_code {
    API_NO_ERROR = 0,
#define ERROR(NAME, code, status, text) API_##NAME = (code),
#include "tbl/api.def"
};

/* ---- bodies ---- */

struct api_list {   /* of a JSON array */
    struct str raw; /* borrowed from the body; p == NULL: absent */
    size_t n;       /* elements */
};
enum api_wish { API_SAYS_NOTHING = 0, API_SAYS_NO, API_SAYS_YES };

#define API_C_TEXT    struct str /* unescaped; in text */
#define API_C_VALUE   struct str /* borrowed from the body; p == NULL: absent */
#define API_C_RAW     struct str
#define API_C_BASE64  struct str /* decoded; in text; p == NULL: absent */
#define API_C_BOOL    bool
#define API_C_WISH    enum api_wish
#define API_C_I64     int64_t
#define API_C_U64     uint64_t
#define API_C_TAGS    struct str /* core/tags.h; in text */
#define API_C_TEXTS   struct api_list
#define API_C_OBJECTS struct api_list

struct api_request { /* zeroed + api_parse(); api_request_fini() in any case */
#define FIELD(name, KIND, methods, sentence) API_C_##KIND name;
#define OBJECT(name, methods, sentence)      bool has_##name;
#define PART(of, name, KIND, sentence)       API_C_##KIND of##_##name;
#include "tbl/api.def"
    struct buf text; /* owned; what had to be unescaped or decoded. Does not move */
};

struct api_fault {         /* why a body is refused */
    enum close_reason why; /* CLOSE_NO_MEMORY, or CLOSE_NONE */
    enum api_code code;    /* NO_ERROR: it cannot be read, see at */
    const char *name;      /* static; the member that it is about, or NULL */
    const char *message;   /* static */
    size_t at;             /* byte offset of what is no JSON */
};

/* The shape alone: types, and that no known member comes twice. -1: *fault says why. */
int api_parse(enum api_method method, struct str body, struct api_request *out,
              struct api_fault *fault) MUST_CHECK;
void api_request_fini(struct api_request *r);

/* ---- commands ---- */

enum api_outcome {
    API_UNDER_WAY = 0,
    API_RESULT, /* in out */
    API_ERROR,  /* code, detail */
    API_UNREAD, /* the body, by fault */
    API_FAILED, /* why: surely not done */
    API_UNKNOWN /* why: done or not */
};

struct api_place { /* of one channel of a broadcast */
    uint64_t end;  /* behind its publication in the ring; 0: refused, by code and detail */
    struct position at;
    const char *detail;
    enum api_code code;
    uint16_t status; /* enum engine_status, when answered */
    bool kept;       /* its position is of interest, so it is answered */
    bool answered;
};

struct api_op {            /* pooled */
    struct list link;      /* in call->ops */
    struct htab_node node; /* by token, while it is under way */
    struct api_call *call; /* borrowed; owns this */
    uint64_t token;        /* unique in this worker's life */
    enum api_method method;
    enum api_outcome outcome;
    struct api_request req; /* owned */
    struct buf out;         /* owned; begun as a blob */
    struct waiter waiter;   /* for room in the ring */
    size_t handed;          /* records in the ring: what cannot be taken back */
    bool sent;              /* everything has been handed to the ring */
    size_t items;           /* written to out */
    struct buf fields;      /* owned; publish, broadcast: of the record; control: what is said */
    /* publish, broadcast */
    struct str data; /* borrowed from the body or req.text */
    uint8_t flags;   /* enum record_flags */
    bool kept;       /* publish: its position is of interest */
    /* broadcast */
    struct task task;         /* runnable while channels are left and the ring has room */
    struct str rest;          /* channels not yet published */
    struct api_place *places; /* owned; as many as there are channels */
    size_t placed, answered;  /* channels that were looked at; places up to here are answered */
    /* how it ended */
    enum api_code code;
    const char *detail; /* static, or NULL */
    enum close_reason why;
    struct api_fault fault;
};

/* Of the methods. begin: looks at the request; may end the op. hand: puts it into the ring; false: no
 * room. answered: what the hub says. NULL: begin has ended it. */
struct api_method_ops {
    void (*begin)(struct api_op *op);
    bool (*hand)(struct api_op *op);
    void (*answered)(struct api_op *op, const struct record *r);
};
extern const struct api_method_ops api_publish_ops, api_broadcast_ops, api_presence_ops,
    api_presence_stats_ops, api_history_ops, api_history_remove_ops, api_channels_ops, api_info_ops,
    api_rpc_ops, api_control_ops, api_batch_ops;

/* Reads the body and begins. May have ended when this returns, so that call->ops has it as ended. Of
 * API_METHOD_NR: as not found. -1: no memory. */
int api_op_new(struct api_call *call, enum api_method method, struct str body) MUST_CHECK;
void api_op_free(struct api_op *op);
/* Ends it. It may be freed when these return, unless the call is inside of api_op_new(). */
void api_op_done(struct api_op *op); /* the result is in out */
void api_op_error(struct api_op *op, enum api_code code, const char *detail);
/* It was done, but there is no memory to say so. */
void api_op_unsaid(struct api_op *op);
/* FAILED, or UNKNOWN if something is in the ring and the method changes something. */
void api_op_failed(struct api_op *op, enum close_reason why);
void api_op_unknown(struct api_op *op, enum close_reason why);
/* By an engine_status other than OK, DUPLICATE, SUPPRESSED. */
void api_op_refused(struct api_op *op, enum engine_status status);
/* One more record of it is in the ring. */
void api_op_handed(struct api_op *op);
/* Hands it to the ring, or waits for room there. */
void api_op_hand(struct api_op *op);
struct asker api_op_asker(const struct api_op *op);
void api_answered(const struct record *r);

extern const char api_no_channel[], api_too_much[]; /* details of errors */
/* The options of a channel that is asked about, or NULL: op has ended. */
const struct channel_options *api_channel(struct api_op *op, struct str channel);
/* The same for several: NULL with code and detail. */
const struct channel_options *api_channel_options(struct str channel, enum api_code *code,
                                                  const char **detail);

/* ---- calls ---- */

enum api_form { API_ONE = 0, API_MANY, API_LEGACY };
enum api_mode { API_NATIVE = 0, API_CENTRIFUGO, API_TRANSPORT }; /* as config.api_error_mode */

struct api_call {            /* pooled; what an exchange waits for */
    struct http_exchange *x; /* borrowed; owns this (x->state) */
    enum api_form form;
    enum api_mode mode;
    bool inside;       /* of the handler, or the task: the answer is given when it returns */
    struct list ops;   /* struct api_op, in the request's order: begun and not written */
    size_t held;       /* so many are there */
    size_t under_way;  /* of them: have not ended */
    uint64_t end;      /* ring position behind the last record */
    uint64_t taken;    /* how far the hub had come when last looked at, end at most */
    uint64_t moved_ns; /* when it came nearer to its answer, as far as was seen */
    /* many */
    struct task task;       /* begins commands, writes what has ended */
    struct str rest;        /* commands that have not begun; borrowed from the body */
    size_t window;          /* so many are held at once */
    size_t written;         /* answers in out */
    uint32_t id;            /* legacy: of the one command that is held; 0: it has none */
    enum close_reason over; /* why nothing more begins */
    struct buf out;         /* owned; the response so far, begun as a blob */
};

void api_handle(struct http_exchange *x, enum api_method method);
void api_handle_legacy(struct http_exchange *x);
struct api_call *api_call_new(struct http_exchange *x, enum api_form form);
/* The handler is done: answers, or waits. */
void api_call_begun(struct api_call *call);
/* An op has ended. */
void api_call_moved(struct api_call *call);
/* Answers with call->out and ends the call; or without, for lack of memory. */
void api_call_finish(struct api_call *call);
void api_call_no_memory(struct api_call *call);
/* For many: some of the commands begin, what has ended is written. */
enum task_result api_many_step(struct task *t);

/* ---- writing ---- */

/* What the ops' results are members of: "result", or the method's name. */
int api_open(struct api_op *op) MUST_CHECK;
int api_close(struct api_op *op) MUST_CHECK;
/* The whole answer of an op that has ended, as an object; to out. */
int api_append_outcome(struct api_op *op, struct buf *out) MUST_CHECK;
/* {"error":{...}}. name, detail: static, or NULL. */
int api_append_error(struct buf *out, enum api_mode mode, enum api_code code, const char *name,
                     const char *detail) MUST_CHECK;
int api_append_position(struct buf *out, struct position at) MUST_CHECK;
int api_append_client_info(struct buf *out, const struct client_info *info) MUST_CHECK;
/* A publication's payload as a JSON value. flags: enum record_flags. */
int api_append_data(struct buf *out, uint8_t flags, struct str data) MUST_CHECK;
int api_append_tags(struct buf *out, struct str tags) MUST_CHECK;
/* The response of a call with one op. */
void api_respond_one(struct api_call *call, struct api_op *op);

void api_info_init(unsigned (*nodes)(struct engine_node *out, unsigned max));
void api_openapi(struct http_exchange *x);

#endif
