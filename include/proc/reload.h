/* proc/reload.h - what a reload has done, or would do, for whoever asks.
 *
 * Happy path: 1. a worker is asked on the admin listener; it leaves the wish in its slot
 * 2. the master, at its next tick, reloads as at SIGHUP, or only looks what that would change
 * (proc/supervisor_reload.c), and puts the report into shared memory, with the number that it has for that worker
 * 3. the worker answers with it. The report of a reload by SIGHUP is to be read there, too. Can fail: the master does
 * not move: who asked is told so after a while, and the reload may still come · so many others have come before
 * the worker looks that its report is overwritten: who asked is told so. */
#ifndef ROOST_PROC_RELOAD_H
#define ROOST_PROC_RELOAD_H

#include "base/buf.h"
#include "base/clock.h"
#include "core/hub.h"

enum reload_wish { RELOAD_APPLY = 1, RELOAD_LOOK };

/* A reload reads files and certificates; whoever asks for one waits that long. */
#define RELOAD_PATIENCE_NS (30 * NS_PER_SEC)

/* Written by the master: report n is texts[n % RELOAD_REPORTS], until as many less one have followed. Outlives every
 * other process. */
#define RELOAD_REPORT_MAX 61440
#define RELOAD_REPORTS    4
struct shm_reload {
    _Atomic uint32_t n;                      /* of reports; 0: there is none */
    _Atomic uint32_t taken[HUB_WORKERS_MAX]; /* the last wish of each worker that is done, */
    _Atomic uint32_t told[HUB_WORKERS_MAX];  /* and the number of the report on it */
    struct {
        uint32_t len;
        char text[RELOAD_REPORT_MAX];
    } texts[RELOAD_REPORTS];
};

/* Of the worker: its pages, /debug/reload and /debug/config. */
void reload_init(unsigned worker);
/* In each of its turns: answers who waits. */
void reload_turn(void);

#endif
