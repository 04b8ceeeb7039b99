/* codec/fossil: deltas are applied to what they were made of, and to nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "codec/fossil.c"
#include "tests/lib/fault.h"

static uint64_t seed = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % n;
}

/* Makes and applies; how long the delta is. */
static size_t round_trip(struct str source, struct str target)
{
    struct buf work = {0}, delta = {0}, back = {0};
    size_t n;

    assert_int_equal(fossil_create(source, target, SIZE_MAX / 2, &work, &delta), 1);
    assert_int_equal(fossil_apply(source, buf_view(&delta), target.n, &back), 0);
    assert_true(str_equal(buf_view(&back), target));
    if (utf8_valid(source) && utf8_valid(target))
        assert_true(utf8_valid(buf_view(&delta)));
    n = delta.len;
    /* A byte less than it needs is not enough. */
    buf_clear(&delta);
    assert_int_equal(fossil_create(source, target, n, &work, &delta), 0);
    assert_int_equal(delta.len, 0);
    assert_int_equal(fossil_create(source, target, n + 1, &work, &delta), 1);
    buf_fini(&work);
    buf_fini(&delta);
    buf_fini(&back);
    return n;
}

static void assert_delta(const char *source, const char *target, const char *expected)
{
    struct buf work = {0}, delta = {0};

    assert_int_equal(fossil_create(str_from(source), str_from(target), 1000, &work, &delta), 1);
    assert_int_equal(buf_append_char(&delta, '\0'), 0);
    assert_string_equal(delta.p, expected);
    round_trip(str_from(source), str_from(target));
    buf_fini(&work);
    buf_fini(&delta);
}

/* Numbers of the format's documentation. */
static void known_numbers(void **state)
{
    static const struct {
        uint32_t v;
        const char *text;
    } rows[] = {{0, "0"},
                {63, "~"},
                {64, "10"},
                {6246, "1Xb"},
                {270, "4E"},
                {1100, "HC"},
                {3193528526, "2zMM3E"},
                {UINT32_MAX, "3~~~~~"}};
    struct buf out = {0};
    struct str rest;
    uint32_t v;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&out);
        assert_int_equal(put_number(&out, rows[i].v, '@'), 0);
        assert_true(str_equal((struct str){out.p, out.len - 1}, str_from(rows[i].text)));
        rest = buf_view(&out);
        assert_int_equal(take_number(&rest, &v), 0);
        assert_int_equal(v, rows[i].v);
        assert_true(str_equal(rest, STR_LIT("@")));
        assert_int_equal(number_size(rows[i].v), strlen(rows[i].text));
    }
    rest = STR_LIT("400000");
    assert_int_equal(take_number(&rest, &v), -1); /* 2^32 */
    rest = STR_LIT("");
    assert_int_equal(take_number(&rest, &v), -1);
    rest = STR_LIT("-");
    assert_int_equal(take_number(&rest, &v), -1);
    buf_fini(&out);
}

static void known_deltas(void **state)
{
    (void)state;
    assert_delta("", "", "0\n0;");
    assert_delta("abcd", "", "0\n0;");
    assert_delta("", "abcd", "4\n4:abcd1XObD_;");
    assert_delta("abc", "abd", "3\n3:abd1XObG0;");
    assert_delta("{\"temperature\":20,\"unit\":\"C\"}", "{\"temperature\":21,\"unit\":\"C\"}",
                 "T\nG@0,1:1C@H,5tMCp;");
}

static void shapes(void **state)
{
    static char zeros[5000], text[5000], mixed[9000];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + random_below(26));
    /* The same: a copy and nothing else. */
    n = round_trip((struct str){text, 5000}, (struct str){text, 5000});
    assert_true(n < 20);
    /* What has moved is found. */
    memcpy(mixed, text + 2500, 2500);
    memcpy(mixed + 2500, text, 2500);
    n = round_trip((struct str){text, 5000}, (struct str){mixed, 5000});
    assert_true(n < 60);
    /* Something in the midst, twice. */
    memcpy(mixed, text, 5000);
    memcpy(mixed + 1000, "XYZ", 3);
    memcpy(mixed + 3000, "XYZ", 3);
    n = round_trip((struct str){text, 5000}, (struct str){mixed, 5000});
    assert_true(n < 60);
    /* What looks alike everywhere. */
    round_trip((struct str){zeros, 5000}, (struct str){zeros, 4999});
    round_trip((struct str){zeros, 4000}, (struct str){zeros, 5000});
    round_trip((struct str){zeros, 5000}, (struct str){text, 5000});
    round_trip((struct str){text, 5000}, (struct str){zeros, 5000});
    /* One byte around the window. */
    for (size_t a = 14; a < 19; a++) {
        for (size_t b = 14; b < 19; b++) {
            round_trip((struct str){text, a}, (struct str){text, b});
            round_trip((struct str){text, a}, (struct str){text + 1, b});
        }
    }
}

/* Random edits of random texts of few letters, where much is alike. */
static void random_edits(void **state)
{
    static char source[3000], target[6000];

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        size_t n = random_below(1500), to = 0, letters = 1 + random_below(8);

        for (size_t i = 0; i < n; i++)
            source[i] = (char)('a' + random_below((uint32_t)letters));
        for (unsigned part = random_below(5); part > 0; part--) {
            size_t from = random_below((uint32_t)n + 1),
                   len = random_below((uint32_t)(n - from) + 1);

            memcpy(target + to, source + from, MIN(len, sizeof(target) - to));
            to += MIN(len, sizeof(target) - to);
            for (unsigned i = random_below(20); i > 0 && to < sizeof(target); i--)
                target[to++] = (char)random_below(256);
        }
        round_trip((struct str){source, n}, (struct str){target, to});
    }
}

/* Of text, only whole characters are inserted. */
static void whole_characters(void **state)
{
    static const char *const characters[] = {"a",
                                             "\xc3\xa9",
                                             "\xc3\xa8",
                                             "\xe2\x82\xac",
                                             "\xe2\x82\xad",
                                             "\xf0\x9f\x98\x80",
                                             "\xf0\x9f\x98\x81"};

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        struct buf source = {0}, target = {0};

        for (unsigned i = random_below(100); i > 0; i--) {
            const char *c = characters[random_below(ARRAY_LEN(characters))];

            assert_int_equal(buf_append_lit(&source, c), 0);
            assert_int_equal(
                buf_append_lit(&target, random_below(10) > 0
                                            ? c
                                            : characters[random_below(ARRAY_LEN(characters))]),
                0);
        }
        round_trip(buf_view(&source), buf_view(&target)); /* looks at it */
        buf_fini(&source);
        buf_fini(&target);
    }
}

static void refused_deltas(void **state)
{
    static const char *const wrong[] = {
        "",
        "4",
        "4\n",
        "4\n4:abcd",
        "4\n4:abcd1XMOH_",
        "4\n4:abcd0;",
        "4\n4:abcd1XObD_;x",
        "3\n4:abcd1XObD_;",
        "5\n4:abcd1XObD_;",
        "4\n5:abcd1XObD_;",
        "4\n4@3,1XObD_;",
        "4\n4@4,0;",
        "4\n1@3,4@0,1XObD_;",
        "4\n4@0;1XObD_;",
        "4\n4@,1XObD_;",
        "4\n@0,1XObD_;",
        "4\n4:abc",
        "\n0;",
        "-4\n4:abcd1XObD_;",
        "4 \n4:abcd1XObD_;",
        "4\n4@~~~~~~,0;",
        "~~~~~~\n0;",
        "4\n0:0:0:0;",
        "4\n4@0,1XObD_;",
    };
    struct buf out = {0};

    (void)state;
    assert_int_equal(fossil_apply(STR_LIT("abcd"), STR_LIT("4\n4@0,1XObD_;"), 4, &out), 0);
    assert_int_equal(fossil_apply(STR_LIT("abcd"), STR_LIT("4\n4@0,1XObD_;"), 3, &out), -1);
    assert_int_equal(out.len, 4); /* appended, and what was refused is not there */
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *copy = malloc(strlen(wrong[i]) + 1);

        assert_non_null(copy);
        memcpy(copy, wrong[i], strlen(wrong[i]));
        if (fossil_apply(STR_LIT("abce"), (struct str){copy, strlen(wrong[i])}, 100, &out) == 0)
            fail_msg("applied: %s", wrong[i]);
        free(copy);
    }
    buf_fini(&out);
}

/* No start of a delta is one, no changed byte goes unnoticed but by chance. */
static void broken_deltas(void **state)
{
    static const char source[] = "0123456789abcdefghijklmnopqrstuvwxyz!#$%&()*+,-./",
                      target[] = "0123456789abcdefghijkl--mnopqrstuvwxyz!#$%&()*+,-.";
    struct buf work = {0}, delta = {0}, out = {0};

    (void)state;
    assert_int_equal(fossil_create(str_from(source), str_from(target), 100, &work, &delta), 1);
    for (size_t n = 0; n < delta.len; n++)
        assert_int_equal(fossil_apply(str_from(source), (struct str){delta.p, n}, 100, &out), -1);
    for (size_t n = 0; n < delta.len; n++) {
        delta.p[n] ^= 1;
        assert_int_equal(fossil_apply(str_from(source), buf_view(&delta), 100, &out), -1);
        delta.p[n] ^= 1;
    }
    assert_int_equal(fossil_apply(str_from(target), buf_view(&delta), 100, &out), -1);
    buf_fini(&work);
    buf_fini(&delta);
    buf_fini(&out);
}

static void memory(void **state)
{
    static char source[2000], target[2000];
    struct buf work = {0}, delta = {0};
    unsigned long k = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(source); i++)
        source[i] = (char)random_below(256);
    memcpy(target, source + 1000, 1000);
    memcpy(target + 1000, source, 1000);
    for (int rc = -1; rc == -1; k++) {
        buf_fini(&work);
        buf_fini(&delta);
        fault_fail_at(k);
        rc = fossil_create((struct str){source, 2000}, (struct str){target, 2000}, 2000, &work,
                           &delta);
        if (rc == -1)
            assert_int_equal(delta.len, 0);
    }
    fault_reset();
    assert_true(k > 3);
    buf_fini(&work);
    buf_fini(&delta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers),    cmocka_unit_test(known_deltas),
        cmocka_unit_test(shapes),           cmocka_unit_test(random_edits),
        cmocka_unit_test(whole_characters), cmocka_unit_test(refused_deltas),
        cmocka_unit_test(broken_deltas),    cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/fossil", tests, NULL, NULL);
}
