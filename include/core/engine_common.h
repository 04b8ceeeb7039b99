/* core/engine_common.h - what engines that speak to servers have in common. */
#ifndef ROOST_CORE_ENGINE_COMMON_H
#define ROOST_CORE_ENGINE_COMMON_H

#include "core/engine.h"
#include "core/envelope.h"

/* A call has ended so: metric. */
void engine_count_call(enum engine_status status);
/* How long to wait before the next attempt to connect, after so many that have failed. By chance,
 * so that nodes which lose the same server do not come back together. */
uint64_t engine_retry_delay_ns(unsigned attempts, uint64_t max_ns);
/* 0 to max. */
uint64_t engine_chance(uint64_t max);
/* clock_ns() at that time of the wall's clock; not 0. */
uint64_t engine_time_ns(uint64_t wall_ms);
/* As the hub of that node knows it: another node's connections and rings mean nothing here. */
void engine_localise(struct envelope *env, uint64_t node);
/* What may be shown of a server's error. One that does not know a command repeats its arguments: HELLO's hold
 * the password, others what is published. */
struct str engine_error_text(struct str error);

#endif
