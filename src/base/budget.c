/* base/budget.c - shares of memory. */
#include "base/budget.h"

#include "base/clock.h"

struct budget_key {
    struct htab_node node;
    uint8_t bytes[BUDGET_KEY_SIZE];
    uint32_t holders;
    struct budget_share share;
};

static void share_init(struct budget_share *s)
{
    for (size_t i = 0; i < BUDGET_CLASSES; i++)
        list_init(&s->of[i]);
    s->bytes = 0;
}

void budget_init(struct budget *b, const char *name)
{
    memset(b, 0, sizeof(*b));
    share_init(&b->all);
    pool_init(&b->key_pool, name, sizeof(struct budget_key), 0);
}

void budget_fini(struct budget *b)
{
    htab_fini(&b->keys);
    pool_fini(&b->key_pool);
    memset(b, 0, sizeof(*b));
}

void budget_set(struct budget *b, uint64_t max, uint64_t largest, bool per_key)
{
    b->max = max;
    b->holder_max = MIN(max, MAX(max / 4, largest));
    b->key_max = per_key ? MIN(max, MAX(max / 2, largest)) : max;
}

static bool key_equal(const struct htab_node *node, const void *key)
{
    return memcmp(CONTAINER_OF(node, struct budget_key, node)->bytes, key, BUDGET_KEY_SIZE) == 0;
}

static struct budget_key *key_get(struct budget *b, const uint8_t bytes[BUDGET_KEY_SIZE])
{
    uint64_t hash = hash_str((struct str){(const char *)bytes, BUDGET_KEY_SIZE});
    struct htab_node *node = htab_find(&b->keys, hash, key_equal, bytes);
    struct budget_key *k;

    if (node != NULL)
        return CONTAINER_OF(node, struct budget_key, node);
    k = pool_get(&b->key_pool);
    if (k == NULL)
        return NULL;
    memcpy(k->bytes, bytes, BUDGET_KEY_SIZE);
    k->holders = 0;
    share_init(&k->share);
    k->node.hash = hash;
    if (htab_insert(&b->keys, &k->node) == -1) {
        pool_put(&b->key_pool, k);
        return NULL;
    }
    return k;
}

static uint8_t class_of(uint64_t bytes)
{
    uint8_t n = 0;

    for (bytes /= 256; bytes > 0 && n < BUDGET_CLASSES - 1; bytes /= 4)
        n++;
    return n;
}

static void account(struct holder *h, uint64_t bytes)
{
    h->budget->all.bytes = h->budget->all.bytes - h->bytes + bytes;
    h->key->share.bytes = h->key->share.bytes - h->bytes + bytes;
    h->bytes = bytes;
}

static void unlist(struct holder *h)
{
    list_remove(&h->in_all);
    list_remove(&h->in_key);
}

static void enlist(struct holder *h, uint8_t size_class)
{
    unlist(h);
    h->size_class = size_class;
    list_append(&h->budget->all.of[size_class], &h->in_all);
    list_append(&h->key->share.of[size_class], &h->in_key);
}

int budget_hold(struct budget *b, struct holder *h, const uint8_t key[BUDGET_KEY_SIZE],
                uint64_t bytes)
{
    bool fresh = h->budget == NULL;

    if (bytes == 0) {
        budget_leave(h);
        return 0;
    }
    if (fresh) {
        h->key = key_get(b, key);
        if (h->key == NULL)
            return -1;
        h->key->holders++;
        h->budget = b;
        h->bytes = 0;
        h->since_ns = clock_ns();
        h->pinned = false;
        list_init(&h->in_all);
        list_init(&h->in_key);
    }
    account(h, bytes);
    if (!h->pinned && (fresh || class_of(bytes) != h->size_class))
        enlist(h, class_of(bytes));
    return 0;
}

void budget_pin(struct holder *h)
{
    if (h->budget == NULL)
        return;
    h->pinned = true;
    unlist(h);
}

void budget_renew(struct holder *h, uint64_t bytes)
{
    if (h->budget == NULL)
        return;
    if (bytes == 0) {
        budget_leave(h);
        return;
    }
    account(h, bytes);
    h->since_ns = clock_ns();
    h->pinned = false;
    enlist(h, class_of(bytes));
}

void budget_leave(struct holder *h)
{
    struct budget *b = h->budget;

    if (b == NULL)
        return;
    account(h, 0);
    unlist(h);
    if (--h->key->holders == 0) {
        htab_remove(&b->keys, &h->key->node);
        pool_put(&b->key_pool, h->key);
    }
    h->key = NULL;
    h->budget = NULL;
}

/* Bytes times age. A holder of this instant has an age, too. */
static double weight(const struct holder *h)
{
    return (double)h->bytes * ((double)(clock_ns() - h->since_ns) + NS_PER_MS);
}

/* Of a share whose lists go through that link. */
static struct holder *heaviest(struct budget_share *share, size_t link)
{
    struct holder *found = NULL;

    for (size_t i = 0; i < BUDGET_CLASSES; i++) {
        struct holder *h;

        if (list_empty(&share->of[i]))
            continue;
        h = (struct holder *)(void *)((char *)share->of[i].next - link);
        if (found == NULL || weight(h) > weight(found))
            found = h;
    }
    return found;
}

struct holder *budget_worst(struct budget *b)
{
    return heaviest(&b->all, offsetof(struct holder, in_all));
}

struct holder *budget_excess(struct budget *b, struct holder *last, const char **bound)
{
    struct holder *found;

    if (last->budget != NULL && last->bytes > b->holder_max) {
        *bound = "connection";
        return last;
    }
    if (last->budget != NULL && last->key->share.bytes > b->key_max) {
        *bound = "address";
        found = heaviest(&last->key->share, offsetof(struct holder, in_key));
    } else if (b->all.bytes > b->max) {
        *bound = "all";
        found = budget_worst(b);
    } else {
        return NULL;
    }
    return found != NULL ? found : last;
}
