/* proto/token_fetched.c - sets of keys that another process has fetched.
 *
 * What a token can cause is that a set is asked for again, where the settings say: it chooses neither
 * where nor how often. A key that was not in the set that came after somebody asked for it does not
 * exist; so that it is told so then, those that were asked for last are remembered. */
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "token_internal.h"

#define ASKED_NR        64
#define ASKED_FORGET_NS (600 * NS_PER_SEC)

static struct {
    struct {
        struct buf text, url; /* owned */
        uint64_t asked_ns;
    } sets[TOKEN_KIND_NR];
    struct {
        uint64_t hash, at_ns; /* of a token's header; when it was seen first */
    } asked[ASKED_NR];
    unsigned next; /* in it: the place of the oldest */
    uint64_t wanted_ns;
} fetched;

struct str token_fetched_text(const struct config *c, enum token_kind kind)
{
    const char *url =
        kind == TOKEN_SUBSCRIPTION ? c->subscription_token_jwks_url : c->token_jwks_url;

    if (url[0] == '\0' || !str_equal(buf_view(&fetched.sets[kind].url), str_from(url)))
        return STR_LIT("");
    return buf_view(&fetched.sets[kind].text);
}

static int replace(struct buf *b, struct str s)
{
    struct buf fresh = {0};

    if (buf_append(&fresh, s) == -1)
        return -1;
    buf_fini(b);
    *b = fresh;
    return 0;
}

void tokens_take_fetched(enum token_kind kind, struct str url, struct str text, uint64_t asked_ns)
{
    struct jwks set = {0};
    const char *why;
    bool same = str_equal(buf_view(&fetched.sets[kind].text), text) &&
                str_equal(buf_view(&fetched.sets[kind].url), url);

    if (!same) {
        if (text.n == 0 || jwks_add_document(&set, text, false, &why) == -1)
            return;
        jwks_fini(&set);
        if (replace(&fetched.sets[kind].url, url) == -1 ||
            replace(&fetched.sets[kind].text, text) == -1) {
            buf_clear(&fetched.sets[kind].url); /* of no settings: the next one is taken */
            LOG(LOG_ERROR, "no memory for the keys of tokens");
            return;
        }
    }
    fetched.sets[kind].asked_ns = asked_ns;
    if (!same)
        tokens_reload();
}

uint64_t tokens_wanted_ns(void)
{
    return fetched.wanted_ns;
}

/* The header says which key it is; all tokens by one key have the same. */
bool token_fetched_may_come(enum token_kind kind, struct str token)
{
    struct str header = {token.p, str_find(token, '.')};
    uint64_t hash = hash_str(header), now = clock_ns();
    size_t i;

    for (i = 0; i < ASKED_NR; i++)
        if (fetched.asked[i].hash == hash && fetched.asked[i].at_ns + ASKED_FORGET_NS > now)
            return fetched.asked[i].at_ns >= fetched.sets[kind].asked_ns;
    i = fetched.next++ % ASKED_NR;
    fetched.asked[i].hash = hash;
    fetched.asked[i].at_ns = fetched.wanted_ns = now;
    return true;
}

void token_fetched_fini(void)
{
    for (int k = 0; k < TOKEN_KIND_NR; k++) {
        buf_fini(&fetched.sets[k].text);
        buf_fini(&fetched.sets[k].url);
    }
    memset(&fetched, 0, sizeof(fetched));
}
