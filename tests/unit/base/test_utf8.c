/* base/utf8: against the set of all prefixes of all characters, exhaustively up to three bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/utf8.c"

/* Bit per sequence of three bytes: is it, is its start the start of a character? Filled from the
 * definition of UTF-8 (RFC 3629 §3), not from the automaton. */
static uint8_t viable3[1 << 21], viable2[1 << 13], viable1[1 << 5];

static void mark(uint8_t *set, uint32_t i)
{
    set[i >> 3] = (uint8_t)(set[i >> 3] | 1 << (i & 7));
}

static bool marked(const uint8_t *set, uint32_t i)
{
    return (set[i >> 3] >> (i & 7) & 1) != 0;
}

static size_t encode(uint32_t c, uint8_t out[4])
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;

    for (i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
    return n;
}

static bool is_character(uint32_t c)
{
    return c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
}

static struct str view(const uint8_t *p, size_t n)
{
    return (struct str){.p = (const char *)p, .n = n};
}

static int fill_prefixes(void **state UNUSED)
{
    uint8_t b[4];
    uint32_t c;
    size_t n;

    for (c = 0; c <= 0x10ffff; c++) {
        if (!is_character(c))
            continue;
        n = encode(c, b);
        mark(viable1, b[0]);
        if (n >= 2)
            mark(viable2, (uint32_t)b[0] << 8 | b[1]);
        if (n >= 3)
            mark(viable3, (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2]);
    }
    return 0;
}

static void every_character_is_valid(void **state UNUSED)
{
    uint8_t b[4];
    uint32_t c, at;
    size_t n, i;

    for (c = 0; c <= 0x10ffff; c++) {
        if (!is_character(c))
            continue;
        n = encode(c, b);
        assert_true(utf8_valid(view(b, n)));
        for (i = 0, at = UTF8_START; i < n; i++) {
            assert_true(at == UTF8_START ? i == 0 : i > 0); /* not accepted before its last byte */
            at = utf8_check(at, view(b + i, 1));
        }
        assert_int_equal(at, UTF8_START);
    }
}

/* Rejected with exactly the byte after which no character can be completed. */
static void rejects_at_the_first_byte_that_proves_it(void **state UNUSED)
{
    uint8_t b[3];
    uint32_t a, i, j, s1, s2, s3;

    for (a = 0x80; a < 0x100; a++) {
        b[0] = (uint8_t)a;
        s1 = utf8_check(UTF8_START, view(b, 1));
        assert_true(s1 != UTF8_START);
        assert_int_equal(s1 != UTF8_REJECT, marked(viable1, a));
        for (i = 0; s1 != UTF8_REJECT && i < 0x100; i++) {
            b[1] = (uint8_t)i;
            s2 = utf8_check(s1, view(b + 1, 1));
            assert_int_equal(s2 != UTF8_REJECT, marked(viable2, a << 8 | i));
            assert_int_equal(utf8_check(UTF8_START, view(b, 2)), s2);
            for (j = 0; s2 != UTF8_REJECT && s2 != UTF8_START && j < 0x100; j++) {
                b[2] = (uint8_t)j;
                s3 = utf8_check(s2, view(b + 2, 1));
                if ((s3 != UTF8_REJECT) != marked(viable3, a << 16 | i << 8 | j))
                    fail_msg("%02x %02x %02x", a, i, j);
            }
        }
    }
}

static void known_violations(void **state UNUSED)
{
    static const struct {
        const char *bytes;
        size_t rejected_at; /* index of the byte, or the length: merely incomplete */
    } rows[] = {
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc0\x80", 0},         /* overlong NUL */
        {"\xc1\xbf", 0},         /* overlong */
        {"\xe0\x9f\xbf", 1},     /* overlong */
        {"\xe0\x80\xaf", 1},     /* overlong '/' */
        {"\xf0\x8f\xbf\xbf", 1}, /* overlong */
        {"\xed\xa0\x80", 1},     /* U+D800 */
        {"\xed\xbf\xbf", 1},     /* U+DFFF */
        {"\xf4\x90\x80\x80", 1}, /* U+110000 */
        {"\xf5\x80\x80\x80", 0},
        {"\xf8\x88\x80\x80\x80", 0}, /* five bytes */
        {"\xfe", 0},
        {"\xff", 0},
        {"\xc3(", 1},
        {"\xe2\x82(", 2},
        {"\xf0\x9f\x98(", 3},
        {"a\xc3\xc3\xa9", 2},
        {"\xe2\x82", 2},
        {"\xf0\x9f\x98", 3},
    };
    size_t i, k, n;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        n = strlen(rows[i].bytes);
        assert_false(utf8_valid((struct str){rows[i].bytes, n}));
        for (k = 1; k <= n; k++)
            assert_int_equal(utf8_check(UTF8_START, (struct str){rows[i].bytes, k}) == UTF8_REJECT,
                             k > rows[i].rejected_at);
    }
}

/* The fast path must see a bad byte wherever it stands relative to the words that it reads. */
static void ascii_skip_misses_nothing(void **state UNUSED)
{
    char text[220];
    size_t from, n, bad;

    memset(text, 'a', sizeof(text));
    for (from = 0; from < 9; from++) {
        for (n = 0; n <= 200; n++) {
            assert_true(utf8_valid((struct str){text + from, n}));
            for (bad = 0; bad < n; bad++) {
                text[from + bad] = (char)0x80;
                assert_false(utf8_valid((struct str){text + from, n}));
                text[from + bad] = 'a';
            }
        }
    }
}

static void every_split_gives_the_same_state(void **state UNUSED)
{
    static const char *texts[] = {
        "plain text which is longer than two words of the machine",
        "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2, \xe2\x82\xac 5, \xf0\x9f\x98\x80!",
        "sixteen ASCII by\xf0\x9f\x98\x80sixteen ASCII by\xed\xa0\x80 and so on",
        "ends in the middle \xe2\x82",
        "one character stands across the end of a block of sixty-four bytes:\xd0\xbf, the next one "
        "does so as well, not far before its end \xe2\x82\xac, and then there is nothing but "
        "ASCII, for "
        "a while at least \xc3",
    };
    uint32_t whole, at;
    size_t i, k, n;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        n = strlen(texts[i]);
        whole = utf8_check(UTF8_START, (struct str){texts[i], n});
        for (k = 0; k <= n; k++) {
            at = utf8_check(UTF8_START, (struct str){texts[i], k});
            assert_int_equal(utf8_check(at, (struct str){texts[i] + k, n - k}), whole);
        }
        for (k = 0, at = UTF8_START; k < n; k++)
            at = utf8_check(at, (struct str){texts[i] + k, 1});
        assert_int_equal(at, whole);
    }
}

static void rejection_is_sticky_and_nothing_is_nothing(void **state UNUSED)
{
    assert_int_equal(utf8_check(UTF8_REJECT, STR_LIT("plain")), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_REJECT, STR_NULL), UTF8_REJECT);
    assert_int_equal(utf8_check(UTF8_START, STR_NULL), UTF8_START);
    assert_true(utf8_valid(STR_NULL));
    assert_true(utf8_valid((struct str){"a\0b", 3}));
}

/* At every length of texts whose characters have every length: all of them, and nothing shorter. */
static void cuts_between_characters(void **state UNUSED)
{
    static const char text[] =
        "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\xf0\x9f\x98\x80\xf0\x9f\x98\x80";
    struct str s = {.p = text, .n = sizeof(text) - 1};

    for (size_t max = 0; max < s.n + 2; max++) {
        struct str cut = utf8_cut(s, max);

        assert_true(utf8_valid(cut) && cut.n <= max);
        assert_true(max >= s.n ? cut.n == s.n : max - cut.n < 4);
        assert_true(max < 4 || cut.n > 0);
        for (size_t n = cut.n + 1; n <= MIN(max, s.n); n++)
            assert_false(utf8_valid((struct str){.p = text, .n = n}));
    }
}

static void cuts_what_is_no_text(void **state UNUSED)
{
    static const char text[] = "\x80\x80\x80\x80\x80\x80\x80\xff\xc3";
    struct str s = {.p = text, .n = sizeof(text) - 1};

    for (size_t max = 4; max < s.n; max++)
        assert_int_equal(utf8_cut(s, max).n, max);
    assert_int_equal(utf8_cut(STR_NULL, 4).n, 0);
}

/* Every one, also with something behind it; no part of one. */
static void decodes_every_character(void **state UNUSED)
{
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        uint8_t b[5] = {0};
        uint32_t code;
        size_t n = encode(c, b);

        assert_int_equal(utf8_decode(view(b, n + 1), &code), is_character(c) ? n : 0);
        assert_true(!is_character(c) || code == c);
        if (n > 1)
            assert_int_equal(utf8_decode(view(b, n - 1), &code), 0);
    }
}

static void decodes_nothing_else(void **state UNUSED)
{
    static const char *const texts[] = {
        "\x80",         "\xbf\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc3 a",
        "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"};
    uint32_t code;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(utf8_decode(str_from(texts[i]), &code), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_character_is_valid),
        cmocka_unit_test(rejects_at_the_first_byte_that_proves_it),
        cmocka_unit_test(known_violations),
        cmocka_unit_test(ascii_skip_misses_nothing),
        cmocka_unit_test(every_split_gives_the_same_state),
        cmocka_unit_test(rejection_is_sticky_and_nothing_is_nothing),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(cuts_what_is_no_text),
        cmocka_unit_test(decodes_every_character),
        cmocka_unit_test(decodes_nothing_else),
    };

    return cmocka_run_group_tests_name("base/utf8", tests, fill_prefixes, NULL);
}
