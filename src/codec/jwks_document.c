/* codec/jwks_document.c - JWK sets (RFC 7517). */
#include "codec/base64.h"
#include "codec/json.h"
#include "jwks_internal.h"

#define KID_MAX 255

struct members { /* of one JWK, unescaped or decoded; n 0: absent */
    struct str kty, use, alg, kid, crv;
    struct str n, e, x, y, k;
    bool verifies; /* key_ops allows it, or is absent */
    bool kid_is_wrong;
};

/* Text members and base64url members, by name; the rest, private parts too, is not read. */
static const struct {
    const char *name;
    size_t offset;
    bool bytes;
} fields[] = {
    {"kty", offsetof(struct members, kty), false}, {"use", offsetof(struct members, use), false},
    {"alg", offsetof(struct members, alg), false}, {"kid", offsetof(struct members, kid), false},
    {"crv", offsetof(struct members, crv), false}, {"n", offsetof(struct members, n), true},
    {"e", offsetof(struct members, e), true},      {"x", offsetof(struct members, x), true},
    {"y", offsetof(struct members, y), true},      {"k", offsetof(struct members, k), true},
};

/* Appends to *text, which has room for all that a JWK's text can become: views stay good. */
static void read_field(const struct json_value *value, bool bytes, struct buf *text,
                       struct str *out)
{
    size_t start = text->len, plain;

    if (value->type != JSON_STRING || json_string(value, text) == -1)
        return;
    if (bytes) {
        plain = text->len;
        if (base64url_decode((struct str){text->p + start, plain - start}, text) == -1)
            return;
        start = plain;
    }
    *out = (struct str){text->p + start, text->len - start};
}

static bool allows_verify(const struct json_value *ops)
{
    struct str rest = ops->raw;
    struct json_value op;

    while (ops->type == JSON_ARRAY && json_element(&rest, &op))
        if (json_string_equal(&op, STR_LIT("verify")))
            return true;
    return false;
}

static void read_members(const struct json_value *object, struct buf *text, struct members *m)
{
    struct str rest = object->raw;
    struct json_value key, value;

    *m = (struct members){.verifies = true};
    while (json_member(&rest, &key, &value)) {
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (json_string_equal(&key, str_from(fields[i].name)))
                read_field(&value, fields[i].bytes, text,
                           (struct str *)(void *)((char *)m + fields[i].offset));
        if (json_string_equal(&key, STR_LIT("key_ops")))
            m->verifies = allows_verify(&value);
        if (json_string_equal(&key, STR_LIT("kid")) && value.type != JSON_STRING)
            m->kid_is_wrong = true;
    }
}

static int set_secret(struct jwk *key, const struct members *m, const char **why)
{
    struct jwks one = {0};

    if (jwks_add_secret(&one, m->k, 0, why) == -1)
        return -1;
    *key = one.keys[0];
    return 0;
}

static int set_key(struct jwk *key, const struct members *m, bool secrets, const char **why)
{
    if (str_equal(m->kty, STR_LIT("RSA")))
        return jwk_set_rsa(key, m->n, m->e, why);
    if (str_equal(m->kty, STR_LIT("EC")))
        return jwk_set_ec(key, m->crv, m->x, m->y, why);
    if (str_equal(m->kty, STR_LIT("OKP")))
        return jwk_set_okp(key, m->crv, m->x, why);
    if (secrets && str_equal(m->kty, STR_LIT("oct")))
        return set_secret(key, m, why);
    *why = "is of no kind that verifies tokens";
    return -1;
}

/* Its own alg narrows what the key may verify. */
static int narrow(struct jwk *key, const struct members *m, const char **why)
{
    int alg = jwks_find_alg(m->alg);

    if (m->alg.n > 0)
        key->algs &= alg == -1 ? 0 : 1u << alg;
    if (key->algs == 0)
        *why = "has an alg that is none of its kind";
    return key->algs == 0 ? -1 : 0;
}

/* before: keys there when the document began. >0 added, 0 passed over, -1 no memory or too many. */
static int add_one(struct jwks *set, size_t before, const struct json_value *object, bool secrets,
                   struct buf *text, const char **why)
{
    struct jwk *key;
    struct members m;

    text->len = 0;
    /* Unescaping makes no text longer, decoding makes it shorter. */
    if (buf_reserve(text, 2 * object->raw.n) == -1) {
        *why = jwt_no_memory;
        return -1;
    }
    read_members(object, text, &m);
    if (m.kid.n > KID_MAX || m.kid_is_wrong || !m.verifies ||
        (m.use.n > 0 && !str_equal(m.use, STR_LIT("sig"))))
        return 0;
    if (set->n - before == JWKS_MAX) {
        *why = "is one too many: a set may have 64";
        return -1;
    }
    key = jwks_next(set, why);
    if (key == NULL)
        return -1;
    if (set_key(key, &m, secrets, why) == -1 || narrow(key, &m, why) == -1) {
        bool memory = *why == jwt_no_memory;

        jwk_fini(key);
        return memory ? -1 : 0;
    }
    key->has_kid = m.kid.n > 0;
    if (buf_append(&key->kid, m.kid) == -1) {
        *why = jwt_no_memory;
        jwk_fini(key);
        return -1;
    }
    return jwks_commit(set, key, why) == -1 ? -1 : 1;
}

static int add_all(struct jwks *set, const struct json_value *keys, bool secrets, const char **why)
{
    struct str rest = keys->raw;
    struct json_value one;
    struct buf text = {0};
    size_t before = set->n;
    int rc = 0;

    *why = "set has no key in it";
    while (rc >= 0 && json_element(&rest, &one))
        if (one.type == JSON_OBJECT)
            rc = add_one(set, before, &one, secrets, &text, why);
    buf_fini(&text);
    if (rc >= 0 && set->n > before)
        return 0;
    while (set->n > before)
        jwk_fini(&set->keys[--set->n]);
    return -1;
}

int jwks_add_document(struct jwks *set, struct str json, bool secrets, const char **why)
{
    struct json_value document, keys;

    if (json_parse(json, &document, NULL) == -1 || document.type != JSON_OBJECT ||
        !json_get(&document, STR_LIT("keys"), &keys) || keys.type != JSON_ARRAY) {
        *why = "set is no JSON object with an array \"keys\"";
        return -1;
    }
    return add_all(set, &keys, secrets, why);
}
