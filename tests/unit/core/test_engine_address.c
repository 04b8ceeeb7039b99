/* core/engine_address: what is an address, what is said of what is not, and that no password is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_address.c"

static struct engine_address a;
static char err[256];

static int parse(const char *text)
{
    unsigned n = 0;

    return parse_entry(str_from(text), &a, 1, &n, err, sizeof(err));
}

static void is(const char *text, const char *shown)
{
    char out[ENGINE_ADDRESS_TEXT];

    assert_int_equal(parse(text), 0);
    engine_address_format(&a, out, sizeof(out));
    assert_string_equal(out, shown);
}

static void is_not(const char *text)
{
    err[0] = '\0';
    assert_int_equal(parse(text), -1);
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
    assert_true(a.tls && !a.tls_first);
    is("tls://h?handshake_first=true", "tls://h:4222");
    assert_true(a.tls && a.tls_first);
    is("tls://h?handshake_first=false", "tls://h:4222");
    assert_false(a.tls_first);
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
        "nats://h?handshake_first=true",
        "rediss://h?handshake_first=true",
        "tls://h?handshake_first=yes",
        "tls://h?handshake_first=",
        "tls://h?master=m",
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

/* What each host of the list becomes, with blanks between. */
static void all(const char *list, const char *shown)
{
    struct engine_address out[ENGINE_ADDRESSES_MAX];
    char text[ENGINE_ADDRESS_TEXT], got[4096] = "";
    unsigned n;

    if (engine_addresses_parse(str_from(list), out, &n, err, sizeof(err)) == -1)
        fail_msg("%s", err);
    for (unsigned i = 0; i < n; i++) {
        engine_address_format(&out[i], text, sizeof(text));
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i > 0 ? " " : "", text);
        if (out[i].scheme == ENGINE_SCHEME_SENTINEL) {
            assert_string_equal(out[i].master, "m");
            assert_int_equal(out[i].database, 2);
            assert_string_equal(out[i].user, "ann");
        }
    }
    assert_string_equal(got, shown);
}

static void lists(void **state)
{
    static const char three[] = "redis+sentinel://a:26379 redis+sentinel://b:7 "
                                "redis+sentinel://[::1]:8";

    (void)state;
    all("", "");
    all("redis://a\nunix:/s\nrediss://b:1", "redis://a:6379 unix:/s rediss://b:1");
    all("redis+sentinel://ann@a,b:7,[::1]:8/2?master=m", three);
    /* Cut at its commas, as a setting is. */
    all("redis+sentinel://ann@a\nb:7\n[::1]:8/2?master=m", three);
    all("redis+sentinel://ann@a/2?master=m\nredis+sentinel://ann@b:7/2?master=m\n"
        "redis+sentinel://ann@[::1]:8/2?master=m",
        three);
    all("redis+cluster://a:1\nb:2\nredis+cluster://c", "redis+cluster://a:1 redis+cluster://b:2 "
                                                       "redis+cluster://c:6379");
    all("nats://a,b", "nats://a:4222 nats://b:4222");
}

static void no_lists(void **state)
{
    static const char *const texts[] = {"a",
                                        "redis://a,b",
                                        "redis://a\nb:7",
                                        "redis+cluster://a,",
                                        "redis+cluster://a,,b",
                                        "redis+cluster://",
                                        "redis+sentinel://a\nb/x?master=m",
                                        "redis+sentinel://u:secret%@a,b?master=m",
                                        "redis://a\nhttp://b"};
    struct engine_address out[ENGINE_ADDRESSES_MAX];
    char many[2048] = "redis+cluster://h0";
    unsigned n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (engine_addresses_parse(str_from(texts[i]), out, &n, err, sizeof(err)) == 0)
            fail_msg("%s", texts[i]);
        assert_null(strstr(err, "secret"));
    }
    for (int i = 1; i <= ENGINE_ADDRESSES_MAX; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), ",h%d", i);
    assert_int_equal(engine_addresses_parse(str_from(many), out, &n, err, sizeof(err)), -1);
    assert_int_equal(parse("redis+cluster://a,b"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(no_addresses),
                                       cmocka_unit_test(lists), cmocka_unit_test(no_lists)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
