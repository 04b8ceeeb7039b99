/* proto/api/query.c - what the hub knows of channels. Its answers come in parts, which are written as
 * they come. */
#include "api_internal.h"
#include "base/config.h"
#include "core/epoch.h"
#include "core/tags.h"

const char api_too_much[] = "the answer is larger than 256 MiB";

/* Something was written to out (rc 0), or could not be. False: op has ended. */
static bool wrote(struct api_op *op, int rc)
{
    if (rc == -1)
        api_op_failed(op, CLOSE_NO_MEMORY);
    else if (op->out.len > API_MAX_ANSWER)
        api_op_error(op, API_INTERNAL, api_too_much);
    else
        return true;
    return false;
}

/* The question was put (rc 0), or there is no room in the ring. */
static bool asked(struct api_op *op, int rc)
{
    if (rc == -1)
        return false;
    op->sent = true;
    api_op_handed(op);
    return true;
}

static bool may_ask(void)
{
    return broker_can_publish(reactor->broker, 0, 1);
}

static bool has_presence(const struct channel_options *o)
{
    return o->presence;
}

/* Begins with a question about a channel that has what is asked for. */
static void begin(struct api_op *op, bool (*has)(const struct channel_options *o), const char * not,
                  const char *text)
{
    const struct channel_options *o = api_channel(op, op->req.channel);

    if (o == NULL)
        return;
    if (!has(o))
        api_op_error(op, API_NOT_AVAILABLE, not );
    else if (wrote(op, buf_append_lit(&op->out, text)))
        api_op_hand(op);
}

static const char no_presence[] = "the channel has no presence",
                  no_history[] = "the channel has no history";

/* ---- presence ---- */

static void presence_begin(struct api_op *op)
{
    begin(op, has_presence, no_presence, "{\"presence\":{");
}

static bool presence_hand(struct api_op *op)
{
    return may_ask() &&
           asked(op, broker_presence(reactor->broker, api_op_asker(op), op->req.channel));
}

static int append_members(struct api_op *op, struct str data)
{
    struct client_info info;
    int rc;

    while ((rc = client_info_next(&data, &info)) > 0) {
        if ((op->items++ > 0 && buf_append_char(&op->out, ',') == -1) ||
            json_append_string(&op->out, info.client) == -1 ||
            buf_append_char(&op->out, ':') == -1 || api_append_client_info(&op->out, &info) == -1)
            return -1;
    }
    return 0; /* of what a broken hub says the sound part is shown */
}

static void presence_answered(struct api_op *op, const struct record *r)
{
    bool last = r->flags & RECORD_LAST;

    if (r->kind != RECORD_MEMBERS)
        return;
    if (last && r->status != ENGINE_OK)
        api_op_refused(op, (enum engine_status)r->status);
    else if (wrote(op, append_members(op, r->data)) && last &&
             wrote(op, buf_append_lit(&op->out, "}}")))
        api_op_done(op);
}

const struct api_method_ops api_presence_ops = {
    .begin = presence_begin, .hand = presence_hand, .answered = presence_answered};

static void stats_begin(struct api_op *op)
{
    begin(op, has_presence, no_presence, "");
}

static bool stats_hand(struct api_op *op)
{
    return may_ask() &&
           asked(op, broker_presence_stats(reactor->broker, api_op_asker(op), op->req.channel));
}

static void stats_answered(struct api_op *op, const struct record *r)
{
    if (r->kind != RECORD_MEMBER_COUNT)
        return;
    if (r->status != ENGINE_OK)
        api_op_refused(op, (enum engine_status)r->status);
    else if (wrote(op, buf_printf(&op->out, "{\"num_clients\":%u,\"num_users\":%llu}", r->count,
                                  (unsigned long long)r->offset)))
        api_op_done(op);
}

const struct api_method_ops api_presence_stats_ops = {
    .begin = stats_begin, .hand = stats_hand, .answered = stats_answered};

/* ---- history ---- */

static void history_begin(struct api_op *op)
{
    const struct api_request *r = &op->req;

    if (r->has_since && r->reverse && r->since_offset == 0)
        api_op_error(op, API_BAD_REQUEST, "there is nothing before since.offset 0");
    else
        begin(op, channel_has_history, no_history, "{\"publications\":[");
}

/* An epoch that cannot be one of ours is none that any channel has. */
static uint64_t since_epoch(const struct api_request *r)
{
    uint64_t epoch = 0;

    if (r->since_epoch.n > 0 && !epoch_read(r->since_epoch, &epoch))
        return UINT64_MAX;
    return epoch;
}

static bool history_hand(struct api_op *op)
{
    const struct api_request *r = &op->req;
    const struct position since = {.epoch = since_epoch(r), .offset = r->since_offset};
    uint32_t limit = r->limit < 0 ? UINT32_MAX : (uint32_t)MIN(r->limit, (int64_t)UINT32_MAX);

    return may_ask() && asked(op, broker_history(reactor->broker, api_op_asker(op), r->channel,
                                                 since, limit, r->reverse));
}

static int append_publication(struct api_op *op, const struct record *r)
{
    struct buf *out = &op->out;
    struct client_info info;
    struct str field;

    if ((op->items++ > 0 && buf_append_char(out, ',') == -1) ||
        buf_append_lit(out, "{\"data\":") == -1 || api_append_data(out, r->flags, r->data) == -1)
        return -1;
    if (record_field(r->fields, FIELD_INFO, &field) && client_info_read(field, &info) == 0 &&
        (buf_append_lit(out, ",\"info\":") == -1 || api_append_client_info(out, &info) == -1))
        return -1;
    if (buf_printf(out, ",\"offset\":%llu", (unsigned long long)r->offset) == -1)
        return -1;
    if (record_field(r->fields, FIELD_TAGS, &field) &&
        (buf_append_lit(out, ",\"tags\":") == -1 || api_append_tags(out, field) == -1))
        return -1;
    return buf_append_char(out, '}');
}

static int append_end(struct api_op *op, const struct record *r)
{
    const struct position at = {.epoch = r->epoch, .offset = r->offset};

    if (buf_append_lit(&op->out, "],") == -1 || api_append_position(&op->out, at) == -1)
        return -1;
    return buf_append_char(&op->out, '}');
}

static void history_answered(struct api_op *op, const struct record *r)
{
    uint64_t epoch = since_epoch(&op->req);

    if (r->kind != RECORD_HISTORY_PART)
        return;
    if (!(r->flags & RECORD_LAST)) {
        if (!wrote(op, append_publication(op, r)))
            return;
    } else if (r->status == ENGINE_TOO_BIG) {
        api_op_error(op, API_NOT_AVAILABLE,
                     "a publication in the history is larger than the rings of this node hold");
    } else if (r->status != ENGINE_OK) {
        api_op_refused(op, (enum engine_status)r->status);
    } else if (epoch != 0 && epoch != r->epoch) {
        api_op_error(op, API_UNRECOVERABLE, "the history has begun anew since that position");
    } else if (wrote(op, append_end(op, r))) {
        api_op_done(op);
    }
}

const struct api_method_ops api_history_ops = {
    .begin = history_begin, .hand = history_hand, .answered = history_answered};

static void remove_begin(struct api_op *op)
{
    begin(op, channel_has_history, no_history, "{}");
}

static bool remove_hand(struct api_op *op)
{
    return may_ask() &&
           asked(op, broker_history_remove(reactor->broker, api_op_asker(op), op->req.channel));
}

static void remove_answered(struct api_op *op, const struct record *r)
{
    if (r->kind != RECORD_HISTORY_REMOVED)
        return;
    if (r->status == ENGINE_OK)
        api_op_done(op);
    else
        api_op_refused(op, (enum engine_status)r->status);
}

const struct api_method_ops api_history_remove_ops = {
    .begin = remove_begin, .hand = remove_hand, .answered = remove_answered};

/* ---- channels ---- */

static void channels_begin(struct api_op *op)
{
    const struct api_request *r = &op->req;

    if (r->pattern.n > CHANNEL_NAME_MAX || r->cursor.n > CHANNEL_NAME_MAX)
        api_op_error(op, API_BAD_REQUEST, "pattern is a glob, cursor a name, of at most 255 bytes");
    else if (r->limit < 0 || r->limit > RECORD_PAGE_MAX || (r->limit == 0 && r->cursor.n > 0))
        api_op_error(op, API_BAD_REQUEST, "limit is 1 to 1000, and cursor has one");
    else if (wrote(op, buf_append_lit(&op->out, "{\"channels\":{")))
        api_op_hand(op);
}

static bool channels_hand(struct api_op *op)
{
    const struct api_request *r = &op->req;
    struct str pattern = r->pattern.n == 0 ? STR_LIT("*") : r->pattern;
    bool paged = r->limit > 0;

    return may_ask() && asked(op, broker_list(reactor->broker, api_op_asker(op), pattern,
                                              paged ? (uint32_t)r->limit : API_MAX_LISTED,
                                              paged ? &r->cursor : NULL));
}

/* Beside the original's shape: only when there is more, total, and where a page goes on; only where there
 * are other nodes, how many were asked and have answered. */
static int append_listing_end(struct api_op *op, const struct record *r)
{
    uint32_t most = op->req.limit > 0 ? (uint32_t)op->req.limit : API_MAX_LISTED;

    if (buf_append_char(&op->out, '}') == -1)
        return -1;
    if (r->count > most && buf_printf(&op->out, ",\"total\":%u", r->count) == -1)
        return -1;
    if (r->count > most && r->name.n > 0 &&
        (buf_append_lit(&op->out, ",\"cursor\":") == -1 ||
         json_append_string(&op->out, r->name) == -1))
        return -1;
    if (r->epoch > 1 && buf_printf(&op->out, ",\"nodes_asked\":%llu,\"nodes_answered\":%llu%s",
                                   (unsigned long long)r->epoch, (unsigned long long)r->offset,
                                   r->offset < r->epoch ? ",\"partial\":true" : "") == -1)
        return -1;
    return buf_append_char(&op->out, '}');
}

static void channels_answered(struct api_op *op, const struct record *r)
{
    bool last = r->flags & RECORD_LAST;

    if (r->kind != RECORD_LISTED)
        return;
    if (last && r->status != ENGINE_OK) /* too many at once, or its asker was too slow */
        api_op_failed(op, CLOSE_HUB_TIMEOUT);
    else if (wrote(op, r->data.n > 0 ? buf_append(&op->out, r->data) : 0) && last &&
             wrote(op, append_listing_end(op, r)))
        api_op_done(op);
}

const struct api_method_ops api_channels_ops = {
    .begin = channels_begin, .hand = channels_hand, .answered = channels_answered};
