/* base/blob.c - shared immutable bytes. */
#include "base/blob.h"

#include <assert.h>

#define SHORTEN_MIN 256 /* bytes not worth giving back */

static size_t live_bytes;

struct blob *blob_new(size_t len)
{
    struct blob *b;

    if (len > UINT32_MAX / 2)
        return NULL;
    b = malloc(sizeof(*b) + len);
    if (b == NULL)
        return NULL;
    b->refs = 1;
    b->len = (uint32_t)len;
    live_bytes += sizeof(*b) + len;
    return b;
}

static void set_len(struct blob *b, size_t len)
{
    live_bytes = live_bytes - b->len + len;
    b->len = (uint32_t)len;
}

int blob_grow(struct blob **b, size_t len)
{
    struct blob *moved;

    assert((*b)->refs == 1 && len >= (*b)->len);
    if (len > UINT32_MAX / 2)
        return -1;
    moved = realloc(*b, sizeof(*moved) + len);
    if (moved == NULL)
        return -1;
    *b = moved;
    set_len(moved, len);
    return 0;
}

void blob_shorten(struct blob **b, size_t len)
{
    struct blob *moved = NULL;

    assert((*b)->refs == 1 && len <= (*b)->len);
    if ((*b)->len - len > SHORTEN_MIN + len / 8)
        moved = realloc(*b, sizeof(*moved) + len);
    if (moved != NULL)
        *b = moved;
    set_len(*b, len);
}

struct blob *blob_from(struct str s)
{
    struct blob *b = blob_new(s.n);

    if (b != NULL && s.n > 0)
        memcpy(b->data, s.p, s.n);
    return b;
}

int blob_begin(struct buf *out, size_t expected)
{
    if (expected > UINT32_MAX / 2 || buf_reserve(out, BLOB_HEAD + expected) == -1)
        return -1;
    out->len = BLOB_HEAD;
    return 0;
}

struct blob *blob_finish(struct buf *out)
{
    struct blob *b = (struct blob *)(void *)out->p;
    size_t len = out->len - BLOB_HEAD;

    assert(out->len >= BLOB_HEAD && len <= UINT32_MAX / 2);
    b->refs = 1;
    b->len = (uint32_t)MIN(out->cap - BLOB_HEAD, UINT32_MAX);
    live_bytes += sizeof(*b) + b->len;
    *out = (struct buf){0};
    blob_shorten(&b, len);
    return b;
}

struct blob *blob_get(struct blob *b)
{
    b->refs++;
    return b;
}

void blob_put(struct blob **b)
{
    struct blob *old = *b;

    *b = NULL;
    if (old == NULL || --old->refs > 0)
        return;
    live_bytes -= sizeof(*old) + old->len;
    free(old);
}

size_t blob_bytes(void)
{
    return live_bytes;
}
