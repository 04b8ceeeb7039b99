/* proc/debug.c - see debug.h. */
#include "proc/debug.h"

#include <limits.h>

#include "base/clock.h"
#include "base/config.h"
#include "codec/json.h"
#include "debug_internal.h"
#include "net/partial.h"
#include "net/reactor.h"
#include "proc/exposition.h"
#include "proc/reload.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proc/usage.h"
#include "proc/version.h"
#include "proto/http.h"
#include "proto/inquiry.h"
#include "proto/tokens.h"

static unsigned worker_index;

void debug_answer(struct http_exchange *x, struct buf *out, int rc)
{
    if (rc != 0)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, "application/json", STR_LIT(""), buf_view(out));
    buf_fini(out);
}

int debug_param(struct http_exchange *x, const char *name, char *out, size_t cap)
{
    struct str rest = x->request->query, key, value;
    int found = 0;
    size_t n;

    out[0] = '\0';
    while (rest.p != NULL && http_query_next(&rest, &key, &value)) {
        if (!str_equal(key, str_from(name)))
            continue;
        if (found++ > 0 || http_percent_decode(value, out, cap - 1, &n) == -1 ||
            memchr(out, '\0', n) != NULL)
            return -1;
        out[n] = '\0';
    }
    return found;
}

int debug_number(struct http_exchange *x, const char *name, uint64_t *out)
{
    char text[32];
    int rc = debug_param(x, name, text, sizeof(text));

    return rc > 0 && str_to_u64(str_from(text), out) == -1 ? -1 : rc;
}

int debug_id_parse(struct str text, unsigned *worker, uint64_t *id)
{
    struct str first;
    uint64_t n;

    if (memchr(text.p, ':', text.n) == NULL || !str_cut(&text, ':', &first) ||
        str_to_u64(first, &n) == -1 || n >= shm->workers)
        return -1;
    *worker = (unsigned)n;
    return str_to_u64(text, id);
}

/* The worker that a parameter names. False: it names none, or one of the node's. */
static bool names_no_worker(struct http_exchange *x, const char *name, uint64_t *worker)
{
    char text[64];
    struct str rest, first;

    if (debug_param(x, name, text, sizeof(text)) <= 0)
        return false;
    rest = str_from(text);
    if (!str_cut(&rest, ':', &first) || (rest.p == NULL && strcmp(name, "worker") != 0))
        return false;
    return str_to_u64(first, worker) == 0 && *worker >= shm->workers;
}

void debug_refuse_query(struct http_exchange *x)
{
    static const char *const names[] = {"worker", "id", "after", "conn"};
    char text[128];
    uint64_t worker;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!names_no_worker(x, names[i], &worker))
            continue;
        snprintf(text, sizeof(text), DEBUG_NO_WORKER " %llu; this node's are 0 to %u",
                 (unsigned long long)worker, shm->workers - 1);
        http_refuse_saying(x, CLOSE_BAD_QUERY, text);
        return;
    }
    http_refuse(x, CLOSE_BAD_QUERY);
}

static void handle_index(struct http_exchange *x)
{
    http_respond(
        x, 200, "text/plain; charset=utf-8", STR_LIT(""),
        STR_LIT(
            "/debug/processes            all processes of the node\n"
            "/debug/connections          this worker's connections (?limit=&after=W:ID); of all "
            "or\n"
            "                            one, filtered, sorted: ?worker=all|N&protocol=&state=\n"
            "                            &listener=&address=CIDR|PREFIX&user=&channel=&min_queue=\n"
            "                            &sort=queued|age|idle|in|out\n"
            "/debug/connection?id=W:ID   one of them in full, whatever worker has it; ID, as the "
            "log\n"
            "                            has it: if only one has\n"
            "/debug/disconnect?id=W:ID   POST: ends it (&reason=&code=)\n"
            "/debug/closes               the last connections that have ended (?limit=&reason=)\n"
            "/debug/channels             this node's channels (?limit=&pattern=\n"
            "                            &sort=subscribers|name&after=)\n"
            "/debug/pools                object pools of this worker\n"
            "/debug/rings                links between the hub and every worker\n"
            "/debug/turns                turn statistics of every worker\n"
            "/debug/listeners            addresses, and what each worker holds by them\n"
            "/debug/nodes                nodes that share the engine, as this one knows them\n"
            "/debug/trace                what happens to ?conn=W:ID, channel= or address=, as "
            "it happens\n"
            "/debug/tokens               keys that this worker verifies tokens with\n"
            "/debug/channel?name=        what the settings say of a channel\n"
            "/debug/config               settings in force (?format=json)\n"
            "/debug/reload               what the last reload has done; POST: reloads (?look=1:\n"
            "                            only says what it would do)\n"));
}

static void handle_pools(struct http_exchange *x)
{
    struct buf out = {0};
    const char *sep = "\n";
    int rc = buf_printf(&out, "{\"worker\":%u,\"pools\":[", worker_index);

    for (struct list *n = pool_list()->next; n != pool_list(); n = n->next) {
        const struct pool *p = LIST_ENTRY(n, struct pool, link);

        rc |= buf_printf(&out,
                         "%s{\"name\":\"%s\",\"object_bytes\":%zu,\"in_use\":%zu,\"allocated\":%zu,"
                         "\"max\":%zu,\"bytes\":%zu}",
                         sep, p->name, p->size, p->in_use, p->allocated, p->max, pool_bytes(p));
        sep = ",\n";
    }
    rc |= buf_printf(
        &out,
        "],\"frame_slots\":{\"in_use\":%zu,\"allocated\":%zu,\"partial_bytes\":%llu},"
        "\"blob_bytes\":%zu}\n",
        ws_rx_pool_slots_in_use(reactor->rx_pool), ws_rx_pool_slots_allocated(reactor->rx_pool),
        (unsigned long long)(partial_bytes(false) + partial_bytes(true)), blob_bytes());
    debug_answer(x, &out, rc);
}

static int put_ring(const char *name, const struct ring_shared *r, struct buf *out)
{
    return buf_printf(out, ",\"%s\":{\"produced\":%llu,\"used\":%llu,\"consumer_sleeps\":%s}", name,
                      (unsigned long long)atomic_load(&r->tail),
                      (unsigned long long)ring_shared_used(r),
                      atomic_load(&r->sleeping) ? "true" : "false");
}

static void handle_rings(struct http_exchange *x)
{
    const struct metrics *hub;
    struct broker_stats s;
    struct buf out = {0};
    int rc =
        buf_printf(&out, "{\"capacity\":%llu,\"links\":[", (unsigned long long)shm->ring_capacity);

    for (unsigned i = 0; i < shm->workers; i++) {
        rc |= buf_printf(&out, "%s{\"worker\":%u", i == 0 ? "\n" : ",\n", i);
        rc |= put_ring("to_hub", shm->to_hub[i], &out);
        rc |= put_ring("to_worker", shm->to_worker[i], &out);
        rc |= buf_append_char(&out, '}');
    }
    hub = &shm->slots[SHM_HUB].metrics;
    rc |= buf_printf(&out,
                     "],\"hub\":{\"channels\":%lld,\"queue_bytes\":%lld,\"members\":%lld,"
                     "\"member_bytes\":%lld,\"users\":%lld}",
                     (long long)hub->hub_channels, (long long)hub->hub_queue_bytes,
                     (long long)hub->presence_members, (long long)hub->presence_bytes,
                     (long long)hub->users);
    broker_stats(reactor->broker, &s);
    rc |= buf_printf(&out,
                     ",\"broker\":{\"worker\":%u,\"channels\":%zu,\"subscriptions\":%zu,"
                     "\"backlog_bytes\":%zu,\"walks\":%zu,\"users\":%zu,"
                     "\"waiting_bytes\":%zu,\"announcing\":%s}}\n",
                     worker_index, s.channels, s.subscriptions, s.backlog_bytes, s.walks, s.users,
                     s.waiting_bytes, s.announcing ? "true" : "false");
    debug_answer(x, &out, rc);
}

static int put_hist(const char *name, const struct hist *h, double scale, struct buf *out)
{
    return buf_printf(
        out, ",\"%s\":{\"count\":%llu,\"mean\":%.9g,\"p50\":%.9g,\"p99\":%.9g,\"p99.9\":%.9g}",
        name, (unsigned long long)h->count,
        h->count > 0 ? (double)h->sum * scale / (double)h->count : 0,
        (double)hist_quantile(h, 0.5) * scale, (double)hist_quantile(h, 0.99) * scale,
        (double)hist_quantile(h, 0.999) * scale);
}

static void handle_turns(struct http_exchange *x)
{
    struct buf out = {0};
    int rc = buf_append_lit(&out, "{\"workers\":[");

    for (unsigned i = 0; i < shm->workers; i++) {
        const struct metrics *m = &shm->slots[SHM_WORKER + i].metrics;

        rc |= buf_printf(&out, "%s{\"worker\":%u,\"turns\":%llu", i == 0 ? "\n" : ",\n", i,
                         (unsigned long long)m->turns);
        rc |= put_hist("turn_seconds", &m->turn_duration, 1e-9, &out);
        rc |= put_hist("batch_seconds", &m->batch_duration, 1e-9, &out);
        rc |= put_hist("publish_to_write_seconds", &m->publish_to_write, 1e-9, &out);
        rc |= put_hist("batch_publications", &m->batch_size, 1, &out);
        rc |= put_hist("fanout_subscribers", &m->fanout_size, 1, &out);
        rc |= buf_append_char(&out, '}');
    }
    debug_answer(x, &out, rc | buf_append_lit(&out, "]}\n"));
}

static int put_process(unsigned slot, struct buf *out)
{
    const struct shm_slot *s = &shm->slots[slot];
    struct process_usage u;
    int pid = atomic_load(&s->pid);
    char name[32];

    process_usage_read(slot, &u);
    return buf_printf(
        out,
        "{\"name\":\"%s\",\"pid\":%d,\"phase\":\"%s\",\"generation\":%u,\"restarts\":%llu,"
        "\"heartbeat_age\":%.1f,\"uptime\":%.1f,\"cpu_seconds\":%.2f,\"rss_bytes\":%llu,"
        "\"connections\":%llu,"
        "\"subscriptions\":%lld,\"deliveries\":%llu,\"publications\":%llu}",
        shm_slot_name(slot, name, sizeof(name)), pid, shm_phase_name(slot),
        atomic_load(&s->generation), (unsigned long long)atomic_load(&s->restarts),
        (double)shm_heartbeat_age_ns(slot) / 1e9, pid > 0 ? (double)shm_uptime_ns(slot) / 1e9 : 0,
        u.cpu_seconds, (unsigned long long)u.rss_bytes,
        (unsigned long long)atomic_load(&s->client_connections),
        (long long)s->metrics.subscriptions, (unsigned long long)s->metrics.deliveries,
        (unsigned long long)s->metrics.publications_in);
}

static void handle_processes(struct http_exchange *x)
{
    struct buf out = {0};
    int rc =
        buf_printf(&out,
                   "{\"version\":\"%s\",\"revision\":\"%s\",\"workers\":%u,\"uptime\":%.1f,"
                   "\"max_connections\":%lld,\"connections\":%llu,\"draining\":%s,\"processes\":[",
                   version_string(), version_revision(), shm->workers,
                   (double)shm_uptime_ns(SHM_MASTER) / 1e9, (long long)config.max_connections,
                   (unsigned long long)shm_node_connections(), shm_sends_away() ? "true" : "false");

    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++) {
        if (!shm_slot_used(i))
            continue;
        rc |= buf_append_lit(&out, i == 0 ? "\n" : ",\n");
        rc |= put_process(i, &out);
    }
    debug_answer(x, &out, rc | buf_append_lit(&out, "]}\n"));
}

static int put_listener(unsigned k, struct buf *out)
{
    const struct listener_options *o = &config.listener[k];
    struct listener_others all = {0};
    char address[ADDRESS_TEXT_MAX];
    int rc = buf_append_lit(out, "{\"name\":");

    shm_listener_others(k, UINT_MAX, &all);
    address_format(supervisor_listener_address(k), address, sizeof(address));
    rc |= json_append_string(out, str_from(listener_label(o)));
    rc |= buf_append_lit(out, ",\"address\":");
    rc |= json_append_string(out, str_from(address));
    rc |= buf_printf(out,
                     ",\"kind\":\"%s\",\"shared\":%s,\"passed\":%s,\"tls\":%s,\"proxy_protocol\":%"
                     "s,\"connections\":%llu,"
                     "\"max_connections\":%lld,\"accepts\":%llu,\"workers\":[",
                     listener_is_admin(o) ? "admin" : "client",
                     supervisor_listeners.shared[k] ? "true" : "false",
                     supervisor_listeners.passed[k] ? "true" : "false",
                     listener_has_tls(o) ? "true" : "false", o->proxy_protocol ? "true" : "false",
                     (unsigned long long)all.connections, (long long)o->max_connections,
                     (unsigned long long)all.accepts);
    for (unsigned i = 0; i < shm->workers; i++)
        rc |= buf_printf(
            out, "%s%llu", i == 0 ? "" : ",",
            (unsigned long long)atomic_load(&shm->slots[SHM_WORKER + i].listeners[k].connections));
    return rc | buf_append_lit(out, "]}");
}

static void handle_listeners(struct http_exchange *x)
{
    struct buf out = {0};
    int rc = buf_append_lit(&out, "{\"listeners\":[");

    for (unsigned k = 0; k < supervisor_listeners.n; k++) {
        rc |= buf_append_lit(&out, k == 0 ? "\n" : ",\n");
        rc |= put_listener(k, &out);
    }
    debug_answer(x, &out, rc | buf_append_lit(&out, "]}\n"));
}

static int put_node(const struct engine_node *n, struct buf *out)
{
    bool agrees = n->agreement == nodes_agreement() && n->protocol == ENGINE_NODES_PROTOCOL;
    int rc = buf_append_lit(out, "{\"name\":");

    rc |= json_append_string(out, str_from(n->name));
    rc |= buf_append_lit(out, ",\"version\":");
    rc |= json_append_string(out, str_from(n->version));
    rc |= buf_append_lit(out, ",\"uid\":");
    rc |= json_append_string(out, str_from(n->uid));
    return rc |
           buf_printf(out,
                      ",\"id\":\"%016llx\",\"self\":%s,\"heard_ago\":%.1f,\"agrees\":%s,"
                      "\"draining\":%s,\"uptime\":%llu,\"clients\":%llu,\"users\":%llu,"
                      "\"channels\":%llu,\"subscriptions\":%llu,\"rss_bytes\":%llu,"
                      "\"cpu\":%.2f}",
                      (unsigned long long)n->id, n->id == shm->node_id ? "true" : "false",
                      clock_ns() > n->heard_ns ? (double)(clock_ns() - n->heard_ns) / 1e9 : 0.0,
                      agrees ? "true" : "false", n->draining ? "true" : "false",
                      (unsigned long long)n->uptime_s, (unsigned long long)n->clients,
                      (unsigned long long)n->users, (unsigned long long)n->channels,
                      (unsigned long long)n->subscriptions, (unsigned long long)n->rss_bytes,
                      (double)n->cpu_hundredths / 100);
}

static void handle_nodes(struct http_exchange *x)
{
    static struct engine_node nodes[ENGINE_NODES_MAX]; /* not for the stack */
    unsigned n = nodes_read(nodes, ARRAY_LEN(nodes));
    struct buf out = {0};
    int rc = buf_append_lit(&out, "{\"nodes\":[");

    for (unsigned i = 0; i < n; i++) {
        rc |= buf_append_lit(&out, i == 0 ? "\n" : ",\n");
        rc |= put_node(&nodes[i], &out);
    }
    debug_answer(x, &out, rc | buf_append_lit(&out, "]}\n"));
}

static void handle_tokens(struct http_exchange *x)
{
    struct buf out = {0};
    int rc = buf_printf(&out, "{\"worker\":%u,", worker_index);

    rc |= tokens_describe(&out);
    debug_answer(x, &out, rc | buf_append_lit(&out, "}\n"));
}

static bool is_there(unsigned worker)
{
    return atomic_load(&shm->slots[SHM_WORKER + worker].pid) != 0;
}

void debug_init(unsigned worker)
{
#define ROW(path_, handle_)                                                                        \
    {                                                                                              \
        .path = path_, .where = HTTP_ON_ADMIN, .methods = 1u << HTTP_GET, .needs_key = true,       \
        .handle = handle_                                                                          \
    }
    static const struct http_resource table[] = {
        ROW("/debug", handle_index),
        ROW("/debug/", handle_index),
        ROW("/debug/processes", handle_processes),
        ROW("/debug/pools", handle_pools),
        ROW("/debug/rings", handle_rings),
        ROW("/debug/turns", handle_turns),
        ROW("/debug/listeners", handle_listeners),
        ROW("/debug/nodes", handle_nodes),
        ROW("/debug/tokens", handle_tokens),
    };
#undef ROW

    worker_index = worker;
    reload_init(worker);
    debug_channel_init();
    inquiry_init(&(struct inquiry_config){
        .worker = worker,
        .workers = shm->workers,
        .generation = atomic_load(&shm->slots[SHM_WORKER + worker].generation),
        .is_there = is_there});
    debug_connections_init(worker);
    debug_connection_init(worker);
    debug_closes_init();
    debug_channels_init();
    http_register(table, ARRAY_LEN(table));
    debug_trace_init();
}
