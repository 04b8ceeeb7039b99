/* core/engine_address: what is an address, what is said of what is not, and that no password is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_address.c"

static struct engine_address a;
static char err[256];

static void is(const char *text, const char *shown)
{
    char out[ENGINE_ADDRESS_TEXT];

    assert_int_equal(engine_address_parse(str_from(text), &a, err, sizeof(err)), 0);
    engine_address_format(&a, out, sizeof(out));
    assert_string_equal(out, shown);
}

static void is_not(const char *text)
{
    err[0] = '\0';
    assert_int_equal(engine_address_parse(str_from(text), &a, err, sizeof(err)), -1);
    assert_true(err[0] != '\0');
    assert_null(strstr(err, "secret"));
}

static void addresses(void **state)
{
    (void)state;
    is("redis://localhost", "redis://localhost:6379");
    is("redis://10.0.0.1:7000", "redis://10.0.0.1:7000");
    is("rediss://[::1]:7000/3", "rediss://[::1]:7000");
    assert_true(a.tls && a.database == 3);
    assert_string_equal(a.host, "::1");
    is("redis://ann:s%40crt@h", "redis://h:6379");
    assert_string_equal(a.user, "ann");
    assert_string_equal(a.password, "s@crt");
    is("redis://:p:w@h", "redis://h:6379");
    assert_string_equal(a.user, "");
    assert_string_equal(a.password, "p:w");
    is("unix:/run/redis.sock", "unix:/run/redis.sock");
    is("redis+sentinel://h?master=m", "redis+sentinel://h:26379");
    assert_string_equal(a.master, "m");
    is("redis+cluster://h:1", "redis+cluster://h:1");
    is("nats://h", "nats://h:4222");
    is("tls://h", "tls://h:4222");
    assert_true(a.tls);
}

static void no_addresses(void **state)
{
    static const char *const texts[] = {
        "",
        "h",
        "h:6379",
        "http://h",
        "redis:h",
        "redis:/h",
        "redis://",
        "redis://:6379",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://[::1",
        "redis://[::1]x",
        "redis://h/x",
        "redis://h/256",
        "redis://h/-1",
        "redis://h?x=1",
        "redis+cluster://h/1",
        "redis+sentinel://h",
        "redis+sentinel://h?name=m",
        "redis://u:secret%@h",
        "redis://u:secret%00@h",
        "redis://u:secret%zz@h",
        "unix:x",
        "redis://%2Fx",
    };
    char text[400] = "redis://";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        is_not(texts[i]);
    memset(text + 8, 'h', 300);
    text[308] = '\0';
    is_not(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(no_addresses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
