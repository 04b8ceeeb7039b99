/* proto/inquiry_internal.h - the two ends of an inquiry: inquiry.c asks, inquiry_job.c is asked;
 * inquiry_channels.c asks the hub. */
#ifndef ROOST_PROTO_INQUIRY_INTERNAL_H
#define ROOST_PROTO_INQUIRY_INTERNAL_H

#include "proto/control.h"
#include "proto/inquiry.h"
#include "proto/session.h"

/* What travels by broker_control(). The first byte sets it apart from proto/control.h's orders. */
enum inquiry_what {
    INQUIRY_ASKS = 0xf1,
    INQUIRY_SAYS = 0xf2,
    INQUIRY_STOPS = 0xf3 /* who has asked wants no answer any more */
};
_Static_assert((int)CONTROL_ORDER_NR < (int)INQUIRY_ASKS, "the first byte of an order is another");

enum inquiry_part_flag {
    INQUIRY_LAST = 1,
    INQUIRY_BROKEN = 2, /* and of no use, */
    INQUIRY_BUSY = 4    /* since there were too many */
};

struct inquiry_head {
    uint8_t what;  /* enum inquiry_what */
    uint8_t kind;  /* ASKS: enum inquiry_kind */
    uint8_t flags; /* SAYS: enum inquiry_part_flag */
    uint8_t unused;
    uint32_t generation; /* of who asks: not for one that was started since */
    uint64_t serial;     /* of its inquiry */
    uint64_t number;     /* SAYS: bytes before this part */
};

struct inquiries { /* of a reactor */
    struct inquiry_config cfg;
    const struct inquiry_ops *ops[INQUIRY_NR];
    struct list open; /* struct asked, of inquiry.c */
    unsigned nopen;
    uint64_t serial;
    struct list jobs; /* struct job, of inquiry_job.c */
    unsigned njobs;
    uint64_t job_serial;
};
struct inquiries *inquiries(void);

/* Head and data (at most INQUIRY_PART) into the ring, for one worker. False: there is no room now. */
bool inquiry_send(unsigned worker, uint64_t token, const struct inquiry_head *head,
                  struct str data);

/* inquiry_job.c. A question from a worker, which may be this one. */
void inquiry_asked(unsigned from, const struct inquiry_head *head, struct str request);
/* It wants no answer to that one any more. */
void inquiry_stopped(unsigned from, const struct inquiry_head *head);
/* The hub says what became of the part that was sent last. */
void inquiry_taken(uint64_t token, bool taken);
void inquiry_jobs_init(struct inquiries *all);
void inquiry_jobs_fini(struct inquiries *all);

/* inquiry_channels.c. A part of a listing. */
void inquiry_listed(const struct record *r);

/* inquiry.c. A part of an answer. */
void inquiry_said(unsigned from, const struct inquiry_head *head, struct str part);

#endif
