/* proto/token_fetched: keys that come from elsewhere, and those that do not. */
#include "proto/token_fetched.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

#define NOW UINT64_C(1700000000)

static struct buf token;
static struct token_connection con;

static void set_secret(bool subscription, const char *secret)
{
    /* As config_read_keys() leaves it: the text of the first key of each kind. */
    size_t at = subscription ? config.keys.len[0][CONFIG_KEY_HMAC] : 0;

    memcpy(config.keys.text + at, secret, strlen(secret));
    config.keys.len[subscription][CONFIG_KEY_HMAC] = (uint32_t)strlen(secret);
}

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    set_secret(false, "secret");
    clock_set_virtual(NOW * NS_PER_SEC);
    clock_refresh();
    return tokens_init(NULL);
}

static int teardown(void **state UNUSED)
{
    fault_reset();
    tokens_fini();
    buf_fini(&token);
    clock_set_virtual(0);
    return 0;
}

static struct str made(const char *claims)
{
    token.len = 0;
    assert_int_equal(token_make(TOKEN_CONNECTION, str_from(claims), &token), 0);
    return buf_view(&token);
}

static void assert_str(struct str s, const char *expected)
{
    if (!str_equal(s, str_from(expected)))
        fail_msg("%.*s, not %s", STR_ARG(s), expected);
}

#define URL "https://example.com/keys"

static void set_url(void)
{
    snprintf(config.token_jwks_url, sizeof(config.token_jwks_url), URL);
    tokens_reload();
}

/* The kid is in the header alone: nobody signs here. */
static enum token_fault with_kid(const char *kid)
{
    char text[200];
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char header[100];
    size_t n = (size_t)snprintf(header, sizeof(header), "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", kid);
    size_t out = 0;

    while (n % 3 != 0)
        header[n++] = ' ';
    for (size_t i = 0; i < n; i += 3) {
        unsigned v =
            (unsigned)header[i] << 16 | (unsigned)header[i + 1] << 8 | (unsigned)header[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            text[out++] = digits[v >> shift & 63];
    }
    snprintf(text + out, sizeof(text) - out, ".e30.AAAA");
    return token_verify_connection(str_from(text), &con);
}

static void take(const char *kid)
{
    char set[300];

    snprintf(set, sizeof(set),
             "{\"keys\":[{\"kid\":\"%s\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
             "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
             kid);
    tokens_take_fetched(TOKEN_CONNECTION, STR_LIT(URL), str_from(set), clock_ns());
}

static void keys_that_are_fetched(void **state UNUSED)
{
    set_secret(false, "");
    set_url();
    assert_true(tokens_configured(TOKEN_CONNECTION));
    assert_int_equal(with_kid("1"), TOKEN_UNAVAILABLE); /* not yet there */
    assert_int_equal(tokens_wanted_ns(), 0);            /* it comes anyway */
    take("1");
    assert_int_equal(with_kid("1"), TOKEN_INVALID);
    assert_string_equal(token_reason(), "its signature is wrong");
    config.token_jwks_url[0] = 'h';
    tokens_reload();
    assert_int_equal(with_kid("1"), TOKEN_INVALID);
    snprintf(config.token_jwks_url, sizeof(config.token_jwks_url), "https://example.com/other");
    tokens_reload(); /* that is from elsewhere */
    assert_int_equal(with_kid("1"), TOKEN_UNAVAILABLE);
    config.token_jwks_url[0] = '\0';
    tokens_reload();
    assert_int_equal(with_kid("1"), TOKEN_INVALID);
    assert_string_equal(token_reason(), "no token key is set");
}

/* Asked for again once; a key that does not come then does not exist. */
static void a_key_that_is_not_there(void **state UNUSED)
{
    uint64_t asked;

    set_url();
    take("1");
    clock_advance(NS_PER_SEC);
    assert_int_equal(with_kid("2"), TOKEN_UNAVAILABLE);
    asked = tokens_wanted_ns();
    assert_int_equal(asked, clock_ns());
    clock_advance(NS_PER_SEC);
    assert_int_equal(with_kid("2"), TOKEN_UNAVAILABLE);
    assert_int_equal(tokens_wanted_ns(), asked); /* once */
    take("1");
    assert_int_equal(with_kid("2"), TOKEN_INVALID);
    assert_int_equal(with_kid("2"), TOKEN_INVALID);
    assert_int_equal(tokens_wanted_ns(), asked);
    assert_int_equal(with_kid("3"), TOKEN_UNAVAILABLE); /* another one */
    assert_int_equal(tokens_wanted_ns(), clock_ns());
    take("3");
    assert_int_equal(with_kid("3"), TOKEN_INVALID);
    assert_string_equal(token_reason(), "its signature is wrong");
    assert_int_equal(with_kid("1"), TOKEN_UNAVAILABLE); /* it was rotated away */
    /* A secret is none that a fetched set could have. */
    made("{}");
    set_secret(false, "x");
    tokens_reload();
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_INVALID);
}

/* As many as are remembered do not make each other forgotten. */
static void keys_that_are_not_there(void **state UNUSED)
{
    char kid[16];

    set_url();
    take("1");
    clock_advance(NS_PER_SEC);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < ASKED_NR; i++) {
            snprintf(kid, sizeof(kid), "no%d", i);
            assert_int_equal(with_kid(kid), round == 0 ? TOKEN_UNAVAILABLE : TOKEN_INVALID);
        }
        clock_advance(NS_PER_SEC);
        take("1");
    }
    assert_int_equal(with_kid("one more"), TOKEN_UNAVAILABLE);
    assert_int_equal(with_kid("no1"), TOKEN_INVALID);
    assert_int_equal(with_kid("no0"), TOKEN_UNAVAILABLE); /* the oldest */
}

static void what_is_fetched_must_be_a_set(void **state UNUSED)
{
    set_url();
    take("1");
    tokens_take_fetched(TOKEN_CONNECTION, STR_LIT(URL), STR_LIT("{\"keys\":[]}"), clock_ns());
    tokens_take_fetched(TOKEN_CONNECTION, STR_LIT(URL), STR_LIT(""), clock_ns());
    tokens_take_fetched(TOKEN_CONNECTION, STR_LIT(URL),
                        STR_LIT("{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}"), clock_ns());
    assert_int_equal(with_kid("1"), TOKEN_INVALID);
    assert_string_equal(token_reason(), "its signature is wrong");
    fault_fail_at(1);
    take("2");
    fault_reset();
    take("2");
    assert_int_equal(with_kid("2"), TOKEN_INVALID);
    assert_string_equal(token_reason(), "its signature is wrong");
}

static void keys_are_described_without_themselves(void **state UNUSED)
{
    struct buf out = {0};

    set_url();
    take("a\\\"b");
    assert_int_equal(tokens_describe(&out), 0);
    assert_str(
        buf_view(&out),
        "\"connection\":{\"fetched\":true,\"keys\":[{\"kid\":null,\"valid_until\":0,"
        "\"algorithms\":[\"HS256\",\"HS384\",\"HS512\"]},{\"kid\":\"a\\\"b\",\"valid_until\":0,"
        "\"algorithms\":[\"EdDSA\"]}]},\"subscription\":{\"fetched\":true,\"keys\":[{\"kid\":null,"
        "\"valid_until\":0,\"algorithms\":[\"HS256\",\"HS384\",\"HS512\"]},{\"kid\":\"a\\\"b\","
        "\"valid_until\":0,\"algorithms\":[\"EdDSA\"]}]}");
    buf_fini(&out);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(keys_that_are_fetched), T(a_key_that_is_not_there),
                                       T(keys_that_are_not_there), T(what_is_fetched_must_be_a_set),
                                       T(keys_are_described_without_themselves)};

    return cmocka_run_group_tests_name("proto/token_fetched", tests, NULL, NULL);
}
