#include "base/clock.h"
#include "codec/ws_tx.h"
#include "sim_internal.h"

#define NUMBER     10 /* digits at the beginning of a publication */
#define CLOSE_CODE 1000

static void say(struct sim *s, struct sim_client *c, const char *text)
{
    SIM_REQUIRE(s, buf_append(&c->out, str_from(text)) == 0);
}

static void forget_connection(struct sim_client *c)
{
    if (c->end != NULL)
        memory_close(c->end);
    c->end = NULL;
    c->phase = SIM_AWAY;
    c->asked = false;
    buf_fini(&c->out);
    buf_fini(&c->in);
    c->said = 0;
    c->nown = 0;
    c->pings = c->pongs = 0;
}

void sim_client_end(struct sim *s UNUSED, struct sim_client *c)
{
    forget_connection(c);
    free(c->own);
    c->own = NULL;
    c->own_cap = 0;
}

/* What it says */

/* Half of the proxies speak the first version. */
static void say_header(struct sim *s, struct sim_client *c)
{
    static const char v2[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xcb\0\x71\x09\xc0\0\x02\x02\xc3\x50"
        "\x01\xbb\x04\0\0";

    if (sim_dice(s, 2) == 0)
        say(s, c, "PROXY TCP4 203.0.113.9 192.0.2.2 50000 443\r\n");
    else
        SIM_REQUIRE(s, buf_append(&c->out, (struct str){v2, sizeof(v2) - 1}) == 0);
}

static void come(struct sim *s, struct sim_client *c)
{
    char request[300];
    bool api = sim_dice(s, 8) == 0;

    c->worker = sim_dice(s, s->plan.workers);
    c->channel = sim_dice(s, s->plan.channels);
    c->proxied = !api && sim_dice(s, 4) == 0;
    c->end = c->proxied ? sim_connect_proxied(s, c->worker) : sim_connect(s, c->worker, api);
    c->last = SIM_NOT_YET;
    if (c->end == NULL)
        return;
    if (api) {
        c->phase = SIM_API;
        return;
    }
    c->phase = SIM_SHAKING;
    if (c->proxied)
        say_header(s, c);
    snprintf(request, sizeof(request),
             "GET /ws/room%u HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             c->channel);
    say(s, c, request);
}

static uint32_t pub_new(struct sim *s, unsigned channel)
{
    unsigned long_each = s->plan.long_each > 0 ? s->plan.long_each : 50;

    s->pubs = sim_grow(s->pubs, s->npubs, sizeof(*s->pubs), &s->pubs_cap);
    s->pubs[s->npubs] =
        (struct sim_pub){.place = SIM_NOT_YET,
                         .channel = channel,
                         .fill = sim_dice(s, sim_dice(s, long_each) == 0 ? SIM_FILL_MAX : 60)};
    s->counts.published++;
    return s->npubs++;
}

static size_t pub_text(const struct sim *s, uint32_t id, char *out)
{
    snprintf(out, NUMBER + 1, "%0*u", NUMBER, id);
    memset(out + NUMBER, 'a' + (int)(id % 26), s->pubs[id].fill);
    return NUMBER + s->pubs[id].fill;
}

uint32_t sim_pub_of(const struct sim *s, struct str data)
{
    char text[NUMBER + SIM_FILL_MAX + 1];
    uint64_t id;

    if (data.n > 2 && data.p[0] == '"') /* by the API: a JSON string */
        data = (struct str){data.p + 1, data.n - 2};
    SIM_REQUIRE(s, data.n >= NUMBER && str_to_u64((struct str){data.p, NUMBER}, &id) == 0);
    SIM_REQUIRE(s, id < s->npubs);
    SIM_REQUIRE(s, str_equal(data, (struct str){text, pub_text(s, (uint32_t)id, text)}));
    return (uint32_t)id;
}

/* A masked frame; ws_tx_masked() makes whole messages only. */
static void say_frame(struct sim *s, struct sim_client *c, enum ws_opcode op, struct str payload,
                      bool fin)
{
    static const uint8_t key[4] = {0x5a, 0x01, 0xff, 0x80};
    size_t at = c->out.len;

    SIM_REQUIRE(s, ws_tx_masked(op, payload, key, &c->out) == 0);
    if (!fin)
        c->out.p[at] &= 0x7f;
}

static void say_ping(struct sim *s, struct sim_client *c)
{
    c->pings++;
    say_frame(s, c, WS_OP_PING, STR_LIT("are you there"), true);
}

/* In one frame or in several, with a ping between. */
static void say_publication(struct sim *s, struct sim_client *c)
{
    uint32_t id = pub_new(s, c->channel);
    char text[NUMBER + SIM_FILL_MAX + 1];
    struct str rest = {text, pub_text(s, id, text)};
    enum ws_opcode op = WS_OP_TEXT;

    while (sim_dice(s, 4) == 0) {
        struct str part = {rest.p, sim_dice(s, (unsigned)rest.n + 1)};

        say_frame(s, c, op, part, false);
        rest = str_skip(rest, part.n);
        op = WS_OP_CONTINUATION;
        if (sim_dice(s, 3) == 0)
            say_ping(s, c);
    }
    say_frame(s, c, op, rest, true);
    c->own = sim_grow(c->own, c->nown, sizeof(*c->own), &c->own_cap);
    c->own[c->nown++] = id;
}

static void say_close(struct sim *s, struct sim_client *c)
{
    static const char code[2] = {CLOSE_CODE >> 8, (char)(CLOSE_CODE & 0xff)};

    say_frame(s, c, WS_OP_CLOSE, (struct str){code, sizeof(code)}, true);
}

static void say_api_call(struct sim *s, struct sim_client *c)
{
    char text[NUMBER + SIM_FILL_MAX + 1], body[sizeof(text) + 100], head[200];
    unsigned channel = sim_dice(s, s->plan.channels);
    uint32_t id = pub_new(s, channel);
    int n;

    text[pub_text(s, id, text)] = '\0';
    n = snprintf(body, sizeof(body), "{\"channel\":\"room%u\",\"data\":\"%s\"}", channel, text);
    snprintf(head, sizeof(head),
             "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", n);
    say(s, c, head);
    say(s, c, body);
    c->own = sim_grow(c->own, 0, sizeof(*c->own), &c->own_cap);
    c->own[0] = id;
    c->nown = 1;
    c->asked = true;
}

static void say_something(struct sim *s, struct sim_client *c)
{
    if (c->phase == SIM_API && !c->asked) {
        if (sim_dice(s, 50) == 0)
            forget_connection(c);
        else
            say_api_call(s, c);
    } else if (c->phase == SIM_OPEN) {
        unsigned what = sim_dice(s, 200);

        if (what == 0) {
            say_close(s, c);
            c->phase = SIM_CLOSING;
        } else if (what < 10) {
            say_ping(s, c);
        } else if (what < 60) {
            say_publication(s, c);
        }
    }
}

/* A part of what is left, cut anywhere. */
static bool send_some(struct sim_client *c, size_t max)
{
    size_t left = c->out.len - c->said;
    ssize_t n;

    if (left == 0 || c->end == NULL)
        return false;
    n = memory_write(c->end, c->out.p + c->said, MIN(left, max));
    if (n <= 0)
        return false; /* full, or gone: then reading tells */
    c->said += (size_t)n;
    if (c->said == c->out.len) {
        buf_clear(&c->out);
        c->said = 0;
    }
    return true;
}

/* What it hears */

static void hear_publication(struct sim *s, struct sim_client *c, struct str data)
{
    const struct sim_channel *ch = &s->channels[c->channel];
    uint32_t id = sim_pub_of(s, data);
    const struct sim_pub *p = &s->pubs[id];

    SIM_REQUIRE(s, p->channel == c->channel && p->place != SIM_NOT_YET);
    if (c->last != SIM_NOT_YET)
        SIM_REQUIRE(s, p->place == c->last + 1);
    else if (p->place > 0)
        SIM_REQUIRE(s, ch->latest[p->place - 1] < c->told_at);
    c->last = p->place;
    s->counts.seen++;
    for (uint32_t i = 0; i < c->nown; i++)
        if (c->own[i] == id) {
            SIM_REQUIRE(s, i == 0); /* its own in the order it has said them */
            memmove(c->own, c->own + 1, --c->nown * sizeof(*c->own));
            break;
        }
}

/* The answer to its own close frame comes behind its own publications; a restarted hub may be late
 * for that. */
static void hear_close(struct sim *s, struct sim_client *c, struct str payload)
{
    unsigned code = 0;

    if (payload.n >= 2)
        code = (unsigned)(uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
    if (c->phase == SIM_CLOSING && code == CLOSE_CODE) {
        SIM_REQUIRE(s, c->nown == 0 || s->plan.hub_dies > 0 || s->plan.worker_dies > 0);
        s->counts.closed++;
    } else {
        s->counts.lost++;
        if (c->phase == SIM_OPEN)
            say_close(s, c);
    }
    c->phase = SIM_CLOSED;
}

static void hear_frame(struct sim *s, struct sim_client *c, unsigned first, struct str payload)
{
    SIM_REQUIRE(s, (first & 0xf0) == 0x80); /* whole, no extension */
    SIM_REQUIRE(s, c->phase == SIM_OPEN || c->phase == SIM_CLOSING);
    switch (first & 0x0f) {
    case WS_OP_TEXT:
        hear_publication(s, c, payload);
        break;
    case WS_OP_PING:
        if (c->phase == SIM_OPEN)
            say_frame(s, c, WS_OP_PONG, payload, true);
        break;
    case WS_OP_PONG:
        SIM_REQUIRE(s, ++c->pongs <= c->pings);
        SIM_REQUIRE(s, str_equal(payload, STR_LIT("are you there")));
        break;
    case WS_OP_CLOSE:
        hear_close(s, c, payload);
        break;
    default:
        sim_fail(s, __FILE__, __LINE__, "an opcode that the server uses");
    }
}

/* One frame of the server's; false: it is not there yet. */
static bool take_frame(struct sim *s, struct sim_client *c)
{
    const uint8_t *p = (const uint8_t *)c->in.p;
    size_t head = 2, n;

    if (c->in.len < 2)
        return false;
    n = p[1];
    SIM_REQUIRE(s, n < 127); /* not masked, and nothing here is longer than 64 KiB */
    if (n == 126) {
        head = 4;
        if (c->in.len < head)
            return false;
        n = (size_t)p[2] << 8 | p[3];
    }
    if (c->in.len < head + n)
        return false;
    hear_frame(s, c, p[0], (struct str){c->in.p + head, n});
    buf_drop(&c->in, head + n);
    return true;
}

static void hear_answer(struct sim *s, struct sim_client *c, int status)
{
    if (status == 101) {
        SIM_REQUIRE(s, c->phase == SIM_SHAKING);
        c->phase = SIM_OPEN;
        c->told_at = s->npubs;
        s->counts.opened++;
        s->counts.proxied += c->proxied ? 1 : 0;
    } else if (c->phase == SIM_SHAKING) {
        SIM_REQUIRE(s, status == 503);
        s->counts.refused++;
        c->phase = SIM_CLOSED;
    } else {
        SIM_REQUIRE(s, c->asked && (status == 200 || status == 503 ||
                                    (status == 504 && s->plan.hub_dies > 0)));
        SIM_REQUIRE(s, status != 200 || s->pubs[c->own[0]].place != SIM_NOT_YET);
        s->counts.api_calls++;
        c->asked = false;
        c->nown = 0;
    }
}

/* One response; false: it is not there yet. */
static bool take_answer(struct sim *s, struct sim_client *c)
{
    size_t head, body = 0;
    const char *length;
    int status = 0;

    SIM_REQUIRE(s, buf_append_char(&c->in, '\0') == 0);
    c->in.len--;
    length = strstr(c->in.p, "\r\n\r\n");
    if (length == NULL)
        return false;
    head = (size_t)(length - c->in.p) + 4;
    length = strstr(c->in.p, "Content-Length: ");
    if (length != NULL && length < c->in.p + head)
        body = strtoul(length + strlen("Content-Length: "), NULL, 10);
    if (c->in.len < head + body)
        return false;
    SIM_REQUIRE(s, sscanf(c->in.p, "HTTP/1.1 %d ", &status) == 1);
    buf_drop(&c->in, head + body);
    hear_answer(s, c, status);
    return true;
}

static void hear(struct sim *s, struct sim_client *c)
{
    bool more = true;

    while (more && c->in.len > 0)
        if (c->phase == SIM_SHAKING || c->phase == SIM_API)
            more = take_answer(s, c);
        else
            more = take_frame(s, c);
    SIM_REQUIRE(s, c->phase != SIM_CLOSED || c->in.len == 0);
}

static void hear_end(struct sim *s, struct sim_client *c)
{
    if (c->phase != SIM_CLOSED) {
        s->counts.resets++;
        SIM_REQUIRE(s, s->plan.worker_dies > 0 || s->plan.client_stalls > 0 ||
                           s->plan.way.reset_each > 0);
    }
    forget_connection(c);
}

/* True when something came. */
static bool receive_some(struct sim *s, struct sim_client *c, size_t max)
{
    ssize_t n;

    if (c->end == NULL)
        return false;
    SIM_REQUIRE(s, buf_reserve(&c->in, max) == 0);
    n = memory_read(c->end, c->in.p + c->in.len, max);
    if (n == TRANSPORT_LATER)
        return false;
    if (n < 0) {
        hear_end(s, c);
        return true;
    }
    c->in.len += (size_t)n;
    hear(s, c);
    return true;
}

void sim_client_act(struct sim *s, struct sim_client *c)
{
    const struct sim_plan *plan = &s->plan;

    if (c->phase == SIM_AWAY) {
        come(s, c);
        return;
    }
    if (plan->client_resets > 0 && sim_dice(s, plan->client_resets) == 0) {
        forget_connection(c);
        return;
    }
    if (plan->client_stalls > 0 && sim_dice(s, plan->client_stalls) == 0)
        c->stalled_to = clock_ns() + sim_dice(s, 5000) * NS_PER_MS;
    if (c->out.len == 0)
        say_something(s, c);
    (void)send_some(c, 1 + sim_dice(s, sim_dice(s, 4) == 0 ? 20 : 5000));
    if (clock_ns() >= c->stalled_to)
        (void)receive_some(s, c, 1 + sim_dice(s, sim_dice(s, 4) == 0 ? 20 : 16384));
}

bool sim_client_finish(struct sim *s, struct sim_client *c)
{
    bool moved = false;

    while (send_some(c, SIZE_MAX))
        moved = true;
    while (receive_some(s, c, 65536))
        moved = true;
    return moved || c->out.len > 0 || c->phase == SIM_SHAKING || c->asked ||
           c->phase == SIM_CLOSING || c->phase == SIM_CLOSED;
}

void sim_client_check_complete(struct sim *s, struct sim_client *c)
{
    const struct sim_channel *ch = &s->channels[c->channel];

    SIM_REQUIRE(s, c->phase == SIM_AWAY || c->phase == SIM_OPEN || c->phase == SIM_API);
    if (c->phase != SIM_OPEN)
        return;
    SIM_REQUIRE(s, c->pongs == c->pings);
    SIM_REQUIRE(s, c->nown == 0);
    if (c->last != SIM_NOT_YET)
        SIM_REQUIRE(s, c->last + 1 == ch->n);
    else if (ch->n > 0)
        SIM_REQUIRE(s, ch->latest[ch->n - 1] < c->told_at);
}
