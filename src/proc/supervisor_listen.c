/* proc/supervisor_listen.c - the listening sockets, opened once for the daemon's life. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "supervisor_internal.h"

struct supervisor_listeners supervisor_listeners;

/* [::] is served as 0.0.0.0 by a kernel without IPv6 (or where a sandbox forbids it). */
static void fall_back_to_ipv4(struct address *a)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[64];

    if (fd != -1) {
        close(fd);
    } else if (errno == EAFNOSUPPORT && address_to_ipv4(a)) {
        address_format(a, text, sizeof(text));
        LOG(LOG_INFO, "this kernel has no IPv6, so [::] means 0.0.0.0", KV_S("address", text));
    }
}

/* SO_REUSEPORT would let a second daemon share the port without a word: a bind without it tells. */
static int refuse_shared(const struct address *a)
{
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, off = 0, rc;
    char text[64];

    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
        (a->sa.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == -1)) {
        fprintf(stderr, "roostd: socket: %s\n", strerror(errno));
        if (fd != -1)
            close(fd);
        return -1;
    }
    rc = bind(fd, (const struct sockaddr *)&a->sa, a->len);
    if (rc == -1) {
        address_format(a, text, sizeof(text));
        fprintf(stderr, "roostd: %s: %s%s\n", text, strerror(errno),
                errno == EADDRINUSE ? "; is roostd running already?" : "");
    }
    close(fd);
    return rc;
}

static int open_group(struct address *a, int *fds)
{
    char err[256];

    fall_back_to_ipv4(a);
    if (refuse_shared(a) == -1)
        return -1;
    for (unsigned i = 0; i < shm->workers; i++) {
        fds[i] =
            listener_open(a, (int)config.listen_backlog, config.send_buffer_size, err, sizeof(err));
        if (fds[i] == -1) {
            fprintf(stderr, "roostd: %s\n", err);
            return -1;
        }
    }
    return 0;
}

static void say(const struct address *a, const struct listener_options *o)
{
    char text[64];

    address_format(a, text, sizeof(text));
    LOG(LOG_INFO, "listening", KV_S("address", text),
        KV_S("for", listener_is_admin(o) ? "admin" : "clients"));
}

int listeners_open(void)
{
    char err[256];

    memset(supervisor_listeners.fd, -1, sizeof(supervisor_listeners.fd));
    supervisor_listeners.n = (unsigned)config.listeners_count;
    for (unsigned k = 0; k < supervisor_listeners.n; k++) {
        struct address *a = &supervisor.address[k];

        if (address_parse(str_from(config.listener[k].address), a, err, sizeof(err)) == -1) {
            fprintf(stderr, "roostd: %s\n", err);
            return -1;
        }
        if (open_group(a, supervisor_listeners.fd[k]) == -1)
            return -1;
    }
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        say(&supervisor.address[k], &config.listener[k]);
    return 0;
}

/* For all processes that hold it, also one that does not move: the kernel refuses what comes, and
 * resets what waits. */
static void shut_one(int *fd)
{
    if (*fd == -1)
        return;
    shutdown(*fd, SHUT_RDWR);
    close(*fd);
    *fd = -1;
}

void listeners_close(void)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++) {
        for (unsigned i = 0; i < shm->workers; i++) {
            if (supervisor_listeners.fd[k][i] != -1)
                close(supervisor_listeners.fd[k][i]);
            supervisor_listeners.fd[k][i] = -1;
        }
    }
}

void listeners_shut_client(void)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        for (unsigned i = 0; i < shm->workers && !listener_is_admin(&config.listener[k]); i++)
            shut_one(&supervisor_listeners.fd[k][i]);
}

void listeners_shut_worker(unsigned worker)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        shut_one(&supervisor_listeners.fd[k][worker]);
}

static unsigned port_of(const struct address *a)
{
    return ntohs(a->sa.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&a->sa)->sin_port);
}

/* Port of the first listener of a kind; 0: there is none. */
static unsigned first_port(enum listener_kind kind)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        if (config.listener[k].kind == (int)kind)
            return port_of(&supervisor.address[k]);
    return 0;
}

void supervisor_print_hints(void)
{
    const char *forced = getenv("ROOST_HINTS");
    unsigned client = first_port(LISTENER_CLIENT), admin = first_port(LISTENER_ADMIN);

    if (!isatty(STDOUT_FILENO) && !(forced != NULL && forced[0] == '1'))
        return;
    printf("\nRoost is up: %u workers and a hub. Things to try:\n"
           "  a chat in the browser   http://localhost:%u/\n"
           "  a chat in two shells    npx wscat -c ws://localhost:%u/ws/lobby\n",
           shm->workers, client, client);
    if (admin != 0)
        printf(
            "  publish from a server   curl -d "
            "'{\"channel\":\"lobby\",\"data\":{\"text\":\"hi\"}}' "
            "http://localhost:%u/api/publish\n"
            "  metrics                 curl http://localhost:%u/metrics\n"
            "  look inside             roostctl status | top | tail lobby | publish lobby hello\n",
            admin, admin);
    printf(
        "Ctrl-C stops it: clients are closed over drain_time; a second Ctrl-C ends at once.\n\n");
    fflush(stdout);
}
