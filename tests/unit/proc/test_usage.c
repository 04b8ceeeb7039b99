/* proc/usage: what a process takes, of itself and seen by others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/usage.c"

#include <sys/wait.h>

static int set_up(void **state UNUSED)
{
    char err[256];

    clock_set_virtual(1000 * NS_PER_SEC);
    return shm_create(1, 65536, err, sizeof(err));
}

static int tear_down(void **state UNUSED)
{
    shm_destroy();
    return 0;
}

static void of_this_process(void **state UNUSED)
{
    struct process_usage seen;

    usage_open(SHM_WORKER);
    atomic_store(&shm->slots[SHM_WORKER].pid, getpid());
    process_usage_read(SHM_WORKER, &seen);
    assert_true(seen.rss_bytes > 100000);
    assert_true(seen.cpu_seconds > 0);
    atomic_store(&shm->slots[SHM_WORKER].pid, 0);
    process_usage_read(SHM_WORKER, &seen);
    assert_int_equal(seen.rss_bytes, 0);
    assert_true(seen.cpu_seconds <= 0);
}

static void of_another_process(void **state UNUSED)
{
    struct process_usage seen;
    pid_t ended = fork();

    if (ended == 0)
        _exit(0);
    assert_int_equal(waitpid(ended, NULL, 0), ended);
    atomic_store(&shm->slots[SHM_HUB].pid, getppid());
    process_usage_read(SHM_HUB, &seen);
    assert_true(seen.cpu_seconds > 0);
    atomic_store(&shm->slots[SHM_HUB].pid, ended);
    process_usage_read(SHM_HUB, &seen);
    assert_true(seen.cpu_seconds <= 0);
}

static void a_look_now_and_then(void **state UNUSED)
{
    struct shm_slot *s = &shm->slots[SHM_WORKER];

    usage_open(SHM_WORKER);
    atomic_store(&s->rss_bytes, 1);
    usage_look();
    assert_int_equal(atomic_load(&s->rss_bytes), 1);
    clock_advance(LOOK_NS);
    usage_look();
    assert_true(atomic_load(&s->rss_bytes) > 100000);
}

static void a_counter_of_the_kernel(void **state UNUSED)
{
    const struct str text = STR_LIT("IpExt: A ListenOverflows\nIpExt: 1 2\n"
                                    "TcpExt: A ListenOverflows B\nTcpExt: 7 8 9\n");

    assert_int_equal(tcp_ext_value(text, "ListenOverflows"), 8);
    assert_int_equal(tcp_ext_value(text, "B"), 9);
    assert_int_equal(tcp_ext_value(text, "C"), 0);
    assert_int_equal(tcp_ext_value(STR_LIT("TcpExt: A"), "A"), 0);
    assert_int_equal(tcp_ext_value(STR_NULL, "A"), 0);
    usage_open(SHM_MASTER);
    assert_true(u.netstat > 0);
    usage_open(SHM_WORKER); /* a child: the master's is closed */
    assert_int_equal(u.netstat, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_this_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_another_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_look_now_and_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_counter_of_the_kernel, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("proc/usage", tests, NULL, NULL);
}
