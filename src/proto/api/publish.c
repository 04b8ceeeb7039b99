/* proto/api/publish.c - publish and broadcast.
 *
 * A publication is answered by PUBLISHED when the hub has ordered it. Of a broadcast only those whose
 * position is of interest are, and a FENCED comes behind the last of them all. */
#include "api_internal.h"
#include "base/clock.h"
#include "base/config.h"

#define SLICE 64 /* channels of a broadcast published in one step */

/* ---- what is published ---- */

/* -1: it would not fit a record. */
static int add_fields(struct api_op *op)
{
    const struct api_request *r = &op->req;
    struct buf version = {0};
    int rc = 0;

    if (r->tags.n > 0)
        rc = record_add_field(&op->fields, FIELD_TAGS, r->tags);
    if (rc == 0 && r->exclude_client.n > 0)
        rc = record_add_field(&op->fields, FIELD_EXCLUDE, r->exclude_client);
    if (rc == 0 && r->idempotency_key.n > 0)
        rc = record_add_field(&op->fields, FIELD_IDEMPOTENCY_KEY, r->idempotency_key);
    if (rc == 0 && r->version != 0) {
        rc = buf_append(&version, (struct str){(const char *)&r->version, sizeof(r->version)});
        if (rc == 0)
            rc = buf_append(&version, r->version_epoch);
        if (rc == 0)
            rc = record_add_field(&op->fields, FIELD_VERSION, buf_view(&version));
        buf_fini(&version);
    }
    return rc;
}

static bool is_json(struct str data)
{
    struct json_value v;
    size_t at;

    return json_parse(data, &v, &at) == 0;
}

/* The payload, or NULL: op has ended. Of both, bytes count, as with the original; some libraries write
 * the member they do not use as an empty one, or as null. */
static const struct str *payload(struct api_op *op)
{
    const struct api_request *r = &op->req;
    bool binary = r->b64data.p != NULL && (r->b64data.n > 0 || r->data.p == NULL);
    const struct str *data = binary ? &r->b64data : &r->data;

    if (data->p == NULL)
        api_op_error(op, API_BAD_REQUEST, "data is missing");
    else if (data->n > (size_t)config.max_message_size)
        api_op_error(op, API_BAD_REQUEST, "data is larger than max_message_size");
    else if (add_fields(op) == -1)
        api_op_error(op, API_BAD_REQUEST,
                     "tags, idempotency_key, version_epoch or exclude_client are too long");
    else if (data->n + op->fields.len > broker_publication_max(reactor->broker))
        api_op_error(op, API_BAD_REQUEST, "data and tags are larger than ring_size allows");
    else
        return data;
    return NULL;
}

static uint8_t flags_of(const struct api_request *r, struct str data)
{
    uint8_t flags = RECORD_JSON;

    if (data.p == r->b64data.p) /* to clients that have JSON it is no string, if it can be JSON */
        flags = is_json(data) ? RECORD_BINARY | RECORD_JSON : RECORD_BINARY;
    if (r->skip_history)
        flags |= RECORD_SKIP_HISTORY;
    if (r->delta)
        flags |= RECORD_DELTA;
    if (r->exclude_client.n > 0)
        flags |= RECORD_EXCLUDE_ORIGIN;
    return flags;
}

static bool has_room(const struct api_op *op)
{
    return broker_can_publish(reactor->broker, op->data.n + op->fields.len, 1);
}

/* -1: no room in the ring. */
static int publish_to(const struct api_op *op, struct str channel, bool ack)
{
    const struct broker_publication p = {
        .channel = channel,
        .data = op->data,
        .fields = buf_view(&op->fields),
        .flags = (uint8_t)(op->flags | (ack ? RECORD_WANT_ACK : 0)),
        .origin = api_op_asker(op),
    };

    return broker_publish(reactor->broker, &p);
}

/* Is its position of interest? */
static bool is_kept(const struct api_request *r, const struct channel_options *o)
{
    return channel_has_history(o) && !r->skip_history;
}

/* Of data that is JSON: is it an object? */
static bool is_object(struct str data)
{
    while (data.n > 0 && data.p[0] <= ' ')
        data = str_skip(data, 1);
    return data.n > 0 && data.p[0] == '{';
}

static bool fits_format(const struct api_op *op, const struct channel_options *o)
{
    bool json = (op->flags & RECORD_JSON) != 0;

    switch ((enum publication_format)o->publication_data_format) {
    case PUBLICATION_JSON:
        return json;
    case PUBLICATION_JSON_OBJECT:
        return json && is_object(op->data);
    case PUBLICATION_ANY:
    case PUBLICATION_BINARY:
        break;
    }
    return true;
}

static bool take_payload(struct api_op *op)
{
    const struct str *data = payload(op);

    if (data == NULL)
        return false;
    op->data = *data;
    op->flags = flags_of(&op->req, *data);
    return true;
}

static bool succeeded(uint16_t status)
{
    return status == ENGINE_OK || status == ENGINE_DUPLICATE || status == ENGINE_SUPPRESSED;
}

static int append_result(struct buf *out, bool kept, struct position at)
{
    if (buf_append_char(out, '{') == -1 || (kept && api_append_position(out, at) == -1))
        return -1;
    return buf_append_char(out, '}');
}

/* ---- publish ---- */

static void publish_begin(struct api_op *op)
{
    const struct channel_options *o;

    if (op->req.channel.n == 0) {
        api_op_error(op, API_BAD_REQUEST, api_no_channel);
        return;
    }
    if (!take_payload(op))
        return;
    o = api_channel(op, op->req.channel);
    if (o == NULL)
        return;
    if (!fits_format(op, o)) {
        api_op_error(op, API_BAD_REQUEST, "the channel takes JSON only, or JSON objects only");
        return;
    }
    op->kept = is_kept(&op->req, o);
    api_op_hand(op);
}

static bool publish_hand(struct api_op *op)
{
    if (!has_room(op) || publish_to(op, op->req.channel, true) == -1)
        return false;
    op->sent = true;
    api_op_handed(op);
    return true;
}

static void publish_answered(struct api_op *op, const struct record *r)
{
    if (r->kind != RECORD_PUBLISHED)
        return;
    if (!succeeded(r->status))
        api_op_refused(op, (enum engine_status)r->status);
    else if (append_result(&op->out, op->kept,
                           (struct position){.epoch = r->epoch, .offset = r->offset}) == -1)
        api_op_unsaid(op);
    else
        api_op_done(op);
}

const struct api_method_ops api_publish_ops = {
    .begin = publish_begin, .hand = publish_hand, .answered = publish_answered};

/* ---- broadcast ---- */

/* To one channel. 1 done, 0 no room in the ring, -1 no memory. */
static int broadcast_one(struct api_op *op, const struct json_value *name)
{
    struct api_place *place = &op->places[op->placed];
    const struct channel_options *o;
    struct buf channel = {0};
    int rc = 1;

    if (buf_reserve(&channel, name->raw.n) == -1) /* enough: then a failure is the name's */
        return -1;
    if (json_string(name, &channel) == -1)
        buf_clear(&channel);
    o = api_channel_options(buf_view(&channel), &place->code, &place->detail);
    if (o != NULL && !fits_format(op, o)) {
        place->code = API_BAD_REQUEST;
        place->detail = "the channel takes JSON only, or JSON objects only";
    } else if (o != NULL) {
        place->kept = is_kept(&op->req, o);
        rc = publish_to(op, buf_view(&channel), place->kept) == 0;
        if (rc > 0) {
            api_op_handed(op);
            place->end = broker_written(reactor->broker);
            place->code = API_NO_ERROR;
        }
    }
    buf_fini(&channel);
    return rc;
}

/* Some of a broadcast. 1 all channels are done, 0 more is left, or no room (*full), -1 no memory.
 */
static int broadcast_slice(struct api_op *op, bool *full)
{
    struct str next = op->rest;
    struct json_value name;

    *full = false;
    for (int i = 0; i < SLICE; i++) {
        int rc;

        if (!json_element(&next, &name))
            return 1;
        rc = has_room(op) ? broadcast_one(op, &name) : 0;
        if (rc <= 0) {
            *full = rc == 0;
            return rc;
        }
        op->rest = next;
        op->placed++;
    }
    return 0;
}

/* Asks to be told when the last publication has been ordered. */
static bool broadcast_end(struct api_op *op)
{
    struct api_call *call = op->call;

    if (broker_fence(reactor->broker, api_op_asker(op)) == -1)
        return false;
    call->end = broker_written(reactor->broker);
    call->moved_ns = clock_ns();
    return true;
}

static enum task_result broadcast_step(struct task *t)
{
    struct api_op *op = CONTAINER_OF(t, struct api_op, task);
    bool full;
    int rc = broadcast_slice(op, &full);

    if (rc < 0) {
        api_op_failed(op, CLOSE_NO_MEMORY);
        return TASK_DONE;
    }
    if (rc == 0 && !full)
        return TASK_MORE;
    if (full || !broadcast_end(op))
        waiters_add(&reactor->waiters, &op->waiter, false);
    return TASK_DONE;
}

static void broadcast_begin(struct api_op *op)
{
    struct api_list channels = op->req.channels;

    if (channels.n == 0) {
        api_op_error(op, API_BAD_REQUEST, "channels is missing or empty");
        return;
    }
    if (channels.n > API_MAX_BROADCAST) {
        api_op_error(op, API_BAD_REQUEST, "more than 10000 channels");
        return;
    }
    if (!take_payload(op))
        return;
    op->places = calloc(channels.n, sizeof(*op->places));
    if (op->places == NULL) {
        api_op_failed(op, CLOSE_NO_MEMORY);
        return;
    }
    op->rest = channels.raw;
    op->sent = true; /* answers come while others are handed over */
    task_init(&op->task, "api_broadcast", broadcast_step);
    api_op_hand(op);
}

static bool broadcast_hand(struct api_op *op)
{
    if (!has_room(op))
        return false;
    task_add(&reactor->tasks, &op->task);
    return true;
}

static int append_place(const struct api_op *op, const struct api_place *p, struct buf *out)
{
    enum api_mode mode = op->call->mode;

    if (p->code != API_NO_ERROR)
        return api_append_error(out, mode, p->code, NULL, p->detail);
    if (p->kept && (!p->answered || p->status == ENGINE_UNKNOWN))
        return api_append_error(out, mode, API_INTERNAL, NULL, "outcome unknown");
    if (p->status == ENGINE_UNAVAILABLE)
        return api_append_error(out, mode, API_INTERNAL, NULL, "not done, retry");
    if (p->status == ENGINE_TOO_BIG)
        return api_append_error(out, mode, API_BAD_REQUEST, NULL,
                                "the data is larger than the engine's server takes");
    if (p->answered && !succeeded(p->status))
        return api_append_error(out, mode, API_NOT_AVAILABLE, NULL, "the engine refuses it");
    if (buf_append_lit(out, "{\"result\":") == -1 || append_result(out, p->kept, p->at) == -1)
        return -1;
    return buf_append_char(out, '}');
}

static int append_places(struct api_op *op)
{
    if (buf_append_lit(&op->out, "{\"responses\":[") == -1)
        return -1;
    for (size_t i = 0; i < op->placed; i++)
        if ((i > 0 && buf_append_char(&op->out, ',') == -1) ||
            append_place(op, &op->places[i], &op->out) == -1)
            return -1;
    return buf_append_lit(&op->out, "]}");
}

/* Answers come in the ring's order. */
static void broadcast_published(struct api_op *op, const struct record *r)
{
    struct api_place *p;

    while (op->answered < op->placed && op->places[op->answered].end <= r->position)
        op->answered++;
    if (op->answered == op->placed ||
        (op->answered > 0 && r->position < op->places[op->answered - 1].end))
        return; /* the latter: a hub that was started again says it once more */
    p = &op->places[op->answered];
    p->at = (struct position){.epoch = r->epoch, .offset = r->offset};
    p->status = r->status;
    p->answered = true;
}

static void broadcast_answered(struct api_op *op, const struct record *r)
{
    if (r->kind == RECORD_PUBLISHED)
        broadcast_published(op, r);
    else if (r->kind == RECORD_FENCED && append_places(op) == -1)
        api_op_unsaid(op);
    else if (r->kind == RECORD_FENCED)
        api_op_done(op);
}

const struct api_method_ops api_broadcast_ops = {
    .begin = broadcast_begin, .hand = broadcast_hand, .answered = broadcast_answered};
