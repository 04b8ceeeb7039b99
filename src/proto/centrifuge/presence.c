/* proto/centrifuge/presence.c - a client among the members of its channels: what the hub is told of it.
 *
 * Another hub is told again, by centrifuge_presence(), before anything is published: so nobody may have an info
 * that fits no record. Whoever gets another one is told of it at once, or ends (presence_change()). */
#include "client.h"

/* CLOSE_NONE, or why not. */
static enum close_reason info_write(struct client *cl, const struct client_sub *cs,
                                    struct str conn_info, struct buf *out)
{
    char id[CLIENT_ID_TEXT];
    struct client_info info = {
        .user = client_user(cl), .client = {id, sizeof(id)}, .conn_info = conn_info};

    client_id_text(cl, id);
    if (cs != NULL && cs->more != NULL)
        info.chan_info = (struct str){cs->more->info, cs->more->info_len};
    if (!client_info_fits(&info))
        return CLOSE_CF_INFO_TOO_LONG;
    return client_info_write(out, &info) == 0 ? CLOSE_NONE : CLOSE_NO_MEMORY;
}

int sub_info_write(struct client *cl, const struct client_sub *cs, struct buf *out)
{
    return info_write(cl, cs, client_conn_info(cl), out) == CLOSE_NONE ? 0 : -1;
}

/* Of one that is starting nobody has been told. */
static bool is_present(const struct client_sub *cs)
{
    return (cs->sub.flags & (CLIENT_SUB_PRESENCE | CLIENT_SUB_STARTING)) == CLIENT_SUB_PRESENCE;
}

static uint8_t tell_of(const struct client_sub *cs)
{
    return cs->sub.flags & CLIENT_SUB_TELL ? PRESENCE_TELL : 0;
}

enum close_reason presence_enter(struct client *cl, const struct client_sub *cs,
                                 struct str conn_info, uint8_t flags)
{
    struct buf info = {0};
    enum close_reason why = CLOSE_NONE;

    if (is_present(cs))
        why = info_write(cl, cs, conn_info, &info);
    if (info.len > 0 &&
        broker_presence_add(reactor->broker, &cs->sub, buf_view(&info), flags | tell_of(cs)) == -1)
        why = CLOSE_NO_MEMORY;
    buf_fini(&info);
    return why;
}

enum close_reason presence_change(struct client *cl, struct str conn_info)
{
    enum close_reason why = CLOSE_NONE;

    if (conn_info.n == 0 || str_equal(conn_info, client_conn_info(cl)))
        return CLOSE_NONE;
    if (!client_may_be(client_user(cl), conn_info))
        return CLOSE_CF_INFO_TOO_LONG;
    for (struct list *n = cl->subs.next; n != &cl->subs && why == CLOSE_NONE; n = n->next)
        why = presence_enter(cl, LIST_ENTRY(n, struct client_sub, link), conn_info, PRESENCE_AGAIN);
    if (why == CLOSE_NONE && client_identify(cl, client_user(cl), conn_info) == -1)
        why = CLOSE_NO_MEMORY;
    return why;
}

enum close_reason presence_change_sub(struct client *cl, struct client_sub *cs,
                                      struct str chan_info)
{
    struct client_sub_more *more, *before = cs->more;
    enum close_reason why;

    if (str_equal(chan_info,
                  before != NULL ? (struct str){before->info, before->info_len} : STR_NULL))
        return CLOSE_NONE;
    more = malloc(sizeof(*more) + chan_info.n);
    if (more == NULL)
        return CLOSE_NO_MEMORY;
    more->filter = before != NULL ? before->filter : NULL;
    more->info_len = chan_info.n;
    if (chan_info.n > 0)
        memcpy(more->info, chan_info.p, chan_info.n);
    cs->more = more;
    why = presence_enter(cl, cs, client_conn_info(cl), PRESENCE_AGAIN);
    if (why != CLOSE_NONE) {
        cs->more = before;
        free(more);
        return why;
    }
    free(before);
    return CLOSE_NONE;
}

void presence_leave(struct client *cl, const struct client_sub *cs)
{
    struct buf info = {0};

    if (!is_present(cs))
        return;
    if (sub_info_write(cl, cs, &info) == -1)
        buf_clear(&info);
    broker_presence_remove(reactor->broker, &cs->sub, buf_view(&info), tell_of(cs));
    buf_fini(&info);
}

int centrifuge_presence(struct sub *s, struct buf *out, bool *tell)
{
    struct client_sub *cs = client_sub_of(s);

    if (!is_present(cs))
        return 0;
    *tell = tell_of(cs) != 0;
    return sub_info_write(client_of(cs->conn), cs, out);
}
