/* core/engine_nats_counts.c - numbers of publications, so that a node sees which it has had and which are
 * missing.
 *
 * A node's publications in a channel are numbered from 1. It forgets a number that it has not used for a while, and
 * begins with 1 again; so does another life of its hub. So a number that is not above the one before says that counting has
 * begun anew: then those before it are missing, and what was missed of the old count stays unknown. That a
 * publication is a repetition is told by its place in its worker's ring, which only rises. */
#include "engine_nats_internal.h"

#include "base/clock.h"

#define COUNTERS_MAX   65536
#define COUNTER_IDLE   (300 * NS_PER_SEC)
#define PUBLISHER_IDLE (600 * NS_PER_SEC)
#define PUBLISHERS_MIN 4
#define PUBLISHERS_MAX 4096       /* of one channel */
#define WHOLE_NODE     UINT16_MAX /* as a source: the count of all of its workers */

/* --- this node's --- */

static bool equal(const struct htab_node *node, const void *key)
{
    const struct nats_counter *c = CONTAINER_OF(node, const struct nats_counter, node);

    return str_equal((struct str){.p = c->name, .n = c->name_len}, *(const struct str *)key);
}

void nats_counters_init(struct nats_counters *c)
{
    list_init(&c->used);
}

static void forget(struct nats_counters *all, struct nats_counter *c)
{
    list_remove(&c->link);
    htab_remove(&all->table, &c->node);
    free(c);
}

/* Two for each that comes: so they become fewer. */
static void make_room(struct nats_counters *all, uint64_t now_ns)
{
    for (int i = 0; i < 2 && !list_empty(&all->used); i++) {
        struct nats_counter *c = LIST_ENTRY(all->used.next, struct nats_counter, link);

        if (all->table.count < COUNTERS_MAX && now_ns - c->used_ns < COUNTER_IDLE)
            return;
        forget(all, c);
    }
}

static struct nats_counter *counter_new(struct nats_counters *all, struct str name)
{
    struct nats_counter *c = calloc(1, sizeof(*c) + name.n);

    if (c == NULL)
        return NULL;
    c->node.hash = hash_str(name);
    c->name_len = (uint8_t)name.n;
    memcpy(c->name, name.p, name.n);
    if (htab_insert(&all->table, &c->node) == -1) {
        free(c);
        return NULL;
    }
    list_init(&c->link);
    return c;
}

uint64_t nats_count(struct nats_counters *all, struct str name, uint64_t now_ns)
{
    struct htab_node *n = htab_find(&all->table, hash_str(name), equal, &name);
    struct nats_counter *c = n != NULL ? CONTAINER_OF(n, struct nats_counter, node) : NULL;

    if (c == NULL) {
        make_room(all, now_ns);
        c = counter_new(all, name);
        if (c == NULL)
            return 0;
    }
    list_remove(&c->link);
    list_append(&all->used, &c->link);
    c->used_ns = now_ns;
    return ++c->n;
}

void nats_counters_fini(struct nats_counters *all)
{
    while (!list_empty(&all->used))
        forget(all, LIST_ENTRY(all->used.next, struct nats_counter, link));
    htab_fini(&all->table);
}

/* --- others' --- */

static struct nats_publisher *find(const struct nats_publishers *p, uint64_t node, uint16_t source)
{
    uint64_t h = (node ^ source * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    uint32_t i = (uint32_t)(h >> 32) & (p->cap - 1);

    while (p->slots[i].node != 0 && (p->slots[i].node != node || p->slots[i].source != source))
        i = (i + 1) & (p->cap - 1);
    return &p->slots[i];
}

/* Into a table of `cap` places, those that have been heard lately. -1: no memory. */
static int rebuild(struct nats_publishers *p, uint32_t cap, uint64_t now_ns)
{
    struct nats_publishers old = *p;
    struct nats_publisher *slots = calloc(cap, sizeof(*slots));

    if (slots == NULL)
        return -1;
    *p = (struct nats_publishers){.slots = slots, .cap = cap};
    for (uint32_t i = 0; i < old.cap; i++) {
        const struct nats_publisher *one = &old.slots[i];

        if (one->node == 0 || now_ns - one->heard_ns > PUBLISHER_IDLE)
            continue;
        *find(p, one->node, one->source) = *one;
        p->n++;
    }
    free(old.slots);
    return 0;
}

/* A place for one more. At most three quarters are used. */
static bool has_room(struct nats_publishers *p, uint64_t now_ns)
{
    if (p->cap == 0)
        return rebuild(p, PUBLISHERS_MIN, now_ns) == 0;
    if ((p->n + 1) * 4 <= p->cap * 3)
        return true;
    if (rebuild(p, p->cap, now_ns) == -1)
        return false;
    if ((p->n + 1) * 2 > p->cap && p->cap < PUBLISHERS_MAX && rebuild(p, p->cap * 2, now_ns) == -1)
        return false;
    return (p->n + 1) * 4 <= p->cap * 3;
}

/* What was last heard from there, and now is this. 0: nothing yet, or no memory. */
static uint64_t replace(struct nats_publishers *p, uint64_t node, uint16_t source, uint64_t last,
                        uint64_t now_ns)
{
    struct nats_publisher *one = p->cap > 0 ? find(p, node, source) : NULL;
    uint64_t before = 0;

    if (one == NULL || one->node == 0) {
        if (!has_room(p, now_ns))
            return 0;
        one = find(p, node, source);
        p->n++;
    } else {
        before = one->last;
    }
    *one =
        (struct nats_publisher){.node = node, .source = source, .last = last, .heard_ns = now_ns};
    return before;
}

bool nats_publishers_take(struct nats_publishers *p, const struct envelope *env, uint64_t now_ns,
                          uint64_t *missing)
{
    uint64_t position, count;

    *missing = 0;
    if (env->node == 0 || env->r.position == 0 || env->count == 0)
        return true; /* it has no number */
    position = replace(p, env->node, env->r.source, env->r.position, now_ns);
    count = replace(p, env->node, WHOLE_NODE, env->count, now_ns);
    if (env->r.position <= position) {
        (void)replace(p, env->node, env->r.source, position, now_ns);
        return false;
    }
    if (count != 0)
        *missing = env->count - 1 - (env->count > count ? count : 0);
    return true;
}

void nats_publishers_fini(struct nats_publishers *p)
{
    free(p->slots);
    *p = (struct nats_publishers){0};
}
