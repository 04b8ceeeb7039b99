/* proto/centrifuge/query.c - presence, presence_stats, history: what the hub knows of a channel.
 *
 * Happy path: 1. permission 2. the hub is asked 3. parts of its answer come and are written into
 * the reply 4. the last one: the reply goes. can fail: no room in the ring (the client waits), the
 * hub cannot, no memory for the reply (error 100). */
#include "base/config.h"
#include "client.h"
#include "core/epoch.h"
#include "encode.h"

static struct asker asker_of(const struct client *cl)
{
    return (struct asker){.kind = SESSION_CENTRIFUGE, .token = cl->conn->id};
}

/* May it ask? False: *did is what has come of it. */
static bool permitted(struct client *cl, uint32_t id, struct str channel, enum permission_op op,
                      enum client_did *did)
{
    struct permission_ask ask = {.op = op, .channel = channel, .user = client_user(cl)};
    int rc;

    *did = DID;
    if (channel.n == 0) {
        client_end(cl, CLOSE_CF_BAD_REQUEST);
        return false;
    }
    ask.subscribed = sub_find(cl, channel) != NULL;
    rc = (int)permission_check(&ask, NULL);
    if (rc != 0)
        reply_error(cl, id, (enum cf_error_code)rc);
    else if (!broker_can_publish(reactor->broker, 0, 1))
        *did = client_wait_room(cl, 0);
    else
        return true;
    return false;
}

/* The question was put (rc 0), or could not be. */
static enum client_did asked(struct client *cl, uint32_t id, int rc)
{
    cl->work->position = broker_written(reactor->broker);
    cl->work->overdue = 0;
    if (rc == 0)
        return WAITS;
    cl->work->waits = WAITS_NOT;
    reply_error(cl, id, CF_ERROR_INTERNAL);
    return DID;
}

/* What is written while the answer comes. */
static int begin(struct client *cl, const struct cf_reply *r)
{
    struct client_work *w = cl->work;

    w->id = r->id;
    buf_clear(&w->out);
    w->failed = cf_reply_open(&w->items, cl->encoding, r, &w->out) == -1;
    return w->failed ? -1 : 0;
}

/* The same where the reply's other members come last. */
static void begin_list(struct client *cl, uint32_t id)
{
    struct client_work *w = cl->work;

    w->id = id;
    w->failed = false;
    buf_clear(&w->out);
    cf_items_begin(&w->items, cl->encoding, &w->out);
}

enum client_did presence_begin(struct client *cl, const struct cf_command *c)
{
    const struct cf_reply r = {.id = c->id, .has_presence = true};
    struct str channel = c->presence.channel;
    enum client_did did;
    int rc;

    if (!permitted(cl, c->id, channel, PERMISSION_PRESENCE, &did))
        return did;
    if (client_wait(cl, WAITS_ANSWER) == -1)
        return DID;
    rc = begin(cl, &r);
    if (rc == 0)
        rc = broker_presence(reactor->broker, asker_of(cl), channel);
    return asked(cl, c->id, rc);
}

enum client_did presence_stats_begin(struct client *cl, const struct cf_command *c)
{
    struct str channel = c->presence_stats.channel;
    enum client_did did;

    if (!permitted(cl, c->id, channel, PERMISSION_PRESENCE, &did))
        return did;
    if (client_wait(cl, WAITS_ANSWER) == -1)
        return DID;
    cl->work->id = c->id;
    return asked(cl, c->id, broker_presence_stats(reactor->broker, asker_of(cl), channel));
}

static uint32_t history_limit(int32_t wanted)
{
    uint32_t most = (uint32_t)config.history_max_publication_limit;

    return wanted < 0 ? most : MIN((uint32_t)wanted, most);
}

enum client_did history_begin(struct client *cl, const struct cf_command *c)
{
    const struct cf_history_request *h = &c->history;
    struct position since = {0};
    enum client_did did;

    if (!permitted(cl, c->id, h->channel, PERMISSION_HISTORY, &did))
        return did;
    if (h->has_since && h->reverse && h->since.offset == 0) {
        reply_error(cl, c->id, CF_ERROR_BAD_REQUEST);
        return DID;
    }
    if (client_wait(cl, WAITS_ANSWER) == -1)
        return DID;
    if (h->has_since) {
        since.offset = h->since.offset;
        if (h->since.epoch.n > 0 && !epoch_read(h->since.epoch, &since.epoch))
            since.epoch = UINT64_MAX;
    }
    cl->work->since = since;
    begin_list(cl, c->id);
    return asked(cl, c->id,
                 broker_history(reactor->broker, asker_of(cl), h->channel, since,
                                history_limit(h->limit), h->reverse));
}

/* ---- the answer ---- */

static int add_members(struct cf_items *items, struct str data)
{
    struct client_info info;
    int rc;

    while ((rc = client_info_next(&data, &info)) > 0) {
        const struct cf_client_info member = {.user = info.user,
                                              .client = info.client,
                                              .conn_info = info.conn_info,
                                              .chan_info = info.chan_info};

        if (cf_add_presence_result_presence(items, info.client, &member) == -1)
            return -1;
    }
    return rc;
}

static int add_publication(struct cf_items *items, const struct record *r)
{
    static struct buf text, data; /* kept */
    struct encode_place place = {
        .offset = r->offset, .epoch = r->epoch, .flags = r->flags, .fields = r->fields};
    enum encode_form form = encode_form(items->encoding, r->flags, r->data, false);
    struct cf_publication pub;
    size_t done = 0;

    if (encode_publication(items->encoding, &place, &text, &pub) == -1)
        return -1;
    pub.data = r->data;
    pub.epoch = STR_NULL; /* the result has it */
    if (form != FORM_RAW) {
        buf_clear(&data);
        if (encode_data(items->encoding, form, r->data, SIZE_MAX, &done, &data) == -1)
            return -1;
        pub.data = buf_view(&data);
    }
    return cf_add_history_result_publications(items, &pub);
}

static void finish_history(struct client *cl, const struct record *r)
{
    struct client_work *w = cl->work;
    struct cf_reply reply = {.id = w->id, .has_history = true};
    char epoch[EPOCH_TEXT];

    if (w->since.epoch != 0 && w->since.epoch != r->epoch) {
        reply_error(cl, w->id, CF_ERROR_UNRECOVERABLE_POSITION);
        return;
    }
    if (w->failed || cf_items_end(&w->items) == -1) {
        reply_error(cl, w->id, CF_ERROR_INTERNAL);
        return;
    }
    reply.history.publications = buf_view(&w->out);
    reply.history.offset = r->offset;
    if (r->epoch != 0) {
        epoch_write(r->epoch, epoch);
        reply.history.epoch = (struct str){epoch, sizeof(epoch)};
    }
    reply_send(cl, &reply);
}

static void finish_members(struct client *cl)
{
    struct client_work *w = cl->work;
    const struct cf_reply r = {.id = w->id, .has_presence = true};
    size_t start;

    if (w->failed || cf_reply_close(&w->items, &r, &start) == -1)
        reply_error(cl, w->id, CF_ERROR_INTERNAL);
    else
        reply_raw(cl, str_skip(buf_view(&w->out), start));
}

static void finish_stats(struct client *cl, const struct record *r)
{
    const struct cf_reply reply = {
        .id = cl->work->id,
        .has_presence_stats = true,
        .presence_stats = {.num_clients = r->count, .num_users = (uint32_t)r->offset}};

    reply_send(cl, &reply);
}

void query_answered(struct client *cl, const struct record *r)
{
    struct client_work *w = cl->work;
    bool last = (r->flags & RECORD_LAST) != 0 || r->kind == RECORD_MEMBER_COUNT;

    if (w == NULL || w->waits != WAITS_ANSWER)
        return;
    if (!w->failed && r->kind == RECORD_MEMBERS)
        w->failed = add_members(&w->items, r->data) == -1;
    else if (!w->failed && r->kind == RECORD_HISTORY_PART && !last)
        w->failed = add_publication(&w->items, r) == -1;
    if (!last)
        return;
    if (r->status != ENGINE_OK)
        reply_error(cl, w->id, CF_ERROR_INTERNAL);
    else if (r->kind == RECORD_MEMBERS)
        finish_members(cl);
    else if (r->kind == RECORD_MEMBER_COUNT)
        finish_stats(cl, r);
    else
        finish_history(cl, r);
    buf_fini(&w->out);
    w->failed = false;
    client_answered(cl);
}

void query_unanswered(struct client *cl, uint64_t position)
{
    struct client_work *w = cl->work;

    if (w->waits == WAITS_ANSWER && w->overdue == 0 && w->position <= position)
        w->overdue = deadlines_unanswered(cl);
}
