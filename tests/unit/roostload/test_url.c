/* tests/unit/roostload/test_url.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/url.c"

static int split(const char *text, struct url *u)
{
    const char *why = NULL;
    int rc = url_split(str_from(text), STR_LIT("ws://"), STR_LIT("80"), u, &why);

    assert_non_null(why);
    return rc;
}

static void parts(void **state UNUSED)
{
    static const struct {
        const char *url, *authority, *host, *port, *path;
    } good[] = {
        {"ws://a", "a", "a", "80", ""},
        {"ws://127.0.0.1:8000/ws/{channel}?x=1", "127.0.0.1:8000", "127.0.0.1", "8000",
         "/ws/{channel}?x=1"},
        {"ws://[::1]:9/", "[::1]:9", "::1", "9", "/"},
        {"ws://[::1]/x", "[::1]", "::1", "80", "/x"},
        {"ws://a:65535/@", "a:65535", "a", "65535", "/@"},
    };
    struct url u;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(split(good[i].url, &u), 0);
        assert_true(str_equal(u.authority, str_from(good[i].authority)));
        assert_true(str_equal(u.host, str_from(good[i].host)));
        assert_true(str_equal(u.port, str_from(good[i].port)));
        assert_true(str_equal(u.path, str_from(good[i].path)));
    }
}

static void nonsense(void **state UNUSED)
{
    static const char *const bad[] = {
        "",           "a",           "http://a",         "ws://",        "ws://:80",
        "ws://a:",    "ws:/a",       "ws://a:0",         "ws://a:x",     "ws://a:80x",
        "ws://[::1",  "ws://[]:80/", "ws://[::1]9",      "ws://a:65536", "ws://u@a/",
        "ws://a?x=1", "ws://a/ b",   "ws://a/x\r\nY: z", "ws://a/#f"};
    struct url u;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (split(bad[i], &u) != -1)
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts), cmocka_unit_test(nonsense)};
    return cmocka_run_group_tests_name("roostload/url", tests, NULL, NULL);
}
