/* core/engine_common.h - what engines that speak to servers have in common. */
#ifndef ROOST_CORE_ENGINE_COMMON_H
#define ROOST_CORE_ENGINE_COMMON_H

#include "core/engine.h"
#include "core/engine_address.h"
#include "core/envelope.h"

/* A call has ended so: metric. */
void engine_count_call(enum engine_status status);
/* How long to wait before the next attempt to connect, after so many that have failed. By chance,
 * so that nodes which lose the same server do not come back together. */
uint64_t engine_retry_delay_ns(unsigned attempts, uint64_t max_ns);

/* A connection that was up for less has led nowhere: the attempts before it count on. */
#define ENGINE_STEADY_NS NS_PER_SEC
/* 0 to max. */
uint64_t engine_chance(uint64_t max);
/* clock_ns() at that time of the wall's clock; not 0. */
uint64_t engine_time_ns(uint64_t wall_ms);
/* As the hub of that node knows it: another node's connections and rings mean nothing here. */
void engine_localise(struct envelope *env, uint64_t node);
/* A connection to a server has ended, or none could be made. news: it is worth a warning. */
void engine_log_gone(const struct engine_address *server, bool news, const char *why);
void engine_log_connected(const struct engine_address *server, uint64_t down_since_ns);

/* So many channels a second are subscribed to again at a new connection; 0: any. */
struct engine_pace {
    uint64_t names, names_ns; /* that may be asked for, as of then */
    uint64_t next_ns;         /* not before */
};
#define ENGINE_PACE_NAMES UINT64_C(512) /* asked for at once */
/* At a new connection, with so many channels: nodes that have lost the same server do not all begin at the same
 * moment. */
void engine_pace_begin(struct engine_pace *p, uint64_t rate, uint64_t channels);
/* How many may be asked for now; 0: not before next_ns. */
uint64_t engine_pace_now(struct engine_pace *p, uint64_t rate);
static inline void engine_pace_asked(struct engine_pace *p, uint64_t names)
{
    p->names -= MIN(p->names, names);
}

/* What a node publishes to itself, to know that a connection delivers. It stands behind all that was written before: while
 * the server has not answered it and answers others, there is only much to do, or the line is slow. Not so when the one
 * before it was answered and has not come back. */
struct engine_probe {
    uint64_t sent_ns;   /* 0: none has been at this connection */
    uint64_t before_ns; /* when the one before that was sent */
    uint64_t heard_ns;  /* the last one came back; that the connection is up counts as well */
    uint64_t waits_ns;  /* others were answered in front of it until then */
    bool unanswered;    /* the server has not said yet that it has it; the caller's to clear */
};
enum engine_probe_step { PROBE_WAIT = 0, PROBE_SEND, PROBE_MISSED };

/* A connection is up. */
void engine_probe_begin(struct engine_probe *p);
/* What is to be done now. SEND: followed by engine_probe_sent(). MISSED: the connection is to be replaced, which is counted.
 * answered_ns: of the last answer to anything. */
enum engine_probe_step engine_probe_step(struct engine_probe *p, uint64_t answered_ns,
                                         uint64_t interval_ns, uint64_t now_ns) MUST_CHECK;
void engine_probe_sent(struct engine_probe *p, uint64_t now_ns);

/* What may be shown of a server's error. One that does not know a command repeats its arguments: HELLO's hold
 * the password, others what is published. */
struct str engine_error_text(struct str error);

#endif
