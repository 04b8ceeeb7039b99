/* proc/sandbox_calls.c - filters of system calls: tbl/sandbox.def, made into BPF by libseccomp. */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/filter.h>

#include "proc/sandbox.h"

#define INSTRUCTIONS_MAX 2048
#define OWN_PID          0x5eedf00d /* in a compiled filter; replaced by the process that installs it */

enum {
    M = 1 << SANDBOX_MASTER,
    H = 1 << SANDBOX_HUB,
    S = 1 << SANDBOX_HUB_ENGINE,
    E = 1 << SANDBOX_EGRESS,
    W = 1 << SANDBOX_WORKER
};

struct call {
    const char *name;
    int number; /* negative: this processor's kernel has no such call */
    unsigned who;
    bool conditional, fatal;
    unsigned argument;
    uint64_t mask, value;
};

#define ANY_INT  0xffffffff
#define ANY_LONG 0xffffffffffffffff
static const struct call calls[] = {
#define CALL(name, who) {#name, SCMP_SYS(name), who, false, false, 0, 0, 0},
#define CALL_IF(name, who, argument, mask, value)                                                  \
    {#name, SCMP_SYS(name), who, true, false, argument, mask, value},
#define FATAL(name) {#name, SCMP_SYS(name), H | E | W, false, true, 0, 0, 0},
#include "tbl/sandbox.def"
};

static struct filter {
    struct sock_filter at[INSTRUCTIONS_MAX];
    unsigned short n;
} filters[SANDBOX_KIND_NR];

/* The master's own filter is every process's. */
static bool is_for(const struct call *c, enum sandbox_kind kind)
{
    unsigned also = kind == SANDBOX_HUB_ENGINE ? H : 0;

    return kind == SANDBOX_MASTER ? !c->fatal : (c->who & (1u << kind | also)) != 0;
}

static int add(scmp_filter_ctx ctx, const struct call *c)
{
    struct scmp_arg_cmp is = {c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->value & c->mask};

    if (c->fatal)
        return seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, c->number, 0);
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, c->number, c->conditional ? 1 : 0, &is);
}

static int fill(scmp_filter_ctx ctx, enum sandbox_kind kind)
{
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    /* A call of many is found by halving. */
    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    /* Its flags are in memory, out of a filter's sight: libc takes clone instead. */
    if (rc == 0)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; i < ARRAY_LEN(calls) && rc == 0; i++)
        if (is_for(&calls[i], kind))
            rc = add(ctx, &calls[i]);
    return rc;
}

/* libseccomp 2.5 writes to a descriptor only. */
static int export(scmp_filter_ctx ctx, struct filter *f)
{
    int fd = memfd_create("roost filter", MFD_CLOEXEC);
    ssize_t bytes = -1;

    if (fd == -1)
        return -1;
    if (seccomp_export_bpf(ctx, fd) == 0)
        bytes = pread(fd, f->at, sizeof(f->at), 0);
    close(fd);
    if (bytes <= 0 || bytes == (ssize_t)sizeof(f->at)) {
        errno = ENOMEM;
        return -1;
    }
    f->n = (unsigned short)((size_t)bytes / sizeof(f->at[0]));
    return 0;
}

int sandbox_calls_prepare(void)
{
    for (int kind = 0; kind < SANDBOX_KIND_NR; kind++) {
        scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int rc;

        if (ctx == NULL) {
            errno = ENOMEM;
            return -1;
        }
        rc = fill(ctx, (enum sandbox_kind)kind);
        if (rc == 0)
            rc = export(ctx, &filters[kind]);
        else
            errno = -rc;
        seccomp_release(ctx);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static void write_own_pid(struct filter *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (BPF_CLASS(f->at[i].code) == BPF_JMP && f->at[i].k == OWN_PID)
            f->at[i].k = (uint32_t)getpid();
}

int sandbox_calls_restrict(enum sandbox_kind kind)
{
    struct filter *f = &filters[kind];
    struct sock_fprog program = {.len = f->n, .filter = f->at};

    write_own_pid(f); /* this process's copy */
    /* Without the flag older kernels slow every process with a filter down, for programs that run
     * foreign code beside their secrets. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) ==
        0)
        return 0;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
