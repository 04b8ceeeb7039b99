#include "net/listener_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

/* A client that says nothing is shown to us after this many seconds only. */
#define DEFER_ACCEPT_S 1

static int failed(int fd, const struct address *a, const char *what, char *err, size_t errcap)
{
    int saved = errno;
    char where[ADDRESS_TEXT_MAX];

    address_format(a, where, sizeof(where));
    snprintf(err, errcap, "%s: cannot %s: %s", where, what, strerror(saved));
    if (fd != -1)
        close(fd);
    errno = saved;
    return -1;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

/* What accepted sockets inherit, so that accepting needs no further system call. NOTSENT_LOWAT
 * keeps a slow client's backlog in our queue, where the limits see it, instead of in the kernel. */
static int set_inherited(int fd, int64_t send_buffer)
{
    if (set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)send_buffer) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)send_buffer) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S) == -1)
        return -1;
    return 0;
}

static int set_options(int fd, int family, const struct listener_socket *s)
{
    if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) == -1 ||
        set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) == -1 || set_inherited(fd, s->send_buffer) == -1)
        return -1;
    if (family == AF_INET6)
        return set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, s->ipv6_only);
    return 0;
}

static int open_socket(const struct address *a)
{
    return socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int listener_open(struct address *a, const struct listener_socket *s, char *err, size_t errcap)
{
    struct sockaddr *sa = (struct sockaddr *)&a->sa;
    int fd = open_socket(a);

    if (fd == -1)
        return failed(fd, a, "open a socket", err, errcap);
    if (set_options(fd, sa->sa_family, s) == -1)
        return failed(fd, a, "set socket options", err, errcap);
    if (bind(fd, sa, a->len) == -1)
        return failed(fd, a, "bind", err, errcap);
    if (listen(fd, s->backlog) == -1)
        return failed(fd, a, "listen", err, errcap);
    a->len = sizeof(a->sa);
    if (getsockname(fd, sa, &a->len) == -1)
        return failed(fd, a, "read the bound address", err, errcap);
    return fd;
}

/* Does anybody listen there? Who has a full queue does. */
static bool somebody_listens(const struct address *a)
{
    int fd = open_socket(a);
    bool yes = fd == -1 || connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0 ||
               errno != ECONNREFUSED;

    if (fd != -1)
        close(fd);
    return yes;
}

/* The path is free afterwards. */
static int remove_stale(const struct address *a, char *err, size_t errcap)
{
    const char *path = address_path(a);
    struct stat st;

    if (lstat(path, &st) == -1)
        return errno == ENOENT ? 0 : failed(-1, a, "look at the path", err, errcap);
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(err, errcap, "unix:%s: there is a file that is no socket", path);
        errno = EEXIST;
        return -1;
    }
    if (somebody_listens(a)) {
        snprintf(err, errcap, "unix:%s: somebody listens there; is roostd running already?", path);
        errno = EADDRINUSE;
        return -1;
    }
    return unlink(path) == 0 ? 0 : failed(-1, a, "remove the socket that was left", err, errcap);
}

/* Nobody may connect until the owner is right. */
static int bind_file(int fd, const struct address *a, const struct listener_file *file)
{
    const char *path = address_path(a);
    mode_t before = umask(0777);
    int rc = bind(fd, (const struct sockaddr *)&a->sa, a->len), saved = errno;

    umask(before);
    errno = saved;
    if (rc == -1)
        return -1;
    if ((file->owner == (uid_t)-1 && file->group == (gid_t)-1) ||
        lchown(path, file->owner, file->group) == 0)
        rc = chmod(path, file->mode);
    else
        rc = -1;
    if (rc == -1) {
        saved = errno;
        unlink(path);
        errno = saved;
    }
    return rc;
}

int listener_open_unix(const struct address *a, const struct listener_socket *s,
                       const struct listener_file *file, char *err, size_t errcap)
{
    int fd;

    if (remove_stale(a, err, errcap) == -1)
        return -1;
    fd = open_socket(a);
    if (fd == -1)
        return failed(fd, a, "open a socket", err, errcap);
    if (bind_file(fd, a, file) == -1)
        return failed(fd, a, "bind, or set owner and mode", err, errcap);
    if (listen(fd, s->backlog) == -1)
        return failed(fd, a, "listen", err, errcap);
    return fd;
}

static int get_int(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

int listener_adopt(int fd, const struct listener_socket *s, struct address *a, char *err,
                   size_t errcap)
{
    int flags = fcntl(fd, F_GETFL);

    memset(a, 0, sizeof(*a));
    a->len = sizeof(a->sa);
    if (getsockname(fd, (struct sockaddr *)&a->sa, &a->len) == -1 ||
        get_int(fd, SO_TYPE) != SOCK_STREAM || get_int(fd, SO_ACCEPTCONN) != 1) {
        snprintf(err, errcap,
                 "descriptor %d, which was passed, is no listening stream socket (a unit's "
                 "ListenStream= with Accept=no makes one)",
                 fd);
        return -1;
    }
    if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
        return failed(-1, a, "set flags", err, errcap);
    if (listen(fd, s->backlog) == -1) /* only changes the length of its queue */
        return failed(-1, a, "listen", err, errcap);
    if (!address_is_unix(a) && set_inherited(fd, s->send_buffer) == -1)
        return failed(-1, a, "set socket options", err, errcap);
    return 0;
}
