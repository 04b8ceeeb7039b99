/* tests/unit/codec/test_http_encoding.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_encoding.c"

static bool wants(const char *a, const char *b)
{
    struct http_request r = {0};

    r.fields[r.nfields++] = (struct http_field){STR_LIT("Accept"), STR_LIT("gzip")};
    if (a != NULL)
        r.fields[r.nfields++] = (struct http_field){STR_LIT("accept-encoding"), str_from(a)};
    if (b != NULL)
        r.fields[r.nfields++] = (struct http_field){STR_LIT("Accept-Encoding"), str_from(b)};
    return http_wants_gzip(&r);
}

static void who_wants_gzip(void **state UNUSED)
{
    static const struct {
        const char *value;
        bool wanted;
    } cases[] = {
        {"gzip", true},
        {"GZip", true},
        {"x-gzip", true},
        {"deflate, gzip", true},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
        {"*", true},
        {"gzip ; q=0.001", true},
        {"gzip;Q=1", true},
        {"gzip;q=1.000", true},
        {"gzip;q=0, *", false},
        {"gzip;q=0", false},
        {"gzip;q=0.000", false},
        {"*;q=0", false},
        {"identity", false},
        {"identity;q=0.5, gzip;q=0.4", false},
        {"identity;q=0.5, gzip;q=0.5", true},
        {"", false},
        {"deflate", false},
        {"gzipped", false},
        {"gzip;q=1.001", false},
        {"gzip;q=2", false},
        {"gzip;q=-1", false},
        {"gzip;q=", false},
        {"gzip;q", false},
        {"gzip;level=9", false},
        {"gzip;q=0.1234", false},
        {"gzip;q=0x1", false},
        {"gzip;q=00", false},
    };

    assert_false(wants(NULL, NULL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (wants(cases[i].value, NULL) != cases[i].wanted)
            fail_msg("\"%s\"", cases[i].value);
    }
    assert_true(wants("br", "gzip"));
    assert_true(wants("gzip", "br"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_wants_gzip)};

    return cmocka_run_group_tests_name("codec/http_encoding", tests, NULL, NULL);
}
