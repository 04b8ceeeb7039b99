/* proc/sandbox.c - see sandbox.h. */
#include "proc/sandbox.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/dumps.h"
#include "base/log.h"

/* In the programs of sanitizers: they make calls of their own, and start programs. */
extern void __sanitizer_print_stack_trace(void) __attribute__((weak));

static struct {
    bool calls, files;
} on;

static bool kernel_filters(void)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;

    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static const char *why_off(void)
{
    const char *preload = getenv("LD_PRELOAD");

    if (!config.sandbox)
        return "the setting says so";
    if (__sanitizer_print_stack_trace != NULL)
        return "the program has a sanitizer";
    /* Its calls are this process's, from a library that it loads. */
    if (preload != NULL && strstr(preload, "/vgpreload_") != NULL)
        return "the program runs in valgrind";
    return NULL;
}

int sandbox_prepare(void)
{
    const char *why = why_off();

    if (why != NULL) {
        LOG(config.sandbox ? LOG_INFO : LOG_WARN, "processes are not confined", KV_S("why", why));
        return 0;
    }
    on.calls = kernel_filters();
    on.files = sandbox_files_version() > 0;
    if (!on.calls)
        LOG(LOG_WARN, "this kernel, or what the daemon runs in, has no filters of system calls: "
                      "a process that was taken over may make any");
    LOG(LOG_INFO, "processes are confined", KV_B("system_calls", on.calls),
        KV_I("landlock", sandbox_files_version()));
    return on.calls ? sandbox_calls_prepare() : 0;
}

static void refuse(const char *step)
{
    LOG(LOG_ERROR, "the process cannot be confined", KV_S("step", step), KV_ERRNO(errno));
    exit(1);
}

static void keep_out_of_core_files(void)
{
    const struct rlimit none = {0, 0};

    dumps_leave_out(&config, sizeof(config));
    if (!config.core_dumps && setrlimit(RLIMIT_CORE, &none) == -1)
        refuse("RLIMIT_CORE");
    /* Also of those that a pipe takes, which knows no limit; and no process of this user may look
     * into this one. A change of user has cleared it. */
    if (prctl(PR_SET_DUMPABLE, config.core_dumps ? 1 : 0) == -1)
        refuse("PR_SET_DUMPABLE");
}

void sandbox_enter(enum sandbox_kind kind)
{
    keep_out_of_core_files();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        refuse("no_new_privs");
    if (on.files && sandbox_files_restrict(kind) == -1)
        refuse("landlock");
    if (on.calls && sandbox_calls_restrict(kind) == -1)
        refuse("seccomp");
}
