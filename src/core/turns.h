/* core/turns.h - whose answers come in the order of what was asked: an asker's own do, others overtake
 * them, as their engine's server may be there while another one is away. Hub and worker have to
 * agree on it: the hub keeps the order, the worker knows by it what it has been told before. */
#ifndef ROOST_CORE_TURNS_H
#define ROOST_CORE_TURNS_H

#include <stdint.h>

#define TURNS 1024 /* hashes of who asks; askers of the same one wait for each other */

/* worker: the asker's. The same in every process, which hash_str() is not; tokens are workers' own
 * numbers, so nobody outside can choose collisions. */
static inline unsigned turn_of(unsigned worker, uint8_t asker, uint64_t token)
{
    uint64_t x = (token + ((uint64_t)worker << 8 | asker) * UINT64_C(0xC2B2AE3D27D4EB4F)) *
                 UINT64_C(0x9E3779B97F4A7C15);

    return (unsigned)((x ^ x >> 32) % TURNS);
}

#endif
