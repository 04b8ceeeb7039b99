/* proc/supervisor_notify.c - tells the service manager how the master fares: sd_notify(3), by the protocol
 * itself, because libsystemd would bring four libraries into an image for one datagram.
 *
 * NOTIFY_SOCKET is a path, or with a leading '@' a name in the abstract name space. It is connected
 * to before the process is confined. A state is one datagram of lines NAME=VALUE.
 * WATCHDOG_USEC: the manager restarts a service that has not sent WATCHDOG=1 for so long.
 * Can fail: nobody takes it (the datagram is dropped, nothing waits): the manager's own patience
 * decides then. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor_internal.h"

#define STATUS_NS (5 * NS_PER_SEC)

static struct {
    int fd;               /* -1: nobody wants to know */
    uint64_t watchdog_ns; /* 0: none */
    uint64_t said_ns, status_ns;
    uint64_t connections; /* in the last status */
    uint32_t drain;       /* likewise: enum drain_state */
} n = {.fd = -1};

static void send_state(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void send_state(const char *format, ...)
{
    char text[512];
    va_list args;
    int len;

    if (n.fd == -1)
        return;
    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (send(n.fd, text, MIN((size_t)len, sizeof(text) - 1), MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
        LOG(LOG_DEBUG, "the service manager was not told", KV_ERRNO(errno));
}

/* WATCHDOG_USEC, where it is meant for this process. */
static uint64_t watchdog_of_environment(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    return strtoull(usec, NULL, 10) * 1000;
}

void notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;

    if (len == 0)
        return;
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof(to.sun_path)) {
        LOG(LOG_WARN, "NOTIFY_SOCKET is no address of a socket", KV_S("value", path));
        return;
    }
    memcpy(to.sun_path, path, len + 1);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0';
    else
        len++; /* with its end, unix(7) */
    n.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n.fd == -1 || connect(n.fd, (struct sockaddr *)&to,
                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == -1) {
        LOG(LOG_WARN, "the service manager cannot be told that the node is ready",
            KV_S("socket", path), KV_ERRNO(errno));
        notify_close();
        return;
    }
    n.watchdog_ns = watchdog_of_environment();
}

void notify_close(void)
{
    if (n.fd != -1)
        close(n.fd);
    n.fd = -1;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void notify_ready(const char *status)
{
    send_state("READY=1\nMAINPID=%d\nSTATUS=%s", (int)getpid(), status);
    n.status_ns = clock_ns();
    n.connections = UINT64_MAX;
}

void notify_reloading(void)
{
    send_state("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the settings again",
               (unsigned long long)(clock_precise_ns() / 1000));
}

void notify_stopping(uint64_t patience_ns)
{
    uint64_t connections = shm_node_connections();

    send_state("STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\nSTATUS=stopping: %llu connection%s to close",
               (unsigned long long)(patience_ns / 1000), (unsigned long long)connections,
               plural(connections));
}

/* At most every five seconds, and only what is news. */
static void say_status(void)
{
    static const char *const drain[] = {"", "draining as ordered: ", "drained as ordered: "};
    uint64_t connections = shm_node_connections();
    uint32_t state = atomic_load(&shm->drain.state);

    if ((connections == n.connections && state == n.drain) || clock_ns() - n.status_ns < STATUS_NS)
        return;
    n.status_ns = clock_ns();
    n.connections = connections;
    n.drain = state;
    send_state("STATUS=%s%llu connection%s, %u worker%s%s", drain[state],
               (unsigned long long)connections, plural(connections), shm->workers,
               plural(shm->workers),
               metrics->reload_refused ? "; the last reload was refused" : "");
}

void notify_tick(void)
{
    if (n.fd == -1)
        return;
    /* Well before half of the time: a tick may be late. */
    if (n.watchdog_ns != 0 && clock_ns() - n.said_ns >= n.watchdog_ns / 4) {
        n.said_ns = clock_ns();
        send_state("WATCHDOG=1");
    }
    if (supervisor.said_ready && !supervisor.draining)
        say_status();
}
