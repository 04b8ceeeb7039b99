/* net/proxy.c - the header that a proxy in front writes before everything else. */
#include "net_internal.h"

int proxy_receive(struct conn *c UNUSED)
{
    return -1;
}
