/* cmd/roostctl/doctor.h - how many connections a machine will hold: what is read of it (doctor_read.c), what that
 * means with the settings (doctor_judge.c), how it is told (doctor.c). */
#ifndef ROOSTCTL_DOCTOR_H
#define ROOSTCTL_DOCTOR_H

#include "base/config.h"

struct machine {
#define FACT(name, file, n) int64_t name;
#include "doctor.def"
#undef FACT
    int64_t nofile_soft, nofile_hard; /* of the process; INT64_MAX: unlimited */
    int64_t memory_total, memory_available;
    unsigned cores;                     /* of the affinity mask and the quota */
    unsigned group_cores;               /* 0: no quota */
    uint64_t group_memory, group_tasks; /* 0: no limit */
};

/* root: of proc and sys, "" but in tests. process: "self" or a number. -1: it has no /proc/PROCESS/limits. */
int machine_read(struct machine *m, const char *root, const char *process) MUST_CHECK;

struct limit { /* one of the things that bound the number of connections */
    const char *name;
    uint64_t connections;
    char why[240], fix[320]; /* fix "": it is not in the way */
};

struct note { /* worth knowing, though it bounds nothing */
    const char *name;
    bool warning;
    char text[320], fix[240];
};

#define LIMITS_MAX 12
#define NOTES_MAX  12
struct verdict {
    uint64_t asked, connections; /* by max_connections; that will be held */
    unsigned workers;
    size_t nlimits, nnotes;
    struct limit limits[LIMITS_MAX]; /* the least first */
    struct note notes[NOTES_MAX];
};

/* c: its auto limits of memory become what the daemon would make of them. */
void doctor_judge(struct verdict *v, struct config *c, const struct machine *m);

/* doctor_notes.c */
void doctor_notes(struct verdict *v, const struct config *c, const struct machine *m);
/* 1,234,567; 12.5 MiB. In one of some static buffers that take turns. */
const char *doctor_number(uint64_t n);
const char *doctor_size(uint64_t bytes);

#endif
