#include "net/admission.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/ip.h"
#include "base/log.h"
#include "net/client.h"
#include "net_internal.h"

/* Who comes and goes at the limit must not make a line each time. */
#define FULL_CALM_NS   (2 * NS_PER_SEC)
#define FULL_AGAIN_NS  (60 * NS_PER_SEC)
#define COUNT_PER_TICK 65536 /* connections; an address is looked up for each */

/* The bytes that are counted together: an IPv4 address, or an IPv6 /64, which one subscriber
 * usually has whole. */
void address_key(const uint8_t address[16], uint8_t key[16])
{
    memcpy(key, address, 16);
    if (!ip_is_v4(key))
        memset(key + 8, 0, 8);
}

/* The limit of connections per address for those of a listener; 0: none. */
static uint64_t address_max(unsigned listener)
{
    int64_t own = config.listener[listener].max_connections_per_address;

    return (uint64_t)(own != 0 ? own : config.max_connections_per_address);
}

/* Is anything to be known of the addresses of a listener's connections? */
static bool addresses_count(unsigned listener)
{
    return reactor->cfg.addresses != NULL &&
           (address_max(listener) != 0 || config.connection_rate_per_address != 0);
}

/* An address is counted as such and for its listener, whichever has a limit now: a reload may give
 * one to the other. */
struct tags {
    uint64_t all, here;
};

static struct tags tags_of(const uint8_t address[16], unsigned listener)
{
    uint8_t key[16];

    address_key(address, key);
    return (struct tags){addresses_tag(reactor->cfg.addresses, key, 0),
                         addresses_tag(reactor->cfg.addresses, key, listener + 1)};
}

static enum close_reason address_judge(const struct tags *tags, unsigned listener)
{
    const struct addresses *all = reactor->cfg.addresses;
    struct address_use use = addresses_use(all, tags->all);
    uint64_t max = address_max(listener), n = use.connections;

    if (config.listener[listener].max_connections_per_address != 0)
        n = addresses_use(all, tags->here).connections;
    if (max != 0 && n > max)
        return CLOSE_ADDRESS_LIMIT;
    if (config.connection_rate_per_address != 0 &&
        use.lately > (uint64_t)config.connection_rate_per_address)
        return CLOSE_ADDRESS_RATE;
    return CLOSE_NONE;
}

static int tags_enter(const struct tags *tags, bool opened)
{
    struct addresses *all = reactor->cfg.addresses;

    if (addresses_enter(all, tags->all, opened) == -1)
        return -1;
    if (addresses_enter(all, tags->here, opened) == 0)
        return 0;
    addresses_take_back(all, tags->all);
    return -1;
}

/* Entered before it is judged: net/addresses.h says why. */
static enum close_reason address_enter(const uint8_t address[16], unsigned listener)
{
    struct tags tags = tags_of(address, listener);
    enum close_reason why;

    if (tags_enter(&tags, true) == -1)
        return CLOSE_NO_MEMORY;
    why = address_judge(&tags, listener);
    if (why == CLOSE_NONE)
        return CLOSE_NONE;
    addresses_take_back(reactor->cfg.addresses, tags.all);
    addresses_take_back(reactor->cfg.addresses, tags.here);
    return why;
}

static void note_refused(struct admission_refused *r)
{
    atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
    atomic_store_explicit(&r->last_ns, clock_ns(), memory_order_relaxed);
}

static void say_full(const struct admission_limit *limit)
{
    LOG(LOG_WARN, "full: further clients are answered 503", KV_S("of", limit->of),
        KV_U("connections", limit->connections), KV_U("max", limit->max), KV_S("fix", limit->fix));
}

static void look_at_full(struct admission_watch *w, const struct admission_limit *limit,
                         uint64_t last_ns)
{
    uint64_t now = clock_ns(), refused = w->seen - w->seen_before;

    /* Another process's clock may have been refreshed later than ours. */
    if (limit->connections < limit->max && now > last_ns + FULL_CALM_NS) {
        LOG(LOG_INFO, "there is room for clients again", KV_S("of", limit->of),
            KV_U("refused", refused), KV_NS("full_for", last_ns - w->since_ns));
        w->since_ns = 0;
    } else if (now > w->said_ns + FULL_AGAIN_NS && w->seen > w->seen_said) {
        LOG(LOG_WARN, "still full", KV_S("of", limit->of), KV_U("refused", refused),
            KV_NS("full_for", now - w->since_ns));
        w->said_ns = now;
        w->seen_said = w->seen;
    }
}

void admission_look(struct admission_watch *w, const struct admission_limit *limit,
                    uint64_t refused, uint64_t last_ns)
{
    bool more = refused > w->seen;

    if (w->since_ns == 0 && more) {
        w->since_ns = w->said_ns = MIN(last_ns, clock_ns());
        w->seen_before = w->seen;
        w->seen_said = refused;
        say_full(limit);
    }
    w->seen = refused;
    if (w->since_ns != 0)
        look_at_full(w, limit, last_ns);
}

static void watch_own_limit(void)
{
    const struct admission_limit limit = {
        .of = "worker",
        .fix = "raise the limit of descriptors (LimitNOFILE=, ulimit -Hn), or workers",
        .connections = reactor->client_connections,
        .max = reactor->connection_max};

    admission_look(&reactor->admission.watch, &limit, atomic_load(&reactor->admission.refused.n),
                   atomic_load(&reactor->admission.refused.last_ns));
}

/* Whether one more may be held, whoever it is. */
static enum close_reason check_places(uint64_t node_total)
{
    if (node_total >= (uint64_t)config.max_connections && !overload_make_room(LISTENERS_MAX)) {
        if (reactor->cfg.node_full != NULL)
            note_refused(reactor->cfg.node_full);
        return CLOSE_FULL;
    }
    if (reactor->client_connections >= reactor->connection_max &&
        !overload_make_room(LISTENERS_MAX)) {
        note_refused(&reactor->admission.refused);
        return CLOSE_FULL;
    }
    return CLOSE_NONE;
}

/* The clients of a proxy are counted when it has named them, peers of a UNIX socket not at all: they
 * have no address. */
static bool speaks_for_itself(const uint8_t address[16])
{
    return address_known(address) && !client_is_proxy(address);
}

enum close_reason admission_check(const struct sockaddr *peer, unsigned listener,
                                  uint64_t node_total, bool *counted)
{
    enum close_reason why = UNLIKELY(reactor->shed.on) ? CLOSE_DRAIN : check_places(node_total);
    uint8_t address[16];
    uint16_t port;

    *counted = false;
    if (why != CLOSE_NONE || !addresses_count(listener))
        return why;
    address_bytes(peer, address, &port);
    if (!speaks_for_itself(address))
        return CLOSE_NONE;
    why = address_enter(address, listener);
    *counted = why == CLOSE_NONE;
    return why;
}

/* A tenth at the node's start, all of it config.slow_start later. */
static uint64_t warmed_up(uint64_t rate)
{
    uint64_t age = clock_ns() - reactor->cfg.node_started_ns, whole = (uint64_t)config.slow_start;

    if (LIKELY(age >= whole))
        return rate;
    return MAX((uint64_t)((double)rate * (0.1 + 0.9 * ((double)age / (double)whole))), UINT64_C(1));
}

uint64_t admission_rate(unsigned listener)
{
    uint64_t rate = (uint64_t)config.listener[listener].accept_rate;

    return LIKELY(rate == 0) || reactor->cfg.addresses == NULL ? 0 : warmed_up(rate);
}

bool admission_waits(unsigned listener)
{
    uint64_t max = admission_rate(listener);

    return UNLIKELY(max != 0) && addresses_listener_lately(reactor->cfg.addresses, listener) >= max;
}

void admission_accepted(unsigned listener)
{
    if (UNLIKELY(admission_rate(listener) != 0))
        addresses_listener_made(reactor->cfg.addresses, listener);
}

enum close_reason admission_client(struct conn *c)
{
    enum close_reason why;

    if (!addresses_count(conn_listener_index(c)))
        return CLOSE_NONE;
    why = address_enter(c->address, conn_listener_index(c));
    if (why == CLOSE_NONE)
        c->flags |= CONN_COUNTED;
    return why;
}

/* May its place be given to another? It waits for a request, or for its peer's end. */
static bool admin_waits(const struct conn *c)
{
    return (c->state == CONN_HTTP && c->hold == 0 && c->out == NULL) || c->state == CONN_LINGERING;
}

/* Those that never had an answer go before those that wait for their next request. */
static bool admin_waits_longer(const struct conn *a, const struct conn *b)
{
    if ((a->flags ^ b->flags) & CONN_WELCOME)
        return !(a->flags & CONN_WELCOME);
    return (int32_t)(b->heard - a->heard) > 0;
}

/* Who waits longest, or NULL. Those that are gone leave the queue. */
static struct conn *admin_longest(void)
{
    struct conn *found = NULL;

    for (size_t n = reactor->admin.n; n > 0; n--) {
        struct conn *c = conn_find(ids_pop(&reactor->admin));

        if (c == NULL)
            continue;
        (void)!ids_push(&reactor->admin, c->id); /* there is room: it has just been popped */
        if (admin_waits(c) && (found == NULL || admin_waits_longer(c, found)))
            found = c;
    }
    return found;
}

enum close_reason admission_check_admin(void)
{
    struct conn *c;
    char address[CONN_ADDRESS_MAX];

    if (reactor->admin_connections < reactor->admin_max)
        return CLOSE_NONE;
    c = admin_longest();
    LOG(LOG_WARN, "all places of the admin listener are taken",
        KV_U("max_admin_connections", reactor->admin_max), KV_B("one_made_room", c != NULL));
    if (c == NULL)
        return CLOSE_FULL;
    conn_format_address(c, address, sizeof(address));
    LOG(LOG_DEBUG, "crowded out", KV_S("peer", address));
    conn_kill(c, CLOSE_CROWDED_OUT);
    return CLOSE_NONE;
}

void admission_admin_added(struct conn *c)
{
    if (reactor->admin.n > 2 * reactor->admin_max)
        (void)admin_longest();
    if (ids_push(&reactor->admin, c->id) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
}

void admission_leave(const uint8_t address[16], unsigned listener)
{
    struct tags tags = tags_of(address, listener);

    addresses_leave(reactor->cfg.addresses, tags.all);
    addresses_leave(reactor->cfg.addresses, tags.here);
}

/* A limit that a reload has brought is for those too that were here before. */
static void count_one(struct conn *c, void *arg UNUSED)
{
    unsigned listener = conn_listener_index(c);
    struct tags tags;

    if ((c->flags & (CONN_ADMIN | CONN_REFUSED | CONN_COUNTED)) != 0 ||
        !addresses_count(listener) || !speaks_for_itself(c->address))
        return;
    tags = tags_of(c->address, listener);
    if (tags_enter(&tags, false) == 0)
        c->flags |= CONN_COUNTED;
}

static void count_the_others(void)
{
    struct admission *a = &reactor->admission;
    uint32_t counted = 0;

    for (unsigned i = 0; i < MIN(config.listeners_count, (size_t)LISTENERS_MAX); i++)
        counted |= (uint32_t)addresses_count(i) << i;
    if (counted & ~a->counted) {
        a->cursor = 0;
        a->recounting = true;
    }
    a->counted = counted;
    a->recounting = a->recounting && reactor_scan(&a->cursor, COUNT_PER_TICK, count_one, NULL);
}

void admission_fini(void)
{
    memset(&reactor->admission, 0, sizeof(reactor->admission));
}

void admission_tick(void)
{
    watch_own_limit();
    count_the_others();
}
