/* base/pool.c - chunked pools with a free list threaded through the free objects. */
#include "base/pool.h"

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif
#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* Chunks grow with the pool, so that a pool nobody uses much stays small. The largest leaves room
 * for malloc's own header within whole pages. */
#define CHUNK_BYTES_MIN   ((size_t)4 * 1024 - 64)
#define CHUNK_BYTES_MAX   ((size_t)64 * 1024 - 64)
#define CHUNK_MIN_OBJECTS 4
/* Of secrets: whole pages. */
#define SECRET_BYTES ((size_t)64 * 1024)

struct chunk {
    struct chunk *next;
    size_t objects;
};

struct free_object {
    struct free_object *next;
};

static struct list pools = LIST_INIT(pools);

void pool_init(struct pool *p, const char *name, size_t size, size_t max)
{
    *p = (struct pool){.name = name, .max = max};
    p->size = (MAX(size, sizeof(struct free_object)) + 7) & ~(size_t)7;
    list_append(&pools, &p->link);
}

void pool_init_secret(struct pool *p, const char *name, size_t size)
{
    pool_init(p, name, size, 0);
    p->secret = true;
}

static struct chunk *chunk_new(const struct pool *p, size_t bytes)
{
    void *pages;

    if (!p->secret)
        return malloc(bytes);
    pages = mmap(NULL, SECRET_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    if (madvise(pages, SECRET_BYTES, MADV_DONTDUMP) == 0)
        return pages;
    munmap(pages, SECRET_BYTES); /* UNTESTED: a kernel without it */
    return NULL;
}

static void chunk_free(const struct pool *p, struct chunk *c)
{
    if (!p->secret) {
        free(c);
        return;
    }
    explicit_bzero(c, SECRET_BYTES);
    munmap(c, SECRET_BYTES);
}

void pool_fini(struct pool *p)
{
    struct chunk *c, *next;

    for (c = p->chunks; c != NULL; c = next) {
        next = c->next;
        UNPOISON(c + 1, c->objects * p->size);
        chunk_free(p, c);
    }
    p->chunks = p->free_list = NULL;
    p->in_use = p->allocated = 0;
    list_remove(&p->link);
}

static size_t chunk_objects(const struct pool *p)
{
    size_t bytes = p->secret ? SECRET_BYTES
                             : MIN(MAX(p->allocated * p->size, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
    size_t n = MAX((bytes - sizeof(struct chunk)) / p->size, (size_t)CHUNK_MIN_OBJECTS);

    return p->max > 0 ? MIN(n, p->max - p->allocated) : n;
}

static int pool_grow(struct pool *p)
{
    size_t n = chunk_objects(p);
    struct chunk *c;
    char *obj;

    if (n == 0)
        return -1;
    c = chunk_new(p, sizeof(*c) + n * p->size);
    if (c == NULL)
        return -1;
    *c = (struct chunk){.next = p->chunks, .objects = n};
    p->chunks = c;
    p->allocated += n;
    /* Pushed from the end, so that objects are handed out in address order. */
    for (obj = (char *)(c + 1) + n * p->size; obj != (char *)(c + 1);) {
        struct free_object *f;

        obj -= p->size;
        f = (struct free_object *)(void *)obj;
        f->next = p->free_list;
        p->free_list = f;
        POISON(obj, p->size);
    }
    return 0;
}

void *pool_get(struct pool *p)
{
    struct free_object *f;

    if (p->free_list == NULL && pool_grow(p) == -1)
        return NULL;
    f = p->free_list;
    UNPOISON(f, p->size);
    p->free_list = f->next;
    p->in_use++;
    memset(f, 0, p->size);
    return f;
}

void pool_put(struct pool *p, void *obj)
{
    struct free_object *f = obj;

    if (f == NULL)
        return;
    if (p->secret)
        explicit_bzero(obj, p->size);
    f->next = p->free_list;
    p->free_list = f;
    p->in_use--;
    POISON(f, p->size);
}

struct list *pool_list(void)
{
    return &pools;
}

size_t pool_bytes(const struct pool *p)
{
    const struct chunk *c;
    size_t n = 0;

    for (c = p->chunks; c != NULL; c = c->next)
        n += sizeof(*c) + c->objects * p->size;
    return n;
}
