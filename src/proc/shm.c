/* proc/shm.c - the node's shared memory. */
#include "proc/shm.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/nofile.h"
#include "core/channel_name.h"
#include "core/channel_options.h"
#include "net/reactor.h"
#include "proc/egress.h"
#include "proc/sealed.h"

struct shm *shm;

static uint32_t config_taken; /* version of the configuration in `config` of this process */

static size_t shm_round_up(size_t bytes)
{
    return (bytes + SHM_ALIGN - 1) & ~(size_t)(SHM_ALIGN - 1);
}

uint64_t shm_ring_capacity(const struct config *c)
{
    uint64_t need = (uint64_t)c->max_message_size + record_size(CHANNEL_NAME_MAX, 0),
             capacity = 65536;

    need = MAX((uint64_t)c->ring_size, 4 * need);
    while (capacity < need)
        capacity *= 2;
    return capacity;
}

static size_t ring_stride(uint64_t capacity)
{
    return shm_round_up(ring_bytes(capacity));
}

/* As with tables: memory is taken for what is used of them. */
size_t shm_trace_stride(void)
{
    return shm_round_up(sizeof(struct trace_area));
}

/* The hub's is the first. */
static unsigned trace_index(unsigned slot)
{
    return slot == SHM_HUB ? 0 : slot - SHM_WORKER + 1;
}

struct trace_area *shm_trace_area(unsigned slot)
{
    return (struct trace_area *)(void *)(shm->traces + trace_index(slot) * shm_trace_stride());
}

void shm_trace_open(unsigned slot)
{
    trace_open(shm_trace_area(slot), shm_trace_area(SHM_HUB), shm_trace_stride(), 1 + shm->workers,
               slot == SHM_HUB ? TRACE_NOBODY : slot - SHM_WORKER);
}

static int open_eventfds(struct shm *s)
{
    s->hub_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->master_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->hub_wake_fd == -1 || s->master_wake_fd == -1)
        return -1;
    for (unsigned i = 0; i < s->workers; i++) {
        s->worker_wake_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (s->worker_wake_fd[i] == -1)
            return -1;
    }
    return 0;
}

static size_t table_stride(size_t places)
{
    return shm_round_up(addresses_bytes(places));
}

/* Memory is taken for what is used of them only. */
static size_t table_places(void)
{
    return addresses_places(reactor_connection_limit(nofile_raise()));
}

static void lay_out_tables(struct shm *s, char *at, size_t places)
{
    s->addresses =
        (struct addresses){.workers = s->workers, .places = places, .tables = s->address_tables};
    hash_random_key(s->addresses.key);
    for (unsigned i = 0; i < s->workers; i++, at += table_stride(places))
        s->address_tables[i] =
            (struct addresses_of){.places = (struct address_place *)(void *)at,
                                  .life = &s->slots[SHM_WORKER + i].addresses_life};
}

/* The head, the slots, the fetched keys, how the engine's servers are, certificates, the nodes, a table of
 * addresses for each worker, what the hub and each worker trace, two rings for each worker: each begins at a page. */
static void lay_out(char *at, unsigned workers, uint64_t ring_capacity, size_t places)
{
    struct shm *s = (struct shm *)(void *)at;

    s->workers = workers;
    s->ring_capacity = ring_capacity;
    at += shm_round_up(sizeof(*s));
    s->slots = (struct shm_slot *)(void *)at;
    at += sizeof(*s->slots) * (SHM_WORKER + workers);
    s->keys = (struct shm_keys *)(void *)at;
    at += shm_round_up(sizeof(*s->keys));
    s->engine_shards = (struct engine_shards *)(void *)at;
    at += shm_round_up(sizeof(*s->engine_shards));
    s->tls = (struct tls_area *)(void *)at;
    at += shm_round_up(sizeof(*s->tls));
    s->nodes = (struct nodes_area *)(void *)at;
    at += shm_round_up(nodes_area_bytes());
    lay_out_tables(s, at, places);
    at += workers * table_stride(places);
    s->traces = at;
    at += (1 + workers) * shm_trace_stride();
    for (unsigned i = 0; i < 2 * workers; i++, at += ring_stride(ring_capacity)) {
        struct ring_shared **place = i % 2 == 0 ? s->to_hub : s->to_worker;

        place[i / 2] = (struct ring_shared *)(void *)at;
        ring_format(place[i / 2], ring_capacity);
    }
}

/* An error ends the program, so nothing is unmapped on the way out. */
int shm_create(unsigned workers, uint64_t ring_capacity, char *err, size_t errcap)
{
    size_t places = table_places();
    size_t bytes =
        shm_round_up(sizeof(struct shm)) + sizeof(struct shm_slot) * (SHM_WORKER + workers) +
        shm_round_up(sizeof(struct shm_keys)) + shm_round_up(sizeof(struct engine_shards)) +
        shm_round_up(sizeof(struct tls_area)) + shm_round_up(nodes_area_bytes()) +
        workers * table_stride(places) + (1 + workers) * shm_trace_stride() +
        2 * workers * ring_stride(ring_capacity);
    struct shm *s = sealed_map(bytes);

    if (s != NULL)
        lay_out((char *)s, workers, ring_capacity, places);
    if (s == NULL || open_eventfds(s) == -1) {
        snprintf(err, errcap, "shared memory for %u workers with rings of %llu bytes: %s", workers,
                 (unsigned long long)ring_capacity, strerror(errno));
        return -1;
    }
    /* Not epoch_new(), which would leave the numbers that it has in stock to every child. */
    if (getrandom(&s->node_id, sizeof(s->node_id), 0) != sizeof(s->node_id)) {
        snprintf(err, errcap, "the kernel gives no random bytes (getrandom)");
        return -1;
    }
    s->node_id |= 1;
    shm = s;
    engine_shards = s->engine_shards;
    config_taken = 0;
    clock_refresh();
    for (unsigned slot = 0; slot < SHM_WORKER + workers; slot++)
        shm_heartbeat(slot);
    return 0;
}

void shm_destroy(void)
{
    if (shm == NULL)
        return;
    for (unsigned i = 0; i < shm->workers; i++)
        close(shm->worker_wake_fd[i]);
    close(shm->hub_wake_fd);
    close(shm->master_wake_fd);
    sealed_unmap();
    shm = NULL;
    engine_shards = &engine_shards_own;
}

static void confine_ring(struct ring_shared *r)
{
    char *data = r->data;

    sealed_read_only(r, RING_HEAD_BYTES);
    sealed_remove(data, ring_stride(shm->ring_capacity) - RING_HEAD_BYTES);
}

/* Of an array's n parts all but the own one, in two pieces; own: n or more, it has none there. */
static void confine_others(void *first, size_t stride, unsigned n, unsigned own)
{
    unsigned before = MIN(own, n), behind = before < n ? n - before - 1 : 0;

    if (before > 0)
        sealed_read_only(first, before * stride);
    if (behind > 0)
        sealed_read_only((char *)first + (before + 1) * stride, behind * stride);
}

void shm_confine(unsigned slot)
{
    unsigned worker = slot >= SHM_WORKER ? slot - SHM_WORKER : UINT_MAX;

    sealed_read_only(shm, shm_round_up(sizeof(*shm)));
    confine_others(shm->slots, sizeof(*shm->slots), SHM_WORKER + shm->workers, slot);
    if (slot != SHM_HUB)
        sealed_read_only(shm->nodes, shm_round_up(nodes_area_bytes()));
    if (slot != SHM_EGRESS)
        sealed_read_only(shm->keys, shm_round_up(sizeof(*shm->keys)));
    if (slot != SHM_HUB)
        sealed_read_only(shm->engine_shards, shm_round_up(sizeof(*shm->engine_shards)));
    confine_others(shm->address_tables[0].places, table_stride(shm->addresses.places), shm->workers,
                   worker);
    confine_others(shm_trace_area(SHM_HUB), shm_trace_stride(), 1 + shm->workers,
                   slot == SHM_HUB || slot >= SHM_WORKER ? trace_index(slot) : UINT_MAX);
    if (slot < SHM_WORKER)
        sealed_remove(shm->tls, shm_round_up(sizeof(*shm->tls)));
    else
        sealed_read_only(shm->tls, shm_round_up(sizeof(*shm->tls)));
    for (unsigned i = 0; slot != SHM_HUB && i < shm->workers; i++) {
        if (slot == SHM_WORKER + i)
            continue;
        confine_ring(shm->to_hub[i]);
        confine_ring(shm->to_worker[i]);
        close(shm->worker_wake_fd[i]);
    }
    sealed_close();
}

void shm_put_config(uint32_t version, const struct config *c)
{
    static struct config shown; /* not for the stack */

    shown = *c;
    config_hide_passwords(&shown); /* before anybody can read it */
    shm->configs[version & 1] = shown;
    explicit_bzero(&shown, sizeof(shown));
    atomic_store(&shm->config_version, version);
}

/* The copy in use is not written to before its version has been replaced: a version that is still
 * the same afterwards means that the copy is whole. */
static void copy_config(void)
{
    do {
        config_taken = atomic_load(&shm->config_version);
        config_take(&config, &shm->configs[config_taken & 1]);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&shm->config_version) != config_taken);
    channel_options_changed();
}

void shm_enter(unsigned slot)
{
    struct shm_slot *s = &shm->slots[slot];

    metrics = &s->metrics;
    metrics_reset_gauges(metrics);
    atomic_store(&s->client_connections, 0);
    atomic_store(&s->staying, 0);
    atomic_store(&s->stopped, 0);
    atomic_store(&s->addresses_life, atomic_load(&s->generation));
    atomic_store(&s->pid, getpid());
    clock_refresh();
    atomic_store(&s->started_ns, clock_wall_ns());
    atomic_store(&s->entered_ns, clock_ns());
    shm_set_phase(slot, SHM_STARTING);
    copy_config();
}

bool shm_slot_used(unsigned slot)
{
    return slot != SHM_EGRESS || atomic_load(&shm->slots[slot].pid) != 0 || egress_wanted(&config);
}

/* As the settings: into the copy that is not in use, which then is. */
void shm_put_keys(unsigned kind, const struct shm_key_set *set)
{
    uint32_t version = atomic_load(&shm->keys->version);
    struct shm_key_set *next = shm->keys->copies[(version + 1) & 1];

    memcpy(next, shm->keys->copies[version & 1], sizeof(shm->keys->copies[0]));
    next[kind] = *set;
    atomic_store(&shm->keys->version, version + 1);
}

bool shm_take_keys(uint32_t *seen, struct shm_key_set out[2])
{
    uint32_t version = atomic_load(&shm->keys->version);

    if (version == *seen)
        return false;
    do {
        *seen = version;
        memcpy(out, shm->keys->copies[version & 1], sizeof(shm->keys->copies[0]));
        atomic_thread_fence(memory_order_acquire);
        version = atomic_load(&shm->keys->version);
    } while (version != *seen);
    for (unsigned k = 0; k < 2; k++) {
        out[k].len = MIN(out[k].len, (uint32_t)SHM_KEYS_MAX);
        out[k].url[sizeof(out[k].url) - 1] = '\0';
    }
    return true;
}

void shm_set_phase(unsigned slot, enum shm_phase phase)
{
    atomic_store(&shm->slots[slot].phase, phase);
}

void shm_heartbeat(unsigned slot)
{
    atomic_store_explicit(&shm->slots[slot].heartbeat_ns, clock_ns(), memory_order_relaxed);
}

uint64_t shm_heartbeat_age_ns(unsigned slot)
{
    uint64_t beat = atomic_load_explicit(&shm->slots[slot].heartbeat_ns, memory_order_relaxed);
    uint64_t now = clock_ns();

    return now > beat ? now - beat : 0; /* its clock may have been refreshed later than ours */
}

bool shm_moves(unsigned slot)
{
    return shm_heartbeat_age_ns(slot) < SHM_STILL_NS;
}

bool shm_serves(unsigned slot)
{
    uint32_t phase = atomic_load(&shm->slots[slot].phase);

    return shm_moves(slot) && (phase != SHM_DRAINING || atomic_load(&shm->draining));
}

bool shm_accepts(unsigned slot)
{
    return shm_serves(slot) && !atomic_load(&shm->slots[slot].stopped);
}

bool shm_sends_away(void)
{
    return atomic_load(&shm->draining) != 0 || atomic_load(&shm->drain.state) != DRAIN_NONE;
}

const char *shm_phase_name(unsigned slot)
{
    static const char *const names[] = {"down", "starting", "ready", "draining"};
    const struct shm_slot *s = &shm->slots[slot];

    if (atomic_load(&s->pid) != 0 && !shm_moves(slot))
        return "hung";
    return names[MIN(atomic_load(&s->phase), 3u)];
}

bool shm_take_config(void)
{
    if (atomic_load(&shm->config_version) == config_taken)
        return false;
    copy_config();
    return true;
}

uint64_t shm_uptime_ns(unsigned slot)
{
    uint64_t entered = atomic_load(&shm->slots[slot].entered_ns), now = clock_ns();

    /* Another process's clock may have been refreshed later than ours. */
    return now > entered ? now - entered : 0;
}

uint64_t shm_count_fds(void)
{
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");

    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

const char *shm_slot_name(unsigned slot, char *out, size_t cap)
{
    if (slot == SHM_MASTER)
        snprintf(out, cap, "master");
    else if (slot == SHM_HUB)
        snprintf(out, cap, "hub");
    else if (slot == SHM_EGRESS)
        snprintf(out, cap, "egress");
    else
        snprintf(out, cap, "worker%u", slot - SHM_WORKER);
    return out;
}

void shm_sum_metrics(struct metrics *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++)
        metrics_add(out, &shm->slots[i].metrics);
}

uint64_t shm_node_connections(void)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < shm->workers; i++)
        n += atomic_load_explicit(&shm->slots[SHM_WORKER + i].client_connections,
                                  memory_order_relaxed);
    return n;
}

void shm_listener_others(unsigned listener, unsigned worker, struct listener_others *out)
{
    for (unsigned i = 0; i < shm->workers; i++) {
        const struct listener_count *n = &shm->slots[SHM_WORKER + i].listeners[listener];
        uint64_t connections = atomic_load_explicit(&n->connections, memory_order_relaxed);

        if (i == worker)
            continue;
        out->connections += connections;
        out->accepts += atomic_load_explicit(&n->accepts, memory_order_relaxed);
        if (!shm_accepts(SHM_WORKER + i))
            continue;
        out->serving++;
        out->serving_connections += connections;
    }
}

void shm_forget(unsigned slot)
{
    struct shm_slot *s = &shm->slots[slot];

    atomic_store(&s->pid, 0);
    atomic_store(&s->phase, SHM_DOWN);
    atomic_store(&s->client_connections, 0);
    atomic_store(&s->staying, 0);
    for (unsigned k = 0; k < LISTENERS_MAX; k++)
        atomic_store(&s->listeners[k].connections, 0);
    atomic_store(&s->addresses_life, 0);
    metrics_reset_gauges(&s->metrics);
}

uint32_t shm_hub_generation(void)
{
    return atomic_load(&shm->slots[SHM_HUB].generation);
}

void shm_wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    (void)n; /* EAGAIN: the counter is at its maximum, so the sleeper wakes anyway */
    METRIC_INC(ring_wakeups);
}
