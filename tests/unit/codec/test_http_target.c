/* codec/http_target: Host, percent-encoding, queries (target forms are tested with whole heads). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_target.c"

static void valid_hosts(void **state UNUSED)
{
    static const char *hosts[] = {
        "a",           "localhost:8000",  "example.org", "EXAMPLE.org.",
        "127.0.0.1:1", "[::1]",           "[::1]:65535", "[2001:db8::1]:80",
        "a:",          "a_b-c~d",         "%41%c3%a9",   "[::ffff:1.2.3.4]",
        "a:00080",     "a,b;c=(d)!$&'*+", "[v1.x]",      "[vFf.a:b]:80",
        "[V0.~]",
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(hosts); i++) {
        if (!http_host_valid(str_from(hosts[i])))
            fail_msg("%s", hosts[i]);
    }
}

static void malformed_hosts(void **state UNUSED)
{
    static const char *hosts[] = {
        "",           ":80",
        "a:65536",    "a:000080",
        "a:-1",       "a:80:80",
        "a:x",        "a b",
        "a/",         "u@a",
        "a?b",        "a#b",
        "a\\b",       "%",
        "%4",         "%4g",
        "[]",         "[::1",
        "::1",        "[::1]x",
        "[::1]:x",    "[1.2.3.4]",
        "[v1.]",      "[v.a]",
        "[v1]",       "[v1.a",
        "[v1.a/]",    "[vg.a]",
        "[1.a]",      "[v1.a%25]",
        "[::1%25lo]", "[:::]",
        "[12345::]",  "[::1]]",
        "a\"b",       "<a>",
        "[a]",        "\xc3\xa9",
        "a\tb",       "[0:0:0:0:0:0:0:0:0]",
        "a|b",        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]",
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(hosts); i++) {
        if (http_host_valid(str_from(hosts[i])))
            fail_msg("%s", hosts[i]);
    }
}

static void percent_decoding(void **state UNUSED)
{
    char out[8];
    size_t n;

    assert_int_equal(http_percent_decode(STR_LIT("a%20b%2Fc%c3%A9+"), out, sizeof(out), &n), 0);
    assert_int_equal(n, 8);
    assert_memory_equal(out, "a b/c\xc3\xa9+", 8);
    assert_int_equal(http_percent_decode(STR_LIT("%00"), out, sizeof(out), &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(out[0], 0);
    assert_int_equal(http_percent_decode(STR_NULL, out, 0, &n), 0);
    assert_int_equal(n, 0);
}

static void percent_encoding(void **state UNUSED)
{
    char bytes[256], out[256];
    struct buf text = {0};
    size_t n;

    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    assert_int_equal(http_percent_encode((struct str){bytes, 256}, &text), 0);
    assert_int_equal(http_percent_decode(buf_view(&text), out, sizeof(out), &n), 0);
    assert_int_equal(n, 256);
    assert_memory_equal(out, bytes, 256);
    for (size_t i = 0; i < text.len; i++)
        assert_true(text.p[i] > ' ' && text.p[i] < 0x7f &&
                    strchr("\"#<>?{}\\^`|", text.p[i]) == NULL);
    buf_clear(&text);
    assert_int_equal(http_percent_encode(STR_LIT("a-b/c:d.e_f~ %"), &text), 0);
    assert_true(str_equal(buf_view(&text), STR_LIT("a-b/c:d.e_f~%20%25")));
    buf_fini(&text);
}

static void malformed_percent_encoding(void **state UNUSED)
{
    static const char *texts[] = {"%", "%a", "a%", "%%41", "%4g", "%g4", "% 41", "%+1", "%-1"};
    char out[16];
    size_t i, n;

    for (i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(http_percent_decode(str_from(texts[i]), out, sizeof(out), &n), -1);
}

static void decoding_needs_room(void **state UNUSED)
{
    char out[3] = {'?', '?', '?'};
    size_t n;

    assert_int_equal(http_percent_decode(STR_LIT("%41%42%43"), out, 3, &n), 0);
    assert_int_equal(http_percent_decode(STR_LIT("abc"), out, 2, &n), -1);
    assert_int_equal(http_percent_decode(STR_LIT("a"), out, 0, &n), -1);
}

static void queries(void **state UNUSED)
{
    static const struct {
        const char *query;
        const char *pairs[6]; /* key, value, ... */
    } rows[] = {
        {"", {NULL}},
        {"&&", {NULL}},
        {"a=1&b=2", {"a", "1", "b", "2"}},
        {"&a&&b=&", {"a", "", "b", ""}},
        {"=v&a==b&%3D=x=y", {"", "v", "a", "=b", "%3D", "x=y"}},
    };
    size_t i, k;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest = str_from(rows[i].query), key, value;

        for (k = 0; k < 6 && rows[i].pairs[k] != NULL; k += 2) {
            assert_true(http_query_next(&rest, &key, &value));
            assert_true(str_equal(key, str_from(rows[i].pairs[k])));
            assert_true(str_equal(value, str_from(rows[i].pairs[k + 1])));
            assert_non_null(value.p);
        }
        assert_false(http_query_next(&rest, &key, &value));
    }
    assert_false(
        http_query_next(&(struct str){NULL, 0}, &(struct str){NULL, 0}, &(struct str){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_hosts),
        cmocka_unit_test(malformed_hosts),
        cmocka_unit_test(percent_decoding),
        cmocka_unit_test(percent_encoding),
        cmocka_unit_test(malformed_percent_encoding),
        cmocka_unit_test(decoding_needs_room),
        cmocka_unit_test(queries),
    };

    return cmocka_run_group_tests_name("codec/http_target", tests, NULL, NULL);
}
