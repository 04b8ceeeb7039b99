/* proto/api/call.c - an exchange: its beginning, its time, its end. */
#include "api_internal.h"
#include "base/clock.h"
#include "base/config.h"
#include "proto/http.h"

static struct reactor_part api_calls = REACTOR_POOL("api_call", struct api_call);

static void call_free(struct api_call *call)
{
    struct list *n;

    while (!list_empty(&call->ops)) {
        n = call->ops.next;
        api_op_free(LIST_ENTRY(n, struct api_op, link));
    }
    task_remove(&call->task);
    buf_fini(&call->out);
    pool_put(reactor_pool(&api_calls), call);
}

static void abandoned(struct http_exchange *x)
{
    call_free(x->state);
}

/* The time is over: every op ends, and nothing more begins. */
static void end_all(struct api_call *call, enum close_reason why)
{
    struct list *n, *next;

    call->over = why;
    call->inside = true;
    for (n = call->ops.next; n != &call->ops; n = next) {
        struct api_op *op = LIST_ENTRY(n, struct api_op, link);

        next = n->next;
        if (op->outcome == API_UNDER_WAY)
            api_op_failed(op, why);
    }
    call->inside = false;
    api_call_moved(call);
}

/* Looks a few times within config.hub_timeout whether the hub has come nearer to the call's end. */
static void overdue(struct http_exchange *x)
{
    struct api_call *call = x->state;
    uint64_t taken = MIN(broker_taken(reactor->broker), call->end), most, quiet;

    if (taken > call->taken)
        call->moved_ns = clock_ns();
    call->taken = MAX(taken, call->taken);
    most = (uint64_t)config.hub_timeout;
    quiet = clock_ns() - call->moved_ns;
    if (quiet < most || call->under_way == 0) /* none: the task writes what has ended */
        http_defer_longer(x, quiet < most ? MIN(most - quiet, most / API_LOOKS) : most);
    else
        end_all(call, CLOSE_HUB_TIMEOUT);
}

struct api_call *api_call_new(struct http_exchange *x, enum api_form form)
{
    struct api_call *call = pool_get(reactor_pool(&api_calls));
    struct str mode = http_field_get(x->request, STR_LIT("X-Centrifugo-Error-Mode"), NULL);

    if (call == NULL) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return NULL;
    }
    call->x = x;
    call->form = form;
    call->mode = str_equal(mode, STR_LIT("transport")) ? API_TRANSPORT
                                                       : (enum api_mode)config.api_error_mode;
    call->inside = true;
    list_init(&call->ops);
    task_init(&call->task, "api_call", api_many_step);
    call->moved_ns = clock_ns();
    return call;
}

void api_call_begun(struct api_call *call)
{
    struct http_exchange *x = call->x;

    call->inside = false;
    if (call->form != API_ONE || call->under_way > 0) {
        x->state = call;
        x->abandoned = abandoned;
        x->overdue = overdue;
        http_defer(x);
        http_defer_longer(x, (uint64_t)config.hub_timeout / API_LOOKS);
    }
    if (call->form != API_ONE || call->under_way == 0)
        api_call_moved(call);
}

static void over(struct api_call *call)
{
    call->x->abandoned = NULL;
    call->x->state = NULL;
}

void api_call_no_memory(struct api_call *call)
{
    struct http_exchange *x = call->x;

    over(call);
    call_free(call);
    conn_kill(x->conn, CLOSE_NO_MEMORY); /* no answer says as much */
}

void api_call_finish(struct api_call *call)
{
    struct http_exchange *x = call->x;
    struct blob *body = blob_finish(&call->out);

    over(call);
    call_free(call);
    http_respond_blob(x, 200, API_JSON, body);
    blob_put(&body);
}

void api_call_moved(struct api_call *call)
{
    struct api_op *op;

    if (call->form != API_ONE) {
        task_add(&reactor->tasks, &call->task);
        return;
    }
    op = LIST_ENTRY(call->ops.next, struct api_op, link);
    over(call);
    api_respond_one(call, op);
    call_free(call);
}

void api_handle(struct http_exchange *x, enum api_method method)
{
    struct api_call *call = api_call_new(x, API_ONE);

    if (call == NULL)
        return;
    if (api_op_new(call, method, buf_view(&x->body)) == -1) {
        call_free(call);
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    api_call_begun(call);
}
