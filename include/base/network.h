/* base/network.h - IP addresses and networks of them as text.
 *
 * An address is 16 bytes: IPv6, or IPv4 as ::ffff:a.b.c.d, so that a network of either family is a
 * number of leading bits. */
#ifndef ROOST_BASE_NETWORK_H
#define ROOST_BASE_NETWORK_H

#include "base/str.h"

struct network {
    uint8_t address[16];
    uint8_t bits; /* of the 128 that count */
};

#define NETWORKS_MAX 256
struct networks {
    uint32_t n;
    bool unix_peers; /* and whoever comes by a UNIX socket */
    struct network items[NETWORKS_MAX];
};

/* "192.0.2.1", "2001:db8::1"; no brackets, zones or ports. -1: it is neither. */
int ip_parse(struct str s, uint8_t out[16]) MUST_CHECK;
/* The same with what may stand behind or around it: "192.0.2.1:80", "[2001:db8::1]",
 * "[2001:db8::1]:80"; *port is 0 where none is said. */
int ip_parse_port(struct str s, uint8_t out[16], uint16_t *port) MUST_CHECK;

/* An address, or ADDRESS/BITS. -1 with a sentence in err, also where bits behind the prefix are
 * set: then it is not sure what was meant. */
int network_parse(struct str s, struct network *out, char *err, size_t errcap) MUST_CHECK;
bool network_has(const struct network *n, const uint8_t address[16]);

/* Of a list of networks and "unix:", separated by '\n'; what is malformed is left out. */
void networks_read(struct networks *out, const char *list);
bool networks_have(const struct networks *n, const uint8_t address[16]);

#endif
