/* proto/centrifuge/publish.c - publish.
 *
 * Happy path: 1. permission 2. the publication goes to the hub, with who has made it 3. PUBLISHED
 * comes 4. where the client is subscribed, the publication has been delivered to it 5. the answer.
 * Several may be on their way; the hub answers them in their order. can fail: no room in the ring
 * (the client waits for it), the hub cannot (error 100). */
#include "base/config.h"
#include "base/utf8.h"
#include "client.h"
#include "codec/json.h"

#define PENDING_MAX 256 /* publications of a client that are not answered */

static struct reactor_part published_part =
    REACTOR_POOL("centrifuge_published", struct client_published);

static void answer(struct client *cl, uint32_t id, uint16_t status)
{
    const struct cf_reply r = {.id = id, .has_publish = true};

    switch ((enum engine_status)status) {
    case ENGINE_OK:
    case ENGINE_DUPLICATE:
    case ENGINE_SUPPRESSED:
        reply_send(cl, &r);
        return;
    case ENGINE_UNAVAILABLE:
    case ENGINE_UNKNOWN:
    case ENGINE_STATUS_NR:
        reply_error(cl, id, CF_ERROR_INTERNAL);
        return;
    case ENGINE_TOO_BIG: /* the same again does not help */
        reply_error(cl, id, CF_ERROR_BAD_REQUEST);
        return;
    case ENGINE_REFUSED:
        reply_error(cl, id, CF_ERROR_NOT_AVAILABLE);
        return;
    }
}

static void published_free(struct client_work *w, struct client_published *p)
{
    list_remove(&p->link);
    w->npublished--;
    pool_put(reactor_pool(&published_part), p);
}

void publish_drop(struct client_work *w)
{
    while (!list_empty(&w->published))
        published_free(w, LIST_ENTRY(w->published.next, struct client_published, link));
}

void publish_forget(struct client *cl, const struct client_sub *cs)
{
    struct list *n;

    if (cl->work == NULL)
        return;
    for (n = cl->work->published.next; n != &cl->work->published; n = n->next) {
        struct client_published *p = LIST_ENTRY(n, struct client_published, link);

        if (p->sub == cs)
            p->sub = NULL;
    }
}

/* The first that is not answered, or NULL. */
static struct client_published *published_next(const struct client_work *w)
{
    struct list *n;

    for (n = w->published.next; n != &w->published; n = n->next) {
        struct client_published *p = LIST_ENTRY(n, struct client_published, link);

        if (!p->answered)
            return p;
    }
    return NULL;
}

static void published_answered(struct client_work *w, struct client_published *p, uint16_t status)
{
    p->answered = true;
    p->status = status;
    client_go_on(w);
}

void publish_unanswered(struct client *cl, uint64_t position)
{
    struct client_published *p;

    while ((p = published_next(cl->work)) != NULL && p->position <= position)
        published_answered(cl->work, p, ENGINE_UNKNOWN);
}

/* Answers to one client come in the order of the ring: what stands before this one has gone with a hub. */
void publish_answered(struct client *cl, const struct record *r)
{
    struct client_published *p;

    if (cl->work == NULL)
        return;
    publish_unanswered(cl, r->position);
    p = published_next(cl->work);
    if (p != NULL &&
        p->from <= r->position) /* a hub that was started again may say what was said */
        published_answered(cl->work, p, r->status);
}

bool publish_settle(struct client *cl)
{
    struct client_work *w = cl->work;

    while (!list_empty(&w->published)) {
        struct client_published *p = LIST_ENTRY(w->published.next, struct client_published, link);

        if (!p->answered)
            return true;
        if (p->sub != NULL && !broker_sub_settled(&p->sub->sub))
            return false;
        if (p->error != 0)
            reply_error(cl, p->id, (enum cf_error_code)p->error);
        else
            answer(cl, p->id, p->status);
        published_free(w, p);
    }
    if (w->waits == WAITS_PUBLISHED)
        w->waits = WAITS_NOT;
    return true;
}

/* What is known of a publication that is JSON, text or neither. */
static uint8_t kind_of(const struct client *cl, struct str data)
{
    struct json_value v;
    size_t at;

    if (cl->encoding == CF_JSON || json_parse(data, &v, &at) == 0)
        return RECORD_JSON;
    return utf8_valid(data) ? 0 : RECORD_BINARY;
}

static int write_info(struct client *cl, const struct client_sub *cs, struct buf *fields)
{
    static struct buf info; /* kept */

    buf_clear(&info);
    if (sub_info_write(cl, cs, &info) == -1)
        return -1;
    return record_add_field(fields, FIELD_INFO, buf_view(&info));
}

static struct client_published *published_new(struct client *cl, uint32_t id, struct client_sub *cs)
{
    struct client_work *w = client_work(cl);
    struct client_published *p = w != NULL ? pool_get(reactor_pool(&published_part)) : NULL;

    if (p == NULL)
        return NULL;
    p->id = id;
    p->sub = cs;
    list_append(&w->published, &p->link);
    w->npublished++;
    return p;
}

void publish_refuse(struct client *cl, uint32_t id, enum cf_error_code code)
{
    struct client_published *p;

    if (cl->work == NULL || list_empty(&cl->work->published)) {
        reply_error(cl, id, code);
        return;
    }
    p = published_new(cl, id, NULL);
    if (p == NULL) {
        client_end(cl, CLOSE_NO_MEMORY);
        return;
    }
    p->answered = true;
    p->error = (uint16_t)code;
}

static enum client_did publish(struct client *cl, const struct cf_command *c,
                               const struct channel_options *o, struct client_sub *cs)
{
    static struct buf fields; /* kept */
    struct broker_publication p = {.channel = c->publish.channel,
                                   .data = c->publish.data,
                                   .origin = {.kind = SESSION_CENTRIFUGE, .token = cl->conn->id}};
    struct client_published *pending;
    size_t bytes;

    buf_clear(&fields);
    if (write_info(cl, cs, &fields) == -1) {
        reply_error(cl, c->id, CF_ERROR_INTERNAL);
        return DID;
    }
    p.fields = buf_view(&fields);
    p.flags =
        (uint8_t)(kind_of(cl, p.data) | RECORD_WANT_ACK | (o->delta_publish ? RECORD_DELTA : 0) |
                  (o->exclude_self ? RECORD_EXCLUDE_ORIGIN : 0));
    bytes = p.data.n + p.fields.n;
    if (bytes > broker_publication_max(reactor->broker)) {
        publish_refuse(cl, c->id, CF_ERROR_LIMIT_EXCEEDED);
        return DID;
    }
    if (!broker_can_publish(reactor->broker, bytes, 1))
        return client_wait_room(cl, bytes);
    pending = published_new(cl, c->id, cs);
    if (pending == NULL) {
        client_end(cl, CLOSE_NO_MEMORY);
        return DID;
    }
    pending->from = broker_written(reactor->broker);
    if (broker_publish(reactor->broker, &p) == -1) {
        published_free(cl->work, pending);
        client_end(cl, CLOSE_CF_INTERNAL); /* there was room */
        return DID;
    }
    pending->position = broker_written(reactor->broker);
    return DID;
}

/* In JSON nothing is no value. */
static bool may_be_empty(const struct client *cl, const struct channel_options *o)
{
    return cl->encoding == CF_PROTOBUF && o != NULL &&
           o->publication_data_format == PUBLICATION_BINARY;
}

enum client_did publish_begin(struct client *cl, const struct cf_command *c)
{
    const struct cf_publish_request *r = &c->publish;
    const struct channel_options *o = NULL;
    struct client_sub *cs;
    struct permission_ask ask = {
        .op = PERMISSION_PUBLISH, .channel = r->channel, .user = client_user(cl)};
    int rc;

    if (r->channel.n == 0) {
        client_end(cl, CLOSE_CF_BAD_REQUEST);
        return DID;
    }
    if (cl->work != NULL && cl->work->npublished >= PENDING_MAX)
        return client_wait(cl, WAITS_PUBLISHED) == -1 ? DID : AGAIN;
    cs = sub_find(cl, r->channel);
    ask.subscribed = cs != NULL;
    rc = (int)permission_check(&ask, &o);
    if (r->data.n == 0 && !may_be_empty(cl, o))
        rc = CF_ERROR_BAD_REQUEST;
    if (rc == 0 && r->type != 0) /* maps */
        rc = CF_ERROR_PERMISSION_DENIED;
    if (rc == 0 && !permission_data(o, r->data))
        rc = CF_ERROR_BAD_REQUEST;
    if (rc == 0 && o->rate_limit_publish > 0 &&
        !client_paced(cl, c->id, &cl->publications, o->rate_limit_publish))
        return DID;
    if (rc == 0)
        return publish(cl, c, o, cs);
    publish_refuse(cl, c->id, (enum cf_error_code)rc);
    return DID;
}
