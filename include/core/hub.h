/* core/hub.h - the hub without its process: the map channel -> interested workers, and the way from
 * a publisher through the engine (core/engine.h), which orders, to those workers.
 *
 * Pure: records in, records out through hub_ops, so it is tested in memory. The process around it
 * (proc/hub_process) reads the rings and calls hub_receive() for one record at a time.
 *
 * Recovery. A new incarnation knows no interest, while the rings may hold publications. It starts
 * in HUB_GATHERING: publications (and fences, lists) are set aside in order until every live worker
 * has said RECORD_ANNOUNCED for this incarnation or is given up on, then they are handled, then the
 * hub is HUB_LIVE. A ring whose worker has announced is not read further while gathering
 * (hub_wants()).
 *
 * Complete, in order. What a worker asks for is complete when the engine has said so; a fence is
 * answered behind everything its worker published before. Until then the record stays in its ring
 * (hub_complete_to()): the ring is the log of what must be tried again.
 *
 * Exactly once. The process handles one record to the end before it gives it back; the record that
 * was in work when a hub died is handled again, first of all, and workers recognise its
 * publications by (source, position). */
#ifndef ROOST_CORE_HUB_H
#define ROOST_CORE_HUB_H

#include "base/common.h"
#include "core/engine.h"
#include "core/record.h"
#include "core/ring.h"

#define HUB_WORKERS_MAX 128

struct hub_ops {
    /* Writes a record to the worker's ring. 0, or -1 when it is full (the hub queues it). */
    int (*send)(void *arg, unsigned worker, const struct record *r);
    /* Is there an incarnation of this worker to talk to? Its generation, or 0. */
    uint32_t (*generation)(void *arg, unsigned worker);
    /* Words that outlive the hub's process (ring_shared.debt of the worker's inbound ring), or
     * NULL. While the hub holds publications for the worker in its own memory, the worker's
     * generation and their number stand there; the next incarnation of the hub finds them, reports
     * to that worker that publications were lost, counts and logs them. May be NULL: then a hub
     * that dies with a queue loses it unsaid. */
    struct ring_debt *(*debt)(void *arg, unsigned worker);
};

enum hub_state { HUB_GATHERING = 0, HUB_REPLAYING /* handles what was set aside */, HUB_LIVE };
struct hub;

/* engine: owned by the hub from now on, whatever comes of this; NULL is no memory. NULL: no memory.
 * ops and arg outlive the hub. */
struct hub *hub_new(unsigned workers, uint32_t hub_generation, struct engine *engine,
                    const struct hub_ops *ops, void *arg) MUST_CHECK;
void hub_free(struct hub *h);
/* queue_max: bytes queued per worker whose ring is full. linger_ns: how long a channel outlives its
 * last subscriber. answer_ns: how long somebody waits for a listing. record_max: the largest record that a ring to a
 * worker can ever hold; what is larger (another node's publication, or one of before a restart) is lost, and told as
 * lost. 0: any. */
struct hub_limits {
    uint64_t queue_max, linger_ns, answer_ns, record_max;
};
void hub_set_limits(struct hub *h, struct hub_limits limits);
enum hub_state hub_state(const struct hub *h);
/* First start of a node: nothing to gather. */
void hub_go_live(struct hub *h);
/* May the next record of this worker's ring be read now? No while replaying, not from a worker that
 * leaves too many answers unread, and from none while much is queued for one that goes on taking:
 * the rings fill, and publishers' connections are not read. */
bool hub_wants(const struct hub *h, unsigned worker);
/* Handles one record; position is its ring position. Malformed and stale ones are counted and
 * ignored. */
void hub_receive(struct hub *h, unsigned worker, const struct record *r, uint64_t position);
/* Everything that this worker's ring held before the returned position is complete; read_to: where
 * the process has read to. */
uint64_t hub_complete_to(const struct hub *h, unsigned worker, uint64_t read_to);
/* The worker's process has ended (ops->generation() says so already): forget its interest, its
 * queue. No effect when its next incarnation has been heard meanwhile. */
void hub_worker_gone(struct hub *h, unsigned worker);
/* Gathering has taken too long: go on without the workers that have not announced. */
void hub_gather_timeout(struct hub *h);
/* One step of the bounded work that is left: queued records for rings with room again, records set
 * aside, listings. At most max_records. True when more remains that could make progress now. */
bool hub_run(struct hub *h, size_t max_records);
/* When the engine has something to do by itself, by clock_ns(); 0: never. */
uint64_t hub_engine_due_ns(const struct hub *h);
/* True when something waits for ring room (poll again soon). */
bool hub_backlogged(const struct hub *h);
size_t hub_channel_count(const struct hub *h);

#endif
