/* proto/inquiry_job.c - who is asked: the work, and the parts in which its outcome travels. */
#include "base/clock.h"
#include "core/engine.h"
#include "inquiry_internal.h"
#include "net/reactor.h"

struct job { /* malloc'ed */
    struct inquiry_job pub;
    struct list link;
    struct task task;
    struct waiter waiter; /* for room in the ring, for the next part */
    uint64_t token;       /* for what the hub says of the part */
    uint64_t until_ns;
    size_t sent; /* bytes of out */
    unsigned from;
    struct inquiry_head head; /* of every part */
    const struct inquiry_ops *ops;
    bool inside;  /* of its step(): it is not freed */
    bool stopped; /* nobody wants it any more */
    bool done;    /* out is complete */
    bool broken;  /* and of no use */
    char request[];
};

static void job_free(struct job *j)
{
    list_remove(&j->link);
    inquiries()->njobs--;
    task_remove(&j->task);
    waiter_remove(&j->waiter);
    if (j->ops->end != NULL)
        j->ops->end(&j->pub);
    else
        free(j->pub.state);
    buf_fini(&j->pub.out);
    free(j);
}

void inquiry_jobs_init(struct inquiries *all)
{
    list_init(&all->jobs);
}

void inquiry_jobs_fini(struct inquiries *all)
{
    while (!list_empty(&all->jobs))
        job_free(LIST_ENTRY(all->jobs.next, struct job, link));
}

/* ---- the way back ---- */

/* The next part, to another worker. False: there is no room. May free j. */
static bool send_part(struct job *j)
{
    size_t left = j->pub.out.len - j->sent, n = MIN(left, (size_t)INQUIRY_PART);
    struct str part = n > 0 ? (struct str){j->pub.out.p + j->sent, n} : STR_NULL;

    j->head.number = j->sent;
    j->head.flags = j->broken ? INQUIRY_BROKEN : n == left ? INQUIRY_LAST : 0;
    if (!inquiry_send(j->from, j->token, &j->head, part))
        return false;
    j->sent += n;
    if (j->head.flags != 0)
        job_free(j);
    return true;
}

static enum waiter_answer send_on(struct waiter *w)
{
    return send_part(CONTAINER_OF(w, struct job, waiter)) ? WAITER_SERVED : WAITER_NO_ROOM;
}

static void send_next(struct job *j)
{
    if (!send_part(j))
        waiters_add(&reactor->waiters, &j->waiter, false);
}

static struct job *job_of(uint64_t token)
{
    struct inquiries *all = inquiries();

    for (struct list *n = all->jobs.next; n != &all->jobs; n = n->next) {
        struct job *j = LIST_ENTRY(n, struct job, link);

        if (j->token == token)
            return j;
    }
    return NULL;
}

void inquiry_taken(uint64_t token, bool taken)
{
    struct job *j = job_of(token);

    if (j == NULL || !j->done)
        return;
    if (taken)
        send_next(j);
    else
        job_free(j); /* a part is lost: who asked will see that it is missing */
}

/* ---- the work ---- */

static void finish(struct job *j, bool broken)
{
    struct inquiry_head head = j->head;

    j->done = true;
    j->broken = broken || j->pub.out.len > INQUIRY_ANSWER_MAX;
    if (j->broken)
        buf_fini(&j->pub.out);
    if (j->from != inquiries()->cfg.worker) {
        send_next(j);
        return;
    }
    head.flags = j->broken ? INQUIRY_BROKEN : INQUIRY_LAST;
    inquiry_said(j->from, &head, buf_view(&j->pub.out));
    job_free(j);
}

static enum task_result job_step(struct task *t)
{
    struct job *j = CONTAINER_OF(t, struct job, task);
    enum inquiry_step s;

    j->inside = true;
    s = j->ops->step(&j->pub);
    j->inside = false;
    if (j->stopped) {
        job_free(j);
        return TASK_DONE;
    }
    if (s == INQUIRY_MORE && j->pub.out.len <= INQUIRY_ANSWER_MAX)
        return TASK_MORE;
    finish(j, s == INQUIRY_FAILED);
    return TASK_DONE;
}

static unsigned jobs_of(unsigned from)
{
    struct inquiries *all = inquiries();
    unsigned n = 0;

    for (struct list *e = all->jobs.next; e != &all->jobs; e = e->next)
        n += LIST_ENTRY(e, struct job, link)->from == from;
    return n;
}

static bool too_many(unsigned from)
{
    return inquiries()->njobs >= INQUIRY_JOBS_MAX || jobs_of(from) >= INQUIRY_OPEN_MAX;
}

/* NULL: no such question, or no memory. */
static struct job *job_new(unsigned from, const struct inquiry_head *head, struct str request)
{
    struct inquiries *all = inquiries();
    struct job *j;

    if (head->kind >= INQUIRY_NR || all->ops[head->kind] == NULL || request.n > INQUIRY_REQUEST_MAX)
        return NULL;
    j = calloc(1, sizeof(*j) + request.n);
    if (j == NULL)
        return NULL;
    if (request.n > 0)
        memcpy(j->request, request.p, request.n);
    j->pub.request = (struct str){j->request, request.n};
    j->from = from;
    j->head = *head;
    j->head.what = INQUIRY_SAYS;
    j->head.flags = 0;
    j->head.number = 0;
    j->ops = all->ops[head->kind];
    j->token = ++all->job_serial;
    j->until_ns = clock_ns() + INQUIRY_TIME_NS;
    list_append(&all->jobs, &j->link);
    all->njobs++;
    waiter_init(&j->waiter, send_on);
    task_init(&j->task, "inquiry", job_step);
    return j;
}

void inquiry_asked(unsigned from, const struct inquiry_head *head, struct str request)
{
    bool busy = too_many(from);
    struct job *j = busy ? NULL : job_new(from, head, request);
    struct inquiry_head no = *head;

    if (j != NULL) {
        task_add(&reactor->tasks, &j->task);
        return;
    }
    no.what = INQUIRY_SAYS;
    no.flags = busy ? INQUIRY_BROKEN | INQUIRY_BUSY : INQUIRY_BROKEN;
    no.number = 0;
    if (from == inquiries()->cfg.worker)
        inquiry_said(from, &no, STR_NULL);
    else if (!inquiry_send(from, 0, &no, STR_NULL))
        return; /* its time runs out */
}

void inquiry_stopped(unsigned from, const struct inquiry_head *head)
{
    struct inquiries *all = inquiries();

    for (struct list *n = all->jobs.next; n != &all->jobs; n = n->next) {
        struct job *j = LIST_ENTRY(n, struct job, link);

        if (j->from != from || j->head.generation != head->generation ||
            j->head.serial != head->serial)
            continue;
        if (j->inside) /* what it does ends who has asked */
            j->stopped = true;
        else
            job_free(j);
        return;
    }
}

void inquiry_tick(void)
{
    struct inquiries *all = inquiries();
    struct list *n, *next;

    for (n = all->jobs.next; n != &all->jobs; n = next) {
        struct job *j = LIST_ENTRY(n, struct job, link);

        next = n->next;
        if (clock_ns() >= j->until_ns)
            job_free(j);
    }
}
