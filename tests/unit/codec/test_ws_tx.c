/* tests/unit/codec/test_ws_tx.c - frame headers, masking, close payloads, the accept key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define EVP_MD_CTX_new test_digest_new
#include "codec/ws_tx.c"
#undef EVP_MD_CTX_new
#include "fault.h"

/* OpenSSL allocates behind the linker's back: its failure is made here. */
EVP_MD_CTX *real_digest_new(void) __asm__("EVP_MD_CTX_new");

static bool no_digest;

EVP_MD_CTX *test_digest_new(void)
{
    return no_digest ? NULL : real_digest_new();
}

/* --- §5.2 Base framing protocol --- */

static void expect_header(enum ws_opcode op, uint64_t len, const void *want, size_t n)
{
    uint8_t out[WS_HEADER_MAX];

    memset(out, 0xaa, sizeof(out));
    assert_int_equal(ws_tx_header(op, len, out), n);
    assert_memory_equal(out, want, n);
    for (size_t i = n; i < sizeof(out); i++)
        assert_int_equal(out[i], 0xaa);
}

static void s5_2_header_of_every_length(void **state UNUSED)
{
    expect_header(WS_OP_TEXT, 0, "\x81\x00", 2);
    expect_header(WS_OP_BINARY, 1, "\x82\x01", 2);
    expect_header(WS_OP_TEXT, 125, "\x81\x7d", 2);
    expect_header(WS_OP_TEXT, 126, "\x81\x7e\x00\x7e", 4);
    expect_header(WS_OP_TEXT, 256, "\x81\x7e\x01\x00", 4);
    expect_header(WS_OP_BINARY, 65535, "\x82\x7e\xff\xff", 4);
    expect_header(WS_OP_BINARY, 65536, "\x82\x7f\0\0\0\0\0\x01\0\0", 10);
    expect_header(WS_OP_TEXT, UINT64_C(0x0123456789abcdef),
                  "\x81\x7f\x01\x23\x45\x67\x89\xab\xcd\xef", 10);
    expect_header(WS_OP_BINARY, INT64_MAX, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
}

static void s5_5_header_of_control_frames(void **state UNUSED)
{
    expect_header(WS_OP_CLOSE, 0, "\x88\x00", 2);
    expect_header(WS_OP_PING, 125, "\x89\x7d", 2);
    expect_header(WS_OP_PONG, 5, "\x8a\x05", 2);
}

static void s5_2_size_of_our_own_frames(void **state UNUSED)
{
    static const uint64_t lengths[] = {0, 1, 125, 126, 256, 65535, 65536, 100000};
    static uint8_t frame[100010 + 2];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        size_t n = ws_tx_header(WS_OP_TEXT, lengths[i], frame), size = n + (size_t)lengths[i];

        for (size_t have = 0; have < n; have++)
            assert_int_equal(ws_tx_frame_size((struct str){(char *)frame, have}), have);
        assert_int_equal(ws_tx_frame_size((struct str){(char *)frame, size + 2}), size);
        assert_int_equal(ws_tx_frame_size((struct str){(char *)frame, size}), size);
        if (size > n)
            assert_int_equal(ws_tx_frame_size((struct str){(char *)frame, size - 1}), size - 1);
    }
    memset(frame + 1, 0xff, 9);
    assert_int_equal(ws_tx_frame_size((struct str){(char *)frame, 20}), 20);
}

static void header_that_cannot_be_is_refused(void **state UNUSED)
{
    uint8_t out[WS_HEADER_MAX];

    assert_int_equal(ws_tx_header(WS_OP_PING, 126, out), 0);
    assert_int_equal(ws_tx_header(WS_OP_CLOSE, 65536, out), 0);
    assert_int_equal(ws_tx_header(WS_OP_BINARY, UINT64_C(1) << 63, out), 0);
    assert_int_equal(ws_tx_header(WS_OP_BINARY, UINT64_MAX, out), 0);
    expect_header(WS_OP_TEXT, 3, "\x81\x03", 2); /* a refusal leaves nothing behind */
}

/* --- §5.3 Client-to-server masking, §5.7 Examples --- */

static void s5_7_masked_hello(void **state UNUSED)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    struct buf out = {0};

    assert_int_equal(buf_append_char(&out, '>'), 0); /* appended to what is there */
    assert_int_equal(ws_tx_masked(WS_OP_TEXT, STR_LIT("Hello"), key, &out), 0);
    assert_int_equal(ws_tx_masked(WS_OP_PING, STR_NULL, key, &out), 0);
    assert_int_equal(out.len, 1 + 11 + 6);
    assert_memory_equal(
        out.p, ">\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80\x37\xfa\x21\x3d", out.len);
    buf_fini(&out);
    /* wslay remembers having been asked to mask; it has not been. */
    expect_header(WS_OP_TEXT, 300, "\x81\x7e\x01\x2c", 4);
}

static void masked_frame_of_every_length_form(void **state UNUSED)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    static const size_t lengths[] = {0, 125, 126, 65535, 65536, 100000};
    static const size_t headers[] = {6, 6, 8, 8, 14, 14};
    char *data = calloc(1, 100000);

    assert_non_null(data);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        size_t n = lengths[i], header = headers[i];
        struct buf out = {0};

        assert_int_equal(ws_tx_masked(WS_OP_BINARY, (struct str){data, n}, key, &out), 0);
        assert_int_equal(out.len, header + n);
        assert_int_equal(out.p[1] & 0x80, 0x80);
        assert_memory_equal(out.p + header - 4, key, 4);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(out.p[header + j], key[j & 3]);
        buf_fini(&out);
    }
    free(data);
}

static void masked_frame_that_fails_leaves_out_unchanged(void **state UNUSED)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    char data[126] = {0};
    struct buf out = {0};

    assert_int_equal(ws_tx_masked(WS_OP_PING, (struct str){data, 126}, key, &out), -1);
    fault_fail_at(1);
    assert_int_equal(ws_tx_masked(WS_OP_TEXT, (struct str){data, 126}, key, &out), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void s5_3_mask_at_every_alignment_and_offset(void **state UNUSED)
{
    static const uint8_t key[4] = {0xa1, 0x02, 0x5f, 0x80};
    char data[16 + 300 + 1] __attribute__((aligned(16)));

    for (size_t align = 0; align < 16; align++)
        for (size_t offset = 0; offset < 8; offset++)
            for (size_t len = 0; len <= 300; len += len < 140 ? 1 : 13) {
                for (size_t i = 0; i < sizeof(data); i++)
                    data[i] = (char)(i * 7);
                ws_mask(data + align, len, key, offset);
                for (size_t i = 0; i < sizeof(data); i++) {
                    bool inside = i >= align && i < align + len;
                    uint8_t k = inside ? key[(i - align + offset) & 3] : 0;

                    if (data[i] != (char)((uint8_t)(i * 7) ^ k))
                        fail_msg("align %zu offset %zu len %zu at %zu", align, offset, len, i);
                }
            }
    ws_mask(NULL, 0, key, 0);
}

/* --- §5.5.1 Close --- */

static void expect_close(uint16_t code, struct str reason, struct str want)
{
    uint8_t out[WS_CONTROL_MAX];

    assert_int_equal(ws_tx_close_payload(code, reason, out), want.n);
    assert_memory_equal(out, want.p, want.n);
}

static void s5_5_1_close_payload(void **state UNUSED)
{
    uint8_t out[WS_CONTROL_MAX];

    expect_close(1000, STR_NULL, STR_LIT("\x03\xe8"));
    expect_close(1009, STR_LIT("too big"), STR_LIT("\x03\xf1too big"));
    expect_close(4999, STR_LIT("x"), STR_LIT("\x13\x87x"));
    assert_int_equal(ws_tx_close_payload(0, STR_LIT("unsaid"), out), 0);
    assert_int_equal(ws_tx_close_payload(1005, STR_LIT("unsaid"), out), 0);
}

/* A reason of 120 bytes, then the character, then more. */
static void expect_cut(const char *character, size_t want)
{
    struct buf reason = {0};
    uint8_t out[WS_CONTROL_MAX];

    for (int i = 0; i < 120; i++)
        assert_int_equal(buf_append_char(&reason, 'r'), 0);
    assert_int_equal(buf_append_lit(&reason, character), 0);
    assert_int_equal(ws_tx_close_payload(1001, buf_view(&reason), out), 2 + want);
    assert_memory_equal(out + 2, reason.p, want);
    buf_fini(&reason);
}

static void s5_5_1_reason_is_cut_between_characters(void **state UNUSED)
{
    expect_cut("", 120);
    expect_cut("abc", 123);
    expect_cut("abcd", 123);
    expect_cut("\xe2\x82\xac", 123);
    expect_cut("\xe2\x82\xac!", 123);
    expect_cut("a\xe2\x82\xac", 121);
    expect_cut("ab\xe2\x82\xac", 122);
    expect_cut("abc\xe2\x82\xac", 123);
    expect_cut("\xf0\x9f\x90\x93", 120);
    expect_cut("a\xc3\xbc\xc3\xbc", 123);
}

static void reason_of_only_continuation_bytes_ends(void **state UNUSED)
{
    char bytes[200];
    uint8_t out[WS_CONTROL_MAX];

    memset(bytes, 0x80, sizeof(bytes));
    assert_int_equal(ws_tx_close_payload(1001, (struct str){bytes, sizeof(bytes)}, out), 2);
}

/* --- §1.3, §4.2 Opening handshake --- */

/* Comes before the other: only the first call allocates. */
static void s4_1_accept_key_without_memory_fails_the_handshake(void **state UNUSED)
{
    char out[WS_ACCEPT_LEN];

    no_digest = true;
    ws_accept_key(STR_LIT("dGhlIHNhbXBsZSBub25jZQ=="), out);
    no_digest = false;
    for (size_t i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], '=');
}

static void s4_1_key_of_a_nonce(void **state UNUSED)
{
    static const uint8_t nonce[16] = "the sample nonce"; /* of §1.3 */
    char key[WS_KEY_LEN];

    ws_make_key(nonce, key);
    assert_memory_equal(key, "dGhlIHNhbXBsZSBub25jZQ==", WS_KEY_LEN);
    assert_true(ws_key_valid((struct str){key, WS_KEY_LEN}));
}

static void s1_3_accept_key(void **state UNUSED)
{
    static const struct {
        const char *key, *accept;
    } rows[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
        {"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
        {"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, /* nothing is left over */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[WS_ACCEPT_LEN];

        ws_accept_key(str_from(rows[i].key), out);
        assert_memory_equal(out, rows[i].accept, WS_ACCEPT_LEN);
    }
}

static void s4_2_1_key_is_base64_of_16_bytes(void **state UNUSED)
{
    static const char *const good[] = {
        "dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA==", "//////////////////////==",
        "0123456789+/abcdefghQw==", "AQIDBAUGBwgJCgsMDQ4PEC=="};
    static const char *const bad[] = {"",
                                      "==",
                                      "dGhlIHNhbXBsZSBub25jZQ=",
                                      "dGhlIHNhbXBsZSBub25jZQ",
                                      "dGhlIHNhbXBsZSBub25jZQ===",
                                      "dGhlIHNhbXBsZSBub25jZWE=",
                                      "dGhlIHNhbXBsZSBub25jZWEA",
                                      "dGhlIHNhbXBsZSBub25jZ===",
                                      "dGhlIHNhbXBsZSBub25j Q==",
                                      "dGhlIHNhbXBsZSBub25-ZQ==",
                                      "dGhlIHNhbXBsZSBub25_ZQ==",
                                      "=GhlIHNhbXBsZSBub25jZQ==",
                                      "dGhlIHNhbXBsZSBub25\xc3\xbcQ==",
                                      "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(ws_key_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(ws_key_valid(str_from(bad[i])));
    assert_false(ws_key_valid(STR_LIT("dGhlIHNhbX\0sZSBub25jZQ==")));
    assert_false(ws_key_valid(STR_NULL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(s5_2_header_of_every_length),
        cmocka_unit_test(s5_5_header_of_control_frames),
        cmocka_unit_test(s5_2_size_of_our_own_frames),
        cmocka_unit_test(header_that_cannot_be_is_refused),
        cmocka_unit_test(s5_7_masked_hello),
        cmocka_unit_test(masked_frame_of_every_length_form),
        cmocka_unit_test(masked_frame_that_fails_leaves_out_unchanged),
        cmocka_unit_test(s5_3_mask_at_every_alignment_and_offset),
        cmocka_unit_test(s5_5_1_close_payload),
        cmocka_unit_test(s5_5_1_reason_is_cut_between_characters),
        cmocka_unit_test(reason_of_only_continuation_bytes_ends),
        cmocka_unit_test(s4_1_accept_key_without_memory_fails_the_handshake),
        cmocka_unit_test(s4_1_key_of_a_nonce),
        cmocka_unit_test(s1_3_accept_key),
        cmocka_unit_test(s4_2_1_key_is_base64_of_16_bytes),
    };

    return cmocka_run_group_tests_name("codec/ws_tx", tests, NULL, NULL);
}
