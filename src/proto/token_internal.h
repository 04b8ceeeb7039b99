/* proto/token_internal.h - what the files of tokens share: tokens.c, token_rules.c, token_claims.c,
 * token_fetched.c, token_queue.c. */
#ifndef ROOST_PROTO_TOKEN_INTERNAL_H
#define ROOST_PROTO_TOKEN_INTERNAL_H

#include "base/config.h"
#include "base/regex.h"
#include "codec/json.h"
#include "codec/jwt.h"
#include "proto/tokens.h"

/* A clock that runs a minute fast signs nothing that is refused for its iat. */
#define TOKEN_IAT_LEEWAY 60

struct token_rules { /* for one kind of tokens; built from the settings */
    struct jwks keys;
    bool skip_signature;
    bool fetches, fetched; /* some of the keys; they are there */
    enum token_kind from;  /* whose settings these are */
    int64_t leeway;        /* seconds */
    char audience[CONFIG_STRING_MAX], issuer[CONFIG_STRING_MAX], user_claim[CONFIG_STRING_MAX];
    struct regex *audience_regex, *issuer_regex; /* owned; NULL: none */
};

/* With the set that has been fetched, if it is there. -1: a line in errors for each thing that is
 * wrong; *r then is empty. */
int token_rules_build(const struct config *c, enum token_kind kind, struct token_rules *r,
                      struct buf *errors) MUST_CHECK;
/* token_fetched.c: the fetched set for these settings; n 0: none. */
struct str token_fetched_text(const struct config *c, enum token_kind kind);
/* May a key of this kind that is not there come with the next set? Asks for it. */
bool token_fetched_may_come(enum token_kind kind, struct str token);
void token_fetched_fini(void);
void token_rules_fini(struct token_rules *r);

enum token_claim {
#define CLAIM(id, name) CLAIM_##id,
#include "tbl/claims.def"
    CLAIM_USER, /* of the rules: the setting ..._user_id_claim */
    CLAIM_NR
};
struct token_claims {
    struct json_value values[CLAIM_NR]; /* borrowed from the payload */
    bool has[CLAIM_NR];                 /* there, and not null */
};

/* Which claims the payload has. -1: it is none, a static sentence in *why. */
int token_claims_read(struct str payload, const struct token_rules *r, struct token_claims *out,
                      const char **why) MUST_CHECK;
/* exp, nbf, iat, aud, iss at this time (seconds since 1970). text: for what is unescaped. */
enum token_fault token_claims_check(const struct token_claims *claims, const struct token_rules *r,
                                    int64_t now, struct buf *text, const char **why);
/* Appends to *text, which must have room for it. -1: not text. An absent one is "". */
int token_claim_text(const struct token_claims *claims, enum token_claim which, struct buf *text,
                     struct str *out) MUST_CHECK;
/* Is it a subscription token? An empty channel is none. */
bool token_claims_channel(const struct token_claims *claims);
/* The user's id: of r->user_claim, where it may be a whole number, else of sub. As
 * token_claim_text(). */
int token_claims_user(const struct token_claims *claims, const struct token_rules *r,
                      struct buf *text, struct str *out) MUST_CHECK;
/* When what the token opens ends: expire_at, else exp; 0: never. -1: not a number. */
int token_claims_end(const struct token_claims *claims, int64_t *out) MUST_CHECK;
/* info, b64info, data, b64data, override. As token_claim_text(). */
int token_claims_options(const struct token_claims *claims, struct buf *text,
                         struct token_options *out, const char **why) MUST_CHECK;
/* The next of t->subs. >0: one, 0: the end, <0: malformed. */
int token_claims_sub(const struct token_connection *t, struct str *rest, struct buf *text,
                     struct str *channel, struct token_options *out, const char **why);

void token_queue_init(struct task_queue *tasks);
void token_queue_fini(void);

#endif
