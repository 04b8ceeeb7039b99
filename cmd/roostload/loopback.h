/* loopback.h - is it this machine that we talk to? */
#ifndef ROOSTLOAD_LOOPBACK_H
#define ROOSTLOAD_LOOPBACK_H

#include <netdb.h>

#include "base/common.h"

#define LOOPBACK_ELSEWHERE                                                                         \
    "not on this machine. A load test of somebody else's server is an attack; if this one is "     \
    "yours, add --i-own-the-target"

bool loopback_is(const struct sockaddr *a);      /* 127.0.0.0/8 or ::1 */
bool loopback4_is(const struct sockaddr *a);     /* 127.0.0.0/8 */
bool loopback_all(const struct addrinfo *found); /* each of them */

#endif
