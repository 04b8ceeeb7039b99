/* proc/shm.c - the node's shared memory. */
#include "proc/shm.h"

#include <dirent.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/channel_name.h"

struct shm *shm;

static uint32_t config_taken; /* version of the configuration in `config` of this process */

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
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

static struct ring_shared *map_ring(uint64_t capacity)
{
    struct ring_shared *r = map(ring_bytes(capacity));

    if (r != NULL)
        ring_format(r, capacity);
    return r;
}

static int open_links(struct shm *s)
{
    s->hub_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->hub_wake_fd == -1)
        return -1;
    for (unsigned i = 0; i < s->workers; i++) {
        s->worker_wake_fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        s->to_hub[i] = map_ring(s->ring_capacity);
        s->to_worker[i] = map_ring(s->ring_capacity);
        if (s->worker_wake_fd[i] == -1 || s->to_hub[i] == NULL || s->to_worker[i] == NULL)
            return -1;
    }
    return 0;
}

/* An error ends the program, so nothing is unmapped on the way out. */
int shm_create(unsigned workers, uint64_t ring_capacity, char *err, size_t errcap)
{
    struct shm *s = map(sizeof(*s));

    if (s != NULL) {
        s->workers = workers;
        s->ring_capacity = ring_capacity;
        s->slots = map(sizeof(*s->slots) * (SHM_WORKER + workers));
    }
    if (s == NULL || s->slots == NULL || open_links(s) == -1) {
        snprintf(err, errcap, "shared memory for %u workers with rings of %llu bytes: %s", workers,
                 (unsigned long long)ring_capacity, strerror(errno));
        return -1;
    }
    shm = s;
    config_taken = 0;
    return 0;
}

void shm_destroy(void)
{
    if (shm == NULL)
        return;
    for (unsigned i = 0; i < shm->workers; i++) {
        close(shm->worker_wake_fd[i]);
        munmap(shm->to_hub[i], ring_bytes(shm->ring_capacity));
        munmap(shm->to_worker[i], ring_bytes(shm->ring_capacity));
    }
    close(shm->hub_wake_fd);
    munmap(shm->slots, sizeof(*shm->slots) * (SHM_WORKER + shm->workers));
    munmap(shm, sizeof(*shm));
    shm = NULL;
}

/* The copy in use is not written to before its version has been replaced: a version that is still
 * the same afterwards means that the copy is whole. */
static void copy_config(void)
{
    do {
        config_taken = atomic_load(&shm->config_version);
        config = shm->configs[config_taken & 1];
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&shm->config_version) != config_taken);
}

void shm_enter(unsigned slot)
{
    struct shm_slot *s = &shm->slots[slot];

    metrics = &s->metrics;
    metrics_reset_gauges(metrics);
    atomic_store(&s->client_connections, 0);
    atomic_store(&s->pid, getpid());
    clock_refresh();
    atomic_store(&s->started_ns, clock_wall_ns());
    atomic_store(&s->entered_ns, clock_ns());
    shm_heartbeat(slot);
    shm_set_phase(slot, SHM_STARTING);
    copy_config();
}

void shm_set_phase(unsigned slot, enum shm_phase phase)
{
    atomic_store(&shm->slots[slot].phase, phase);
}

void shm_heartbeat(unsigned slot)
{
    atomic_store_explicit(&shm->slots[slot].heartbeat_ns, clock_ns(), memory_order_relaxed);
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
