/* core/engine_nodes_control.c - control messages: each once to the hub, and who has them.
 *
 * Happy path of one of this node's: 1. engine_nodes_control_sent(): those who live are to have it 2. the
 * server has it (engine_nodes_control_done()), and gives it to all: it comes back to this node too, and is
 * told to its workers 3. each of the others says TAKEN: told(), done().
 * Can fail: a node says nothing, because it is cut off or has just died: after ENGINE_NODES_WAIT_NS, or
 * at its death, nobody waits for it any more. */
#include "engine_nodes_internal.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/metrics.h"

struct nodes_wait {
    struct list link;
    uint64_t token;
    uint64_t until_ns; /* 0: the server has not got it yet */
    struct nodes_origin origin;
    unsigned asked, answered;
    unsigned n;     /* of ids */
    uint64_t ids[]; /* that have neither said so nor died */
};

static struct nodes_origin origin_of(const struct envelope *e)
{
    struct nodes_origin o = {{0}};
    const struct {
        uint64_t node;
        uint16_t source, reserved;
        uint32_t generation;
        uint64_t position;
    } parts = {.node = e->node,
               .source = e->r.source,
               .generation = e->r.generation,
               .position = e->r.position};

    _Static_assert(sizeof(parts) == ENVELOPE_ORIGIN_BYTES, "as in the envelope");
    memcpy(o.bytes, &parts, sizeof(parts));
    return o;
}

static struct str bytes_of(const struct nodes_origin *o)
{
    return (struct str){.p = o->bytes, .n = sizeof(o->bytes)};
}

static void end(struct engine_nodes *n, struct nodes_wait *w, enum engine_status status)
{
    const struct engine *e = n->engine;

    list_remove(&w->link);
    if (status == ENGINE_OK)
        e->events->told(e->hub, w->token, w->asked, w->answered);
    e->events->done(e->hub, w->token, status, (struct position){0});
    free(w);
}

static void end_if_complete(struct engine_nodes *n, struct nodes_wait *w)
{
    if (w->n == 0 && w->until_ns != 0)
        end(n, w, ENGINE_OK);
}

/* False: nobody waits for that one. */
static bool cross_off(struct nodes_wait *w, uint64_t node)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (w->ids[i] == node) {
            w->ids[i] = w->ids[--w->n];
            return true;
        }
    }
    return false;
}

int engine_nodes_control_sent(struct engine_nodes *n, const struct envelope *e, uint64_t token)
{
    struct nodes_wait *w = calloc(1, sizeof(*w) + engine_nodes_count(n) * sizeof(w->ids[0]));

    if (w == NULL)
        return -1;
    w->token = token;
    w->origin = origin_of(e);
    for (unsigned i = 0; i < n->n; i++)
        w->ids[w->n++] = n->nodes[i].id;
    w->ids[w->n++] = n->s.id;
    w->asked = w->n;
    list_append(&n->waits, &w->link);
    return 0;
}

void engine_nodes_control_done(struct engine_nodes *n, uint64_t token, enum engine_status status)
{
    struct list *l, *next;

    for (l = n->waits.next; l != &n->waits; l = next) {
        struct nodes_wait *w = LIST_ENTRY(l, struct nodes_wait, link);

        next = l->next;
        if (w->token != token)
            continue;
        if (status != ENGINE_OK) {
            end(n, w, status);
        } else {
            w->until_ns = clock_ns() + ENGINE_NODES_WAIT_NS;
            end_if_complete(n, w);
        }
        return;
    }
}

void nodes_taken(struct engine_nodes *n, uint64_t node, struct str origin)
{
    struct list *l, *next;

    for (l = n->waits.next; l != &n->waits; l = next) {
        struct nodes_wait *w = LIST_ENTRY(l, struct nodes_wait, link);

        next = l->next;
        if (!str_equal(bytes_of(&w->origin), origin) || !cross_off(w, node))
            continue;
        w->answered++;
        end_if_complete(n, w);
    }
}

void nodes_wait_no_more(struct engine_nodes *n, uint64_t node)
{
    struct list *l, *next;

    for (l = n->waits.next; l != &n->waits; l = next) {
        struct nodes_wait *w = LIST_ENTRY(l, struct nodes_wait, link);

        next = l->next;
        if (cross_off(w, node))
            end_if_complete(n, w);
    }
}

uint64_t nodes_waits_tick(struct engine_nodes *n, uint64_t now_ns)
{
    uint64_t soonest = UINT64_MAX;
    struct list *l, *next;

    for (l = n->waits.next; l != &n->waits; l = next) {
        struct nodes_wait *w = LIST_ENTRY(l, struct nodes_wait, link);

        next = l->next;
        if (w->until_ns == 0)
            continue;
        if (now_ns >= w->until_ns)
            end(n, w, ENGINE_OK);
        else
            soonest = MIN(soonest, w->until_ns);
    }
    return soonest;
}

void nodes_waits_fini(struct engine_nodes *n)
{
    while (!list_empty(&n->waits))
        free(LIST_ENTRY(list_pop(&n->waits), struct nodes_wait, link));
}

static unsigned place_of(const struct nodes_origin *origin)
{
    return (unsigned)(hash_str(bytes_of(origin)) % NODES_SEEN);
}

static bool seen(const struct engine_nodes *n, const struct nodes_origin *origin)
{
    unsigned at = place_of(origin);

    for (unsigned i = 0; i < NODES_WAYS; i++)
        if (memcmp(&n->seen[at][i], origin, sizeof(*origin)) == 0)
            return true;
    return false;
}

static void remember(struct engine_nodes *n, const struct nodes_origin *origin)
{
    unsigned at = place_of(origin);

    n->seen[at][n->next_way[at]++ % NODES_WAYS] = *origin;
}

static bool to_hub(const struct engine_nodes *n, struct envelope *e)
{
    engine_localise(e, n->s.id);
    return n->engine->events->control(n->engine->hub, &e->r);
}

bool engine_nodes_control_heard(struct engine_nodes *n, struct envelope *e)
{
    struct nodes_origin origin = origin_of(e);
    uint64_t from = e->node;
    bool news = !seen(n, &origin);

    if (news) {
        if (!to_hub(n, e))
            return true; /* not everybody has it, so nobody says so, and if it comes again it is told again */
        remember(n, &origin);
    }
    if (from == n->s.id)
        nodes_taken(n, from, bytes_of(&origin));
    else if (nodes_begin(n, NODES_TAKEN) == 0 && buf_append(&n->out, bytes_of(&origin)) == 0)
        n->ops->send(n->engine, from, false, buf_view(&n->out));
    return news;
}
