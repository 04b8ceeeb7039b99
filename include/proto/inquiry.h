/* proto/inquiry.h - a worker asks the workers of its node, and gathers what they answer.
 *
 * A request of the admin listener is served by whichever worker accepts it; what it asks for may be
 * another's, or everybody's.
 * Happy path: 1 inquiry_begin() defers the exchange and sends the question to each worker that is meant
 * (broker_control(), by way of the hub; to its own worker directly) · 2 there it becomes a job, a task
 * that walks in steps and appends to job->out · 3 the answer travels back in parts of INQUIRY_PART, the
 * next one when the hub says that the one before it has been taken · 4 when everybody has answered, or
 * the time is over, wish.done() answers the exchange. Who is asked in vain (the exchange has been abandoned, or
 * the time is over) is told to stop. Can fail: a worker that is not there, does not
 * answer in time, or is short of memory is not `complete`: that is told ("missing"), never an error.
 *
 * What comes from another worker is not trusted: lengths are checked here, JSON by inquiry_json().
 * A kind is a row of tbl/inquiries.def, a struct inquiry_ops, and its inquiry_answers(). */
#ifndef ROOST_PROTO_INQUIRY_H
#define ROOST_PROTO_INQUIRY_H

#include "base/clock.h"
#include "base/task.h"
#include "codec/json.h"
#include "core/waiters.h"
#include "proto/http.h"

enum inquiry_kind {
#define INQUIRY(NAME, name, sentence) INQUIRY_##NAME,
#include "tbl/inquiries.def"
    INQUIRY_NR
};

#define INQUIRY_ALL         UINT32_MAX    /* workers */
#define INQUIRY_PART        8192          /* bytes of an answer that travel at once */
#define INQUIRY_REQUEST_MAX 4096          /* bytes of a question */
#define INQUIRY_ANSWER_MAX  (1024 * 1024) /* bytes of one worker's answer */
#define INQUIRY_OPEN_MAX    8             /* of one worker, at a time; more are refused */
#define INQUIRY_JOBS_MAX    32            /* that one worker is asked, by all together */
#define INQUIRY_TIME_NS     (2 * NS_PER_SEC)

/* ---- who is asked ---- */

enum inquiry_step {
    INQUIRY_DONE = 0, /* out is complete */
    INQUIRY_MORE,     /* step() is to be called again, in a later step of the task */
    INQUIRY_FAILED    /* no memory: this worker will be missing */
};
struct inquiry_job {
    struct str request; /* as it was asked; not trusted. Until the end */
    struct buf out;     /* the answer; at most INQUIRY_ANSWER_MAX */
    void *state;        /* the kind's own; NULL at first */
};
struct inquiry_ops { /* static tables */
    /* A bounded piece of work. */
    enum inquiry_step (*step)(struct inquiry_job *j);
    /* Frees state; NULL: free(j->state) will do. */
    void (*end)(struct inquiry_job *j);
};
/* At start: who answers a kind. */
void inquiry_answers(enum inquiry_kind kind, const struct inquiry_ops *ops);
/* ---- who asks ---- */

enum inquiry_absence {                        /* why a worker is missing */
                       INQUIRY_IS_SILENT = 0, /* nothing has come in time */
                       INQUIRY_IS_DOWN,       /* its process is not there */
                       INQUIRY_IS_BUSY,       /* it has been asked too much at once */
                       INQUIRY_HAS_FAILED     /* what it has answered is of no use */
};
struct inquiry_answer {
    unsigned worker;
    enum inquiry_absence absence; /* if it is not complete */
    bool waits;                   /* private: it has not come to its end */
    bool complete; /* else the worker is missing, and what it has sent is of no use */
    struct buf data;
};
struct inquiry {
    struct str request; /* as it was asked; owned by it */
    unsigned nanswers;
    struct inquiry_answer *answers; /* of those that were meant, by their numbers */
};
struct inquiry_wish {
    enum inquiry_kind kind;
    uint32_t worker;    /* INQUIRY_ALL: every one */
    struct str request; /* borrowed; at most INQUIRY_REQUEST_MAX */
    /* Called once, unless the exchange has been abandoned; answers x. q is gone when it returns. */
    void (*done)(struct http_exchange *x, const struct inquiry *q);
};
/* Takes the exchange over: done() answers it, or it is refused (NO_MEMORY; BUSY: more than
 * INQUIRY_OPEN_MAX). w is copied. */
void inquiry_begin(struct http_exchange *x, const struct inquiry_wish *w);
/* Appends ",\"missing\":[1,3]" (the workers that have not answered), and if there are any
 * ",\"why_missing\":[\"silent\",\"down\"]" (also busy, failed). -1: no memory. */
int inquiry_put_missing(const struct inquiry *q, struct buf *out) MUST_CHECK;

/* The same of the hub: channels with subscribers in this node whose names match, at most max: a page
 * behind the name after, or, NULL, those with the most subscribers first. members: those of a JSON object,
 * {"num_clients":n} by name, in that order; matches: how many there are. done() answers x, unless it has
 * been refused, or abandoned. pattern and after are copied. */
void inquiry_channels(struct http_exchange *x, struct str pattern, uint32_t max,
                      const struct str *after,
                      void (*done)(struct http_exchange *x, struct str members, uint32_t matches));

/* ---- answers that are lists ---- */

/* Appends an item: a key by which those of all workers can be merged, and one JSON value. */
int inquiry_put(struct buf *out, int64_t key, struct str json) MUST_CHECK;
/* Takes the next one off *rest. False: the end, or what follows is none. Whether the text is JSON at all
 * is not looked at, so that passing over items costs nothing: inquiry_json(). */
bool inquiry_next(struct str *rest, int64_t *key, struct str *json);
/* False: it is not of that type (enum json_type). */
bool inquiry_json(struct str json, enum json_type type, struct json_value *out);

/* ---- the process ---- */

struct inquiry_config {
    unsigned worker, workers;
    uint32_t generation;               /* of this worker's incarnation */
    bool (*is_there)(unsigned worker); /* else it is missing at once; NULL: all are */
};
/* At start, behind reactor_set_broker(). */
void inquiry_init(const struct inquiry_config *cfg);
/* A few times a second: an answer that nobody takes is given up. */
void inquiry_tick(void);

#endif
