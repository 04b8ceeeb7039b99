#include "base/network.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/ip.h"

#define IPV4_BITS 96

int ip_parse(struct str s, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];
    uint8_t four[4];

    if (memchr(s.p != NULL ? s.p : "", '\0', s.n) != NULL || str_copy(s, text, sizeof(text)) == -1)
        return -1;
    if (str_find(s, ':') < s.n)
        return inet_pton(AF_INET6, text, out) == 1 ? 0 : -1;
    if (inet_pton(AF_INET, text, four) != 1)
        return -1;
    ip_from_v4(four, out);
    return 0;
}

static int port_parse(struct str s, uint16_t *port)
{
    uint64_t v;

    if (s.n > 5 || str_to_u64(s, &v) == -1 || v > UINT16_MAX)
        return -1;
    *port = (uint16_t)v;
    return 0;
}

int ip_parse_port(struct str s, uint8_t out[16], uint16_t *port)
{
    struct str host = s, rest;
    size_t colon = str_find(s, ':');

    *port = 0;
    if (s.n > 0 && s.p[0] == '[') {
        size_t end = str_find(s, ']');

        if (end == s.n)
            return -1;
        host = (struct str){s.p + 1, end - 1};
        rest = str_skip(s, end + 1);
        if (str_find(host, ':') == host.n || (rest.n > 0 && rest.p[0] != ':'))
            return -1;
        if (rest.n > 0 && port_parse(str_skip(rest, 1), port) == -1)
            return -1;
        return ip_parse(host, out);
    }
    /* One colon stands before a port, several are IPv6's. */
    if (colon < s.n && str_find(str_skip(s, colon + 1), ':') == s.n - colon - 1) {
        host.n = colon;
        if (port_parse(str_skip(s, colon + 1), port) == -1)
            return -1;
    }
    return ip_parse(host, out);
}

/* Are the bits from `bits` on all zero? */
static bool zero_behind(const uint8_t address[16], unsigned bits)
{
    for (unsigned i = bits; i < 128; i++)
        if (address[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

int network_parse(struct str s, struct network *out, char *err, size_t errcap)
{
    size_t slash = str_find(s, '/');
    struct str host = {s.p, slash};
    unsigned first;
    uint64_t bits;

    if (ip_parse(host, out->address) == -1) {
        snprintf(err, errcap,
                 "\"%.*s\" is no network such as 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32",
                 (int)MIN(s.n, (size_t)80), s.p);
        return -1;
    }
    first = str_find(host, ':') < host.n ? 0 : IPV4_BITS;
    bits = 128 - first;
    if (slash < s.n && (str_to_u64(str_skip(s, slash + 1), &bits) == -1 || bits > 128 - first)) {
        snprintf(err, errcap, "\"%.*s\": what stands behind / is a number from 0 to %u",
                 (int)MIN(s.n, (size_t)80), s.p, 128 - first);
        return -1;
    }
    out->bits = (uint8_t)(first + bits);
    if (!zero_behind(out->address, out->bits)) {
        snprintf(err, errcap,
                 "\"%.*s\": the address has bits behind the first %u; they must be zero, or the "
                 "number larger",
                 (int)MIN(s.n, (size_t)80), s.p, (unsigned)bits);
        return -1;
    }
    return 0;
}

bool network_has(const struct network *n, const uint8_t address[16])
{
    size_t bytes = n->bits / 8;
    uint8_t mask = (uint8_t)(0xff00u >> n->bits % 8);

    if (memcmp(n->address, address, bytes) != 0)
        return false;
    return bytes == 16 || ((n->address[bytes] ^ address[bytes]) & mask) == 0;
}

void networks_read(struct networks *out, const char *list)
{
    struct str rest = str_from(list), one;
    char err[160];

    out->n = 0;
    out->unix_peers = false;
    while (rest.n > 0 && str_cut(&rest, '\n', &one)) {
        if (str_equal(one, STR_LIT("unix:")))
            out->unix_peers = true;
        else if (out->n < NETWORKS_MAX &&
                 network_parse(one, &out->items[out->n], err, sizeof(err)) == 0)
            out->n++;
    }
}

bool networks_have(const struct networks *n, const uint8_t address[16])
{
    for (uint32_t i = 0; i < n->n; i++)
        if (network_has(&n->items[i], address))
            return true;
    return false;
}
