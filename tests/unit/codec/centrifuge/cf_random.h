/* cf_random.h - repeatable chance for the tests of agreement. */
#ifndef CF_RANDOM_H
#define CF_RANDOM_H

#include "cf_text.h"

#include "codec/centrifuge/centrifuge_internal.h"

static uint64_t random_state = 88172645463325252u;

static inline uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 2685821657736338717u;
}

static inline uint32_t random_below(uint32_t n)
{
    return (uint32_t)(random_bits() >> 33) % n;
}

/* Small, large and at the edges. */
static inline uint64_t random_number(unsigned bits)
{
    static const uint64_t edges[] = {0, 1, 127, 128, 16383, 16384, 1u << 28, UINT64_MAX};
    uint64_t v = random_below(2) ? edges[random_below(ARRAY_LEN(edges))] : random_bits();

    v >>= random_below(2) ? 0 : random_below(64);
    return bits == 64 ? v : v & ((UINT64_C(1) << bits) - 1);
}

#endif
