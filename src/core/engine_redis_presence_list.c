/* core/engine_redis_presence_list.c - who is in a channel, a part at a time, and how many.
 *
 * Happy path:
 *   1. HSCAN brings some members; those beyond what is wanted are remembered by name
 *   2. the next step fetches these again, HMGET, as they may have changed or gone
 *   3. then HSCAN goes on, until its cursor is 0 and no name is left.
 * What one step holds is what one of them brings. A hash that changes its size meanwhile may bring a
 * member twice, so listings of more than one step remember whom they have listed, by hash.
 * Can fail: the server is away or another one, too many large listings at once: UNAVAILABLE. */
#include "engine_redis_presence_internal.h"

#include "base/metrics.h"

#define NAMES_MAX 64                 /* fetched in one step */
#define SEEN_MAX  ((size_t)64 << 20) /* bytes, of all listings */
#define SEEN_MIN  ((size_t)256)

struct listing {
    struct list link;             /* in presence.listings */
    struct engine_cursor *cursor; /* borrowed, as the hub says */
    uint32_t limit;               /* of this step */
    char scan[24];                /* HSCAN's cursor; "0": begins, or has ended */
    uint64_t run;                 /* of the server that knows it; 0: it has not begun */
    struct buf names;             /* owned; a byte of length, then the client: listed next */
    uint64_t *seen;               /* owned; 0: free. Of those that HSCAN has brought */
    size_t nseen, room;
};

static void done(struct redis *e, uint64_t token, enum engine_status status)
{
    redis_done(e, token, status, (struct position){0});
}

static void listing_free(struct redis *e, struct listing *l)
{
    l->cursor->at = NULL;
    l->cursor->ended = true;
    list_remove(&l->link);
    e->presence->seen_bytes -= l->room * sizeof(*l->seen);
    buf_fini(&l->names);
    free(l->seen);
    free(l);
}

void redis_listings_fini(struct redis *e)
{
    struct list *all = &e->presence->listings;

    while (!list_empty(all)) {
        struct listing *l = LIST_ENTRY(all->next, struct listing, link);

        l->cursor = &(struct engine_cursor){0}; /* whose it was, is gone */
        listing_free(e, l);
    }
}

static struct listing *listing_new(struct redis *e, struct engine_cursor *cursor)
{
    struct listing *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->cursor = cursor;
    cursor->begun = true;
    cursor->at = l;
    list_append(&e->presence->listings, &l->link);
    return l;
}

/* --- whom it has listed --- */

static bool seen_put(struct listing *l, uint64_t hash)
{
    size_t i = hash & (l->room - 1);

    for (; l->seen[i] != 0; i = (i + 1) & (l->room - 1))
        if (l->seen[i] == hash)
            return false;
    l->seen[i] = hash;
    l->nseen++;
    return true;
}

static int seen_grow(struct redis *e, struct listing *l)
{
    size_t before = l->room, room = MAX(before * 2, SEEN_MIN);
    uint64_t *old = l->seen;

    if (e->presence->seen_bytes + room * sizeof(*old) > SEEN_MAX)
        return -1;
    l->seen = calloc(room, sizeof(*old));
    if (l->seen == NULL) {
        l->seen = old;
        return -1;
    }
    e->presence->seen_bytes += (room - before) * sizeof(*old);
    l->room = room;
    l->nseen = 0;
    for (size_t i = 0; i < before; i++)
        if (old[i] != 0)
            (void)seen_put(l, old[i]);
    free(old);
    return 0;
}

/* > 0: it is the first time; 0: it is not; -1: no memory. */
static int remember(struct redis *e, struct listing *l, struct str client)
{
    uint64_t hash = hash_str(client);

    if (l->nseen * 4 >= l->room * 3 && seen_grow(e, l) == -1)
        return -1;
    return seen_put(l, hash != 0 ? hash : 1);
}

/* --- asking --- */

void redis_members_stats(struct redis *e, const struct engine_presence *ask, uint64_t token)
{
    (void)redis_ask(e, REDIS_COUNT, ask->channel, token);
}

/* The next step of it. NULL: it cannot be asked for; what the caller has lent is given back. */
static struct redis_call *ask_next(struct redis *e, struct listing *l, struct str channel)
{
    struct redis_server *s = redis_server_of(e, channel);
    bool known = l->run == 0 || l->run == redis_run(s);
    struct redis_call *c =
        known && !redis_server_given_up(s) ? redis_call_new(s, REDIS_LIST, channel) : NULL;

    if (c != NULL)
        c->task = l;
    else
        listing_free(e, l);
    return c;
}

void redis_members_list(struct redis *e, const struct engine_presence *ask, uint64_t token)
{
    struct listing *l = ask->cursor->at;
    struct redis_call *c;

    if (ask->limit == 0) {
        if (l != NULL)
            listing_free(e, l);
        ask->cursor->ended = true;
        done(e, token, ENGINE_OK);
        return;
    }
    if (!ask->cursor->begun)
        l = listing_new(e, ask->cursor);
    c = l != NULL ? ask_next(e, l, ask->channel) : NULL;
    if (c == NULL) {
        done(e, token, ENGINE_UNAVAILABLE);
        return;
    }
    l->limit = ask->limit;
    c->token = token;
}

static bool next_name(struct str *names, struct str *out)
{
    size_t n = names->n > 0 ? (unsigned char)names->p[0] : 0;

    if (n == 0)
        return false;
    *out = (struct str){.p = names->p + 1, .n = n};
    *names = str_skip(*names, n + 1);
    return true;
}

int redis_list_write(struct redis_call *c, struct buf *out)
{
    const struct listing *l = c->task;
    struct str channel = {.p = c->name, .n = c->name_len}, names = buf_view(&l->names), name;
    unsigned n = 0;

    if (l->names.len == 0)
        return resp_command(out, 5) || resp_arg(out, STR_LIT("HSCAN")) ||
                       redis_arg_name(c->server, out, "p:", channel) ||
                       resp_arg(out, str_from(l->run != 0 ? l->scan : "0")) ||
                       resp_arg(out, STR_LIT("COUNT")) || resp_arg_u64(out, l->limit)
                   ? -1
                   : 0;
    while (n < NAMES_MAX && next_name(&names, &name))
        n++;
    if (resp_command(out, 2 + n) || resp_arg(out, STR_LIT("HMGET")) ||
        redis_arg_name(c->server, out, "p:", channel))
        return -1;
    names = buf_view(&l->names);
    while (n-- > 0 && next_name(&names, &name))
        if (resp_arg(out, name) == -1)
            return -1;
    return 0;
}

/* Another server's cursor means nothing: it walks in another order. */
bool redis_list_repeatable(const struct redis_call *c)
{
    const struct listing *l = c->task;

    return l->run == 0 || l->names.len > 0;
}

/* --- replies --- */

static bool is_end(const struct listing *l)
{
    return strcmp(l->scan, "0") == 0;
}

/* Lists it, unless it is a dead node's. */
static bool show(struct redis_call *c, struct str value)
{
    struct redis *e = c->server->engine;
    struct redis_member m;

    if (!redis_member_read(value, &m)) {
        METRIC_INC(engine_malformed);
        return false;
    }
    if (!redis_node_alive(e, m.node))
        return false;
    e->engine.events->listed(e->engine.hub, c->token, m.fields);
    return true;
}

/* Client and value, in turn. -1: no memory. */
static int take_scanned(struct redis_call *c, struct str list, uint32_t n)
{
    struct redis *e = c->server->engine;
    struct listing *l = c->task;
    struct str client, value;
    uint32_t shown = 0;

    for (uint32_t i = 0; i + 1 < n; i += 2) {
        int fresh = 1;

        if (!resp_next_text(&list, &client) || !resp_next_text(&list, &value) || client.n == 0 ||
            client.n > CLIENT_INFO_ID_MAX)
            continue;
        if (l->room > 0 || !is_end(l))
            fresh = remember(e, l, client);
        if (fresh == -1)
            return -1;
        if (fresh == 0)
            continue;
        if (shown < l->limit)
            shown += show(c, value);
        else if (buf_append_char(&l->names, (char)client.n) == -1 ||
                 buf_append(&l->names, client) == -1)
            return -1;
    }
    return 0;
}

/* Values of the first n names. */
static void take_fetched(struct redis_call *c, struct str list, uint32_t n)
{
    struct listing *l = c->task;
    struct str names = buf_view(&l->names), name;
    struct resp_node node;
    uint32_t shown = 0;

    for (uint32_t i = 0; i < n && shown < l->limit; i++) {
        if (!resp_next(&list, &node) || !next_name(&names, &name))
            break;
        if (node.type == RESP_BULK)
            shown += show(c, node.text);
    }
    buf_drop(&l->names, l->names.len - names.n);
}

bool redis_list_reply(struct redis_call *c, struct str value)
{
    struct redis *e = c->server->engine;
    struct listing *l = c->task;
    uint64_t token = c->token;
    struct resp_node node;
    struct str scan;
    int rc = 0;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY)
        return false;
    if (l->names.len > 0) {
        take_fetched(c, value, node.n);
    } else {
        if (!resp_next_text(&value, &scan) || str_copy(scan, l->scan, sizeof(l->scan)) == -1 ||
            !resp_next(&value, &node))
            return false;
        l->run = redis_run(c->server);
        rc = take_scanned(c, value, node.n);
    }
    redis_call_free(c);
    if (l->names.len == 0)
        buf_fini(&l->names);
    if (rc == -1 || (l->names.len == 0 && is_end(l)))
        listing_free(e, l);
    engine_count_call(rc == 0 ? ENGINE_OK : ENGINE_UNAVAILABLE);
    done(e, token, rc == 0 ? ENGINE_OK : ENGINE_UNAVAILABLE);
    return true;
}

bool redis_stats_reply(struct redis_call *c, struct str value)
{
    struct redis *e = c->server->engine;
    uint64_t token = c->token;
    struct resp_node node;
    int64_t clients, users;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY ||
        !resp_next_number(&value, &clients) || !resp_next_number(&value, &users))
        return false;
    redis_call_free(c);
    engine_count_call(ENGINE_OK);
    e->engine.events->counted(e->engine.hub, token, (uint32_t)MIN(clients, (int64_t)UINT32_MAX),
                              (uint32_t)MIN(users, (int64_t)UINT32_MAX));
    done(e, token, ENGINE_OK);
    return true;
}

void redis_list_failed(struct redis_call *c)
{
    struct redis *e = c->server->engine;
    uint64_t token = c->token;

    if (c->kind == REDIS_LIST)
        listing_free(e, c->task);
    redis_call_free(c);
    done(e, token, ENGINE_UNAVAILABLE); /* nothing is changed by asking again */
}
