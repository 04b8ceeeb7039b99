/* tests/unit/proc/test_supervisor_watch.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc/supervisor_watch.c"

#define TICK  (NS_PER_SEC / 2)
#define CHILD SHM_WORKER

static unsigned stopped, again, killed;

static void count_line(struct str line, void *arg)
{
    (void)arg;
    stopped += memmem(line.p, line.n, "does not serve", 14) != NULL;
    again += memmem(line.p, line.n, "serves again", 12) != NULL;
    killed += memmem(line.p, line.n, "is killed", 9) != NULL;
}

static int set_up(void **state UNUSED)
{
    char err[256];

    clock_set_virtual(1000 * NS_PER_SEC);
    config_defaults(&config);
    if (shm_create(1, 65536, err, sizeof(err)) == -1)
        return -1;
    memset(&supervisor, 0, sizeof(supervisor));
    supervisor.child[SHM_HUB].slot = SHM_HUB;
    supervisor.child[CHILD].slot = CHILD;
    stopped = again = killed = 0;
    metrics->hang_kills = 0;
    log_set_sink(count_line, NULL);
    children_watch();
    return 0;
}

static int tear_down(void **state UNUSED)
{
    log_set_sink(NULL, NULL);
    shm_destroy();
    clock_set_virtual(0);
    return 0;
}

/* n ticks, in which the hub moves always and the worker if it is said so. */
static void ticks(unsigned n, uint64_t each, bool moves)
{
    while (n-- > 0) {
        clock_advance(each);
        shm_heartbeat(SHM_HUB);
        if (moves)
            shm_heartbeat(CHILD);
        children_watch();
    }
}

static pid_t start_child(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(pid > 0);
    supervisor.child[CHILD].pid = pid;
    return pid;
}

static void told_once_each_way(void **state UNUSED)
{
    ticks(10, TICK, true);
    ticks(1, TICK, false);
    assert_int_equal(stopped, 0);
    ticks(1, TICK, false);
    assert_int_equal(stopped, 1);
    ticks(100, TICK, false); /* there is no process that could be killed */
    assert_int_equal(stopped + again + killed, 1);
    ticks(3, TICK, true);
    assert_int_equal(stopped + again, 2);
    assert_int_equal(again, 1);
    ticks(3, TICK, false);
    assert_int_equal(stopped, 2);
}

static void killed_once_after_hang_timeout(void **state UNUSED)
{
    pid_t pid = start_child();
    int status;

    ticks(19, TICK, false);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(killed, 0);
    ticks(1, TICK, false);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    supervisor.child[CHILD].pid = getpid(); /* a second signal would end the test */
    ticks(100, TICK, false);
    assert_int_equal(killed, 1);
    assert_int_equal(stopped, 1);
    assert_int_equal(metrics->hang_kills, 1);
}

static void a_new_incarnation_has_the_whole_time(void **state UNUSED)
{
    struct child *c = &supervisor.child[CHILD];

    c->pid = getpid();
    ticks(19, TICK, false);
    c->hung_ns = 0; /* as child_start() does */
    ticks(19, TICK, false);
    assert_int_equal(killed, 0);
}

static void never_when_it_is_off(void **state UNUSED)
{
    config.hang_timeout = 0;
    supervisor.child[CHILD].pid = getpid();
    ticks(1000, TICK, false);
    assert_int_equal(killed, 0);
    assert_int_equal(stopped, 1);
}

/* The master was stopped, or the machine: nobody could have moved, as far as it knows. */
static void a_pause_of_the_master_is_nobodys_fault(void **state UNUSED)
{
    supervisor.child[CHILD].pid = getpid();
    ticks(3, TICK, true);
    ticks(5, 3600 * NS_PER_SEC, false);
    assert_int_equal(stopped + killed, 0);
}

/* During a drain, of those that have gone already nothing is expected. */
static void who_has_left_is_not_missed(void **state UNUSED)
{
    supervisor.draining = true;
    ticks(10, TICK, false);
    assert_int_equal(stopped, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(told_once_each_way),
        T(killed_once_after_hang_timeout),
        T(a_new_incarnation_has_the_whole_time),
        T(never_when_it_is_off),
        T(a_pause_of_the_master_is_nobodys_fault),
        T(who_has_left_is_not_missed),
    };
#undef T
    return cmocka_run_group_tests_name("proc/supervisor_watch", tests, NULL, NULL);
}
