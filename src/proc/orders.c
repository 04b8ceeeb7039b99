/* proc/orders.c - see orders.h. A SEQPACKET pair for each child: a byte, with a descriptor. */
#include "proc/orders.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "proc/shm.h"

#define TEXT_MAX ((off_t)16 * 1024 * 1024)

static struct {
    int master[SHM_WORKER + HUB_WORKERS_MAX]; /* by slot; 0: none */
    int child;                                /* of the one being started; in it, its own */
    ev_io io;
    void (*on_text)(enum order what, struct str text);
} o;

union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void close_one(int *fd)
{
    if (*fd > 0)
        close(*fd);
    *fd = 0;
}

int orders_open(unsigned slot)
{
    int pair[2];

    close_one(&o.master[slot]);
    close_one(&o.child); /* of one that could not be started */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == -1)
        return -1;
    o.master[slot] = pair[0];
    o.child = pair[1];
    return 0;
}

void orders_keep_master(void)
{
    close_one(&o.child);
}

void orders_keep_child(void)
{
    for (size_t i = 0; i < ARRAY_LEN(o.master); i++)
        close_one(&o.master[i]);
}

void orders_send(unsigned slot, enum order what, int fd)
{
    char byte = (char)what, name[32];
    struct iovec text = {.iov_base = &byte, .iov_len = 1};
    union control control = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &text,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};

    if (o.master[slot] == 0)
        return;
    control.head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    /* One that has just ended gets everything when it is started again. */
    if (sendmsg(o.master[slot], &m, MSG_NOSIGNAL) == -1 && errno != EPIPE && errno != ECONNRESET)
        LOG(LOG_ERROR, "a process takes no orders",
            KV_S("process", shm_slot_name(slot, name, sizeof(name))), KV_ERRNO(errno));
}

void orders_send_text(unsigned slot, enum order what, struct str text)
{
    int fd = memfd_create("roost order", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    /* Both end at the same place: nobody writes to it afterwards, here or there. */
    if (fd == -1 || write(fd, text.n > 0 ? text.p : "", text.n) != (ssize_t)text.n ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == -1)
        LOG(LOG_ERROR, "no memory for an order", KV_ERRNO(errno));
    else
        orders_send(slot, what, fd);
    if (fd != -1)
        close(fd);
}

static void take_text(enum order what, int fd)
{
    struct buf text = {0};
    struct stat st;

    if (fstat(fd, &st) == -1 || st.st_size > TEXT_MAX ||
        buf_reserve(&text, (size_t)st.st_size + 1) == -1 ||
        pread(fd, text.p, (size_t)st.st_size, 0) != st.st_size) {
        LOG(LOG_ERROR, "an order cannot be read", KV_U("order", what));
    } else {
        text.len = (size_t)st.st_size;
        o.on_text(what, buf_view(&text));
    }
    buf_fini(&text);
    close(fd);
}

static void obey(enum order what, int fd)
{
    if (what == ORDER_LOG)
        log_take(fd);
    else if (o.on_text != NULL)
        take_text(what, fd);
    else
        close(fd);
}

/* One at a time: what is left makes the descriptor readable again. */
static void on_order(struct ev_loop *loop, ev_io *io, int revents UNUSED)
{
    char byte = 0;
    struct iovec text = {.iov_base = &byte, .iov_len = 1};
    union control control = {.bytes = {0}};
    struct msghdr m = {.msg_iov = &text,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(io->fd, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int fd;

    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != 1) { /* the master is gone; the pipe of its life tells everybody what to do */
        ev_io_stop(loop, io);
        return;
    }
    if (c == NULL || c->cmsg_type != SCM_RIGHTS)
        return; /* no descriptor was free: the old file stays */
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    obey((enum order)byte, fd);
}

void orders_watch(struct ev_loop *loop, void (*on_text)(enum order what, struct str text))
{
    o.on_text = on_text;
    ev_io_init(&o.io, on_order, o.child, EV_READ);
    ev_io_start(loop, &o.io);
}
