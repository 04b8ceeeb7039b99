/* tests/unit/base/test_task.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/task.c"

#include "base/clock.h"

struct job {
    struct task task;
    unsigned steps, until;
    struct job *victim;
    struct task_queue *queue;
};

static enum task_result step(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);

    clock_advance(1000);
    if (j->victim != NULL && ++j->steps == j->until) {
        task_remove(&j->victim->task);
        memset(&j->victim->task, 0xff, sizeof(j->victim->task)); /* gone */
        return TASK_DONE;
    }
    if (j->victim != NULL)
        return TASK_MORE;
    return ++j->steps < j->until ? TASK_MORE : TASK_DONE;
}

static void round_robin_within_the_budget(void **state UNUSED)
{
    struct task_queue q;
    struct job a = {.until = 3}, b = {.until = 5};

    clock_set_virtual(1);
    task_queue_init(&q);
    task_init(&a.task, "a", step);
    task_init(&b.task, "b", step);
    assert_false(task_run(&q, 1000000));
    task_add(&q, &a.task);
    task_add(&q, &b.task);
    task_add(&q, &a.task);        /* no effect */
    assert_true(task_run(&q, 0)); /* at least one step */
    assert_int_equal(a.steps + b.steps, 1);
    assert_true(task_run(&q, 3000));
    assert_int_equal(a.steps + b.steps, 4);
    assert_false(task_run(&q, 1000000));
    assert_int_equal(a.steps, 3);
    assert_int_equal(b.steps, 5);
    assert_false(task_runnable(&a.task));
    assert_int_equal(q.steps, 8);
    clock_set_virtual(0);
}

static void a_step_may_remove_another_or_itself(void **state UNUSED)
{
    struct task_queue q;
    struct job a = {.until = 1}, b = {.until = 9}, self = {.until = 1};

    clock_set_virtual(1);
    task_queue_init(&q);
    task_init(&a.task, "a", step);
    task_init(&b.task, "b", step);
    task_init(&self.task, "self", step);
    a.victim = &b;
    self.victim = &self; /* removed, and its memory overwritten, in its own step */
    task_add(&q, &a.task);
    task_add(&q, &b.task);
    task_add(&q, &self.task);
    assert_false(task_run(&q, 1000000));
    assert_int_equal(b.steps, 0);
    assert_true(list_empty(&q.runnable));
    clock_set_virtual(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_robin_within_the_budget),
                                       cmocka_unit_test(a_step_may_remove_another_or_itself)};
    return cmocka_run_group_tests_name("base/task", tests, NULL, NULL);
}
