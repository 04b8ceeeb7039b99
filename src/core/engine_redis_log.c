/* core/engine_redis_log.c - control messages: as they are published, and those of the meantime from their log.
 *
 * Happy path of a new connection: 1. it listens 2. the log is read from the mark on, in pieces; what is
 * published meanwhile is told, but moves no mark, as what is still to be read is older 3. the last piece is not
 * full: from here on each message that is published moves the mark.
 * The mark outlives the hub. Ids are times of a server's clock, so on another server reading begins some
 * seconds before it; whoever has had a message knows it by its origin. */
#include "engine_redis_internal.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/metrics.h"

#define PIECE      16    /* entries: some may be large, and Redis keeps 32 MB for a subscriber */
#define WAITED_MS  100   /* for the first connection: then it counts what was said meanwhile */
#define CLOCKS_MS  10000 /* so much may two servers' clocks differ */
#define PIECE_TEXT "16"

static void set_mark(struct redis *e, struct engine_redis_mark mark)
{
    struct engine_redis_marks *to = e->s.marks;
    uint32_t version;

    e->mark = mark;
    if (to == NULL)
        return;
    version = atomic_load(&to->version);
    to->copies[(version + 1) & 1] = mark;
    atomic_store(&to->version, version + 1);
}

void redis_log_begin(struct redis *e)
{
    if (e->s.marks != NULL)
        e->mark = e->s.marks->copies[atomic_load(&e->s.marks->version) & 1];
}

/* Where nothing tells servers from each other, the next one may be another one. */
void redis_log_ended(struct redis_server *s)
{
    if (s->caught_up && s->engine->s.guard == ENGINE_GUARD_NONE)
        s->engine->mark.run = 0;
    s->caught_up = false;
}

/* True: another node's, and not heard before. */
static bool heard(struct redis_server *s, struct str item)
{
    struct redis *e = s->engine;
    struct envelope env;
    uint64_t node;

    if (envelope_next(&item, &env) <= 0) {
        METRIC_INC(engine_malformed);
        return false;
    }
    node = env.node;
    return engine_nodes_control_heard(e->engine.nodes, &env) && node != e->s.node;
}

/* "ms-seq:" in front of it. */
void redis_control_said(struct redis_server *s, struct str payload)
{
    struct redis *e = s->engine;
    struct engine_redis_mark at = {.run = e->mark.run};
    struct str ms, seq;

    if (!str_cut(&payload, '-', &ms) || str_to_u64(ms, &at.ms) == -1 || payload.p == NULL ||
        !str_cut(&payload, ':', &seq) || str_to_u64(seq, &at.seq) == -1) {
        METRIC_INC(engine_malformed);
        return;
    }
    (void)heard(s, payload);
    if (s->caught_up)
        set_mark(e, at);
}

/* At first only where the log ends. */
int redis_log_write(struct redis_server *s, struct buf *out)
{
    const struct redis *e = s->engine;
    bool first = e->mark.ms == 0;
    char id[64];

    snprintf(id, sizeof(id), "(%" PRIu64 "-%" PRIu64, e->mark.ms, e->mark.seq);
    return resp_command(out, 6) ||
                   resp_arg(out, first ? STR_LIT("XREVRANGE") : STR_LIT("XRANGE")) ||
                   redis_arg_name(s, out, "log", STR_NULL) ||
                   resp_arg(out, first ? STR_LIT("+") : str_from(id)) ||
                   resp_arg(out, first ? STR_LIT("-") : STR_LIT("+")) ||
                   resp_arg(out, STR_LIT("COUNT")) ||
                   resp_arg(out, first ? STR_LIT("1") : STR_LIT(PIECE_TEXT))
               ? -1
               : 0;
}

static bool next_piece(struct redis_server *s)
{
    if (redis_server_catch_up(s) == 0)
        return true;
    s->ending = ENDING_MEMORY;
    return false;
}

/* What was said before this node began is not for it. An empty log: from its first entry on. Where the server was
 * away at first, clients have come meanwhile: from when the node began, by the server's clock. */
static bool begin(struct redis_server *s, struct str entries, uint64_t run)
{
    uint64_t waited_ms = (clock_ns() - s->engine->began_ns) / NS_PER_MS, id[2];
    struct engine_redis_mark mark = {.ms = 1, .run = run};
    struct str item;

    if (waited_ms > WAITED_MS && s->time_ms > waited_ms) {
        mark.ms = s->time_ms - waited_ms;
        set_mark(s->engine, mark);
        return next_piece(s);
    }

    if (redis_next_entry(&entries, id, &item)) {
        mark.ms = id[0];
        mark.seq = id[1];
    }
    set_mark(s->engine, mark);
    s->caught_up = true;
    return true;
}

bool redis_log_reply(struct redis_server *s, struct str value)
{
    struct redis *e = s->engine;
    struct engine_redis_mark mark = e->mark;
    uint64_t run = redis_same_hash(str_from(s->run_id)), id[2];
    struct resp_node list;
    struct str item;
    uint32_t i;

    if (!resp_next(&value, &list))
        return true;
    if (mark.ms == 0)
        return begin(s, value, run);
    if (mark.run != run) {
        mark.ms = mark.ms > CLOCKS_MS ? mark.ms - CLOCKS_MS : 1;
        set_mark(e, (struct engine_redis_mark){.ms = mark.ms, .run = run});
        return next_piece(s);
    }
    for (i = 0; i < list.n && redis_next_entry(&value, id, &item); i++) {
        if (heard(s, item))
            METRIC_INC(control_replayed);
        set_mark(e, (struct engine_redis_mark){.ms = id[0], .seq = id[1], .run = run});
    }
    if (i == PIECE)
        return next_piece(s);
    s->caught_up = true;
    return true;
}
