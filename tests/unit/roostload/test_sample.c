/* tests/unit/roostload/test_sample.c - a process of our own is watched while it does what a server
 * may do. It goes on when it is told to, so that nothing depends on time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cmd/roostload/loopback.c"
#include "cmd/roostload/sample.c"
#include "cmd/roostload/scrape.c"
#include "cmd/roostload/url.c"

#define WORK 0.2 /* seconds of CPU */

static int orders[2], answers[2];
static pid_t server;

static void work(void)
{
    struct timespec t;

    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while ((double)t.tv_sec + (double)t.tv_nsec / 1e9 < WORK);
}

static void *work_in_thread(void *unused)
{
    work();
    return unused;
}

static void answer(void)
{
    if (write(answers[1], "x", 1) != 1)
        _exit(1);
}

static void take_order(void)
{
    char c;

    if (read(orders[0], &c, 1) != 1)
        _exit(1);
}

/* Works, says so, and ends when it is told to. */
static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    answer();
    take_order();
    _exit(0);
}

static void watch(struct options *o, void (*serve)(void))
{
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve();
        pause();
    }
    *o = (struct options){0};
    snprintf(o->pid, sizeof(o->pid), "%d", (int)server);
    memset(&family, 0, sizeof(family));
}

static void end(void)
{
    kill(server, SIGKILL);
    assert_int_equal(waitpid(server, NULL, 0), server);
    for (int i = 0; i < 2; i++) {
        close(orders[i]);
        close(answers[i]);
    }
}

static void await_answer(void)
{
    char c;

    assert_int_equal(read(answers[0], &c, 1), 1);
}

static void order(void)
{
    assert_int_equal(write(orders[1], "x", 1), 1);
}

static double cpu(const struct options *o)
{
    struct sample s;

    sample_take(o, false, &s);
    return s.cpu_seconds;
}

static void serve_with_threads(void)
{
    pthread_t t;

    if (pthread_create(&t, NULL, work_in_thread, NULL) != 0 || pthread_join(t, NULL) != 0)
        _exit(1);
    answer();
}

static void threads_that_have_ended_count(void **state UNUSED)
{
    struct options o;

    watch(&o, serve_with_threads);
    await_answer();
    assert_true(cpu(&o) >= WORK);
    end();
}

static void serve_with_child(void)
{
    if (waitpid(start_child(), NULL, 0) == -1)
        _exit(1);
    answer();
}

static void serve_with_child_unwaited(void)
{
    pid_t pid;

    signal(SIGCHLD, SIG_IGN);
    pid = start_child();
    while (waitpid(pid, NULL, 0) != -1 || errno != ECHILD)
        ;
    answer();
}

static void a_child_that_ends_is_kept(void (*serve)(void))
{
    double before, after;
    struct options o;

    watch(&o, serve);
    await_answer();
    before = cpu(&o);
    assert_true(before >= WORK);
    order();
    await_answer();
    after = cpu(&o);
    assert_true(after >= before);
    assert_true(after < 1.8 * before); /* and not counted twice */
    assert_true(cpu(&o) >= after);
    end();
}

static void a_child_that_was_waited_for_is_kept(void **state UNUSED)
{
    a_child_that_ends_is_kept(serve_with_child);
}

static void a_child_that_nobody_waits_for_is_kept(void **state UNUSED)
{
    a_child_that_ends_is_kept(serve_with_child_unwaited);
}

static void a_child_that_was_never_seen_counts(void **state UNUSED)
{
    struct options o;
    double before;

    watch(&o, serve_with_child);
    before = cpu(&o); /* perhaps it is seen, perhaps not: it has ended by the next */
    await_answer();
    order();
    await_answer();
    assert_true(before < WORK || cpu(&o) >= before);
    assert_true(cpu(&o) >= WORK - 0.02); /* the kernel counts children in ticks */
    end();
}

static void a_server_that_ends_is_kept(void **state UNUSED)
{
    struct options o;
    struct sample s;
    double before;

    watch(&o, serve_with_threads);
    await_answer();
    before = cpu(&o);
    end();
    sample_take(&o, false, &s);
    assert_int_equal(s.processes, 0);
    assert_true(s.cpu_seconds >= before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_have_ended_count),
        cmocka_unit_test(a_child_that_was_waited_for_is_kept),
        cmocka_unit_test(a_child_that_nobody_waits_for_is_kept),
        cmocka_unit_test(a_child_that_was_never_seen_counts),
        cmocka_unit_test(a_server_that_ends_is_kept),
    };
    return cmocka_run_group_tests_name("roostload/sample", tests, NULL, NULL);
}
