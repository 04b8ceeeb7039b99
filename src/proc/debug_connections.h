/* proc/debug_connections.h - which connections, in which order: what /debug/connections is asked, and
 * every worker in turn. */
#ifndef ROOST_PROC_DEBUG_CONNECTIONS_H
#define ROOST_PROC_DEBUG_CONNECTIONS_H

#include "base/config.h"
#include "base/network.h"
#include "core/broker.h"
#include "core/channel_name.h"
#include "net/conn.h"
#include "proto/inquiry.h"

#define CONNS_PAGE_MAX 1000

enum conns_sort { SORT_NONE = 0, SORT_QUEUED, SORT_AGE, SORT_IDLE, SORT_IN, SORT_OUT, SORT_NR };

struct conns_query { /* travels as it is */
    uint32_t limit;
    uint32_t room;       /* bytes of one worker's answer */
    uint8_t sort;        /* enum conns_sort */
    uint8_t state;       /* enum conn_state; CONN_STATE_NR: any */
    uint8_t has_network; /* address is to be in it */
    uint8_t continues;   /* SORT_NONE: behind that place of that worker */
    uint32_t after_worker, after_place;
    uint64_t min_queue;
    struct network network;
    char prefix[CONN_ADDRESS_MAX], protocol[32], listener[CONFIG_STRING_MAX];
    char user[BROKER_USER_MAX + 1], channel[CHANNEL_NAME_MAX + 1];
};
_Static_assert(sizeof(struct conns_query) <= INQUIRY_REQUEST_MAX, "a question has room for it");

/* Reads the query of a request. worker: which are to be asked, INQUIRY_ALL or one. 1: it neither chooses
 * nor sorts, nor names a worker; 0: it does; -1: something is malformed. */
int conns_query_read(struct http_exchange *x, struct conns_query *q, uint32_t *worker) MUST_CHECK;
bool conns_match(struct conn *c, const struct conns_query *q);
/* The greatest stand first; without an order by their places. */
int64_t conns_rank(const struct conn *c, uint8_t sort);

#endif
