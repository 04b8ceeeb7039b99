#include "base/config.h"
#include "base/hash.h"
#include "net_internal.h"

struct address_count {
    struct htab_node node;
    uint8_t key[16];
    uint32_t count;
};

static struct htab table;
static struct pool count_pool;

/* The bytes that are counted together: an IPv4 address, or an IPv6 /64, which one subscriber
 * usually has whole. */
static void address_key(const uint8_t address[16], uint8_t key[16])
{
    static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(key, address, 16);
    if (memcmp(key, mapped_prefix, sizeof(mapped_prefix)) != 0)
        memset(key + 8, 0, 8);
}

static bool count_equal(const struct htab_node *node, const void *key)
{
    return memcmp(CONTAINER_OF(node, struct address_count, node)->key, key, 16) == 0;
}

static struct address_count *count_find(const uint8_t key[16], uint64_t hash)
{
    struct htab_node *node = htab_find(&table, hash, count_equal, key);

    return node ? CONTAINER_OF(node, struct address_count, node) : NULL;
}

static struct address_count *count_new(const uint8_t key[16], uint64_t hash)
{
    struct address_count *a;

    if (count_pool.size == 0)
        pool_init(&count_pool, "address_count", sizeof(struct address_count), 0);
    a = pool_get(&count_pool);
    if (!a)
        return NULL;
    memcpy(a->key, key, sizeof(a->key));
    a->node.hash = hash;
    if (htab_insert(&table, &a->node) == -1) {
        pool_put(&count_pool, a);
        return NULL;
    }
    return a;
}

static enum close_reason address_enter(const struct sockaddr *peer)
{
    struct address_count *a;
    uint8_t address[16], key[16];
    uint16_t port;
    uint64_t hash;

    address_bytes(peer, address, &port);
    address_key(address, key);
    hash = hash_str((struct str){(const char *)key, sizeof(key)});
    a = count_find(key, hash);
    if (!a)
        a = count_new(key, hash);
    if (!a)
        return CLOSE_NO_MEMORY;
    if (a->count >= (uint64_t)config.max_connections_per_address)
        return CLOSE_ADDRESS_LIMIT;
    a->count++;
    return CLOSE_NONE;
}

enum close_reason admission_check(const struct sockaddr *peer, uint64_t node_total, bool *counted)
{
    enum close_reason why;

    *counted = false;
    if (node_total >= (uint64_t)config.max_connections ||
        reactor.client_connections >= reactor.connection_max)
        return CLOSE_FULL;
    if (config.max_connections_per_address == 0)
        return CLOSE_NONE;
    why = address_enter(peer);
    *counted = why == CLOSE_NONE;
    return why;
}

void admission_leave(const uint8_t address[16])
{
    struct address_count *a;
    uint8_t key[16];

    address_key(address, key);
    a = count_find(key, hash_str((struct str){(const char *)key, sizeof(key)}));
    if (!a || --a->count > 0)
        return;
    htab_remove(&table, &a->node);
    pool_put(&count_pool, a);
}

void admission_fini(void)
{
    htab_fini(&table);
    if (count_pool.size != 0)
        pool_fini(&count_pool);
    count_pool.size = 0;
}
