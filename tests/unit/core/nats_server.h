/* A real nats-server for a test, on a port of its own, and wires to it. */
#ifndef ROOST_TEST_NATS_SERVER_H
#define ROOST_TEST_NATS_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/engine_wire.h"

#define NATS_FETCHED "build/tools/peers/usr/sbin/nats-server"

struct engine_wire {
    int fd;
    bool opened;
    const struct engine_wire_events *events; /* NULL: there is none */
    void *peer;
};

static struct {
    pid_t pid;
    uint16_t port;
    struct engine_wire wire; /* an engine has one at a time */
} nats_test;

static int nats_dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(nats_test.port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd != -1);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Takes it for this process, as integration/engines.py does: by a socket of that name, which stays open. */
static bool take_port(uint16_t port)
{
    struct sockaddr_un mark = {.sun_family = AF_UNIX};
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(port)};
    int ours = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
    int n = snprintf(mark.sun_path + 1, sizeof(mark.sun_path) - 1, "roost-test-port-%u", port);
    bool is_free;

    if (bind(ours, (struct sockaddr *)&mark,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == -1) {
        close(ours);
        return false;
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    is_free = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    if (!is_free)
        close(ours);
    return is_free;
}

/* One that the kernel gives to nobody by itself, and no other test takes while this one lasts. */
static uint16_t free_port(void)
{
    for (unsigned i = 0; i < 15000; i++) {
        uint16_t port = (uint16_t)(15000 + ((unsigned)getpid() * 7919u + i) % 15000);

        if (take_port(port))
            return port;
    }
    fail_msg("no port is free");
    return 0;
}

static int nats_group_setup(void **state)
{
    const char *program = access(NATS_FETCHED, X_OK) == 0 ? NATS_FETCHED : "nats-server";
    pid_t parent = getpid();
    char port[8];
    int fd = -1;

    (void)state;
    nats_test.port = free_port();
    snprintf(port, sizeof(port), "%u", nats_test.port);
    nats_test.pid = fork();
    assert_true(nats_test.pid != -1);
    if (nats_test.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        execlp(program, "nats-server", "-a", "127.0.0.1", "-p", port, "-l", "/dev/null",
               (char *)NULL);
        fprintf(stderr, "%s: %s; make build/tools/peers/.nats-server fetches it\n", program,
                strerror(errno));
        _exit(127);
    }
    for (int i = 0; i < 6000 && fd == -1; i++) {
        assert_int_equal(waitpid(nats_test.pid, NULL, WNOHANG), 0);
        fd = nats_dial();
        if (fd == -1)
            poll(NULL, 0, 10);
    }
    assert_true(fd != -1);
    close(fd);
    return 0;
}

static int nats_group_teardown(void **state)
{
    (void)state;
    kill(nats_test.pid, SIGKILL);
    waitpid(nats_test.pid, NULL, 0);
    return 0;
}

static struct engine_wire *wire_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    struct engine_wire *w = &nats_test.wire;

    (void)arg;
    (void)to;
    assert_null(w->events);
    *w = (struct engine_wire){.fd = nats_dial(), .events = events, .peer = peer};
    return w;
}

static int wire_secure(struct engine_wire *w)
{
    (void)w;
    return -1;
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

static const struct engine_wire_ops nats_wires = {.open = wire_open,
                                                  .secure = wire_secure,
                                                  .send = wire_send,
                                                  .queued = wire_queued,
                                                  .close = wire_close};

static void wire_step(struct engine_wire *w, int timeout_ms)
{
    static char buffer[65536];
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    const struct engine_wire_events *events = w->events;
    ssize_t n;

    if (w->fd == -1) {
        w->events = NULL;
        events->closed(w->peer, "refused");
    } else if (!w->opened) {
        w->opened = true;
        events->opened(w->peer);
    } else if (poll(&p, 1, timeout_ms) == 1) {
        n = read(w->fd, buffer, sizeof(buffer));
        if (n > 0) {
            events->received(w->peer, (struct str){.p = buffer, .n = (size_t)n});
            return;
        }
        close(w->fd);
        w->events = NULL;
        events->closed(w->peer, "the server has closed the connection");
    }
}

/* Is something to be waited for? */
static bool nats_busy(const struct nats *e)
{
    return e->state != NATS_UP || e->pings != e->pongs || !list_empty(&e->waiting) ||
           !list_empty(&e->subscribe);
}

/* Lets the server answer. */
static void nats_step(struct engine *e)
{
    clock_refresh();
    e->ops->tick(e, clock_ns());
    if (nats_test.wire.events != NULL)
        wire_step(&nats_test.wire, nats_busy(nats_of(e)) ? 5 : 0);
    clock_refresh();
    e->ops->tick(e, clock_ns());
}

#endif
