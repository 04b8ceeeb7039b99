#include "proc/nodes.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/config.h"
#include "core/engine_address.h"
#include "proc/node.h"
#include "proc/shm.h"
#include "proc/usage.h"
#include "proc/version.h"

#define PUBLISH_NS (NS_PER_SEC / 4)

/* As the settings: the copy in use is copies[version & 1], and no other is written to. */
struct nodes_area {
    struct engine_redis_marks marks;
    _Atomic uint32_t version;
    struct nodes_copy {
        uint32_t n;
        struct engine_node nodes[ENGINE_NODES_MAX];
    } copies[2];
};

size_t nodes_area_bytes(void)
{
    return sizeof(struct nodes_area);
}

/* CPU of all processes since this process asked before, a second ago at least, in hundredths of a percent
 * of one core. */
static uint64_t cpu_hundredths(double cpu_seconds)
{
    static double last_cpu;
    static uint64_t last_ns, last;
    uint64_t now = clock_precise_ns();

    if (last_ns != 0 && now < last_ns + NS_PER_SEC)
        return last;
    last = last_ns != 0 && cpu_seconds > last_cpu
               ? (uint64_t)((cpu_seconds - last_cpu) / ((double)(now - last_ns) / 1e9) * 10000)
               : 0;
    last_cpu = cpu_seconds;
    last_ns = now;
    return last;
}

void nodes_self(void *arg UNUSED, struct engine_node *out)
{
    static struct metrics sum; /* 20 KiB: not for the stack */
    double cpu = 0;

    shm_sum_metrics(&sum);
    *out = (struct engine_node){0};
    snprintf(out->name, sizeof(out->name), "%s", node_name());
    snprintf(out->uid, sizeof(out->uid), "%s", node_uid());
    snprintf(out->version, sizeof(out->version), "%s", version_string());
#define WS_SESSION(NAME, name, label)                                                              \
    out->clients += (uint64_t)MAX(sum.connections_##name, (int64_t)0);
#include "tbl/protocols.def"
    out->users = (uint64_t)MAX(sum.users, (int64_t)0);
    out->channels = (uint64_t)MAX(sum.hub_channels, (int64_t)0);
    out->subscriptions = (uint64_t)MAX(sum.subscriptions, (int64_t)0);
    out->uptime_s = shm_uptime_ns(SHM_MASTER) / NS_PER_SEC;
    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++) {
        struct process_usage u;

        process_usage_read(i, &u);
        out->rss_bytes += u.rss_bytes;
        cpu += u.cpu_seconds;
    }
    out->cpu_hundredths = cpu_hundredths(cpu);
    out->draining = shm_sends_away();
}

/* FNV-1a: the same on every node, unlike hash_str(). */
static uint64_t mix(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return (h ^ '\n') * UINT64_C(0x100000001b3);
}

/* Several independent servers, each once, in their order. Nothing of a single one. */
static uint64_t mix_servers(uint64_t h)
{
    struct engine_address a[ENGINE_ADDRESSES_MAX];
    char text[ENGINE_ADDRESS_TEXT], err[256];
    uint64_t all = h;
    unsigned n = 0, servers = 0;

    if (engine_addresses_parse(str_from(config.engine_address), a, &n, err, sizeof(err)) == -1)
        return h; /* UNTESTED: it has been checked */
    for (unsigned i = 0; i < n; i++) {
        bool same = a[i].scheme == ENGINE_SCHEME_NATS; /* they are of one cluster */

        for (unsigned k = 0; k < i && !same; k++)
            same = engine_address_same_master(&a[i], &a[k]);
        if (same)
            continue;
        servers++;
        engine_address_format(&a[i], text, sizeof(text));
        all = mix(all, str_from(a[i].scheme == ENGINE_SCHEME_SENTINEL ? a[i].master : text));
    }
    return servers > 1 ? all : h;
}

/* One server has many names, and whoever hears the others has the same one; which of several has a
 * channel depends on all of them and on their order. */
uint64_t nodes_agreement(void)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    struct str servers = str_from(config.engine_address);
    char partitions[24];

    h = mix(h, str_from(config.engine_prefix));
    if (str_starts_with(servers, STR_LIT("redis+cluster")) ||
        str_starts_with(servers, STR_LIT("rediss+cluster"))) {
        snprintf(partitions, sizeof(partitions), "%" PRId64, (int64_t)config.engine_partitions);
        return mix(h, str_from(partitions)); /* any of its servers leads to the others */
    }
    return mix_servers(h);
}

void nodes_publish(const struct engine_nodes *n)
{
    static uint64_t published, next_ns;
    uint32_t version = atomic_load(&shm->nodes->version);
    struct nodes_copy *next = &shm->nodes->copies[(version + 1) & 1];

    if (n == NULL || engine_nodes_version(n) == published || clock_ns() < next_ns)
        return;
    published = engine_nodes_version(n);
    next_ns = clock_ns() + PUBLISH_NS;
    next->n = engine_nodes_list(n, next->nodes, ENGINE_NODES_MAX);
    atomic_store(&shm->nodes->version, version + 1);
}

struct engine_redis_marks *nodes_marks(void)
{
    return &shm->nodes->marks;
}

static void read_others(struct nodes_copy *out)
{
    uint32_t version;

    do {
        version = atomic_load(&shm->nodes->version);
        memcpy(out, &shm->nodes->copies[version & 1], sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&shm->nodes->version) != version);
    out->n = MIN(out->n, (uint32_t)ENGINE_NODES_MAX);
    for (uint32_t i = 0; i < out->n; i++) {
#define TEXT(NAME, name, size) out->nodes[i].name[(size)-1] = '\0';
#include "tbl/nodes.def"
    }
}

unsigned nodes_read(struct engine_node *out, unsigned max)
{
    static struct nodes_copy copy; /* 100 KiB: not for the stack */
    unsigned n = 1;

    read_others(&copy);
    nodes_self(NULL, out);
    out->id = shm->node_id;
    out->heard_ns = clock_ns();
    out->protocol = ENGINE_NODES_PROTOCOL;
    out->agreement = nodes_agreement();
    for (uint32_t i = 1; i < copy.n && n < max; i++)
        out[n++] = copy.nodes[i];
    return n;
}

static uint64_t find_in(const struct nodes_copy *c, struct str uid)
{
    uint32_t n = MIN(c->n, (uint32_t)ENGINE_NODES_MAX);

    for (uint32_t i = 1; i < n; i++) {
        const struct engine_node *one = &c->nodes[i];
        struct str text = {.p = one->uid, .n = strnlen(one->uid, sizeof(one->uid))};

        if (text.n > 0 && str_equal(text, uid))
            return one->protocol == ENGINE_NODES_PROTOCOL ? one->id : 0;
    }
    return 0;
}

uint64_t nodes_find(struct str uid)
{
    uint32_t version;
    uint64_t id;

    do {
        version = atomic_load(&shm->nodes->version);
        id = find_in(&shm->nodes->copies[version & 1], uid);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&shm->nodes->version) != version);
    return id;
}
