/* cmd/roostctl/nodes.c - the nodes that share the engine, as the one that is asked knows them. */
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

static void put_node(const struct json_value *node, struct ctl_table *t)
{
    static const char *const amounts[] = {"clients", "users", "channels", "subscriptions"};
    char text[CTL_NUMBER_MAX];

    ctl_cell_member(t, node, "name");
    ctl_cell_member(t, node, "version");
    ctl_cell(t, "%s", state_of(node));
    ctl_cell(t, "%s", ctl_span(ctl_number(node, "uptime"), text));
    ctl_cell(t, "%s",
             is_true(node, "self") ? "this" : ctl_span(ctl_number(node, "heard_ago"), text));
    for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
        ctl_cell(t, "%s", ctl_amount(ctl_number(node, amounts[i]), text));
}

static int print_table(const struct json_value *nodes)
{
    static const struct ctl_column columns[] = {
        CTL_LEFT("node", 16), CTL_LEFT("version", 7), CTL_LEFT("state", 0),
        CTL_RIGHT("up"),      CTL_RIGHT("heard"),     CTL_RIGHT("clients"),
        CTL_RIGHT("users"),   CTL_RIGHT("channels"),  CTL_RIGHT("subs")};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct str rest = nodes->raw;
    struct json_value node;

    while (json_element(&rest, &node))
        put_node(&node, &t);
    return ctl_table_print(&t);
}

int cmd_nodes(const struct ctl_line *cmdline UNUSED)
{
    struct buf body = {0};
    struct json_value v, nodes;
    size_t at;
    int rc = 1;

    if (ctl_ask("/debug/nodes", NULL, &body, false) == -1)
        goto out;
    if (json_parse(buf_view(&body), &v, &at) == -1 || !json_get(&v, STR_LIT("nodes"), &nodes))
        (void)ctl_wrong_server("its /debug/nodes lists none", false);
    else if (ctl.output == CTL_JSON)
        rc = ctl_print_json(buf_view(&body));
    else
        rc = print_table(&nodes);
out:
    buf_fini(&body);
    return rc;
}
