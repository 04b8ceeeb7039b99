/* proto/centrifuge/control.c - what the server API asks of clients, or one client of its user's others.
 *
 * Happy path: 1. some worker has said it by broker_control() 2. it comes to every worker, which
 * keeps it for a task, as subscriptions may not end inside of a broker upcall 3. the task does it to
 * those of its clients that are meant. can fail: no memory (it is lost, which is logged). */
#include "base/config.h"
#include "base/log.h"
#include "client.h"
#include "core/channel_name.h"

struct message { /* malloc'ed */
    struct list link;
    size_t n;
    char data[];
};

static enum task_result control_step(struct task *t);

struct controls {
    struct list waiting; /* struct message, for: */
    struct task task;
};

static void controls_init(void *part)
{
    struct controls *c = part;

    list_init(&c->waiting);
    task_init(&c->task, "centrifuge_control", control_step);
}

static void controls_fini(void *part)
{
    struct controls *c = part;
    struct list *n;

    while ((n = list_pop(&c->waiting)) != NULL)
        free(LIST_ENTRY(n, struct message, link));
}

static struct reactor_part controls_part = {
    .size = sizeof(struct controls), .init = controls_init, .fini = controls_fini};

static struct controls *controls(void)
{
    return reactor_part(&controls_part);
}

void centrifuge_control(unsigned from UNUSED, struct str data)
{
    struct message *m;

    if (data.n == 0 || (unsigned char)data.p[0] >= CONTROL_ORDER_NR)
        return; /* no order: an inquiry's */
    m = malloc(sizeof(*m) + data.n);
    if (m == NULL) {
        LOG(LOG_ERROR, "an order to clients is lost", KV_S("reason", "no memory"));
        return;
    }
    single_heard(data);
    m->n = data.n;
    memcpy(m->data, data.p, data.n);
    list_append(&controls()->waiting, &m->link);
    task_add(&reactor->tasks, &controls()->task);
}

/* ---- orders ---- */

static void disconnect(struct client *cl, const struct control *o)
{
    if (o->code == 0)
        client_end(cl, CLOSE_CF_FORCED);
    else
        client_end_as(cl, (uint16_t)o->code, o->reason);
}

static void unsubscribe(struct client *cl, const struct control *o)
{
    uint32_t code = o->code != 0 ? (uint32_t)o->code : UNSUBSCRIBED_BY_SERVER;
    struct str reason = o->code != 0 ? o->reason : STR_LIT("server unsubscribe");
    struct list *n, *next;

    for (n = cl->subs.next; n != &cl->subs && !client_ended(cl); n = next) {
        struct client_sub *cs = LIST_ENTRY(n, struct client_sub, link);

        next = n->next;
        if (o->channel.n > 0 && !str_equal(chan_name(cs->sub.chan), o->channel))
            continue;
        if (cs->start != NULL)
            sub_cancel(cl, cs, code);
        else
            sub_end(cl, cs, code, reason);
    }
}

/* As the server API says it; any time before 1970 is as good as another, and the way to the least number of all
 * is longer than a number. */
static int64_t expires(const struct control *o)
{
    return MAX(o->expire_at, -1);
}

static void subscribe(struct client *cl, const struct control *o)
{
    const struct channel_options *options = channel_options_of(o->channel);
    const struct token_options wishes = {.info = o->info,
                                         .data = o->data,
                                         .overridden = (uint8_t)o->overridden,
                                         .override = (uint8_t)o->override};
    const struct cf_subscribe_request since = {
        .recover = true, .offset = (uint64_t)o->offset, .epoch = o->epoch};
    const struct sub_wish w = {.channel = o->channel,
                               .request = o->recover != 0 ? &since : NULL,
                               .options = &wishes,
                               .expire_at = expires(o),
                               .server = true,
                               .by_push = true};
    int rc;

    if (options == NULL || !channel_name_valid(o->channel) || sub_find(cl, o->channel) != NULL)
        return;
    if (cl->nsubs + cl->nserver >= (uint64_t)config.channel_limit) {
        client_end(cl, CLOSE_CF_CHANNEL_LIMIT);
        return;
    }
    rc = sub_begin(cl, &w);
    if (rc != 0 && rc != CF_ERROR_EXPIRED) /* that is over before it has begun */
        client_end(cl, CLOSE_CF_INTERNAL);
}

static bool has_expired(const struct control *o)
{
    return o->expired != 0 || (o->expire_at != 0 && expires(o) < client_now());
}

static void refresh(struct client *cl, const struct control *o)
{
    int64_t left = o->expire_at == 0 ? 0 : expires(o) - client_now();
    struct cf_reply r = {.has_push = true, .push = {.has_refresh = true}};
    enum close_reason why;

    if (has_expired(o)) {
        client_end(cl, CLOSE_CF_EXPIRED);
        return;
    }
    why = presence_change(cl, o->info);
    if (why != CLOSE_NONE) {
        client_end(cl, why);
        return;
    }
    cl->expire = left > 0 ? client_tick_in(left) : 0;
    deadlines_changed(cl);
    r.push.refresh.expires = left > 0;
    r.push.refresh.ttl = (uint32_t)MIN(left, (int64_t)UINT32_MAX);
    reply_send(cl, &r);
}

static void input(struct client *cl, const struct control *o)
{
    if (client_emulates(cl))
        client_input(cl, o->data);
}

static void (*const orders[CONTROL_ORDER_NR])(struct client *cl, const struct control *o) = {
    [CONTROL_DISCONNECT] = disconnect, [CONTROL_UNSUBSCRIBE] = unsubscribe,
    [CONTROL_SUBSCRIBE] = subscribe,   [CONTROL_REFRESH] = refresh,
    [CONTROL_INPUT] = input,           [CONTROL_DISCONNECT_EARLIER] = single_disconnect_earlier,
    [CONTROL_STAMP] = single_stamp,
};

/* ---- whom ---- */

static bool listed(struct str list, struct str word)
{
    struct str part;

    while (str_cut(&list, ' ', &part))
        if (part.n > 0 && str_equal(part, word))
            return true;
    return false;
}

/* Who connects when its user is to go was let in before. */
static bool may_be_meant(const struct client *cl, const struct control *o)
{
    const bool ends =
        o->order == CONTROL_DISCONNECT || (o->order == CONTROL_REFRESH && has_expired(o));

    return cl->state == CLIENT_CONNECTED || (cl->state == CLIENT_CONNECTING && ends);
}

static bool meant(const struct client *cl, const struct control *o)
{
    char id[CLIENT_ID_TEXT];
    const struct str text = {id, sizeof(id)};

    if (client_ended(cl) || !may_be_meant(cl, o))
        return false;
    client_id_text(cl, id);
    return (o->client.n == 0 || str_equal(o->client, text)) &&
           (o->user.n == 0 || str_equal(o->user, client_user(cl))) && !listed(o->whitelist, text);
}

static void visit(struct client *cl, void *arg)
{
    const struct control *o = arg;

    if (!meant(cl, o))
        return;
    reply_begin(cl);
    orders[o->order](cl, o);
    reply_end(cl);
}

static void obey(struct control *o)
{
    struct client *one = o->session.n > 0 ? client_of_session(o->session) : NULL;

    if (one != NULL)
        visit(one, o);
    else if (o->session.n == 0 && (o->user.n > 0 || o->client.n > 0))
        client_each_of(o->user, visit, o);
    single_end(o);
}

static enum task_result control_step(struct task *t UNUSED)
{
    struct list *n = list_pop(&controls()->waiting);
    struct control order;
    struct message *m;

    if (n == NULL)
        return TASK_DONE;
    m = LIST_ENTRY(n, struct message, link);
    if (control_read((struct str){m->data, m->n}, &order) == 0)
        obey(&order);
    free(m);
    return list_empty(&controls()->waiting) ? TASK_DONE : TASK_MORE;
}
