/* net/address.h - the addresses of settings, and names of hosts for those who connect. */
#ifndef ROOST_NET_ADDRESS_H
#define ROOST_NET_ADDRESS_H

#include <netdb.h>
#include <sys/socket.h>

#include "base/str.h"

struct address { /* of a listener */
    struct sockaddr_storage sa;
    socklen_t len; /* 0: of a socket that is passed, not known yet */
};
#define ADDRESS_TEXT_MAX 128

/* Parses "host:port", "[v6]:port", ":port" (the same as "[::]:port", which is IPv6 and IPv4), port
 * 0 = ephemeral; host is numeric or "localhost"; "unix:/path"; "fd:NAME". -1 with a sentence in err.
 * Never asks DNS. */
int address_parse(struct str s, struct address *out, char *err, size_t errcap) MUST_CHECK;
/* getaddrinfo() for TCP, but localhost is ::1 and 127.0.0.1 whatever a resolver, /etc/hosts or DNS
 * say, or do not (RFC 6761 §6.3). 0, or what gai_strerror() explains; freeaddrinfo(*found). */
int address_lookup(const char *host, const char *port, struct addrinfo **found) MUST_CHECK;
/* Can only this machine reach it? UNIX sockets are, those that are passed may be anything. */
bool address_is_loopback(const struct address *a);
bool address_is_unix(const struct address *a);
bool address_equal(const struct address *a, const struct address *b);
/* Of a UNIX socket; borrowed. */
const char *address_path(const struct address *a);
/* Would some connection fit both? Port 0 is a port of its own each time, and so is a passed socket. */
bool address_overlaps(const struct address *a, const struct address *b);
/* [::] becomes 0.0.0.0, port kept; false (and *a as it was) for any other address. */
bool address_to_ipv4(struct address *a);
/* cap: ADDRESS_TEXT_MAX is enough. */
void address_format(const struct address *a, char *out, size_t cap);
/* The same of the 16 bytes of base/network.h. cap: CONN_ADDRESS_MAX is enough. */
void address_format_bytes(const uint8_t address[16], uint16_t port, char *out, size_t cap);

#endif
