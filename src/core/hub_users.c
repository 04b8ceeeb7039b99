/* core/hub_users.c - how many connections each user has in the node: one entry for each user, in it
 * a count for each worker, as channels have interests. Counts of a worker's earlier lives count no
 * more from the moment it has gone; a sweep removes them. With user_connection_limit_scope: all_nodes the
 * engine decides, which is told the sum; without it, and where it cannot be asked, this node does. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "core/broker.h"

struct user_count {
    uint32_t life; /* of the worker; stale when that has moved on */
    uint32_t count;
    uint16_t worker;
};

struct hub_user {
    struct htab_node node;
    union {
        struct user_count one;   /* while cap is 1 */
        struct user_count *many; /* owned */
    };
    uint16_t n, cap;
    uint16_t name_len;
    uint32_t told; /* the engine knows of so many */
    char name[];
};

/* The engine counts a user's connections of all nodes: it has to be told this node's, again every
 * now and then, as it takes nobody's word for ever. */
#define RENEW_NS (300 * NS_PER_SEC)

static bool of_all_nodes(const struct hub *h)
{
    return config.user_connection_limit_scope == USER_LIMIT_OF_ALL_NODES &&
           h->engine->ops->user != NULL;
}

static struct user_count *counts(struct hub_user *u)
{
    return u->cap == 1 ? &u->one : u->many;
}

static bool stale(const struct hub *h, const struct user_count *c)
{
    return c->life != h->worker[c->worker].life;
}

static bool user_equal(const struct htab_node *node, const void *key)
{
    const struct hub_user *u = CONTAINER_OF(node, struct hub_user, node);

    return str_equal((struct str){.p = u->name, .n = u->name_len}, *(const struct str *)key);
}

static struct hub_user *find(struct hub *h, struct str name)
{
    struct htab_node *node = htab_find(&h->users, hash_str(name), user_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct hub_user, node) : NULL;
}

static struct hub_user *find_or_make(struct hub *h, struct str name)
{
    struct hub_user *u = find(h, name);

    if (u != NULL)
        return u;
    u = malloc(sizeof(*u) + name.n);
    if (u == NULL)
        return NULL;
    *u = (struct hub_user){.cap = 1, .name_len = (uint16_t)name.n};
    memcpy(u->name, name.p, name.n);
    u->node.hash = hash_str((struct str){.p = u->name, .n = u->name_len});
    if (htab_insert(&h->users, &u->node) == -1) {
        free(u);
        return NULL;
    }
    METRIC_ADD(users, 1);
    return u;
}

static void user_free(struct hub *h, struct hub_user *u)
{
    htab_remove(&h->users, &u->node);
    METRIC_ADD(users, -1);
    if (u->cap > 1)
        free(u->many);
    free(u);
}

static void remove_count(struct hub_user *u, unsigned i)
{
    counts(u)[i] = counts(u)[u->n - 1];
    u->n--;
}

static void drop_stale(const struct hub *h, struct hub_user *u)
{
    for (unsigned i = 0; i < u->n;) {
        if (stale(h, &counts(u)[i]))
            remove_count(u, i);
        else
            i++;
    }
}

/* The worker's count, or NULL. There are no stale ones. */
static struct user_count *count_of(struct hub_user *u, unsigned worker)
{
    for (unsigned i = 0; i < u->n; i++) {
        if (counts(u)[i].worker == worker)
            return &counts(u)[i];
    }
    return NULL;
}

static uint32_t total(struct hub_user *u)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < u->n; i++)
        sum += counts(u)[i].count;
    return sum;
}

/* If it is another one than the engine knows of, or that is to be renewed. Nobody waits for it. */
static void tell(struct hub *h, struct hub_user *u, bool renew)
{
    uint32_t now = total(u);

    if (!of_all_nodes(h) || (now == u->told && (!renew || now == 0)))
        return;
    u->told = now;
    h->engine->ops->user(h->engine, (struct str){.p = u->name, .n = u->name_len}, now, 0, 0);
}

/* Sets a worker's count, which is not 0. -1: no memory. */
static int set(const struct hub *h, struct hub_user *u, unsigned worker, uint32_t count)
{
    struct user_count *c = count_of(u, worker);

    if (c == NULL && u->n == u->cap) {
        unsigned cap = u->cap * 2u;
        struct user_count *grown = realloc(u->cap == 1 ? NULL : u->many, cap * sizeof(*grown));

        if (grown == NULL)
            return -1;
        if (u->cap == 1)
            grown[0] = u->one;
        u->many = grown;
        u->cap = (uint16_t)cap;
    }
    if (c == NULL)
        c = &counts(u)[u->n++];
    *c = (struct user_count){
        .life = h->worker[worker].life, .count = count, .worker = (uint16_t)worker};
    return 0;
}

static bool valid(const struct record *r)
{
    if (r->data.n >= 1 && r->data.n <= BROKER_USER_MAX)
        return true;
    METRIC_INC(ring_bad_records);
    return false;
}

void hub_user_count(struct hub *h, const struct record *r)
{
    struct hub_user *u;
    struct user_count *c;

    if (!valid(r))
        return;
    u = r->count > 0 ? find_or_make(h, r->data) : find(h, r->data);
    if (u == NULL)
        return; /* without memory the limit lets one more through */
    drop_stale(h, u);
    c = count_of(u, r->source);
    if (r->count == 0 && c != NULL)
        remove_count(u, (unsigned)(c - counts(u)));
    else if (r->count > 0 && set(h, u, r->source, r->count) == -1)
        return; /* the same */
    tell(h, u, false);
    if (u->n == 0)
        user_free(h, u);
}

/* May the worker have that many connections of the user? */
static enum engine_status connect(struct hub *h, const struct record *r, struct pending *p)
{
    struct hub_user *u = find_or_make(h, r->data);
    struct user_count *mine;
    enum engine_status status = ENGINE_OK;
    uint64_t others;

    if (u == NULL)
        return ENGINE_UNAVAILABLE;
    drop_stale(h, u);
    mine = count_of(u, r->source);
    others = total(u) - (mine != NULL ? mine->count : 0);
    if (others + r->count > r->chan)
        status = ENGINE_REFUSED;
    else if (set(h, u, r->source, r->count) == -1)
        status = ENGINE_UNAVAILABLE;
    p->clients = total(u);
    if (u->n == 0)
        user_free(h, u);
    return status;
}

void hub_user_connect(struct hub *h, const struct record *r)
{
    struct pending *p = valid(r) ? hub_pending_new(h, r) : NULL;

    struct hub_user *u;
    enum engine_status status;

    if (p == NULL)
        return; /* the asker's time runs out */
    status = connect(h, r, p);
    u = status == ENGINE_OK && of_all_nodes(h) ? find(h, r->data) : NULL;
    if (u == NULL) {
        hub_pending_done(h, p, status);
        return;
    }
    /* Refused, its worker says the number again, which is then told. */
    u->told = total(u);
    h->engine->ops->user(h->engine, r->data, u->told, r->chan, (uint64_t)(uintptr_t)p);
}

void hub_user_counted(struct hub *h, struct pending *p, enum engine_status status)
{
    if (status != ENGINE_OK && status != ENGINE_REFUSED)
        METRIC_INC(user_limits_unsure);
    hub_pending_done(h, p, status);
}

static void sweep_visit(struct htab_node *node, void *arg)
{
    struct hub_user *u = CONTAINER_OF(node, struct hub_user, node);

    drop_stale(arg, u);
    tell(arg, u, false);
    if (u->n == 0)
        user_free(arg, u);
}

static void renew_visit(struct htab_node *node, void *arg)
{
    tell(arg, CONTAINER_OF(node, struct hub_user, node), true);
}

/* All of them within RENEW_NS, as evenly as it is called. */
static void renew(struct hub *h)
{
    uint64_t passed = clock_ns() - h->users_renewed_ns, due;

    due = h->users.nbuckets * MIN(passed, RENEW_NS) / RENEW_NS;
    if (due == 0)
        return;
    h->users_renewed_ns = clock_ns();
    if (!htab_scan(&h->users, &h->users_renew_cursor, due, renew_visit, h))
        h->users_renew_cursor = 0;
}

bool hub_users_run(struct hub *h, size_t *budget)
{
    if (of_all_nodes(h))
        renew(h);
    if (h->users_stale && !h->users_sweeping) {
        h->users_sweeping = true;
        h->users_stale = false;
        h->users_cursor = 0;
    }
    for (; h->users_sweeping && *budget > 0; (*budget)--)
        h->users_sweeping = htab_scan(&h->users, &h->users_cursor, 1, sweep_visit, h);
    return h->users_sweeping || h->users_stale;
}

static void scan_free(struct htab_node *node, void *arg)
{
    user_free(arg, CONTAINER_OF(node, struct hub_user, node));
}

void hub_users_fini(struct hub *h)
{
    size_t cursor = 0;

    while (htab_scan(&h->users, &cursor, SIZE_MAX, scan_free, h)) {
    }
    htab_fini(&h->users);
}
