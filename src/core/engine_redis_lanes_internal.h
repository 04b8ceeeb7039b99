/* core/engine_redis_lanes_internal.h - a part of engine_redis_internal.h: what engine_redis_lanes.c has for the others. */
#ifndef ROOST_CORE_ENGINE_REDIS_LANES_INTERNAL_H
#define ROOST_CORE_ENGINE_REDIS_LANES_INTERNAL_H

/* A new call: true: its channel has a lane and it waits there. */
bool redis_lane_take(struct redis_call *c);
/* A call under way will be turned away. -1: no memory. */
int redis_lane_begin(struct redis_call *c) MUST_CHECK;
/* A call under way was turned away: again at ask with ASKING, or (NULL) where its channel is, not before
 * delay_ns have gone by. */
void redis_lane_turned_away(struct redis_call *c, struct redis_server *ask, uint64_t delay_ns);
/* Sent, answered, or it will not be. */
void redis_lane_sent(struct redis_call *c);
void redis_lane_answered(struct redis_call *c);
void redis_lane_left(struct redis_call *c);
/* Of calls that go back to a server's queue those with a lane go there. */
void redis_lanes_down(struct redis *e, struct list *calls);
/* The server goes. */
void redis_lanes_forget(struct redis *e, const struct redis_server *s);
/* When it wants to be called again, or UINT64_MAX. */
uint64_t redis_lanes_run(struct redis *e, uint64_t now_ns);
/* What it has published where its slot is going is told to those who are subscribed where it is. */
void redis_call_relay(struct redis_call *c, struct position first);
void redis_lanes_fini(struct redis *e);

#endif
