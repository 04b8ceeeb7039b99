/* loopback.c - see loopback.h. */
#include "loopback.h"

#include <netinet/in.h>

bool loopback4_is(const struct sockaddr *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;

    return a->sa_family == AF_INET && (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
}

bool loopback_is(const struct sockaddr *a)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;

    return loopback4_is(a) || (a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

bool loopback_all(const struct addrinfo *found)
{
    for (; found != NULL; found = found->ai_next)
        if (!loopback_is(found->ai_addr))
            return false;
    return true;
}
