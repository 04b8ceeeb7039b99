/* hold - opens WebSocket connections and keeps them until standard input ends.
 *
 * usage: hold PORT COUNT CHANNELS FIRST [centrifuge|http_stream|sse] [tls]
 *
 * Connection i (counted from FIRST) of 127.0.0.1:PORT subscribes to /ws/hold-<i mod CHANNELS>. With
 * `centrifuge` it connects by that protocol, with the next token of standard input (one a line), and
 * subscribes to three channels, hold-<i mod CHANNELS>-a to -c; with `http_stream` and `sse` the same
 * without a WebSocket. Says "holding COUNT" when all are open. For the memory bench: it costs no more than its sockets; with `tls`, which trusts anybody, too:
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

/* More than 125 and less than 8000 bytes. */
static int write_commands(char *out, size_t cap, unsigned long channel)
{
    char token[4096];
    int n;

    if (fgets(token, sizeof(token), stdin) == NULL)
        die("a token for each connection");
    token[strcspn(token, "\n")] = '\0';
    n = snprintf(out, cap, "{\"id\":1,\"connect\":{\"token\":\"%s\"}}", token);
    for (int i = 0; i < 3; i++)
        n += snprintf(out + n, cap - (size_t)n,
                      "\n{\"id\":%d,\"subscribe\":{\"channel\":\"hold-%lu-%c\"}}", i + 2, channel,
                      'a' + i);
    return n;
}

/* One frame of them, masked with zeros. */
static void send_commands(const struct link *l, unsigned long channel)
{
    char frame[8192];
    int n = write_commands(frame + 8, sizeof(frame) - 8, channel);

    memcpy(frame, "\x81\xfe", 2);
    frame[2] = (char)(n >> 8);
    frame[3] = (char)n;
    memset(frame + 4, 0, 4);
    say(l, frame, (size_t)n + 8);
}

/* The request for a long response, with them. */
static void post_commands(const struct link *l, const char *path, unsigned long channel)
{
    char commands[8192], request[8192 + 256];
    int n = write_commands(commands, sizeof(commands), channel);

    n = snprintf(request, sizeof(request),
                 "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 path, n, commands);
    say(l, request, (size_t)n);
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

/* Of a stream's answer, too, whose head comes first. */
static void open_one(const struct link *l, const char *how, unsigned long channel)
{
    char path[64] = "/connection/websocket";

    if (how != NULL && strcmp(how, "centrifuge") != 0) {
        snprintf(path, sizeof(path), "/connection/%s", how);
        post_commands(l, path, channel);
        await_answers(l);
        return;
    }
    if (how == NULL)
        snprintf(path, sizeof(path), "/ws/hold-%lu?mode=sub", channel);
    ask(l, path);
    await_upgrade(l);
    if (how != NULL) {
        send_commands(l, channel);
        await_answers(l);
    }
}

/* One of the words, which stands next; NULL: it does not. */
static const char *option(int *argc, char ***argv, const char *const *words)
{
    for (; *argc > 0 && *words != NULL; words++) {
        if (strcmp((*argv)[0], *words) == 0) {
            --*argc;
            ++*argv;
            return *words;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static const char *const protocols[] = {"centrifuge", "http_stream", "sse", NULL};
    static const char *const secured[] = {"tls", NULL};
    unsigned long count, channels, first;
    int left = argc - 5;
    char **rest = argv + 5;
    const char *how = option(&left, &rest, protocols);
    in_port_t port;
    char c;

    if (option(&left, &rest, secured) != NULL)
        tls = SSL_CTX_new(TLS_client_method());
    if (left != 0) {
        fprintf(stderr,
                "usage: hold PORT COUNT CHANNELS FIRST [centrifuge|http_stream|sse] [tls]\n");
        return 2;
    }
    port = (in_port_t)number(argv[1]);
    count = number(argv[2]);
    channels = number(argv[3]);
    first = number(argv[4]);
    raise_limit();
    for (unsigned long i = first; i < first + count; i++) {
        struct link l = open_link(port);

        open_one(&l, how, i % channels);
        forget(&l);
    }
    printf("holding %lu\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
