/* codec/centrifuge/protobuf_read: commands in Protobuf, right and wrong. */
#include "cf_text.h"

#include "codec/centrifuge/protobuf_read.c"

/* Bytes of a message: how a test's text becomes one. */
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* A command alone, with its length before it. */
static void assert_command(struct str message, const char *expected)
{
    struct buf frame = {0};

    assert_true(message.n < 0x80);
    assert_int_equal(buf_append_char(&frame, (char)message.n), 0);
    assert_int_equal(buf_append(&frame, message), 0);
    assert_frame(CF_PROTOBUF, buf_view(&frame), expected);
    buf_fini(&frame);
}

static void requests(void **state)
{
    (void)state;
    assert_command((struct str)BYTES("\x08\xff\xff\xff\xff\x0f\x5a\0"),
                   "{\"id\":4294967295,\"ping\":{}}");
    assert_command((struct str)BYTES("\x08\1\x22\x0a\x0a\1t\x12\2{}\x22\1n"),
                   "{\"id\":1,\"connect\":{\"token\":\"t\",\"data\":{},\"name\":\"n\"}}");
    assert_command(
        (struct str)BYTES("\x2a\x16\x0a\1c\x18\1\x32\1e\x38\3\x42\1"
                          "7\x48\1\x50\1\x58\1\x62\1f"),
        "{\"subscribe\":{\"channel\":\"c\",\"recover\":true,\"epoch\":\"e\",\"offset\":3,"
        "\"data\":7,\"positioned\":true,\"recoverable\":true,\"join_leave\":true,"
        "\"delta\":\"f\"}}");
    assert_command(
        (struct str)BYTES("\x52\x11\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\x42\2\x08\7\x48\1"),
        "{\"history\":{\"limit\":-1,\"since\":{\"offset\":7},\"reverse\":true}}");
    assert_command((struct str)BYTES("\x2a\3\x70\x80\1"), "{\"subscribe\":{\"flag\":128}}");
    assert_command((struct str)BYTES("\x7a\4\x0a\2\xc3\xa9"),
                   "{\"sub_refresh\":{\"channel\":\"\xc3\xa9\"}}");
}

/* Unknown fields of every kind are skipped, what comes twice counts as it came last, messages are
 * merged. */
static void tolerated(void **state)
{
    (void)state;
    assert_command(
        (struct str)BYTES("\x98\6\1\x9a\6\1x\x99\6\1\2\3\4\5\6\7\x08\x9d\6\1\2\3\4\x08\1"),
        "{\"id\":1}");
    assert_command((struct str)BYTES("\xfa\xff\xff\xff\x0f\1x\x08\1"),
                   "{\"id\":1}"); /* the largest number */
    assert_command((struct str)BYTES("\x08\1\x08\2"), "{\"id\":2}");
    assert_command((struct str)BYTES("\x08\1\x08\0"), "{}");
    assert_command((struct str)BYTES("\x6a\3\x12\1a\x6a\3\x0a\1"
                                     "7"),
                   "{\"rpc\":{\"data\":7,\"method\":\"a\"}}");
    assert_command((struct str)BYTES("\x88\x80\0\1"), "{\"id\":1}"); /* a tag longer than need be */
    assert_command((struct str)BYTES("\x2a\2\x18\x7f"), "{\"subscribe\":{\"recover\":true}}");
    assert_command((struct str)BYTES(""), "{}");
}

static void malformed(void **state)
{
    static const struct str rows[] = {
        BYTES("\x08"),                                           /* nothing behind a tag */
        BYTES("\x08\x80"),                                       /* a varint without an end */
        BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0"), /* of more than 10 bytes */
        BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\2"),     /* of more than 64 bits */
        BYTES("\x08\x80\x80\x80\x80\x10"),                       /* id above 2^32-1 */
        BYTES("\x0a\1x"),
        BYTES("\x09\1\2\3\4\5\6\7\x08"),
        BYTES("\x0d\1\2\3\4"), /* id, wrong type */
        BYTES("\x20\1"),
        BYTES("\x25\1\2\3\4"), /* connect as a number */
        BYTES("\x22\5\x0a\1t"),
        BYTES("\x22\1\x0a"),
        BYTES("\x22"), /* lengths beyond the end */
        BYTES("\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
        BYTES("\x22\2\x08\1"),                     /* token as a number */
        BYTES("\x22\3\x0a\1\xff"),                 /* a token that is not UTF-8 */
        BYTES("\x22\3\x0a\1\xc3"),                 /* cut in the midst of a character */
        BYTES("\x2a\2\x1a\0"),                     /* recover as bytes */
        BYTES("\x2a\7\x78\x80\x80\x80\x80\x08\0"), /* type above 2^31-1 */
        BYTES("\x2a\2\x68\1"),                     /* tf as a number */
        BYTES("\x22\2\x18\1"),                     /* subs as a number */
        BYTES("\x22\4\x1a\2\x08\1"),               /* key of an entry as a number */
        BYTES("\x22\5\x1a\3\x0a\1\xff"),           /* that is not UTF-8 */
        BYTES("\x22\6\x1a\4\x12\2\x0a\1"),         /* value cut short */
        BYTES("\x22\6\x1a\4\x12\2\x38\x80"),
        BYTES("\x22\4\x1a\2\x10\1"),     /* value as a number */
        BYTES("\x22\5\x32\3\x12\1\xff"), /* a header that is not UTF-8 */
        BYTES("\x0b\x0c"),
        BYTES("\x9b\6\x9c\6"),
        BYTES("\x0c"), /* groups */
        BYTES("\x0e\1"),
        BYTES("\x0f\1"), /* wire types that there are not */
        BYTES("\0\1"),
        BYTES("\2\0"),                   /* field 0 */
        BYTES("\xf8\xff\xff\xff\x1f\1"), /* a number of more than 29 bits */
        BYTES("\x99\6\1\2\3\4\5\6\7"),
        BYTES("\x9d\6\1\2\3"),
        BYTES("\x9a\6\2x"),
        BYTES("\x98\6\x80"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_command(rows[i], "malformed");
}

/* A message cut anywhere but between two fields is malformed. */
static void cut_short(void **state)
{
    static const char text[] =
        "\x08\1\x22\x17\x0a\1t\x1a\x0a\x0a\1c\x12\5\x18\1\x32\1e\x32\6\x0a\1h\x12\1v";

    (void)state;
    assert_frame(CF_PROTOBUF, (struct str){"\2\x08\1", 3}, "{\"id\":1}");
    for (size_t n = 3; n < sizeof(text) - 1; n++) {
        struct cf_command c;
        char *copy = exact_copy((struct str){text, n});

        assert_int_equal(cf_protobuf_read(CF_MESSAGE_command, (struct str){copy, n}, &c),
                         CF_MALFORMED);
        free(copy);
    }
}

/* A map's entries may stand anywhere, its key or value may be missing or come twice. */
static void maps(void **state)
{
    static const char text[] = "\x22\x2c"
                               "\x1a\x0a\x0a\1a\x12\5\x18\1\x32\1e"
                               "\x0a\1t"
                               "\x32\6\x0a\1h\x12\1v"
                               "\x1a\2\x12\0"
                               "\x1a\3\x0a\1b"
                               "\x1a\x0a\x12\2\x38\1\x12\2\x18\1\x18\1";
    struct buf text_room = {0};
    struct cf_command c;
    struct cf_subscribe_request r;
    struct str rest, key, value;

    (void)state;
    assert_int_equal(cf_protobuf_read(CF_MESSAGE_command, (struct str)BYTES(text), &c), 0);
    rest = c.connect.subs;
    assert_int_equal(cf_each_connect_request_subs(CF_PROTOBUF, &rest, &text_room, &key, &r), 1);
    assert_str(key, "a");
    assert_true(r.recover && str_equal(r.epoch, STR_LIT("e")));
    assert_int_equal(cf_each_connect_request_subs(CF_PROTOBUF, &rest, &text_room, &key, &r), 1);
    assert_str(key, "");
    assert_true(!r.recover && r.epoch.n == 0);
    assert_int_equal(cf_each_connect_request_subs(CF_PROTOBUF, &rest, &text_room, &key, &r), 1);
    assert_str(key, "b");
    assert_int_equal(cf_each_connect_request_subs(CF_PROTOBUF, &rest, &text_room, &key, &r), 1);
    assert_true(r.recover && r.offset == 1);
    assert_int_equal(cf_each_connect_request_subs(CF_PROTOBUF, &rest, &text_room, &key, &r), 0);
    rest = c.connect.headers;
    assert_int_equal(cf_each_connect_request_headers(CF_PROTOBUF, &rest, &text_room, &key, &value),
                     1);
    assert_str(key, "h");
    assert_str(value, "v");
    assert_int_equal(cf_each_connect_request_headers(CF_PROTOBUF, &rest, &text_room, &key, &value),
                     0);
    buf_fini(&text_room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),  cmocka_unit_test(tolerated), cmocka_unit_test(malformed),
        cmocka_unit_test(cut_short), cmocka_unit_test(maps),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/protobuf_read", tests, NULL, NULL);
}
