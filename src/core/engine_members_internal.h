/* core/engine_members_internal.h - the members of channels that this node's workers have set, in memory: for
 * engine_memory_presence.c, which knows no others, and engine_redis_presence.c, whose server knows those of
 * all nodes.
 *
 * A member is in three places: in the table of all members, which finds it by channel and client, in
 * its channel's list, which is walked to list them, and in its owner's list, which is walked when
 * the owner has gone. Users are counted by an entry for each (channel, user), so that nothing is
 * walked to count them. There is no table for each channel: most have few members. */
#ifndef ROOST_CORE_ENGINE_MEMBERS_INTERNAL_H
#define ROOST_CORE_ENGINE_MEMBERS_INTERNAL_H

#include "base/hash.h"
#include "base/list.h"
#include "core/engine.h"

struct members_channel {
    struct htab_node node;
    struct list members; /* struct member.in_channel */
    uint32_t clients, users;
    uint8_t name_len;
    char name[];
};

struct members_user { /* of a channel */
    struct htab_node node;
    struct members_channel *channel; /* borrowed; lives as long as it has users */
    uint32_t clients;
    uint16_t name_len;
    char name[];
};

struct member {
    struct htab_node node;
    struct list in_channel, in_owner;
    struct members_channel *channel; /* borrowed */
    struct members_user *user;       /* shared (clients) */
    uint32_t mark;
    uint16_t fields_len;
    uint16_t client; /* where its client id stands in fields */
    uint8_t client_len;
    uint8_t owner;
    bool tell;
    bool owed;     /* its JOIN has not been told; engine_redis_presence.c */
    char fields[]; /* as they were set */
};
_Static_assert(ENGINE_OWNERS_MAX <= UINT8_MAX, "struct member has a byte for it");
_Static_assert(CLIENT_INFO_ID_MAX <= UINT8_MAX, "and one for this");

struct members {
    struct htab channels;                 /* those with members, by name */
    struct htab members;                  /* by channel and client */
    struct htab users;                    /* by channel and user */
    struct list owner[ENGINE_OWNERS_MAX]; /* its members; those with old marks in front */
    struct list cursors;                  /* those that are not ended */
};

void members_init(struct members *t);
void members_fini(struct members *t);
/* NULL: it has no members. */
struct members_channel *members_channel(struct members *t, struct str name);
/* NULL: there is none. */
struct member *members_find(struct members *t, struct str channel, struct str client);
/* As ask says, whose op is SET: a new one, or another one in its place, or the same. NULL: no memory, nothing
 * has changed. */
struct member *members_set(struct members *t, const struct engine_presence *ask) MUST_CHECK;
/* Frees it, and its channel if it was the last one there. */
void member_remove(struct members *t, struct member *m);
/* One of the owner's whose mark is another. NULL: none is left. */
struct member *members_old(struct members *t, uint32_t owner, uint32_t mark);
/* ask's op is LIST; show: fields of a member. */
void members_list(struct members *t, const struct engine_presence *ask,
                  void (*show)(void *arg, struct str fields), void *arg);

static inline struct str member_fields(const struct member *m)
{
    return (struct str){.p = m->fields, .n = m->fields_len};
}
static inline struct str member_client(const struct member *m)
{
    return (struct str){.p = m->fields + m->client, .n = m->client_len};
}
static inline struct str members_channel_name(const struct members_channel *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

#endif
