/* net/closes.c - see closes.h. */
#include "net/closes.h"

#include "base/clock.h"
#include "net/reactor.h"

void closes_note(struct closes *closes, const struct conn *c)
{
    struct str protocol = str_from(conn_ops(c)->name);
    uint64_t number = atomic_load_explicit(&closes->n, memory_order_relaxed) + 1;
    struct closed *out = &closes->ring[number % CLOSES_KEPT].closed;
    _Atomic uint64_t *mark = &closes->ring[number % CLOSES_KEPT].number;

    atomic_store_explicit(mark, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    *out = (struct closed){
        .wall_ns = clock_wall_ns(),
        .id = c->id,
        .age_ns = (uint64_t)(uint32_t)(reactor->tick - c->since) * WHEEL_TICK_NS,
        .queued = conn_queued(c),
        .port = c->port,
        .code = (uint16_t)(c->flags & CONN_TOLD ? c->close_code : 0),
        .reason = c->reason,
        .listener = (uint8_t)conn_listener_index(c),
        .frames_in = c->frames_in,
        .frames_out = c->frames_out,
    };
    memcpy(out->address, c->address, sizeof(out->address));
    memcpy(out->protocol, protocol.p, MIN(protocol.n, (size_t)CLOSES_PROTOCOL - 1));
    atomic_store_explicit(mark, number, memory_order_release);
    atomic_store_explicit(&closes->n, number, memory_order_release);
}

bool closes_read(const struct closes *closes, uint64_t number, struct closed *out)
{
    const _Atomic uint64_t *mark = &closes->ring[number % CLOSES_KEPT].number;

    if (number == 0 || atomic_load_explicit(mark, memory_order_acquire) != number)
        return false;
    memcpy(out, &closes->ring[number % CLOSES_KEPT].closed, sizeof(*out));
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(mark, memory_order_relaxed) != number)
        return false;
    out->protocol[CLOSES_PROTOCOL - 1] = '\0';
    return true;
}
