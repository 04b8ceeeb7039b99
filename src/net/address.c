#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/ip.h"
#include "net_internal.h"

static int address_error(char *err, size_t errcap, struct str s, const char *what)
{
    snprintf(err, errcap, "\"%.*s\": %s", STR_ARG(s), what);
    return -1;
}

/* Splits at the last colon outside brackets. -1: not of the form host:port. */
static int address_split(struct str s, struct str *host, struct str *port, bool *bracketed)
{
    size_t end;

    *bracketed = s.n > 0 && s.p[0] == '[';
    if (*bracketed) {
        end = str_find(s, ']');
        if (end + 1 >= s.n || s.p[end + 1] != ':')
            return -1;
        *host = (struct str){s.p + 1, end - 1};
        *port = str_skip(s, end + 2);
        return 0;
    }
    end = str_find(s, ':');
    if (end == s.n)
        return -1;
    *host = (struct str){s.p, end};
    *port = str_skip(s, end + 1);
    return str_find(*port, ':') == port->n ? 0 : -1;
}

static int address_parse_v6(struct str host, uint16_t port, struct address *out)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out->sa;
    char text[INET6_ADDRSTRLEN];

    if (str_copy(host, text, sizeof(text)) == -1)
        return -1;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    out->len = sizeof(*in6);
    return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1 ? 0 : -1;
}

static int address_parse_v4(struct str host, uint16_t port, struct address *out)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&out->sa;
    char text[INET_ADDRSTRLEN];

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    out->len = sizeof(*in);
    if (str_equal_nocase(host, STR_LIT("localhost"))) {
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return 0;
    }
    if (str_copy(host, text, sizeof(text)) == -1)
        return -1;
    return inet_pton(AF_INET, text, &in->sin_addr) == 1 ? 0 : -1;
}

static int address_parse_unix(struct str s, struct address *out, char *err, size_t errcap)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->sa;
    struct str path = str_skip(s, strlen("unix:"));

    if (path.n < 2 || path.p[0] != '/')
        return address_error(err, errcap, s, "expected unix: and a path that begins with /");
    un->sun_family = AF_UNIX;
    if (str_copy(path, un->sun_path, sizeof(un->sun_path)) == -1)
        return address_error(err, errcap, s, "the path of a UNIX socket has at most 107 bytes");
    out->len = sizeof(*un);
    return 0;
}

int address_parse(struct str s, struct address *out, char *err, size_t errcap)
{
    struct str host, port_text;
    uint64_t port;
    bool bracketed;

    memset(out, 0, sizeof(*out));
    if (str_starts_with(s, STR_LIT("unix:")))
        return address_parse_unix(s, out, err, errcap);
    if (str_starts_with(s, STR_LIT("fd:")))
        return 0;
    if (memchr(s.p != NULL ? s.p : "", '\0', s.n) != NULL ||
        address_split(s, &host, &port_text, &bracketed) == -1)
        return address_error(err, errcap, s, "expected host:port, [v6]:port or :port");
    if (str_to_u64(port_text, &port) == -1 || port > UINT16_MAX)
        return address_error(err, errcap, s, "the port must be a number from 0 to 65535");
    if (host.n == 0 && !bracketed) { /* ":8000": everywhere */
        host = STR_LIT("::");
        bracketed = true;
    }
    if (bracketed) {
        if (address_parse_v6(host, (uint16_t)port, out) == -1)
            return address_error(err, errcap, s, "not a numeric IPv6 address");
        return 0;
    }
    if (address_parse_v4(host, (uint16_t)port, out) == -1)
        return address_error(err, errcap, s,
                             "the host must be a numeric IPv4 address or localhost");
    return 0;
}

int address_lookup(const char *host, const char *port, struct addrinfo **found)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    bool local = str_equal_nocase(str_from(host), STR_LIT("localhost"));

    return getaddrinfo(local ? NULL : host, port, &hints, found); /* NULL: the loopback addresses */
}

void address_bytes(const struct sockaddr *sa, uint8_t out[16], uint16_t *port)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

    memset(out, 0, 16);
    *port = 0;
    if (sa == NULL)
        return;
    if (sa->sa_family == AF_INET) {
        ip_from_v4(&in->sin_addr, out);
        *port = ntohs(in->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(out, &in6->sin6_addr, 16);
        *port = ntohs(in6->sin6_port);
    }
}

bool address_known(const uint8_t address[16])
{
    static const uint8_t unknown[16];

    return memcmp(address, unknown, sizeof(unknown)) != 0;
}

void address_format_bytes(const uint8_t address[16], uint16_t port, char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN];

    if (port == 0 && !address_known(address)) {
        snprintf(out, cap, "unix");
    } else if (ip_is_v4(address)) {
        inet_ntop(AF_INET, address + IP_V4_AT, text, sizeof(text));
        snprintf(out, cap, "%s:%u", text, port);
    } else {
        inet_ntop(AF_INET6, address, text, sizeof(text));
        snprintf(out, cap, "[%s]:%u", text, port);
    }
}

bool address_is_unix(const struct address *a)
{
    return a->sa.ss_family == AF_UNIX;
}

const char *address_path(const struct address *a)
{
    return ((const struct sockaddr_un *)&a->sa)->sun_path;
}

bool address_equal(const struct address *a, const struct address *b)
{
    uint8_t x[16], y[16];
    uint16_t port_x, port_y;

    if (a->sa.ss_family != b->sa.ss_family || a->len == 0)
        return false;
    if (address_is_unix(a))
        return strcmp(address_path(a), address_path(b)) == 0;
    address_bytes((const struct sockaddr *)&a->sa, x, &port_x);
    address_bytes((const struct sockaddr *)&b->sa, y, &port_y);
    return port_x == port_y && memcmp(x, y, sizeof(x)) == 0;
}

bool address_is_loopback(const struct address *a)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    uint8_t bytes[16];
    uint16_t port;

    if (address_is_unix(a))
        return true;
    address_bytes((const struct sockaddr *)&a->sa, bytes, &port);
    if (ip_is_v4(bytes))
        return bytes[IP_V4_AT] == 127;
    return memcmp(bytes, v6_loopback, sizeof(bytes)) == 0;
}

/* Does a stand for every address of b's family? [::] does for IPv4 too. */
static bool address_covers(const uint8_t a[16], const uint8_t b[16])
{
    static const uint8_t zeros[16];

    if (memcmp(a, zeros, sizeof(zeros)) == 0)
        return true;
    return ip_is_v4(a) && ip_is_v4(b) && memcmp(a + IP_V4_AT, zeros, 4) == 0;
}

bool address_overlaps(const struct address *a, const struct address *b)
{
    uint8_t x[16], y[16];
    uint16_t port_x, port_y;

    if (address_is_unix(a) || address_is_unix(b))
        return address_equal(a, b);
    address_bytes((const struct sockaddr *)&a->sa, x, &port_x);
    address_bytes((const struct sockaddr *)&b->sa, y, &port_y);
    if (port_x != port_y || port_x == 0)
        return false;
    return memcmp(x, y, sizeof(x)) == 0 || address_covers(x, y) || address_covers(y, x);
}

bool address_to_ipv4(struct address *a)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a->sa;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6->sin6_port};

    if (in6->sin6_family != AF_INET6 || !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
        return false;
    memset(a, 0, sizeof(*a));
    memcpy(&a->sa, &in, sizeof(in));
    a->len = sizeof(in);
    return true;
}

void address_format(const struct address *a, char *out, size_t cap)
{
    uint8_t bytes[16];
    uint16_t port;

    if (address_is_unix(a)) {
        snprintf(out, cap, "unix:%.*s", cap > 6 ? (int)(cap - 6) : 0, address_path(a));
        return;
    }
    address_bytes((const struct sockaddr *)&a->sa, bytes, &port);
    address_format_bytes(bytes, port, out, cap);
}
