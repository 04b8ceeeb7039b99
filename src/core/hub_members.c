/* core/hub_members.c - who is in a channel: listings, answered in parts.
 *
 * Each worker's listings take turns, a part at a time, and only while their worker takes what it is
 * sent, so what is held of a channel with many members is one part. A channel with few is answered
 * in the first step. Whoever's time has come before the end is refused. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define PART_BYTES   8192 /* of client infos in a record, or one that is larger */
#define PART_MEMBERS 64   /* asked of the engine in one call */
#define LISTS_MAX    4096 /* that one worker may have under way */

struct member_list {
    struct list link; /* in hub_worker.member_lists or hub.member_lists_ended */
    struct pending call;
    struct engine_cursor cursor;
    struct buf part;   /* owned */
    uint64_t until_ns; /* then nobody waits for the answer any more */
    uint64_t token;
    uint32_t listed;
    uint16_t worker;
    uint8_t asker;
    uint8_t name_len;
    bool calling, ended;
    bool lost; /* a part has found no memory */
    struct hub *hub;
    char name[CHANNEL_NAME_MAX];
};

void hub_members_init(struct hub *h)
{
    list_init(&h->member_lists_ended);
    pool_init(&h->member_lists, "member_list", sizeof(struct member_list), 0);
}

static void send_part(struct member_list *l, uint8_t flags, enum engine_status status)
{
    struct record r = {
        .kind = RECORD_MEMBERS,
        .flags = flags,
        .asker = l->asker,
        .status = (uint16_t)status,
        .count = l->listed,
        .token = l->token,
        .data = buf_view(&l->part),
    };

    if (hub_answer(l->hub, l->worker, &r) == -1)
        l->lost = true;
    buf_fini(&l->part);
}

static void refuse(struct hub *h, const struct record *asked, enum engine_status status)
{
    struct record r = {
        .kind = RECORD_MEMBERS,
        .flags = RECORD_LAST,
        .asker = asked->asker,
        .status = (uint16_t)status,
        .token = asked->token,
    };

    if (hub_answer(h, asked->source, &r) == -1)
        return; /* the asker's time runs out */
}

void hub_members_start(struct hub *h, const struct record *r)
{
    struct hub_worker *w = &h->worker[r->source];
    struct member_list *l = w->nmember_lists < LISTS_MAX ? pool_get(&h->member_lists) : NULL;

    if (l == NULL) {
        refuse(h, r, ENGINE_UNAVAILABLE);
        return;
    }
    l->hub = h;
    l->call.kind = RECORD_PRESENCE;
    l->until_ns = clock_ns() + h->limits.answer_ns;
    l->token = r->token;
    l->worker = r->source;
    l->asker = r->asker;
    l->name_len = (uint8_t)r->name.n;
    if (r->name.n > 0)
        memcpy(l->name, r->name.p, r->name.n);
    list_append(&w->member_lists, &l->link);
    w->nmember_lists++;
}

static void ask(struct member_list *l, uint32_t limit)
{
    const struct engine_presence ask = {
        .op = PRESENCE_LIST,
        .channel = {.p = l->name, .n = l->name_len},
        .limit = limit,
        .cursor = &l->cursor,
    };

    l->calling = true;
    l->hub->engine->ops->presence(l->hub->engine, &ask, (uint64_t)(uintptr_t)&l->call);
}

static void list_free(struct member_list *l)
{
    list_remove(&l->link);
    buf_fini(&l->part);
    pool_put(&l->hub->member_lists, l);
}

/* Frees it as soon as the engine has nothing to do with it any more. */
static void end(struct member_list *l)
{
    struct hub *h = l->hub;

    if (!l->ended) {
        l->ended = true;
        h->worker[l->worker].nmember_lists--;
        list_remove(&l->link);
        list_append(&h->member_lists_ended, &l->link);
    }
    if (l->calling)
        return;
    if (l->cursor.begun && !l->cursor.ended)
        ask(l, 0);
    else
        list_free(l);
}

void hub_members_drop(struct hub *h, unsigned worker)
{
    struct list *lists = &h->worker[worker].member_lists;

    while (!list_empty(lists))
        end(LIST_ENTRY(lists->next, struct member_list, link));
}

void hub_on_listed(void *hub UNUSED, uint64_t token, struct str fields)
{
    struct pending *call = (struct pending *)(uintptr_t)token;
    struct member_list *l = CONTAINER_OF(call, struct member_list, call);
    struct str info;

    if (l->ended || !record_field(fields, FIELD_INFO, &info))
        return;
    if (l->part.len > 0 && l->part.len + info.n > PART_BYTES)
        send_part(l, 0, ENGINE_OK);
    l->listed++;
    if (buf_append(&l->part, info) == -1)
        l->lost = true;
}

void hub_members_done(struct hub *h, struct pending *call, enum engine_status status)
{
    struct member_list *l = CONTAINER_OF(call, struct member_list, call);

    l->calling = false;
    if (status != ENGINE_OK)
        l->cursor.ended = true; /* it has been given up */
    else if (l->lost)
        status = ENGINE_UNAVAILABLE; /* what is left is of no use without it */
    if (!l->ended && (status != ENGINE_OK || l->cursor.ended))
        send_part(l, RECORD_LAST, status);
    else if (!l->ended && l->part.len > 0)
        send_part(l, 0, ENGINE_OK);
    if (status != ENGINE_OK || l->ended || l->cursor.ended) {
        end(l);
        return;
    }
    list_remove(&l->link); /* the next one's turn */
    list_append(&h->worker[l->worker].member_lists, &l->link);
}

/* One part of one of the worker's listings. */
static void step(struct list *lists)
{
    struct member_list *l = LIST_ENTRY(lists->next, struct member_list, link);

    if (clock_ns() < l->until_ns) {
        ask(l, PART_MEMBERS);
        return;
    }
    buf_fini(&l->part);
    send_part(l, RECORD_LAST, ENGINE_UNAVAILABLE);
    end(l);
}

/* Has the worker one that can go on? */
static bool can_step(const struct hub *h, unsigned worker)
{
    const struct hub_worker *w = &h->worker[worker];

    return !list_empty(&w->member_lists) && w->out.first == NULL &&
           !LIST_ENTRY(w->member_lists.next, struct member_list, link)->calling;
}

bool hub_members_run(struct hub *h, size_t *budget)
{
    unsigned idle = 0;

    if (LIKELY(h->member_lists.in_use == 0))
        return false;
    while (idle < h->workers) {
        unsigned worker = h->next_lists;

        if (can_step(h, worker)) {
            if (*budget == 0)
                return true;
            (*budget)--;
            idle = 0;
            step(&h->worker[worker].member_lists);
        } else {
            idle++;
        }
        h->next_lists = (worker + 1) % h->workers;
    }
    return false;
}

static void free_all(struct list *lists)
{
    while (!list_empty(lists))
        list_free(LIST_ENTRY(lists->next, struct member_list, link));
}

/* The engine is asked nothing more. */
void hub_members_fini(struct hub *h)
{
    for (unsigned i = 0; i < h->workers; i++)
        free_all(&h->worker[i].member_lists);
    free_all(&h->member_lists_ended);
    pool_fini(&h->member_lists);
}
