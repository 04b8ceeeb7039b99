/* proc/config_check_listeners.c - what does not go together in the settings of listeners. */
#include <grp.h>
#include <pwd.h>

#include "config_internal.h"
#include "net/address.h"

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

static int wrong_name(const char *row, const char *what, const char *name, char *err, size_t errcap)
{
    snprintf(err, errcap, "%s: there is no %s %s on this machine", row, what, name);
    return -1;
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
        if (!parsed(c, i, &b) || !parsed(c, k, &a) || !address_overlaps(&a, &b) ||
            ((c->listener[i].ipv6_only || c->listener[k].ipv6_only) &&
             a.sa.ss_family != b.sa.ss_family))
            continue;
        if (buf_printf(errors, "%s: %s takes in the %s of %s, %s; give it another\n",
                       origin(c, k, where[0]), mine, address_is_unix(&a) ? "path" : "port",
                       origin(c, i, where[1]), c->listener[i].address) == -1)
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
    if (o->proxy_protocol && !(listener_is_unix(o) ? c->trusted.unix_peers : c->trusted.n > 0))
        return refuse(c, k,
                      listener_is_unix(o)
                          ? "proxy_protocol: nobody could connect: trusted_proxies has no unix:"
                          : "proxy_protocol: nobody could connect: trusted_proxies has no address",
                      errors);
    return check_admin(c, k, errors) + check_distinct(c, k, errors) + check_label(c, k, errors);
}

int config_listener_file(const struct listener_options *o, struct listener_file *out, char *err,
                         size_t errcap)
{
    const struct passwd *user;
    const struct group *group;
    uint64_t number;

    *out = (struct listener_file){
        .mode = (mode_t)strtoul(o->mode, NULL, 8), .owner = (uid_t)-1, .group = (gid_t)-1};
    if (o->owner[0] != '\0' && str_to_u64(str_from(o->owner), &number) == 0) {
        out->owner = (uid_t)number;
    } else if (o->owner[0] != '\0') {
        user = getpwnam(o->owner);
        if (user == NULL)
            return wrong_name("owner", "user", o->owner, err, errcap);
        out->owner = user->pw_uid;
    }
    if (o->group[0] != '\0' && str_to_u64(str_from(o->group), &number) == 0) {
        out->group = (gid_t)number;
    } else if (o->group[0] != '\0') {
        group = getgrnam(o->group);
        if (group == NULL)
            return wrong_name("group", "group", o->group, err, errcap);
        out->group = group->gr_gid;
    }
    return 0;
}

/* What can only be seen on the machine, and matters at the start: the socket's owner and folder. */
static int check_file(const struct config *c, size_t k, struct buf *errors)
{
    const struct listener_options *o = &c->listener[k];
    struct listener_file file;
    char err[384], where[32];

    if (!listener_is_unix(o))
        return 0;
    if (config_listener_file(o, &file, err, sizeof(err)) == -1)
        return refuse(c, k, err, errors);
    return config_check_folder(origin(c, k, where), o->address + strlen("unix:"), errors);
}

int config_check_listeners(const struct config *c, bool first, struct buf *errors)
{
    int bad = 0;

    if (c->listeners_count > LISTENERS_MAX) {
        config_report(errors, "listeners", "with listen and admin_listen there are more than 16");
        return 1;
    }
    for (size_t k = 0; k < c->listeners_count; k++)
        bad += check_one(c, k, errors) + (first ? check_file(c, k, errors) : 0);
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
