/* proto/inquiry.c - who asks: the exchange that waits, and the answers that come. */
#include "proto/inquiry.h"

#include "base/clock.h"
#include "core/engine.h"
#include "inquiry_internal.h"
#include "net/reactor.h"

struct asked { /* malloc'ed; an inquiry on its way */
    struct list link;
    struct http_exchange *x; /* borrowed; NULL: abandoned, or over */
    struct inquiry_wish wish;
    uint64_t serial;
    unsigned waits;       /* answers that have not come */
    unsigned sent;        /* answers that have been asked for, from the first */
    bool inside;          /* of inquiry_begin(): nothing is ended yet */
    struct waiter waiter; /* for room in the ring, to ask the others */
    struct inquiry q;
    struct inquiry_answer answers[];
};

static void inquiries_init(void *part)
{
    struct inquiries *all = part;

    list_init(&all->open);
    inquiry_jobs_init(all);
}

static void asked_free(struct asked *a)
{
    list_remove(&a->link);
    waiter_remove(&a->waiter);
    for (unsigned i = 0; i < a->q.nanswers; i++)
        buf_fini(&a->answers[i].data);
    free((void *)(uintptr_t)a->q.request.p);
    free(a);
}

static void inquiries_fini(void *part)
{
    struct inquiries *all = part;

    while (!list_empty(&all->open))
        asked_free(LIST_ENTRY(all->open.next, struct asked, link));
    inquiry_jobs_fini(all);
}

static struct reactor_part inquiries_part = {
    .size = sizeof(struct inquiries), .init = inquiries_init, .fini = inquiries_fini};

struct inquiries *inquiries(void)
{
    return reactor_part(&inquiries_part);
}

void inquiry_init(const struct inquiry_config *cfg)
{
    inquiries()->cfg = *cfg;
}

void inquiry_answers(enum inquiry_kind kind, const struct inquiry_ops *ops)
{
    inquiries()->ops[kind] = ops;
}

/* ---- the end ---- */

/* Everybody has answered, or the time is over. */
static void end(struct asked *a)
{
    struct http_exchange *x = a->x;

    x->abandoned = NULL;
    x->overdue = NULL;
    x->state = NULL;
    a->wish.done(x, &a->q);
    inquiries()->nopen--;
    asked_free(a);
}

/* Who works for it in vain would else be thought to have so much to do. Where the ring has no room, the
 * time of the job runs out. */
static void stop(const struct asked *a)
{
    const struct inquiries *all = inquiries();
    const struct inquiry_head head = {
        .what = INQUIRY_STOPS,
        .kind = (uint8_t)a->wish.kind,
        .generation = all->cfg.generation,
        .serial = a->serial,
    };

    for (unsigned i = 0; i < a->sent; i++) {
        if (!a->answers[i].waits)
            continue;
        if (a->answers[i].worker == all->cfg.worker)
            inquiry_stopped(all->cfg.worker, &head);
        else
            (void)inquiry_send(a->answers[i].worker, 0, &head, STR_NULL);
    }
}

static void abandoned(struct http_exchange *x)
{
    struct asked *a = x->state;

    stop(a);
    inquiries()->nopen--;
    asked_free(a);
}

static void overdue(struct http_exchange *x)
{
    stop(x->state);
    end(x->state);
}

/* ---- answers ---- */

/* One has come to its end. May free a. */
static void over(struct asked *a, struct inquiry_answer *answer)
{
    answer->waits = false;
    if (!answer->complete)
        buf_fini(&answer->data);
    if (--a->waits == 0 && !a->inside)
        end(a);
}

static void answered(struct asked *a, struct inquiry_answer *answer)
{
    answer->complete = true;
    over(a, answer);
}

static void missing(struct asked *a, struct inquiry_answer *answer, enum inquiry_absence why)
{
    answer->absence = why;
    over(a, answer);
}

static struct asked *find(const struct inquiry_head *head)
{
    struct inquiries *all = inquiries();

    if (head->generation != all->cfg.generation)
        return NULL;
    for (struct list *n = all->open.next; n != &all->open; n = n->next) {
        struct asked *a = LIST_ENTRY(n, struct asked, link);

        if (a->serial == head->serial)
            return a;
    }
    return NULL;
}

/* False: it is of no use, or there is no memory for it. */
static bool keep(struct inquiry_answer *answer, const struct inquiry_head *head, struct str part)
{
    if ((head->flags & INQUIRY_BROKEN) || head->number != answer->data.len ||
        part.n > INQUIRY_ANSWER_MAX - answer->data.len)
        return false;
    return part.n == 0 || buf_append(&answer->data, part) == 0;
}

void inquiry_said(unsigned from, const struct inquiry_head *head, struct str part)
{
    struct asked *a = find(head);

    for (unsigned i = 0; a != NULL && i < a->q.nanswers; i++) {
        struct inquiry_answer *answer = &a->answers[i];

        if (answer->worker != from || !answer->waits)
            continue;
        if (!keep(answer, head, part))
            missing(a, answer, head->flags & INQUIRY_BUSY ? INQUIRY_IS_BUSY : INQUIRY_HAS_FAILED);
        else if (head->flags & INQUIRY_LAST)
            answered(a, answer);
        return;
    }
}

/* ---- questions ---- */

_Static_assert(INQUIRY_REQUEST_MAX <= INQUIRY_PART, "a question has the room of a part");

bool inquiry_send(unsigned worker, uint64_t token, const struct inquiry_head *head, struct str data)
{
    static char message[sizeof(*head) + INQUIRY_PART];
    size_t n = sizeof(*head) + data.n;

    if (!broker_can_publish(reactor->broker, n, 1))
        return false;
    memcpy(message, head, sizeof(*head));
    if (data.n > 0)
        memcpy(message + sizeof(*head), data.p, data.n);
    return broker_control(reactor->broker, (struct asker){SESSION_INQUIRY, token}, worker,
                          (struct str){message, n}) == 0;
}

/* Those that have not been asked, as far as there is room. False: there is none. May free a. */
static bool ask(struct asked *a)
{
    const struct inquiries *all = inquiries();
    const struct inquiry_head head = {
        .what = INQUIRY_ASKS,
        .kind = (uint8_t)a->wish.kind,
        .generation = all->cfg.generation,
        .serial = a->serial,
    };
    bool room = true;

    a->inside = true;
    for (; room && a->sent < a->q.nanswers; a->sent += room) {
        struct inquiry_answer *answer = &a->answers[a->sent];

        if (answer->worker == all->cfg.worker)
            inquiry_asked(answer->worker, &head, a->q.request);
        else if (all->cfg.is_there != NULL && !all->cfg.is_there(answer->worker))
            missing(a, answer, INQUIRY_IS_DOWN);
        else
            room = inquiry_send(answer->worker, 0, &head, a->q.request);
    }
    a->inside = false;
    if (a->waits == 0)
        end(a);
    return room;
}

static enum waiter_answer ask_on(struct waiter *w)
{
    struct asked *a = CONTAINER_OF(w, struct asked, waiter);

    return ask(a) ? WAITER_SERVED : WAITER_NO_ROOM;
}

static struct asked *asked_new(const struct inquiry_wish *w)
{
    struct inquiries *all = inquiries();
    unsigned n = w->worker == INQUIRY_ALL ? all->cfg.workers : 1;
    struct asked *a = calloc(1, sizeof(*a) + n * sizeof(a->answers[0]));
    char *request = malloc(w->request.n + 1);

    if (a == NULL || request == NULL) {
        free(a);
        free(request);
        return NULL;
    }
    if (w->request.n > 0)
        memcpy(request, w->request.p, w->request.n);
    list_init(&a->link);
    waiter_init(&a->waiter, ask_on);
    a->wish = *w;
    a->serial = ++all->serial;
    a->waits = n;
    a->q =
        (struct inquiry){.request = {request, w->request.n}, .nanswers = n, .answers = a->answers};
    for (unsigned i = 0; i < n; i++) {
        a->answers[i].worker = w->worker == INQUIRY_ALL ? i : w->worker;
        a->answers[i].waits = true;
    }
    return a;
}

void inquiry_begin(struct http_exchange *x, const struct inquiry_wish *w)
{
    struct inquiries *all = inquiries();
    struct asked *a;

    if (all->nopen >= INQUIRY_OPEN_MAX) {
        http_refuse(x, CLOSE_BUSY);
        return;
    }
    a = asked_new(w);
    if (a == NULL) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    list_append(&all->open, &a->link);
    all->nopen++;
    a->x = x;
    x->state = a;
    x->abandoned = abandoned;
    x->overdue = overdue;
    http_defer(x);
    http_defer_longer(x, INQUIRY_TIME_NS);
    if (!ask(a))
        waiters_add(&reactor->waiters, &a->waiter, false);
}

int inquiry_put_missing(const struct inquiry *q, struct buf *out)
{
    static const char *const absences[] = {[INQUIRY_IS_SILENT] = "silent",
                                           [INQUIRY_IS_DOWN] = "down",
                                           [INQUIRY_IS_BUSY] = "busy",
                                           [INQUIRY_HAS_FAILED] = "failed"};
    struct buf why = {0};
    const char *sep = "";
    int rc = buf_append_lit(out, ",\"missing\":[");

    for (unsigned i = 0; i < q->nanswers; i++) {
        if (q->answers[i].complete)
            continue;
        rc |= buf_printf(out, "%s%u", sep, q->answers[i].worker);
        rc |= buf_printf(&why, "%s\"%s\"", sep, absences[q->answers[i].absence]);
        sep = ",";
    }
    rc |= buf_append_char(out, ']');
    if (why.len > 0) {
        rc |= buf_append_lit(out, ",\"why_missing\":[");
        rc |= buf_append(out, buf_view(&why));
        rc |= buf_append_char(out, ']');
    }
    buf_fini(&why);
    return rc;
}

/* ---- lists ---- */

struct item_head {
    int64_t key;
    uint32_t len;
};

int inquiry_put(struct buf *out, int64_t key, struct str json)
{
    const struct item_head head = {.key = key, .len = (uint32_t)json.n};

    if (buf_reserve(out, sizeof(head) + json.n) == -1)
        return -1;
    if (buf_append(out, (struct str){(const char *)&head, sizeof(head)}) == -1)
        return -1;
    return buf_append(out, json);
}

bool inquiry_next(struct str *rest, int64_t *key, struct str *json)
{
    struct item_head head;

    if (rest->n < sizeof(head))
        return false;
    memcpy(&head, rest->p, sizeof(head));
    if (head.len > rest->n - sizeof(head))
        return false;
    *json = (struct str){rest->p + sizeof(head), head.len};
    *rest = str_skip(*rest, sizeof(head) + head.len);
    *key = head.key;
    return true;
}

bool inquiry_json(struct str json, enum json_type type, struct json_value *out)
{
    size_t at;

    return json_parse(json, out, &at) == 0 && out->type == type;
}

/* ---- what comes ---- */

static void control(unsigned from, struct str data)
{
    struct inquiry_head head;

    if (data.n < sizeof(head) || from >= inquiries()->cfg.workers)
        return; /* an order, or another node's */
    memcpy(&head, data.p, sizeof(head));
    data = str_skip(data, sizeof(head));
    if (head.what == INQUIRY_ASKS)
        inquiry_asked(from, &head, data);
    else if (head.what == INQUIRY_SAYS)
        inquiry_said(from, &head, data);
    else if (head.what == INQUIRY_STOPS)
        inquiry_stopped(from, &head);
}

static void hub_answered(const struct record *r)
{
    if (r->kind == RECORD_CONTROLLED)
        inquiry_taken(r->token, r->status == ENGINE_OK);
    else if (r->kind == RECORD_LISTED)
        inquiry_listed(r);
}

const struct session_ops inquiry_session_ops = {
    .sink = {.answered = hub_answered, .control = control}};
