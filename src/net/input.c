/* net/input.c - step 3 of the turn: whose input is read now, and whose later.
 *
 * A turn spends config.turn_budget on input. The poll reports every readable socket, as often as it
 * is asked, in an order that is nobody's; so a connection that is not read at once gets a place in
 * a queue and is left alone until that comes:
 *
 * - one that says little (its last read brought less than BULK_MIN) is read from the poll's
 * callback while there is time and nobody of its kind waits;
 * - one that says much waits behind all those, so that a ping does not wait for a flood. How much
 * is read from it at a time follows from how long that took: tiny messages cost most by the byte.
 *
 * The queues hold ids, as held.c's does. */
#include "base/config.h"
#include "net_internal.h"

#define BULK_MIN  4096
#define LOOK_EACH 16 /* reads of nearly nothing between two looks at the clock */

void input_begin(void)
{
    reactor->input.until_ns = reactor->turn_started_ns + (uint64_t)config.turn_budget;
    reactor->input.weight = 0;
    reactor->input.over = false;
}

/* Looks at the clock now and then. */
static bool input_over(void)
{
    struct input *in = &reactor->input;

    if (in->over || ++in->weight < LOOK_EACH)
        return in->over;
    in->weight = 0;
    in->over = clock_precise_ns() >= in->until_ns;
    return in->over;
}

size_t input_max(const struct conn *c)
{
    size_t max = MIN((size_t)SCRATCH_SIZE, (size_t)config.read_budget);

    return c->flags & CONN_BULK ? MIN(max, reactor->input.bulk_max) : max;
}

bool input_note(struct conn *c, size_t n)
{
    if (n >= BULK_MIN) {
        c->flags |= CONN_BULK;
        return true;
    }
    c->flags &= (uint16_t)~CONN_BULK;
    (void)input_over();
    return false;
}

/* A read shall take a sixteenth to a quarter of the budget. */
void input_took(uint64_t began_ns)
{
    uint64_t budget = (uint64_t)config.turn_budget, now = clock_precise_ns();
    size_t *max = &reactor->input.bulk_max;

    if (now - began_ns > budget / 4)
        *max = MAX(*max / 2, (size_t)BULK_MIN);
    else if (now - began_ns < budget / 16)
        *max = MIN(*max * 2, (size_t)SCRATCH_SIZE);
    reactor->input.over |= now >= reactor->input.until_ns;
}

void input_readable(struct conn *c)
{
    struct ids *queue = c->flags & CONN_BULK ? &reactor->input.bulk : &reactor->input.light;

    if (c->flags & CONN_LATE)
        return;
    if (!(c->flags & CONN_BULK) && queue->n == 0 && !reactor->input.over)
        conn_readable(c);
    else if (ids_push(queue, c->id) == -1)
        conn_readable(c); /* no memory: out of turn */
    else
        c->flags |= CONN_LATE;
}

/* The next of a queue; NULL: it is gone, or something has made it wait. */
static struct conn *take(struct ids *queue)
{
    struct conn *c = conn_find(ids_pop(queue));

    if (c == NULL)
        return NULL;
    c->flags &= (uint16_t)~CONN_LATE;
    return conn_wants_input(c) ? c : NULL;
}

/* Reads those of a queue that are in it now: one, and more while there is time. */
static void queue_turn(struct ids *queue)
{
    for (size_t n = queue->n; n > 0; n--) {
        struct conn *c = take(queue);

        if (c == NULL)
            continue;
        conn_readable(c);
        if (reactor->input.over)
            return;
    }
}

bool input_turn(void)
{
    queue_turn(&reactor->input.light);
    queue_turn(&reactor->input.bulk);
    return reactor->input.light.n > 0 || reactor->input.bulk.n > 0;
}

void input_init(void)
{
    reactor->input.bulk_max = SCRATCH_SIZE;
}

void input_fini(void)
{
    free(reactor->input.light.ids);
    free(reactor->input.bulk.ids);
    reactor->input = (struct input){0};
}
