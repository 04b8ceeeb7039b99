#include "net/glitch.h"

#include "base/config.h"
#include "base/metrics.h"
#include "net/ws.h"
#include "net_internal.h"

#define SETS       128
#define WAYS       8
#define CLOSES     16                /* in a tick */
#define FORGIVE_NS (10 * NS_PER_SEC) /* the whole limit */

struct glitcher {
    uint64_t conn; /* id; it may be gone */
    uint32_t points, tick;
};

struct glitch {
    struct glitcher *table;       /* owned; NULL until somebody has sent something odd */
    uint64_t worked_ns, until_ns; /* by turns, at the last tick; when that was */
};

static void glitch_fini(void *part)
{
    free(((struct glitch *)part)->table);
}

static struct reactor_part part = {.size = sizeof(struct glitch), .fini = glitch_fini};

static struct glitch *own(void)
{
    return reactor_part(&part);
}

/* What is left of its points. */
static uint32_t left(const struct glitcher *g)
{
    uint64_t ns = (uint64_t)(reactor->tick - g->tick) * WHEEL_TICK_NS;
    double forgiven = (double)config.glitch_limit * (double)ns / (double)FORGIVE_NS;

    return forgiven < (double)g->points ? g->points - (uint32_t)forgiven : 0;
}

static struct glitcher *set_of(const struct glitch *own_, const struct conn *c)
{
    return own_->table + (size_t)conn_fd(c) % SETS * WAYS;
}

/* The connection's place, or else that of who has least. */
static struct glitcher *place_of(const struct glitch *g, const struct conn *c)
{
    struct glitcher *set = set_of(g, c), *least = set;

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].conn == c->id)
            return &set[i];
        if (left(&set[i]) < left(least))
            least = &set[i];
    }
    return least;
}

void glitch_note(struct conn *c, uint32_t points)
{
    struct glitch *g = own();
    struct glitcher *place;

    METRIC_ADD(glitches, points);
    if (config.glitch_limit == 0)
        return;
    if (g->table == NULL)
        g->table = calloc(SETS * WAYS, sizeof(*g->table));
    if (g->table == NULL)
        return;
    place = place_of(g, c);
    if (place->conn == c->id)
        points += MIN(left(place), UINT32_MAX / 2);
    else if (left(place) > points)
        return;
    *place = (struct glitcher){.conn = c->id, .points = points, .tick = reactor->tick};
}

uint32_t glitch_points(const struct conn *c)
{
    const struct glitcher *place;

    if (own()->table == NULL)
        return 0;
    place = place_of(own(), c);
    return place->conn == c->id ? left(place) : 0;
}

/* Has the worker been at work for so much of the time since the last tick? */
static bool busy(struct glitch *g)
{
    uint64_t worked = metrics->turn_duration.sum - g->worked_ns, passed = clock_ns() - g->until_ns;
    bool known = g->until_ns != 0;

    g->worked_ns = metrics->turn_duration.sum;
    g->until_ns = clock_ns();
    return config.glitch_cpu == 0 || (known && worked > passed / 100 * (uint64_t)config.glitch_cpu);
}

/* Over the limit; NULL: nobody. Those that are gone, or ending, give their places back. */
static struct conn *worst(const struct glitch *g)
{
    struct glitcher *found = NULL;

    for (struct glitcher *at = g->table; at < g->table + (size_t)(SETS * WAYS); at++) {
        struct conn *c = at->points > 0 ? conn_find(at->conn) : NULL;

        if (c == NULL || c->state != CONN_OPEN)
            at->points = 0;
        else if (left(at) > (uint64_t)config.glitch_limit &&
                 (found == NULL || left(at) > left(found)))
            found = at;
    }
    return found != NULL ? conn_find(found->conn) : NULL;
}

void glitch_tick(void)
{
    struct glitch *g = own();
    bool now = busy(g);
    struct conn *c;

    if (!now || g->table == NULL || config.glitch_limit == 0)
        return;
    for (unsigned n = 0; n < CLOSES && (c = worst(g)) != NULL; n++)
        ws_close(c, CLOSE_GLITCHES);
}
