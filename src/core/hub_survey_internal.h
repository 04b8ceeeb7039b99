/* core/hub_survey_internal.h - what hub_survey.c, which asks, and hub_survey_reply.c, which answers, share. */
#ifndef ROOST_CORE_HUB_SURVEY_INTERNAL_H
#define ROOST_CORE_HUB_SURVEY_INTERNAL_H

#include "core/engine_nodes.h"
#include "hub_internal.h"

#define SURVEY_NAMES_MAX 100000 /* of one listing */

/* TELL: of no survey, but for a worker (hub_elsewhere.c). */
enum survey_kind { SURVEY_ASK = 1, SURVEY_PART, SURVEY_MORE, SURVEY_TELL };
enum survey_flags { SURVEY_PAGED = 1, SURVEY_LAST = 2, SURVEY_FAILED = 4 };

struct survey_head { /* as on the wire, on a little-endian machine */
    uint8_t kind;
    uint8_t flags; /* TELL: the worker's index */
    uint16_t
        pattern; /* ASK: bytes of it; what it is to begin behind follows it. TELL: who says it */
    uint32_t
        count; /* ASK: most names wanted; PART: names that match; TELL: who says it: generation */
    uint64_t survey; /* TELL: its position */
};

/* Takes a name off the front. False: there is none, or none that is whole. */
bool survey_take_name(struct str *rest, struct str *name, uint64_t *clients);
/* Lost ones are missed by whoever waits for them. */
void survey_say(struct hub *h, uint64_t to, struct survey_head head, struct str a, struct str b);

/* hub_elsewhere.c: another node's hub has said it */
void hub_elsewhere_heard(struct hub *h, uint64_t node, const struct survey_head *head,
                         struct str data);

/* hub_survey_reply.c */
void survey_on_ask(struct hub *h, uint64_t node, const struct survey_head *head, struct str rest);
void survey_on_more(struct hub *h, uint64_t node, uint64_t survey);
/* A listing for another node has been collected. Takes its names. */
void survey_reply(struct hub *h, struct hub_collected *c);
/* Those that nobody wants any more. */
void survey_replies_run(struct hub *h);
void survey_replies_fini(struct hub *h);

#endif
