/* values.h - what the values of options may be: looked at before anybody is asked. */
#ifndef ROOSTCTL_VALUES_H
#define ROOSTCTL_VALUES_H

#include "base/buf.h"

enum value_kind {
    VALUE_ANY,
    VALUE_TEXT,     /* not empty */
    VALUE_COUNT,    /* 0 and above */
    VALUE_POSITIVE, /* 1 and above */
    VALUE_TIME,     /* as an order to drain has it */
    VALUE_NETWORK,  /* IP[/BITS] */
    VALUE_FROM,     /* the same, or how an address begins */
    VALUE_CONN,     /* W:ID */
    VALUE_CONN_ANY, /* W:ID, or ID */
    VALUE_SORT,
    VALUE_PROTOCOL,
    VALUE_STATE,
    VALUE_REASON,
};

/* -1: *error says what was expected in place of text. */
int values_check(enum value_kind kind, const char *text, struct buf *error) MUST_CHECK;

#endif
