/* proc/sandbox: what a confined process may still do, and what it may not. Each attempt is made by a
 * child of its own that has really entered; only the filter, or only Landlock, stands in its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/sandbox_calls.c"
#include "proc/sandbox_files.c"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILLED (-SIGSYS)
#define FINE   0

static char folder[] = "/tmp/roost-sandbox-XXXXXX", inside[64], outside[64];
static int listening = -1, unconnected = -1, peer[2];
static struct sockaddr_in at; /* of listening */
static pid_t parent;
static volatile char page[65536];

#define TRY(call) ((call) == -1 ? errno : FINE)

static int read_a_file(void)
{
    return TRY(open("/etc/hostname", O_RDONLY));
}

static int read_passwd(void)
{
    return TRY(open("/etc/passwd", O_RDONLY));
}

static int read_resolver(void)
{
    return TRY(open("/etc/nsswitch.conf", O_RDONLY));
}

static int list_root(void)
{
    return TRY(open("/", O_RDONLY | O_DIRECTORY));
}

static int write_inside(void)
{
    return TRY(open(inside, O_WRONLY | O_CREAT | O_APPEND, 0600));
}

static int write_outside(void)
{
    return TRY(open(outside, O_WRONLY | O_CREAT, 0600));
}

static int remove_a_file(void)
{
    int rc = TRY(unlink("/nonexistent/x"));

    return rc == ENOENT ? FINE : rc;
}

static int look_at_a_file(void)
{
    struct stat st;

    return TRY(stat("/etc/passwd", &st));
}

static int look_at_a_descriptor(void)
{
    struct stat st;

    return TRY(fstat(0, &st));
}

static int socket_inet(void)
{
    return TRY(socket(AF_INET, SOCK_STREAM, 0));
}

static int socket_unix(void)
{
    return TRY(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int socket_packet(void)
{
    return TRY(socket(AF_PACKET, SOCK_RAW, 0));
}

static int connect_out(void)
{
    return TRY(connect(unconnected, (struct sockaddr *)&at, sizeof(at)));
}

static int listen_anew(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET};

    return TRY(bind(unconnected, (struct sockaddr *)&any, sizeof(any)));
}

static int accept_one(void)
{
    int rc = TRY(accept4(listening, NULL, NULL, SOCK_CLOEXEC));

    return rc == EAGAIN ? FINE : rc;
}

static int send_and_poll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    char byte = 'x';
    struct iovec v = {&byte, 1};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll == -1 || epoll_ctl(epoll, EPOLL_CTL_ADD, peer[1], &event) == -1 ||
        send(peer[0], &byte, 1, MSG_NOSIGNAL) != 1 || writev(peer[0], &v, 1) != 1 ||
        epoll_wait(epoll, &event, 1, 1000) != 1 || recv(peer[1], &byte, 1, 0) != 1 ||
        read(peer[1], &byte, 1) != 1 || fcntl(peer[0], F_SETFL, O_NONBLOCK) == -1)
        return errno;
    return FINE;
}

static int take_memory(void)
{
    char *p = malloc(8 * 1024 * 1024), *q;

    if (p == NULL)
        return errno;
    memset(p, 1, 1000);
    q = realloc(p, 16 * 1024 * 1024);
    free(q != NULL ? q : p);
    return q != NULL ? FINE : errno;
}

static int memory_to_execute(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : FINE;
}

static int make_executable(void)
{
    uintptr_t start = ((uintptr_t)page + 4095) & ~(uintptr_t)4095;

    return TRY(mprotect((void *)start, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
}

static int memory_file(void)
{
    return TRY(memfd_create("x", 0));
}

static int run_a_program(void)
{
    char *const none[] = {NULL};

    return TRY(execve("/bin/true", none, none));
}

static int run_a_program_at(void)
{
    char *const none[] = {NULL};

    return TRY((int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", none, none, 0));
}

static int fork_one(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    return TRY(pid);
}

static int clone3_is_not_there(void)
{
    return TRY((int)syscall(SYS_clone3, NULL, 0)) == ENOSYS ? FINE : errno;
}

static void *no_work(void *arg)
{
    return arg;
}

static int start_a_thread(void)
{
    pthread_t t;
    int rc = pthread_create(&t, NULL, no_work, NULL);

    return rc != 0 ? rc : pthread_join(t, NULL);
}

static int signal_the_master(void)
{
    return TRY(kill(parent, 0));
}

static int signal_a_thread_elsewhere(void)
{
    return TRY((int)syscall(SYS_tgkill, parent, parent, 0));
}

static int signal_by_a_socket(void)
{
    return TRY(fcntl(peer[0], F_SETOWN, parent));
}

static int end_by_abort(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static int be_traced(void)
{
    return TRY(ptrace(PTRACE_TRACEME, 0, 0, 0));
}

static int read_others_memory(void)
{
    char here[8];
    struct iovec local = {here, 8}, remote = {(void *)(uintptr_t)page, 8};

    return TRY(process_vm_readv(parent, &local, 1, &remote, 1, 0));
}

static int become_root(void)
{
    return TRY((int)syscall(SYS_setuid, 0));
}

static int new_namespace(void)
{
    return TRY((int)syscall(SYS_unshare, CLONE_NEWUSER));
}

static int use_io_uring(void)
{
    return TRY((int)syscall(SYS_io_uring_setup, 1, NULL));
}

static int raise_a_limit(void)
{
    const struct rlimit low = {64, 64};

    return TRY(setrlimit(RLIMIT_NOFILE, &low));
}

static int read_a_limit(void)
{
    struct rlimit now;

    return TRY(getrlimit(RLIMIT_NOFILE, &now));
}

/* What the attempt comes to in a child that is confined like this: FINE, an errno, or the negative
 * signal that killed it. */
static int outcome(enum sandbox_kind kind, int (*restrict_to)(enum sandbox_kind),
                   int (*attempt)(void))
{
    int status;
    pid_t pid;

    unconnected = socket(AF_INET, SOCK_STREAM, 0); /* before it is confined */
    pid = fork();
    if (pid == 0) {
        if (restrict_to(kind) == -1)
            _exit(255);
        _exit(attempt());
    }
    close(unconnected);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int by_calls(enum sandbox_kind kind)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? -1 : sandbox_calls_restrict(kind);
}

static int by_files(enum sandbox_kind kind)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ? -1 : sandbox_files_restrict(kind);
}

static int not_at_all(enum sandbox_kind kind UNUSED)
{
    return 0;
}

/* An attempt, and what it comes to in each kind of process. */
struct row {
    const char *what;
    int (*attempt)(void);
    int master, hub, engine, egress, worker;
};
#define ROW(name, ...)                                                                             \
    {                                                                                              \
#name, name, __VA_ARGS__                                                                   \
    }

/* clang-format off */
static const struct row of_calls[] = {
    /*                        master, hub, hub with an engine, egress, worker */
    ROW(read_a_file, FINE, EPERM, FINE, FINE, EPERM), /* which ones, Landlock says */
    ROW(write_inside, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(remove_a_file, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(look_at_a_file, FINE, EPERM, EPERM, FINE, EPERM),
    ROW(look_at_a_descriptor, FINE, FINE, FINE, FINE, FINE),
    ROW(memory_file, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(socket_inet, FINE, EPERM, FINE, FINE, EPERM),
    ROW(socket_unix, FINE, EPERM, FINE, FINE, EPERM),
    ROW(socket_packet, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(connect_out, FINE, EPERM, FINE, FINE, EPERM),
    ROW(listen_anew, FINE, EPERM, EPERM, FINE, EPERM),
    ROW(accept_one, FINE, EPERM, EPERM, EPERM, FINE),
    ROW(send_and_poll, FINE, FINE, FINE, FINE, FINE),
    ROW(take_memory, FINE, FINE, FINE, FINE, FINE),
    ROW(memory_to_execute, FINE, EPERM, EPERM, FINE, EPERM),
    ROW(make_executable, FINE, EPERM, EPERM, FINE, EPERM),
    ROW(run_a_program, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(run_a_program_at, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(fork_one, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(clone3_is_not_there, FINE, FINE, FINE, FINE, FINE),
    ROW(start_a_thread, FINE, EPERM, EPERM, FINE, EPERM),
    ROW(signal_the_master, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(signal_a_thread_elsewhere, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(signal_by_a_socket, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(end_by_abort, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT, -SIGABRT),
    ROW(be_traced, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(read_others_memory, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(become_root, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(new_namespace, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(use_io_uring, EPERM, KILLED, KILLED, KILLED, KILLED),
    ROW(raise_a_limit, FINE, EPERM, EPERM, EPERM, EPERM),
    ROW(read_a_limit, FINE, FINE, FINE, FINE, FINE),
};

static const struct row of_files[] = {
    ROW(read_passwd, FINE, EACCES, EACCES, EACCES, EACCES),
    ROW(read_resolver, FINE, EACCES, FINE, FINE, EACCES), /* names of the engine's servers */
    ROW(list_root, FINE, EACCES, EACCES, EACCES, EACCES),
    ROW(write_inside, FINE, EACCES, EACCES, EACCES, EACCES),
    ROW(write_outside, EACCES, EACCES, EACCES, EACCES, EACCES),
    ROW(run_a_program, EACCES, EACCES, EACCES, EACCES, EACCES),
};

static const struct row of_network[] = { /* Landlock 4 */
    ROW(listen_anew, FINE, EACCES, EACCES, EACCES, EACCES),
    ROW(connect_out, FINE, EACCES, FINE, FINE, EACCES),
};

static const struct row of_signals[] = { /* Landlock 6 */
    ROW(signal_the_master, FINE, EPERM, EPERM, EPERM, EPERM),
};
/* clang-format on */

static void check_rows(const struct row *rows, size_t n, int (*restrict_to)(enum sandbox_kind))
{
    unsigned bad = 0;

    for (size_t i = 0; i < n; i++) {
        const int expected[] = {rows[i].master, rows[i].hub, rows[i].engine, rows[i].egress,
                                rows[i].worker};

        for (int kind = 0; kind < SANDBOX_KIND_NR; kind++) {
            int got = outcome((enum sandbox_kind)kind, restrict_to, rows[i].attempt);

            if (got == expected[kind])
                continue;
            print_error("%s in process %d: %d, not %d\n", rows[i].what, kind, got, expected[kind]);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
}

/* Each of them really goes, or is refused for another reason, where nothing is confined. */
static void without_a_sandbox_nothing_is_refused_like_this(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(of_calls); i++)
        assert_int_not_equal(outcome(SANDBOX_WORKER, not_at_all, of_calls[i].attempt), KILLED);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, read_passwd), FINE);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, socket_inet), FINE);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, connect_out), FINE);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, run_a_program), FINE);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, fork_one), FINE);
    assert_int_equal(outcome(SANDBOX_WORKER, not_at_all, signal_the_master), FINE);
}

static void by_kind(void **state UNUSED)
{
    check_rows(of_calls, ARRAY_LEN(of_calls), by_calls);
}

static void files_and_signals(void **state UNUSED)
{
    int version = sandbox_files_version();

    /* What this kernel has: older ones know less, and the oldest nothing. */
    if (version >= 1)
        check_rows(of_files, ARRAY_LEN(of_files), by_files);
    if (version >= 4)
        check_rows(of_network, ARRAY_LEN(of_network), by_files);
    if (version >= 6)
        check_rows(of_signals, ARRAY_LEN(of_signals), by_files);
}

/* A filter is looked through at each call. */
static void filters_are_short(void **state UNUSED)
{
    for (int kind = 0; kind < SANDBOX_KIND_NR; kind++) {
        assert_in_range(filters[kind].n, 50, 500);
        for (unsigned i = 0; i < filters[kind].n; i++)
            assert_int_not_equal(filters[kind].at[i].code, 0);
    }
}

static int open_sockets(void)
{
    socklen_t len = sizeof(at);

    at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listening == -1 || bind(listening, (struct sockaddr *)&at, sizeof(at)) == -1 ||
        listen(listening, 64) == -1 || getsockname(listening, (struct sockaddr *)&at, &len) == -1)
        return -1;
    return socketpair(AF_UNIX, SOCK_STREAM, 0, peer);
}

static int set_up(void **state UNUSED)
{
    const struct rlimit none = {0, 0};

    parent = getpid();
    config_defaults(&config);
    if (setrlimit(RLIMIT_CORE, &none) == -1 || mkdtemp(folder) == NULL)
        return -1;
    snprintf(inside, sizeof(inside), "%s/log", folder);
    snprintf(outside, sizeof(outside), "/tmp/roost-outside-%d", (int)getpid());
    snprintf(config.log_file, sizeof(config.log_file), "%s", inside);
    return open_sockets() == -1 ? -1 : sandbox_calls_prepare();
}

static int tear_down(void **state UNUSED)
{
    unlink(inside);
    unlink(outside);
    rmdir(folder);
    close(listening);
    close(peer[0]);
    close(peer[1]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_sandbox_nothing_is_refused_like_this),
        cmocka_unit_test(by_kind),
        cmocka_unit_test(files_and_signals),
        cmocka_unit_test(filters_are_short),
    };

    return cmocka_run_group_tests_name("proc/sandbox", tests, set_up, tear_down);
}
