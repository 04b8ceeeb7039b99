/* hold - opens WebSocket connections and keeps them until standard input ends.
 *
 * usage: hold PORT COUNT CHANNELS FIRST [centrifuge]
 *
 * Connection i (counted from FIRST) of 127.0.0.1:PORT subscribes to /ws/hold-<i mod CHANNELS>. With
 * `centrifuge` it connects by that protocol, with the next token of standard input (one a line), and
 * subscribes to three channels, hold-<i mod CHANNELS>-a to -c. Says "holding COUNT" when all are
 * open. For the memory bench: it costs no more than its sockets. */
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

static void ask(int fd, const char *path)
{
    char request[512];
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     path);

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

/* One frame of commands, masked with zeros; of less than 64 KiB and more than 125 bytes. */
static void send_commands(int fd, unsigned long channel)
{
    char token[4096], frame[8192];
    int n;

    if (fgets(token, sizeof(token), stdin) == NULL)
        die("a token for each connection");
    token[strcspn(token, "\n")] = '\0';
    n = snprintf(frame + 8, sizeof(frame) - 8, "{\"id\":1,\"connect\":{\"token\":\"%s\"}}", token);
    for (int i = 0; i < 3; i++)
        n += snprintf(frame + 8 + n, sizeof(frame) - 8 - (size_t)n,
                      "\n{\"id\":%d,\"subscribe\":{\"channel\":\"hold-%lu-%c\"}}", i + 2, channel,
                      'a' + i);
    memcpy(frame, "\x81\xfe", 2);
    frame[2] = (char)(n >> 8);
    frame[3] = (char)n;
    memset(frame + 4, 0, 4);
    if (send(fd, frame, (size_t)n + 8, MSG_NOSIGNAL) != n + 8)
        die("send");
}

static void await_answers(int fd)
{
    char answer[8192];
    size_t n = 0;
    int seen = 0;

    while (seen < 4) {
        ssize_t got = recv(fd, answer + n, sizeof(answer) - n, 0);
        const char *at = answer;

        if (got <= 0)
            die(got == 0 ? "the server closed" : "recv");
        n += (size_t)got;
        for (seen = 0; (at = memmem(at, n - (size_t)(at - answer), "{\"id\":", 6)) != NULL; at += 6)
            seen++;
    }
    if (memmem(answer, n, "\"error\"", 7) != NULL) {
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

    if (argc != 5 && (argc != 6 || strcmp(argv[5], "centrifuge") != 0)) {
        fprintf(stderr, "usage: hold PORT COUNT CHANNELS FIRST [centrifuge]\n");
        return 2;
    }
    port = (in_port_t)number(argv[1]);
    count = number(argv[2]);
    channels = number(argv[3]);
    first = number(argv[4]);
    raise_limit();
    for (unsigned long i = first; i < first + count; i++) {
        int fd = connect_to(port);
        char path[64] = "/connection/websocket";

        if (argc == 5)
            snprintf(path, sizeof(path), "/ws/hold-%lu?mode=sub", i % channels);
        ask(fd, path);
        await_upgrade(fd);
        if (argc == 6) {
            send_commands(fd, i % channels);
            await_answers(fd);
        }
    }
    printf("holding %lu\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
