/* core/ring.c - the single-producer, single-consumer ring.
 *
 * In the data area a record is an 8-byte header (its length) and its bytes, rounded up to 8. The
 * end of the area is closed by a filler: a header that says FILLER. The other side may be a process
 * that a hostile client has taken over, so its counter and every length are checked before they
 * become an address. */
#include "core/ring.h"

#include <assert.h>

#define HEADER 8
#define FILLER UINT64_MAX

static uint64_t round_up(uint64_t n)
{
    return (n + 7) & ~UINT64_C(7);
}

static char *at(const struct ring *r, uint64_t position)
{
    return r->shared->data + (position & (r->capacity - 1));
}

/* Bytes from position to the end of the area. */
static uint64_t to_end(const struct ring *r, uint64_t position)
{
    return r->capacity - (position & (r->capacity - 1));
}

size_t ring_bytes(uint64_t capacity)
{
    return sizeof(struct ring_shared) + (size_t)capacity;
}

void ring_format(struct ring_shared *s, uint64_t capacity)
{
    assert(capacity >= RING_CAPACITY_MIN && (capacity & (capacity - 1)) == 0);
    atomic_store(&s->tail, 0);
    atomic_store(&s->head, 0);
    atomic_store(&s->sleeping, 0);
    atomic_store(&s->debt.behind, 0);
    atomic_store(&s->debt.queued, 0);
    atomic_store(&s->debt.aside, 0);
}

void ring_attach_producer(struct ring *r, struct ring_shared *s, uint64_t capacity)
{
    r->shared = s;
    r->capacity = capacity;
    r->position = r->next = round_up(atomic_load(&s->tail));
    r->seen = atomic_load(&s->head);
}

void ring_attach_consumer(struct ring *r, struct ring_shared *s, uint64_t capacity)
{
    r->shared = s;
    r->capacity = capacity;
    r->position = r->next = round_up(atomic_load(&s->head));
    r->seen = r->position;
}

size_t ring_max_record(const struct ring *r)
{
    /* A filler is shorter than the record behind it, so half of an empty ring always fits. */
    return (size_t)(r->capacity / 2 - HEADER);
}

/* Can the producer move on by total bytes? */
static bool fits(struct ring *r, uint64_t total)
{
    if (total <= r->capacity && r->position - r->seen <= r->capacity - total)
        return true;
    r->seen = atomic_load_explicit(&r->shared->head, memory_order_acquire);
    /* A head outside of what was produced is the work of a broken consumer: the ring looks full. */
    return total <= r->capacity && r->position - r->seen <= r->capacity - total;
}

bool ring_has_room(struct ring *r, size_t bytes, size_t records, size_t largest)
{
    const uint64_t around = HEADER + 7; /* each of them */
    uint64_t total, end = to_end(r, r->position);

    if (bytes > r->capacity || records > r->capacity)
        return false;
    total = (uint64_t)bytes + (uint64_t)records * around;
    if (total > end) /* the filler, which is shorter than the record behind it */
        total += MIN(end, MIN((uint64_t)largest, (uint64_t)bytes) + around);
    return fits(r, total);
}

void *ring_reserve(struct ring *r, size_t len)
{
    uint64_t end = to_end(r, r->position), need, filler = 0;
    uint64_t header = len;

    if (len > ring_max_record(r))
        return NULL;
    need = HEADER + round_up(len);
    if (need > end)
        filler = end;
    if (!fits(r, filler + need))
        return NULL;
    if (filler > 0) {
        uint64_t mark = FILLER;

        memcpy(at(r, r->position), &mark, HEADER);
        r->position += filler;
    }
    memcpy(at(r, r->position), &header, HEADER);
    r->position += need;
    return at(r, r->position - need) + HEADER;
}

uint64_t ring_last(const struct ring *r, size_t len)
{
    return r->position - (HEADER + round_up(len));
}

void ring_commit(struct ring *r)
{
    atomic_store_explicit(&r->shared->tail, r->position, memory_order_release);
}

bool ring_wake_needed(struct ring *r)
{
    /* Pairs with the fence in ring_sleep(): either we see the announcement, or the consumer sees
     * our tail. */
    atomic_thread_fence(memory_order_seq_cst);
    if (LIKELY(atomic_load_explicit(&r->shared->sleeping, memory_order_relaxed) == 0))
        return false;
    return atomic_exchange(&r->shared->sleeping, 0) != 0;
}

/* Bytes to read from position on: 0 when there are none, -1 when the producer's counter makes no
 * sense. */
static int available(struct ring *r, uint64_t *out)
{
    if (r->seen == r->position) {
        r->seen = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
        if (r->seen - r->position > r->capacity || (r->seen & 7) != 0) {
            r->seen = r->position;
            return -1;
        }
    }
    *out = r->seen - r->position;
    return 0;
}

static uint64_t header_at(const struct ring *r, uint64_t position)
{
    uint64_t h;

    memcpy(&h, at(r, position), sizeof(h));
    return h;
}

int ring_peek(struct ring *r, struct str *record)
{
    uint64_t avail, len;

    if (available(r, &avail) == -1)
        return -1;
    if (avail == 0)
        return 0;
    len = header_at(r, r->position);
    if (len == FILLER) {
        uint64_t end = to_end(r, r->position);

        if (end >= avail) /* a record always follows it */
            return -1;
        r->position += end;
        avail -= end;
        len = header_at(r, r->position);
    }
    if (len > ring_max_record(r) || HEADER + round_up(len) > avail ||
        HEADER + round_up(len) > to_end(r, r->position))
        return -1;
    r->next = r->position + HEADER + round_up(len);
    *record = (struct str){.p = at(r, r->position) + HEADER, .n = (size_t)len};
    return 1;
}

void ring_next(struct ring *r)
{
    r->position = r->next;
}

void ring_release(struct ring *r)
{
    ring_release_to(r, r->position);
}

void ring_release_to(struct ring *r, uint64_t position)
{
    assert(position <= r->position);
    atomic_store_explicit(&r->shared->head, position, memory_order_release);
}

void ring_discard(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->shared->tail, memory_order_acquire);

    /* Whoever knows what it has had by its position would take new records for old ones. */
    if (tail - r->position > r->capacity || (tail & 7) != 0) {
        tail = r->position;
        atomic_store_explicit(&r->shared->tail, tail, memory_order_release);
    }
    r->position = r->next = r->seen = tail;
    ring_release(r);
}

bool ring_sleep(struct ring *r)
{
    atomic_store_explicit(&r->shared->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->shared->tail, memory_order_acquire) == r->position)
        return true;
    ring_awake(r);
    return false;
}

void ring_awake(struct ring *r)
{
    atomic_store_explicit(&r->shared->sleeping, 0, memory_order_relaxed);
}

uint64_t ring_taken(const struct ring *r)
{
    return atomic_load_explicit(&r->shared->head, memory_order_acquire);
}

uint64_t ring_shared_used(const struct ring_shared *s)
{
    uint64_t head = atomic_load_explicit(&s->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&s->tail, memory_order_acquire);

    /* The two are not read at one instant. */
    return tail > head ? tail - head : 0;
}

uint64_t ring_used(const struct ring *r)
{
    uint64_t used = ring_shared_used(r->shared);

    return used <= r->capacity ? used : 0;
}
