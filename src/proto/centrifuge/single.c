/* proto/centrifuge/single.c - personal_channel_single_connection: of a user's connections the last one stays.
 *
 * Orders of two that connect at about the same time pass each other on their way, and come late to who has connected
 * since, on every worker and node. So each is for who came before: a client has a stamp, a hybrid logical clock: ns
 * since 1970, and in any case behind every stamp that its worker has given or been sent.
 *
 * Happy path: 1. who has connected takes a stamp, and says it (DISCONNECT_EARLIER) 2. it comes to everybody: those of
 * the user with smaller stamps end. Stamps that are the same go by the clients' ids.
 *
 * A worker that begins knows no stamp of those that live. Beside a node whose clock is ahead, who connects there
 * seems to be before them: 3. the last one that is spared says its own stamp (STAMP) 4. who has just connected and is
 * before that all the same takes one that is behind it, and says it as in 1. (Who is there for longer may be the
 * earlier one, whose order was late.)
 *
 * Can fail: no room in the ring, no memory. In 1 the client ends, which comes again; in 3 and 4 both stay. So they do
 * where an order is lost: the engine is away, a node that is cut off has no log to catch up with. The user's next
 * connection ends both. */
#include "base/config.h"
#include "base/metrics.h"
#include "client.h"

#define SPOKE_MAX 100 /* in a tick: who connects without end does not make many more orders */
#define JUST_NOW  (2 * NS_PER_SEC / WHEEL_TICK_NS) /* in ticks: an order is answered by then */

struct singles {
    uint64_t newest;       /* of all stamps that have been given or sent */
    struct client *speaks; /* borrowed; who has to say something because of the order at hand */
    uint32_t spoke_tick;
    unsigned spoke; /* how many have in that tick */
};

static struct reactor_part singles_part = {.size = sizeof(struct singles)};

static struct singles *singles(void)
{
    return reactor_part(&singles_part);
}

/* ---- stamps ---- */

static uint64_t new_stamp(void)
{
    struct singles *s = singles();
    const uint64_t now = clock_wall_ns() + (clock_precise_ns() - clock_ns());

    s->newest = MAX(now, s->newest + 1);
    return s->newest;
}

static bool is_earlier(const struct client *cl, const struct control *o)
{
    const uint64_t stamp = (uint64_t)o->offset;
    char id[CLIENT_ID_TEXT];

    client_id_text(cl, id);
    return cl->connected < stamp || (cl->connected == stamp && o->whitelist.n == sizeof(id) &&
                                     memcmp(id, o->whitelist.p, sizeof(id)) < 0);
}

/* ---- what is said ---- */

/* To all of its user's. -1: no room, no memory. */
static int say(const struct client *cl, enum control_order order)
{
    static struct buf text; /* kept */
    char id[CLIENT_ID_TEXT];
    const struct control o = {.order = order,
                              .user = client_user(cl),
                              .whitelist = {id, sizeof(id)},
                              .offset = (int64_t)cl->connected};

    client_id_text(cl, id);
    buf_clear(&text);
    if (control_write(&o, &text) == -1)
        return -1;
    return broker_control(reactor->broker, (struct asker){.kind = SESSION_CENTRIFUGE},
                          BROKER_ALL_WORKERS, buf_view(&text));
}

void single_connected(struct client *cl)
{
    if (config.subscribe_to_user_personal_channel && config.personal_channel_single_connection &&
        client_user(cl).n > 0)
        cl->connected = new_stamp();
}

void single_close_earlier(struct client *cl)
{
    if (cl->connected != 0 && !client_ended(cl) && say(cl, CONTROL_DISCONNECT_EARLIER) == -1)
        client_end(cl, CLOSE_CF_INTERNAL);
}

/* ---- what is heard ---- */

static bool is_ours(unsigned order)
{
    return order == CONTROL_DISCONNECT_EARLIER || order == CONTROL_STAMP;
}

void single_heard(struct str data)
{
    struct control o;

    if (is_ours((unsigned char)data.p[0]) && control_read(data, &o) == 0)
        singles()->newest = MAX(singles()->newest, (uint64_t)o.offset);
}

/* The last one of its user's here does, when all have been looked at. */
static void speaks(struct client *cl)
{
    struct singles *s = singles();

    if (s->speaks == NULL || s->speaks->connected <= cl->connected)
        s->speaks = cl;
}

void single_disconnect_earlier(struct client *cl, const struct control *o)
{
    if (is_earlier(cl, o))
        client_end(cl, CLOSE_CF_CONNECTION_LIMIT);
    else
        speaks(cl);
}

void single_stamp(struct client *cl, const struct control *o)
{
    if (cl->connected != 0 && is_earlier(cl, o) && reactor->tick - cl->conn->since < JUST_NOW)
        speaks(cl);
}

static bool may_speak(void)
{
    struct singles *s = singles();

    if (s->spoke_tick != reactor->tick) {
        s->spoke_tick = reactor->tick;
        s->spoke = 0;
    }
    return s->spoke++ < SPOKE_MAX;
}

void single_end(const struct control *o)
{
    struct client *cl = singles()->speaks;
    enum control_order order = CONTROL_STAMP;

    singles()->speaks = NULL;
    if (!is_ours(o->order) || cl == NULL || client_ended(cl) ||
        !config.personal_channel_single_connection)
        return;
    if (o->order == CONTROL_STAMP) {
        cl->connected = new_stamp();
        order = CONTROL_DISCONNECT_EARLIER;
    }
    if (!may_speak() || say(cl, order) == -1)
        METRIC_INC(controls_lost);
}
