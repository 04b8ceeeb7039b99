/* base/hash.h - keyed SipHash and an intrusive hash table that grows in small steps.
 *
 * The key is random per process (hash_seed_random) so that clients cannot choose collisions; tests
 * seed it. Growing moves a few buckets per operation, so no insert is ever long. */
#ifndef ROOST_BASE_HASH_H
#define ROOST_BASE_HASH_H

#include "base/str.h"

void hash_seed(const uint8_t key[16]);
/* From getrandom(2). Exits with a sentence when the kernel gives none (start-up only). */
void hash_seed_random(void);
/* Such a key for hash_keyed(). */
void hash_random_key(uint8_t key[16]);
/* SipHash-1-3 of s under the process key (the variant Rust and Ruby use for tables). */
uint64_t hash_str(struct str s);
/* The same under another key: one that several processes share. */
uint64_t hash_keyed(const uint8_t key[16], struct str s);

struct htab_node {
    struct htab_node *next;
    uint64_t hash;
};

struct htab {
    struct htab_node **buckets, **old; /* owned; old is being moved while non-NULL */
    size_t nbuckets, nold, moved;      /* powers of two; moved = buckets of old already emptied */
    size_t count;
};

typedef bool (*htab_equal)(const struct htab_node *node, const void *key);

/* A zeroed struct is a valid empty table. */
struct htab_node *htab_find(struct htab *t, uint64_t hash, htab_equal equal, const void *key);
/* -1: no memory for the first bucket array (a failed growth is not an error, chains get longer). */
int htab_insert(struct htab *t, struct htab_node *node) MUST_CHECK;
void htab_remove(struct htab *t, struct htab_node *node);
/* Walks in resumable steps: *cursor starts at 0; calls visit for each node of at most max_buckets
 * buckets; returns false when the walk is complete. A call that finds the table growing first helps
 * it on by a few buckets for each of max_buckets (0 counts as 1), and visits nothing unless that
 * ends the growth. Nodes present for the whole walk are visited at least once, even across growth
 * (may be visited twice then). visit may remove the node it is given and nothing else. */
bool htab_scan(struct htab *t, size_t *cursor, size_t max_buckets,
               void (*visit)(struct htab_node *node, void *arg), void *arg);
void htab_fini(struct htab *t);

#endif
