/* Members of channels, as fake workers announce them to a hub. */
#ifndef ROOST_TEST_HUB_MEMBERS_H
#define ROOST_TEST_HUB_MEMBERS_H

#include "core/client_info.h"

#define HUB_TEST(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)

static struct buf member_fields; /* of who is spoken of */

static inline void fields_of(const char *client, const char *user)
{
    const struct client_info info = {.client = str_from(client), .user = str_from(user)};
    struct buf value = {0};

    buf_clear(&member_fields);
    assert_int_equal(client_info_write(&value, &info), 0);
    assert_int_equal(record_add_field(&member_fields, FIELD_INFO, buf_view(&value)), 0);
    buf_fini(&value);
}

static inline uint64_t member_record(unsigned worker, enum record_kind kind, const char *channel,
                                     uint8_t flags, uint32_t round)
{
    return from(worker, (struct record){.kind = (uint8_t)kind,
                                        .name = name_of(channel),
                                        .flags = flags,
                                        .count = round,
                                        .fields = buf_view(&member_fields)});
}

/* With what fields_of() has made. */
static inline void come_prepared(unsigned worker, const char *channel, uint8_t flags)
{
    member_record(worker, RECORD_PRESENCE_ADD, channel, flags, 0);
}

static inline uint64_t come_in_round(unsigned worker, const char *channel, const char *client,
                                     const char *user, uint8_t flags, uint32_t round)
{
    fields_of(client, user);
    return member_record(worker, RECORD_PRESENCE_ADD, channel, flags, round);
}

static inline uint64_t come(unsigned worker, const char *channel, const char *client,
                            const char *user, uint8_t flags)
{
    return come_in_round(worker, channel, client, user, flags, 0);
}

static inline void go(unsigned worker, const char *channel, const char *client, const char *user,
                      uint8_t flags)
{
    fields_of(client, user);
    member_record(worker, RECORD_PRESENCE_REMOVE, channel, flags, 0);
}

static inline void skip_sent(void)
{
    for (unsigned i = 0; i < FAKES; i++)
        fakes[i].seen = fakes[i].n;
}

/* The record is about that client. */
static inline void assert_client(const struct record *r, const char *client)
{
    struct client_info info;
    struct str field;

    assert_true(record_field(r->fields, FIELD_INFO, &field));
    assert_int_equal(client_info_read(field, &info), 0);
    if (!str_equal(info.client, str_from(client)))
        fail_msg("%.*s, not %s", STR_ARG(info.client), client);
}

/* What the hub answers a worker that asks how many there are. */
static inline void assert_count(unsigned worker, const char *channel, uint32_t clients,
                                uint32_t users)
{
    uint64_t position =
        from(worker,
             (struct record){
                 .kind = RECORD_PRESENCE_STATS, .name = name_of(channel), .asker = 3, .token = 88});
    const struct record *r = next_sent(worker, RECORD_MEMBER_COUNT);

    assert_true(r->asker == 3 && r->token == 88 && r->position == position);
    assert_int_equal(r->status, ENGINE_OK);
    assert_int_equal(r->count, clients);
    assert_int_equal(r->offset, users);
}

#endif
