/* core/hub_survey.c - channels of all nodes: each is asked for its listing, and what comes is merged by
 * name.
 *
 * Happy path, at the asker: 1. a LIST, where there are other nodes: ASK to all of them, and a listing of
 * this node's own 2. PARTs come, of at most PART_NAMES names; behind each that is not a node's last one
 * MORE goes back, so that nobody sends more than is taken 3. everybody has sent the last one: LISTED.
 * At the asked: ASK · a listing is collected (hub_list.c) · a PART for each MORE.
 * Can fail: a node says nothing, or that it cannot: the result lacks what is there, and says of how many
 * nodes it is. One that dies meanwhile has no channels, and nobody waits for it. */
#include "hub_survey_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define SURVEYS_MAX  8 /* at a time; others wait for their turn */
#define LISTED_BYTES 8192

struct asked_node {
    uint64_t id; /* 0: this one */
    uint32_t got;
};

struct found { /* malloc'ed */
    struct htab_node node;
    uint64_t clients;
    uint8_t len;
    char name[];
};

enum survey_state { SURVEY_WAITING = 0, SURVEY_ASKING, SURVEY_TELLING };

struct survey {
    struct list link; /* in hub.surveys */
    struct hub *hub;
    enum survey_state state;
    uint64_t id, token;
    unsigned worker;
    uint32_t life;                       /* of the asker */
    uint64_t answers_until_ns, until_ns; /* of the nodes; of all of it */
    uint8_t asker;
    struct hub_query query; /* its texts are in `text` */
    char text[2 * CHANNEL_NAME_MAX];
    struct asked_node nodes[ENGINE_NODES_MAX]; /* that have not said all yet */
    unsigned n, asked, answered;
    uint64_t matches;      /* of all nodes; a channel counts at each */
    bool exact;            /* every name that matches has come */
    bool lost;             /* something of it found no memory */
    struct hub_page *page; /* owned; paged */
    struct htab names;     /* of struct found; not paged */
    uint32_t told;
    size_t cursor, part_len;
    char part[LISTED_BYTES];
};

/* --- the asker --- */

bool hub_survey_wanted(const struct hub *h)
{
    return h->engine->nodes != NULL && engine_nodes_count(h->engine->nodes) > 1;
}

static bool found_equal(const struct htab_node *node, const void *key)
{
    const struct found *f = CONTAINER_OF(node, struct found, node);

    return str_equal((struct str){.p = f->name, .n = f->len}, *(const struct str *)key);
}

static void found_in_table(struct survey *s, struct str name, uint64_t clients)
{
    uint64_t hash = hash_str(name);
    struct htab_node *node = htab_find(&s->names, hash, found_equal, &name);
    struct found *f;

    if (node != NULL) {
        CONTAINER_OF(node, struct found, node)->clients += clients;
        return;
    }
    if (s->names.count >= s->query.max) {
        s->exact = false;
        return;
    }
    f = malloc(sizeof(*f) + name.n);
    if (f != NULL) {
        f->node.hash = hash;
        f->clients = clients;
        f->len = (uint8_t)name.n;
        memcpy(f->name, name.p, name.n);
    }
    if (f == NULL || htab_insert(&s->names, &f->node) == -1) {
        free(f);
        s->lost = true;
    }
}

static void found(struct survey *s, struct str name, uint64_t clients)
{
    int rc;

    if (s->page == NULL) {
        found_in_table(s, name, clients);
        return;
    }
    rc = hub_page_add(s->page, name, clients);
    s->lost |= rc < 0;
    s->exact &= rc == 0;
}

static struct asked_node *find_asked(struct survey *s, uint64_t node)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->nodes[i].id == node)
            return &s->nodes[i];
    return NULL;
}

static void cross_off(struct survey *s, struct asked_node *a)
{
    *a = s->nodes[--s->n];
}

static struct survey *find_survey(struct hub *h, uint64_t id)
{
    for (struct list *l = h->surveys.next; l != &h->surveys; l = l->next)
        if (LIST_ENTRY(l, struct survey, link)->id == id)
            return LIST_ENTRY(l, struct survey, link);
    return NULL;
}

/* What a node has said; matches: of all its names, with the last of them. */
static void take_part(struct survey *s, struct asked_node *a, struct str names, uint32_t matches,
                      uint8_t flags)
{
    uint64_t clients;
    struct str name;

    while (survey_take_name(&names, &name, &clients)) {
        if (!channel_name_valid(name)) { /* it would go into JSON unescaped */
            METRIC_INC(engine_malformed);
            continue;
        }
        a->got++;
        found(s, name, clients);
    }
    if (!(flags & (SURVEY_LAST | SURVEY_FAILED)))
        return;
    s->matches += matches;
    s->exact &= a->got == matches;
    s->answered += !(flags & SURVEY_FAILED);
    cross_off(s, a);
}

int hub_survey_start(struct hub *h, unsigned worker, const struct record *r,
                     const struct hub_query *q)
{
    struct survey *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -1;
    s->hub = h;
    s->id = ++h->last_survey;
    s->worker = worker;
    s->life = h->worker[worker].life;
    s->until_ns = clock_ns() + h->limits.answer_ns;
    s->answers_until_ns = clock_ns() + h->limits.answer_ns / 2;
    s->asker = r->asker;
    s->token = r->token;
    s->exact = true;
    s->query = *q;
    s->query.max = MIN(q->max, q->paged ? (uint32_t)RECORD_PAGE_MAX : (uint32_t)SURVEY_NAMES_MAX);
    s->query.pattern = (struct str){.p = s->text, .n = MIN(q->pattern.n, (size_t)CHANNEL_NAME_MAX)};
    if (s->query.pattern.n > 0)
        memcpy(s->text, q->pattern.p, s->query.pattern.n);
    s->query.after = (struct str){.p = s->text + CHANNEL_NAME_MAX,
                                  .n = q->paged ? MIN(q->after.n, (size_t)CHANNEL_NAME_MAX) : 0};
    if (s->query.after.n > 0)
        memcpy(s->text + CHANNEL_NAME_MAX, q->after.p, s->query.after.n);
    h->worker[worker].listings++;
    list_append(&h->surveys, &s->link);
    return 0;
}

static void free_found(struct htab_node *node, void *arg)
{
    htab_remove(arg, node);
    free(CONTAINER_OF(node, struct found, node));
}

static void survey_free(struct survey *s)
{
    size_t cursor = 0;

    while (htab_scan(&s->names, &cursor, SIZE_MAX, free_found, &s->names)) {
    }
    htab_fini(&s->names);
    hub_page_free(s->page);
    list_remove(&s->link);
    s->hub->worker[s->worker].listings--;
    free(s);
}

/* -1: no memory. */
static int begin(struct survey *s)
{
    static struct engine_node nodes[ENGINE_NODES_MAX]; /* not for the stack */
    struct hub *h = s->hub;
    const struct survey_head head = {.kind = SURVEY_ASK,
                                     .flags = s->query.paged ? SURVEY_PAGED : 0,
                                     .pattern = (uint16_t)s->query.pattern.n,
                                     .count = s->query.max,
                                     .survey = s->id};

    s->page = s->query.paged ? hub_page_new(s->query.max, false) : NULL;
    if ((s->query.paged && s->page == NULL) ||
        hub_list_collect(h, &s->query, 0, s->id, s->answers_until_ns) == -1)
        return -1;
    s->state = SURVEY_ASKING;
    s->n = s->asked = engine_nodes_list(h->engine->nodes, nodes, ENGINE_NODES_MAX);
    for (unsigned i = 1; i < s->n; i++)
        s->nodes[i].id = nodes[i].id;
    survey_say(h, 0, head, s->query.pattern, s->query.after);
    return 0;
}

/* --- the answer to the worker --- */

static void send_listed(struct survey *s, bool last)
{
    uint64_t unique = s->page != NULL ? s->page->n : s->names.count;
    uint64_t count = s->exact ? unique : MAX(s->matches, unique + 1);
    struct record r = {
        .kind = RECORD_LISTED,
        .flags = last ? RECORD_LAST : 0,
        .asker = s->asker,
        .token = s->token,
        .count = (uint32_t)MIN(count, (uint64_t)UINT32_MAX),
        .epoch = s->asked,
        .offset = s->answered,
        .name = last && s->page != NULL ? hub_page_last(s->page) : STR_NULL,
        .data = {.p = s->part, .n = s->part_len},
    };

    if (hub_answer(s->hub, s->worker, &r) == -1)
        s->lost = true;
    s->part_len = 0;
}

static void tell(struct survey *s, struct str name, uint64_t clients)
{
    if (s->part_len > LISTED_BYTES - HUB_LISTED_MAX)
        send_listed(s, false);
    s->part_len += hub_list_put(s->part + s->part_len, LISTED_BYTES - s->part_len, s->told == 0,
                                name, clients);
    s->told++;
}

static void tell_found(struct htab_node *node, void *arg)
{
    const struct found *f = CONTAINER_OF(node, struct found, node);

    tell(arg, (struct str){.p = f->name, .n = f->len}, f->clients);
}

/* A step of it. False: there is no more. */
static bool tell_some(struct survey *s)
{
    const struct page_item *item;

    if (s->page == NULL)
        return htab_scan(&s->names, &s->cursor, 1, tell_found, s);
    if (s->cursor == s->page->n)
        return false;
    item = s->page->items[s->cursor++];
    tell(s, (struct str){.p = item->name, .n = item->len}, item->clients);
    return true;
}

/* --- as time passes --- */

static void give_up(struct survey *s)
{
    hub_list_refuse(s->hub, s->worker, s->asker, s->token);
    survey_free(s);
}

static void asked_enough(struct survey *s)
{
    if (s->n > 0 && clock_ns() < s->answers_until_ns)
        return;
    if (s->answered < s->asked) {
        METRIC_INC(survey_partial);
        s->exact &= s->n == 0;
    }
    s->state = SURVEY_TELLING;
}

/* True when it could go on now. */
static bool step(struct survey *s, size_t *budget)
{
    struct hub *h = s->hub;
    bool more = true;

    if (s->life != h->worker[s->worker].life) {
        survey_free(s);
        return false;
    }
    if (s->lost || clock_ns() >= s->until_ns || hub_hangs(h, s->worker)) {
        give_up(s);
        return false;
    }
    if (s->state == SURVEY_ASKING)
        asked_enough(s);
    if (s->state != SURVEY_TELLING || h->worker[s->worker].out.first != NULL)
        return false;
    while (more && *budget > 0 && h->worker[s->worker].out.first == NULL && !s->lost) {
        (*budget)--;
        more = tell_some(s);
    }
    if (more || s->lost)
        return h->worker[s->worker].out.first == NULL;
    send_listed(s, true);
    survey_free(s);
    return false;
}

bool hub_survey_run(struct hub *h, size_t *budget)
{
    unsigned under_way = 0;
    struct list *l, *next;
    bool more = false;

    survey_replies_run(h);
    for (l = h->surveys.next; l != &h->surveys; l = next) {
        struct survey *s = LIST_ENTRY(l, struct survey, link);

        next = l->next;
        if (s->state == SURVEY_WAITING && under_way < SURVEYS_MAX && begin(s) == -1)
            s->lost = true;
        under_way += s->state != SURVEY_WAITING;
        more |= step(s, budget);
    }
    return more;
}

void hub_survey_collected(struct hub *h, struct hub_collected *c)
{
    struct survey *s = c->node == 0 ? find_survey(h, c->survey) : NULL;
    struct asked_node *own = s != NULL ? find_asked(s, 0) : NULL;

    if (own != NULL)
        take_part(s, own, buf_view(&c->names), c->matches,
                  SURVEY_LAST | (c->failed ? SURVEY_FAILED : 0));
    if (c->node != 0)
        survey_reply(h, c);
}

static void on_part(struct hub *h, uint64_t node, const struct survey_head *head, struct str rest)
{
    const struct survey_head more = {.kind = SURVEY_MORE, .survey = head->survey};
    struct survey *s = find_survey(h, head->survey);
    struct asked_node *a = s != NULL && s->state == SURVEY_ASKING ? find_asked(s, node) : NULL;

    if (a == NULL)
        return; /* it is over */
    take_part(s, a, rest, head->count, head->flags);
    if (!(head->flags & (SURVEY_LAST | SURVEY_FAILED)))
        survey_say(h, node, more, STR_NULL, STR_NULL);
}

void hub_on_heard(void *hub, uint64_t node, struct str bytes)
{
    struct survey_head head;

    if (bytes.n < sizeof(head)) {
        METRIC_INC(engine_malformed);
        return;
    }
    memcpy(&head, bytes.p, sizeof(head));
    bytes = str_skip(bytes, sizeof(head));
    if (head.kind == SURVEY_ASK)
        survey_on_ask(hub, node, &head, bytes);
    else if (head.kind == SURVEY_PART)
        on_part(hub, node, &head, bytes);
    else if (head.kind == SURVEY_MORE)
        survey_on_more(hub, node, head.survey);
    else if (head.kind == SURVEY_TELL)
        hub_elsewhere_heard(hub, node, &head, bytes);
    else
        METRIC_INC(engine_malformed);
}

/* Its channels are nobody's any more: the result does not lack them. */
void hub_on_node(void *hub, uint64_t node, bool alive)
{
    struct hub *h = hub;

    if (!alive)
        hub_elsewhere_forget(h, node);
    for (struct list *l = h->surveys.next; !alive && l != &h->surveys; l = l->next) {
        struct survey *s = LIST_ENTRY(l, struct survey, link);
        struct asked_node *a = find_asked(s, node);

        if (a == NULL)
            continue;
        cross_off(s, a);
        s->asked--;
    }
}

void hub_survey_fini(struct hub *h)
{
    while (!list_empty(&h->surveys))
        survey_free(LIST_ENTRY(h->surveys.next, struct survey, link));
    survey_replies_fini(h);
}
