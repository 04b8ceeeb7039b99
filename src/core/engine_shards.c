#include "core/engine_shards.h"

#include "base/clock.h"

struct engine_shards engine_shards_own;
struct engine_shards *engine_shards = &engine_shards_own;

const char *shard_state_name(enum shard_state state)
{
    static const char *const names[SHARD_STATE_NR] = {
#define SHARD(NAME, label) [SHARD_##NAME] = label,
#include "tbl/engine.def"
    };

    return state < SHARD_STATE_NR ? names[state] : "unknown";
}

/* --- the writer --- */

static struct engine_shard *change(int place)
{
    struct engine_shard_place *p = &engine_shards->place[place];

    atomic_fetch_add(&p->version, 1);
    atomic_thread_fence(memory_order_release);
    return &p->shard;
}

static void changed(int place)
{
    atomic_fetch_add(&engine_shards->place[place].version, 1);
}

void engine_shards_begin(void)
{
    for (unsigned i = 0; i < ENGINE_SHARDS_MAX; i++) {
        struct engine_shard_place *p = &engine_shards->place[i];

        atomic_store(&p->used, 0);
        if (atomic_load(&p->version) & 1) /* the hub before died while it was writing */
            atomic_fetch_add(&p->version, 1);
    }
}

static bool is_called(const struct engine_shard *s, const char *name)
{
    return strncmp(s->name, name, sizeof(s->name) - 1) == 0;
}

static int find(const char *name, bool named)
{
    for (int i = 0; i < ENGINE_SHARDS_MAX; i++) {
        const struct engine_shard_place *p = &engine_shards->place[i];

        if (!atomic_load(&p->used) &&
            (named ? is_called(&p->shard, name) : p->shard.name[0] == '\0'))
            return i;
    }
    return -1;
}

static int find_free(void)
{
    for (int i = 0; i < ENGINE_SHARDS_MAX; i++)
        if (!atomic_load(&engine_shards->place[i].used))
            return i;
    return -1;
}

int engine_shard_take(const char *name)
{
    int i = find(name, true);
    struct engine_shard *s;
    uint64_t away_ns = 0;

    if (i != -1)
        away_ns = engine_shards->place[i].shard.away_ns;
    if (i == -1 && (i = find("", false)) == -1 && (i = find_free()) == -1)
        return -1;
    s = change(i);
    *s = (struct engine_shard){.since_ns = clock_ns(), .state = SHARD_DOWN};
    s->away_ns = away_ns != 0 ? away_ns : clock_ns();
    snprintf(s->name, sizeof(s->name), "%s", name);
    changed(i);
    atomic_store(&engine_shards->place[i].used, 1);
    return i;
}

void engine_shard_give(int place)
{
    if (place >= 0)
        atomic_store(&engine_shards->place[place].used, 0);
}

void engine_shard_set(int place, enum shard_state state, const char *why)
{
    struct engine_shard *s;

    if (place < 0)
        return;
    s = change(place);
    if (s->state != state)
        s->since_ns = clock_ns();
    if (state == SHARD_DOWN && s->away_ns == 0)
        s->away_ns = clock_ns();
    s->state = state;
    snprintf(s->why, sizeof(s->why), "%s", why != NULL ? why : "");
    changed(place);
}

void engine_shard_heard(int place)
{
    struct engine_shard *s;

    if (place < 0)
        return;
    s = change(place);
    s->heard_ns = clock_ns();
    s->away_ns = 0;
    changed(place);
    atomic_store(&engine_shards->reached, 1);
}

void engine_shards_heard_others(void)
{
    atomic_store_explicit(&engine_shards->others_heard_ns, clock_ns(), memory_order_relaxed);
}

/* --- readers --- */

/* A copy of a place, or of what there is of it when its writer has died in the midst of it. */
static void copy(const struct engine_shard_place *p, struct engine_shard *out)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t version = atomic_load(&p->version);

        *out = p->shard;
        atomic_thread_fence(memory_order_acquire);
        if (!(version & 1) && atomic_load(&p->version) == version)
            break;
    }
    out->name[sizeof(out->name) - 1] = '\0';
    out->why[sizeof(out->why) - 1] = '\0';
    out->state = MIN(out->state, (uint32_t)SHARD_UP);
}

bool engine_shard_next(unsigned *i, struct engine_shard *out)
{
    while (*i < ENGINE_SHARDS_MAX) {
        const struct engine_shard_place *p = &engine_shards->place[(*i)++];

        if (atomic_load(&p->used)) {
            copy(p, out);
            return true;
        }
    }
    return false;
}

static bool longer_than(uint64_t since_ns, uint64_t after_ns)
{
    uint64_t now = clock_ns(); /* another process's clock may have been refreshed later than ours */

    return since_ns != 0 && now > since_ns && now - since_ns > after_ns;
}

bool engine_shards_ready(enum shard_rule rule, uint64_t after_ns)
{
    uint64_t others = atomic_load(&engine_shards->others_heard_ns);
    struct engine_shard s;
    bool any = false;

    if (rule == SHARD_RULE_IGNORE)
        return true;
    for (unsigned i = 0; engine_shard_next(&i, &s);) {
        any = true;
        if (rule == SHARD_RULE_CONNECTED && s.state == SHARD_RESTORING &&
            longer_than(s.since_ns, after_ns))
            return false;
        if (longer_than(s.away_ns, after_ns) &&
            (rule == SHARD_RULE_CONNECTED || others > s.away_ns))
            return false;
    }
    return !any || atomic_load(&engine_shards->reached);
}
