/* core/engine_members.c - who is in which channel, and how many, of what this node has set. */
#include "engine_members_internal.h"

#include "base/metrics.h"

struct key { /* of a member or a user */
    const struct members_channel *channel;
    struct str name;
};

void members_init(struct members *t)
{
    for (unsigned i = 0; i < ENGINE_OWNERS_MAX; i++)
        list_init(&t->owner[i]);
    list_init(&t->cursors);
}

/* --- channels --- */

static bool channel_equal(const struct htab_node *node, const void *key)
{
    return str_equal(members_channel_name(CONTAINER_OF(node, struct members_channel, node)),
                     *(const struct str *)key);
}

struct members_channel *members_channel(struct members *t, struct str name)
{
    struct htab_node *node = htab_find(&t->channels, hash_str(name), channel_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct members_channel, node) : NULL;
}

static struct members_channel *channel_get(struct members *t, struct str name)
{
    struct members_channel *c = members_channel(t, name);

    if (c != NULL)
        return c;
    c = malloc(sizeof(*c) + name.n);
    if (c == NULL)
        return NULL;
    *c = (struct members_channel){.name_len = (uint8_t)name.n, .node.hash = hash_str(name)};
    list_init(&c->members);
    memcpy(c->name, name.p, name.n);
    if (htab_insert(&t->channels, &c->node) == 0)
        return c;
    free(c);
    return NULL;
}

static void channel_prune(struct members *t, struct members_channel *c)
{
    if (!list_empty(&c->members))
        return;
    htab_remove(&t->channels, &c->node);
    free(c);
}

/* --- users --- */

/* The keyed hash of the name, and which channel: its address, spread. */
static uint64_t key_hash(const struct key *key)
{
    return hash_str(key->name) ^ (uint64_t)(uintptr_t)key->channel * UINT64_C(0x9e3779b97f4a7c15);
}

static bool user_equal(const struct htab_node *node, const void *key)
{
    const struct members_user *u = CONTAINER_OF(node, struct members_user, node);
    const struct key *k = key;

    return u->channel == k->channel &&
           str_equal((struct str){.p = u->name, .n = u->name_len}, k->name);
}

static struct members_user *user_get(struct members *t, struct members_channel *c, struct str name)
{
    const struct key key = {.channel = c, .name = name};
    struct htab_node *node = htab_find(&t->users, key_hash(&key), user_equal, &key);
    struct members_user *u;

    if (node != NULL) {
        u = CONTAINER_OF(node, struct members_user, node);
        u->clients++;
        return u;
    }
    u = malloc(sizeof(*u) + name.n);
    if (u == NULL)
        return NULL;
    *u = (struct members_user){
        .channel = c, .clients = 1, .name_len = (uint16_t)name.n, .node.hash = key_hash(&key)};
    if (name.n > 0)
        memcpy(u->name, name.p, name.n);
    if (htab_insert(&t->users, &u->node) == -1) {
        free(u);
        return NULL;
    }
    c->users++;
    METRIC_ADD(presence_bytes, (int64_t)(sizeof(*u) + name.n));
    return u;
}

static void user_put(struct members *t, struct members_user **user)
{
    struct members_user *u = *user;

    *user = NULL;
    if (--u->clients > 0)
        return;
    u->channel->users--;
    htab_remove(&t->users, &u->node);
    METRIC_ADD(presence_bytes, -(int64_t)(sizeof(*u) + u->name_len));
    free(u);
}

/* --- members --- */

static bool member_equal(const struct htab_node *node, const void *key)
{
    const struct member *m = CONTAINER_OF(node, struct member, node);
    const struct key *k = key;

    return m->channel == k->channel && str_equal(member_client(m), k->name);
}

static struct member *member_of(struct members *t, const struct members_channel *c,
                                struct str client)
{
    const struct key key = {.channel = c, .name = client};
    struct htab_node *node = htab_find(&t->members, key_hash(&key), member_equal, &key);

    return node != NULL ? CONTAINER_OF(node, struct member, node) : NULL;
}

struct member *members_find(struct members *t, struct str channel, struct str client)
{
    struct members_channel *c = members_channel(t, channel);

    return c != NULL ? member_of(t, c, client) : NULL;
}

/* The member behind m in the list of its channel; NULL: there is none. */
static struct member *member_next(const struct member *m)
{
    struct list *next = m->in_channel.next;

    return next != &m->channel->members ? LIST_ENTRY(next, struct member, in_channel) : NULL;
}

static void cursor_set(struct members *t, struct engine_cursor *cursor, struct member *at)
{
    cursor->at = at;
    cursor->ended = at == NULL;
    list_remove(&cursor->link);
    if (at != NULL)
        list_append(&t->cursors, &cursor->link);
}

/* Whoever was to be shown m next is shown the one behind it. */
static void cursors_pass(struct members *t, struct member *m)
{
    struct list *n, *next;

    for (n = t->cursors.next; n != &t->cursors; n = next) {
        struct engine_cursor *cursor = LIST_ENTRY(n, struct engine_cursor, link);

        next = n->next;
        if (cursor->at != m)
            continue;
        cursor->at = member_next(m);
        cursor->ended = cursor->at == NULL;
        if (cursor->ended)
            list_remove(n);
    }
}

/* The channel stays, even if this was its last member. */
static void member_free(struct members *t, struct member *m)
{
    cursors_pass(t, m);
    list_remove(&m->in_channel);
    list_remove(&m->in_owner);
    htab_remove(&t->members, &m->node);
    user_put(t, &m->user);
    m->channel->clients--;
    METRIC_ADD(presence_members, -1);
    METRIC_ADD(presence_bytes, -(int64_t)(sizeof(*m) + m->fields_len));
    free(m);
}

void member_remove(struct members *t, struct member *m)
{
    struct members_channel *c = m->channel;

    member_free(t, m);
    channel_prune(t, c);
}

/* Adds one behind `behind` in its channel's list. NULL: no memory. */
static struct member *member_new(struct members *t, struct members_channel *c,
                                 const struct engine_presence *ask, struct list *behind)
{
    const struct key key = {.channel = c, .name = ask->who.client};
    struct str fields = ask->r->fields;
    struct member *m = malloc(sizeof(*m) + fields.n);

    if (m == NULL)
        return NULL;
    *m = (struct member){
        .node.hash = key_hash(&key),
        .channel = c,
        .fields_len = (uint16_t)fields.n,
        .client = (uint16_t)(ask->who.client.p - fields.p),
        .client_len = (uint8_t)ask->who.client.n,
    };
    memcpy(m->fields, fields.p, fields.n);
    list_init(&m->in_owner);
    m->user = user_get(t, c, ask->who.user);
    if (m->user == NULL)
        goto err;
    if (htab_insert(&t->members, &m->node) == -1)
        goto err_after_user;
    list_prepend(behind, &m->in_channel);
    c->clients++;
    METRIC_ADD(presence_members, 1);
    METRIC_ADD(presence_bytes, (int64_t)(sizeof(*m) + fields.n));
    return m;

err_after_user:
    user_put(t, &m->user);
err:
    free(m);
    return NULL;
}

/* Whose it is now, and to be told when it goes? */
static void member_own(struct members *t, struct member *m, const struct engine_presence *ask)
{
    m->owner = (uint8_t)ask->owner;
    m->mark = ask->mark;
    m->tell = ask->r->flags & PRESENCE_TELL;
    list_remove(&m->in_owner);
    list_append(&t->owner[ask->owner], &m->in_owner);
}

/* --- calls --- */

struct member *members_set(struct members *t, const struct engine_presence *ask)
{
    struct members_channel *c = channel_get(t, ask->r->name);
    struct member *m, *known;

    if (c == NULL)
        return NULL;
    m = known = member_of(t, c, ask->who.client);
    if (known == NULL || !str_equal(member_fields(known), ask->r->fields)) {
        m = member_new(t, c, ask, known != NULL ? &known->in_channel : c->members.prev);
        if (m == NULL) {
            channel_prune(t, c);
            return NULL;
        }
        if (known != NULL)
            member_free(t, known);
    }
    member_own(t, m, ask);
    return m;
}

struct member *members_old(struct members *t, uint32_t owner, uint32_t mark)
{
    struct list *mine = &t->owner[owner];
    struct member *m = LIST_ENTRY(mine->next, struct member, in_owner);

    return list_empty(mine) || m->mark == mark ? NULL : m;
}

void members_list(struct members *t, const struct engine_presence *ask,
                  void (*show)(void *arg, struct str fields), void *arg)
{
    struct engine_cursor *cursor = ask->cursor;
    struct member *m = cursor->at;

    if (!cursor->begun) {
        struct members_channel *c = members_channel(t, ask->channel);

        list_init(&cursor->link);
        m = c != NULL ? LIST_ENTRY(c->members.next, struct member, in_channel) : NULL;
        cursor->begun = true;
    }
    if (ask->limit == 0)
        m = NULL;
    for (uint32_t n = 0; m != NULL && n < ask->limit; n++) {
        struct member *next = member_next(m);

        show(arg, member_fields(m));
        m = next;
    }
    cursor_set(t, cursor, m);
}

static void scan_free(struct htab_node *node, void *arg)
{
    member_remove(arg, CONTAINER_OF(node, struct member, node));
}

void members_fini(struct members *t)
{
    size_t cursor = 0;

    list_init(&t->cursors); /* whose they were, is gone */
    while (htab_scan(&t->members, &cursor, SIZE_MAX, scan_free, t)) {
    }
    htab_fini(&t->members);
    htab_fini(&t->users);
    htab_fini(&t->channels);
}
