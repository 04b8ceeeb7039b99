/* The variants of a batch for Centrifuge clients, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fault.h"
#include "proto/centrifuge/encode.c"

#include "codec/fossil.h"

#define EPOCH 12345

static struct batch *batch;

static void add(uint64_t offset, const char *data, uint8_t flags, struct str fields)
{
    const struct record r = {.kind = RECORD_PUBLICATION,
                             .flags = flags,
                             .epoch = EPOCH,
                             .offset = offset,
                             .data = str_from(data),
                             .fields = fields};

    assert_int_equal(batch_append(batch, &r), 0);
}

static int setup(void **state UNUSED)
{
    encode_register();
    batch = batch_new(STR_LIT("news"));
    assert_non_null(batch);
    return 0;
}

static int teardown(void **state UNUSED)
{
    fault_reset();
    batch_free(batch);
    return 0;
}

/* The whole variant, in steps of that many bytes. */
static struct str encoded(unsigned variant, size_t step)
{
    const struct blob *b;

    for (size_t budget = step; !batch_encode(batch, variant, &budget); budget = step)
        continue;
    b = batch_variant(batch, variant);
    assert_non_null(b);
    return (struct str){b->data, b->len};
}

static struct str item(unsigned variant, uint32_t i)
{
    struct str all = encoded(variant, SIZE_MAX);
    uint32_t start, end;

    batch_encoded_range(batch, variant, i, &start, &end);
    return (struct str){all.p + start, end - start};
}

/* Item i is one text frame of less than 64 KiB with this in it. */
static void expect_text(unsigned variant, uint32_t i, const char *want)
{
    struct str got = item(variant, i);
    size_t n = strlen(want), head = n < 126 ? 2 : 4;

    assert_int_equal((unsigned char)got.p[0], 0x81);
    assert_int_equal(got.n, head + n);
    assert_memory_equal(got.p + head, want, n);
}

static void json(void **state)
{
    struct buf fields = {0}, info = {0}, tags = {0};
    const struct client_info who = {.user = STR_LIT("42"),
                                    .client = STR_LIT("c"),
                                    .conn_info = STR_LIT("{\"n\":1}"),
                                    .chan_info = STR_LIT("[ ]")};

    (void)state;
    assert_int_equal(client_info_write(&info, &who), 0);
    assert_int_equal(tags_add(&tags, STR_LIT("a"), STR_LIT("b\"")), 0);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, buf_view(&info)), 0);
    assert_int_equal(record_add_field(&fields, FIELD_TAGS, buf_view(&tags)), 0);
    add(1, "{\"x\": 1.0}", RECORD_JSON | RECORD_IN_STREAM, buf_view(&fields));
    add(2, "7", RECORD_JSON | RECORD_IN_STREAM, STR_NULL);
    add(2, "7", 0, STR_NULL);
    add(2, "[1]", 0, STR_NULL);
    add(2, "\xff\x00", RECORD_BINARY, STR_NULL);
    add(2, "", 0, STR_NULL);
    batch_seal(batch);
    {
        char want[400] = "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":{\"x\": 1.0},\"info\":{"
                         "\"user\":\"42\",\"client\":\"c\",\"conn_info\":{\"n\":1},\"chan_info\":[ "
                         "]},\"offset\":1,\"tags\":{\"a\":\"b\\\"\"},\"epoch\":\"";
        size_t n = strlen(want);

        epoch_write(EPOCH, want + n);
        memcpy(want + n + EPOCH_TEXT, "\"}}}", 5);
        expect_text(BATCH_CF_JSON, 0, want);
    }
    expect_text(BATCH_CF_JSON, 1,
                "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":7,\"offset\":2}}}");
    expect_text(BATCH_CF_JSON, 2, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"7\"}}}");
    expect_text(BATCH_CF_JSON, 3, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":[1]}}}");
    expect_text(BATCH_CF_JSON, 4, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"/w==\"}}}");
    expect_text(BATCH_CF_JSON, 5, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"\"}}}");
    expect_text(BATCH_CF_JSON_STRING, 1,
                "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"7\",\"offset\":2}}}");
    expect_text(BATCH_CF_JSON_STRING, 2,
                "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"\\\"7\\\"\"}}}");
    expect_text(BATCH_CF_JSON_STRING, 4,
                "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"\\\"/w==\\\"\"}}}");
    buf_fini(&fields);
    buf_fini(&info);
    buf_fini(&tags);
}

static void protobuf_in_binary_frames(void **state)
{
    (void)state;
    add(3, "abc", RECORD_IN_STREAM, STR_NULL);
    batch_seal(batch);
    {
        /* length; reply.push; push.channel, .pub; publication.offset, .data */
        static const char want[] = "\x82\x12\x11\x22\x0f\x12\x04news\x22\x07\x30\x03\x22\x03"
                                   "abc";
        struct str got = encoded(BATCH_CF_PROTOBUF, SIZE_MAX);

        assert_int_equal(got.n, sizeof(want) - 1);
        assert_memory_equal(got.p, want, got.n);
    }
}

static void what_is_long_is_made_in_pieces(void **state)
{
    static char text[100001];
    struct str whole, got;
    char *copy;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    for (size_t i = 0; i < sizeof(text) - 8; i += 7)
        memcpy(text + i, "\"\xc3\xa9", 3);
    add(1, text, 0, STR_NULL);
    batch_seal(batch);
    whole = encoded(BATCH_CF_JSON, SIZE_MAX);
    copy = malloc(whole.n);
    assert_non_null(copy);
    memcpy(copy, whole.p, whole.n);
    batch_free(batch);
    batch = batch_new(STR_LIT("news"));
    add(1, text, 0, STR_NULL);
    batch_seal(batch);
    got = encoded(BATCH_CF_JSON, 1);
    assert_int_equal(got.n, whole.n);
    assert_memory_equal(got.p, copy, got.n);
    free(copy);
}

#define SAME                                                                                       \
    "what stays the same in all of these publications, whatever happens to the rest of them, "

static void differences(void **state)
{
    const uint8_t flags = RECORD_JSON | RECORD_DELTA | RECORD_IN_STREAM;
    struct str got;

    (void)state;
    add(2, "{\"a\":\"" SAME "1\"}", flags, STR_NULL);
    add(3, "{\"a\":\"" SAME "2\"}", flags, STR_NULL);
    add(4, "{\"a\":\"" SAME "3\"}", RECORD_JSON | RECORD_IN_STREAM, STR_NULL);
    add(5, "7", flags, STR_NULL);
    batch->previous = blob_from(STR_LIT("{\"a\":\"" SAME "0\"}"));
    batch_seal(batch);
    got = item(BATCH_CF_JSON_DELTA, 0);
    assert_true(got.n < item(BATCH_CF_JSON_STRING, 0).n);
    assert_non_null(memmem(got.p, got.n, "\"delta\":true", 12));
    expect_text(BATCH_CF_JSON_FIRST, 0,
                "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"{\\\"a\\\":\\\"" SAME
                "1\\\"}\",\"offset\":2}}}");
    for (unsigned v = BATCH_CF_JSON_DELTA; v <= BATCH_CF_JSON_FIRST;
         v += BATCH_CF_JSON_FIRST - BATCH_CF_JSON_DELTA) {
        got = item(v, 1);
        assert_non_null(memmem(got.p, got.n, "\"delta\":true", 12));
        got = item(v, 2); /* its publisher did not ask for one */
        assert_null(memmem(got.p, got.n, "\"delta\"", 7));
        expect_text(v, 3,
                    "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":\"7\",\"offset\":5}}}");
    }
    got = item(BATCH_CF_PROTOBUF_DELTA, 1);
    assert_non_null(memmem(got.p, got.n, "\x40\x01", 2)); /* publication.delta */
    got = item(BATCH_CF_PROTOBUF_FIRST, 0);
    assert_null(memmem(got.p, got.n, "\x40\x01", 2));
    assert_null(
        memmem(item(BATCH_CF_JSON_STRING, 1).p, item(BATCH_CF_JSON_STRING, 1).n, "\"delta\"", 7));
}

static void joins_and_leaves(void **state)
{
    struct buf fields = {0}, info = {0};
    const struct client_info who = {.user = STR_LIT(""), .client = STR_LIT("c")};
    struct record r = {.kind = RECORD_JOIN, .epoch = EPOCH};

    (void)state;
    assert_int_equal(client_info_write(&info, &who), 0);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, buf_view(&info)), 0);
    r.fields = buf_view(&fields);
    assert_int_equal(batch_append(batch, &r), 0);
    batch_seal(batch);
    assert_int_equal(batch->class, BATCH_JOINS);
    expect_text(
        BATCH_CF_JSON, 0,
        "{\"push\":{\"channel\":\"news\",\"join\":{\"info\":{\"user\":\"\",\"client\":\"c\"}}}}");
    batch_free(batch);
    batch = batch_new(STR_LIT("news"));
    r.kind = RECORD_LEAVE;
    assert_int_equal(batch_append(batch, &r), 0);
    batch_seal(batch);
    expect_text(
        BATCH_CF_JSON_DELTA, 0,
        "{\"push\":{\"channel\":\"news\",\"leave\":{\"info\":{\"user\":\"\",\"client\":\"c\"}}}}");
    buf_fini(&fields);
    buf_fini(&info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json, setup, teardown),
        cmocka_unit_test_setup_teardown(protobuf_in_binary_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_long_is_made_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(differences, setup, teardown),
        cmocka_unit_test_setup_teardown(joins_and_leaves, setup, teardown),
    };

    return cmocka_run_group_tests_name("proto/centrifuge/encode", tests, NULL, NULL);
}
