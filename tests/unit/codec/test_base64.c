/* codec/base64: RFC 4648's vectors, and what has more than one text. */
#include "codec/base64.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

static struct buf out;

static int teardown(void **state UNUSED)
{
    buf_fini(&out);
    fault_reset();
    return 0;
}

static void assert_decodes(int (*fn)(struct str, struct buf *), const char *text, const char *bytes)
{
    out.len = 0;
    assert_int_equal(fn(str_from(text), &out), 0);
    assert_int_equal(out.len, strlen(bytes));
    if (out.len > 0)
        assert_memory_equal(out.p, bytes, out.len);
}

/* RFC 4648 §10 */
static void vectors(void **state UNUSED)
{
    static const char *const rows[][3] = {
        {"", "", ""},
        {"Zg==", "Zg", "f"},
        {"Zm8=", "Zm8", "fo"},
        {"Zm9v", "Zm9v", "foo"},
        {"Zm9vYg==", "Zm9vYg", "foob"},
        {"Zm9vYmE=", "Zm9vYmE", "fooba"},
        {"Zm9vYmFy", "Zm9vYmFy", "foobar"},
        {"+/+/", "-_-_", "\xfb\xff\xbf"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_decodes(base64_decode, rows[i][0], rows[i][2]);
        assert_decodes(base64url_decode, rows[i][1], rows[i][2]);
    }
}

/* RFC 4648 §10, and what comes of them again. */
static void written(void **state UNUSED)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"\xff\xfe", "//4="}};
    struct buf text = {0}, back = {0};

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&text);
        buf_clear(&back);
        assert_int_equal(base64_append(&text, str_from(pairs[i][0])), 0);
        assert_true(str_equal(buf_view(&text), str_from(pairs[i][1])));
        assert_int_equal(base64_decode(buf_view(&text), &back), 0);
        assert_true(str_equal(buf_view(&back), str_from(pairs[i][0])));
    }
    buf_fini(&text);
    fault_fail_at(1);
    assert_int_equal(base64_append(&text, STR_LIT("x")), -1);
    fault_reset();
    buf_fini(&back);
}

static void others_are_refused(void **state UNUSED)
{
    static const char *const standard[] = {"Zg",       "Zg=",  "Zh==",    "Zm9=",   "Zm8==",
                                           "====",     "Z===", "-_-_",    "Zm9v\n", " Zm9v",
                                           "Zg==Zg==", "=Zg=", "Zm9v===="};
    static const char *const url[] = {"Z", "Zh", "Zm9", "Zg==", "+/+/", "Zm9v\n", "Zm 9", "Zm9vY"};

    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        out.len = 0;
        if (base64_decode(str_from(standard[i]), &out) == 0 || out.len != 0)
            fail_msg("taken: %s", standard[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(url); i++) {
        out.len = 0;
        if (base64url_decode(str_from(url[i]), &out) == 0 || out.len != 0)
            fail_msg("taken: %s", url[i]);
    }
}

static void no_memory_is_said(void **state UNUSED)
{
    buf_fini(&out);
    fault_fail_at(1);
    assert_int_equal(base64_decode(STR_LIT("Zm9v"), &out), -1);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(vectors, teardown),
        cmocka_unit_test_teardown(written, teardown),
        cmocka_unit_test_teardown(others_are_refused, teardown),
        cmocka_unit_test_teardown(no_memory_is_said, teardown),
    };

    return cmocka_run_group_tests_name("codec/base64", tests, NULL, NULL);
}
