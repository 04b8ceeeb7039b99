/* base/ip.h - addresses are 16 bytes: IPv6, or IPv4 behind ::ffff:0:0/96 (RFC 4291 §2.5.5.2). */
#ifndef ROOST_BASE_IP_H
#define ROOST_BASE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define IP_V4_AT 12 /* where its four bytes stand */

static const uint8_t ip_v4_prefix[IP_V4_AT] = {[10] = 0xff, [11] = 0xff};

static inline bool ip_is_v4(const uint8_t address[16])
{
    return memcmp(address, ip_v4_prefix, sizeof(ip_v4_prefix)) == 0;
}

static inline void ip_from_v4(const void *four, uint8_t out[16])
{
    memcpy(out, ip_v4_prefix, sizeof(ip_v4_prefix));
    memcpy(out + IP_V4_AT, four, 4);
}

#endif
