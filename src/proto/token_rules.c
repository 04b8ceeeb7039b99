/* proto/token_rules.c - keys and rules for tokens, from the settings. */
#include "token_internal.h"

struct settings { /* of one kind of tokens */
    const char *prefix;
    bool subscription;
    const char *url, *audience, *audience_regex, *issuer, *issuer_regex, *user_claim;
    int64_t previous_until;
};
#define SETTINGS(c, name, is_subscription)                                                         \
    {                                                                                              \
        .prefix = #name, .subscription = (is_subscription), .url = (c)->name##_jwks_url,           \
        .audience = (c)->name##_audience, .audience_regex = (c)->name##_audience_regex,            \
        .issuer = (c)->name##_issuer, .issuer_regex = (c)->name##_issuer_regex,                    \
        .user_claim = (c)->name##_user_id_claim,                                                   \
        .previous_until = (c)->name##_hmac_previous_secret_key_valid_until                         \
    }

static void report(struct buf *errors, const struct settings *s, const char *setting,
                   const char *subject, const char *why)
{
    if (buf_printf(errors, "%s_%s: %s%s\n", s->prefix, setting, subject, why) == -1)
        return;
}

static int add_key(const struct config *c, const struct settings *s, enum config_key which,
                   struct jwks *set, const char **why)
{
    struct str text = config_key_text(c, s->subscription, which);

    if (text.n == 0)
        return 0;
    switch (which) {
    case CONFIG_KEY_HMAC:
        return jwks_add_secret(set, text, 0, why);
    case CONFIG_KEY_HMAC_PREVIOUS:
        return jwks_add_secret(set, text, s->previous_until, why);
    case CONFIG_KEY_RSA:
        return jwks_add_pem(set, JWK_RSA, text, why);
    case CONFIG_KEY_ECDSA:
        return jwks_add_pem(set, JWK_EC, text, why);
    case CONFIG_KEY_EDDSA:
        return jwks_add_pem(set, JWK_OKP, text, why);
    case CONFIG_KEY_JWKS:
        return jwks_add_document(set, text, true, why);
    case CONFIG_KEY_NR:
        break;
    }
    return 0;
}

static int add_keys(const struct config *c, const struct settings *s, struct jwks *set,
                    struct buf *errors)
{
    static const char *const names[CONFIG_KEY_NR][2] = {
#define KEY_TEXT(id, text, file) {text, file},
#include "tbl/key_texts.def"
    };
    const char *why;
    int rc = 0;

    for (int k = 0; k < CONFIG_KEY_NR; k++) {
        if (add_key(c, s, (enum config_key)k, set, &why) == 0)
            continue;
        report(errors, s, names[k][0][0] != '\0' ? names[k][0] : names[k][1], "the key ", why);
        rc = -1;
    }
    return rc;
}

static int add_fetched(const struct config *c, const struct settings *s, struct token_rules *r,
                       struct buf *errors)
{
    struct str text = token_fetched_text(c, r->from);
    const char *why;

    r->fetches = s->url[0] != '\0';
    r->fetched = r->fetches && text.n > 0;
    if (!r->fetched || jwks_add_document(&r->keys, text, false, &why) == 0)
        return 0;
    report(errors, s, "jwks_url", "the key ", why);
    return -1;
}

static int add_regex(const struct settings *s, const char *name, const char *pattern,
                     const char *exact, struct regex **out, struct buf *errors)
{
    char err[256];

    if (pattern[0] == '\0')
        return 0;
    if (exact[0] != '\0') {
        report(errors, s, name, "",
               "the setting without _regex is set as well; remove one of them");
        return -1;
    }
    *out = regex_new(str_from(pattern), err, sizeof(err));
    if (*out == NULL)
        report(errors, s, name, "", err);
    return *out == NULL ? -1 : 0;
}

int token_rules_build(const struct config *c, enum token_kind kind, struct token_rules *r,
                      struct buf *errors)
{
    const struct settings of[TOKEN_KIND_NR] = {SETTINGS(c, token, false),
                                               SETTINGS(c, subscription_token, true)};
    bool own = kind == TOKEN_SUBSCRIPTION && c->subscription_token_enabled;
    const struct settings *s = &of[own ? TOKEN_SUBSCRIPTION : TOKEN_CONNECTION];
    int bad = 0;

    memset(r, 0, sizeof(*r));
    r->skip_signature = c->insecure_skip_token_signature_verify;
    r->leeway = c->token_leeway / INT64_C(1000000000);
    bad |= str_copy(str_from(s->audience), r->audience, sizeof(r->audience));
    bad |= str_copy(str_from(s->issuer), r->issuer, sizeof(r->issuer));
    bad |= str_copy(str_from(s->user_claim), r->user_claim, sizeof(r->user_claim));
    r->from = own ? TOKEN_SUBSCRIPTION : TOKEN_CONNECTION;
    bad |= add_keys(c, s, &r->keys, errors);
    bad |= add_fetched(c, s, r, errors);
    bad |=
        add_regex(s, "audience_regex", s->audience_regex, s->audience, &r->audience_regex, errors);
    bad |= add_regex(s, "issuer_regex", s->issuer_regex, s->issuer, &r->issuer_regex, errors);
    if (bad != 0)
        token_rules_fini(r);
    return bad == 0 ? 0 : -1;
}

void token_rules_fini(struct token_rules *r)
{
    jwks_fini(&r->keys);
    regex_free(r->audience_regex);
    regex_free(r->issuer_regex);
    memset(r, 0, sizeof(*r));
}
