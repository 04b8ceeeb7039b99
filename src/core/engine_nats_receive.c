/* core/engine_nats_receive.c - what a server says, item by item. */
#include "engine_nats_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* --- messages --- */

static void take_publication(struct nats *e, struct nats_sub *sub, uint64_t sid,
                             struct envelope *env)
{
    struct position at = {0};
    uint64_t call = env->call;
    bool own = env->node == e->s.node;

    if (env->r.kind != RECORD_PUBLICATION) {
        METRIC_INC(engine_malformed);
        return;
    }
    if (sub != NULL) {
        nats_deliver(e, sub, sid, env);
        at = sub->at;
    }
    if (own && sub != NULL && sub->told)
        nats_calls_echo(e, call, at);
}

static void take_channel(struct nats *e, struct str token, const struct nats_item *i)
{
    struct buf *name = &e->scratch;
    struct str payload = i->payload;
    struct nats_sub *sub;
    struct envelope env;
    uint64_t sid;
    int rc;

    buf_clear(name);
    if (nats_unescape(name, token) == -1 || str_to_u64(i->sid, &sid) == -1) {
        METRIC_INC(engine_malformed);
        return;
    }
    sub = nats_sub_find(e, buf_view(name));
    while ((rc = envelope_next(&payload, &env)) > 0)
        take_publication(e, sub, sid, &env);
    if (rc < 0)
        METRIC_INC(engine_malformed);
}

static void take_control(struct nats *e, struct str payload)
{
    struct envelope env;

    if (envelope_next(&payload, &env) <= 0 || env.r.kind != RECORD_CONTROL) {
        METRIC_INC(engine_malformed);
        return;
    }
    (void)engine_nodes_control_heard(e->engine.nodes, &env);
}

/* Takes what a subject begins with off its front. */
static bool strip(struct str *subject, const char *prefix)
{
    struct str p = str_from(prefix);

    if (!str_starts_with(*subject, p) || subject->n <= p.n || subject->p[p.n] != '.')
        return false;
    *subject = str_skip(*subject, p.n + 1);
    return true;
}

/* The probe. */
static void heard_itself(struct nats *e)
{
    e->probe.heard_ns = clock_ns();
    engine_shard_heard(e->shard);
}

static void take_message(struct nats *e, const struct nats_item *i)
{
    struct str subject = i->subject;

    if (!strip(&subject, e->prefix))
        return;
    if (strip(&subject, "c"))
        take_channel(e, subject, i);
    else if (str_equal(subject, STR_LIT("control")))
        take_control(e, i->payload);
    else if (str_equal(subject, STR_LIT("nodes")) || strip(&subject, "node"))
        engine_nodes_received(e->engine.nodes, i->payload);
    else if (strip(&subject, "probe"))
        heard_itself(e);
}

/* --- the rest --- */

/* The subject in quotes: what the sentence ends with. */
static struct str quoted(struct str text)
{
    size_t from = str_find(text, '"');
    struct str subject = from < text.n ? str_skip(text, from + 1) : STR_NULL;

    subject.n = str_find(subject, '"');
    return subject;
}

static void subscription_refused(struct nats *e, struct str subject)
{
    struct buf *name = &e->scratch;

    if (nats_own_refused(e, subject))
        return;
    buf_clear(name);
    if (strip(&subject, e->prefix) && strip(&subject, "c") && nats_unescape(name, subject) == 0)
        nats_subs_refused(e, buf_view(name));
}

/* More than one connection may have. It says so of each, not which: in one flight the last ones. */
static void too_many(struct nats *e)
{
    if (e->state == NATS_UP)
        e->too_many++;
    else
        nats_restart(e, ENDING_REFUSED, e->refusal); /* not even what this node needs itself */
}

static void take_error(struct nats *e, struct str text)
{
    snprintf(e->refusal, sizeof(e->refusal), "%.*s", (int)MIN(text.n, sizeof(e->refusal) - 1),
             text.p);
    LOG(LOG_WARN, "the engine's server refuses something", KV_S("error", e->refusal));
    if (str_starts_with(text, STR_LIT("Permissions Violation for Publish")))
        nats_calls_refused(e, quoted(text));
    else if (str_starts_with(text, STR_LIT("Permissions Violation for Subscription")))
        subscription_refused(e, quoted(text));
    else if (str_equal_nocase(text, STR_LIT("maximum subscriptions exceeded")))
        too_many(e);
    else if (str_starts_with(text, STR_LIT("Maximum Payload Violation")))
        nats_calls_too_big(e);
}

static const char *take_info(struct nats *e, const struct nats_item *i, bool alone)
{
    struct nats_info info;

    if (nats_read_info(i->text, &info) == -1 || info.max_payload == 0)
        return "its INFO cannot be read";
    nats_servers_learn(e, &info);
    if (e->state == NATS_GREETING) {
        if (nats_server(e)->tls && !nats_server(e)->tls_first && !alone)
            return "it says more before TLS than it should";
        nats_greeted(e, &info);
        return NULL;
    }
    nats_set_most(e, info.max_payload);
    e->leaving |= info.lame_duck;
    return NULL;
}

/* alone: nothing is known to follow. NULL, or what it does wrong. */
static const char *take_item(struct nats *e, const struct nats_item *i, bool alone)
{
    if (e->state == NATS_GREETING && i->op != NATS_INFO)
        return "it does not begin with INFO";
    if (e->state == NATS_SECURING)
        return "it says more before TLS than it should";
    switch (i->op) {
    case NATS_INFO:
        return take_info(e, i, alone);
    case NATS_MSG:
        take_message(e, i);
        return NULL;
    case NATS_PING:
        return nats_write_pong(&e->out) == 0 ? NULL : "no memory";
    case NATS_PONG:
        nats_ponged(e);
        return NULL;
    case NATS_OK:
        return NULL;
    case NATS_ERR:
        take_error(e, i->text);
        return NULL;
    }
    return NULL;
}

/* Whole items from the front of what has come; how many bytes. -1: *why. The connection may end meanwhile. */
static ssize_t take_items(struct nats *e, struct str in, const char **why)
{
    const struct engine_wire *wire = e->wire;
    struct nats_item item;
    size_t at = 0;
    ssize_t n;

    while ((n = nats_scan(&e->scan, str_skip(in, at), &item)) > 0) {
        at += (size_t)n;
        *why = take_item(e, &item, at == in.n);
        if (*why != NULL)
            return -1;
        if (e->wire != wire)
            return 0;
    }
    if (n < 0)
        *why = "it does not speak as NATS does";
    return n < 0 ? -1 : (ssize_t)at;
}

bool nats_received(struct nats *e, struct str bytes, const char **why)
{
    const struct engine_wire *wire = e->wire;
    bool whole = e->in.len == 0;
    ssize_t taken;

    if (!whole && buf_append(&e->in, bytes) == -1) {
        *why = "no memory";
        return false;
    }
    taken = take_items(e, whole ? bytes : buf_view(&e->in), why);
    if (taken < 0)
        return false;
    if (e->wire != wire)
        return true;
    if (!whole) {
        buf_drop(&e->in, (size_t)taken);
    } else if (buf_append(&e->in, str_skip(bytes, (size_t)taken)) == -1) {
        *why = "no memory";
        return false;
    }
    return true;
}
