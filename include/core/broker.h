/* core/broker.h - a worker's half of publish/subscribe: local channels, subscribers, fan-out, and
 * the worker's end of the link to the hub.
 *
 * Subscribe: first local subscriber -> SUBSCRIBE to the hub -> SUBSCRIBED comes back on the same
 * ring as the channel's publications -> ops->subscribed() for each waiting subscriber. Later
 * subscribers of a live channel are told at once. So whoever was told "subscribed" misses nothing
 * published after.
 *
 * Fan-out: publications that arrive while a walk is under way form the next batch. The subscriber
 * array has three zones during a walk: visited [0,cursor), to visit [cursor,limit), joined since
 * [limit,count); leaving moves at most three elements, so a walk survives joins and leaves without
 * a copy. A walk is a task: it does a slice of subscribers per step, prefetching ahead, and less
 * of it when it has to encode first.
 *
 * When a new hub incarnation appears, every local channel is announced again in a task, before
 * anything else is published (broker_can_publish() is false meanwhile). */
#ifndef ROOST_CORE_BROKER_H
#define ROOST_CORE_BROKER_H

#include "base/close.h"
#include "base/hash.h"
#include "base/task.h"
#include "core/batch.h"
#include "core/record.h"
#include "core/ring.h"

struct broker;
struct chan;

struct sub {           /* embedded in a session, or from the session's pool; owned by the session */
    struct chan *chan; /* shared; NULL when not subscribed */
    uint32_t index;    /* place in the channel's array; private to the broker */
    uint16_t flags;    /* the session's own */
    uint8_t live : 1;  /* it is delivered to; private to the broker */
    uint8_t recovering : 1; /* its missed publications are being fetched; private to the broker */
    uint8_t joins : 1;      /* wants to be told who comes and goes; set by it before subscribing */
    uint8_t kind : 5;       /* of the session: its sink; set by it before subscribing */
    uint8_t variant;        /* of a batch, that the session wants; set by it before subscribing */
};

/* What broker_recover() has come to. */
struct recovery {
    bool recovered; /* nothing is missing between what it asked for and `at` */
    /* Everything published after this will be delivered. What is delivered first may stand before
     * it, or at it, and is to be skipped. */
    struct position at;
    /* What it had missed: items [first, nitems) of a sealed batch that others are given too. NULL:
     * nothing, or not recovered. Borrowed until the call returns. */
    struct batch *batch;
    uint32_t first;
};

/* Upcalls into one kind of sessions; all run inside broker_receive() or a task step. */
struct sink_ops {
    /* The hub has confirmed; called once per subscription. Everything after `at` will be delivered;
     * what is delivered first may have been published a little earlier. May not call
     * broker_unsubscribe(). */
    void (*subscribed)(struct sub *s, struct position at);
    /* status (enum engine_status): it cannot be subscribed now, or what it has missed cannot be had: the engine is away. True:
     * the session will end the subscription; subscribed() may still be called, later. False, or NULL: it waits, and
     * is not recovered. Same rules as deliver(). */
    bool (*refused)(struct sub *s, uint16_t status);
    /* Deliver a sealed batch, in which the variant that s wants has been encoded; there is none
     * when memory has run out. May kill its connection (reaped later); may not (un)subscribe. */
    void (*deliver)(struct sub *s, struct batch *b);
    /* For a trace: the id of the connection of s, and how many bytes it has not taken yet. NULL: of this kind
     * nothing is told. */
    uint64_t (*conn)(struct sub *s, size_t *queued);
    /* Publications were lost on the way to this worker; `to` is the last of them. Same rules. */
    void (*lost)(struct sub *s, struct position to);
    /* The history of the channel has begun anew, at this position: the hub was started again, or
     * what it knew of the channel was given up. What was published meanwhile may be missing. Same
     * rules. NULL: it does not matter. */
    void (*restarted)(struct sub *s, struct position at);
    /* The answer to broker_recover(). Same rules. NULL: it never asks. */
    void (*recovered)(struct sub *s, const struct recovery *r);
    /* The hub's answer (PUBLISHED, FENCED, LISTED, POSITIONED, HISTORY_PART, HISTORY_REMOVED,
     * MEMBERS, MEMBER_COUNT, CONTROLLED, USER_CONNECTED) to what was asked with r->token. The asker
     * may be gone. */
    void (*answered)(const struct record *r);
    /* What was asked before this position (as broker_written() told it then), and has not been
     * answered, will not be: the hub that had it is gone. Where an answer has several parts, the
     * first may still be on its way. NULL: its time runs out. */
    void (*unanswered)(uint64_t position);
    /* Appends who s is (core/client_info.h) to out, for a hub that has to learn it again; nothing
     * when broker_presence_add() has not been called for it. *tell: as there. -1: no memory. NULL:
     * this kind has no presence. */
    int (*presence)(struct sub *s, struct buf *out, bool *tell);
    /* What some worker has said with broker_control(); from: its index. May subscribe and
     * unsubscribe. Each incarnation of a worker gets it once, but one that was started meanwhile may get what was meant for the one
     * before. NULL: this kind is not interested. */
    void (*control)(unsigned from, struct str data);
};

struct asker {      /* whom an answer is for */
    uint8_t kind;   /* of the session: its sink */
    uint64_t token; /* what the session knows it by; 0: nobody */
};

struct broker_publication {
    struct str channel, data; /* borrowed */
    struct str fields;        /* borrowed; see record_add_field() */
    uint8_t flags;            /* enum record_flags: BINARY, JSON, WANT_ACK, SKIP_HISTORY, DELTA,
                                 EXCLUDE_ORIGIN */
    struct asker origin;      /* the connection, or the exchange, that it comes from */
};

struct broker_config {
    unsigned worker;     /* index, 0-based */
    uint32_t generation; /* this incarnation, >= 1 */
    struct ring_shared *to_hub, *from_hub;
    uint64_t ring_capacity;   /* of each */
    struct task_queue *tasks; /* borrowed; fan-out and announcing run here */
    /* By kind of session, 0 is none. Borrowed, and so are the tables; an entry may be NULL. */
    const struct sink_ops *const *sinks;
    unsigned nsinks;
};

/* Attaches to the rings and sends HELLO. NULL: no memory. */
struct broker *broker_new(const struct broker_config *cfg) MUST_CHECK;
void broker_free(struct broker *b);

/* A worker-wide guard before reading from publishers: will `bytes` of payload in at most `messages`
 * publications fit the ring now? False also while announcing to a new hub. */
bool broker_can_publish(struct broker *b, size_t bytes, size_t messages);
/* The same, when the channels' names have at most name_max bytes: much more fits. */
bool broker_can_publish_to(struct broker *b, size_t name_max, size_t bytes, size_t messages);
/* Most bytes of payload and fields for which there is room at all, in an empty ring. Who has more and waited would
 * wait for good, and others behind it. */
size_t broker_publication_max(const struct broker *b);
/* -1: no room (ask broker_can_publish() first; fields count as payload). */
int broker_publish(struct broker *b, const struct broker_publication *p) MUST_CHECK;
int broker_fence(struct broker *b, struct asker asker) MUST_CHECK;
/* Positions in the ring to the hub: behind everything written, behind everything the hub has taken.
 * What has been written will be handled, even if this process ends. */
uint64_t broker_written(const struct broker *b);
uint64_t broker_taken(const struct broker *b);
/* Channels with subscribers whose names match the glob, at most max. after: a page, of the first ones
 * behind that name (at most RECORD_PAGE_MAX), in the order of their bytes; NULL: in no order. Answered by
 * LISTED. */
int broker_list(struct broker *b, struct asker asker, struct str pattern, uint32_t max,
                const struct str *after) MUST_CHECK;

/* The same of this node alone: a page in the order of names behind after, or, NULL, of those with the
 * most subscribers first. */
int broker_list_here(struct broker *b, struct asker asker, struct str pattern, uint32_t max,
                     const struct str *after) MUST_CHECK;

/* Where does the channel of s stand? Answered by POSITIONED on the ring of its publications: what
 * the ring brought before is covered by the answer, what it brings behind comes after. */
int broker_position(struct broker *b, struct asker asker, const struct sub *s) MUST_CHECK;

/* Once a turn: asks, every config.channel_position_check_delay, where the channels with a history
 * stand; whoever has missed something without being told is told, by sink_ops.lost(). */
void broker_check_positions(struct broker *b, uint64_t now_ns);

/* What is kept of a channel: publications after `since`, oldest first, or those before it, newest
 * first (reverse; offset 0: from the newest one). epoch 0: whichever it is. limit 0: its position
 * alone. Answered by a HISTORY_PART for each, then one with RECORD_LAST that has the status, the
 * epoch and the newest offset: the asker compares epochs. */
int broker_history(struct broker *b, struct asker asker, struct str channel, struct position since,
                   uint32_t limit, bool reverse) MUST_CHECK;
/* Answered by HISTORY_REMOVED. The position outlives it. */
int broker_history_remove(struct broker *b, struct asker asker, struct str channel) MUST_CHECK;

struct recover {           /* what a subscriber has missed */
    struct position since; /* of the last publication that it knows; epoch 0: whichever it is */
    uint32_t limit;        /* if more are missing, it is not recovered */
    bool latest;           /* cache mode: only the newest one is wanted */
    /* Variants of the batch that will have been made when sink_ops.recovered() is called;
     * BATCH_RAW: none. */
    uint8_t variant[2];
};
/* To be called from within sink_ops.subscribed() of s, or before anything was delivered to it.
 * Nothing is, until sink_ops.recovered() has been called; never from within this call. Whoever
 * unsubscribes is not told. -1: no memory. */
int broker_recover(struct broker *b, struct sub *s, const struct recover *r) MUST_CHECK;
/* From now on batches of the channel of s have what stood before them (batch.previous), as long as
 * it has subscribers. -1: no memory. */
int broker_want_previous(struct broker *b, const struct sub *s) MUST_CHECK;

/* s, which is live, belongs to the channel's presence from now on, as info (client_info_write()).
 * flags: enum presence_flags. TELL: its coming and going is told to the channel's subscribers who
 * want that; it gets its own JOIN too. AGAIN: it has been told, only the info is new. Waits in the
 * worker's memory when the ring is full. -1: no memory, or more than a record can hold. */
int broker_presence_add(struct broker *b, const struct sub *s, struct str info,
                        uint8_t flags) MUST_CHECK;
/* It has gone, with the same info (empty: there was no memory for it); before broker_unsubscribe(). */
void broker_presence_remove(struct broker *b, const struct sub *s, struct str info, uint8_t flags);
/* Who is there? Answered by MEMBERS: as many as it takes, in no order, each with a part of the client
 * infos (client_info_next()) in data, the last one with flags & RECORD_LAST, the status and the
 * count of all. Nobody waits longer than hub_limits.answer_ns: UNAVAILABLE then. -1: no room. */
int broker_presence(struct broker *b, struct asker asker, struct str channel) MUST_CHECK;
/* How many? Answered by MEMBER_COUNT: count clients, offset users. -1: no room. */
int broker_presence_stats(struct broker *b, struct asker asker, struct str channel) MUST_CHECK;

#define BROKER_ALL_WORKERS UINT32_MAX
/* data to sink_ops.control() of the worker of that index, or of all, this one included. Answered by
 * CONTROLLED when it is in the rings of all that live (count: of how many; one that takes nothing
 * for a second is not waited for), so that what is asked behind it finds them having been told.
 * -1: no room. */
int broker_control(struct broker *b, struct asker asker, uint32_t worker,
                   struct str data) MUST_CHECK;

/* The same to the worker of that index of another node (engine_node.id; not 0). Answered by CONTROLLED when
 * the engine has taken it: at most once, and in the order in which it was said. */
int broker_control_elsewhere(struct broker *b, struct asker asker, uint64_t node, uint32_t worker,
                             struct str data) MUST_CHECK;

#define BROKER_USER_MAX 1024 /* bytes of a user's name */
/* A connection of that user begins; limit: of the user's connections in the node, 0: none. 0:
 * USER_CONNECTED will answer, with OK or REFUSED. 1: there is nothing to ask (no limit, or the user
 * is "", who is not counted). -1: no memory or no room. Whatever the answer is, each connect that
 * returned 0 or 1 is ended by one disconnect. */
int broker_user_connect(struct broker *b, struct asker asker, struct str user,
                        uint32_t limit) MUST_CHECK;
void broker_user_disconnect(struct broker *b, struct str user);

/* s is zeroed but for flags, joins, kind and variant. -1 with CLOSE_CHANNEL_LIMIT or CLOSE_NO_MEMORY.
 * ops->subscribed() may be called before this returns (channel already live). The SUBSCRIBE record
 * is queued and sent when the ring has room. */
int broker_subscribe(struct broker *b, struct sub *s, struct str channel,
                     enum close_reason *why) MUST_CHECK;
/* Safe on a sub that is not subscribed. Not from within an ops call. */
void broker_unsubscribe(struct broker *b, struct sub *s);
/* Has everything that arrived before now been delivered to s? (settling: ask after fenced()) */
bool broker_sub_settled(const struct sub *s);
struct str chan_name(const struct chan *c);

/* Step 2 of the turn: handles at most max_records of the inbound ring, stops early when the backlog
 * of publications exceeds config.publication_backlog. True when records remain. */
bool broker_receive(struct broker *b, size_t max_records);
/* A hub incarnation other than the last one seen is up: announce again. hub_generation from shared
 * memory, looked at once per turn; no effect when unchanged. */
void broker_hub_generation(struct broker *b, uint32_t hub_generation);
/* End of the turn: sends what is owed (SUBSCRIBE, COUNT, UNSUBSCRIBE), commits. Returns true when
 * the hub must be woken (write its eventfd). *more: something waits for room. */
bool broker_flush(struct broker *b, bool *more);
/* Before sleeping, and after. */
bool broker_sleep(struct broker *b);
void broker_awake(struct broker *b);

/* For /debug. */
struct broker_stats {
    size_t channels, subscriptions, backlog_bytes, walks;
    size_t users;         /* distinct ones with a connection here */
    size_t waiting_bytes; /* of records about members that wait for room in the ring */
    bool announcing;
};
void broker_stats(const struct broker *b, struct broker_stats *out);

#endif
