/* codec/centrifuge/output: publications around their payload. */
#include "cf_text.h"

#include "codec/centrifuge/output.c"
#include "codec/json.h"
#include "tests/lib/fault.h"

static const struct cf_push shapes[] = {
    {.channel = STR_LIT("c"), .has_pub = true},
    {.channel = STR_LIT("c"), .has_pub = true, .pub = {.offset = 300, .delta = true}},
    {.has_pub = true, .pub = {.key = STR_LIT("k")}},
    {.id = 7,
     .channel = STR_LIT("\"\n"),
     .has_pub = true,
     .pub = {.has_info = true,
             .info = {.user = STR_LIT("u"), .conn_info = STR_LIT("{}")},
             .offset = 1,
             .epoch = STR_LIT("e")}},
};

/* The only push of a frame, read and written in one go. */
static void rewrite(struct cf_around a, const struct buf *frame, struct buf *out)
{
    struct buf text = {0};
    struct cf_input in;
    struct cf_reply r = {.has_push = true};

    cf_input_init(&in, a.encoding, buf_view(frame), &text);
    assert_int_equal(a.wrapped ? cf_next_reply(&in, &r) : cf_next_push(&in, &r.push), 1);
    assert_null(in.rest.p);
    if (a.wrapped)
        assert_int_equal(cf_encode_reply(a.encoding, &r, out), 0);
    else
        assert_int_equal(cf_encode_push(a.encoding, &r.push, out), 0);
    buf_fini(&text);
}

/* Head, payload and tail are what the push is when it is written in one go, in Protobuf but for the
 * order of its fields. */
static void around_payload(void **state)
{
    static const char payload[] = "{\"x\":[1,2,3]}";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        for (unsigned v = 0; v < 4; v++) {
            struct cf_around a = {.encoding = v & 1 ? CF_PROTOBUF : CF_JSON, .wrapped = v & 2};
            struct cf_push p = shapes[i];
            struct cf_reply r = {.has_push = true};
            struct buf out = {0}, whole = {0}, same = {0};

            p.pub.data = (struct str){NULL, sizeof(payload) - 1};
            assert_int_equal(cf_push_head(a, &p, &out), 0);
            assert_int_equal(cf_append_raw(a.encoding, (struct str){payload, 5}, &out), 0);
            assert_int_equal(cf_append_raw(a.encoding, str_from(payload + 5), &out), 0);
            assert_int_equal(cf_push_tail(a, &p, &out), 0);
            p.pub.data.p = payload;
            r.push = p;
            if (a.wrapped)
                assert_int_equal(cf_encode_reply(a.encoding, &r, &whole), 0);
            else
                assert_int_equal(cf_encode_push(a.encoding, &p, &whole), 0);
            assert_int_equal(out.len, whole.len);
            rewrite(a, &out, &same);
            assert_true(str_equal(buf_view(&same), buf_view(&whole)));
            if (a.encoding == CF_JSON)
                assert_true(str_equal(buf_view(&out), buf_view(&whole)));
            buf_fini(&out);
            buf_fini(&whole);
            buf_fini(&same);
        }
    }
}

static void quoted_payload(void **state)
{
    struct cf_around a = {.encoding = CF_JSON, .wrapped = true, .quoted = true};
    struct cf_push p = shapes[1];
    struct buf out = {0};

    (void)state;
    p.pub.data.n = 3;
    assert_int_equal(cf_push_head(a, &p, &out), 0);
    assert_text(&out, "{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":\"");
    assert_int_equal(json_append_text(&out, STR_LIT("a\"b")), 0);
    assert_int_equal(cf_push_tail(a, &p, &out), 0);
    assert_text(&out, "{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":\"a\\\"b\",\"offset\":300,"
                      "\"delta\":true}}}");
    buf_fini(&out);
}

/* An empty payload is there, too. */
static void empty_payload(void **state)
{
    struct buf out = {0}, text = {0};
    struct cf_input in;
    struct cf_reply r;

    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct cf_around a = {.encoding = e, .wrapped = true, .quoted = true};

        buf_clear(&out);
        assert_int_equal(cf_push_head(a, &shapes[1], &out), 0);
        assert_int_equal(cf_push_tail(a, &shapes[1], &out), 0);
        cf_input_init(&in, e, buf_view(&out), &text);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        assert_true(r.push.pub.data.p != NULL && r.push.pub.offset == 300);
        assert_int_equal(cf_next_reply(&in, &r), 0);
    }
    buf_fini(&out);
    buf_fini(&text);
}

static void raw_pieces(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(cf_append_raw(CF_JSON, STR_LIT("{\r\n"), &out), 0);
    assert_int_equal(cf_append_raw(CF_JSON, STR_LIT("\n"), &out), 0);
    assert_int_equal(cf_append_raw(CF_JSON, STR_LIT(" }"), &out), 0);
    assert_int_equal(cf_append_raw(CF_JSON, STR_NULL, &out), 0);
    assert_text(&out, "{ }");
    buf_clear(&out);
    assert_int_equal(cf_append_raw(CF_PROTOBUF, STR_LIT("\r\n"), &out), 0);
    assert_text(&out, "\r\n");
    buf_fini(&out);
}

static void memory(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 4; v++) {
        struct cf_around a = {.encoding = v & 1 ? CF_PROTOBUF : CF_JSON, .wrapped = v & 2};

        for (unsigned long k = 1; k < 4; k++) {
            struct buf out = {0};

            fault_fail_at(k);
            if (cf_push_head(a, &shapes[3], &out) == -1)
                assert_int_equal(out.len, 0);
            if (cf_push_tail(a, &shapes[3], &out) == -1)
                assert_int_equal(cf_push_tail(a, &shapes[3], &out), 0);
            fault_reset();
            buf_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(around_payload), cmocka_unit_test(quoted_payload),
        cmocka_unit_test(empty_payload),  cmocka_unit_test(raw_pieces),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/output", tests, NULL, NULL);
}
