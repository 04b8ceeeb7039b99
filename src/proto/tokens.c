/* proto/tokens.c - a token against keys and rules in force. */
#include "proto/tokens.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "token_internal.h"

static struct {
    struct token_rules *rules[TOKEN_KIND_NR]; /* owned */
    struct buf payload; /* of the token verified last: claims are views of it, */
    struct buf text;    /* and of this, for what is not there as it is needed */
    struct buf sub;     /* the same for token_next_sub() */
    const char *reason;
} tokens = {.reason = ""};

static void free_rules(struct token_rules *rules[TOKEN_KIND_NR])
{
    for (int k = 0; k < TOKEN_KIND_NR; k++) {
        if (rules[k] != NULL)
            token_rules_fini(rules[k]);
        free(rules[k]);
        rules[k] = NULL;
    }
}

static int build(const struct config *c, struct token_rules *out[TOKEN_KIND_NR], struct buf *errors)
{
    for (int k = 0; k < TOKEN_KIND_NR; k++) {
        out[k] = malloc(sizeof(*out[k]));
        if (out[k] == NULL || token_rules_build(c, (enum token_kind)k, out[k], errors) == -1) {
            free_rules(out);
            return -1;
        }
    }
    return 0;
}

int tokens_check(const struct config *c, struct buf *errors)
{
    struct token_rules *rules[TOKEN_KIND_NR] = {NULL};
    size_t before = errors->len;

    if (build(c, rules, errors) == -1) {
        if (errors->len == before && buf_append_lit(errors, "no memory for the token keys\n") == -1)
            return -1;
        return -1;
    }
    free_rules(rules);
    return 0;
}

static int take_rules(void)
{
    struct token_rules *fresh[TOKEN_KIND_NR] = {NULL};
    struct buf errors = {0};

    if (build(&config, fresh, &errors) == -1) {
        LOG(LOG_ERROR, "the keys of tokens cannot be taken",
            KV_STR("reason", errors.len > 0 ? buf_view(&errors) : STR_LIT("no memory")));
        buf_fini(&errors);
        return -1;
    }
    free_rules(tokens.rules);
    memcpy(tokens.rules, fresh, sizeof(fresh));
    return 0;
}

int tokens_init(struct task_queue *tasks)
{
    token_queue_init(tasks);
    return take_rules();
}

void tokens_reload(void)
{
    if (take_rules() == -1)
        return; /* said why; the old ones stay */
}

void tokens_fini(void)
{
    token_queue_fini();
    token_fetched_fini();
    free_rules(tokens.rules);
    buf_fini(&tokens.payload);
    buf_fini(&tokens.text);
    buf_fini(&tokens.sub);
}

bool tokens_configured(enum token_kind kind)
{
    const struct token_rules *r = tokens.rules[kind];

    return r != NULL && (r->keys.n > 0 || r->skip_signature || r->fetches);
}

const char *token_reason(void)
{
    return tokens.reason;
}

/* Public by nature: no key is in it. */
static int describe(const struct token_rules *r, struct buf *out)
{
    int rc = buf_printf(out, "{\"fetched\":%s,\"keys\":[",
                        !r->fetches  ? "null"
                        : r->fetched ? "true"
                                     : "false");

    for (size_t i = 0; i < r->keys.n && rc == 0; i++)
        rc = buf_append_lit(out, i > 0 ? "," : "") == -1 ? -1 : jwk_describe(&r->keys.keys[i], out);
    return rc == 0 ? buf_append_lit(out, "]}") : -1;
}

int tokens_describe(struct buf *out)
{
    static const char *const names[TOKEN_KIND_NR] = {"\"connection\":", ",\"subscription\":"};

    for (int k = 0; k < TOKEN_KIND_NR; k++)
        if (buf_append_lit(out, names[k]) == -1 || describe(tokens.rules[k], out) == -1)
            return -1;
    return 0;
}

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_SEC);
}

static enum token_fault say(enum token_fault fault, const char *why)
{
    tokens.reason = fault == TOKEN_GOOD ? "" : why;
    switch (fault) {
    case TOKEN_GOOD:
        METRIC_INC(tokens_good);
        break;
    case TOKEN_EXPIRED:
        METRIC_INC(tokens_expired);
        break;
    case TOKEN_INVALID:
    case TOKEN_MISMATCH:
        METRIC_INC(tokens_invalid);
        break;
    case TOKEN_UNAVAILABLE:
        METRIC_INC(tokens_unavailable);
        break;
    }
    return fault;
}

/* A token without a key may have one in the set that is fetched, or in its next version. */
static enum token_fault without_key(const struct token_rules *r, struct str token, const char **why)
{
    if (!r->fetches)
        return TOKEN_INVALID;
    if (!r->fetched) {
        *why = "the keys of the setting ..._jwks_url have not been fetched yet";
        return TOKEN_UNAVAILABLE;
    }
    if (!token_fetched_may_come(r->from, token))
        return TOKEN_INVALID;
    *why = "its key is not there, and is being fetched";
    return TOKEN_UNAVAILABLE;
}

static enum token_fault fault_of(enum jwt_verdict verdict, const struct token_rules *r,
                                 struct str token, const char **why)
{
    switch (verdict) {
    case JWT_GOOD:
        return TOKEN_GOOD;
    case JWT_BAD:
        return TOKEN_INVALID;
    case JWT_NO_KEY:
        return without_key(r, token, why);
    case JWT_NO_MEMORY:
        break;
    }
    return TOKEN_UNAVAILABLE;
}

/* Signature and form. What is unescaped or decoded is no longer than it was, twice for base64 in
 * JSON: the room is there before the first view is. */
static enum token_fault open_token(struct str token, const struct token_rules *r,
                                   struct token_claims *claims, const char **why)
{
    enum token_fault fault;

    tokens.payload.len = tokens.text.len = tokens.sub.len = 0;
    *why = "no token key is set";
    if (r == NULL || (r->keys.n == 0 && !r->skip_signature && !r->fetches))
        return TOKEN_INVALID;
    fault = fault_of(jwt_verify(&r->keys, token, now_s(), r->skip_signature, &tokens.payload, why),
                     r, token, why);
    if (fault != TOKEN_GOOD)
        return fault;
    if (token_claims_read(buf_view(&tokens.payload), r, claims, why) == -1)
        return TOKEN_INVALID;
    *why = "no memory";
    if (buf_reserve(&tokens.text, 2 * tokens.payload.len + 64) == -1 ||
        buf_reserve(&tokens.sub, 2 * tokens.payload.len + 64) == -1)
        return TOKEN_UNAVAILABLE;
    return token_claims_check(claims, r, now_s(), &tokens.text, why);
}

/* `subs` counts when it has a member, else `channels`. */
static int choose_subs(const struct token_claims *claims, struct token_connection *out,
                       const char **why)
{
    const struct json_value *subs = &claims->values[CLAIM_SUBS],
                            *names = &claims->values[CLAIM_CHANNELS];
    struct str rest = subs->raw;
    struct json_value key, value;

    *why = "subs is no object, or channels no list";
    if ((claims->has[CLAIM_SUBS] && subs->type != JSON_OBJECT) ||
        (claims->has[CLAIM_CHANNELS] && names->type != JSON_ARRAY))
        return -1;
    out->subs_are_names = !claims->has[CLAIM_SUBS] || !json_member(&rest, &key, &value);
    if (!out->subs_are_names)
        out->subs = subs->raw;
    else if (claims->has[CLAIM_CHANNELS])
        out->subs = names->raw;
    return 0;
}

/* All of them are looked at once, so that token_next_sub() has nothing to refuse. */
static int check_subs(const struct token_connection *t, const char **why)
{
    struct str rest = t->subs, channel;
    struct token_options options;
    int more;

    do {
        tokens.sub.len = 0;
        more = token_claims_sub(t, &rest, &tokens.sub, &channel, &options, why);
    } while (more > 0);
    return more;
}

static enum token_fault verify_connection(struct str token, struct token_connection *out,
                                          const char **why)
{
    const struct token_rules *r = tokens.rules[TOKEN_CONNECTION];
    struct token_claims claims;
    struct token_options options;
    enum token_fault fault = open_token(token, r, &claims, why);

    memset(out, 0, sizeof(*out));
    if (fault != TOKEN_GOOD)
        return fault;
    *why = "it has a channel: it is a subscription token";
    if (token_claims_channel(&claims))
        return TOKEN_INVALID;
    *why = "the user's id is no text";
    if (token_claims_user(&claims, r, &tokens.text, &out->user) == -1)
        return TOKEN_INVALID;
    if (token_claims_options(&claims, &tokens.text, &options, why) == -1 ||
        choose_subs(&claims, out, why) == -1 || check_subs(out, why) == -1)
        return TOKEN_INVALID;
    out->info = options.info;
    if (claims.has[CLAIM_META])
        out->meta = claims.values[CLAIM_META].raw;
    return token_claims_end(&claims, &out->expire_at) == -1 ? TOKEN_INVALID : TOKEN_GOOD;
}

enum token_fault token_verify_connection(struct str token, struct token_connection *out)
{
    const char *why;
    enum token_fault fault = verify_connection(token, out, &why);

    return say(fault, why);
}

static enum token_fault open_subscription(struct str token, struct token_subscription *out,
                                          const char **why)
{
    const struct token_rules *r = tokens.rules[TOKEN_SUBSCRIPTION];
    struct token_claims claims;
    enum token_fault fault = open_token(token, r, &claims, why);

    memset(out, 0, sizeof(*out));
    if (fault != TOKEN_GOOD)
        return fault;
    *why = "user, channel or client is no text";
    if (token_claims_user(&claims, r, &tokens.text, &out->user) == -1 ||
        token_claim_text(&claims, CLAIM_CHANNEL, &tokens.text, &out->channel) == -1 ||
        token_claim_text(&claims, CLAIM_CLIENT, &tokens.text, &out->client) == -1)
        return TOKEN_INVALID;
    if (token_claims_options(&claims, &tokens.text, &out->options, why) == -1)
        return TOKEN_INVALID;
    return token_claims_end(&claims, &out->expire_at) == -1 ? TOKEN_INVALID : TOKEN_GOOD;
}

static enum token_fault verify_subscription(struct str token, struct str channel, struct str user,
                                            struct str client, struct token_subscription *out,
                                            const char **why)
{
    enum token_fault fault = open_subscription(token, out, why);

    if (fault != TOKEN_GOOD)
        return fault;
    *why = "it has no channel: it is a connection token";
    if (out->channel.n == 0)
        return TOKEN_INVALID;
    *why = "it is for another channel";
    if (!str_equal(out->channel, channel))
        return TOKEN_MISMATCH;
    *why = "it is for another user";
    if (!str_equal(out->user, user))
        return TOKEN_MISMATCH;
    *why = "it is for another client";
    return out->client.n > 0 && !str_equal(out->client, client) ? TOKEN_MISMATCH : TOKEN_GOOD;
}

enum token_fault token_verify_subscription(struct str token, struct str channel, struct str user,
                                           struct str client, struct token_subscription *out)
{
    const char *why;
    enum token_fault fault = verify_subscription(token, channel, user, client, out, &why);

    return say(fault, why);
}

enum token_fault token_read_subscription(struct str token, struct token_subscription *out)
{
    const char *why;
    enum token_fault fault = open_subscription(token, out, &why);

    return say(fault, why);
}

enum token_kind token_kind_of(struct str token)
{
    static const struct jwks none;
    struct token_claims claims;
    const char *why;
    bool readable;

    tokens.payload.len = 0;
    readable = jwt_verify(&none, token, now_s(), true, &tokens.payload, &why) == JWT_GOOD &&
               token_claims_read(buf_view(&tokens.payload), NULL, &claims, &why) == 0;
    return readable && token_claims_channel(&claims) ? TOKEN_SUBSCRIPTION : TOKEN_CONNECTION;
}

bool token_next_sub(const struct token_connection *t, struct str *rest, struct str *channel,
                    struct token_options *out)
{
    const char *why;

    tokens.sub.len = 0;
    return token_claims_sub(t, rest, &tokens.sub, channel, out, &why) > 0;
}

int token_make(enum token_kind kind, struct str payload, struct buf *out)
{
    const struct token_rules *r = tokens.rules[kind];

    return r == NULL ? -1 : jwt_sign(&r->keys, payload, now_s(), out);
}
