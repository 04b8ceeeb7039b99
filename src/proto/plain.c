/* proto/plain.c - the open session.
 *
 * Publish: ws_ops.message() -> broker_publish(); net/ws asked may_read() before it read, so the
 * ring has room. Deliver: the batch in the form the subscription wants, by reference. The form of
 * /ws/<channel> with echo is the hot path: its flags and its variant are 0. Settle: what this
 * connection published comes back through the hub; a fence behind it says when all of it has been
 * handed to the fan-out, the walk's position when it has reached the subscription. */
#include "base/config.h"
#include "base/metrics.h"
#include "codec/json.h"
#include "plain_internal.h"

#define PLAIN_SETTLE_SLICE 16

static enum task_result plain_settle_step(struct task *t);

static struct list plain_settling = LIST_INIT(plain_settling);
static struct task plain_settle_task = {
    .link = LIST_INIT(plain_settle_task.link), .step = plain_settle_step, .name = "plain_settle"};

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

static void plain_publish(struct conn *c, struct str channel, struct str data, uint8_t flags)
{
    const struct broker_publication p = {
        .channel = channel,
        .data = data,
        .flags = flags,
        .origin = {.kind = SESSION_PLAIN, .token = c->id},
    };

    /* Cannot fail after may_read() unless its arithmetic is wrong. */
    if (broker_publish(reactor->broker, &p) == -1)
        ws_close(c, CLOSE_INTERNAL);
    else
        plain_session(c)->published = true;
}

static void plain_publish_envelope(struct conn *c, enum ws_item_kind kind, struct str data)
{
    struct plain_message m;
    struct buf text = {0};

    if (plain_envelope_read(kind, data, &text, &m) == -1 ||
        !plain_named(plain_session(c), m.channel))
        ws_close(c, CLOSE_NOT_PERMITTED);
    else
        plain_publish(c, m.channel, m.data, m.flags);
    buf_fini(&text);
}

static void plain_message(struct conn *c, enum ws_item_kind kind, struct str data)
{
    struct plain_session *ps = plain_session(c);
    struct str channel;

    if (ps->mode == PLAIN_SUB) {
        ws_close(c, CLOSE_NOT_PERMITTED);
        return;
    }
    if (ps->envelope) {
        plain_publish_envelope(c, kind, data);
        return;
    }
    if (ps->mode == PLAIN_PUB) {
        struct str rest = plain_names(ps);

        if (!plain_name_next(&rest, &channel))
            return; /* UNTESTED: there is always one */
    } else {
        channel = chan_name(ps->one.chan);
    }
    plain_publish(c, channel, data, kind == WS_ITEM_BINARY ? RECORD_BINARY : 0);
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

/* Items [first, end). */
static void plain_deliver_run(struct conn *c, const struct batch *b, unsigned variant,
                              uint32_t first, uint32_t end)
{
    uint32_t offset, last, last_end, unused;

    batch_range(b, variant, first, &offset, &unused);
    batch_range(b, variant, end - 1, &last, &last_end);
    conn_deliver(c, b->variant[variant], offset, last_end, last, end - first);
}

/* The runs between its own ones. */
static void plain_deliver_others(struct conn *c, struct batch *b, unsigned variant)
{
    uint32_t own = batch_own_first(b, (uint16_t)reactor->cfg.worker, SESSION_PLAIN, c->id),
             first = 0;

    while (!conn_dead(c)) {
        if (own > first)
            plain_deliver_run(c, b, variant, first, own);
        if (own == b->nitems)
            return;
        first = own + 1;
        own = batch_own_next(b, own);
    }
}

static void plain_deliver_form(struct sub *s, struct batch *b)
{
    struct conn *c = plain_conn(s);

    if (!conn_delivers(c))
        return;
    if (batch_variant(b, s->variant) == NULL)
        ws_close(c, CLOSE_NO_MEMORY);
    else if (s->flags & PLAIN_SUB_QUIET)
        plain_deliver_others(c, b, s->variant);
    else
        plain_deliver_run(c, b, s->variant, 0, b->nitems);
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

static void plain_lost(struct sub *s)
{
    struct conn *c = plain_conn(s);

    /* Before the 101 nothing was promised; the other policies allow gaps. */
    if (config.slow_consumer == SLOW_DISCONNECT && conn_delivers(c))
        ws_close(c, CLOSE_LOST_POSITION);
}

/* Settling */

static bool plain_settle(struct conn *c)
{
    struct plain_session *ps = plain_session(c);

    if (!ps->published || ps->quiet || ps->mode == PLAIN_PUB)
        return true; /* nothing of its own comes back */
    if (ps->wait == NULL)
        ps->wait = plain_wait_new(c);
    return ps->wait == NULL ||
           broker_fence(reactor->broker, (struct asker){SESSION_PLAIN, c->id}) == -1;
}

static bool plain_settled(struct conn *c)
{
    size_t n;
    struct sub *subs = plain_subs(plain_session(c), &n);

    for (size_t i = 0; i < n; i++)
        if (!broker_sub_settled(&subs[i]))
            return false;
    return true;
}

/* While a walk is under way this looks again after each of its steps. net/ws ends the wait in any
 * case. */
static enum task_result plain_settle_step(struct task *t)
{
    (void)t;
    for (int i = 0; i < PLAIN_SETTLE_SLICE; i++) {
        struct list *n = list_pop(&plain_settling);
        struct conn *c;

        if (n == NULL)
            return TASK_DONE;
        c = LIST_ENTRY(n, struct plain_wait, link)->conn;
        if (c->state != CONN_SETTLING)
            continue;
        if (plain_settled(c))
            ws_settled(c);
        else
            list_append(&plain_settling, n);
    }
    return list_empty(&plain_settling) ? TASK_DONE : TASK_MORE;
}

/* Nothing but fences is asked for. */
static void plain_answered(const struct record *r)
{
    struct conn *c = conn_find(r->token);

    if (c == NULL || c->state != CONN_SETTLING || !plain_is(c))
        return;
    list_remove(&plain_session(c)->wait->link); /* a restarted hub may answer twice */
    list_append(&plain_settling, &plain_session(c)->wait->link);
    task_add(&reactor->tasks, &plain_settle_task);
}

static void plain_subscribed(struct sub *s, struct position at UNUSED)
{
    plain_open_subscribed(plain_conn(s));
}

/* The session's life */

void plain_release(struct conn *c)
{
    struct plain_session *ps = plain_session(c);
    size_t n;
    struct sub *subs = plain_subs(ps, &n);

    for (size_t i = 0; i < n; i++)
        broker_unsubscribe(reactor->broker, &subs[i]);
    plain_wait_free(ps);
    if (ps->mode == PLAIN_PUB)
        free(ps->names);
    else if (ps->has_set)
        free(ps->set);
    memset(ps, 0, sizeof(*ps));
}

static const struct ws_ops plain_ws_ops = {
    .message = plain_message,
    .may_read = plain_may_publish,
    .settle = plain_settle,
    .release = plain_release,
};

static int64_t *plain_gauge(void)
{
    return &metrics->connections_plain;
}

const struct conn_ops plain_open_ops = {
    .name = "plain",
    .input = ws_input,
    .eof = ws_eof,
    .deadline = ws_deadline,
    .may_read = ws_may_read,
    .slow = ws_slow,
    .partial_over = ws_partial_over,
    .drain = ws_drain,
    .release = ws_release,
    .gauge = plain_gauge,
    .upper = &plain_ws_ops,
};

bool plain_is(const struct conn *c)
{
    return conn_ops(c) == &plain_open_ops || conn_ops(c) == &plain_waiting_ops;
}

static int plain_describe_channels(struct plain_session *ps, struct buf *out)
{
    size_t n;
    struct sub *subs = plain_subs(ps, &n);
    struct str rest = {0}, name;
    size_t i = 0;

    if (ps->mode == PLAIN_PUB && ps->names != NULL)
        rest = plain_names(ps);
    for (;; i++) {
        if (i < n && subs[i].chan != NULL)
            name = chan_name(subs[i].chan);
        else if (i < n || !plain_name_next(&rest, &name))
            return 0;
        if ((i > 0 && buf_append_char(out, ',') == -1) || json_append_string(out, name) == -1)
            return -1;
    }
}

static int plain_describe(struct conn *c, struct buf *out)
{
    static const char *const modes[] = {"both", "sub", "pub"};
    struct plain_session *ps = plain_session(c);

    if (buf_printf(out, ",\"mode\":\"%s\",\"echo\":%s,\"envelope\":%s,\"channels\":[",
                   modes[ps->mode], ps->quiet ? "false" : "true",
                   ps->envelope ? "true" : "false") == -1 ||
        plain_describe_channels(ps, out) == -1)
        return -1;
    return buf_append_char(out, ']');
}

const struct session_ops plain_session_ops = {
    .sink =
        {
            .subscribed = plain_subscribed,
            .deliver = plain_deliver,
            .lost = plain_lost,
            .answered = plain_answered,
        },
    .describe = plain_describe,
};

void plain_init(void)
{
    batch_register(ENCODING_PLAIN_ENVELOPE, plain_envelope_encode);
    plain_open_init();
}
