/* cmd/roostctl/doctor_judge.c - what bounds the number of connections, each with its arithmetic. */
#include <stdarg.h>

#include "doctor.h"
#include "proc/capacity.h"

/* User space, per idle client: with a channel of its own, its name and presence; over TLS. make
 * bench-memory measures them. */
#define PLAIN_BYTES      550
#define CENTRIFUGE_BYTES 1024
#define COMPACT_BYTES    300
#define OPENSSL_BYTES    14500
#define PROCESS_BYTES    (UINT64_C(4) << 20) /* of its own, before there is a client */
#define NO_LIMIT         (INT64_MAX / 2)     /* what the kernel writes where there is none */

const char *doctor_number(uint64_t n)
{
    static char texts[8][32];
    static unsigned turn;
    char plain[24], *out = texts[turn++ % ARRAY_LEN(texts)], *p = out;
    int len = snprintf(plain, sizeof(plain), "%llu", (unsigned long long)n);

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *p++ = ',';
        *p++ = plain[i];
    }
    *p = '\0';
    return out;
}

const char *doctor_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    static char texts[8][32];
    static unsigned turn;
    char *out = texts[turn++ % ARRAY_LEN(texts)];
    double v = (double)bytes;
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(out, sizeof(texts[0]), v < 10 && i > 0 && v != (double)(int)v ? "%.1f %s" : "%.0f %s",
             v, units[i]);
    return out;
}

static struct limit *PRINTF_LIKE(4, 5)
    add(struct verdict *v, const char *name, uint64_t connections, const char *fmt, ...)
{
    struct limit *l = &v->limits[v->nlimits];
    va_list ap;

    v->nlimits += v->nlimits + 1 < LIMITS_MAX;
    *l = (struct limit){.name = name, .connections = connections};
    va_start(ap, fmt);
    vsnprintf(l->why, sizeof(l->why), fmt, ap);
    va_end(ap);
    return l;
}

static void PRINTF_LIKE(3, 4) fix(struct limit *l, const struct verdict *v, const char *fmt, ...)
{
    va_list ap;

    if (l->connections >= v->asked)
        return;
    va_start(ap, fmt);
    vsnprintf(l->fix, sizeof(l->fix), fmt, ap);
    va_end(ap);
}

/* --- one after the other --- */

static void of_setting(struct verdict *v, const struct config *c, const struct machine *m)
{
    uint64_t asked = (uint64_t)c->max_connections, room = capacity_of_memory(m->group_memory);

    v->asked = asked;
    if (!c->set.max_connections && m->group_memory != 0 && room < asked) {
        struct limit *l = add(
            v, "max_connections", room,
            "default %s, lowered: a quarter of the group's %s / %s of the kernel's each",
            doctor_number(asked), doctor_size(m->group_memory), doctor_size(CAPACITY_SOCKET_BYTES));
        fix(l, v, "set max_connections; or %s of memory for the group",
            doctor_size(asked * 4 * CAPACITY_SOCKET_BYTES));
        return;
    }
    add(v, "max_connections", asked, "%s",
        c->set.max_connections ? "as it is set" : "its default; nobody has set it");
}

static void of_descriptors(struct verdict *v, const struct config *c, const struct machine *m)
{
    uint64_t nofile = (uint64_t)m->nofile_hard, each = capacity_of_worker(c, v->workers, nofile),
             own = nofile - MIN(nofile, each),
             needed = v->asked * 100 / (100 - CAPACITY_SPREAD_PERCENT) / v->workers + 1 + own;
    bool raise = m->nr_open != -1 && needed > (uint64_t)m->nr_open;
    struct limit *l;

    if (m->nofile_hard >= NO_LIMIT)
        return;
    l = add(v, "descriptors", capacity_of_node(c, v->workers, nofile),
            "%u worker%s x (RLIMIT_NOFILE %s - %s of its own)%s", v->workers,
            v->workers == 1 ? "" : "s", doctor_number(nofile), doctor_number(own),
            v->workers == 1 ? "" : " x 0.95, as they do not get equally many");
    fix(l, v, "%s%s%sLimitNOFILE=%llu in the unit (docker run --ulimit nofile=%llu:%llu)%s",
        raise ? "sysctl fs.nr_open=" : "", raise ? doctor_number(needed) : "",
        raise ? ", then " : "", (unsigned long long)needed, (unsigned long long)needed,
        (unsigned long long)needed,
        c->workers == 0 && !c->set.max_connections
            ? "; or set max_connections, for which more workers are started"
            : "");
}

static void of_files(struct verdict *v, const struct machine *m)
{
    int64_t left = m->files_max - m->files_used;
    struct limit *l;

    if (m->files_max == -1 || m->files_max >= NO_LIMIT)
        return;
    l = add(v, "open files", (uint64_t)MAX(left, 0), "fs.file-max %s - %s in use on this machine",
            doctor_number((uint64_t)m->files_max), doctor_number((uint64_t)m->files_used));
    fix(l, v, "sysctl fs.file-max=%llu",
        (unsigned long long)(v->asked + v->asked / 10 + (uint64_t)m->files_used));
}

static void of_epoll(struct verdict *v, const struct machine *m)
{
    struct limit *l;

    if (m->epoll_watches == -1 || m->epoll_watches >= NO_LIMIT)
        return;
    l = add(v, "epoll watches", (uint64_t)m->epoll_watches,
            "fs.epoll.max_user_watches, of one user");
    fix(l, v, "sysctl fs.epoll.max_user_watches=%llu",
        (unsigned long long)(v->asked + v->asked / 10));
}

static void of_tracking(struct verdict *v, const struct machine *m)
{
    int64_t left = m->tracked_max - MAX(m->tracked, 0);
    struct limit *l;

    if (m->tracked_max == -1)
        return;
    l = add(v, "connection tracking", (uint64_t)MAX(left, 0),
            "nf_conntrack_max %s - %s tracked now; a further one is dropped, not refused",
            doctor_number((uint64_t)m->tracked_max), doctor_number((uint64_t)MAX(m->tracked, 0)));
    fix(l, v, "sysctl net.netfilter.nf_conntrack_max=%llu; or do not track the port (notrack)",
        (unsigned long long)(v->asked + v->asked / 10 + (uint64_t)MAX(m->tracked, 0)));
}

static bool starts(const char *address, const char *with)
{
    return strncmp(address, with, strlen(with)) == 0;
}

/* Who comes by a proxy of this machine needs one of its ports. */
static void of_ports(struct verdict *v, const struct config *c, const struct machine *m)
{
    uint64_t ports = (uint64_t)(m->port_last - m->port_first + 1), listeners = 0;
    struct limit *l;

    if (m->port_first == -1 || m->port_last < m->port_first)
        return;
    for (size_t i = 0; i < MIN(c->listeners_count, (size_t)LISTENERS_MAX); i++) {
        const char *address = c->listener[i].address;

        if (c->listener[i].kind != LISTENER_CLIENT)
            continue;
        if (!starts(address, "127.") && !starts(address, "[::1]"))
            return; /* clients come by themselves, or by a socket without ports */
        listeners++;
    }
    l = add(v, "local ports", ports * listeners,
            "only a proxy of this machine can come: %s ports (ip_local_port_range %s to %s) for "
            "each pair of its "
            "address and a listener's%s",
            doctor_number(ports), doctor_number((uint64_t)m->port_first),
            doctor_number((uint64_t)m->port_last), listeners == 1 ? "" : ", of all listeners");
    fix(l, v,
        "listen on unix:/run/roost/roost.sock, which has no ports; or sysctl "
        "net.ipv4.ip_local_port_range=\"1024 65535\" and further listeners, on 127.0.0.2 and so "
        "on");
}

/* --- memory --- */

static uint64_t user_bytes(const struct config *c)
{
    uint64_t each = c->plain && !c->permissions ? PLAIN_BYTES : CENTRIFUGE_BYTES;

    for (size_t i = 0; i < MIN(c->listeners_count, (size_t)LISTENERS_MAX); i++)
        if (c->listener[i].kind == LISTENER_CLIENT && c->listener[i].tls_certificate[0] != '\0')
            return each + (c->tls_records == TLS_RECORDS_COMPACT ? COMPACT_BYTES : OPENSSL_BYTES);
    return each;
}

static void of_memory(struct verdict *v, const struct config *c, const struct machine *m)
{
    bool group = m->group_memory != 0 &&
                 (m->memory_total == -1 || m->group_memory < (uint64_t)m->memory_total);
    uint64_t total = group ? m->group_memory : (uint64_t)MAX(m->memory_available, 0),
             histories = c->engine == ENGINE_IS_MEMORY ? (uint64_t)c->history_memory : 0,
             own =
                 capacity_rings(c, v->workers) + capacity_processes(c, v->workers) * PROCESS_BYTES,
             each = user_bytes(c) + CAPACITY_SOCKET_BYTES,
             left = total - MIN(total, histories + own);
    struct limit *l;

    if (total == 0)
        return;
    l = add(v, "memory", left / each,
            "(%s %s - %s of histories - %s of rings and processes) / (%s the kernel's + %s B ours "
            "each)",
            doctor_size(total), group ? "of the control group" : "available",
            doctor_size(histories), doctor_size(own), doctor_size(CAPACITY_SOCKET_BYTES),
            doctor_number(user_bytes(c)));
    fix(l, v, "%s %s; or lower history_memory, workers, ring_size, max_message_size",
        doctor_size(histories + own + v->asked * each),
        group ? "for the group (MemoryMax=, --memory, resources.limits.memory)" : "of memory");
}

static void of_worker_memory(struct verdict *v, const struct config *c)
{
    uint64_t each = user_bytes(c), memory = (uint64_t)c->worker_memory;
    struct limit *l;

    if (memory == 0)
        return;
    l = add(v, "worker_memory", memory / 8 * 7 / each * v->workers,
            "%u worker%s x 7/8 of %s / %s B each, when nothing is queued", v->workers,
            v->workers == 1 ? "" : "s", doctor_size(memory), doctor_number(each));
    fix(l, v, "worker_memory: %lluMiB%s",
        (unsigned long long)((v->asked / v->workers + 1) * each / 7 * 8 / (1 << 20) + 1),
        c->set.worker_memory ? ""
                             : " (it is auto: a quarter of the control group's over all workers)");
}

/* Workers that cannot be forked hold nobody. */
static void of_processes(struct verdict *v, const struct config *c, const struct machine *m)
{
    unsigned all = capacity_processes(c, v->workers), others = all - v->workers;
    unsigned fit = m->group_tasks > others ? (unsigned)MIN(m->group_tasks - others, 128u) : 0;
    struct limit *l;

    if (m->group_tasks == 0 || m->group_tasks >= all)
        return;
    l = add(v, "processes", fit == 0 ? 0 : capacity_of_node(c, fit, (uint64_t)m->nofile_hard),
            "the control group's %s leave room for %u of %u workers beside %u other processes",
            doctor_number(m->group_tasks), fit, v->workers, others);
    fix(l, v, "TasksMax=%u or more (docker run --pids-limit)", all);
}

static int by_connections(const void *a, const void *b)
{
    const struct limit *x = a, *y = b;

    return x->connections < y->connections ? -1 : x->connections > y->connections;
}

void doctor_judge(struct verdict *v, struct config *c, const struct machine *m)
{
    *v = (struct verdict){.workers = (unsigned)c->workers};
    if (v->workers == 0)
        v->workers = capacity_auto_workers(c, m->cores, (uint64_t)m->nofile_hard);
    capacity_fit_memory(c, v->workers, m->group_memory);
    of_setting(v, c, m);
    of_descriptors(v, c, m);
    of_files(v, m);
    of_epoll(v, m);
    of_tracking(v, m);
    of_ports(v, c, m);
    of_memory(v, c, m);
    of_worker_memory(v, c);
    of_processes(v, c, m);
    qsort(v->limits, v->nlimits, sizeof(v->limits[0]), by_connections);
    v->connections = v->limits[0].connections;
    doctor_notes(v, c, m);
}
