/* base/pool.h - named pools of equal-sized objects.
 *
 * Objects come zeroed from pool_get(). Memory grows by chunks and is kept for reuse; empty chunks
 * are not returned (an idle daemon's high-water mark is visible in pool metrics). Single-threaded.
 * Every pool is on a global list so that /debug/pools can show it. Under AddressSanitizer freed
 * objects are poisoned.
 *
 * A pool of secrets has pages of its own, which are kept out of core dumps (madvise(2),
 * MADV_DONTDUMP); what is given back is overwritten. */
#ifndef ROOST_BASE_POOL_H
#define ROOST_BASE_POOL_H

#include "base/common.h"
#include "base/list.h"

struct pool {
    const char *name;
    size_t size;      /* bytes per object, rounded up to 8 */
    size_t max;       /* objects; 0 = unbounded */
    size_t in_use;    /* objects handed out now */
    size_t allocated; /* objects in all chunks */
    void *free_list;  /* private */
    void *chunks;     /* private; owned */
    bool secret;
    struct list link; /* in pool_list() */
};

/* name must outlive the pool. */
void pool_init(struct pool *p, const char *name, size_t size, size_t max);
/* The same for secrets. */
void pool_init_secret(struct pool *p, const char *name, size_t size);
/* Returns all chunks; outstanding objects become invalid. */
void pool_fini(struct pool *p);
/* Zeroed object, or NULL (no memory, or max reached). */
void *pool_get(struct pool *p) MUST_CHECK;
/* pool_put(p, NULL) is fine. */
void pool_put(struct pool *p, void *obj);
/* Head of the list of all pools of this process. */
struct list *pool_list(void);
/* Bytes of chunks over all pools. */
size_t pool_bytes(const struct pool *p);

#endif
