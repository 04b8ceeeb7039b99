/* core/engine_memory_presence.c - who is in which channel, and how many.
 *
 * A member is in three places: in the table of all members, which finds it by channel and client, in
 * its channel's list, which is walked to list them, and in its owner's list, which is walked when
 * the owner has gone. Users are counted by an entry for each (channel, user), so that nothing is
 * walked to count them. There is no table for each channel: most have few members. */
#include "engine_memory_internal.h"

#include <assert.h>

#include "base/metrics.h"

struct presence_channel {
    struct htab_node node;
    struct list members; /* struct member.in_channel */
    uint32_t clients, users;
    uint8_t name_len;
    char name[];
};

struct presence_user { /* of a channel */
    struct htab_node node;
    struct presence_channel *channel; /* borrowed; lives as long as it has users */
    uint32_t clients;
    uint16_t name_len;
    char name[];
};

struct member {
    struct htab_node node;
    struct list in_channel, in_owner;
    struct presence_channel *channel; /* borrowed */
    struct presence_user *user;       /* shared (clients) */
    uint32_t mark;
    uint16_t fields_len;
    uint16_t client; /* where its client id stands in fields */
    uint8_t client_len;
    uint8_t owner;
    bool tell;
    char fields[]; /* as they were set */
};
_Static_assert(ENGINE_OWNERS_MAX <= UINT8_MAX, "struct member has a byte for it");
_Static_assert(CLIENT_INFO_ID_MAX <= UINT8_MAX, "and one for this");

struct key { /* of a member or a user */
    const struct presence_channel *channel;
    struct str name;
};

void presence_init(struct presence *p)
{
    for (unsigned i = 0; i < ENGINE_OWNERS_MAX; i++)
        list_init(&p->owner[i]);
    list_init(&p->cursors);
}

/* --- channels --- */

static struct str channel_name(const struct presence_channel *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

static bool channel_equal(const struct htab_node *node, const void *key)
{
    return str_equal(channel_name(CONTAINER_OF(node, struct presence_channel, node)),
                     *(const struct str *)key);
}

static struct presence_channel *channel_find(struct presence *p, struct str name)
{
    struct htab_node *node = htab_find(&p->channels, hash_str(name), channel_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct presence_channel, node) : NULL;
}

static struct presence_channel *channel_get(struct presence *p, struct str name)
{
    struct presence_channel *c = channel_find(p, name);

    if (c != NULL)
        return c;
    c = malloc(sizeof(*c) + name.n);
    if (c == NULL)
        return NULL;
    *c = (struct presence_channel){.name_len = (uint8_t)name.n, .node.hash = hash_str(name)};
    list_init(&c->members);
    memcpy(c->name, name.p, name.n);
    if (htab_insert(&p->channels, &c->node) == 0)
        return c;
    free(c);
    return NULL;
}

static void channel_prune(struct presence *p, struct presence_channel *c)
{
    if (!list_empty(&c->members))
        return;
    htab_remove(&p->channels, &c->node);
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
    const struct presence_user *u = CONTAINER_OF(node, struct presence_user, node);
    const struct key *k = key;

    return u->channel == k->channel &&
           str_equal((struct str){.p = u->name, .n = u->name_len}, k->name);
}

static struct presence_user *user_get(struct presence *p, struct presence_channel *c,
                                      struct str name)
{
    const struct key key = {.channel = c, .name = name};
    struct htab_node *node = htab_find(&p->users, key_hash(&key), user_equal, &key);
    struct presence_user *u;

    if (node != NULL) {
        u = CONTAINER_OF(node, struct presence_user, node);
        u->clients++;
        return u;
    }
    u = malloc(sizeof(*u) + name.n);
    if (u == NULL)
        return NULL;
    *u = (struct presence_user){
        .channel = c, .clients = 1, .name_len = (uint16_t)name.n, .node.hash = key_hash(&key)};
    if (name.n > 0)
        memcpy(u->name, name.p, name.n);
    if (htab_insert(&p->users, &u->node) == -1) {
        free(u);
        return NULL;
    }
    c->users++;
    METRIC_ADD(presence_bytes, (int64_t)(sizeof(*u) + name.n));
    return u;
}

static void user_put(struct presence *p, struct presence_user **user)
{
    struct presence_user *u = *user;

    *user = NULL;
    if (--u->clients > 0)
        return;
    u->channel->users--;
    htab_remove(&p->users, &u->node);
    METRIC_ADD(presence_bytes, -(int64_t)(sizeof(*u) + u->name_len));
    free(u);
}

/* --- members --- */

static struct str fields_of(const struct member *m)
{
    return (struct str){.p = m->fields, .n = m->fields_len};
}

static struct str client_of(const struct member *m)
{
    return (struct str){.p = m->fields + m->client, .n = m->client_len};
}

static bool member_equal(const struct htab_node *node, const void *key)
{
    const struct member *m = CONTAINER_OF(node, struct member, node);
    const struct key *k = key;

    return m->channel == k->channel && str_equal(client_of(m), k->name);
}

static struct member *member_find(struct presence *p, const struct presence_channel *c,
                                  struct str client)
{
    const struct key key = {.channel = c, .name = client};
    struct htab_node *node = htab_find(&p->members, key_hash(&key), member_equal, &key);

    return node != NULL ? CONTAINER_OF(node, struct member, node) : NULL;
}

/* The member behind m in the list of its channel; NULL: there is none. */
static struct member *member_next(const struct member *m)
{
    struct list *next = m->in_channel.next;

    return next != &m->channel->members ? LIST_ENTRY(next, struct member, in_channel) : NULL;
}

static void cursor_set(struct presence *p, struct engine_cursor *cursor, struct member *at)
{
    cursor->at = at;
    cursor->ended = at == NULL;
    list_remove(&cursor->link);
    if (at != NULL)
        list_append(&p->cursors, &cursor->link);
}

/* Whoever was to be shown m next is shown the one behind it. */
static void cursors_pass(struct presence *p, struct member *m)
{
    struct list *n, *next;

    for (n = p->cursors.next; n != &p->cursors; n = next) {
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
static void member_free(struct presence *p, struct member *m)
{
    cursors_pass(p, m);
    list_remove(&m->in_channel);
    list_remove(&m->in_owner);
    htab_remove(&p->members, &m->node);
    user_put(p, &m->user);
    m->channel->clients--;
    METRIC_ADD(presence_members, -1);
    METRIC_ADD(presence_bytes, -(int64_t)(sizeof(*m) + m->fields_len));
    free(m);
}

static void member_remove(struct presence *p, struct member *m)
{
    struct presence_channel *c = m->channel;

    member_free(p, m);
    channel_prune(p, c);
}

/* Adds one behind `behind` in its channel's list. NULL: no memory. */
static struct member *member_new(struct presence *p, struct presence_channel *c,
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
    m->user = user_get(p, c, ask->who.user);
    if (m->user == NULL)
        goto err;
    if (htab_insert(&p->members, &m->node) == -1)
        goto err_after_user;
    list_prepend(behind, &m->in_channel);
    c->clients++;
    METRIC_ADD(presence_members, 1);
    METRIC_ADD(presence_bytes, (int64_t)(sizeof(*m) + fields.n));
    return m;

err_after_user:
    user_put(p, &m->user);
err:
    free(m);
    return NULL;
}

/* Whose it is now, and to be told when it goes? */
static void member_own(struct presence *p, struct member *m, const struct engine_presence *ask)
{
    m->owner = (uint8_t)ask->owner;
    m->mark = ask->mark;
    m->tell = ask->r->flags & PRESENCE_TELL;
    list_remove(&m->in_owner);
    list_append(&p->owner[ask->owner], &m->in_owner);
}

/* --- calls --- */

static void tell(struct engine *e, enum record_kind kind, const struct record *r)
{
    struct record out = *r;

    out.kind = (uint8_t)kind;
    out.flags = 0;
    e->events->member(e->hub, &out);
}

static enum engine_status set(struct presence *p, const struct engine_presence *ask)
{
    struct presence_channel *c = channel_get(p, ask->r->name);
    struct member *m, *known;

    if (c == NULL)
        return ENGINE_UNAVAILABLE;
    m = known = member_find(p, c, ask->who.client);
    if (known == NULL || !str_equal(fields_of(known), ask->r->fields)) {
        m = member_new(p, c, ask, known != NULL ? &known->in_channel : c->members.prev);
        if (m == NULL) {
            channel_prune(p, c);
            return ENGINE_UNAVAILABLE;
        }
        if (known != NULL)
            member_free(p, known);
    }
    member_own(p, m, ask);
    return ENGINE_OK;
}

static void clear(struct presence *p, const struct engine_presence *ask)
{
    struct presence_channel *c = channel_find(p, ask->r->name);
    struct member *m = c != NULL ? member_find(p, c, ask->who.client) : NULL;

    if (m != NULL && m->owner == ask->owner)
        member_remove(p, m);
}

static void listing(struct presence *p, struct engine *e, const struct engine_presence *ask,
                    uint64_t token)
{
    struct engine_cursor *cursor = ask->cursor;
    struct member *m = cursor->at;

    if (!cursor->begun) {
        struct presence_channel *c = channel_find(p, ask->channel);

        list_init(&cursor->link);
        m = c != NULL ? LIST_ENTRY(c->members.next, struct member, in_channel) : NULL;
        cursor->begun = true;
    }
    if (ask->limit == 0)
        m = NULL;
    for (uint32_t n = 0; m != NULL && n < ask->limit; n++) {
        struct member *next = member_next(m);

        e->events->listed(e->hub, token, fields_of(m));
        m = next;
    }
    cursor_set(p, cursor, m);
}

static void forget(struct presence *p, struct engine *e, const struct engine_presence *ask)
{
    struct list *mine = &p->owner[ask->owner];

    for (uint32_t n = 0;; n++) {
        struct member *m = LIST_ENTRY(mine->next, struct member, in_owner);

        ask->cursor->ended = list_empty(mine) || m->mark == ask->mark;
        if (ask->cursor->ended || n == ask->limit)
            return;
        if (m->tell)
            tell(e, RECORD_LEAVE,
                 &(struct record){.source = ENGINE_OWNERS_MAX,
                                  .name = channel_name(m->channel),
                                  .fields = fields_of(m)});
        member_remove(p, m);
    }
}

void presence_call(struct presence *p, struct engine *e, const struct engine_presence *ask,
                   uint64_t token)
{
    enum engine_status status = ENGINE_OK;
    struct presence_channel *c;

    assert(ask->owner < ENGINE_OWNERS_MAX);
    switch (ask->op) {
    case PRESENCE_SET:
        status = set(p, ask);
        if (status == ENGINE_OK && (ask->r->flags & PRESENCE_TELL) &&
            !(ask->r->flags & PRESENCE_AGAIN))
            tell(e, RECORD_JOIN, ask->r);
        break;
    case PRESENCE_CLEAR:
        clear(p, ask);
        if (ask->r->flags & PRESENCE_TELL)
            tell(e, RECORD_LEAVE, ask->r);
        break;
    case PRESENCE_LIST:
        listing(p, e, ask, token);
        break;
    case PRESENCE_STATS:
        c = channel_find(p, ask->channel);
        e->events->counted(e->hub, token, c != NULL ? c->clients : 0, c != NULL ? c->users : 0);
        break;
    case PRESENCE_FORGET:
        forget(p, e, ask);
        break;
    }
    e->events->done(e->hub, token, status, (struct position){0});
}

static void scan_free(struct htab_node *node, void *arg)
{
    member_remove(arg, CONTAINER_OF(node, struct member, node));
}

void presence_fini(struct presence *p)
{
    size_t cursor = 0;

    list_init(&p->cursors); /* whose they were, is gone */
    while (htab_scan(&p->members, &cursor, SIZE_MAX, scan_free, p)) {
    }
    htab_fini(&p->members);
    htab_fini(&p->users);
    htab_fini(&p->channels);
}
