/* traffic.c - frames of a connected user: receiving, checking order, publishing, echo, pings,
 * closing. */
#include "base/clock.h"
#include "codec/ws_tx.h"
#include "engine.h"
#include "net/reactor.h"

/* A publisher waits while more than this is unsent. */
#define SEND_QUEUE_MAX ((size_t)1024 * 1024)

#define ECHO_RETRY_NS (2 * NS_PER_MS)

void engine_seed(uint64_t seed, unsigned process)
{
    engine.random = seed * UINT64_C(0x9e3779b97f4a7c15) + process + 1;
    if (engine.random == 0) /* where xorshift stays for ever */
        engine.random = UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t engine_random(void)
{
    /* xorshift64*: load does not need better, and a seed repeats a run */
    engine.random ^= engine.random >> 12;
    engine.random ^= engine.random << 25;
    engine.random ^= engine.random >> 27;
    return engine.random * UINT64_C(2685821657736338717);
}

struct adapter_user user_for_adapter(const struct user *u)
{
    struct adapter_user as = {.o = engine.o};

    if (engine.kept != NULL)
        as.position = &engine.kept[u->id - engine.first].position;
    if (engine.deltas != NULL)
        as.delta = &engine.deltas[u->id - engine.first];
    return as;
}

int user_publish(struct conn *c, uint32_t publisher, uint32_t channel, uint32_t sequence,
                 uint64_t intended_ns)
{
    static char payload[16 * 1024 * 1024];
    struct str text = {payload, (size_t)engine.o->size};
    struct payload p = {.run = load_shared->run_id,
                        .publisher = publisher,
                        .channel = channel,
                        .sequence = sequence,
                        .intended_ns = intended_ns};

    if (conn_queued(c) > SEND_QUEUE_MAX)
        return -1;
    p.sent_ns = clock_precise_ns();
    payload_write(&p, payload, text.n);
    if (engine.o->compression)
        payload_fill(payload + PAYLOAD_MIN, text.n - PAYLOAD_MIN, sequence);
    if (engine.adapter->publish != NULL) {
        struct adapter_user as = user_for_adapter(user_of(c));
        struct buf name = {0};
        int rc;

        user_render(str_from(engine.o->channel), user_of(c)->id, channel, &name);
        buf_clear(&engine.text);
        rc = engine.adapter->publish(&as, buf_view(&name), text, &engine.text);
        buf_fini(&name);
        if (rc == -1)
            return -1;
        text = buf_view(&engine.text);
    }
    if (user_send_data(c, text) == -1)
        return -1;
    engine.slot->m.messages_out++;
    engine.slot->m.bytes_out += (uint64_t)engine.o->size;
    return 0;
}

bool user_can_send(struct conn *c)
{
    return c->state == CONN_OPEN && (user_of(c)->flags & (USER_READY | USER_CLOSING)) == USER_READY;
}

static struct echo *echo_of(const struct user *u)
{
    return &engine.echoes[u->id - engine.first];
}

/* Between two messages of a user, 0: no rate. */
static uint64_t echo_step(void)
{
    return engine.o->rate > 0 ? (uint64_t)((double)engine.o->connections / engine.o->rate * 1e9)
                              : 0;
}

void echo_start(uint64_t start)
{
    uint64_t step = echo_step();

    for (uint64_t i = 0; i < engine.count; i++)
        engine.echoes[i].due = start + (step > 0 ? engine_random() % step : 0);
}

/* With a rate: the user's place among those whose time comes. Whoever waits for an answer has none;
 * one that could not send is tried again at retry (0: it could). */
static void echo_place(struct conn *c, uint64_t retry)
{
    const struct user *u = user_of(c);
    uint32_t own = (uint32_t)(u->id - engine.first);

    if (!user_can_send(c) || u->inflight >= engine.o->depth || engine.phase != LOAD_RUN ||
        echo_of(u)->due >= atomic_load(&load_shared->run_end_ns))
        dues_remove(&engine.echo, own);
    else
        dues_set(&engine.echo, own, MAX(echo_of(u)->due, retry));
}

/* Closed loop: the next message is due at once, from the run's start; with a rate, at its place in
 * the schedule, whatever became of the connection meanwhile. */
void user_echo(struct conn *c)
{
    struct user *u = user_of(c);
    struct echo *e = echo_of(u);
    uint64_t now = clock_precise_ns(), step = echo_step(), retry = 0;
    uint64_t due = dues_of(&engine.echo, (uint32_t)(u->id - engine.first));

    if (due <= now) /* it could have been sent then */
        hdr_record(&engine.slot->m.lateness, now - due);
    while (u->inflight < engine.o->depth && engine.phase == LOAD_RUN && user_can_send(c)) {
        uint64_t intended = step > 0 ? e->due : MAX(now, e->due);

        if (intended > run_time(now))
            break;
        if (user_publish(c, u->id, u->channel, e->sequence + 1, intended) == -1) {
            retry = now + ECHO_RETRY_NS;
            break;
        }
        e->sequence++;
        u->inflight++;
        e->due += step;
    }
    if (step > 0 || due != UINT64_MAX || e->due > now)
        echo_place(c, retry);
}

static void echo_forget(struct echo *e)
{
    seen_fini(&e->seen);
    e->seen = (struct seen){.last = e->sequence};
    e->floor = e->sequence;
}

/* What was under way is lost, except when the scenario has hung up. */
void echo_released(const struct user *u)
{
    struct echo *e = echo_of(u);

    if ((u->flags & USER_CLOSING) || seen_expect(&e->seen, e->sequence, &engine.slot->m) == -1)
        echo_forget(e);
}

void echo_stop(uint64_t until)
{
    uint64_t step = echo_step();

    for (uint64_t i = 0; engine.echoes != NULL && step > 0 && i < engine.count; i++)
        if (engine.echoes[i].due <= until)
            engine.slot->m.not_sent += (until - engine.echoes[i].due) / step + 1;
}

/* An answer; only the first of a message makes room for the next one. */
static void on_echo(struct conn *c, const struct payload *p, uint64_t now)
{
    struct load_metrics *m = &engine.slot->m;
    struct user *u = user_of(c);
    struct echo *e = echo_of(u);
    int fresh;

    if (p->sequence > e->sequence) { /* nobody has sent that */
        m->foreign_in++;
        return;
    }
    if (p->sequence <= e->floor)
        return;
    fresh = seen_add(&e->seen, p->sequence, m);
    if (fresh == -1) {
        echo_forget(e);
        conn_kill(c, CLOSE_NO_MEMORY);
    }
    if (fresh != 1)
        return;
    hdr_record(&m->echo, now - p->intended_ns);
    hdr_record(&m->echo_uncorrected, now - p->sent_ns);
    if (p->sequence > u->base && u->inflight > 0)
        u->inflight--;
    user_echo(c);
}

/* Users that send, as numbered in a payload: those of a channel, or everybody. */
static uint64_t publishers_known(void)
{
    return engine.o->scenario == SCENARIO_ECHO ? load_shared->users : engine.slots;
}

/* chat: which of the room's people it is. */
static uint32_t chat_number(const struct user *u)
{
    return u->id % (uint32_t)engine.o->room;
}

/* Is it one of this test's, whole, and the user's? Else it is counted as what it is. */
static bool take_payload(const struct user *u, struct str text, struct payload *p)
{
    struct load_metrics *m = &engine.slot->m;

    if (!payload_is_of(text, load_shared->run_id)) {
        m->foreign_in++;
        return false;
    }
    if (text.n != (size_t)engine.o->size || payload_read(text, p) == -1 || p->sequence == 0 ||
        p->sequence == SEQUENCE_ANY) {
        m->damaged++;
        return false;
    }
    if (p->publisher >= publishers_known()) {
        m->foreign_in++;
        return false;
    }
    if (p->channel != u->channel ||
        (engine.o->scenario == SCENARIO_ECHO && p->publisher != u->id)) {
        m->misrouted++;
        return false;
    }
    return true;
}

/* recovered: it was away when the message came, which says nothing about the server's speed. */
static void on_publication(struct conn *c, struct str text, bool recovered)
{
    struct load_metrics *m = &engine.slot->m;
    struct user *u = user_of(c);
    uint64_t now = clock_precise_ns();
    struct payload p;

    m->messages_in++;
    m->bytes_in += text.n;
    if (!take_payload(u, text, &p))
        return;
    m->recovered_in += recovered;
    if ((u->flags & USER_HEARD) == 0 && !recovered) {
        u->flags |= USER_HEARD;
        hdr_record(&m->first_message, now - u->since);
    }
    if (engine.o->scenario == SCENARIO_ECHO) {
        on_echo(c, &p, now);
        return;
    }
    if (engine.o->scenario == SCENARIO_CHAT && p.publisher == chat_number(u))
        engine.own_heard = true;
    if (!recovered) {
        hdr_record(&m->delivery, now - p.intended_ns);
        hdr_record(&m->delivery_uncorrected, now - p.sent_ns);
    }
    if (u->seen != NULL && seen_add(&u->seen[p.publisher], p.sequence, m) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
}

/* Keeps the beginning of a message, `rest`, which is the end of what partial has or of a frame. */
static void keep_partial(struct conn *c, struct buf *partial, struct str rest)
{
    if (partial->len >= rest.n && rest.p == partial->p + (partial->len - rest.n)) {
        buf_drop(partial, partial->len - rest.n);
    } else if (buf_append(partial, rest) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
    }
}

static void on_ready(struct conn *c, const struct adapter_user *as)
{
    struct user *u = user_of(c);
    struct buf name = {0};

    engine.slot->m.unrecovered += as->unrecovered;
    if (u->flags & USER_READY) /* it has subscribed again */
        return;
    user_ready(c);
    if (engine.o->history == 0 || conn_dead(c))
        return;
    buf_clear(&engine.text);
    user_render(str_from(engine.o->channel), u->id, u->channel, &name);
    if (engine.adapter->ask_history(as, buf_view(&name), &engine.text) == -1 ||
        user_send_data(c, buf_view(&engine.text)) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
    buf_fini(&name);
}

/* Returns false when nothing more of the frame can be taken. */
static bool on_event(struct conn *c, enum adapter_event event, struct str payload,
                     const struct adapter_user *as)
{
    switch (event) {
    case ADAPTER_NOTHING:
        break;
    case ADAPTER_READY:
        on_ready(c, as);
        break;
    case ADAPTER_MESSAGE:
        engine.slot->m.offset_jumps += as->jumped;
        engine.slot->m.deltas_in += as->was_delta;
        on_publication(c, payload, as->recovered);
        break;
    case ADAPTER_HISTORY:
        hdr_record(&engine.slot->m.history, clock_precise_ns() - user_of(c)->since);
        break;
    case ADAPTER_REPLY:
        return user_send_data(c, buf_view(&engine.text)) == 0;
    case ADAPTER_MORE:
        return false;
    case ADAPTER_REFUSED:
        user_broke(c, CLOSE_NOT_PERMITTED,
                   as->refusal[0] != '\0' ? as->refusal
                                          : "the server refused the subscription, or its message "
                                            "is not the adapter's");
        break;
    }
    return !conn_dead(c);
}

static void on_data(struct conn *c, struct str rest)
{
    struct buf *partial =
        engine.partial != NULL ? &engine.partial[user_of(c)->id - engine.first] : NULL;
    struct adapter_user as = user_for_adapter(user_of(c));
    enum adapter_event event = ADAPTER_NOTHING;
    struct str payload = STR_NULL;

    if (partial != NULL && partial->len > 0) {
        if (buf_append(partial, rest) == -1) {
            conn_kill(c, CLOSE_NO_MEMORY);
            return;
        }
        rest = buf_view(partial);
    }
    do {
        buf_clear(&engine.text);
        event = engine.adapter->receive(&as, &rest, &payload, &engine.text);
    } while (on_event(c, event, payload, &as) && (rest.p != NULL || as.held.p != NULL));
    if (partial == NULL || conn_dead(c))
        return;
    if (event == ADAPTER_MORE)
        keep_partial(c, partial, rest);
    else
        buf_fini(partial);
}

/* The server closes: answer with its code, then end in order. */
static void on_close(struct conn *c, const struct ws_item *item)
{
    uint8_t payload[WS_CONTROL_MAX];
    size_t n = ws_tx_close_payload(item->close_code, STR_NULL, payload);

    if ((user_of(c)->flags & USER_CLOSING) == 0 &&
        user_send(c, WS_OP_CLOSE, (struct str){(const char *)payload, n}) == -1)
        return;
    conn_finish(c, CLOSE_PEER_CLOSED);
}

static void on_pong(struct conn *c)
{
    struct user *u = user_of(c);

    if (u->flags & USER_PINGED)
        hdr_record(&engine.slot->m.pong,
                   clock_precise_ns() - engine.pinged_ns[u->id - engine.first]);
    u->flags &= (uint16_t)~USER_PINGED;
}

static void on_item(struct conn *c, const struct ws_item *item)
{
    switch (item->kind) {
    case WS_ITEM_TEXT:
    case WS_ITEM_BINARY:
        engine.slot->m.frames_in++;
        on_data(c, item->data.p != NULL ? item->data : STR_LIT(""));
        break;
    case WS_ITEM_PING:
        engine.slot->m.pings_in++;
        if (user_send(c, WS_OP_PONG, item->data) == -1)
            return;
        break;
    case WS_ITEM_PONG:
        on_pong(c);
        break;
    case WS_ITEM_CLOSE:
        on_close(c, item);
        break;
    }
}

void user_frames(struct conn *c, struct str in)
{
    const struct ws_rx_limits limits = {
        .frame = 64 << 20, .message = 64 << 20, .deflate = conn_deflate(c) != 0};
    enum close_reason why;
    struct ws_item item;
    int rc;

    while ((rc = ws_rx_next(&c->rx, engine.rx, &limits, &in, &item, &why)) > 0) {
        on_item(c, &item);
        if (c->state != CONN_OPEN)
            return;
    }
    if (rc < 0)
        user_broke(c, why, close_row(why)->text);
}

void user_ping(struct conn *c)
{
    struct user *u = user_of(c);

    conn_arm(c, (uint64_t)engine.o->ping_interval);
    if (u->flags & USER_PINGED) /* still unanswered: its time goes on */
        return;
    engine.pinged_ns[u->id - engine.first] = clock_precise_ns();
    u->flags |= USER_PINGED;
    engine.slot->m.pings_out++;
    if (user_send(c, WS_OP_PING, STR_NULL) == -1)
        return;
}

void user_close(struct conn *c)
{
    uint8_t payload[WS_CONTROL_MAX];
    size_t n = ws_tx_close_payload(1000, STR_NULL, payload);

    user_of(c)->flags |= USER_CLOSING;
    if (user_send(c, WS_OP_CLOSE, (struct str){(const char *)payload, n}) == 0)
        conn_finish(c, CLOSE_NORMAL);
}

/* At the end: what a subscriber that was there from the start should have seen and has not. Where
 * nobody has ever seen a message of their own, the server does not send them back. */
static void count_missing(const struct user *u)
{
    for (uint32_t p = 0; p < engine.slots; p++) {
        uint64_t at = engine.o->scenario == SCENARIO_CHAT
                          ? (uint64_t)u->channel * engine.slots + p
                          : (uint64_t)p * load_shared->channels + u->channel;
        uint32_t sent;

        if (engine.o->scenario == SCENARIO_CHAT && p == chat_number(u) && !engine.own_heard)
            continue;
        if (at >= load_shared->sent_count || u->seen[p].last == SEQUENCE_ANY)
            continue;
        sent = atomic_load(&load_shared->sent[at]);
        if (sent > u->seen[p].last)
            engine.slot->m.gaps += sent - u->seen[p].last;
    }
}

/* What is still waited for on a connection; of those that ended it is counted. */
static void count_unanswered(const struct user *u)
{
    struct echo *e = echo_of(u);

    if ((u->flags & USER_CLOSING) == 0 && seen_expect(&e->seen, e->sequence, &engine.slot->m) == -1)
        echo_forget(e); /* it is counted, and nothing comes any more */
}

void user_count_missing(void)
{
    for (uint64_t i = 0; i < engine.count; i++) {
        struct conn *c = engine.conns[i];
        const struct user *u;

        if (c == NULL)
            continue;
        u = user_of(c);
        if ((u->flags & USER_READY) == 0 || (u->flags & USER_STALLED))
            continue;
        if (engine.echoes != NULL)
            count_unanswered(u);
        else if (u->seen != NULL)
            count_missing(u);
    }
}
