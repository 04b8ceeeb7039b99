/* A real redis-server for a test, on a UNIX socket in a folder of its own, or somebody else's servers of a cluster, and
 * wires to it. */
#ifndef ROOST_TEST_REDIS_SERVER_H
#define ROOST_TEST_REDIS_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/engine_wire.h"

#define WIRES_MAX 16

struct engine_wire {
    int fd;
    bool opened;
    const struct engine_wire_events *events;
    void *peer;
};

static struct {
    pid_t pid;
    char dir[32], path[64];
    struct engine_wire wires[WIRES_MAX];
    bool refuse;     /* connections are refused */
    unsigned nports; /* of servers of a cluster on 127.0.0.1; 0: one server of its own */
    uint16_t ports[WIRES_MAX];
} redis_test;

#define REDIS_FETCHED "build/tools/peers/usr/"

static const char *redis_program(void)
{
    return access(REDIS_FETCHED "bin/redis-server", X_OK) == 0 ? REDIS_FETCHED "bin/redis-server"
                                                               : "redis-server";
}

static int redis_connect_port(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int redis_connect(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", redis_test.path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void redis_start(void)
{
    pid_t parent = getpid();
    int fd = -1;

    redis_test.pid = fork();
    assert_true(redis_test.pid != -1);
    if (redis_test.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        setenv("LD_LIBRARY_PATH",
               REDIS_FETCHED "lib/x86_64-linux-gnu:" REDIS_FETCHED "lib/aarch64-linux-gnu", 1);
        execlp(redis_program(), "redis-server", "--port", "0", "--unixsocket", redis_test.path,
               "--save", "", "--dir", redis_test.dir, "--loglevel", "warning", "--logfile", "",
               (char *)NULL);
        fprintf(stderr, "%s: %s; make build/tools/peers/.redis-server fetches it\n",
                redis_program(), strerror(errno));
        _exit(127);
    }
    for (int i = 0; i < 6000 && fd == -1; i++) {
        assert_int_equal(waitpid(redis_test.pid, NULL, WNOHANG), 0);
        fd = redis_connect();
        if (fd == -1)
            poll(NULL, 0, 10);
    }
    assert_true(fd != -1);
    close(fd);
}

static void redis_kill(void)
{
    kill(redis_test.pid, SIGKILL);
    waitpid(redis_test.pid, NULL, 0);
    unlink(redis_test.path);
}

static int redis_group_setup(void **state)
{
    (void)state;
    if (redis_test.nports > 0)
        return 0;
    snprintf(redis_test.dir, sizeof(redis_test.dir), "/tmp/roost-redis-XXXXXX");
    assert_non_null(mkdtemp(redis_test.dir));
    snprintf(redis_test.path, sizeof(redis_test.path), "%s/s", redis_test.dir);
    redis_start();
    return 0;
}

static int redis_group_teardown(void **state)
{
    (void)state;
    if (redis_test.nports > 0)
        return 0;
    redis_kill();
    rmdir(redis_test.dir);
    return 0;
}

/* Sends a command and waits for its first bytes of answer. */
static void redis_say_to(int fd, const char *inline_command)
{
    char answer[256];

    assert_true(fd != -1);
    assert_int_equal(write(fd, inline_command, strlen(inline_command)), strlen(inline_command));
    assert_true(read(fd, answer, sizeof(answer)) > 0);
    close(fd);
}

static void redis_say(const char *inline_command)
{
    if (redis_test.nports == 0)
        redis_say_to(redis_connect(), inline_command);
    for (unsigned i = 0; i < redis_test.nports; i++)
        redis_say_to(redis_connect_port(redis_test.ports[i]), inline_command);
}

/* --- wires --- */

static struct engine_wire *wire_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    (void)arg;
    for (size_t i = 0; i < WIRES_MAX; i++) {
        struct engine_wire *w = &redis_test.wires[i];

        if (w->events != NULL)
            continue;
        w->fd = redis_test.refuse       ? -1
                : redis_test.nports > 0 ? redis_connect_port(to->port)
                                        : redis_connect();
        w->opened = false;
        w->events = events;
        w->peer = peer;
        return w;
    }
    return NULL;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(w->fd, bytes.p, bytes.n);

        if (n <= 0)
            return -1;
        bytes = str_skip(bytes, (size_t)n);
    }
    return 0;
}

static size_t wire_queued(const struct engine_wire *w)
{
    (void)w;
    return 0;
}

static void wire_close(struct engine_wire *w)
{
    if (w->fd != -1)
        close(w->fd);
    w->events = NULL;
}

static const struct engine_wire_ops redis_wires = {
    .open = wire_open, .send = wire_send, .queued = wire_queued, .close = wire_close};

static void wire_step(struct engine_wire *w, int timeout_ms)
{
    static char buffer[65536];
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    const struct engine_wire_events *events = w->events;
    ssize_t n;

    if (w->fd == -1) {
        w->events = NULL;
        events->closed(w->peer, "refused");
        return;
    }
    if (!w->opened) {
        w->opened = true;
        events->opened(w->peer);
        return;
    }
    if (poll(&p, 1, timeout_ms) != 1)
        return;
    n = read(w->fd, buffer, sizeof(buffer));
    if (n > 0) {
        events->received(w->peer, (struct str){.p = buffer, .n = (size_t)n});
        return;
    }
    close(w->fd);
    w->events = NULL;
    events->closed(w->peer, "the server has closed the connection");
}

/* Is something to be waited for? */
UNUSED static bool redis_server_busy(const struct redis_server *s)
{
    for (const struct list *n = s->subs.next; n != &s->subs; n = n->next)
        if (LIST_ENTRY(n, struct redis_sub, link)->state != REDIS_SUB_LIVE)
            return true;
    return s->state != REDIS_UP || !list_empty(&s->sent) || !list_empty(&s->waiting) ||
           !list_empty(&s->resubscribe);
}

UNUSED static bool redis_busy(const struct redis *e)
{
    for (unsigned i = 0; i < e->nservers; i++)
        if (redis_server_busy(e->servers[i]))
            return true;
    return e->lanes.count > 0;
}

/* Lets the server answer. */
UNUSED static void redis_step(struct engine *e)
{
    clock_refresh();
    e->ops->tick(e, clock_ns());
    for (size_t i = 0; i < WIRES_MAX; i++)
        if (redis_test.wires[i].events != NULL)
            wire_step(&redis_test.wires[i], redis_busy(redis_of(e)) ? 5 : 0);
    clock_refresh();
    e->ops->tick(e, clock_ns());
}

#endif
