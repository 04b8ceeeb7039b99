#include "net/addresses.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/listener_table.h"

/* Tables are filled to a half at most, so a place is found sooner. */
#define PROBE_MAX       64
#define CONNECTIONS_MAX (UINT64_C(1) << 20) /* beyond, tables get fuller */
#define PLACES_MIN      1024

size_t addresses_places(uint64_t connections)
{
    size_t n = PLACES_MIN;

    while (n < 4 * MIN(connections, CONNECTIONS_MAX))
        n *= 2;
    return n;
}

size_t addresses_bytes(size_t places)
{
    return (places + LISTENERS_MAX) * sizeof(struct address_place);
}

uint64_t addresses_tag(const struct addresses *a, const uint8_t address[16], unsigned what)
{
    char text[20];
    uint64_t tag;

    memcpy(text, address, 16);
    memcpy(text + 16, &what, 4);
    tag = hash_keyed(a->key, (struct str){text, sizeof(text)});
    return tag != 0 ? tag : 1;
}

static uint32_t second_now(void)
{
    return (uint32_t)(clock_ns() / NS_PER_SEC);
}

static uint32_t life_of(const struct addresses *a, unsigned worker)
{
    return atomic_load(a->tables[worker].life);
}

static struct address_place *place_at(const struct addresses *a, unsigned worker, uint64_t i)
{
    return &a->tables[worker].places[i & (a->places - 1)];
}

/* Another process's clock may be a second ahead. */
static bool made_lately(const struct address_place *p)
{
    return second_now() - atomic_load(&p->second) + 1 <= 2;
}

/* Nothing would be lost with it. */
static bool free_for_use(const struct address_place *p, uint32_t life)
{
    return atomic_load(&p->life) != life || (atomic_load(&p->count) == 0 && !made_lately(p));
}

/* The tag's place in a worker's table, or NULL; in *spare (may be NULL) the first that could become
 * it. */
static struct address_place *find(const struct addresses *a, unsigned worker, uint64_t tag,
                                  struct address_place **spare)
{
    uint32_t life = life_of(a, worker);

    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct address_place *p = place_at(a, worker, tag + i);
        uint64_t its = atomic_load(&p->tag);

        if (its == tag && atomic_load(&p->life) == life)
            return p;
        if (spare != NULL && *spare == NULL && (its == 0 || free_for_use(p, life)))
            *spare = p;
        if (its == 0)
            break;
    }
    return NULL;
}

static void begin(struct address_place *p, uint32_t life)
{
    atomic_store(&p->count, 0);
    atomic_store(&p->made, 0);
    atomic_store(&p->made_before, 0);
    atomic_store(&p->second, second_now());
    atomic_store(&p->life, life);
}

/* The own place of a tag, made if need be. */
static struct address_place *place_of(struct addresses *a, uint64_t tag)
{
    struct address_place *spare = NULL, *p = find(a, a->own, tag, &spare);

    if (p != NULL || spare == NULL)
        return p;
    atomic_store(&spare->tag, tag); /* whoever reads it now finds no more than it was */
    begin(spare, life_of(a, a->own));
    return spare;
}

static void note_made(struct address_place *p)
{
    uint32_t now = second_now(), then = atomic_load(&p->second);
    uint32_t made = atomic_load(&p->made);

    if (now != then) {
        atomic_store(&p->made_before, now - then == 1 ? made : 0);
        atomic_store(&p->second, now);
        made = 0;
    }
    atomic_store(&p->made, made + 1);
}

int addresses_enter(struct addresses *a, uint64_t tag, bool opened)
{
    struct address_place *p = place_of(a, tag);

    if (p == NULL)
        return -1;
    if (opened)
        note_made(p);
    atomic_fetch_add(&p->count, 1);
    return 0;
}

/* Places behind which nothing stands need not be passed any more. */
static void tidy(struct addresses *a, struct address_place *p)
{
    uint64_t i = (uint64_t)(p - a->tables[a->own].places);
    uint32_t life = life_of(a, a->own);

    for (unsigned n = 0; n < PROBE_MAX; n++, i--) {
        p = place_at(a, a->own, i);
        if (atomic_load(&p->tag) == 0 || !free_for_use(p, life) ||
            atomic_load(&place_at(a, a->own, i + 1)->tag) != 0)
            return;
        atomic_store(&p->tag, 0);
    }
}

void addresses_leave(struct addresses *a, uint64_t tag)
{
    struct address_place *p = find(a, a->own, tag, NULL);

    if (p == NULL || atomic_load(&p->count) == 0)
        return;
    atomic_fetch_sub(&p->count, 1);
    tidy(a, p);
}

void addresses_take_back(struct addresses *a, uint64_t tag)
{
    struct address_place *p = find(a, a->own, tag, NULL);

    if (p == NULL)
        return;
    if (atomic_load(&p->made) > 0)
        atomic_fetch_sub(&p->made, 1);
    addresses_leave(a, tag);
}

/* Of the second before, the part that is less than a second ago. */
static uint64_t part_of(uint32_t made_before)
{
    uint64_t left = NS_PER_SEC - clock_ns() % NS_PER_SEC;

    return made_before * left / NS_PER_SEC;
}

static uint64_t lately(const struct address_place *p)
{
    uint32_t now = second_now(), then = atomic_load(&p->second);

    if (then == now || then == now + 1)
        return atomic_load(&p->made) + part_of(atomic_load(&p->made_before));
    return now - then == 1 ? part_of(atomic_load(&p->made)) : 0;
}

struct address_use addresses_use(const struct addresses *a, uint64_t tag)
{
    struct address_use use = {0};

    for (unsigned worker = 0; worker < a->workers; worker++) {
        const struct address_place *p = life_of(a, worker) != 0 ? find(a, worker, tag, NULL) : NULL;

        if (p == NULL)
            continue;
        use.connections += atomic_load(&p->count);
        use.lately += lately(p);
    }
    return use;
}

static struct address_place *listener_of(const struct addresses *a, unsigned worker,
                                         unsigned listener)
{
    return &a->tables[worker].places[a->places + listener];
}

static struct address_place *own_listener(struct addresses *a, unsigned listener)
{
    struct address_place *p = listener_of(a, a->own, listener);
    uint32_t life = life_of(a, a->own);

    if (atomic_load(&p->life) != life)
        begin(p, life);
    return p;
}

void addresses_listener_made(struct addresses *a, unsigned listener)
{
    note_made(own_listener(a, listener));
}

uint64_t addresses_listener_lately(const struct addresses *a, unsigned listener)
{
    uint64_t n = 0;

    for (unsigned worker = 0; worker < a->workers; worker++) {
        const struct address_place *p = listener_of(a, worker, listener);
        uint32_t life = life_of(a, worker);

        if (life != 0 && atomic_load(&p->life) == life)
            n += lately(p);
    }
    return n;
}
