/* proc/debug_connections.c - GET /debug/connections: those of this worker page by page, or, with a filter,
 * an order or worker=, those of all workers.
 *
 * Happy path: 1 the query becomes a struct conns_query, which every worker is asked (proto/inquiry.h) ·
 * 2 a worker walks its table in steps, chooses the first `limit` by the order, then writes those as
 * JSON, in steps, as far as its share of the page's bytes goes · 3 the first ones of all answers are the
 * page; it ends where an answer does whose worker has more. */
#include <stdlib.h>

#include "debug_connections.h"
#include "debug_internal.h"
#include "net/reactor.h"
#include "proc/shm.h"

#define WALK_STEP  256                              /* places looked at in one step of the task */
#define WALK_NAMES 32                               /* the same where channels are compared */
#define WRITE_STEP 16                               /* connections written in one step */
#define PAGE_BYTES (INQUIRY_ANSWER_MAX - 64 * 1024) /* of all answers together */

static unsigned own_worker;

/* ---- a worker's answer ---- */

struct chosen {
    int64_t rank;
    uint64_t id;
};
struct walk { /* malloc'ed */
    struct conns_query q;
    size_t cursor;
    uint64_t matched;
    size_t n, written;
    uint64_t last; /* id of the last one looked at for writing, be it gone */
    bool walked, more;
    struct chosen chosen[]; /* q.limit of them; while walking a heap, the last one on top */
};

static void sink(struct walk *w, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        struct chosen t;

        if (child >= w->n)
            return;
        if (child + 1 < w->n && w->chosen[child + 1].rank < w->chosen[child].rank)
            child++;
        if (w->chosen[i].rank <= w->chosen[child].rank)
            return;
        t = w->chosen[i];
        w->chosen[i] = w->chosen[child];
        w->chosen[child] = t;
        i = child;
    }
}

static void choose(struct walk *w, struct chosen c)
{
    if (w->n < w->q.limit) {
        w->chosen[w->n++] = c;
        if (w->n == w->q.limit)
            for (size_t i = w->n / 2; i-- > 0;)
                sink(w, i);
    } else if (w->n > 0 && c.rank > w->chosen[0].rank) {
        w->chosen[0] = c;
        sink(w, 0);
    }
}

static void visit(struct conn *c, void *arg)
{
    struct walk *w = arg;

    if (w->more || !conns_match(c, &w->q))
        return;
    w->matched++;
    if (w->q.sort == SORT_NONE && w->n == w->q.limit)
        w->more = true; /* the page is full, and this one would be the next */
    else
        choose(w, (struct chosen){conns_rank(c, w->q.sort), c->id});
}

static int first_first(const void *a, const void *b)
{
    const struct chosen *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static struct walk *walk_new(struct str request)
{
    struct conns_query q;
    struct walk *w;

    if (request.n != sizeof(q))
        return NULL;
    memcpy(&q, request.p, sizeof(q));
    q.limit = MIN(q.limit, CONNS_PAGE_MAX);
    q.room = MIN(q.room, PAGE_BYTES);
    q.network.bits = MIN(q.network.bits, (uint8_t)128);
    q.prefix[sizeof(q.prefix) - 1] = q.protocol[sizeof(q.protocol) - 1] = '\0';
    q.listener[sizeof(q.listener) - 1] = q.user[sizeof(q.user) - 1] = '\0';
    q.channel[sizeof(q.channel) - 1] = '\0';
    w = calloc(1, sizeof(*w) + q.limit * sizeof(w->chosen[0]));
    if (w == NULL)
        return NULL;
    w->q = q;
    if (q.continues != 0 && q.after_worker == own_worker)
        w->cursor = (size_t)q.after_place + 1;
    w->walked = q.continues != 0 && q.after_worker > own_worker;
    return w;
}

static void walk_on(struct walk *w)
{
    size_t places = w->q.channel[0] != '\0' ? WALK_NAMES : WALK_STEP;

    if (reactor_scan(&w->cursor, places, visit, w) && !w->more)
        return;
    w->walked = true;
    qsort(w->chosen, w->n, sizeof(w->chosen[0]), first_first);
}

/* The last item: how many there are, whether there are more than these, and behind which. */
static int write_counts(const struct walk *w, struct buf *out)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "[%zu,%llu,%s,%llu]", reactor->connections,
                     (unsigned long long)w->matched, w->more ? "true" : "false",
                     (unsigned long long)w->last);

    return inquiry_put(out, INT64_MIN, (struct str){text, (size_t)n});
}

/* The first one is written however long it is: a page gets on. */
static enum inquiry_step write_on(struct walk *w, struct buf *out)
{
    struct buf one = {0};
    int rc = 0;

    for (unsigned i = 0; i < WRITE_STEP && w->written < w->n && rc == 0; i++) {
        const struct chosen *chosen = &w->chosen[w->written];
        struct conn *c = conn_find(chosen->id);

        buf_clear(&one);
        if (c != NULL) { /* else it has gone meanwhile */
            rc = debug_put_conn(c, own_worker, &one);
            rc |= buf_append_char(&one, '}');
        }
        if (out->len > 0 && one.len > 0 && out->len + one.len > w->q.room) {
            w->n = w->written; /* the rest is another page's */
            w->more = true;
            break;
        }
        if (rc == 0 && one.len > 0)
            rc = inquiry_put(out, chosen->rank, buf_view(&one));
        w->last = chosen->id;
        w->written++;
    }
    buf_fini(&one);
    if (rc != 0)
        return INQUIRY_FAILED;
    if (w->written < w->n)
        return INQUIRY_MORE;
    return write_counts(w, out) == 0 ? INQUIRY_DONE : INQUIRY_FAILED;
}

static enum inquiry_step connections_step(struct inquiry_job *j)
{
    struct walk *w = j->state;

    if (w == NULL) {
        j->state = w = walk_new(j->request);
        if (w == NULL)
            return INQUIRY_FAILED;
    }
    if (!w->walked)
        walk_on(w);
    else
        return write_on(w, &j->out);
    return INQUIRY_MORE;
}

static const struct inquiry_ops connections_ops = {.step = connections_step};

/* ---- the page of all ---- */

struct source { /* a worker's answer, while answers are merged */
    struct str rest;
    unsigned worker;
    int64_t rank;
    struct str json; /* n 0: there is no more of it, */
    bool cut;        /* but the worker has more, */
    uint64_t last;   /* behind this one */
};
struct merged {
    uint64_t total, matched;
    bool more;
    char after[48]; /* "W:ID" of the last one that has been dealt with; empty: there is none */
};

/* Counts stand behind the items. */
static void add_counts(struct merged *m, struct source *s)
{
    struct json_value v, item;
    struct str rest;
    uint64_t numbers[4] = {0};
    unsigned i = 0;
    bool cut = false;

    if (!inquiry_json(s->json, JSON_ARRAY, &v))
        return; /* of a worker that is not itself */
    for (rest = v.raw; i < ARRAY_LEN(numbers) && json_element(&rest, &item); i++) {
        if (i == 2)
            cut = item.type == JSON_TRUE;
        else if (json_u64(&item, &numbers[i]) == -1)
            return;
    }
    s->cut = cut;
    s->last = numbers[3];
    m->more |= cut;
    m->total += numbers[0];
    m->matched += numbers[1];
}

static void advance(struct source *s, struct merged *m)
{
    if (!inquiry_next(&s->rest, &s->rank, &s->json)) {
        s->json = STR_NULL;
    } else if (s->rank == INT64_MIN) {
        add_counts(m, s);
        s->json = STR_NULL;
    }
}

/* The one that goes on; without an order by worker. NULL: none, or what would follow is left out: *ends is
 * the one whose answer that is. */
static struct source *first_of(struct source *sources, unsigned n, uint8_t sort,
                               const struct source **ends)
{
    struct source *first = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (sort == SORT_NONE && first != NULL)
            break;
        if (sources[i].json.n == 0 && sources[i].cut) {
            *ends = &sources[i];
            return NULL;
        }
        if (sources[i].json.n == 0)
            continue;
        if (first == NULL || sources[i].rank > first->rank)
            first = &sources[i];
    }
    return first;
}

/* Of a connection; STR_NULL: it is none. */
static struct str id_of(struct str json)
{
    struct json_value v, id;

    if (!inquiry_json(json, JSON_OBJECT, &v) || !json_get(&v, STR_LIT("id"), &id) ||
        id.type != JSON_STRING || id.raw.n < 2)
        return STR_NULL;
    return (struct str){id.raw.p + 1, id.raw.n - 2};
}

static void set_after(struct merged *m, unsigned worker, uint64_t id)
{
    snprintf(m->after, sizeof(m->after), "%u:%llu", worker, (unsigned long long)id);
}

/* An item is its worker's, whatever it says itself. */
static void set_after_item(struct merged *m, const struct source *s, struct str id)
{
    struct str worker;
    uint64_t n;

    if (memchr(id.p, ':', id.n) != NULL && str_cut(&id, ':', &worker) && str_to_u64(id, &n) == 0)
        set_after(m, s->worker, n);
}

static int put_merged(struct source *sources, unsigned n, const struct conns_query *q,
                      struct merged *m, struct buf *out)
{
    const struct source *ends = NULL;
    struct source *s;
    uint32_t left = q->limit;
    const char *sep = "\n";
    int rc = 0;

    for (; left > 0 && rc == 0 && (s = first_of(sources, n, q->sort, &ends)) != NULL;
         advance(s, m)) {
        struct str id = id_of(s->json);

        if (id.n == 0)
            continue; /* of a worker that is not itself */
        rc = buf_append_lit(out, sep);
        rc |= buf_append(out, s->json);
        set_after_item(m, s, id);
        sep = ",\n";
        left--;
    }
    if (ends != NULL)
        set_after(m, ends->worker, ends->last);
    for (s = sources; s < sources + n; s++) { /* counts stand behind the rest */
        for (; s->json.n > 0; advance(s, m))
            m->more = true;
    }
    return rc;
}

static int put_end(const struct inquiry *inq, const struct conns_query *q, const struct merged *m,
                   struct buf *out)
{
    int rc = buf_append_lit(out, "]");

    if (q->sort == SORT_NONE && m->more && m->after[0] != '\0')
        rc |= buf_printf(out, ",\"after\":\"%s\"", m->after);
    if (q->sort != SORT_NONE)
        rc |= buf_printf(out, ",\"matched\":%llu,\"more\":%s", (unsigned long long)m->matched,
                         m->more ? "true" : "false");
    rc |= buf_printf(out, ",\"total\":%llu", (unsigned long long)m->total);
    rc |= inquiry_put_missing(inq, out);
    return rc | buf_append_lit(out, "}\n");
}

static void connections_done(struct http_exchange *x, const struct inquiry *inq)
{
    static struct source sources[HUB_WORKERS_MAX];
    struct merged m = {0};
    struct buf out = {0};
    struct conns_query q;
    unsigned n = 0;
    int rc = buf_append_char(&out, '{');

    if (inq->nanswers == 1)
        rc |= buf_printf(&out, "\"worker\":%u,", inq->answers[0].worker);
    rc |= buf_append_lit(&out, "\"connections\":[");
    memcpy(&q, inq->request.p, sizeof(q));
    for (unsigned i = 0; i < inq->nanswers; i++) {
        if (!inq->answers[i].complete)
            continue;
        sources[n] = (struct source){.rest = buf_view(&inq->answers[i].data),
                                     .worker = inq->answers[i].worker};
        advance(&sources[n++], &m);
    }
    rc |= put_merged(sources, n, &q, &m, &out);
    rc |= put_end(inq, &q, &m, &out);
    debug_answer(x, &out, rc);
}

/* ---- the request ---- */

static void handle_connections(struct http_exchange *x)
{
    struct conns_query q;
    uint32_t worker;
    int plain = conns_query_read(x, &q, &worker);

    if (plain == -1) {
        debug_refuse_query(x);
        return;
    }
    if (plain > 0)
        worker = q.continues != 0 ? q.after_worker : own_worker;
    q.room = (uint32_t)(PAGE_BYTES / (worker == INQUIRY_ALL ? shm->workers : 1));
    inquiry_begin(x, &(struct inquiry_wish){.kind = INQUIRY_CONNECTIONS,
                                            .worker = worker,
                                            .request = {(const char *)&q, sizeof(q)},
                                            .done = connections_done});
}

void debug_connections_init(unsigned worker)
{
    static const struct http_resource table[] = {
        {.path = "/debug/connections",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_connections},
    };

    own_worker = worker;
    inquiry_answers(INQUIRY_CONNECTIONS, &connections_ops);
    http_register(table, ARRAY_LEN(table));
}
