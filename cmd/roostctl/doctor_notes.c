/* cmd/roostctl/doctor_notes.c - what bounds nothing, but is felt: storms, broadcasts, slow clients. */
#include <stdarg.h>

#include "doctor.h"

static struct note *PRINTF_LIKE(4, 5)
    add(struct verdict *v, const char *name, bool warning, const char *fmt, ...)
{
    struct note *n = &v->notes[v->nnotes];
    va_list ap;

    v->nnotes += v->nnotes + 1 < NOTES_MAX;
    *n = (struct note){.name = name, .warning = warning};
    va_start(ap, fmt);
    vsnprintf(n->text, sizeof(n->text), fmt, ap);
    va_end(ap);
    return n;
}

static void PRINTF_LIKE(2, 3) fix(struct note *n, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(n->fix, sizeof(n->fix), fmt, ap);
    va_end(ap);
}

/* Who comes back all at once waits there. */
static void of_queue(struct verdict *v, const struct config *c, const struct machine *m)
{
    uint64_t length = (uint64_t)c->listen_backlog;

    if (m->somaxconn != -1 && (uint64_t)m->somaxconn < length) {
        length = (uint64_t)m->somaxconn;
        if (length * v->workers < v->connections)
            fix(add(v, "accept queue", true,
                    "net.core.somaxconn caps listen_backlog: the queues of %u worker%s hold %s of "
                    "%s clients that "
                    "come back at the same moment",
                    v->workers, v->workers == 1 ? "" : "s", doctor_number(length * v->workers),
                    doctor_number(v->connections)),
                "sysctl net.core.somaxconn=%lld, and restart roostd", (long long)c->listen_backlog);
    }
    if (m->syn_backlog != -1 && (uint64_t)m->syn_backlog < MIN(length, v->connections))
        fix(add(v, "half-open connections", true,
                "net.ipv4.tcp_max_syn_backlog is %s, less than an accept queue of %s: beyond it "
                "handshakes are "
                "dropped, or answered with cookies",
                doctor_number((uint64_t)m->syn_backlog), doctor_number(length)),
            "sysctl net.ipv4.tcp_max_syn_backlog=%llu", (unsigned long long)length);
}

static void of_descriptors(struct verdict *v, const struct machine *m)
{
    if (m->nofile_soft < m->nofile_hard)
        add(v, "descriptors", false,
            "the soft limit of %s does not count: roostd raises it to the hard one",
            doctor_number((uint64_t)m->nofile_soft));
}

/* A socket that has anything queued accounts for a page at least. */
static void of_buffers(struct verdict *v, const struct machine *m)
{
    if (m->tcp_pages_max == -1 || (uint64_t)m->tcp_pages_pressure >= v->connections)
        return;
    fix(add(v, "TCP buffers", true,
            "tcp_mem is %s pages, from %s on the kernel shrinks windows, and each connection with "
            "data on its way takes "
            "one or more: so many at once, of %s",
            doctor_number((uint64_t)m->tcp_pages_max),
            doctor_number((uint64_t)m->tcp_pages_pressure), doctor_number(v->connections)),
        "sysctl net.ipv4.tcp_mem=\"%llu %llu %llu\"", (unsigned long long)v->connections,
        (unsigned long long)v->connections * 5 / 4, (unsigned long long)v->connections * 3 / 2);
}

static void of_hashes(struct verdict *v, const struct machine *m)
{
    uint64_t sockets = m->tcp_hash < 0 ? (uint64_t)-m->tcp_hash : (uint64_t)m->tcp_hash;

    if (m->tcp_hash != -1 && sockets > 0 && v->connections > 2 * sockets)
        fix(add(v, "hash of sockets", true,
                "%s connections in %s entries (tcp_ehash_entries): %s looked at for each packet",
                doctor_number(v->connections), doctor_number(sockets),
                doctor_number(v->connections / sockets)),
            "thash_entries=%llu on the kernel's command line", (unsigned long long)v->connections);
    if (m->track_hash > 0 && m->tracked_max / m->track_hash > 8)
        fix(add(v, "hash of connection tracking", true,
                "nf_conntrack_max is %s times nf_conntrack_buckets: as many looked at for each "
                "packet",
                doctor_number((uint64_t)(m->tracked_max / m->track_hash))),
            "sysctl net.netfilter.nf_conntrack_buckets=%lld", (long long)m->tracked_max / 4);
}

static void of_cores(struct verdict *v, const struct machine *m)
{
    if (v->workers > m->cores)
        fix(add(v, "cores", false, "%u workers share %u core%s%s", v->workers, m->cores,
                m->cores == 1 ? "" : "s", m->group_cores != 0 ? " (of the CPU quota)" : ""),
            "a higher LimitNOFILE needs fewer workers");
}

static void of_slow_clients(struct verdict *v, const struct config *c)
{
    uint64_t each = (uint64_t)c->output_limit + (uint64_t)c->send_buffer_size;

    if (c->worker_memory != 0)
        add(v, "slow clients", false,
            "each may have %s queued (output_limit, send_buffer_size); over worker_memory, %s, the "
            "slowest of a "
            "worker go",
            doctor_size(each), doctor_size((uint64_t)c->worker_memory));
    else
        fix(add(v, "slow clients", true,
                "each may have %s queued (output_limit, send_buffer_size): a thousand of them %s, "
                "which nothing bounds",
                doctor_size(each), doctor_size(1000 * each)),
            "set worker_memory");
}

void doctor_notes(struct verdict *v, const struct config *c, const struct machine *m)
{
    of_queue(v, c, m);
    of_descriptors(v, m);
    of_buffers(v, m);
    of_hashes(v, m);
    of_cores(v, m);
    of_slow_clients(v, c);
}
