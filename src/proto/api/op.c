/* proto/api/op.c - one command: from its body to its outcome. */
#include "api_internal.h"
#include "base/clock.h"
#include "base/config.h"
#include "proto/session.h"

struct ops {
    struct pool pool;
    struct htab by_token;
    uint64_t serial; /* of the last op */
};

static void ops_init(void *part)
{
    pool_init(&((struct ops *)part)->pool, "api_op", sizeof(struct api_op), 0);
}

static void ops_fini(void *part)
{
    struct ops *ops = part;

    htab_fini(&ops->by_token);
    pool_fini(&ops->pool);
}

static struct reactor_part ops_part = {
    .size = sizeof(struct ops), .init = ops_init, .fini = ops_fini};

static struct ops *ops(void)
{
    return reactor_part(&ops_part);
}

static const struct {
    const struct api_method_ops *ops;
    bool changes; /* it may have been done although nobody has said so */
} methods[API_METHOD_NR] = {
#define api_subscribe_ops   api_control_ops
#define api_unsubscribe_ops api_control_ops
#define api_disconnect_ops  api_control_ops
#define api_refresh_ops     api_control_ops
#define METHOD(NAME, name, changes_, sentence)                                                     \
    [API_##NAME] = {.ops = &api_##name##_ops, .changes = (changes_)},
#include "tbl/api.def"
};

/* Tokens are numbers in a row: they need no better hash. */
static uint64_t hash_of(uint64_t token)
{
    return token * UINT64_C(0x9e3779b97f4a7c15);
}

static bool token_equal(const struct htab_node *node, const void *key)
{
    return CONTAINER_OF(node, struct api_op, node)->token == *(const uint64_t *)key;
}

static struct api_op *op_find(uint64_t token)
{
    struct htab_node *node = htab_find(&ops()->by_token, hash_of(token), token_equal, &token);

    return node == NULL ? NULL : CONTAINER_OF(node, struct api_op, node);
}

struct asker api_op_asker(const struct api_op *op)
{
    return (struct asker){SESSION_API, op->token};
}

/* ---- begin and end ---- */

static enum waiter_answer ask(struct waiter *w)
{
    struct api_op *op = CONTAINER_OF(w, struct api_op, waiter);

    return methods[op->method].ops->hand(op) ? WAITER_SERVED : WAITER_NO_ROOM;
}

static void end(struct api_op *op, enum api_outcome outcome)
{
    struct api_call *call = op->call;

    op->outcome = outcome;
    htab_remove(&ops()->by_token, &op->node);
    if (op->task.step != NULL)
        task_remove(&op->task);
    waiter_remove(&op->waiter);
    call->under_way--;
    if (!call->inside)
        api_call_moved(call);
}

int api_op_new(struct api_call *call, enum api_method method, struct str body)
{
    struct api_op *op = pool_get(&ops()->pool);

    if (op == NULL)
        return -1;
    op->call = call;
    op->method = method;
    op->token = ++ops()->serial;
    op->node.hash = hash_of(op->token);
    list_init(&op->link);
    waiter_init(&op->waiter, ask);
    if (htab_insert(&ops()->by_token, &op->node) == -1) {
        pool_put(&ops()->pool, op);
        return -1;
    }
    list_append(&call->ops, &op->link);
    call->held++;
    call->under_way++;
    if (method == API_METHOD_NR) {
        api_op_error(op, API_NOT_FOUND, "no such method");
        return 0;
    }
    if (call->over != CLOSE_NONE) {
        api_op_failed(op, call->over);
        return 0;
    }
    if (api_parse(method, body, &op->req, &op->fault) == -1) {
        if (op->fault.why != CLOSE_NONE)
            api_op_failed(op, op->fault.why);
        else
            end(op, API_UNREAD);
    } else if (api_open(op) == -1) {
        api_op_failed(op, CLOSE_NO_MEMORY);
    } else {
        methods[method].ops->begin(op);
    }
    return 0;
}

void api_op_free(struct api_op *op)
{
    if (op->outcome == API_UNDER_WAY)
        htab_remove(&ops()->by_token, &op->node);
    if (op->task.step != NULL)
        task_remove(&op->task);
    waiter_remove(&op->waiter);
    list_remove(&op->link);
    op->call->held--;
    op->call->under_way -= op->outcome == API_UNDER_WAY;
    api_request_fini(&op->req);
    buf_fini(&op->out);
    buf_fini(&op->fields);
    free(op->places);
    pool_put(&ops()->pool, op);
}

void api_op_done(struct api_op *op)
{
    if (api_close(op) == -1)
        api_op_failed(op, CLOSE_NO_MEMORY);
    else
        end(op, API_RESULT);
}

void api_op_error(struct api_op *op, enum api_code code, const char *detail)
{
    op->code = code;
    op->detail = detail;
    end(op, API_ERROR);
}

void api_op_unknown(struct api_op *op, enum close_reason why)
{
    op->why = why;
    end(op, API_UNKNOWN);
}

void api_op_unsaid(struct api_op *op)
{
    op->why = CLOSE_NO_MEMORY;
    end(op, API_UNKNOWN);
}

void api_op_failed(struct api_op *op, enum close_reason why)
{
    op->why = why;
    end(op, op->handed > 0 && methods[op->method].changes ? API_UNKNOWN : API_FAILED);
}

void api_op_refused(struct api_op *op, enum engine_status status)
{
    static const char *const details[ENGINE_STATUS_NR] = {
#define STATUS(NAME, label) [ENGINE_##NAME] = "the engine says " label,
#include "tbl/engine.def"
    };

    bool alone = config.engine == ENGINE_IS_MEMORY;

    if (status == ENGINE_UNKNOWN) {
        api_op_unknown(op, alone ? CLOSE_HUB_TIMEOUT : CLOSE_ENGINE_SILENT);
    } else if (status == ENGINE_UNAVAILABLE) {
        op->handed = 0; /* the engine is sure that it has not happened */
        api_op_failed(op, alone ? CLOSE_HUB_TIMEOUT : CLOSE_ENGINE_AWAY);
    } else if (status == ENGINE_TOO_BIG) {
        api_op_error(op, API_BAD_REQUEST, "the data is larger than the engine's server takes");
    } else { /* trying again does not help */
        api_op_error(op, API_NOT_AVAILABLE, details[status]);
    }
}

/* ---- the ring ---- */

void api_op_handed(struct api_op *op)
{
    struct api_call *call = op->call;

    op->handed++;
    if (call->end == 0)
        call->taken = broker_taken(reactor->broker);
    call->end = broker_written(reactor->broker);
    call->moved_ns = clock_ns();
}

void api_op_hand(struct api_op *op)
{
    if (!methods[op->method].ops->hand(op))
        waiters_add(&reactor->waiters, &op->waiter, false);
}

void api_answered(const struct record *r)
{
    struct api_op *op = op_find(r->token);

    if (op == NULL || !op->sent || methods[op->method].ops->answered == NULL)
        return;
    op->call->moved_ns = clock_ns();
    methods[op->method].ops->answered(op, r);
}

/* ---- channels ---- */

const char api_no_channel[] = "channel is missing";
static const char bad_channel[] =
    "a channel name has 1 to 255 bytes of printable UTF-8 without space, *, \" and \\";

const struct channel_options *api_channel_options(struct str channel, enum api_code *code,
                                                  const char **detail)
{
    const struct channel_options *o = channel_options_of(channel);

    *code = API_BAD_REQUEST;
    *detail = channel.n == 0 ? api_no_channel : bad_channel;
    if (channel.n == 0 || !channel_name_valid(channel))
        return NULL;
    /* Where nobody has configured channels a name is just a name. */
    if (o == NULL && !config.permissions)
        o = &config.channel_without_namespace;
    *code = API_UNKNOWN_CHANNEL;
    *detail = "no such namespace";
    return o;
}

const struct channel_options *api_channel(struct api_op *op, struct str channel)
{
    const char *detail;
    enum api_code code;
    const struct channel_options *o = api_channel_options(channel, &code, &detail);

    if (o == NULL)
        api_op_error(op, code, detail);
    return o;
}
