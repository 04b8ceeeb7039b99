/* hold - opens WebSocket connections and keeps them until standard input ends.
 *
 * usage: hold PORT COUNT CHANNELS FIRST
 *
 * Connection i (counted from FIRST) of 127.0.0.1:PORT subscribes to /ws/hold-<i mod CHANNELS>. Says
 * "holding COUNT" when all are open. For the memory bench: it costs no more than its sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* One descriptor per connection: the soft limit is often 1024. */
static void raise_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == -1)
        die("getrlimit");
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) == -1)
        die("setrlimit");
}

static int connect_to(in_port_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1)
        die("socket");
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == -1)
        die("connect");
    return fd;
}

static void ask(int fd, unsigned long channel)
{
    char request[256];
    int n = snprintf(request, sizeof(request),
                     "GET /ws/hold-%lu?mode=sub HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     channel);

    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        die("send");
}

static void await_upgrade(int fd)
{
    static const char want[] = "HTTP/1.1 101 ";
    char answer[1024];
    size_t n = 0;

    while (memmem(answer, n, "\r\n\r\n", 4) == NULL) {
        ssize_t got = recv(fd, answer + n, sizeof(answer) - n, 0);

        if (got <= 0)
            die(got == 0 ? "the server closed" : "recv");
        n += (size_t)got;
    }
    if (n < sizeof(want) - 1 || memcmp(answer, want, sizeof(want) - 1) != 0) {
        fprintf(stderr, "hold: refused: %.*s\n", (int)n, answer);
        exit(1);
    }
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "hold: \"%s\" is not a number\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    unsigned long count, channels, first;
    in_port_t port;
    char c;

    if (argc != 5) {
        fprintf(stderr, "usage: hold PORT COUNT CHANNELS FIRST\n");
        return 2;
    }
    port = (in_port_t)number(argv[1]);
    count = number(argv[2]);
    channels = number(argv[3]);
    first = number(argv[4]);
    raise_limit();
    for (unsigned long i = first; i < first + count; i++) {
        int fd = connect_to(port);

        ask(fd, i % channels);
        await_upgrade(fd);
    }
    printf("holding %lu\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
