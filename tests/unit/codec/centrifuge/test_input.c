/* codec/centrifuge/input: frames of several commands, emulation requests. */
#include "cf_text.h"

#include "codec/centrifuge/input.c"

static void json_frames(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{}", "{}"},
        {"{}\n", "{}"},
        {"{\"id\":1}\n{\"id\":2}", "{\"id\":1} {\"id\":2}"},
        {"{\"id\":1}\n{\"id\":2}\n", "{\"id\":1} {\"id\":2}"},
        {"{\"id\":1}\r\n{\"id\":2}", "{\"id\":1} {\"id\":2}"},
        {"", "malformed"},
        {"\n", "malformed"},
        {"\n{}", "malformed"},
        {"{\"id\":1}\n\n", "{\"id\":1} malformed"},
        {"{\"id\":1}\n\n{\"id\":2}", "{\"id\":1} malformed"},
        {"{\"id\":1}\n{\"id\":2", "{\"id\":1} malformed"},
        {"{\"id\":1}\n{\"id\":\"2\"}\n{\"id\":3}", "{\"id\":1} malformed"},
        {"{\"id\":\n1}", "malformed"},
        {"{\"id\":1,\"publish\":{\"data\":[1,\n2]}}", "malformed"},
        {"{\"id\":1}{\"id\":2}", "malformed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_frame(CF_JSON, str_from(rows[i].in), rows[i].out);
    assert_frame(CF_JSON, STR_NULL, "malformed");
}

static void protobuf_frames(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } rows[] = {
        {{"\0", 1}, "{}"},
        {{"\0\0", 2}, "{} {}"},
        {{"\2\x08\1\2\x08\2", 6}, "{\"id\":1} {\"id\":2}"},
        {{"\x82\0\x08\1", 4}, "{\"id\":1}"}, /* longer than need be */
        {{"", 0}, "malformed"},
        {{"\1", 1}, "malformed"},
        {{"\2\x08\1\2\x08", 5}, "{\"id\":1} malformed"},
        {{"\2\x08\1\n", 4}, "{\"id\":1} malformed"},
        {{"\x80", 1}, "malformed"},
        {{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10}, "malformed"},
        {{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\x08\1", 12}, "malformed"},
        {{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0", 11}, "malformed"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_frame(CF_PROTOBUF, rows[i].in, rows[i].out);
}

/* What is written is what can be read: several replies of a frame. */
static void replies(void **state)
{
    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf frame = {0}, text = {0};
        struct cf_reply r = {.id = 1, .has_publish = true};
        struct cf_input in;

        assert_int_equal(cf_encode_reply(e, &r, &frame), 0);
        assert_int_equal(cf_join(e, &frame), 0);
        assert_int_equal(cf_encode_reply(e, &(struct cf_reply){0}, &frame), 0);
        assert_int_equal(cf_join(e, &frame), 0);
        r = (struct cf_reply){
            .has_push = true, .push.has_message = true, .push.message.data = STR_LIT("7")};
        assert_int_equal(cf_encode_reply(e, &r, &frame), 0);
        cf_input_init(&in, e, buf_view(&frame), &text);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        assert_true(r.id == 1 && r.has_publish && !r.has_push);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        assert_true(r.id == 0 && !r.has_publish && !r.has_push);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        assert_true(r.has_push && r.push.has_message);
        assert_str(r.push.message.data, "7");
        assert_int_equal(cf_next_reply(&in, &r), 0);
        buf_fini(&frame);
        buf_fini(&text);
    }
}

static void unwrapped_pushes(void **state)
{
    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf frame = {0}, text = {0};
        struct cf_push p = {.has_refresh = true, .refresh.ttl = 9};
        struct cf_input in;

        assert_int_equal(cf_encode_push(e, &p, &frame), 0);
        cf_input_init(&in, e, buf_view(&frame), &text);
        assert_int_equal(cf_next_push(&in, &p), 1);
        assert_true(p.has_refresh && p.refresh.ttl == 9 && !p.has_pub);
        assert_int_equal(cf_next_push(&in, &p), 0);
        buf_fini(&frame);
        buf_fini(&text);
    }
}

static void single_messages(void **state)
{
    struct buf text = {0};
    struct cf_connect_request c;

    (void)state;
    assert_int_equal(cf_decode_connect_request(
                         CF_JSON, STR_LIT("{\"token\":\"t\\n\",\"name\":\"js\"}"), &text, &c),
                     0);
    assert_str(c.token, "t\n");
    assert_str(c.name, "js");
    assert_null(c.subs.p);
    assert_int_equal(cf_decode_connect_request(CF_PROTOBUF, STR_LIT("\x0a\1t\x22\2js"), &text, &c),
                     0);
    assert_str(c.token, "t");
    assert_str(c.name, "js");
    assert_int_equal(cf_decode_connect_request(CF_JSON, STR_LIT("["), &text, &c), CF_MALFORMED);
    assert_int_equal(cf_decode_connect_request(CF_JSON, STR_LIT("{}\n"), &text, &c), 0);
    assert_int_equal(cf_decode_connect_request(CF_PROTOBUF, STR_LIT("\x0a"), &text, &c),
                     CF_MALFORMED);
    buf_fini(&text);
}

static void emulation(void **state)
{
    static const char json[] =
        "{\"session\":\"s\",\"node\":\"n\",\"data\":\"{\\\"id\\\":1}\\n{}\"}";
    static const char protobuf[] = "\x0a\1n\x12\1s\x1a\4\2\x08\1\0";
    struct buf text = {0};
    struct cf_emulation m;

    (void)state;
    assert_int_equal(cf_decode_emulation(CF_JSON, str_from(json), &text, &m), 0);
    assert_str(m.session, "s");
    assert_str(m.node, "n");
    assert_frame(CF_JSON, m.data, "{\"id\":1} {}");
    assert_int_equal(
        cf_decode_emulation(CF_PROTOBUF, (struct str){protobuf, sizeof(protobuf) - 1}, &text, &m),
        0);
    assert_str(m.session, "s");
    assert_str(m.node, "n");
    assert_frame(CF_PROTOBUF, m.data, "{\"id\":1} {}");
    assert_int_equal(cf_decode_emulation(CF_JSON, STR_LIT("{}"), &text, &m), 0);
    assert_true(m.session.n == 0 && m.node.n == 0 && m.data.n == 0);
    assert_int_equal(cf_decode_emulation(CF_JSON, STR_LIT("{\"data\":{}}"), &text, &m),
                     CF_MALFORMED);
    assert_int_equal(cf_decode_emulation(CF_JSON, STR_LIT("{}\n{}"), &text, &m), CF_MALFORMED);
    assert_int_equal(cf_decode_emulation(CF_JSON, STR_NULL, &text, &m), CF_MALFORMED);
    assert_int_equal(cf_decode_emulation(CF_PROTOBUF, STR_LIT("\x0a\2n"), &text, &m), CF_MALFORMED);
    buf_fini(&text);
}

/* The first request of the table's order counts, the others are ignored. */
static void first_request(void **state)
{
    static const struct {
        const char *in;
        enum cf_method method;
    } rows[] = {
        {"{}", CF_NONE},
        {"{\"id\":1,\"unsubscribe\":{},\"subscribe\":{}}", CF_SUBSCRIBE},
        {"{\"id\":1,\"sub_refresh\":{},\"refresh\":{}}", CF_REFRESH},
        {"{\"id\":1,\"sub_refresh\":{}}", CF_SUB_REFRESH},
        {"{\"id\":1,\"connect\":null,\"send\":{}}", CF_SEND},
        {"{\"id\":1,\"presence_stats\":{}}", CF_PRESENCE_STATS},
    };
    struct buf text = {0};
    struct cf_command c;
    struct cf_input in;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cf_input_init(&in, CF_JSON, str_from(rows[i].in), &text);
        assert_int_equal(cf_next_command(&in, &c), 1);
        assert_int_equal(cf_method_of(&c), rows[i].method);
    }
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_frames),     cmocka_unit_test(protobuf_frames),
        cmocka_unit_test(replies),         cmocka_unit_test(unwrapped_pushes),
        cmocka_unit_test(single_messages), cmocka_unit_test(emulation),
        cmocka_unit_test(first_request),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/input", tests, NULL, NULL);
}
