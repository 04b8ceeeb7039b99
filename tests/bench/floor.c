/* tests/bench/floor.c - the least a server can do on this machine: what the gateway is measured
 * against.
 *
 * One process, epoll, no framing library, no checks, no queues: whole frames per read and whole
 * writes are assumed. It answers the upgrade with a canned 101, which fits one Sec-WebSocket-Key
 * (bench.py has roostload send that).
 *
 * echo: each frame is unmasked and sent back.
 *
 * fanout: each frame is unmasked and sent to every connection, in fd order, by a bare send() loop.
 *
 * idle: each connection is sent an empty ping every MS milliseconds, all of them evenly spread;
 * what comes is read and dropped.
 *
 * With CERTIFICATE and KEY all of that over TLS, by OpenSSL's own sockets and SSL_write().
 *
 * Ends by itself after SECONDS (default 300). */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FDS_MAX 1048576
#define TICK_MS 10

enum mode { ECHO, FANOUT, IDLE };

static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
    "Upgrade\r\nSec-WebSocket-Accept: k0BN+ttWp9L65ma6o6Kze4ubywE=\r\n\r\n";
static unsigned char upgraded[FDS_MAX], buffer[1 << 19];
static SSL_CTX *tls;       /* NULL: plain */
static SSL *ssls[FDS_MAX]; /* by fd; owned */
static int top;            /* highest fd */
static enum mode mode;

static int open_listener(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

    if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 || listen(fd, 65535) == -1) {
        perror("floor: listen");
        exit(1);
    }
    return fd;
}

static void accept_all(int ep, int listener)
{
    struct epoll_event e = {.events = EPOLLIN};
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        upgraded[fd] = 0;
        if (tls != NULL) {
            ssls[fd] = SSL_new(tls);
            SSL_set_fd(ssls[fd], fd);
            SSL_set_accept_state(ssls[fd]);
        }
        top = fd > top ? fd : top;
    }
}

/* Unmasks the frame at *at in place and puts the server's header before it. Returns its start, sets
 * *n, and moves *at behind it. */
static unsigned char *turn_around(unsigned char **at, size_t *n)
{
    unsigned char *p = *at;
    size_t len = p[1] & 127, head = 2, i = 0;
    unsigned char *data, *out;
    uint64_t key8, word;
    uint32_t key;

    if (len == 126) {
        len = (size_t)p[2] << 8 | p[3];
        head = 4;
    }
    memcpy(&key, p + head, 4);
    key8 = (uint64_t)key << 32 | key;
    data = p + head + 4;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= key8;
        memcpy(data + i, &word, 8);
    }
    for (; i < len; i++)
        data[i] ^= p[head + (i & 3)];
    *at = data + len;
    out = data - head;
    out[0] = p[0];
    out[1] = head == 2 ? (unsigned char)len : 126;
    if (head == 4) {
        out[2] = (unsigned char)(len >> 8);
        out[3] = (unsigned char)len;
    }
    *n = len + head;
    return out;
}

static void give(int fd, const void *p, size_t n)
{
    if (tls != NULL)
        (void)SSL_write(ssls[fd], p, (int)n);
    else if (send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
        return;
}

/* Pings the next ones in turn: all of them once in interval_ms. */
static void ping(int timer, int interval_ms)
{
    static const unsigned char frame[] = {0x89, 0};
    static int at;
    static double owed;
    uint64_t ticks;

    if (read(timer, &ticks, sizeof(ticks)) != sizeof(ticks))
        return;
    owed += (double)ticks * TICK_MS * (top + 1) / interval_ms;
    for (; owed >= 1; owed--, at = at >= top ? 0 : at + 1)
        if (upgraded[at])
            give(at, frame, sizeof(frame));
}

static int open_timer(int ep)
{
    struct itimerspec every = {.it_interval.tv_nsec = TICK_MS * 1000000L,
                               .it_value.tv_nsec = TICK_MS * 1000000L};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

    if (fd == -1 || timerfd_settime(fd, 0, &every, NULL) == -1 ||
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == -1) {
        perror("floor: timer");
        exit(1);
    }
    return fd;
}

static ssize_t take(int fd, void *p, size_t max)
{
    size_t got = 0;
    int n = 1;

    if (tls == NULL)
        return recv(fd, p, max, 0);
    while (n > 0 && got < max) { /* and the handshake, if it comes to that */
        n = SSL_read(ssls[fd], (char *)p + got, (int)(max - got));
        got += n > 0 ? (size_t)n : 0;
    }
    errno = SSL_get_error(ssls[fd], n) == SSL_ERROR_WANT_READ ? EAGAIN : ECONNRESET;
    ERR_clear_error();
    return got > 0 ? (ssize_t)got : -1;
}

static void leave(int fd)
{
    upgraded[fd] = 0;
    SSL_free(ssls[fd]);
    ssls[fd] = NULL;
    close(fd);
}

static void pass_on(int fd, const unsigned char *frame, size_t len)
{
    if (mode == ECHO)
        give(fd, frame, len);
    for (int i = 0; mode == FANOUT && i <= top; i++)
        if (upgraded[i])
            give(i, frame, len);
}

static void serve(int fd)
{
    ssize_t n = take(fd, buffer + 16, sizeof(buffer) - 32);
    unsigned char *at = buffer + 16, *out;
    size_t len;

    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            leave(fd);
        return;
    }
    if (!upgraded[fd]) {
        upgraded[fd] = 1;
        give(fd, answer, sizeof(answer) - 1);
        return;
    }
    if ((buffer[16] & 15) == 8) { /* close */
        leave(fd);
        return;
    }
    if (mode == IDLE)
        return;
    while (at < buffer + 16 + n) {
        out = turn_around(&at, &len);
        pass_on(fd, out, len);
    }
}

static enum mode mode_of(const char *name)
{
    return strcmp(name, "fanout") == 0 ? FANOUT : strcmp(name, "idle") == 0 ? IDLE : ECHO;
}

/* What a bare server would have: stateless tickets, one of them. */
static SSL_CTX *tls_server(const char *certificate, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 1) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

int main(int argc, char **argv)
{
    struct epoll_event e = {.events = EPOLLIN}, events[1024];
    int listener, timer = -1, ep = epoll_create1(0);
    struct rlimit r;

    if (argc < 3 || argc == 6 || (mode_of(argv[1]) == IDLE && (argc < 5 || atoi(argv[4]) <= 0))) {
        fprintf(stderr, "usage: floor echo|fanout|idle PORT [SECONDS [MS [CERTIFICATE KEY]]]\n");
        return 2;
    }
    mode = mode_of(argv[1]);
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    signal(SIGPIPE, SIG_IGN);
    if (argc > 6)
        tls = tls_server(argv[5], argv[6]);
    alarm(argc > 3 ? (unsigned)atoi(argv[3]) : 300);
    listener = open_listener(atoi(argv[2]));
    e.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    if (mode == IDLE)
        timer = open_timer(ep);
    for (;;) {
        int n = epoll_wait(ep, events, 1024, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(ep, listener);
            else if (events[i].data.fd == timer)
                ping(timer, atoi(argv[4]));
            else
                serve(events[i].data.fd);
        }
    }
}
