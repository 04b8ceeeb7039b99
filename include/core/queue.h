/* core/queue.h - records that wait in a process's own memory for room in a ring. */
#ifndef ROOST_CORE_QUEUE_H
#define ROOST_CORE_QUEUE_H

#include "core/record.h"

struct queued {
    struct queued *next;
    bool awaited;      /* the hub's: a CONTROL is complete when this one has gone */
    struct record rec; /* name, data and fields point into bytes */
    char bytes[];
};

struct queue {                    /* zeroed: empty */
    struct queued *first, **last; /* owned; last is NULL in a queue never used */
    uint64_t bytes;
};

/* Copies the record to the end. NULL: no memory. The queue owns it. */
struct queued *queue_push(struct queue *q, const struct record *r) MUST_CHECK;
/* First record, owned by the caller (free()); NULL: empty. */
struct queued *queue_pop(struct queue *q);
/* What a record counts in queue.bytes. */
uint64_t queue_cost(const struct record *r);
void queue_fini(struct queue *q);

#endif
