/* proc/debug_connections.c - GET /debug/connections: this worker's table page by page, or, with a filter,
 * an order or worker=, those of all workers.
 *
 * Happy path: 1 the query becomes a struct conns_query, which every worker is asked (proto/inquiry.h) ·
 * 2 a worker walks its table in steps, chooses the first `limit` by the order, then writes those as
 * JSON, in steps · 3 the first ones of all answers are the page. */
#include <stdlib.h>

#include "debug_connections.h"
#include "debug_internal.h"
#include "net/reactor.h"
#include "proc/shm.h"

#define SCAN_MAX   65536        /* places of the table looked at for one page of this worker */
#define WALK_STEP  256          /* places looked at in one step of the task */
#define WALK_NAMES 32           /* the same where channels are compared */
#define WRITE_STEP 16           /* connections written in one step */
#define ROOM_LEFT  (128 * 1024) /* what one connection may take of an answer, and more */

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

static enum inquiry_step write_on(struct walk *w, struct buf *out)
{
    struct buf one = {0};
    int rc = 0;

    for (unsigned i = 0; i < WRITE_STEP && w->written < w->n && rc == 0; i++) {
        const struct chosen *chosen = &w->chosen[w->written];
        struct conn *c = conn_find(chosen->id);

        if (out->len > INQUIRY_ANSWER_MAX - ROOM_LEFT) { /* the rest is another page's */
            w->n = w->written;
            w->more = true;
            break;
        }
        w->written++;
        if (c == NULL) /* it has gone meanwhile */
            continue;
        buf_clear(&one);
        rc = debug_put_conn(c, own_worker, &one);
        rc |= buf_append_char(&one, '}');
        if (rc == 0 && one.len <= ROOM_LEFT / 2)
            rc = inquiry_put(out, chosen->rank, buf_view(&one));
    }
    buf_fini(&one);
    if (rc != 0)
        return INQUIRY_FAILED;
    if (w->written < w->n)
        return INQUIRY_MORE;
    /* The last item: how many there are, and whether there are more than these. */
    rc = buf_printf(&one, "[%zu,%llu,%s]", reactor->connections, (unsigned long long)w->matched,
                    w->more ? "true" : "false");
    rc |= inquiry_put(out, INT64_MIN, buf_view(&one));
    buf_fini(&one);
    return rc == 0 ? INQUIRY_DONE : INQUIRY_FAILED;
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
    int64_t rank;
    struct str json; /* n 0: there is no more of it, */
    bool cut;        /* but the worker has more */
};
struct merged {
    uint64_t total, matched;
    bool more;
    struct str last; /* id of the last one written */
};

/* Counts stand behind the items. */
static void add_counts(struct merged *m, struct source *s)
{
    struct json_value v, item;
    struct str rest;
    uint64_t numbers[2] = {0};
    unsigned i = 0;

    if (!inquiry_json(s->json, JSON_ARRAY, &v))
        return; /* of a worker that is not itself */
    for (rest = v.raw; json_element(&rest, &item); i++) {
        if (i < 2 && json_u64(&item, &numbers[i]) == -1)
            return;
        s->cut |= i == 2 && item.type == JSON_TRUE;
    }
    m->more |= s->cut;
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

/* Without an order: by worker, as far as nothing is left out. */
static struct source *first_of(struct source *sources, unsigned n, uint8_t sort)
{
    struct source *first = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (sort == SORT_NONE && (first != NULL || (sources[i].json.n == 0 && sources[i].cut)))
            break;
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
        id.type != JSON_STRING)
        return STR_NULL;
    return id.raw;
}

static int put_merged(struct source *sources, unsigned n, const struct conns_query *q,
                      struct merged *m, struct buf *out)
{
    struct source *s;
    uint32_t left = q->limit;
    const char *sep = "\n";
    int rc = 0;

    for (; left > 0 && rc == 0 && (s = first_of(sources, n, q->sort)) != NULL; advance(s, m)) {
        struct str id = id_of(s->json);

        if (id.n == 0)
            continue; /* of a worker that is not itself */
        rc = buf_append_lit(out, sep);
        rc |= buf_append(out, s->json);
        m->last = id;
        sep = ",\n";
        left--;
    }
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

    if (q->sort == SORT_NONE && m->more && m->last.n > 0) {
        rc |= buf_append_lit(out, ",\"after\":");
        rc |= buf_append(out, m->last);
    }
    if (q->sort != SORT_NONE)
        rc |= buf_printf(out, ",\"matched\":%llu", (unsigned long long)m->matched);
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
        sources[n] = (struct source){.rest = buf_view(&inq->answers[i].data)};
        advance(&sources[n++], &m);
    }
    rc |= put_merged(sources, n, &q, &m, &out);
    rc |= put_end(inq, &q, &m, &out);
    debug_answer(x, &out, rc);
}

/* ---- the request ---- */

struct listing { /* one page of this worker's */
    struct buf out;
    size_t left;
    int rc;
    uint64_t last_id;
};

static void list_conn(struct conn *c, void *arg)
{
    struct listing *l = arg;

    if (l->left == 0 || l->rc != 0)
        return;
    l->rc = buf_append_lit(&l->out, l->last_id == 0 ? "\n" : ",\n");
    l->rc |= debug_put_conn(c, own_worker, &l->out);
    l->rc |= buf_append_char(&l->out, '}');
    l->last_id = c->id;
    l->left--;
}

/* Ids hold the place in the table in their low bits. */
static void list_own(struct http_exchange *x, const struct conns_query *q)
{
    size_t cursor = q->continues ? (size_t)q->after_place + 1 : 0, looked = 0;
    struct listing l = {.left = q->limit};
    bool more = true;

    l.rc = buf_printf(&l.out, "{\"worker\":%u,\"connections\":[", own_worker);
    for (; more && l.left > 0 && looked < SCAN_MAX; looked++)
        more = reactor_scan(&cursor, 1, list_conn, &l);
    l.rc |= buf_append_lit(&l.out, "]");
    if (more && l.last_id != 0)
        l.rc |=
            buf_printf(&l.out, ",\"after\":\"%u:%llu\"", own_worker, (unsigned long long)l.last_id);
    l.rc |= buf_printf(&l.out, ",\"total\":%zu}\n", reactor->connections);
    debug_answer(x, &l.out, l.rc);
}

static void handle_connections(struct http_exchange *x)
{
    struct conns_query q;
    uint32_t worker;
    int plain = conns_query_read(x, &q, &worker);

    if (plain == -1) {
        http_refuse(x, CLOSE_BAD_QUERY);
        return;
    }
    if (plain > 0 && (q.continues == 0 || q.after_worker == own_worker)) {
        list_own(x, &q);
        return;
    }
    if (plain > 0) /* another worker's page goes on */
        worker = q.after_worker;
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
