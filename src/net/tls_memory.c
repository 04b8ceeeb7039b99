/* net/tls_memory.c - what OpenSSL gives back is overwritten first.
 *
 * It cleanses keys that it knows it has, but frees the objects of connections, with copies of their
 * traffic secrets in them, as they are. */
#include <malloc.h>
#include <openssl/crypto.h>

#include "net/tls.h"

/* What is larger is a buffer of records, or a table: there are no keys in it. */
#define WIPE_MAX 16384

static void wipe(void *p)
{
    size_t n = malloc_usable_size(p);

    if (n <= WIPE_MAX)
        explicit_bzero(p, n);
}

static void *take(size_t n, const char *file UNUSED, int line UNUSED)
{
    return malloc(n);
}

static void give(void *p, const char *file UNUSED, int line UNUSED)
{
    if (p == NULL)
        return;
    wipe(p);
    free(p);
}

static void *change(void *p, size_t n, const char *file, int line)
{
    void *other = take(n, file, line);

    if (p == NULL || other == NULL)
        return other;
    memcpy(other, p, MIN(n, malloc_usable_size(p)));
    give(p, file, line);
    return other;
}

int tls_wipe_memory(void)
{
    return CRYPTO_set_mem_functions(take, change, give) == 1 ? 0 : -1;
}
