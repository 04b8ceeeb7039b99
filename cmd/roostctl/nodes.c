/* cmd/roostctl/nodes.c - the nodes that share the engine, as the one that is asked knows them. */
#include "base/out.h"
#include "ctl.h"

static bool is_true(const struct json_value *object, const char *name)
{
    struct json_value v;

    return json_get(object, str_from(name), &v) && v.type == JSON_TRUE;
}

/* What is to be known of it at once. */
static const char *state_of(const struct json_value *node)
{
    if (!is_true(node, "agrees"))
        return "differs";
    return is_true(node, "draining") ? "draining" : "up";
}

/* 78 columns. */
#define HEAD "%-16s %-7s %-8s %5s %5s %8s %8s %8s %7s\n"
#define ROW  "%-16.*s %-7.*s %-8s %5s %5s %8s %8s %8s %7s\n"

static int put_node(const struct json_value *node, struct buf *out)
{
    char clients[CTL_NUMBER_MAX], users[CTL_NUMBER_MAX], channels[CTL_NUMBER_MAX],
        subs[CTL_NUMBER_MAX], up[CTL_NUMBER_MAX], heard[CTL_NUMBER_MAX];
    struct str name = ctl_text(node, "name"), version = ctl_text(node, "version");

    return buf_printf(
        out, ROW, (int)MIN(name.n, (size_t)16), name.p, (int)MIN(version.n, (size_t)7), version.p,
        state_of(node), ctl_span(ctl_number(node, "uptime"), up),
        is_true(node, "self") ? "this" : ctl_span(ctl_number(node, "heard_ago"), heard),
        ctl_amount(ctl_number(node, "clients"), clients),
        ctl_amount(ctl_number(node, "users"), users),
        ctl_amount(ctl_number(node, "channels"), channels),
        ctl_amount(ctl_number(node, "subscriptions"), subs));
}

static int put_table(const struct json_value *nodes, struct buf *out)
{
    struct str rest = nodes->raw;
    struct json_value node;

    if (buf_printf(out, HEAD, "node", "version", "state", "up", "heard", "clients", "users",
                   "channels", "subs") == -1)
        return -1;
    while (json_element(&rest, &node))
        if (put_node(&node, out) == -1)
            return -1;
    return 0;
}

int cmd_nodes(const struct ctl_line *cmdline)
{
    struct buf body = {0}, out = {0};
    struct json_value v, nodes;
    size_t at;
    int rc = 1;

    if (ctl_ask("/debug/nodes", NULL, &body, false) == -1)
        goto out;
    if (json_parse(buf_view(&body), &v, &at) == -1 || !json_get(&v, STR_LIT("nodes"), &nodes)) {
        (void)ctl_wrong_server("its /debug/nodes lists none", false);
    } else if (cmdline->given[OPTION_NODES_JSON] != NULL) {
        out_write(buf_view(&body));
        rc = 0;
    } else if (put_table(&nodes, &out) == 0) {
        out_write(buf_view(&out));
        rc = 0;
    }
out:
    buf_fini(&body);
    buf_fini(&out);
    return rc;
}
