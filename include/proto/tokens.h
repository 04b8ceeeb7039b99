/* proto/tokens.h - who a client says it is: connection and subscription tokens, checked against the
 * keys of the settings.
 *
 * The process has one set of keys per kind, built by tokens_init() and again by tokens_reload().
 * Without subscription_token_enabled the keys and rules of token_* hold for both kinds.
 *
 * A session asks by token_submit(): the token is copied and waits in one queue for its turn; a task
 * of the reactor verifies one per step, so that other tasks have their share and turn_budget
 * bounds what a turn spends. Answers come in the order of the asks, from step 4 of a turn, never
 * from inside token_submit(). Happy path: 1. token_submit() 2. the task's step verifies 3. done()
 * is called, once. What can fail: the queue is full or there is no memory (token_submit() gives
 * NULL); the client goes (token_cancel(), then done() is not called).
 *
 * All texts of claims are borrowed until done() returns, or until the next token_verify. */
#ifndef ROOST_PROTO_TOKENS_H
#define ROOST_PROTO_TOKENS_H

#include "base/config.h"
#include "base/task.h"

enum token_kind { TOKEN_CONNECTION = 0, TOKEN_SUBSCRIPTION, TOKEN_KIND_NR };

enum token_fault {
    TOKEN_GOOD = 0,
    TOKEN_EXPIRED,    /* or not valid yet: error 109 */
    TOKEN_INVALID,    /* connection: close 3500; subscription: error 103 */
    TOKEN_MISMATCH,   /* good, but for another channel, user or client: close 3500 */
    TOKEN_UNAVAILABLE /* keys are still being fetched, no memory: error 100, which is temporary */
};

enum token_override {
#define OVERRIDE(id, name) TOKEN_##id,
#include "tbl/tokens.def"
    TOKEN_OVERRIDE_NR
};
_Static_assert(TOKEN_OVERRIDE_NR <= 8, "struct token_options has a bit for each");

struct token_options {            /* of one subscription */
    struct str info;              /* raw JSON, byte for byte; n 0: none (also for null) */
    struct str data;              /* the same, for the subscribe result */
    uint8_t overridden, override; /* bit of enum token_override: said at all; its value */
};
/* The option's value, where the token says one, else `configured`. */
static inline bool token_option(const struct token_options *o, enum token_override which,
                                bool configured)
{
    return (o->overridden & 1u << which) != 0 ? (o->override & 1u << which) != 0 : configured;
}

struct token_connection {
    struct str user;   /* "" is an anonymous user */
    int64_t expire_at; /* seconds since 1970, 0: never; the claim expire_at where there is one, else
                          exp */
    struct str info, meta; /* raw JSON; n 0: none */
    struct str subs;       /* for token_next_sub() */
    bool subs_are_names;
};

struct token_subscription {
    struct str user, channel, client; /* client: "" if it says none */
    int64_t expire_at;
    struct token_options options;
};

/* Server-side subscriptions of a connection token: its `subs`, or where there are none its
 * `channels`. *rest starts as t->subs. The signer may have written a channel twice: it comes twice
 * then, and the first is to count. */
bool token_next_sub(const struct token_connection *t, struct str *rest, struct str *channel,
                    struct token_options *out);

/* Are there keys (or may they still come), so that a token can be checked at all? A token that is
 * given where there are none is TOKEN_INVALID. */
bool tokens_configured(enum token_kind kind);

/* One verification at once. channel, user and client are those of who asks. */
enum token_fault token_verify_connection(struct str token, struct token_connection *out);
enum token_fault token_verify_subscription(struct str token, struct str channel, struct str user,
                                           struct str client, struct token_subscription *out);
/* A subscription token for whichever channel, user and client it names (tools). */
enum token_fault token_read_subscription(struct str token, struct token_subscription *out);
/* What the token is meant for, by its unverified claims (tools). */
enum token_kind token_kind_of(struct str token);
/* Why the last verification has failed: a static sentence for the log, "" when it was good. */
const char *token_reason(void);

struct token_ask; /* owned by the queue until done() or token_cancel() */
struct token_query {
    enum token_kind kind;
    struct str token, channel, user, client; /* borrowed: copied */
    /* The ask is gone already. connection or subscription is NULL, by kind; their contents count
     * for TOKEN_GOOD only. May submit and cancel others. */
    void (*done)(void *arg, enum token_fault fault, struct token_connection *connection,
                 struct token_subscription *subscription);
    void *arg; /* borrowed until done() or token_cancel() */
};
/* NULL: no room or no memory, which is an error 100 (temporary) for the client. */
struct token_ask *token_submit(const struct token_query *q) MUST_CHECK;
/* Takes it back; done() is not called. Nulls *ask. */
void token_cancel(struct token_ask **ask);

/* Appends a token with these claims, signed with the secret in force (tools). -1: there is none, or
 * no memory. */
int token_make(enum token_kind kind, struct str payload, struct buf *out) MUST_CHECK;

/* Can keys and rules be made of these settings? -1: a line "setting: reason" in errors for each that
 * is wrong. */
int tokens_check(const struct config *c, struct buf *errors) MUST_CHECK;

/* Appends members of a JSON object: which keys there are, by kind of tokens. */
int tokens_describe(struct buf *out) MUST_CHECK;

/* Once per process, in one that has settings; tasks NULL: no queue (tools). -1: no memory. */
int tokens_init(struct task_queue *tasks) MUST_CHECK;
/* After `config` has changed. Without memory the old keys stay. */
void tokens_reload(void);
/* The set of keys that the setting ..._jwks_url of this kind names, as it was fetched from there by
 * a request sent at that time (clock_ns()). Copied. A text that is no such set is not taken. */
void tokens_take_fetched(enum token_kind kind, struct str url, struct str text, uint64_t asked_ns);
/* When a token last named a key that is not there, so that a newer set is wanted; 0: never. */
uint64_t tokens_wanted_ns(void);
void tokens_fini(void);

#endif
