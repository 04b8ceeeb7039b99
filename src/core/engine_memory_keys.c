/* core/engine_memory_keys.c - idempotency keys: which publications are not to be made again.
 *
 * A key is remembered with its channel for five minutes, also where no history is kept. Keys may
 * take an eighth of history_memory; then the oldest are forgotten. */
#include "engine_memory_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define KEEP_NS     (300 * NS_PER_SEC)
#define MEMORY_PART 8

struct key {
    struct htab_node node;
    struct list link; /* in streams.key_order */
    struct position at;
    uint64_t born_ns;
    uint32_t key_len;
    uint8_t channel_len;
    char text[]; /* channel, key */
};

struct sought {
    struct str channel, key;
};

static uint64_t hash_of(struct str channel, struct str key)
{
    return hash_str(channel) * UINT64_C(0x9e3779b97f4a7c15) ^ hash_str(key);
}

static bool equal(const struct htab_node *node, const void *arg)
{
    const struct key *k = CONTAINER_OF(node, struct key, node);
    const struct sought *s = arg;

    return str_equal((struct str){.p = k->text, .n = k->channel_len}, s->channel) &&
           str_equal((struct str){.p = k->text + k->channel_len, .n = k->key_len}, s->key);
}

static size_t cost(const struct key *k)
{
    return sizeof(*k) + k->channel_len + k->key_len + 3 * sizeof(void *);
}

static bool expired(const struct key *k)
{
    return clock_ns() - k->born_ns > KEEP_NS;
}

static struct key *oldest(const struct streams *s)
{
    return list_empty(&s->key_order) ? NULL : LIST_ENTRY(s->key_order.next, struct key, link);
}

static void forget(struct streams *s, struct key *k)
{
    s->key_bytes -= cost(k);
    METRIC_ADD(history_bytes, -(int64_t)cost(k));
    METRIC_ADD(idempotency_keys, -1);
    list_remove(&k->link);
    htab_remove(&s->keys, &k->node);
    free(k);
}

bool key_find(struct streams *s, struct str channel, struct str key, struct position *at)
{
    const struct sought sought = {.channel = channel, .key = key};
    struct htab_node *node = htab_find(&s->keys, hash_of(channel, key), equal, &sought);
    struct key *k = node != NULL ? CONTAINER_OF(node, struct key, node) : NULL;

    if (k == NULL)
        return false;
    if (expired(k)) {
        forget(s, k);
        return false;
    }
    *at = k->at;
    return true;
}

struct key *key_new(struct streams *s, struct str channel, struct str key)
{
    struct key *k = calloc(1, sizeof(*k) + channel.n + key.n);

    if (k == NULL)
        return NULL;
    k->born_ns = clock_ns();
    k->channel_len = (uint8_t)channel.n;
    k->key_len = (uint32_t)key.n;
    memcpy(k->text, channel.p, channel.n);
    memcpy(k->text + channel.n, key.p, key.n);
    k->node.hash = hash_of(channel, key);
    list_init(&k->link);
    if (htab_insert(&s->keys, &k->node) == -1) {
        free(k);
        return NULL;
    }
    list_append(&s->key_order, &k->link);
    s->key_bytes += cost(k);
    METRIC_ADD(history_bytes, (int64_t)cost(k));
    METRIC_ADD(idempotency_keys, 1);
    return k;
}

void key_done(struct streams *s, struct key *k, struct position at)
{
    k->at = at;
    while (config.history_memory > 0 &&
           s->key_bytes > (size_t)config.history_memory / MEMORY_PART && oldest(s) != k) {
        METRIC_INC(idempotency_keys_evicted);
        forget(s, oldest(s));
    }
}

void key_undo(struct streams *s, struct key *k)
{
    forget(s, k);
}

bool keys_expire(struct streams *s, unsigned budget)
{
    for (; budget > 0; budget--) {
        if (oldest(s) == NULL || !expired(oldest(s)))
            return false;
        forget(s, oldest(s));
    }
    return true;
}

void keys_fini(struct streams *s)
{
    while (oldest(s) != NULL)
        forget(s, oldest(s));
    htab_fini(&s->keys);
}
