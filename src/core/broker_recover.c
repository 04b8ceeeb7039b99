/* core/broker_recover.c - what a subscriber has missed. */
#include "broker_internal.h"

int broker_recover(struct broker *b UNUSED, struct sub *s UNUSED, const struct recover *r UNUSED)
{
    return -1;
}

int broker_want_previous(struct broker *b UNUSED, const struct sub *s UNUSED)
{
    return -1;
}
