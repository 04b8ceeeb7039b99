/* base/hash.c - SipHash (Aumasson and Bernstein) and the incremental table. */
#include "base/hash.h"

#include <sys/random.h>

#define FIRST_BUCKETS 64
/* Old buckets moved while growing by each insert or removal, and for each bucket of a scan. */
#define MOVE_PER_STEP 4

static uint8_t process_key[16];

void hash_seed(const uint8_t key[16])
{
    memcpy(process_key, key, sizeof(process_key));
}

void hash_random_key(uint8_t key[16])
{
    /* 16 bytes are never cut short once the kernel's generator is ready (getrandom(2)). */
    if (getrandom(key, 16, 0) != 16) {
        fprintf(stderr, "roost: the kernel gives no random bytes (getrandom)\n");
        exit(1);
    }
}

void hash_seed_random(void)
{
    hash_random_key(process_key);
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

struct sip { /* its state, small enough for registers */
    uint64_t a, b, c, d;
};

static inline void sip_rounds(struct sip *v, int n)
{
    while (n-- > 0) {
        v->a += v->b;
        v->b = rotl(v->b, 13) ^ v->a;
        v->a = rotl(v->a, 32);
        v->c += v->d;
        v->d = rotl(v->d, 16) ^ v->c;
        v->a += v->d;
        v->d = rotl(v->d, 21) ^ v->a;
        v->c += v->b;
        v->b = rotl(v->b, 17) ^ v->c;
        v->c = rotl(v->c, 32);
    }
}

static uint64_t load64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v)); /* little-endian machines only, as the rings */
    return v;
}

/* The bytes of a rest of less than eight, as the low ones of a word. */
static inline uint64_t load_rest(const char *p, size_t n)
{
    uint64_t m = 0;

    for (size_t i = 0; i < n; i++)
        m |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return m;
}

/* SipHash-c-d. */
static inline uint64_t siphash(const uint8_t key[16], struct str s, int c, int d)
{
    uint64_t k0 = load64(key), k1 = load64(key + 8), m;
    struct sip v = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                    k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t whole = s.n & ~(size_t)7;

    for (size_t i = 0; i < whole; i += 8) {
        m = load64(s.p + i);
        v.d ^= m;
        sip_rounds(&v, c);
        v.a ^= m;
    }
    m = (uint64_t)s.n << 56 | load_rest(s.p + whole, s.n - whole);
    v.d ^= m;
    sip_rounds(&v, c);
    v.a ^= m;
    v.c ^= 0xff;
    sip_rounds(&v, d);
    return v.a ^ v.b ^ v.c ^ v.d;
}

uint64_t hash_str(struct str s)
{
    return siphash(process_key, s, 1, 3);
}

uint64_t hash_keyed(const uint8_t key[16], struct str s)
{
    return siphash(key, s, 1, 3);
}

/* Moves up to n buckets of the old array into the new one. */
static void htab_move(struct htab *t, size_t n)
{
    while (t->old != NULL && n-- > 0) {
        struct htab_node *node = t->old[t->moved], *next;

        for (; node != NULL; node = next) {
            struct htab_node **bucket = &t->buckets[node->hash & (t->nbuckets - 1)];

            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
        t->old[t->moved] = NULL;
        if (++t->moved == t->nold) {
            free(t->old);
            t->old = NULL;
            t->nold = t->moved = 0;
        }
    }
}

/* The bucket that holds (or would hold) a hash now. */
static struct htab_node **htab_bucket(const struct htab *t, uint64_t hash)
{
    if (t->old != NULL) {
        size_t i = hash & (t->nold - 1);

        if (i >= t->moved)
            return &t->old[i];
    }
    return &t->buckets[hash & (t->nbuckets - 1)];
}

static int htab_grow(struct htab *t)
{
    size_t n = t->nbuckets == 0 ? FIRST_BUCKETS : t->nbuckets * 2;
    struct htab_node **fresh = calloc(n, sizeof(*fresh));

    if (fresh == NULL)
        return -1;
    t->old = t->nbuckets == 0 ? NULL : t->buckets;
    t->nold = t->nbuckets;
    t->moved = 0;
    t->buckets = fresh;
    t->nbuckets = n;
    return 0;
}

struct htab_node *htab_find(struct htab *t, uint64_t hash, htab_equal equal, const void *key)
{
    struct htab_node *node;

    if (t->nbuckets == 0)
        return NULL;
    for (node = *htab_bucket(t, hash); node != NULL; node = node->next)
        if (node->hash == hash && equal(node, key))
            return node;
    return NULL;
}

int htab_insert(struct htab *t, struct htab_node *node)
{
    struct htab_node **bucket;

    if (t->old == NULL && t->count >= t->nbuckets && htab_grow(t) == -1 && t->nbuckets == 0)
        return -1;
    htab_move(t, MOVE_PER_STEP);
    bucket = htab_bucket(t, node->hash);
    node->next = *bucket;
    *bucket = node;
    t->count++;
    return 0;
}

void htab_remove(struct htab *t, struct htab_node *node)
{
    struct htab_node **link = htab_bucket(t, node->hash);

    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    node->next = NULL;
    t->count--;
    htab_move(t, MOVE_PER_STEP);
}

static void visit_chain(struct htab_node *node, void (*visit)(struct htab_node *, void *),
                        void *arg)
{
    struct htab_node *next;

    for (; node != NULL; node = next) {
        next = node->next;
        visit(node, arg);
    }
}

/* The cursor counts in bit-reversed order over the mask, so that a bucket which splits by growth
 * has its halves both still ahead or both behind. visit() may remove its node: removal moves old
 * buckets, hence growth is finished first, over as many calls as it takes. Inserts alone cannot
 * keep the walk waiting: a growth is over long before the next one. */
bool htab_scan(struct htab *t, size_t *cursor, size_t max_buckets,
               void (*visit)(struct htab_node *node, void *arg), void *arg)
{
    max_buckets = MAX(max_buckets, (size_t)1);
    if (t->nbuckets == 0)
        return false;
    htab_move(t, MIN(max_buckets, t->nold) * MOVE_PER_STEP); /* nold: or it may overflow */
    if (t->old != NULL)
        return true;
    for (size_t n = 0; n < max_buckets; n++) {
        size_t mask = t->nbuckets - 1, bit, v = *cursor;

        visit_chain(t->buckets[v & mask], visit, arg);
        /* Add one to the reversed number: carry from the highest bit of the mask downwards. */
        v &= mask;
        for (bit = t->nbuckets >> 1; bit != 0 && (v & bit) != 0; bit >>= 1)
            v &= ~bit;
        if (bit == 0) {
            *cursor = 0;
            return false;
        }
        *cursor = v | bit;
    }
    return true;
}

void htab_fini(struct htab *t)
{
    free(t->buckets);
    free(t->old);
    *t = (struct htab){0};
}
