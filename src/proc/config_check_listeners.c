/* proc/config_check_listeners.c - what does not go together in the settings of listeners. */
#include "config_internal.h"
#include "net/listener.h"

/* The setting that config.listener[k] comes from: listen, admin_listen, listeners[2]. */
static const char *origin(const struct config *c, size_t k, char out[32])
{
    size_t flat = c->listeners_count - c->listeners.n;

    if (k < flat)
        snprintf(out, 32, "%s", listener_is_admin(&c->listener[k]) ? "admin_listen" : "listen");
    else
        snprintf(out, 32, "listeners[%zu]", k - flat);
    return out;
}

static int refuse(const struct config *c, size_t k, const char *text, struct buf *errors)
{
    char where[32];

    config_report(errors, origin(c, k, where), text);
    return 1;
}

static bool parsed(const struct config *c, size_t k, struct address *a)
{
    char err[200];

    return address_parse(str_from(c->listener[k].address), a, err, sizeof(err)) == 0;
}

bool config_listens_locally(const struct config *c, enum listener_kind kind)
{
    struct address a;

    for (size_t k = 0; k < c->listeners_count; k++)
        if (c->listener[k].kind == (int)kind && parsed(c, k, &a) && !address_is_loopback(&a))
            return false;
    return true;
}

/* Two listeners on one port: the kernel would share out its connections, or give them to the one
 * whose address is narrower. */
static int check_distinct(const struct config *c, size_t k, struct buf *errors)
{
    const char *mine = c->listener[k].address;
    char where[2][32];
    struct address a, b;

    for (size_t i = 0; i < k; i++) {
        if (!parsed(c, i, &b) || !parsed(c, k, &a) || !address_overlaps(&a, &b))
            continue;
        if (buf_printf(errors, "%s: %s takes in the port of %s, %s; give it another port\n",
                       origin(c, k, where[0]), mine, origin(c, i, where[1]),
                       c->listener[i].address) == -1)
            return 1;
        return 1;
    }
    return 0;
}

static int check_label(const struct config *c, size_t k, struct buf *errors)
{
    char text[LISTENER_STRING_MAX + 80];

    for (size_t i = 0; i < k; i++) {
        if (strcmp(listener_label(&c->listener[i]), listener_label(&c->listener[k])) != 0)
            continue;
        snprintf(text, sizeof(text), "there are two called %s; give them different names",
                 listener_label(&c->listener[k]));
        return refuse(c, k, text, errors);
    }
    return 0;
}

static int check_admin(const struct config *c, size_t k, struct buf *errors)
{
    struct address a;

    if (!listener_is_admin(&c->listener[k]) || c->api_key[0] != '\0' || !parsed(c, k, &a) ||
        address_is_loopback(&a))
        return 0;
    return refuse(c, k,
                  "the admin listener is not on loopback, so anybody who reaches it could publish; "
                  "set api_key (ROOST_API_KEY) or api_key_file, or admin_listen to 127.0.0.1:8001 "
                  "or off",
                  errors);
}

static int check_one(const struct config *c, size_t k, struct buf *errors)
{
    const struct listener_options *o = &c->listener[k];
    struct address a;
    char err[384];

    if (listener_table.check(o, err, sizeof(err)) == -1 ||
        address_parse(str_from(o->address), &a, err, sizeof(err)) == -1)
        return refuse(c, k, err, errors);
    if (listener_passed(o).n > 0)
        return refuse(c, k, "fd: is not there yet", errors);
    if (o->proxy_protocol && !(listener_is_unix(o) ? c->trusted.unix_peers : c->trusted.n > 0))
        return refuse(c, k,
                      listener_is_unix(o)
                          ? "proxy_protocol: nobody could connect: trusted_proxies has no unix:"
                          : "proxy_protocol: nobody could connect: trusted_proxies has no address",
                      errors);
    return check_admin(c, k, errors) + check_distinct(c, k, errors) + check_label(c, k, errors);
}

int config_check_listeners(const struct config *c, struct buf *errors)
{
    int bad = 0;

    if (c->listeners_count > LISTENERS_MAX) {
        config_report(errors, "listeners", "with listen and admin_listen there are more than 16");
        return 1;
    }
    for (size_t k = 0; k < c->listeners_count; k++)
        bad += check_one(c, k, errors);
    return bad;
}

bool config_listeners_moved(const struct config *a, const struct config *b)
{
    if (a->listeners_count != b->listeners_count)
        return true;
    for (size_t k = 0; k < a->listeners_count; k++)
        for (size_t i = 0; i < listener_table.n; i++)
            if (listener_table.rows[i].change == TABLE_RESTART &&
                !table_equal(&listener_table, &a->listener[k], &b->listener[k], i))
                return true;
    return false;
}
