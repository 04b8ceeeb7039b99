/* tests/unit/base/test_boot.c - each case in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/boot.c"

static bool ignored(int sig)
{
    struct sigaction now;

    return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static bool is_null_device(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* Runs fn in a child; its exit status, or -signal. */
static int in_child(int (*fn)(int arg), int arg)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(fn(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int closed(int which)
{
    for (int fd = 0; fd <= 2; fd++)
        if (which & 1 << fd)
            close(fd);
    boot_process(0);
    for (int fd = 0; fd <= 2; fd++)
        if ((which & 1 << fd) != 0 && !is_null_device(fd))
            return 1 + fd;
    /* The next descriptor is no standard one, and what was open has stayed. */
    return open("/", O_PATH) <= 2 ? 4 : 0;
}

static void closed_descriptors_are_the_null_device(void **state UNUSED)
{
    for (int which = 0; which < 8; which++)
        assert_int_equal(in_child(closed, which), 0);
}

static int resets(int keep)
{
    sigset_t all, now;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_IGN);
    boot_process(keep);
    for (int sig = 1; sig < NSIG; sig++)
        if (ignored(sig) != (sig == keep))
            return 1;
    sigprocmask(SIG_SETMASK, NULL, &now);
    for (int sig = 1; sig < 32; sig++) {
        bool order =
            sig == SIGHUP || sig == SIGINT || sig == SIGQUIT || sig == SIGTERM || sig == SIGUSR1;

        if ((sigismember(&now, sig) == 1) != order)
            return 2;
    }
    boot_release();
    sigprocmask(SIG_SETMASK, NULL, &now);
    return sigisemptyset(&now) ? 0 : 3;
}

static void blocked_and_ignored_signals_of_the_parent(void **state UNUSED)
{
    assert_int_equal(in_child(resets, 0), 0);
    assert_int_equal(in_child(resets, SIGHUP), 0);
}

static int keeps_default(int keep)
{
    boot_process(keep);
    boot_release();
    raise(SIGHUP);
    return 0;
}

static void only_what_was_ignored_is_kept_so(void **state UNUSED)
{
    assert_int_equal(in_child(keeps_default, SIGHUP), -SIGHUP);
}

static volatile sig_atomic_t taken;

static void take(int sig)
{
    taken = sig;
}

static int early(int sig)
{
    boot_process(0);
    raise(sig);
    signal(sig, take);
    if (taken != 0)
        return 1;
    boot_release();
    return taken == sig ? 0 : 2;
}

/* Sent while the parent's mask still held it. */
static int earlier(int sig)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    raise(sig);
    boot_process(0);
    signal(sig, take);
    boot_release();
    return taken == sig ? 0 : 1;
}

static void early_orders_wait_for_their_handlers(void **state UNUSED)
{
    static const int sigs[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

    for (size_t i = 0; i < ARRAY_LEN(sigs); i++) {
        assert_int_equal(in_child(early, sigs[i]), 0);
        assert_int_equal(in_child(earlier, sigs[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(closed_descriptors_are_the_null_device),
                                       cmocka_unit_test(blocked_and_ignored_signals_of_the_parent),
                                       cmocka_unit_test(only_what_was_ignored_is_kept_so),
                                       cmocka_unit_test(early_orders_wait_for_their_handlers)};
    return cmocka_run_group_tests_name("base/boot", tests, NULL, NULL);
}
