/* core/engine_nats_server.c - the connection to a server of the cluster, when it is given up.
 *
 * DOWN · CONNECTING (and TLS, where it comes first) · GREETING (its INFO) · SECURING (with TLS) · SETTING_UP (CONNECT, what is for this node, a PING) · UP.
 * Behind what a round has written stands a PING; its PONG says that all before it is done. A connection
 * that does not answer one for `timeout_ns`, or does not bring back what this node publishes to itself (the
 * probe), is replaced: to be connected is not to be heard. */
#include "engine_nats_internal.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"

#define IDLE_NS NS_PER_SEC /* then a PING shows whether it is still there */

void nats_set_state(struct nats *e, enum nats_state state)
{
    if (state == NATS_UP && e->state != NATS_UP) {
        e->restored = false;
        engine_shard_set(e->shard, SHARD_RESTORING, NULL);
    }
    e->state = state;
}

struct str nats_subject(struct nats *e, const char *kind, struct str name)
{
    struct buf *out = &e->scratch;

    buf_clear(out);
    if (buf_printf(out, "%s.%s", e->prefix, kind) == -1 ||
        (name.p != NULL && (buf_append_char(out, '.') == -1 || nats_escape(out, name) == -1)))
        return STR_NULL;
    return buf_view(out);
}

struct str nats_node_subject(struct nats *e, const char *kind, uint64_t node)
{
    char id[17];

    snprintf(id, sizeof(id), "%016" PRIx64, node);
    return nats_subject(e, kind, str_from(id));
}

/* --- an end --- */

/* why: NULL: as the ending's row says. */
static void down(struct nats *e, enum engine_ending ending, const char *why)
{
    bool was_up = e->state == NATS_UP, first = e->tried == 0;

    e->wire = NULL;
    buf_clear(&e->in);
    buf_clear(&e->out);
    e->scan = (struct nats_scan){0};
    e->pings = e->pongs = 0;
    e->too_many = 0;
    e->unanswered = false;
    e->deaf = 0;
    e->deaf_flight = 0;
    if (was_up) {
        e->down_since_ns = clock_ns();
        if (e->down_since_ns - e->up_ns >= ENGINE_STEADY_NS)
            e->tried = 0;
    }
    if (e->state == (nats_server(e)->tls_first ? NATS_CONNECTING : NATS_SECURING))
        nats_servers_refused(e);
    nats_set_state(e, NATS_DOWN);
    why = why != NULL ? why : engine_ending_why(ending);
    engine_shard_set(e->shard, SHARD_DOWN, why);
    engine_count_ending(ending);
    engine_log_gone(nats_server(e), was_up || first, why);
    e->retry_ns = nats_servers_next(e);
    nats_calls_down(e);
    nats_subs_down(e);
    engine_nodes_up(e->engine.nodes, false);
}

void nats_restart(struct nats *e, enum engine_ending ending, const char *why)
{
    struct engine_wire *w = e->wire;

    if (w == NULL)
        return;
    down(e, ending, why);
    e->wires->close(w);
}

void nats_server_fini(struct nats *e)
{
    if (e->wire != NULL)
        e->wires->close(e->wire);
    engine_shard_give(e->shard);
    buf_fini(&e->in);
    buf_fini(&e->out);
}

/* --- what is written --- */

static void ping(struct nats *e)
{
    if (nats_write_ping(&e->out) == -1)
        return; /* the next round's */
    e->ping_ns[++e->pings % NATS_PINGS_MAX] = clock_ns();
    e->unanswered = false;
}

static void flush(struct nats *e)
{
    if (e->unanswered)
        ping(e);
    if (e->out.len == 0 || e->wire == NULL)
        return;
    if (e->wires->send(e->wire, buf_view(&e->out)) == -1)
        nats_restart(e, ENDING_CLOSED, NULL);
    buf_clear(&e->out);
}

/* --- what the node itself listens to --- */

#define DEAF_NS (30 * NS_PER_SEC) /* until what is not permitted is asked for again */

static struct str own_subject(struct nats *e, enum nats_own which)
{
    switch (which) {
    case NATS_OWN_PROBE:
        return nats_node_subject(e, "probe", e->s.node);
    case NATS_OWN_NODE:
        return nats_node_subject(e, "node", e->s.node);
    case NATS_OWN_NODES:
        return nats_subject(e, "nodes", STR_NULL);
    default:
        return nats_subject(e, "control", STR_NULL);
    }
}

/* Sids of channels are others. */
static int listen_to(struct nats *e, unsigned which)
{
    for (unsigned i = 0; i < NATS_OWN_NR; i++) {
        struct str subject = which & 1u << i ? own_subject(e, i) : STR_NULL;

        if ((which & 1u << i) &&
            (subject.n == 0 || nats_write_sub(&e->out, subject, ++e->next_sid) == -1))
            return -1;
    }
    e->unanswered = true;
    return 0;
}

/* What is said to all does not come to this node, which goes on with the rest. */
static void show_deaf(struct nats *e)
{
    if (e->deaf != 0)
        engine_shard_set(e->shard, SHARD_DEGRADED, e->refusal);
    else
        engine_shard_set(e->shard, e->restored ? SHARD_UP : SHARD_RESTORING, NULL);
}

bool nats_own_refused(struct nats *e, struct str subject)
{
    for (unsigned i = 0; i < NATS_OWN_NR; i++) {
        if (!str_equal(own_subject(e, i), subject))
            continue;
        e->deaf |= 1u << i;
        e->deaf_ns = clock_ns() + DEAF_NS;
        show_deaf(e);
        return true;
    }
    return false;
}

static void listen_again(struct nats *e, uint64_t now_ns)
{
    if (LIKELY(e->deaf == 0) || now_ns < e->deaf_ns)
        return;
    if (listen_to(e, e->deaf) == -1) {
        nats_restart(e, ENDING_MEMORY, NULL);
        return;
    }
    e->deaf = 0;
    e->deaf_flight = e->pings + 1;
}

/* What has not been refused until then is heard. */
static void own_answered(struct nats *e)
{
    if (LIKELY(e->deaf_flight == 0) || e->pongs < e->deaf_flight)
        return;
    e->deaf_flight = 0;
    show_deaf(e);
    if (e->deaf == 0)
        LOG(LOG_INFO, "the engine's server permits again what this node listens to");
}

void nats_ponged(struct nats *e)
{
    if (e->pongs == e->pings) {
        nats_restart(e, ENDING_PROTOCOL, "it answers what was not asked");
        return;
    }
    e->pongs++;
    e->ponged_ns = clock_ns();
    if (e->state != NATS_SETTING_UP) {
        nats_calls_answered(e, e->pongs);
        if (nats_subs_answered(e, e->pongs) == -1)
            nats_restart(e, ENDING_REFUSED,
                         e->refusal); /* what this node listens to was among them */
        else
            own_answered(e);
        return;
    }
    nats_set_state(e, NATS_UP);
    engine_probe_begin(&e->probe);
    e->probe.unanswered = false;
    nats_subs_up(e);
    engine_log_connected(nats_server(e), e->down_since_ns);
    engine_nodes_up(e->engine.nodes, true);
}

/* --- setting up --- */

static void set_up(struct nats *e)
{
    const struct engine_address *a = nats_server(e);
    bool named = a->user[0] != '\0';
    const struct nats_connect c = {.user = named ? a->user : "",
                                   .password = named ? a->password : "",
                                   .token = named ? "" : a->password,
                                   .name = "roost",
                                   .tls = a->tls};

    nats_set_state(e, NATS_SETTING_UP);
    if (nats_write_connect(&e->out, &c) == -1 || listen_to(e, (1u << NATS_OWN_NR) - 1) == -1) {
        nats_restart(e, ENDING_MEMORY, NULL);
        return;
    }
    flush(e);
}

static void warn_of_size(const struct nats *e)
{
    uint64_t most = (uint64_t)config.max_message_size + ENVELOPE_HEADER;

    if (e->max_payload < most)
        LOG(LOG_WARN,
            "the engine's server takes less than max_message_size; what is larger is refused",
            KV_U("max_payload", e->max_payload), KV_U("needed", most));
}

bool nats_greeted(struct nats *e, const struct nats_info *info)
{
    bool changed = e->max_payload != info->max_payload;

    nats_set_most(e, info->max_payload);
    e->leaving = false;
    if (changed)
        warn_of_size(e);
    if (!nats_server(e)->tls && info->tls_required) {
        nats_restart(e, ENDING_REFUSED, "it wants TLS: write tls:// in engine_address");
        return false;
    }
    if (!nats_server(e)->tls || nats_server(e)->tls_first) {
        set_up(e);
        return e->wire != NULL;
    }
    nats_set_state(e, NATS_SECURING);
    if (e->wires->secure(e->wire) == 0)
        return true;
    nats_restart(e, ENDING_CLOSED, "TLS cannot be begun");
    return false;
}

/* --- the connection's events --- */

static void on_opened(void *peer)
{
    struct nats *e = peer;

    nats_set_state(e, NATS_GREETING);
    e->heard_ns = clock_ns();
}

static void on_secured(void *peer)
{
    struct nats *e = peer;

    e->heard_ns = clock_ns();
    set_up(e);
}

static void on_received(void *peer, struct str bytes)
{
    struct nats *e = peer;
    const char *why = NULL;

    e->heard_ns = clock_ns();
    if (!nats_received(e, bytes, &why) && why != NULL)
        nats_restart(e, ENDING_PROTOCOL, why);
}

static void on_closed(void *peer, const char *why)
{
    struct nats *e = peer;
    bool refused = e->refusal[0] != '\0' && e->state != NATS_UP;

    down(e, refused ? ENDING_REFUSED : ENDING_CLOSED, refused ? e->refusal : why);
}

static const struct engine_wire_events wire_events = {
    .opened = on_opened, .secured = on_secured, .received = on_received, .closed = on_closed};

static void begin(struct nats *e)
{
    nats_set_state(e, NATS_CONNECTING);
    e->refusal[0] = '\0';
    e->heard_ns = clock_ns();
    e->wire = e->wires->open(e->arg, nats_server(e), &wire_events, e);
    if (e->wire == NULL) {
        nats_set_state(e, NATS_DOWN);
        e->retry_ns = nats_servers_next(e);
    }
}

/* --- as time passes --- */

static void probe(struct nats *e, uint64_t now_ns)
{
    struct str subject;

    e->probe.unanswered = e->probe.unanswered && e->pongs < e->probe_flight;
    switch (engine_probe_step(&e->probe, e->ponged_ns, e->s.probe_ns, now_ns)) {
    case PROBE_MISSED:
        nats_restart(e, ENDING_PROBE, NULL);
        break;
    case PROBE_SEND:
        subject = nats_node_subject(e, "probe", e->s.node);
        if (subject.n == 0 || nats_write_pub(&e->out, subject, STR_LIT("probe")) == -1)
            break; /* the next round's */
        engine_probe_sent(&e->probe, now_ns);
        e->probe_flight = e->pings + 1;
        e->unanswered = true;
        break;
    case PROBE_WAIT:
        break;
    }
}

/* Does the oldest PING wait for too long? While others are answered, there is only much in front of it. */
static bool is_silent(const struct nats *e, uint64_t now_ns)
{
    uint64_t sent_ns;

    if (e->state != NATS_UP || e->pings == e->pongs)
        return e->state != NATS_UP && now_ns - e->heard_ns > e->s.timeout_ns;
    sent_ns = MAX(e->ping_ns[(e->pongs + 1) % NATS_PINGS_MAX], e->ponged_ns);
    return now_ns > sent_ns && now_ns - sent_ns > e->s.timeout_ns;
}

static const char *why_silent(const struct nats *e)
{
    bool waits = e->state == NATS_GREETING && nats_server(e)->tls && !nats_server(e)->tls_first;

    return waits ? "it does not greet; one that has handshake_first in its settings needs "
                   "?handshake_first=true in engine_address"
                 : NULL;
}

/* One round of an open connection. True: there is more to be done at once. */
static bool run(struct nats *e, uint64_t now_ns)
{
    bool more;

    if (e->pings - e->pongs >= NATS_PINGS_MAX - 1)
        return false; /* its answers come first */
    if (e->leaving && e->nservers > 1) {
        if (e->pings == e->pongs)
            nats_restart(e, ENDING_MOVED, "it is going down");
        return false;
    }
    listen_again(e, now_ns); /* in front of channels, as these are behind: nats.too_many */
    if (e->state != NATS_UP)
        return false;
    more = nats_subs_ask(e);
    if (!e->restored && nats_subs_restored(e)) {
        e->restored = true;
        show_deaf(e);
        if (e->subs.count > 0)
            hist_record(&metrics->engine_resubscribe, clock_ns() - e->up_ns);
    }
    if (e->state == NATS_UP)
        probe(e, now_ns);
    if (e->state != NATS_UP)
        return false;
    nats_send_waiting(e);
    more |= e->out.len >= NATS_OUT_MAX;
    if (now_ns - e->ping_ns[e->pings % NATS_PINGS_MAX] >= IDLE_NS)
        e->unanswered = true;
    flush(e);
    return more;
}

/* Patience ends on time, too. */
static uint64_t sleep_until(const struct nats *e, uint64_t now_ns)
{
    uint64_t end = e->down_since_ns + e->s.patience_ns + 1;

    return end > now_ns ? MIN(end, e->retry_ns) : e->retry_ns;
}

uint64_t nats_server_tick(struct nats *e, uint64_t now_ns)
{
    uint64_t soon = now_ns + MIN(MIN(e->s.timeout_ns, e->s.probe_ns), IDLE_NS) / 4;
    bool more = false;

    nats_calls_expire(e, now_ns);
    if (nats_given_up(e) && nats_subs_give_up(e))
        return now_ns;
    if (e->state == NATS_DOWN) {
        if (now_ns < e->retry_ns)
            return sleep_until(e, now_ns);
        begin(e);
    } else if (is_silent(e, now_ns)) {
        nats_restart(e, ENDING_TIMEOUT, why_silent(e));
    }
    if (e->state == NATS_UP)
        more = run(e, now_ns);
    else if (e->state == NATS_SETTING_UP)
        flush(e);
    if (e->state == NATS_DOWN)
        return sleep_until(e, now_ns);
    if (e->state == NATS_UP && !e->restored && e->pace.next_ns > now_ns)
        soon = MIN(soon, e->pace.next_ns);
    return more ? now_ns : soon;
}
