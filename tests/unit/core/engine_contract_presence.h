/* The engine contract, members of channels and control messages: engine_contract.h has the rest. */
#ifndef ROOST_TEST_ENGINE_CONTRACT_PRESENCE_H
#define ROOST_TEST_ENGINE_CONTRACT_PRESENCE_H

static void presence_call_completes(const struct engine_presence *ask)
{
    uint64_t token = next_call++;

    engine->ops->presence(engine, ask, token);
    completed(token, ENGINE_OK);
}

struct somebody {
    const char *channel, *client, *user, *info;
    uint32_t owner, mark;
    uint8_t flags;
};

#define WHO(channel_, client_, user_, info_)                                                       \
    .channel = channel_, .client = client_, .user = user_, .info = info_

static void presence_change(enum engine_presence_op op, struct somebody s)
{
    struct engine_presence ask = {.op = op, .owner = s.owner, .mark = s.mark};
    struct record r = {.name = str_from(s.channel), .flags = s.flags};
    const struct client_info info = {
        .user = str_from(s.user), .client = str_from(s.client), .conn_info = str_from(s.info)};
    struct buf value = {0}, fields = {0};
    struct str field;

    assert_int_equal(client_info_write(&value, &info), 0);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, buf_view(&value)), 0);
    r.fields = buf_view(&fields);
    assert_true(record_field(r.fields, FIELD_INFO, &field));
    assert_int_equal(client_info_read(field, &ask.who), 0);
    ask.r = &r;
    presence_call_completes(&ask);
    memset(fields.p, 'x', fields.len); /* it was borrowed for the call */
    buf_fini(&value);
    buf_fini(&fields);
}

static void come(struct somebody s)
{
    presence_change(PRESENCE_SET, s);
}

static void go(struct somebody s)
{
    presence_change(PRESENCE_CLEAR, s);
}

static void count_members(const char *channel, uint32_t clients, uint32_t users)
{
    nclients = nusers = UINT32_MAX;
    presence_call_completes(
        &(struct engine_presence){.op = PRESENCE_STATS, .channel = str_from(channel)});
    assert_int_equal(nclients, clients);
    assert_int_equal(nusers, users);
}

/* The next members behind the cursor, at most that many. */
static const char *list_members(struct engine_cursor *cursor, const char *channel, uint32_t limit)
{
    listed[0] = '\0';
    presence_call_completes(&(struct engine_presence){
        .op = PRESENCE_LIST, .channel = str_from(channel), .limit = limit, .cursor = cursor});
    return listed;
}

static bool has_presence(void)
{
    return engine->ops->capabilities & ENGINE_CAN_PRESENCE;
}

static void members_are_listed_and_counted(void **state)
{
    struct engine_cursor cursor = {0}, none = {0};

    (void)state;
    if (!has_presence())
        return;
    count_members("a", 0, 0);
    come((struct somebody){WHO("a", "c1", "ann", "1"), .mark = 1});
    come((struct somebody){WHO("a", "c2", "bob", "1"), .mark = 1});
    come((struct somebody){WHO("a", "c3", "ann", "1"), .mark = 1, .owner = 3});
    come((struct somebody){WHO("b", "c1", "", NULL), .mark = 1});
    count_members("a", 3, 2);
    count_members("b", 1, 1);
    assert_string_equal(list_members(&cursor, "a", 2), " c1  c2 ");
    assert_false(cursor.ended);
    list_members(&cursor, "a", 2);
    assert_string_equal(listed, " c3 ");
    assert_true(cursor.ended);
    assert_string_equal(list_members(&none, "nobody", 2), "");
    assert_true(none.ended);
    go((struct somebody){WHO("a", "c1", "ann", "1")});
    count_members("a", 2, 2);
    go((struct somebody){WHO("a", "c3", "ann", "1"), .owner = 3});
    go((struct somebody){WHO("a", "c3", "ann", "1"), .owner = 3}); /* known no more */
    count_members("a", 1, 1);
    go((struct somebody){WHO("a", "c2", "bob", "1"), .owner = 1}); /* not that one's */
    count_members("a", 1, 1);
    go((struct somebody){WHO("a", "c2", "bob", "1")});
    count_members("a", 0, 0);
    count_members("b", 1, 1);
    assert_string_equal(told, "");
}

/* One member for each client id, the last that was said of it. */
static void again_is_the_same_member(void **state)
{
    struct engine_cursor cursor = {0};

    (void)state;
    if (!has_presence())
        return;
    come((struct somebody){WHO("a", "c1", "ann", "1")});
    come((struct somebody){WHO("a", "c2", "bob", "1")});
    come((struct somebody){WHO("a", "c1", "ann", "1")});
    count_members("a", 2, 2);
    come((struct somebody){WHO("a", "c1", "bob", "22")});
    count_members("a", 2, 1);
    assert_string_equal(list_members(&cursor, "a", 10), " c1  c2 ");
}

static void who_comes_and_goes_is_told(void **state)
{
    (void)state;
    if (!has_presence())
        return;
    come((struct somebody){WHO("a", "c1", "ann", "1"), .flags = PRESENCE_TELL});
    come((struct somebody){WHO("a", "c2", "ann", "1"), .flags = PRESENCE_TELL | PRESENCE_AGAIN});
    come((struct somebody){WHO("a", "c3", "ann", "1")});
    assert_string_equal(told, "+c1 ");
    go((struct somebody){WHO("a", "c3", "ann", "1")});
    go((struct somebody){WHO("a", "c2", "ann", "1"), .flags = PRESENCE_TELL});
    /* A hub that was started again may not have heard of it yet. */
    go((struct somebody){WHO("a", "c9", "ann", "1"), .flags = PRESENCE_TELL});
    assert_string_equal(told, "+c1 -c2 -c9 ");
}

/* A cursor goes on whatever happens between its steps: everybody who is there all the time is
 * listed once. */
static void members_come_and_go_between_steps(void **state)
{
    struct engine_cursor cursor = {0}, given_up = {0};

    (void)state;
    if (!has_presence())
        return;
    for (char client[] = "c1"; client[1] <= '6'; client[1]++)
        come((struct somebody){WHO("a", client, "ann", "1")});
    assert_string_equal(list_members(&cursor, "a", 2), " c1  c2 ");
    assert_string_equal(list_members(&given_up, "a", 3), " c1  c2  c3 ");
    go((struct somebody){WHO("a", "c1", "ann", "1")});
    go((struct somebody){WHO("a", "c3", "ann", "1")}); /* the next one */
    go((struct somebody){WHO("a", "c4", "ann", "1")}); /* and the one behind it */
    come((struct somebody){WHO("a", "c5", "ann", "other")});
    assert_string_equal(list_members(&cursor, "a", 1), " c5 ");
    go((struct somebody){WHO("a", "c6", "ann", "1")});
    list_members(&given_up, "a", 0);
    assert_true(given_up.ended && listed[0] == '\0');
    list_members(&cursor, "a", 5);
    assert_true(cursor.ended && listed[0] == '\0');
    go((struct somebody){WHO("a", "c2", "ann", "1")});
    go((struct somebody){WHO("a", "c5", "ann", "1")});
    count_members("a", 0, 0);
}

/* FORGET: of one owner, what has another mark, a number at a time. */
static void an_owner_is_forgotten(void **state)
{
    struct engine_cursor cursor = {0};
    struct engine_presence ask = {
        .op = PRESENCE_FORGET, .owner = 2, .mark = 8, .limit = 2, .cursor = &cursor};

    (void)state;
    if (!has_presence())
        return;
    come((struct somebody){WHO("a", "c1", "ann", "1"), .owner = 2, .mark = 7,
                           .flags = PRESENCE_TELL});
    come((struct somebody){WHO("b", "c2", "ann", "1"), .owner = 2, .mark = 7});
    come((struct somebody){WHO("a", "c3", "ann", "1"), .owner = 2, .mark = 7,
                           .flags = PRESENCE_TELL});
    come((struct somebody){WHO("a", "c4", "ann", "1"), .owner = 1, .mark = 7,
                           .flags = PRESENCE_TELL});
    come((struct somebody){WHO("a", "c5", "bob", "1"), .owner = 2, .mark = 7,
                           .flags = PRESENCE_TELL});
    /* Said again, under the new mark. */
    come((struct somebody){WHO("a", "c1", "ann", "1"), .owner = 2, .mark = 8,
                           .flags = PRESENCE_TELL | PRESENCE_AGAIN});
    told[0] = '\0';
    presence_call_completes(&ask);
    assert_false(cursor.ended);
    count_members("b", 0, 0);
    count_members("a", 3, 2);
    presence_call_completes(&ask);
    assert_true(cursor.ended);
    count_members("a", 2, 1);
    assert_string_equal(told, "-c3 -c5 ");
    presence_call_completes(&ask);
    assert_true(cursor.ended);
    count_members("a", 2, 1);
}

static void a_control_is_heard_here(void **state)
{
    const struct record r = {.data = STR_LIT("x"), .source = 1, .position = 8};

    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_CONTROL_LOG))
        return;
    engine->ops->control(engine, STR_NULL, &r, true, 0);
    completed(0, ENGINE_OK);
    assert_int_equal(ncontrols, 1);
}

#define PRESENCE_TESTS                                                                             \
    CONTRACT_TEST(members_are_listed_and_counted), CONTRACT_TEST(again_is_the_same_member),        \
        CONTRACT_TEST(who_comes_and_goes_is_told),                                                 \
        CONTRACT_TEST(members_come_and_go_between_steps), CONTRACT_TEST(an_owner_is_forgotten),    \
        CONTRACT_TEST(a_control_is_heard_here)

#endif
