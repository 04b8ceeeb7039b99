/* tests/unit/proto/centrifuge/orders.h - clients of a user, and orders that come to them. Include behind
 * ../harness.h. */
#ifndef TESTS_CENTRIFUGE_ORDERS_H
#define TESTS_CENTRIFUGE_ORDERS_H

#include "proto/centrifuge/client.h"

/* Its connect waits where the hub is frozen and the user has a channel of its own. */
static struct peer *client_of_user(const char *user)
{
    struct peer *p = h_open("/connection/websocket");

    assert_int_equal(client_identify(client_of(p->conn), str_from(user), STR_NULL), 0);
    h_text(p, "{\"id\":1,\"connect\":{}}");
    h_turns(4);
    return p;
}

/* Has it been told that? There are zeros in frames' lengths. */
static bool told(struct peer *p, const char *what)
{
    h_read(p);
    return memmem(p->got, p->len, what, strlen(what)) != NULL;
}

/* It has come to the worker, which has not obeyed yet. */
static void order(const struct control *o)
{
    struct buf text = {0};

    assert_int_equal(control_write(o, &text), 0);
    centrifuge_control(0, buf_view(&text));
    buf_fini(&text);
}

#endif
