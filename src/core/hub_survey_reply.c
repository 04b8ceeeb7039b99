/* core/hub_survey_reply.c - this node's channels for another one that asks: hub_survey.c. */
#include "hub_survey_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define PART_NAMES  1000
#define PART_BYTES  ((size_t)64 * 1024)
#define REPLIES_MAX 64 /* under way */

struct reply {        /* malloc'ed: what was collected for another node */
    struct list link; /* in hub.replies */
    uint64_t until_ns;
    struct hub_collected collected;
    size_t at; /* of the first name that has not been sent */
};

int hub_survey_put(struct buf *out, struct str name, uint64_t clients)
{
    const char len = (char)name.n;

    return buf_append(out, (struct str){.p = (const char *)&clients, .n = sizeof(clients)}) ||
                   buf_append(out, (struct str){.p = &len, .n = 1}) || buf_append(out, name)
               ? -1
               : 0;
}

bool survey_take_name(struct str *rest, struct str *name, uint64_t *clients)
{
    size_t n;

    if (rest->n < sizeof(*clients) + 1)
        return false;
    memcpy(clients, rest->p, sizeof(*clients));
    n = (unsigned char)rest->p[sizeof(*clients)];
    if (rest->n < sizeof(*clients) + 1 + n)
        return false;
    *name = (struct str){.p = rest->p + sizeof(*clients) + 1, .n = n};
    *rest = str_skip(*rest, sizeof(*clients) + 1 + n);
    return true;
}

void survey_say(struct hub *h, uint64_t to, struct survey_head head, struct str a, struct str b)
{
    struct buf out = {0};

    if (buf_append(&out, (struct str){.p = (const char *)&head, .n = sizeof(head)}) == 0 &&
        buf_append(&out, a) == 0 && buf_append(&out, b) == 0 &&
        engine_nodes_say(h->engine->nodes, to, buf_view(&out)) == -1)
        METRIC_INC(engine_calls_unavailable);
    buf_fini(&out);
}

static void reply_free(struct hub *h, struct reply *r)
{
    list_remove(&r->link);
    h->nreplies--;
    buf_fini(&r->collected.names);
    free(r);
}

void survey_replies_run(struct hub *h)
{
    while (!list_empty(&h->replies)) {
        struct reply *r = LIST_ENTRY(h->replies.next, struct reply, link);

        if (clock_ns() < r->until_ns)
            return; /* those behind it began later */
        reply_free(h, r);
    }
}

void survey_replies_fini(struct hub *h)
{
    while (!list_empty(&h->replies))
        reply_free(h, LIST_ENTRY(h->replies.next, struct reply, link));
}

/* The names that one part takes, off the front of the rest; one at least. */
static struct str cut_part(const struct hub *h, struct str rest)
{
    size_t most = engine_nodes_most(h->engine->nodes);
    struct str all = rest, name;
    uint64_t clients;
    size_t n = 0;

    most =
        MIN(PART_BYTES, most > sizeof(struct survey_head) ? most - sizeof(struct survey_head) : 0);
    for (unsigned i = 0; i < PART_NAMES && survey_take_name(&rest, &name, &clients); i++) {
        if (i > 0 && all.n - rest.n > most)
            break;
        n = all.n - rest.n;
    }
    return (struct str){.p = all.p, .n = n};
}

/* Frees it with the last part. */
static void send_part(struct hub *h, struct reply *r)
{
    struct str rest = str_skip(buf_view(&r->collected.names), r->at), part = cut_part(h, rest);
    struct survey_head head = {
        .kind = SURVEY_PART, .count = r->collected.matches, .survey = r->collected.survey};
    bool last = part.n == rest.n;

    r->at += part.n;
    head.flags = (last ? SURVEY_LAST : 0) | (r->collected.failed ? SURVEY_FAILED : 0);
    survey_say(h, r->collected.node, head, part, STR_NULL);
    if (last)
        reply_free(h, r);
}

void survey_reply(struct hub *h, struct hub_collected *c)
{
    struct reply *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        h->nreplies--; /* who asked waits in vain */
        return;
    }
    r->until_ns = clock_ns() + h->limits.answer_ns;
    r->collected = *c;
    c->names = (struct buf){0};
    list_append(&h->replies, &r->link);
    send_part(h, r);
}

void survey_on_ask(struct hub *h, uint64_t node, const struct survey_head *head, struct str rest)
{
    struct hub_query q = {.max = MIN(head->count, (uint32_t)SURVEY_NAMES_MAX),
                          .paged = head->flags & SURVEY_PAGED};
    const struct survey_head no = {
        .kind = SURVEY_PART, .flags = SURVEY_LAST | SURVEY_FAILED, .survey = head->survey};

    if (head->pattern > rest.n || head->pattern > CHANNEL_NAME_MAX ||
        rest.n - head->pattern > CHANNEL_NAME_MAX) {
        METRIC_INC(engine_malformed);
        return;
    }
    q.pattern = (struct str){.p = rest.p, .n = head->pattern};
    q.after = str_skip(rest, head->pattern);
    /* A hub that gathers does not know its channels yet. */
    if (h->state != HUB_LIVE || h->nreplies >= REPLIES_MAX ||
        hub_list_collect(h, &q, node, head->survey, clock_ns() + h->limits.answer_ns) == -1)
        survey_say(h, node, no, STR_NULL, STR_NULL);
    else
        h->nreplies++;
}

void survey_on_more(struct hub *h, uint64_t node, uint64_t survey)
{
    for (struct list *l = h->replies.next; l != &h->replies; l = l->next) {
        struct reply *r = LIST_ENTRY(l, struct reply, link);

        if (r->collected.node == node && r->collected.survey == survey) {
            send_part(h, r);
            return;
        }
    }
}
