/* The query form's messages: written for subscribers, read from publishers. */
#include "proto/plain/plain_envelope.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

/* In pieces of max bytes of payload. */
static int encode_by(const char *channel, struct str payload, uint8_t flags, size_t max,
                     struct buf *out)
{
    struct batch *b = batch_new(str_from(channel));
    struct record r = {.flags = flags, .data = payload};
    struct batch_part part = {.start = out->len};
    size_t start = out->len;
    int rc;

    if (b == NULL)
        return -1;
    rc = batch_append(b, &r);
    while (rc == 0) {
        struct batch_part tried = part;
        size_t before = out->len;

        rc = plain_envelope_encode(b, 0, &tried, max, out);
        assert_true(rc == -1 || tried.done - part.done <= max);
        if (rc == 0)
            break;
        if (rc == -1) {
            assert_true(out->len >= before); /* what it left is of no account */
            out->len = start;
        } else {
            assert_true(tried.done > part.done);
            part = tried;
            rc = 0;
        }
    }
    batch_free(b);
    return rc;
}

static int encode(const char *channel, const void *data, size_t n, uint8_t flags, struct buf *out)
{
    return encode_by(channel, (struct str){.p = data, .n = n}, flags, SIZE_MAX, out);
}

static void assert_text(const char *data, uint8_t flags, const char *want)
{
    struct buf out = {0};

    assert_int_equal(buf_append_lit(&out, "before"), 0);
    assert_int_equal(encode("a", data, strlen(data), flags, &out), 0);
    assert_int_equal(out.len, 6 + strlen(want));
    assert_memory_equal(out.p, "before", 6);
    assert_memory_equal(out.p + 6, want, strlen(want));
    buf_fini(&out);
}

static void text_is_wrapped(void **state UNUSED)
{
    assert_text("hi", 0, "{\"channel\":\"a\",\"data\":\"hi\"}");
    assert_text("", 0, "{\"channel\":\"a\",\"data\":\"\"}");
    assert_text("say \"x\"\n", 0, "{\"channel\":\"a\",\"data\":\"say \\\"x\\\"\\n\"}");
    assert_text("{\"v\": 1}", 0, "{\"channel\":\"a\",\"data\":{\"v\": 1}}");
    assert_text(" [1,2] ", 0, "{\"channel\":\"a\",\"data\": [1,2] }");
    assert_text("{\"v\":", 0, "{\"channel\":\"a\",\"data\":\"{\\\"v\\\":\"}");
    assert_text("[1] [2]", 0, "{\"channel\":\"a\",\"data\":\"[1] [2]\"}");
    /* By itself a number is a text like any other; the API's word is taken for it. */
    assert_text("5", 0, "{\"channel\":\"a\",\"data\":\"5\"}");
    assert_text("5", RECORD_JSON, "{\"channel\":\"a\",\"data\":5}");
    assert_text("\"s\"", RECORD_JSON, "{\"channel\":\"a\",\"data\":\"s\"}");
}

static void binary_is_prefixed(void **state UNUSED)
{
    struct buf out = {0};

    assert_int_equal(encode("abc", "\0\xff", 2, RECORD_BINARY, &out), 0);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.p,
                        "\x03"
                        "abc\0\xff",
                        6);
    buf_clear(&out);
    assert_int_equal(encode("abc", "", 0, RECORD_BINARY, &out), 0);
    assert_memory_equal(out.p,
                        "\x03"
                        "abc",
                        4);
    buf_fini(&out);
}

static void no_memory_leaves_what_was_there(void **state UNUSED)
{
    static char data[5000];
    int failed = 0;

    memset(data, '"', sizeof(data));
    for (unsigned k = 1; k < 12; k++) {
        struct buf out = {0};

        assert_int_equal(buf_append_lit(&out, "before"), 0);
        fault_fail_at(k);
        if (encode("a", data, sizeof(data), 0, &out) == -1) {
            failed++;
            assert_int_equal(out.len, 6);
        }
        fault_reset();
        buf_fini(&out);
    }
    assert_true(failed > 0);
}

static void pieces_make_the_same(void **state UNUSED)
{
    static const struct {
        const char *text;
        uint8_t flags;
    } rows[] = {
        {"", 0},
        {"", RECORD_BINARY},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\" and so on", 0},
        {"{\"v\": [1, 2, \"\xc3\xa9\"]}", 0},
        {"{\"v\": [1, 2, \"\xc3\xa9\"]", 0},
        {"\"text\"", RECORD_JSON},
        {"\xff\xfe of any kind", RECORD_BINARY},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf whole = {0};
        struct str text = str_from(rows[i].text);

        assert_int_equal(encode("a", text.p, text.n, rows[i].flags, &whole), 0);
        for (size_t max = 4; max <= text.n + 1; max++) {
            struct buf out = {0};

            assert_int_equal(encode_by("a", text, rows[i].flags, max, &out), 0);
            assert_true(str_equal(buf_view(&out), buf_view(&whole)));
            buf_fini(&out);
        }
        buf_fini(&whole);
    }
}

static int read_text(const char *text, struct plain_message *m, struct buf *room)
{
    buf_clear(room);
    return plain_envelope_read(false, str_from(text), room, m);
}

static void text_is_read_back(void **state UNUSED)
{
    static const struct {
        const char *text, *channel, *data;
        uint8_t flags;
    } good[] = {
        {"{\"channel\":\"\",\"data\":\"\"}", "", "", 0}, /* room has no memory yet */
        {"{\"channel\":\"a\",\"data\":\"x\\n\\u00e4\"}", "a", "x\n\xc3\xa4", 0},
        {"{\"data\":{\"v\" : 1},\"channel\":\"\\u0061\"}", "a", "{\"v\" : 1}", RECORD_JSON},
        {" {\"channel\":\"a\",\"data\":[]} ", "a", "[]", RECORD_JSON},
        {"{\"channel\":\"a\",\"data\":5}", "a", "5", RECORD_JSON},
        {"{\"channel\":\"a\",\"data\":null,\"id\":7}", "a", "null", RECORD_JSON},
        {"{\"channel\":\"a\",\"data\":\"\"}", "a", "", 0},
    };
    struct plain_message m;
    struct buf room = {0};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(read_text(good[i].text, &m, &room), 0);
        assert_true(str_equal(m.channel, str_from(good[i].channel)));
        assert_true(str_equal(m.data, str_from(good[i].data)));
        assert_int_equal(m.flags, good[i].flags);
    }
    buf_fini(&room);
}

static void what_is_no_message(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "hello",
        "{}",
        "[]",
        "\"a\"",
        "{\"channel\":\"a\"}",
        "{\"data\":1}",
        "{\"channel\":1,\"data\":1}",
        "{\"channel\":null,\"data\":1}",
        "{\"channel\":\"a\",\"data\":1",
        "{\"channel\":\"a\",\"data\":1}}",
        "{\"channel\":\"a\",\"data\":01}",
        "{\"channel\":\"\\ud800\",\"data\":1}",
        "{\"channel\":\"a\",\"data\":\"\\udc00\"}",
        "{'channel':'a','data':1}",
        "{\"channel\":\"a\",\"data\":1,\"channel\":\"a\"}",
        "{\"channel\":\"a\",\"data\":1,\"d\\u0061ta\":1}",
    };
    struct plain_message m;
    struct buf room = {0};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (read_text(bad[i], &m, &room) != -1)
            fail_msg("read: %s", bad[i]);
    buf_fini(&room);
}

static void binary_is_read_back(void **state UNUSED)
{
    struct plain_message m;
    struct buf room = {0};

    assert_int_equal(plain_envelope_read(true,
                                         (struct str){"\x01"
                                                      "a\0b",
                                                      4},
                                         &room, &m),
                     0);
    assert_true(str_equal(m.channel, STR_LIT("a")));
    assert_true(str_equal(m.data, (struct str){"\0b", 2}));
    assert_int_equal(m.flags, RECORD_BINARY);
    assert_int_equal(plain_envelope_read(true, (struct str){"\x01z", 2}, &room, &m), 0);
    assert_int_equal(m.data.n, 0);
    assert_int_equal(plain_envelope_read(true, STR_LIT(""), &room, &m), -1);
    assert_int_equal(plain_envelope_read(true, STR_LIT("\x02z"), &room, &m), -1);
    assert_int_equal(plain_envelope_read(true, STR_LIT("\xff"), &room, &m), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_wrapped),
        cmocka_unit_test(binary_is_prefixed),
        cmocka_unit_test(no_memory_leaves_what_was_there),
        cmocka_unit_test(text_is_read_back),
        cmocka_unit_test(what_is_no_message),
        cmocka_unit_test(binary_is_read_back),
        cmocka_unit_test(pieces_make_the_same),
    };

    return cmocka_run_group_tests_name("proto/plain/plain_envelope", tests, NULL, NULL);
}
