/* proc/supervisor_listen.c - the listening sockets, opened once for the daemon's life. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "net/listener_socket.h"
#include "proc/passed.h"
#include "supervisor_internal.h"

struct supervisor_listeners supervisor_listeners;

const struct address *supervisor_listener_address(unsigned listener)
{
    return &supervisor.listener[listener].address;
}

/* [::] is served as 0.0.0.0 by a kernel without IPv6 (or where a sandbox forbids it). */
static void fall_back_to_ipv4(struct address *a)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[ADDRESS_TEXT_MAX];

    if (fd != -1) {
        close(fd);
    } else if (errno == EAFNOSUPPORT && address_to_ipv4(a)) {
        address_format(a, text, sizeof(text));
        LOG(LOG_INFO, "this kernel has no IPv6, so [::] means 0.0.0.0", KV_S("address", text));
    }
}

/* SO_REUSEPORT would let a second daemon share the port without a word: a bind without it tells. */
static int refuse_shared(const struct address *a, bool ipv6_only)
{
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, only = ipv6_only, rc;
    char text[ADDRESS_TEXT_MAX];

    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
        (a->sa.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) == -1)) {
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

static struct listener_socket how(const struct listener_options *o)
{
    return (struct listener_socket){.backlog = (int)config.listen_backlog,
                                    .send_buffer = config.send_buffer_size,
                                    .ipv6_only = o->ipv6_only};
}

static int say_error(const char *text)
{
    fprintf(stderr, "roostd: %s\n", text);
    return -1;
}

static int open_group(unsigned k)
{
    const struct listener_options *o = &config.listener[k];
    struct listener_socket socket = how(o);
    struct address *a = &supervisor.listener[k].address;
    char err[256];

    if (!o->ipv6_only)
        fall_back_to_ipv4(a);
    if (refuse_shared(a, o->ipv6_only) == -1)
        return -1;
    for (unsigned i = 0; i < shm->workers; i++) {
        supervisor_listeners.fd[k][i] = listener_open(a, &socket, err, sizeof(err));
        if (supervisor_listeners.fd[k][i] == -1)
            return say_error(err);
    }
    return 0;
}

static int open_unix(unsigned k)
{
    const struct listener_options *o = &config.listener[k];
    struct supervisor_listener *l = &supervisor.listener[k];
    struct listener_socket socket = how(o);
    struct listener_file file;
    struct stat st;
    char err[320];

    if (config_listener_file(o, &file, err, sizeof(err)) == -1)
        return say_error(err);
    supervisor_listeners.shared[k] = true;
    supervisor_listeners.fd[k][0] =
        listener_open_unix(&l->address, &socket, &file, err, sizeof(err));
    if (supervisor_listeners.fd[k][0] == -1)
        return say_error(err);
    if (lstat(address_path(&l->address), &st) == 0) {
        l->device = st.st_dev;
        l->inode = st.st_ino;
    }
    return 0;
}

static int open_passed(unsigned k, struct str name)
{
    struct address *a = &supervisor.listener[k].address;
    char err[512];
    int fd = name.n > 0 ? passed_take_name(name, a) : passed_take_address(a);

    if (fd == -1 && name.n > 0) {
        snprintf(err, sizeof(err), "fd:%.*s: no socket of this name was passed; LISTEN_FDNAMES: %s",
                 STR_ARG(name), passed_names());
        return say_error(err);
    }
    supervisor_listeners.fd[k][0] = fd;
    supervisor_listeners.shared[k] = supervisor_listeners.passed[k] = fd != -1;
    return 0;
}

static int open_one(unsigned k)
{
    const struct listener_options *o = &config.listener[k];
    struct address *a = &supervisor.listener[k].address;
    char err[256];

    if (address_parse(str_from(o->address), a, err, sizeof(err)) == -1)
        return say_error(err);
    if (open_passed(k, listener_passed(o)) == -1)
        return -1;
    if (supervisor_listeners.passed[k])
        return 0;
    return address_is_unix(a) ? open_unix(k) : open_group(k);
}

static void say(unsigned k)
{
    const struct listener_options *o = &config.listener[k];
    char text[ADDRESS_TEXT_MAX];

    address_format(&supervisor.listener[k].address, text, sizeof(text));
    LOG(LOG_INFO, "listening", KV_S("address", text),
        KV_S("for", listener_is_admin(o) ? "admin" : "clients"), KV_S("name", listener_label(o)),
        KV_B("passed", supervisor_listeners.passed[k]));
}

int listeners_open(void)
{
    struct listener_socket socket = how(&config.listener[0]);
    char err[256];

    memset(supervisor_listeners.fd, -1, sizeof(supervisor_listeners.fd));
    supervisor_listeners.n = (unsigned)config.listeners_count;
    if (passed_init(&socket, err, sizeof(err)) == -1)
        return say_error(err);
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        if (open_one(k) == -1)
            return -1;
    passed_finish();
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        say(k);
    return 0;
}

/* Of a socket that was shut down: what waited in its queue still does, for whoever may accept it. */
static void refuse_waiting(int fd)
{
    int client;

    while ((client = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) != -1)
        close(client);
}

/* Our file, unless somebody has put another in its place. */
static void remove_file(const struct supervisor_listener *l)
{
    struct stat st;

    if (lstat(address_path(&l->address), &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->inode && unlink(address_path(&l->address)) == -1)
        LOG(LOG_INFO, "the socket's file stays; the next start replaces it",
            KV_S("path", address_path(&l->address)), KV_ERRNO(errno));
}

/* For all processes that hold it, also one that does not move: the kernel refuses what comes, and
 * resets what waits. A passed one goes on, with its queue, for the next daemon. */
static void shut_one(unsigned k, unsigned worker)
{
    int *fd = &supervisor_listeners.fd[k][worker];

    if (*fd == -1)
        return;
    if (!supervisor_listeners.passed[k])
        shutdown(*fd, SHUT_RDWR);
    if (supervisor_listeners.shared[k] && !supervisor_listeners.passed[k]) {
        refuse_waiting(*fd);
        remove_file(&supervisor.listener[k]);
    }
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
            shut_one(k, i);
}

void listeners_shut(void)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        for (unsigned i = 0; i < shm->workers; i++)
            shut_one(k, i);
}

void listeners_shut_worker(unsigned worker)
{
    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        if (!supervisor_listeners.shared[k])
            shut_one(k, worker);
}

static unsigned port_of(const struct address *a)
{
    return ntohs(a->sa.ss_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_port
                     : ((const struct sockaddr_in *)(const void *)&a->sa)->sin_port);
}

/* The first listener of a kind that is no UNIX socket, or else one that is; n: there is none. */
static unsigned first_of(enum listener_kind kind)
{
    unsigned found = supervisor_listeners.n;

    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        if (config.listener[k].kind == (int)kind &&
            (found == supervisor_listeners.n ||
             (address_is_unix(&supervisor.listener[found].address) &&
              !address_is_unix(&supervisor.listener[k].address))))
            found = k;
    return found;
}

static void hint_clients(unsigned k)
{
    const struct address *a = &supervisor.listener[k].address;
    const char *s = listener_has_tls(&config.listener[k]) ? "s" : "";

    if (address_is_unix(a))
        printf("  a client                curl --unix-socket %s http%s://localhost/\n",
               address_path(a), s);
    else
        printf("  a chat in the browser   http%s://localhost:%u/\n"
               "  a chat in two shells    npx wscat -c ws%s://localhost:%u/ws/lobby\n",
               s, port_of(a), s, port_of(a));
}

static void hint_operators(unsigned k)
{
    const struct address *a = &supervisor.listener[k].address;
    const char *s = listener_has_tls(&config.listener[k]) ? "s" : "";
    char curl[ADDRESS_TEXT_MAX + 64], of[ADDRESS_TEXT_MAX + 16] = "";

    if (address_is_unix(a)) {
        snprintf(curl, sizeof(curl), "--unix-socket %s http%s://localhost", address_path(a), s);
        snprintf(of, sizeof(of), "--admin unix:%s ", address_path(a));
    } else {
        snprintf(curl, sizeof(curl), "http%s://localhost:%u", s, port_of(a));
    }
    printf("  publish from a server   curl -d "
           "'{\"channel\":\"lobby\",\"data\":{\"text\":\"hi\"}}' %s/api/publish\n"
           "  metrics                 curl %s/metrics\n"
           "  look inside             roostctl %sstatus | top | tail lobby | publish lobby hello\n",
           curl, curl, of);
}

void supervisor_print_hints(void)
{
    const char *forced = getenv("ROOST_HINTS");
    unsigned client = first_of(LISTENER_CLIENT), admin = first_of(LISTENER_ADMIN);

    if (!isatty(STDOUT_FILENO) && !(forced != NULL && forced[0] == '1'))
        return;
    printf("\nRoost is up: %u workers and a hub. Things to try:\n", shm->workers);
    if (client < supervisor_listeners.n)
        hint_clients(client);
    if (admin < supervisor_listeners.n)
        hint_operators(admin);
    printf(
        "Ctrl-C stops it: clients are closed over drain_time; a second Ctrl-C ends at once.\n\n");
    fflush(stdout);
}
