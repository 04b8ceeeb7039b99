/* base/task.h - cooperative tasks: work cut into steps that give control back.
 *
 * A task's step function does a bounded piece of work and says whether there is more. The queue
 * runs tasks round-robin until the turn's budget is spent. A task may be added or removed by any
 * step, its own included (a task that removes itself must return TASK_DONE). Tasks are embedded in
 * what they work for; the queue owns nothing. */
#ifndef ROOST_BASE_TASK_H
#define ROOST_BASE_TASK_H

#include "base/list.h"

enum task_result { TASK_DONE = 0, TASK_MORE };

struct task {
    struct list link;                         /* in the queue's list while runnable */
    enum task_result (*step)(struct task *t); /* one step: well under a millisecond */
    const char *name;                         /* static */
};

struct task_queue {
    struct list runnable;
    uint64_t steps; /* ever run, for statistics */
};

void task_queue_init(struct task_queue *q);
void task_init(struct task *t, const char *name, enum task_result (*step)(struct task *t));
/* No effect when already runnable. */
void task_add(struct task_queue *q, struct task *t);
void task_remove(struct task *t);
bool task_runnable(const struct task *t);
/* Runs steps round-robin until nothing is runnable or budget_ns of clock_precise_ns() is spent; at
 * least one step of the first task runs. Returns true when runnable tasks remain. */
bool task_run(struct task_queue *q, uint64_t budget_ns);

#endif
