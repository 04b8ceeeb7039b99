/* proto/token_claims.c - what a verified payload says. */
#include <math.h>

#include "codec/base64.h"
#include "token_internal.h"

#define TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

static const char *const names[CLAIM_NR] = {
#define CLAIM(id, name) name,
#include "tbl/claims.def"
};
static const char *const overrides[] = {
#define OVERRIDE(id, name) name,
#include "tbl/tokens.def"
};

static const char *name_of(size_t claim, const struct token_rules *r)
{
    return claim == CLAIM_USER ? r->user_claim : names[claim];
}

/* Names must be unique (RFC 7519 §4): of two, another reader might take the other one. */
static int take_claim(const struct json_value *key, const struct json_value *value,
                      const struct token_rules *r, struct token_claims *out)
{
    bool seen_null = value->type == JSON_NULL;

    for (size_t i = 0; i < CLAIM_NR; i++) {
        const char *name = r == NULL ? names[i] : name_of(i, r);

        if (name == NULL || name[0] == '\0' || !json_string_equal(key, str_from(name)))
            continue;
        if (out->values[i].raw.n > 0)
            return -1;
        out->values[i] = *value;
        out->has[i] = !seen_null;
    }
    return 0;
}

static int read_object(const struct json_value *object, const struct token_rules *r,
                       struct token_claims *out, const char **why)
{
    struct str rest = object->raw;
    struct json_value key, value;

    memset(out, 0, sizeof(*out));
    while (json_member(&rest, &key, &value)) {
        if (take_claim(&key, &value, r, out) == -1) {
            *why = "a claim is there twice";
            return -1;
        }
    }
    return 0;
}

int token_claims_read(struct str payload, const struct token_rules *r, struct token_claims *out,
                      const char **why)
{
    struct json_value object;

    *why = "its payload is no JSON object";
    if (json_parse(payload, &object, NULL) == -1 || object.type != JSON_OBJECT)
        return -1;
    return read_object(&object, r, out, why);
}

static int text_of(const struct json_value *v, struct buf *text, struct str *out)
{
    size_t start = text->len;

    if (v->type != JSON_STRING || json_string(v, text) == -1)
        return -1;
    *out = (struct str){text->p + start, text->len - start};
    return 0;
}

int token_claim_text(const struct token_claims *claims, enum token_claim which, struct buf *text,
                     struct str *out)
{
    *out = STR_LIT("");
    return claims->has[which] ? text_of(&claims->values[which], text, out) : 0;
}

bool token_claims_channel(const struct token_claims *claims)
{
    const struct json_value *channel = &claims->values[CLAIM_CHANNEL];

    return claims->has[CLAIM_CHANNEL] && !json_string_equal(channel, STR_LIT(""));
}

/* As a database counts its users: -, digits. */
static bool is_whole(const struct json_value *v)
{
    struct str digits = v->raw;

    if (v->type != JSON_NUMBER)
        return false;
    if (digits.p[0] == '-')
        digits = str_skip(digits, 1);
    while (digits.n > 0 && digits.p[0] >= '0' && digits.p[0] <= '9')
        digits = str_skip(digits, 1);
    return digits.n == 0;
}

int token_claims_user(const struct token_claims *claims, const struct token_rules *r,
                      struct buf *text, struct str *out)
{
    const struct json_value *own = &claims->values[CLAIM_USER];

    if (r->user_claim[0] == '\0')
        return token_claim_text(claims, CLAIM_SUB, text, out);
    if (!claims->has[CLAIM_USER] || !is_whole(own))
        return token_claim_text(claims, CLAIM_USER, text, out);
    *out = own->raw;
    return 0;
}

/* Whole seconds; fractions are cut off, as most libraries do. */
static int seconds_of(const struct json_value *v, int64_t *out)
{
    char text[64];
    double d;

    if (v->type != JSON_NUMBER || str_copy(v->raw, text, sizeof(text)) == -1)
        return -1;
    d = strtod(text, NULL);
    *out = !(d > -1) ? -1 : d > (double)TIME_MAX ? TIME_MAX : (int64_t)floor(d);
    return 0;
}

static int claim_seconds(const struct token_claims *claims, enum token_claim which, int64_t *out)
{
    return seconds_of(&claims->values[which], out);
}

int token_claims_end(const struct token_claims *claims, int64_t *out)
{
    enum token_claim which = claims->has[CLAIM_EXPIRE_AT] ? CLAIM_EXPIRE_AT : CLAIM_EXP;

    *out = 0;
    if (claims->has[which] && claim_seconds(claims, which, out) == -1)
        return -1;
    *out = MAX(*out, 0);
    return 0;
}

/* RFC 7519 §4.1.4 to §4.1.6. */
static enum token_fault check_times(const struct token_claims *claims, int64_t leeway, int64_t now,
                                    const char **why)
{
    int64_t at;

    *why = "exp, nbf, iat or expire_at is no number";
    if (token_claims_end(claims, &at) == -1)
        return TOKEN_INVALID;
    if (claims->has[CLAIM_EXP]) {
        if (claim_seconds(claims, CLAIM_EXP, &at) == -1)
            return TOKEN_INVALID;
        if (at + leeway <= now) {
            *why = "it has expired (exp)";
            return TOKEN_EXPIRED;
        }
    }
    if (claims->has[CLAIM_NBF]) {
        if (claim_seconds(claims, CLAIM_NBF, &at) == -1)
            return TOKEN_INVALID;
        if (at - leeway > now) {
            *why = "it is not valid yet (nbf)";
            return TOKEN_EXPIRED;
        }
    }
    if (claims->has[CLAIM_IAT]) {
        if (claim_seconds(claims, CLAIM_IAT, &at) == -1)
            return TOKEN_INVALID;
        if (at - leeway - TOKEN_IAT_LEEWAY > now) {
            *why = "it was issued in the future (iat)";
            return TOKEN_EXPIRED;
        }
    }
    return TOKEN_GOOD;
}

static bool fits(struct str value, const char *exact, const struct regex *re)
{
    return (exact[0] == '\0' || str_equal(value, str_from(exact))) &&
           (re == NULL || regex_match(re, value));
}

/* One text, or an array of them of which one must fit (RFC 7519 §4.1.3). */
static bool audience_fits(const struct token_claims *claims, const struct token_rules *r,
                          struct buf *text)
{
    const struct json_value *aud = &claims->values[CLAIM_AUD];
    struct str rest = aud->raw, value;
    struct json_value one;
    size_t start = text->len;
    bool good = false;

    if (r->audience[0] == '\0' && r->audience_regex == NULL)
        return true;
    if (!claims->has[CLAIM_AUD])
        return false;
    if (aud->type == JSON_STRING)
        good = text_of(aud, text, &value) == 0 && fits(value, r->audience, r->audience_regex);
    while (aud->type == JSON_ARRAY && !good && json_element(&rest, &one)) {
        text->len = start;
        good = text_of(&one, text, &value) == 0 && fits(value, r->audience, r->audience_regex);
    }
    text->len = start;
    return good;
}

static bool issuer_fits(const struct token_claims *claims, const struct token_rules *r,
                        struct buf *text)
{
    size_t start = text->len;
    struct str value;
    bool good;

    if (r->issuer[0] == '\0' && r->issuer_regex == NULL)
        return true;
    good = claims->has[CLAIM_ISS] && text_of(&claims->values[CLAIM_ISS], text, &value) == 0 &&
           fits(value, r->issuer, r->issuer_regex);
    text->len = start;
    return good;
}

enum token_fault token_claims_check(const struct token_claims *claims, const struct token_rules *r,
                                    int64_t now, struct buf *text, const char **why)
{
    enum token_fault fault = check_times(claims, r->leeway, now, why);

    if (fault != TOKEN_GOOD)
        return fault;
    *why = "its audience (aud) is another";
    if (!audience_fits(claims, r, text))
        return TOKEN_INVALID;
    *why = "its issuer (iss) is another";
    return issuer_fits(claims, r, text) ? TOKEN_GOOD : TOKEN_INVALID;
}

/* The raw text of one claim, or what the other one holds in base64; that must be JSON, too, as it
 * stands in JSON for other clients. */
static int json_claim(const struct token_claims *claims, enum token_claim raw,
                      enum token_claim base64, struct buf *text, struct str *out)
{
    struct json_value v;
    struct str encoded;
    size_t start;

    *out = STR_NULL;
    if (token_claim_text(claims, base64, text, &encoded) == -1)
        return -1;
    if (encoded.n == 0) {
        if (claims->has[raw])
            *out = claims->values[raw].raw;
        return 0;
    }
    start = text->len;
    if (base64_decode(encoded, text) == -1)
        return -1;
    *out = (struct str){text->p + start, text->len - start};
    return json_parse(*out, &v, NULL);
}

/* {"presence":{"value":true}}; without a value it is false. */
static int read_override(const struct json_value *object, struct token_options *out)
{
    struct str rest = object->raw;
    struct json_value key, member, value;

    if (object->type != JSON_OBJECT)
        return -1;
    while (json_member(&rest, &key, &member)) {
        for (unsigned i = 0; i < ARRAY_LEN(overrides); i++) {
            uint8_t bit = (uint8_t)(1u << i);
            bool said;

            if (!json_string_equal(&key, str_from(overrides[i])) || member.type == JSON_NULL)
                continue;
            if (member.type != JSON_OBJECT)
                return -1;
            said = json_get(&member, STR_LIT("value"), &value) && value.type != JSON_NULL;
            if (said && value.type != JSON_TRUE && value.type != JSON_FALSE)
                return -1;
            out->overridden |= bit;
            out->override &= (uint8_t)~bit;
            if (said && value.type == JSON_TRUE)
                out->override |= bit;
        }
    }
    return 0;
}

int token_claims_options(const struct token_claims *claims, struct buf *text,
                         struct token_options *out, const char **why)
{
    *out = (struct token_options){.overridden = 0};
    *why = "b64info or b64data is no base64 of JSON";
    if (json_claim(claims, CLAIM_INFO, CLAIM_B64INFO, text, &out->info) == -1 ||
        json_claim(claims, CLAIM_DATA, CLAIM_B64DATA, text, &out->data) == -1)
        return -1;
    *why = "override is not of the form {\"presence\":{\"value\":true}}";
    return claims->has[CLAIM_OVERRIDE] ? read_override(&claims->values[CLAIM_OVERRIDE], out) : 0;
}

int token_claims_sub(const struct token_connection *t, struct str *rest, struct buf *text,
                     struct str *channel, struct token_options *out, const char **why)
{
    struct json_value key, value = {.type = JSON_NULL};
    struct token_claims claims = {.has = {false}};

    if (t->subs_are_names ? !json_element(rest, &key) : !json_member(rest, &key, &value))
        return 0;
    *why = "channels is no list of texts";
    if (text_of(&key, text, channel) == -1)
        return -1;
    *why = "subs is no object of objects";
    if (value.type != JSON_NULL &&
        (value.type != JSON_OBJECT || read_object(&value, NULL, &claims, why) == -1))
        return -1;
    return token_claims_options(&claims, text, out, why) == -1 ? -1 : 1;
}
