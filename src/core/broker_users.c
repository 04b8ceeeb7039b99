/* core/broker_users.c - how many connections each user has in this worker.
 *
 * The hub is told the number, not the change, so that saying it twice changes nothing. A connection
 * with a limit asks, with the number that it would make; others are told at the end of the turn. To
 * a new hub each user's number is announced as the old one was last told it: what has been written
 * since is still in the ring, and what has not been written comes behind. */
#include "broker_internal.h"

struct broker_user {
    struct htab_node node;
    struct list owed; /* in broker.users_owed while it has something to say */
    uint32_t count;   /* connections */
    uint32_t told;    /* as the hub knows it */
    uint16_t name_len;
    bool announce; /* told is to be said again */
    bool unsure;   /* the hub may have refused what it was told last: a change is said anyway */
    char name[];
};

static struct str name_of(const struct broker_user *u)
{
    return (struct str){.p = u->name, .n = u->name_len};
}

static bool user_equal(const struct htab_node *node, const void *key)
{
    return str_equal(name_of(CONTAINER_OF(node, struct broker_user, node)),
                     *(const struct str *)key);
}

static struct broker_user *find(struct broker *b, struct str name)
{
    struct htab_node *node = htab_find(&b->users, hash_str(name), user_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct broker_user, node) : NULL;
}

static struct broker_user *find_or_make(struct broker *b, struct str name)
{
    struct broker_user *u = find(b, name);

    if (u != NULL)
        return u;
    u = malloc(sizeof(*u) + name.n);
    if (u == NULL)
        return NULL;
    *u = (struct broker_user){.name_len = (uint16_t)name.n, .node.hash = hash_str(name)};
    list_init(&u->owed);
    memcpy(u->name, name.p, name.n);
    if (htab_insert(&b->users, &u->node) == 0)
        return u;
    free(u);
    return NULL;
}

static void user_free(struct broker *b, struct broker_user *u)
{
    list_remove(&u->owed);
    htab_remove(&b->users, &u->node);
    free(u);
}

/* Is there a number to be told? */
static bool differs(const struct broker_user *u)
{
    return u->count != u->told || (u->unsure && list_linked(&u->owed));
}

/* Puts it on the list of what is owed, or takes it off; frees one that is of no use. */
static void owe(struct broker *b, struct broker_user *u)
{
    if (u->announce || differs(u)) {
        if (!list_linked(&u->owed))
            list_append(&b->users_owed, &u->owed);
        return;
    }
    list_remove(&u->owed);
    if (u->count == 0)
        user_free(b, u);
}

int broker_user_connect(struct broker *b, struct asker asker, struct str user, uint32_t limit)
{
    struct record r = {.kind = RECORD_USER_CONNECT,
                       .asker = asker.kind,
                       .token = asker.token,
                       .chan = limit,
                       .data = user};
    struct broker_user *u;

    if (user.n == 0)
        return 1;
    u = user.n <= BROKER_USER_MAX ? find_or_make(b, user) : NULL;
    if (u == NULL)
        return -1;
    r.count = u->count + 1;
    /* What is to be announced comes before, or it would undo this. */
    if (limit > 0 && (u->announce || broker_put(b, &r) == -1)) {
        owe(b, u);
        return -1;
    }
    u->count++;
    if (limit > 0) {
        u->told = u->count;
        u->unsure = true;
    }
    owe(b, u);
    return limit > 0 ? 0 : 1;
}

void broker_user_disconnect(struct broker *b, struct str user)
{
    struct broker_user *u = user.n > 0 ? find(b, user) : NULL;

    if (u == NULL || u->count == 0)
        return;
    u->count--;
    owe(b, u);
}

/* -1: no room. */
static int write_user(struct broker *b, struct broker_user *u)
{
    struct record r = {.kind = RECORD_USER, .data = name_of(u)};

    if (u->announce) {
        r.flags = PRESENCE_AGAIN;
        r.count = u->told;
        if (u->told > 0 && broker_put(b, &r) == -1)
            return -1;
        u->announce = false;
    }
    r.flags = 0;
    r.count = u->count;
    if (differs(u)) {
        if (broker_put(b, &r) == -1)
            return -1;
        u->told = u->count;
        u->unsure = false;
    }
    owe(b, u);
    return 0;
}

void users_flush(struct broker *b, unsigned *budget)
{
    for (; !list_empty(&b->users_owed) && *budget > 0; (*budget)--) {
        if (write_user(b, LIST_ENTRY(b->users_owed.next, struct broker_user, owed)) == -1)
            return;
    }
}

static void announce_user(struct htab_node *node, void *arg)
{
    struct broker_user *u = CONTAINER_OF(node, struct broker_user, node);

    u->announce = true;
    owe(arg, u);
}

bool users_announce(struct broker *b, size_t max_buckets)
{
    return htab_scan(&b->users, &b->users_cursor, max_buckets, announce_user, b);
}

static void scan_free(struct htab_node *node, void *arg)
{
    user_free(arg, CONTAINER_OF(node, struct broker_user, node));
}

void users_fini(struct broker *b)
{
    size_t cursor = 0;

    while (htab_scan(&b->users, &cursor, SIZE_MAX, scan_free, b)) {
    }
    htab_fini(&b->users);
}
