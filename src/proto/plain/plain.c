/* proto/plain/plain.c - the session.
 *
 * Publish: message() -> broker_publish(); the connection asked may_publish() before it read, so the
 * ring has room. Deliver: the batch in the form the subscription wants, by reference. The form of
 * /ws/<channel> with echo is the hot path: its flags and its variant are 0. */
#include "base/config.h"
#include "codec/json.h"
#include "plain_internal.h"
#include "proto/permission.h"

struct sub *plain_subs(struct plain_session *ps, size_t *n)
{
    *n = 0;
    if (ps->mode == PLAIN_PUB)
        return NULL;
    *n = ps->has_set ? ps->set->n : 1;
    return ps->has_set ? ps->set->subs : &ps->one;
}

/* Publishing */

static struct str plain_names(const struct plain_session *ps)
{
    return (struct str){.p = ps->names->packed, .n = ps->names->bytes};
}

static bool plain_named(struct plain_session *ps, struct str channel)
{
    size_t n;
    struct sub *subs = plain_subs(ps, &n);

    if (ps->mode == PLAIN_PUB)
        return plain_name_in(plain_names(ps), channel);
    for (size_t i = 0; i < n; i++)
        if (str_equal(chan_name(subs[i].chan), channel))
            return true;
    return false;
}

/* As an anonymous client, which is a member of the channel unless it only publishes. It has no
 * room to count in, so a channel whose publishers are counted takes nothing from it. */
static bool plain_permitted(const struct plain_session *ps, struct str channel, struct str data)
{
    const struct permission_ask ask = {
        .op = PERMISSION_PUBLISH, .channel = channel, .subscribed = ps->mode != PLAIN_PUB};
    const struct channel_options *options;

    return permission_check(&ask, &options) == PERMISSION_GIVEN &&
           options->rate_limit_publish <= 0 && permission_data(options, data);
}

static void plain_publish(struct conn *c, struct str channel, struct str data, uint8_t flags)
{
    const struct broker_publication p = {
        .channel = channel,
        .data = data,
        .flags = flags,
        .origin = {.kind = SESSION_PLAIN, .token = c->id},
    };

    if (plain_is_judged(c) && !plain_permitted(plain_session(c), channel, data))
        session_end(c, CLOSE_NOT_PERMITTED);
    /* Cannot fail after may_publish() unless its arithmetic is wrong. */
    else if (broker_publish(reactor->broker, &p) == -1)
        session_end(c, CLOSE_INTERNAL);
    else
        plain_session(c)->published = true;
}

static void plain_publish_envelope(struct conn *c, struct str data, bool binary)
{
    struct plain_message m;
    struct buf text = {0};

    if (plain_envelope_read(binary, data, &text, &m) == -1 ||
        !plain_named(plain_session(c), m.channel))
        session_end(c, CLOSE_NOT_PERMITTED);
    else
        plain_publish(c, m.channel, m.data, m.flags);
    buf_fini(&text);
}

static void plain_message(struct conn *c, struct str data, bool binary)
{
    struct plain_session *ps = plain_session(c);
    struct str channel;

    if (ps->mode == PLAIN_SUB) {
        session_end(c, CLOSE_NOT_PERMITTED);
        return;
    }
    if (ps->envelope) {
        plain_publish_envelope(c, data, binary);
        return;
    }
    if (ps->mode == PLAIN_PUB) {
        struct str rest = plain_names(ps);

        if (!plain_name_next(&rest, &channel))
            return; /* UNTESTED: there is always one */
    } else {
        channel = chan_name(ps->one.chan);
    }
    plain_publish(c, channel, data, binary ? RECORD_BINARY : 0);
}

static bool plain_may_publish(struct conn *c, size_t bytes, size_t messages)
{
    const struct plain_session *ps = plain_session(c);
    size_t name_max = CHANNEL_NAME_MAX;

    if (ps->mode == PLAIN_BOTH && !ps->envelope)
        name_max = chan_name(ps->one.chan).n;
    return ps->mode == PLAIN_SUB ||
           broker_can_publish_to(reactor->broker, name_max, bytes, messages);
}

/* Delivering */

/* The runs between its own ones. */
static void plain_deliver_others(struct conn *c, struct batch *b, unsigned variant)
{
    uint32_t own = batch_own_first(b, (uint16_t)reactor->cfg.worker, SESSION_PLAIN, c->id),
             first = 0;

    while (conn_delivers(c)) {
        if (own > first)
            session_deliver(c, b, variant, first, own);
        if (own == b->nitems)
            return;
        first = own + 1;
        own = batch_own_next(b, own);
    }
}

/* Apart, so that the hot path saves no registers for it. */
static __attribute__((noinline)) void plain_deliver_form(struct sub *s, struct batch *b)
{
    struct conn *c = plain_conn(s);

    if (batch_variant(b, s->variant) == NULL)
        session_end(c, CLOSE_NO_MEMORY);
    else if (s->flags & PLAIN_SUB_QUIET)
        plain_deliver_others(c, b, s->variant);
    else
        session_deliver(c, b, s->variant, 0, b->nitems);
}

static void plain_deliver(struct sub *s, struct batch *b)
{
    if (LIKELY((s->flags | s->variant) == 0)) {
        struct blob *raw = b->variant[BATCH_RAW];

        conn_deliver(conn_of_session(CONTAINER_OF(s, struct plain_session, one)), raw, 0, raw->len,
                     b->items[b->nitems - 1].start, b->nitems);
        return;
    }
    plain_deliver_form(s, b);
}

static void plain_lost(struct sub *s, struct position to UNUSED)
{
    /* The other policies allow gaps. */
    if (config.slow_consumer == SLOW_DISCONNECT)
        session_end(plain_conn(s), CLOSE_LOST_POSITION);
}

/* Ending */

static bool plain_closing(struct conn *c, bool fenced)
{
    struct plain_session *ps = plain_session(c);
    size_t n;
    struct sub *subs = plain_subs(ps, &n);

    if (!fenced) /* else nothing of its own comes back */
        return !ps->published || ps->quiet || ps->mode == PLAIN_PUB;
    for (size_t i = 0; i < n; i++)
        if (!broker_sub_settled(&subs[i]))
            return false;
    return true;
}

static uint64_t plain_traced(struct sub *s, size_t *queued)
{
    const struct conn *c = plain_conn(s);

    *queued = conn_queued(c);
    return c->id;
}

static void plain_subscribed(struct sub *s, struct position at)
{
    TRACE(subscribed, plain_conn(s)->id, chan_name(s->chan), at.offset);
    ws_upgrade_subscribed(plain_conn(s));
}

static bool plain_refused(struct sub *s, uint16_t status UNUSED)
{
    ws_upgrade_refused(plain_conn(s));
    return true;
}

static void plain_release(struct conn *c)
{
    struct plain_session *ps = plain_session(c);
    size_t n;
    struct sub *subs = plain_subs(ps, &n);

    for (size_t i = 0; i < n; i++) {
        if (TRACE_WANTED(unsubscribe) && subs[i].chan != NULL)
            TRACE(unsubscribe, c->id, chan_name(subs[i].chan));
        broker_unsubscribe(reactor->broker, &subs[i]);
    }
    if (ps->mode == PLAIN_PUB)
        free(ps->names);
    else if (ps->has_set)
        free(ps->set);
}

static void plain_channels(struct conn *c,
                           void (*visit)(struct str channel, const struct sub *s, void *arg),
                           void *arg)
{
    struct plain_session *ps = plain_session(c);
    size_t n;
    struct sub *subs = plain_subs(ps, &n);
    struct str rest = {0}, name;

    for (size_t i = 0; i < n; i++)
        if (subs[i].chan != NULL)
            visit(chan_name(subs[i].chan), &subs[i], arg);
    if (ps->mode == PLAIN_PUB && ps->names != NULL)
        rest = plain_names(ps);
    while (plain_name_next(&rest, &name))
        visit(name, NULL, arg);
}

static int plain_describe(struct conn *c, struct buf *out)
{
    static const char *const modes[] = {"both", "sub", "pub"};
    struct plain_session *ps = plain_session(c);

    return buf_printf(out, ",\"mode\":\"%s\",\"echo\":%s,\"envelope\":%s", modes[ps->mode],
                      ps->quiet ? "false" : "true", ps->envelope ? "true" : "false");
}

const struct session_ops plain_session_ops = {
    .sink =
        {
            .subscribed = plain_subscribed,
            .refused = plain_refused,
            .deliver = plain_deliver,
            .conn = plain_traced,
            .lost = plain_lost,
            .answered = session_answered,
        },
    .message = plain_message,
    .may_publish = plain_may_publish,
    .closing = plain_closing,
    .describe = plain_describe,
    .channels = plain_channels,
    .release = plain_release,
};
