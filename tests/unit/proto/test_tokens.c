/* proto/tokens: claims, rules, rotation; what is said of tokens that are no good. */
#include "proto/tokens.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

#define NOW UINT64_C(1700000000)

static struct buf token, errors;
static struct token_connection con;
static struct token_subscription sub;

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
    buf_fini(&errors);
    clock_set_virtual(0);
    return 0;
}

static struct str made(const char *claims)
{
    token.len = 0;
    assert_int_equal(token_make(TOKEN_CONNECTION, str_from(claims), &token), 0);
    return buf_view(&token);
}

static void assert_connects(const char *claims)
{
    if (token_verify_connection(made(claims), &con) != TOKEN_GOOD)
        fail_msg("%s: %s", claims, token_reason());
    assert_string_equal(token_reason(), "");
}

static void assert_fault(const char *claims, enum token_fault fault, const char *why)
{
    enum token_fault got = token_verify_connection(made(claims), &con);

    if (got != fault || strcmp(token_reason(), why) != 0)
        fail_msg("%s: %d, %s", claims, (int)got, token_reason());
}

static void assert_str(struct str s, const char *expected)
{
    if (!str_equal(s, str_from(expected)))
        fail_msg("%.*s, not %s", STR_ARG(s), expected);
}

static enum token_fault subscribes(const char *claims)
{
    return token_verify_subscription(made(claims), STR_LIT("chat:1"), STR_LIT("42"), STR_LIT("c1"),
                                     &sub);
}

/* ---- connection tokens ---- */

static void a_user(void **state UNUSED)
{
    assert_connects("{\"sub\":\"42\"}");
    assert_str(con.user, "42");
    assert_int_equal(con.expire_at, 0);
    assert_int_equal(con.info.n + con.meta.n + con.subs.n, 0);
    assert_connects("{}");
    assert_str(con.user, "");
    assert_connects("{\"sub\":null,\"info\":null,\"exp\":null,\"channels\":null,\"subs\":null}");
    assert_int_equal(con.info.n, 0);
    assert_connects("{\"sub\":\"42\",\"channel\":\"\"}"); /* of who fills in all members */
    assert_str(con.user, "42");
    assert_connects("{\"sub\":\"\\u00e4\\ud83d\\ude00\\\"\",\"jti\":7,\"other\":[{}]}");
    assert_str(con.user, "\xc3\xa4\xf0\x9f\x98\x80\"");
}

static void info_passes_byte_for_byte(void **state UNUSED)
{
    static const char *const values[] = {"{\"a\": 1.0,\"a\":12345678901234567890, \"b\":\"\\/\"}",
                                         "0", "false", "\"\"", "[ ]"};
    char claims[200];

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(claims, sizeof(claims), "{\"info\": %s ,\"meta\":%s}", values[i], values[i]);
        assert_connects(claims);
        assert_str(con.info, values[i]);
        assert_str(con.meta, values[i]);
    }
    assert_connects("{\"b64info\":\"eyJuIjoxfQ==\",\"info\":2}");
    assert_str(con.info, "{\"n\":1}");
    assert_connects("{\"b64info\":\"\",\"info\":2}");
    assert_str(con.info, "2");
}

static void when_it_ends(void **state UNUSED)
{
    static const struct {
        const char *claims;
        int64_t at;
    } rows[] = {
        {"{\"exp\":1700000001}", 1700000001},
        {"{\"exp\":1700000001.999}", 1700000001},
        {"{\"exp\":1.7000001e9}", 1700000100},
        {"{\"exp\":1e300}", 253402300799},
        {"{\"exp\":1700000001,\"expire_at\":0}", 0},
        {"{\"exp\":1700000001,\"expire_at\":-5}", 0},
        {"{\"exp\":1700000001,\"expire_at\":1800000000}", 1800000000},
        {"{\"expire_at\":5}", 5},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_connects(rows[i].claims);
        assert_int_equal(con.expire_at, rows[i].at);
    }
}

static void times(void **state UNUSED)
{
#define EXP  "it has expired (exp)"
#define NBF  "it is not valid yet (nbf)"
#define IAT  "it was issued in the future (iat)"
#define NAN_ "exp, nbf, iat or expire_at is no number"
    assert_fault("{\"exp\":1700000000}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"exp\":17000000e2}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"exp\":0}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"exp\":-1}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"exp\":-1e400}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"exp\":1600000000,\"expire_at\":0}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"nbf\":1700000001}", TOKEN_EXPIRED, NBF);
    assert_connects("{\"nbf\":1700000000}");
    assert_fault("{\"iat\":1700000061}", TOKEN_EXPIRED, IAT);
    assert_connects("{\"iat\":1700000060}");
    assert_fault("{\"exp\":\"1800000000\"}", TOKEN_INVALID, NAN_);
    assert_fault("{\"exp\":true}", TOKEN_INVALID, NAN_);
    assert_fault("{\"nbf\":{}}", TOKEN_INVALID, NAN_);
    assert_fault("{\"iat\":\"\"}", TOKEN_INVALID, NAN_);
    assert_fault("{\"expire_at\":\"1\"}", TOKEN_INVALID, NAN_);
    config.token_leeway = 5 * (int64_t)NS_PER_SEC;
    tokens_reload();
    assert_connects("{\"exp\":1699999996,\"nbf\":1700000005,\"iat\":1700000065}");
    assert_fault("{\"exp\":1699999995}", TOKEN_EXPIRED, EXP);
    assert_fault("{\"nbf\":1700000006}", TOKEN_EXPIRED, NBF);
    clock_advance(10 * NS_PER_SEC);
    assert_fault("{\"exp\":1700000005}", TOKEN_EXPIRED, EXP);
}

static void forms_that_are_refused(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"", "its payload is no JSON object"},
        {"[]", "its payload is no JSON object"},
        {"{\"sub\":\"42\"", "its payload is no JSON object"},
        {"{\"sub\":\"\xff\"}", "its payload is no JSON object"},
        {"{\"sub\":\"1\",\"sub\":\"2\"}", "a claim is there twice"},
        {"{\"sub\":null,\"s\\u0075b\":\"2\"}", "a claim is there twice"},
        {"{\"exp\":1,\"exp\":1800000000}", "a claim is there twice"},
        {"{\"sub\":42}", "the user's id is no text"},
        {"{\"sub\":[\"42\"]}", "the user's id is no text"},
        {"{\"sub\":\"\\ud800\"}", "the user's id is no text"},
        {"{\"channel\":\"a\"}", "it has a channel: it is a subscription token"},
        {"{\"channel\":7}", "it has a channel: it is a subscription token"},
        {"{\"b64info\":\"e30\"}", "b64info or b64data is no base64 of JSON"},
        {"{\"b64info\":\"/w==\"}", "b64info or b64data is no base64 of JSON"},
        {"{\"b64info\":7}", "b64info or b64data is no base64 of JSON"},
        {"{\"channels\":\"a\"}", "subs is no object, or channels no list"},
        {"{\"channels\":{}}", "subs is no object, or channels no list"},
        {"{\"subs\":[\"a\"]}", "subs is no object, or channels no list"},
        {"{\"channels\":[\"a\",7]}", "channels is no list of texts"},
        {"{\"subs\":{\"a\":7}}", "subs is no object of objects"},
        {"{\"subs\":{\"a\":{\"b64data\":\"?\"}}}", "b64info or b64data is no base64 of JSON"},
        {"{\"subs\":{\"a\":{\"info\":1,\"info\":2}}}", "a claim is there twice"},
        {"{\"subs\":{\"a\":{\"override\":7}}}",
         "override is not of the form {\"presence\":{\"value\":true}}"},
        {"{\"subs\":{\"a\":{\"override\":{\"presence\":true}}}}",
         "override is not of the form {\"presence\":{\"value\":true}}"},
        {"{\"subs\":{\"a\":{\"override\":{\"presence\":{\"value\":1}}}}}",
         "override is not of the form {\"presence\":{\"value\":true}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_fault(rows[i][0], TOKEN_INVALID, rows[i][1]);
}

static void server_side_subscriptions(void **state UNUSED)
{
    struct token_options o;
    struct str rest, channel;

    assert_connects("{\"channels\":[\"a\",\"b\\u003a1\"]}");
    for (int twice = 0; twice < 2; twice++) {
        rest = con.subs;
        assert_true(token_next_sub(&con, &rest, &channel, &o));
        assert_str(channel, "a");
        assert_int_equal(o.info.n + o.data.n + o.overridden, 0);
        assert_true(token_next_sub(&con, &rest, &channel, &o));
        assert_str(channel, "b:1");
        assert_false(token_next_sub(&con, &rest, &channel, &o));
    }
    assert_connects("{\"channels\":[\"not\"],\"subs\":{"
                    "\"a\":{\"info\":{\"x\":1},\"b64data\":\"WzFd\",\"override\":"
                    "{\"presence\":{\"value\":true},\"join_leave\":{},\"force_recovery\":null,"
                    "\"more\":1}},\"b\":null,\"c\":{}}}");
    rest = con.subs;
    assert_true(token_next_sub(&con, &rest, &channel, &o));
    assert_str(channel, "a");
    assert_str(o.info, "{\"x\":1}");
    assert_str(o.data, "[1]");
    assert_true(token_option(&o, TOKEN_PRESENCE, false));
    assert_false(token_option(&o, TOKEN_JOIN_LEAVE, true));
    assert_true(token_option(&o, TOKEN_FORCE_RECOVERY, true));
    assert_false(token_option(&o, TOKEN_FORCE_RECOVERY, false));
    assert_true(token_next_sub(&con, &rest, &channel, &o));
    assert_str(channel, "b");
    assert_int_equal(o.info.n + o.data.n + o.overridden, 0);
    assert_true(token_next_sub(&con, &rest, &channel, &o));
    assert_false(token_next_sub(&con, &rest, &channel, &o));
    assert_connects("{\"channels\":[\"a\"],\"subs\":{}}");
    rest = con.subs;
    assert_true(token_next_sub(&con, &rest, &channel, &o));
    assert_connects("{\"sub\":\"1\"}");
    rest = con.subs;
    assert_false(token_next_sub(&con, &rest, &channel, &o));
}

/* ---- rules ---- */

static void audience_and_issuer(void **state UNUSED)
{
#define AUD "its audience (aud) is another"
#define ISS "its issuer (iss) is another"
    snprintf(config.token_audience, sizeof(config.token_audience), "app");
    snprintf(config.token_issuer, sizeof(config.token_issuer), "me");
    tokens_reload();
    assert_connects("{\"aud\":\"app\",\"iss\":\"me\"}");
    assert_connects("{\"aud\":[\"other\",\"a\\u0070p\"],\"iss\":\"me\"}");
    assert_fault("{\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":[],\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":[7,\"apps\"],\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":\"App\",\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":{\"app\":1},\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":\"app\"}", TOKEN_INVALID, ISS);
    assert_fault("{\"aud\":\"app\",\"iss\":\"\"}", TOKEN_INVALID, ISS);
    assert_fault("{\"aud\":\"app\",\"iss\":[\"me\"]}", TOKEN_INVALID, ISS);
    config.token_audience[0] = config.token_issuer[0] = '\0';
    snprintf(config.token_audience_regex, sizeof(config.token_audience_regex), "^app-[0-9]+$");
    snprintf(config.token_issuer_regex, sizeof(config.token_issuer_regex), "me");
    tokens_reload();
    assert_connects("{\"aud\":[\"x\",\"app-12\"],\"iss\":\"not me alone\"}");
    assert_fault("{\"aud\":\"app-12\\n\",\"iss\":\"me\"}", TOKEN_INVALID, AUD);
    assert_fault("{\"aud\":\"app-1\",\"iss\":\"you\"}", TOKEN_INVALID, ISS);
}

/* (a+)+$ is what backtracks without end. */
static void an_expression_is_bounded(void **state UNUSED)
{
    char claims[300];
    int n = snprintf(claims, sizeof(claims), "{\"iss\":\"");

    snprintf(config.token_issuer_regex, sizeof(config.token_issuer_regex), "^(a+)+$");
    tokens_reload();
    memset(claims + n, 'a', 200);
    snprintf(claims + n + 200, sizeof(claims) - (size_t)n - 200, "!\"}");
    assert_fault(claims, TOKEN_INVALID, ISS);
}

static void another_claim_for_the_user(void **state UNUSED)
{
    static const char *const no_ids[] = {"{\"uid\":2.0}", "{\"uid\":2e3}", "{\"uid\":true}",
                                         "{\"uid\":[\"2\"]}", "{\"uid\":{}}"};

    snprintf(config.token_user_id_claim, sizeof(config.token_user_id_claim), "uid");
    tokens_reload();
    assert_connects("{\"sub\":\"1\",\"uid\":\"2\"}");
    assert_str(con.user, "2");
    assert_connects("{\"sub\":\"1\"}");
    assert_str(con.user, "");
    assert_connects("{\"sub\":\"1\",\"uid\":null}");
    assert_str(con.user, "");
    assert_connects("{\"uid\":2}"); /* as it stands there */
    assert_str(con.user, "2");
    assert_connects("{\"uid\":-12345678901234567890}");
    assert_str(con.user, "-12345678901234567890");
    for (size_t i = 0; i < ARRAY_LEN(no_ids); i++)
        assert_fault(no_ids[i], TOKEN_INVALID, "the user's id is no text");
    assert_fault("{\"uid\":\"1\",\"uid\":\"2\"}", TOKEN_INVALID, "a claim is there twice");
    snprintf(config.token_user_id_claim, sizeof(config.token_user_id_claim), "sub");
    tokens_reload();
    assert_connects("{\"sub\":\"1\"}");
    assert_str(con.user, "1");
}

/* ---- subscription tokens ---- */

static void a_subscription(void **state UNUSED)
{
    assert_int_equal(subscribes("{\"sub\":\"42\",\"channel\":\"chat:1\",\"client\":\"c1\",\"exp\":"
                                "1800000000,\"info\":7,\"b64data\":\"e30=\",\"override\":"
                                "{\"force_positioning\":{\"value\":true}}}"),
                     TOKEN_GOOD);
    assert_int_equal(sub.expire_at, 1800000000);
    assert_str(sub.options.info, "7");
    assert_str(sub.options.data, "{}");
    assert_true(token_option(&sub.options, TOKEN_FORCE_POSITIONING, false));
    assert_int_equal(subscribes("{\"sub\":\"42\",\"channel\":\"chat:1\"}"), TOKEN_GOOD);
    assert_int_equal(sub.expire_at, 0);
}

static void a_subscription_of_another(void **state UNUSED)
{
    static const struct {
        const char *claims;
        enum token_fault fault;
        const char *why;
    } rows[] = {
        {"{\"sub\":\"42\",\"channel\":\"chat:2\"}", TOKEN_MISMATCH, "it is for another channel"},
        {"{\"sub\":\"42\"}", TOKEN_INVALID, "it has no channel: it is a connection token"},
        {"{\"sub\":\"42\",\"channel\":\"\"}", TOKEN_INVALID,
         "it has no channel: it is a connection token"},
        {"{\"sub\":\"43\",\"channel\":\"chat:1\"}", TOKEN_MISMATCH, "it is for another user"},
        {"{\"channel\":\"chat:1\"}", TOKEN_MISMATCH, "it is for another user"},
        {"{\"sub\":\"42\",\"channel\":\"chat:1\",\"client\":\"c2\"}", TOKEN_MISMATCH,
         "it is for another client"},
        {"{\"sub\":\"42\",\"channel\":7}", TOKEN_INVALID, "user, channel or client is no text"},
        {"{\"sub\":\"42\",\"channel\":\"chat:1\",\"exp\":5}", TOKEN_EXPIRED, EXP},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(subscribes(rows[i].claims), rows[i].fault);
        assert_string_equal(token_reason(), rows[i].why);
    }
    assert_int_equal(token_read_subscription(made("{\"channel\":\"x\"}"), &sub), TOKEN_GOOD);
    assert_str(sub.channel, "x");
}

static void keys_of_their_own(void **state UNUSED)
{
    made("{\"sub\":\"42\",\"channel\":\"chat:1\"}");
    config.subscription_token_enabled = true;
    tokens_reload();
    assert_false(tokens_configured(TOKEN_SUBSCRIPTION));
    assert_int_equal(token_read_subscription(buf_view(&token), &sub), TOKEN_INVALID);
    assert_string_equal(token_reason(), "no token key is set");
    set_secret(true, "another");
    tokens_reload();
    assert_int_equal(token_read_subscription(buf_view(&token), &sub), TOKEN_INVALID);
    token.len = 0;
    assert_int_equal(token_make(TOKEN_SUBSCRIPTION, STR_LIT("{\"channel\":\"x\"}"), &token), 0);
    assert_int_equal(token_read_subscription(buf_view(&token), &sub), TOKEN_GOOD);
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_INVALID);
}

/* ---- the process's set ---- */

static void no_key(void **state UNUSED)
{
    made("{}");
    set_secret(false, "");
    tokens_reload();
    assert_false(tokens_configured(TOKEN_CONNECTION));
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_INVALID);
    assert_string_equal(token_reason(), "no token key is set");
    assert_int_equal(token_make(TOKEN_CONNECTION, STR_LIT("{}"), &token), -1);
    config.insecure_skip_token_signature_verify = true;
    tokens_reload();
    assert_true(tokens_configured(TOKEN_CONNECTION));
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_GOOD);
}

static void the_previous_secret(void **state UNUSED)
{
    made("{}");
    set_secret(false, "new");
    memcpy(config.keys.text + 3, "secret", 6);
    config.keys.len[0][CONFIG_KEY_HMAC_PREVIOUS] = 6;
    config.token_hmac_previous_secret_key_valid_until = (int64_t)NOW + 10;
    tokens_reload();
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_GOOD);
    clock_advance(11 * NS_PER_SEC);
    assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_INVALID);
    assert_int_equal(token_verify_connection(made("{}"), &con), TOKEN_GOOD);
}

static void settings_that_are_refused(void **state UNUSED)
{
    memcpy(config.keys.text + 6, "nonsense{}", 10);
    config.keys.len[0][CONFIG_KEY_RSA] = 8;
    config.keys.len[0][CONFIG_KEY_JWKS] = 2;
    snprintf(config.token_issuer, sizeof(config.token_issuer), "me");
    snprintf(config.token_issuer_regex, sizeof(config.token_issuer_regex), "me");
    snprintf(config.token_audience_regex, sizeof(config.token_audience_regex), "(");
    assert_int_equal(tokens_check(&config, &errors), -1);
    assert_int_equal(buf_append_char(&errors, '\0'), 0);
    assert_non_null(strstr(errors.p, "token_rsa_public_key: the key is no public key or "));
    assert_non_null(strstr(errors.p, "token_jwks_file: the key set is no JSON object"));
    assert_non_null(strstr(errors.p, "token_issuer_regex: the setting without _regex"));
    assert_non_null(strstr(errors.p, "token_audience_regex: missing"));
    tokens_reload(); /* the old ones stay */
    assert_connects("{\"iss\":\"you\"}");
}

static void no_memory(void **state UNUSED)
{
    static const char claims[] = "{\"sub\":\"42\",\"subs\":{\"a\":{\"b64info\":\"e30=\"}}}";
    unsigned long n;

    made(claims);
    for (int i = 0; i < 2; i++) {
        buf_fini(&tokens.payload);
        buf_fini(&tokens.text);
        buf_fini(&tokens.sub);
        fault_reset();
        assert_int_equal(token_verify_connection(buf_view(&token), &con), TOKEN_GOOD);
    }
    n = fault_count();
    for (unsigned long k = 1; k <= n; k++) {
        enum token_fault fault;

        buf_fini(&tokens.payload);
        buf_fini(&tokens.text);
        buf_fini(&tokens.sub);
        fault_fail_at(k);
        fault = token_verify_connection(buf_view(&token), &con);
        if (fault != TOKEN_UNAVAILABLE)
            fail_msg("allocation %lu: %d, %s", k, (int)fault, token_reason());
    }
    fault_reset();
    tokens_reload();
    n = fault_count();
    for (unsigned long k = 1; k <= n; k++) {
        fault_fail_at(k);
        tokens_reload();
        fault_reset();
        assert_connects(claims);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_user),
        T(info_passes_byte_for_byte),
        T(when_it_ends),
        T(times),
        T(forms_that_are_refused),
        T(server_side_subscriptions),
        T(audience_and_issuer),
        T(an_expression_is_bounded),
        T(another_claim_for_the_user),
        T(a_subscription),
        T(a_subscription_of_another),
        T(keys_of_their_own),
        T(no_key),
        T(the_previous_secret),
        T(settings_that_are_refused),
        T(no_memory),
    };

    return cmocka_run_group_tests_name("proto/tokens", tests, NULL, NULL);
}
