/* base/task.c - round-robin over runnable tasks within a time budget. */
#include "base/task.h"

#include "base/clock.h"

/* The task whose step is running; NULL once it has been removed, because then it may be gone. */
static const struct task *running;

void task_queue_init(struct task_queue *q)
{
    list_init(&q->runnable);
    q->steps = 0;
}

void task_init(struct task *t, const char *name, enum task_result (*step)(struct task *t))
{
    list_init(&t->link);
    t->name = name;
    t->step = step;
}

void task_add(struct task_queue *q, struct task *t)
{
    if (!task_runnable(t))
        list_append(&q->runnable, &t->link);
}

void task_remove(struct task *t)
{
    if (t == running)
        running = NULL;
    list_remove(&t->link);
}

bool task_runnable(const struct task *t)
{
    return t->link.next != &t->link;
}

/* The time now; a step that has looked at the clock itself has done so at its end. */
static uint64_t after_step(uint64_t before)
{
    uint64_t latest = clock_latest_ns();

    return latest != before ? latest : clock_precise_ns();
}

bool task_run(struct task_queue *q, uint64_t budget_ns)
{
    uint64_t end, before;

    if (list_empty(&q->runnable))
        return false;
    end = clock_precise_ns() + budget_ns;
    do {
        struct list *first = q->runnable.next;
        struct task *t = LIST_ENTRY(first, struct task, link);

        before = clock_latest_ns();
        list_remove(first);
        list_append(&q->runnable, first);
        q->steps++;
        running = t;
        if (t->step(t) == TASK_DONE && running != NULL)
            list_remove(first);
    } while (!list_empty(&q->runnable) && after_step(before) < end);
    running = NULL;
    return !list_empty(&q->runnable);
}
