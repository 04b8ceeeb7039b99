/* core/hub_elsewhere.c - what a worker has to say to one worker of another node.
 *
 * Happy path: 1. a CONTROL that names a node becomes a message to that node's hub, complete when the engine has
 * taken it 2. there a copy goes into the ring of the worker, or into its queue. One connection leads from here to
 * the engine and one from there to the other node, so the order stays.
 * Can fail: the node is dead, the engine is away, the worker's queue is full: it is lost. If the hub ends before
 * it has said that it is done, the next one says it again: the other hub knows what it has had by source and
 * position. */
#include "hub_survey_internal.h"

#include "base/metrics.h"

struct told_node {    /* malloc'ed: what a node's workers have said to this one's */
    struct list link; /* in hub.told */
    uint64_t node;
    struct {
        uint32_t generation;
        uint64_t next; /* position of what is new */
    } from[HUB_WORKERS_MAX];
};

_Static_assert(HUB_WORKERS_MAX <= UINT8_MAX + 1, "a worker's index is one byte");

void hub_elsewhere(struct hub *h, const struct record *r)
{
    const struct survey_head head = {.kind = SURVEY_TELL,
                                     .flags = (uint8_t)r->chan,
                                     .pattern = r->source,
                                     .count = r->generation,
                                     .survey = r->position};

    if (h->engine->nodes != NULL && r->chan < HUB_WORKERS_MAX)
        survey_say(h, r->epoch, head, r->data, STR_NULL);
}

static struct told_node *find(struct hub *h, uint64_t node)
{
    for (struct list *l = h->told.next; l != &h->told; l = l->next)
        if (LIST_ENTRY(l, struct told_node, link)->node == node)
            return LIST_ENTRY(l, struct told_node, link);
    return NULL;
}

/* Has it come before? It has from now on. */
static bool had(struct hub *h, uint64_t node, const struct survey_head *head)
{
    struct told_node *t = find(h, node);

    if (t == NULL && engine_nodes_alive(h->engine->nodes, node)) {
        t = calloc(1, sizeof(*t));
        if (t != NULL) {
            t->node = node;
            list_append(&h->told, &t->link);
        }
    }
    if (t == NULL)
        return false; /* it is told, maybe twice */
    if (t->from[head->pattern].generation == head->count &&
        head->survey < t->from[head->pattern].next)
        return true;
    t->from[head->pattern].generation = head->count;
    t->from[head->pattern].next = head->survey + 1;
    return false;
}

void hub_elsewhere_heard(struct hub *h, uint64_t node, const struct survey_head *head,
                         struct str data)
{
    const struct record r = {.source = RECORD_SOURCE_REMOTE, .data = data};

    if (head->pattern >= HUB_WORKERS_MAX)
        METRIC_INC(engine_malformed);
    else if (head->flags < h->workers && !had(h, node, head))
        hub_control_tell(h, head->flags, &r);
}

void hub_elsewhere_forget(struct hub *h, uint64_t node)
{
    struct told_node *t = find(h, node);

    if (t == NULL)
        return;
    list_remove(&t->link);
    free(t);
}

void hub_elsewhere_fini(struct hub *h)
{
    while (!list_empty(&h->told))
        free(LIST_ENTRY(list_pop(&h->told), struct told_node, link));
}
