/* core/engine_redis_cluster.c - which primary of a Redis Cluster has which channels.
 *
 * Channels are spread over partitions. The names of a partition's keys and channels hold its tag in
 * braces, so that all of them lie in one slot; tags are chosen so that the slots lie evenly. For each
 * primary with a partition there is a server.
 *
 * Happy path:
 *   1. the addresses of the settings are connected to; each says who has which slots
 *   2. the primaries get a server each, the partitions are theirs
 *   3. every 30 s, and when something points to it (MOVED, a subscription that the server has ended,
 *      a server that is away), one of the servers is asked again
 *   4. a partition that has moved takes its subscriptions and its calls along, in their order.
 * Can fail: no server answers (the settings' addresses are tried beside the known ones), a server
 * knows less than another (the next MOVED corrects it), a slot that nobody has (its partition stays
 * where it was and is turned away there). */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "codec/crc16.h"

#define REFRESH_NS (30 * NS_PER_SEC)
#define SOON_NS    (100 * NS_PER_MS) /* between two questions when something has changed */
#define AWAY_NS    (500 * NS_PER_MS) /* and while a server is away */
#define SURE_NS    (2 * NS_PER_SEC)  /* others may not have heard of a MOVED yet */
#define KEEP_NS    (60 * NS_PER_SEC) /* a server that takes a slot over, after the last ASK */

struct redis_cluster *redis_cluster_new(unsigned partitions)
{
    struct redis_cluster *k = calloc(1, sizeof(*k) + partitions * sizeof(struct redis_partition));
    unsigned missing = partitions;

    if (k == NULL)
        return NULL;
    k->n = partitions;
    for (unsigned i = 0; i < partitions; i++)
        list_init(&k->partitions[i].subs);
    for (uint32_t tag = 1; missing > 0; tag++) {
        struct redis_partition *p;
        char text[16];
        unsigned slot;

        snprintf(text, sizeof(text), "%u", tag);
        slot = crc16(str_from(text)) % REDIS_SLOT_NR;
        p = &k->partitions[slot * partitions / REDIS_SLOT_NR];
        if (p->tag != 0)
            continue;
        p->tag = tag;
        p->slot = (uint16_t)slot;
        missing--;
    }
    return k;
}

/* That slot's partition, or NULL. */
static struct redis_partition *partition_at(struct redis_cluster *k, uint64_t slot)
{
    struct redis_partition *p =
        slot < REDIS_SLOT_NR ? &k->partitions[slot * k->n / REDIS_SLOT_NR] : NULL;

    return p != NULL && p->slot == slot ? p : NULL;
}

/* --- a partition moves --- */

static bool is_in(const struct redis_call *c, const struct redis_partition *p)
{
    return c->partition == p;
}

/* Those under way will be turned away, or have been done: what is new of their channels waits for
 * that. What has come back only in part will not come to the end. */
static void leave_sent(struct redis_server *s, const struct redis_partition *p)
{
    struct list *n, *next;

    for (n = s->sent.next; n != &s->sent; n = next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        next = n->next;
        if (!is_in(c, p))
            continue;
        if (c->replied)
            redis_call_settle(c, true);
        else if (redis_call_has_place(c->kind) && redis_lane_begin(c) == -1)
            LOG(LOG_WARN, "no memory to keep calls in order while a slot moves");
    }
}

static void move_waiting(struct redis_server *from, struct redis_server *to,
                         const struct redis_partition *p)
{
    struct list *n, *next;

    for (n = from->waiting.next; n != &from->waiting; n = next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        next = n->next;
        if (!is_in(c, p) || !redis_call_has_place(c->kind))
            continue;
        redis_call_move(c, to);
        list_remove(n);
        list_append(&to->waiting, n);
    }
}

static void move(struct redis_partition *p, struct redis_server *to)
{
    struct redis_server *from = p->server;

    if (from == to)
        return;
    p->server = to;
    from->partitions--;
    to->partitions++;
    leave_sent(from, p);
    move_waiting(from, to, p);
    redis_subs_move(p);
    if (from->listens == p)
        redis_server_listen(from);
    /* All nodes speak over the first partition of a server. */
    if (to->listens == NULL || p < to->listens || p == to->engine->cluster->home)
        redis_server_listen(to);
}

/* --- servers --- */

static bool same_place(const struct engine_address *a, const struct engine_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* The one there, or a new one. like: what else its address says. NULL: no memory, too many. */
static struct redis_server *server_at(struct redis *e, const struct engine_address *like,
                                      struct str host, uint64_t port)
{
    struct engine_address a = *like;

    if (port == 0)
        LOG(LOG_WARN,
            "the engine's cluster names a server without a port; TLS needs tls-cluster yes");
    if (port == 0 || port > UINT16_MAX)
        return NULL;
    a.port = (uint16_t)port;
    if (host.n > 0 && !str_equal(host, STR_LIT("?")) &&
        str_copy(host, a.host, sizeof(a.host)) == -1)
        return NULL;
    for (unsigned i = 0; i < e->nservers; i++)
        if (same_place(&e->servers[i]->address, &a))
            return e->servers[i];
    return redis_server_new(e, &a);
}

struct redis_partition *redis_partition_of(struct redis *e, uint64_t hash)
{
    return &e->cluster->partitions[hash % e->cluster->n];
}

void redis_cluster_begin(struct redis *e)
{
    for (unsigned i = 0; i < e->cluster->n; i++)
        e->cluster->partitions[i].server = e->servers[0];
    e->servers[0]->partitions = e->cluster->n;
    e->cluster->home = redis_partition_of(e, redis_same_hash(STR_NULL));
}

/* --- who has which slots --- */

struct range {
    uint64_t first, last;
    struct str host;
    uint64_t port;
};

/* [first, last, [host, port, ...], replicas ...] */
static bool next_range(struct str *rest, struct range *out)
{
    struct resp_node node, place;
    int64_t first, last, port;

    if (!resp_next(rest, &node) || node.type != RESP_ARRAY || node.n < 3 ||
        !resp_next_number(rest, &first) || !resp_next_number(rest, &last) ||
        !resp_next(rest, &place) || place.type != RESP_ARRAY || place.n < 2)
        return false;
    out->host = STR_NULL;
    (void)resp_next_text(rest, &out->host); /* null: it does not know its own */
    if (!resp_next_number(rest, &port) || first < 0 || last < first || port < 0)
        return false;
    resp_skip(rest, place.n - 2);
    resp_skip(rest, node.n - 3);
    out->first = (uint64_t)first;
    out->last = (uint64_t)last;
    out->port = (uint64_t)port;
    return true;
}

static unsigned take_range(struct redis_server *asked, const struct range *r)
{
    struct redis_cluster *k = asked->engine->cluster;
    struct redis_server *to = NULL;
    unsigned moved = 0;

    for (uint64_t i = r->first * k->n / REDIS_SLOT_NR; i < k->n; i++) {
        struct redis_partition *p = &k->partitions[i];

        if (p->slot > r->last)
            break;
        if (p->slot < r->first)
            continue;
        p->told_in = k->answers;
        if (asked != p->server && clock_ns() < p->sure_until_ns)
            continue;
        if (to == NULL &&
            (to = server_at(asked->engine, &asked->address, r->host, r->port)) == NULL)
            return moved;
        moved += p->server != to;
        p->served = true;
        move(p, to);
    }
    return moved;
}

/* Its slots that it does not name any more: what is said over one of those does not come back. Of others' it may know
 * too little. */
static void take_gaps(struct redis_server *asked)
{
    struct redis_cluster *k = asked->engine->cluster;

    for (unsigned i = 0; i < k->n; i++)
        if (k->partitions[i].server == asked && k->partitions[i].told_in != k->answers)
            k->partitions[i].served = false;
}

static void listen(struct redis *e, bool home_was_served)
{
    const struct redis_partition *home = e->cluster->home;

    for (unsigned i = 0; i < e->nservers; i++)
        redis_server_listen_anew(e->servers[i]);
    if (home->served && !home_was_served)
        redis_server_listen(home->server);
}

bool redis_cluster_slots(struct redis_server *s, struct str value)
{
    struct redis_cluster *k = s->engine->cluster;
    struct resp_node list;
    bool home_was_served = k->home->served;
    struct range r;
    unsigned moved = 0;

    if (!resp_next(&value, &list) || list.type != RESP_ARRAY)
        return false;
    k->answers++;
    for (uint32_t i = 0; i < list.n; i++) {
        if (!next_range(&value, &r))
            return false;
        moved += take_range(s, &r);
    }
    if (list.n > 0) {
        take_gaps(s);
        listen(s->engine, home_was_served);
    }
    k->ask_ns = clock_ns() + REFRESH_NS;
    k->known |= list.n > 0;
    if (moved > 0)
        LOG(LOG_INFO, "slots of the engine's cluster have moved", KV_U("partitions", moved),
            KV_U("servers", s->engine->nservers));
    return true;
}

void redis_cluster_ask_soon(struct redis *e)
{
    e->cluster->ask_ns = MIN(e->cluster->ask_ns, e->cluster->asked_ns + SOON_NS);
}

/* One of those that are up, by turns. */
static void ask(struct redis *e, uint64_t now_ns)
{
    struct redis_cluster *k = e->cluster;

    for (unsigned i = 0; i < e->nservers; i++) {
        struct redis_server *s = e->servers[++k->turn % e->nservers];
        struct redis_call *c;

        if (s->state != REDIS_UP)
            continue;
        k->asked_ns = now_ns;
        k->ask_ns = now_ns + REFRESH_NS;
        c = redis_call_new(s, REDIS_SLOTS, STR_NULL);
        if (c != NULL)
            redis_call_send(c);
        return;
    }
}

/* --- redirections --- */

/* "MOVED 3999 127.0.0.1:6381": whose they are, and which partition. False: it cannot be read. */
static bool read_redirection(struct redis_server *s, struct str text, struct redis_partition **p,
                             struct redis_server **to)
{
    struct str part, slot;
    uint64_t number, port;
    size_t colon;

    if (!str_cut(&text, ' ', &part) || !str_cut(&text, ' ', &slot) || text.p == NULL ||
        str_to_u64(slot, &number) == -1)
        return false;
    for (colon = text.n; colon > 0 && text.p[colon - 1] != ':'; colon--)
        ;
    if (colon == 0 || str_to_u64(str_skip(text, colon), &port) == -1)
        return false;
    *p = partition_at(s->engine->cluster, number);
    *to = server_at(s->engine, &s->address, (struct str){.p = text.p, .n = colon - 1}, port);
    return *p != NULL && *to != NULL;
}

enum redis_redirection redis_redirected(struct redis_server *s, struct str error,
                                        struct redis_server **ask)
{
    struct redis_partition *p;
    struct redis_server *to;

    *ask = NULL;
    if (str_starts_with(error, STR_LIT("NOSCRIPT"))) {
        METRIC_INC(engine_redirects_noscript);
        return REDIS_AGAIN_LOADED;
    }
    if (s->engine->cluster == NULL)
        return REDIS_NOT_REDIRECTED;
    if (str_starts_with(error, STR_LIT("MOVED ")) && read_redirection(s, error, &p, &to)) {
        METRIC_INC(engine_redirects_moved);
        p->served = true;
        move(p, to);
        p->sure_until_ns = clock_ns() + SURE_NS;
        redis_cluster_ask_soon(s->engine);
        return REDIS_AGAIN;
    }
    if (str_starts_with(error, STR_LIT("ASK ")) && read_redirection(s, error, &p, &to)) {
        METRIC_INC(engine_redirects_ask);
        to->keep_until_ns = clock_ns() + KEEP_NS;
        *ask = to;
        return REDIS_AGAIN;
    }
    if (str_starts_with(error, STR_LIT("CLUSTERDOWN Hash slot"))) {
        METRIC_INC(engine_redirects_clusterdown);
        redis_cluster_ask_soon(s->engine);
        return REDIS_AGAIN_LATER;
    }
    /* The second: a key that the script names has gone over since its call was let in. */
    if (str_starts_with(error, STR_LIT("TRYAGAIN")) ||
        str_starts_with(error, STR_LIT("ERR Script attempted to access a non local key"))) {
        METRIC_INC(engine_redirects_tryagain);
        return REDIS_AGAIN_LATER;
    }
    return REDIS_NOT_REDIRECTED;
}

/* --- as time passes --- */

static bool is_idle(const struct redis_server *s)
{
    /* nwaiting: also those in lanes. */
    return s->partitions == 0 && s->nsent == 0 && s->nwaiting == 0 && list_empty(&s->sent) &&
           list_empty(&s->subs) && list_empty(&s->resubscribe);
}

/* Those without a partition. */
static void let_go(struct redis *e, uint64_t now_ns)
{
    for (unsigned i = e->nservers; e->cluster->known && i-- > 0;) {
        struct redis_server *s = e->servers[i];

        if (!is_idle(s) || now_ns < s->keep_until_ns)
            continue;
        redis_lanes_forget(e, s);
        redis_server_free(s);
    }
}

uint64_t redis_cluster_tick(struct redis *e, uint64_t now_ns)
{
    struct redis_cluster *k = e->cluster;
    bool up = false, away = false;

    for (unsigned i = 0; i < e->nservers; i++) {
        up |= e->servers[i]->state == REDIS_UP;
        away |= e->servers[i]->state != REDIS_UP && e->servers[i]->partitions > 0;
    }
    if (away)
        k->ask_ns = MIN(k->ask_ns, k->asked_ns + AWAY_NS);
    if (up && k->known && now_ns >= k->ask_ns)
        ask(e, now_ns);
    if (up)
        let_go(e, now_ns);
    else if (now_ns >= k->seeds_ns) {
        k->seeds_ns = now_ns + e->s.reconnect_max_ns;
        for (unsigned i = 0; i < e->s.addresses; i++)
            (void)server_at(e, &e->s.address[i], str_from(e->s.address[i].host),
                            e->s.address[i].port);
    }
    return up ? MAX(k->ask_ns, now_ns) : k->seeds_ns;
}

bool redis_cluster_is_well(struct str info)
{
    struct str line;

    while (str_cut(&info, '\n', &line))
        if (str_starts_with(line, STR_LIT("txt:cluster_state:ok")) ||
            str_starts_with(line, STR_LIT("cluster_state:ok")))
            return true;
    return false;
}
