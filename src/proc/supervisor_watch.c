/* proc/supervisor_watch.c - who does not move.
 *
 * Time counts as far as the master has watched it pass: after a pause of its own, or of the whole
 * machine, nobody is said to have hung. */
#include <signal.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "supervisor_internal.h"

#define PAUSE_NS (2 * NS_PER_SEC) /* so long between two ticks: the master did not run itself */

static void tell(struct child *c, bool serves)
{
    struct shm_slot *s = &shm->slots[c->slot];
    char name[32];

    c->told = !serves;
    shm_slot_name(c->slot, name, sizeof(name));
    if (serves)
        LOG(LOG_INFO, "serves again", KV_S("process", name), KV_U("pid", c->pid));
    else
        LOG(LOG_WARN, "does not serve", KV_S("process", name), KV_U("pid", c->pid),
            KV_S("phase", shm_phase_name(c->slot)),
            KV_NS("heartbeat_age", clock_ns() - atomic_load(&s->heartbeat_ns)));
}

static void kill_hung(struct child *c)
{
    char name[32];

    LOG(LOG_ERROR, "has not moved for hang_timeout and is killed",
        KV_S("process", shm_slot_name(c->slot, name, sizeof(name))), KV_U("pid", c->pid),
        KV_NS("hang_timeout", config.hang_timeout));
    METRIC_INC(hang_kills);
    c->killed = true;
    kill(c->pid, SIGKILL);
}

static void watch(struct child *c, uint64_t passed_ns)
{
    uint64_t beat = atomic_load(&shm->slots[c->slot].heartbeat_ns);

    if (beat != c->beat_ns) {
        c->beat_ns = beat;
        c->still_ns = c->hung_ns = 0;
        if (c->told)
            tell(c, true);
        return;
    }
    c->still_ns += passed_ns;
    c->hung_ns += passed_ns;
    if (!c->told && c->still_ns >= SHM_STILL_NS)
        tell(c, false);
    if (c->pid > 0 && !c->killed && config.hang_timeout > 0 &&
        c->hung_ns >= (uint64_t)config.hang_timeout)
        kill_hung(c);
}

void children_watch(void)
{
    uint64_t now = clock_ns(), passed = now - supervisor.watched_ns;

    supervisor.watched_ns = now;
    if (passed > PAUSE_NS)
        passed = 0;
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++)
        if (supervisor.child[slot].pid > 0 || (!supervisor.draining && slot != SHM_EGRESS))
            watch(&supervisor.child[slot], passed);
}
