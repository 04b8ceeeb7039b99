/* shared.c - see shared.h. */
#include "shared.h"

#include <sys/mman.h>

struct load_shared *load_shared;

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int load_shared_create(const struct options *o, unsigned processes, uint64_t sent_count)
{
    struct load_shared *s = map(sizeof(*s));

    if (s == NULL)
        return -1;
    s->slots = map(sizeof(*s->slots) * processes);
    s->sent = map(sizeof(*s->sent) * MAX(sent_count, UINT64_C(1)));
    if (s->slots == NULL || s->sent == NULL)
        return -1; /* the program ends; the kernel takes the mappings */
    s->options = *o;
    s->processes = processes;
    s->sent_count = sent_count;
    load_shared = s;
    return 0;
}

void load_metrics_add(struct load_metrics *dst, const struct load_metrics *src)
{
#define COUNTER(member, label, meaning) dst->member += src->member;
#define LATENCY(member, label, meaning) hdr_add(&dst->member, &src->member);
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
}

void load_counts_between(struct load_counts *out, const struct load_metrics *before,
                         const struct load_metrics *now)
{
#define COUNTER(member, label, meaning) out->member = (int64_t)(now->member - before->member);
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
}

void load_counts_add(struct load_counts *dst, const struct load_counts *src)
{
#define COUNTER(member, label, meaning) dst->member += src->member;
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
}

void load_sum(struct load_metrics *out, uint64_t *ready, uint64_t *connecting, uint64_t *given_up)
{
    memset(out, 0, sizeof(*out));
    *ready = *connecting = *given_up = 0;
    for (unsigned i = 0; i < load_shared->processes; i++) {
        struct load_slot *slot = &load_shared->slots[i];

        load_metrics_add(out, &slot->m);
        *ready += atomic_load(&slot->ready);
        *connecting += atomic_load(&slot->connecting);
        *given_up += atomic_load(&slot->given_up);
    }
}

uint64_t load_first_user(uint64_t users, unsigned processes, unsigned p)
{
    return users / processes * p + MIN((uint64_t)p, users % processes);
}
