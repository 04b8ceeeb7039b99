/* net/ws_deflate.c - permessage-deflate on a connection (RFC 7692).
 *
 * Receiving. What a read may bring says nothing about what comes of it, so the ring's room is not
 * asked for before a read but for each message, when its size is known. One that finds none is set
 * aside as it came, with the input behind it, and the connection is held until there is room. can
 * fail: no memory, or more than its share of it (net/partial.h).
 *
 * Sending. Publications are compressed once for all (core/batch.h); here are a session's own
 * messages. */
#include "base/config.h"
#include "base/metrics.h"
#include "net_internal.h"
#include "ws_internal.h"

/* What is longer would take too much of a turn. */
#define DEFLATE_AT_ONCE (256 * 1024)
#define SCRATCH_KEPT    (64 * 1024)

bool ws_deflate_has_room(struct conn *c, size_t bytes)
{
    const struct session_ops *session = ws_session(c);

    return c->state != CONN_OPEN || session->may_publish == NULL ||
           session->may_publish(c, bytes, 1);
}

bool ws_deflate_takes(struct conn *c, const struct ws_item *item)
{
    struct str compressed = ws_rx_compressed(reactor->rx_pool);

    if (item->kind != WS_ITEM_TEXT && item->kind != WS_ITEM_BINARY)
        return true;
    if (compressed.p != NULL) {
        METRIC_INC(inflated);
        METRIC_ADD(inflated_from_bytes, compressed.n);
        METRIC_ADD(inflated_to_bytes, item->data.n);
    }
    return ws_deflate_has_room(c, item->data.n);
}

int ws_set_aside(struct conn *c, const struct ws_item *item, struct str rest,
                 enum close_reason *why)
{
    if (ws_rx_set_aside(&c->rx, reactor->rx_pool, item, rest) == -1) {
        *why = CLOSE_NO_MEMORY;
        return -1;
    }
    METRIC_INC(ring_stalls);
    conn_hold(c, CONN_HOLD_RING);
    return 0;
}

bool ws_deflate(const struct conn *c, struct str *data)
{
    static struct buf scratch; /* owned; used up before the next call */
    enum deflate_window window = (enum deflate_window)(conn_deflate(c) - 1);

    if (data->n < (size_t)config.compression_min_size || data->n > DEFLATE_AT_ONCE)
        return false;
    if (scratch.cap > SCRATCH_KEPT)
        buf_fini(&scratch);
    buf_clear(&scratch);
    if (deflate_message(window, (int)config.compression_level, *data, &scratch) == -1)
        return false;
    METRIC_INC(deflated);
    METRIC_ADD(deflated_from_bytes, data->n);
    METRIC_ADD(deflated_to_bytes, MIN(scratch.len, data->n));
    if (scratch.len >= data->n)
        return false;
    *data = buf_view(&scratch);
    return true;
}
