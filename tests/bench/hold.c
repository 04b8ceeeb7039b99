/* hold - opens WebSocket connections and keeps them until standard input ends.
 *
 * usage: hold PORT COUNT CHANNELS FIRST [centrifuge] [tls]
 *
 * Connection i (counted from FIRST) of 127.0.0.1:PORT subscribes to /ws/hold-<i mod CHANNELS>. With
 * `centrifuge` it connects by that protocol, with the next token of standard input (one a line), and
 * subscribes to three channels, hold-<i mod CHANNELS>-a to -c. Says "holding COUNT" when all are
 * open. For the memory bench: it costs no more than its sockets; with `tls`, which trusts anybody, too:
 * when a connection is open, what it had for that is given back. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
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

static SSL_CTX *tls; /* NULL: plain */

struct link {
    int fd;
    SSL *ssl; /* owned; NULL: plain */
};

static struct link open_link(in_port_t port)
{
    struct link l = {.fd = connect_to(port)};

    if (tls == NULL)
        return l;
    l.ssl = SSL_new(tls);
    if (l.ssl == NULL || SSL_set_fd(l.ssl, l.fd) != 1 || SSL_connect(l.ssl) != 1) {
        ERR_print_errors_fp(stderr);
        die("handshake");
    }
    return l;
}

static void say(const struct link *l, const char *p, size_t n)
{
    bool sent = l->ssl != NULL ? SSL_write(l->ssl, p, (int)n) == (int)n
                               : send(l->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;

    if (!sent)
        die("send");
}

static size_t hear(const struct link *l, char *p, size_t max)
{
    ssize_t got = l->ssl != NULL ? SSL_read(l->ssl, p, (int)max) : recv(l->fd, p, max, 0);

    if (got <= 0)
        die(got == 0 ? "the server closed" : "recv");
    return (size_t)got;
}

/* The connection stays, without a word. */
static void forget(struct link *l)
{
    if (l->ssl != NULL)
        SSL_set_quiet_shutdown(l->ssl, 1);
    SSL_free(l->ssl);
}

static void ask(const struct link *l, const char *path)
{
    char request[512];
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     path);

    say(l, request, (size_t)n);
}

static void await_upgrade(const struct link *l)
{
    static const char want[] = "HTTP/1.1 101 ";
    char answer[1024];
    size_t n = 0;

    while (memmem(answer, n, "\r\n\r\n", 4) == NULL)
        n += hear(l, answer + n, sizeof(answer) - n);
    if (n < sizeof(want) - 1 || memcmp(answer, want, sizeof(want) - 1) != 0) {
        fprintf(stderr, "hold: refused: %.*s\n", (int)n, answer);
        exit(1);
    }
}

/* One frame of commands, masked with zeros; of less than 64 KiB and more than 125 bytes. */
static void send_commands(const struct link *l, unsigned long channel)
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
    say(l, frame, (size_t)n + 8);
}

static void await_answers(const struct link *l)
{
    char answer[8192];
    size_t n = 0;
    int seen = 0;

    while (seen < 4) {
        const char *at = answer;

        n += hear(l, answer + n, sizeof(answer) - n);
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
    bool centrifuge = argc > 5 && strcmp(argv[5], "centrifuge") == 0;
    char c;

    if (argc > 5 + centrifuge && strcmp(argv[5 + centrifuge], "tls") == 0)
        tls = SSL_CTX_new(TLS_client_method());
    if (argc != 5 + centrifuge + (tls != NULL)) {
        fprintf(stderr, "usage: hold PORT COUNT CHANNELS FIRST [centrifuge] [tls]\n");
        return 2;
    }
    port = (in_port_t)number(argv[1]);
    count = number(argv[2]);
    channels = number(argv[3]);
    first = number(argv[4]);
    raise_limit();
    for (unsigned long i = first; i < first + count; i++) {
        struct link l = open_link(port);
        char path[64] = "/connection/websocket";

        if (!centrifuge)
            snprintf(path, sizeof(path), "/ws/hold-%lu?mode=sub", i % channels);
        ask(&l, path);
        await_upgrade(&l);
        if (centrifuge) {
            send_commands(&l, i % channels);
            await_answers(&l);
        }
        forget(&l);
    }
    printf("holding %lu\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
