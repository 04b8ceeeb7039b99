/* proto/api/control.c - subscribe, unsubscribe, disconnect, refresh: orders to the clients of a user,
 * which every worker is given. They are answered when each has them before it, and before whatever is
 * asked next. */
#include "proto/control.h"

#include "api_internal.h"
#include "base/config.h"
#include "base/utf8.h"
#include "codec/base64.h"
#include "core/client_info.h"
#include "core/epoch.h"
#include "proto/tokens.h"

#define CODE_MIN   3000 /* of the protocol's own; 4000 and more are the application's */
#define CODE_MAX   4999
#define REASON_MAX 123 /* RFC 6455 §5.5 */

static const struct {
    enum control_order order;
    bool channel; /* it is about one */
} orders[API_METHOD_NR] = {
    [API_SUBSCRIBE] = {CONTROL_SUBSCRIBE, true},
    [API_UNSUBSCRIBE] = {CONTROL_UNSUBSCRIBE, true},
    [API_DISCONNECT] = {CONTROL_DISCONNECT, false},
    [API_REFRESH] = {CONTROL_REFRESH, false},
};

static const char *code_fault(uint64_t code, struct str reason)
{
    if (code > CODE_MAX || (code != 0 && code < CODE_MIN))
        return "disconnect.code must be 3000 to 4999";
    return reason.n > REASON_MAX ? "disconnect.reason has more than 123 bytes" : NULL;
}

/* What clients are told of a member that may be there as bytes, too; null is nothing to tell. Bytes that
 * are no JSON become a string of it, as publications do: text as it is, or base64. text: of out. -1: no
 * memory. */
static int json_of(struct str raw, struct str bytes, struct buf *text, struct str *out)
{
    struct json_value v;
    size_t at;
    int rc = 0;

    *out = raw.p == NULL || str_equal(raw, STR_LIT("null")) ? STR_NULL : raw;
    if (bytes.n == 0)
        return 0;
    *out = bytes;
    if (json_parse(bytes, &v, &at) == 0)
        return 0;
    if (utf8_valid(bytes))
        rc = json_append_string(text, bytes);
    else if (buf_append_char(text, '"') == -1 || base64_append(text, bytes) == -1 ||
             buf_append_char(text, '"') == -1)
        rc = -1;
    *out = buf_view(text);
    return rc;
}

static void override(struct control *c, enum token_override which, enum api_wish wish)
{
    if (wish == API_SAYS_NOTHING)
        return;
    c->overridden |= 1 << which;
    if (wish == API_SAYS_YES)
        c->override |= 1 << which;
}

static void add_overrides(struct control *c, const struct api_request *r)
{
    override(c, TOKEN_PRESENCE, r->override_presence);
    override(c, TOKEN_JOIN_LEAVE, r->override_join_leave);
    override(c, TOKEN_FORCE_PUSH_JOIN_LEAVE, r->override_force_push_join_leave);
    override(c, TOKEN_FORCE_POSITIONING, r->override_force_positioning);
    override(c, TOKEN_FORCE_RECOVERY, r->override_force_recovery);
}

/* Ids, with spaces between them. Ids have none. */
static int add_whitelist(struct buf *out, struct str rest)
{
    struct json_value id;

    while (rest.p != NULL && json_element(&rest, &id))
        if (json_string(&id, out) == -1 || buf_append_char(out, ' ') == -1)
            return -1;
    return 0;
}

/* fault: what is wrong with the request, or NULL. -1: no memory. */
static int write_order(struct api_op *op, const char **fault)
{
    const struct api_request *r = &op->req;
    struct buf whitelist = {0}, info = {0}, data = {0};
    struct control c = {
        .order = orders[op->method].order,
        .user = r->user,
        .client = r->client,
        .session = r->session,
        .channel = r->channel,
        .code = (int64_t)(op->method == API_DISCONNECT ? r->disconnect_code : r->unsubscribe_code),
        .reason = op->method == API_DISCONNECT ? r->disconnect_reason : r->unsubscribe_reason,
        .expire_at = r->expire_at,
        .expired = r->expired,
        .recover = r->has_recover_since,
        .offset = (int64_t)r->recover_since_offset,
        .epoch = r->recover_since_epoch,
    };
    int rc;

    *fault = code_fault(r->disconnect_code, r->disconnect_reason);
    if (r->unsubscribe_code > UINT32_MAX)
        *fault = "unsubscribe.code is too large";
    rc = json_of(r->info, r->b64info, &info, &c.info);
    if (!client_info_fits(&(struct client_info){.user = r->user, .conn_info = c.info}))
        *fault = "user or info is too long";
    if (rc == 0 && op->method == API_SUBSCRIBE)
        rc = json_of(r->data, r->b64data, &data, &c.data);
    add_overrides(&c, r);
    if (rc == 0)
        rc = add_whitelist(&whitelist, r->whitelist.raw);
    c.whitelist = buf_view(&whitelist);
    if (rc == 0 && *fault == NULL)
        rc = control_write(&c, &op->fields);
    buf_fini(&whitelist);
    buf_fini(&info);
    buf_fini(&data);
    return rc;
}

static void control_begin(struct api_op *op)
{
    const struct api_request *r = &op->req;
    const char *fault;

    if (orders[op->method].channel && api_channel(op, r->channel) == NULL)
        return;
    if (write_order(op, &fault) == -1 || buf_append_lit(&op->out, "{}") == -1)
        api_op_failed(op, CLOSE_NO_MEMORY);
    else if (fault != NULL)
        api_op_error(op, API_BAD_REQUEST, fault);
    else if (op->fields.len > (size_t)config.max_message_size)
        api_op_error(op, API_BAD_REQUEST, "it is larger than a message may be");
    else if (r->user.n == 0 && r->client.n == 0 && r->session.n == 0)
        api_op_done(op); /* nobody is meant, which is no error of the original's */
    else
        api_op_hand(op);
}

static bool control_hand(struct api_op *op)
{
    if (broker_control(reactor->broker, api_op_asker(op), BROKER_ALL_WORKERS,
                       buf_view(&op->fields)) == -1)
        return false;
    op->sent = true;
    api_op_handed(op);
    return true;
}

static void control_answered(struct api_op *op, const struct record *r)
{
    if (r->kind != RECORD_CONTROLLED)
        return;
    if (r->status != ENGINE_OK) {
        api_op_refused(op, (enum engine_status)r->status);
        return;
    }
    if (r->epoch > 1) { /* beside the original's shape, where there are other nodes */
        op->out.len--;  /* the brace at its end */
        if (buf_printf(&op->out, "\"nodes_asked\":%llu,\"nodes_answered\":%llu}",
                       (unsigned long long)r->epoch, (unsigned long long)r->offset) == -1) {
            api_op_failed(op, CLOSE_NO_MEMORY);
            return;
        }
    }
    api_op_done(op);
}

const struct api_method_ops api_control_ops = {
    .begin = control_begin, .hand = control_hand, .answered = control_answered};
