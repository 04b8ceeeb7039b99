/* net/conn_trace.c - what a trace tells of connections and takes more than a line (base/trace.h). Cold: called when
 * somebody wants to know. */
#include "net/reactor.h"

#include "base/trace.h"
#include "net/outq.h"
#include "net_internal.h"

/* Also of one that is dead, and leaves its channels. */
static const uint8_t *address_of(uint64_t id)
{
    size_t place = id & ((UINT64_C(1) << CONN_ID_FD_BITS) - 1);
    const struct conn *c = place < reactor->conns_cap ? reactor->conns[place] : NULL;

    return c != NULL && c->id == id && !(c->flags & CONN_ADMIN) ? c->address : NULL;
}

void conn_trace_init(void)
{
    trace_address = address_of;
}

void conn_trace_connect(const struct conn *c)
{
    char address[CONN_ADDRESS_MAX];

    conn_format_address(c, address, sizeof(address));
    TRACE(connect, c->id, str_from(address), conn_listener_index(c));
}

void conn_trace_holds(const struct conn *c, unsigned reasons, bool held)
{
    static const char *const labels[] = {
#define HOLD(name, label) label,
#include "tbl/conn_flags.def"
    };

    for (unsigned i = 0; i < CONN_HOLD_NR; i++) {
        if ((reasons >> i & 1) == 0)
            continue;
        if (held)
            TRACE(hold, c->id, str_from(labels[i]));
        else
            TRACE(resume, c->id, str_from(labels[i]));
    }
}

static uint64_t queued_ns(const struct conn *c)
{
    return c->out != NULL ? reactor_ns() - outq_since(c->out) : 0;
}

void conn_trace_stall(const struct conn *c)
{
    TRACE(stall, c->id, STR_NULL, conn_queued(c), queued_ns(c));
}

void conn_trace_slow(const struct conn *c, const char *policy, uint32_t publications)
{
    TRACE(slow, c->id, str_from(policy), conn_queued(c), queued_ns(c), publications);
}

void conn_trace_close(const struct conn *c)
{
    uint64_t ticks = (uint32_t)(reactor->tick - c->since);

    TRACE(close, c->id, str_from(close_row((enum close_reason)c->reason)->label), conn_queued(c),
          ticks * WHEEL_TICK_NS, c->frames_in, c->frames_out);
}
