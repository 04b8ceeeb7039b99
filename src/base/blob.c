/* base/blob.c - shared immutable bytes. */
#include "base/blob.h"

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

struct blob *blob_from(struct str s)
{
    struct blob *b = blob_new(s.n);

    if (b != NULL && s.n > 0)
        memcpy(b->data, s.p, s.n);
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
