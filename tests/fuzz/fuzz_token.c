/* fuzz_token - tokens, claims, sets of keys.
 *
 * The first byte chooses. A token: it is good only if it is one that was signed with these keys, and
 * then it is that one's text. Claims, signed here: what is taken is JSON, lies in one piece, and is
 * the same when it is read again; subscriptions can be walked to the end. Keys: what is taken may
 * verify something, of its kind only. */
#include "base/clock.h"
#include "codec/json.h"
#include "codec/jwks_internal.h"
#include "proto/token_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/codec/rfc_tokens.h"

static void check_token(struct str token)
{
    static const char *const good[] = {A1_TOKEN, A2_TOKEN, A3_TOKEN, A4_TOKEN, OKP_TOKEN};
    static struct jwks set;
    struct buf payload = {0};
    const char *why = NULL;
    bool known = false;

    if (set.n == 0)
        REQUIRE(jwks_add_document(&set,
                                  STR_LIT(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY)),
                                  true, &why) == 0);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        known |= str_equal(token, str_from(good[i]));
    REQUIRE((jwt_verify(&set, token, 0, false, &payload, &why) == JWT_GOOD) == known);
    REQUIRE(known || (payload.len == 0 && why != NULL && why[0] != '\0'));
    if (jwt_verify(&set, token, 0, true, &payload, &why) == JWT_GOOD)
        REQUIRE(payload.len <= token.n);
    buf_fini(&payload);
}

static void check_json(struct str text)
{
    struct json_value v;

    REQUIRE(text.n == 0 || json_parse(text, &v, NULL) == 0);
}

static void check_options(const struct token_options *o)
{
    check_json(o->info);
    check_json(o->data);
    REQUIRE((o->override & ~o->overridden) == 0 && o->overridden < 1u << TOKEN_OVERRIDE_NR);
}

static size_t walk(const struct token_connection *c)
{
    struct str rest = c->subs, channel;
    struct token_options options;
    size_t n = 0;

    while (token_next_sub(c, &rest, &channel, &options)) {
        check_options(&options);
        n += 1 + channel.n + options.info.n + options.data.n;
    }
    return n;
}

static void check_claims(struct str claims)
{
    static struct token_connection c, again;
    struct token_subscription s;
    struct buf token = {0};
    size_t n;

    REQUIRE(token_make(TOKEN_CONNECTION, claims, &token) == 0);
    if (token_verify_connection(buf_view(&token), &c) == TOKEN_GOOD) {
        REQUIRE(token_kind_of(buf_view(&token)) == TOKEN_CONNECTION);
        REQUIRE(token_verify_connection(buf_view(&token), &c) == TOKEN_GOOD);
        check_json(c.info);
        check_json(c.meta);
        REQUIRE(c.expire_at >= 0);
        n = walk(&c);
        REQUIRE(walk(&c) == n);
        REQUIRE(token_verify_connection(buf_view(&token), &again) == TOKEN_GOOD);
        REQUIRE(again.user.n == c.user.n && again.expire_at == c.expire_at);
    } else {
        REQUIRE(token_reason()[0] != '\0');
    }
    if (token_read_subscription(buf_view(&token), &s) == TOKEN_GOOD)
        check_options(&s.options);
    buf_fini(&token);
}

static void check_set(const struct jwks *set)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct jwk *key = &set->keys[i];

        REQUIRE(key->algs != 0 && (key->jose != NULL) == (key->kind != JWK_OKP));
        for (unsigned alg = 0; alg < JWT_ALG_NR; alg++)
            REQUIRE((key->algs & 1u << alg) == 0 || jwks_kind_of((enum jwt_alg)alg) == key->kind);
    }
}

static void check_keys(struct str text, bool secrets)
{
    struct jwks set = {0};
    const char *why = NULL;
    int rc = jwks_add_document(&set, text, secrets, &why);

    REQUIRE((rc == 0) == (set.n > 0));
    check_set(&set);
    for (size_t i = 0; i < set.n && !secrets; i++)
        REQUIRE(set.keys[i].kind != JWK_OCT);
    jwks_fini(&set);
    for (int kind = JWK_RSA; kind <= JWK_OKP; kind++) {
        rc = jwks_add_pem(&set, (enum jwk_kind)kind, text, &why);
        REQUIRE(rc == 0 || why != NULL);
        check_set(&set);
        jwks_fini(&set);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    if (config.max_message_size == 0) {
        config_defaults(&config);
        memcpy(config.keys.text, "secret", 6);
        config.keys.len[0][CONFIG_KEY_HMAC] = 6;
        snprintf(config.token_issuer_regex, sizeof(config.token_issuer_regex), "^(a|b)*$|^$");
        clock_set_virtual(UINT64_C(1700000000) * NS_PER_SEC);
        REQUIRE(tokens_init(NULL) == 0);
    }
    if (size == 0)
        return 0;
    in = str_skip(in, 1);
    switch (data[0]) {
    case 't':
        check_token(in);
        break;
    case 'c':
        check_claims(in);
        break;
    case 'k':
        check_keys(in, true);
        break;
    default:
        check_keys(in, false);
    }
    return 0;
}
