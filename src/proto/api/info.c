/* proto/api/info.c - methods that ask nobody else: the node, and procedures of an application that
 * has none. */
#include "api_internal.h"

static unsigned (*api_nodes)(struct engine_node *out, unsigned max);

void api_info_init(unsigned (*nodes)(struct engine_node *out, unsigned max))
{
    api_nodes = nodes;
}

static int append_node(struct buf *out, const struct engine_node *n)
{
    if (buf_append_lit(out, "{\"uid\":") == -1 || json_append_string(out, str_from(n->uid)) == -1 ||
        buf_append_lit(out, ",\"name\":") == -1 ||
        json_append_string(out, str_from(n->name)) == -1 ||
        buf_append_lit(out, ",\"version\":") == -1 ||
        json_append_string(out, str_from(n->version)) == -1)
        return -1;
    return buf_printf(out,
                      ",\"num_clients\":%llu,\"num_users\":%llu,\"num_channels\":%llu,"
                      "\"num_subs\":%llu,\"uptime\":%llu,"
                      "\"process\":{\"cpu\":%.2f,\"rss\":%llu}}",
                      (unsigned long long)n->clients, (unsigned long long)n->users,
                      (unsigned long long)n->channels, (unsigned long long)n->subscriptions,
                      (unsigned long long)n->uptime_s, (double)n->cpu_hundredths / 100,
                      (unsigned long long)n->rss_bytes);
}

static int append_nodes(struct buf *out)
{
    static struct engine_node nodes[ENGINE_NODES_MAX]; /* not for the stack */
    unsigned n = api_nodes(nodes, ARRAY_LEN(nodes));

    if (buf_append_lit(out, "{\"nodes\":[") == -1)
        return -1;
    for (unsigned i = 0; i < n; i++)
        if ((i > 0 && buf_append_char(out, ',') == -1) || append_node(out, &nodes[i]) == -1)
            return -1;
    return buf_append_lit(out, "]}");
}

static void info_begin(struct api_op *op)
{
    if (append_nodes(&op->out) == -1)
        api_op_failed(op, CLOSE_NO_MEMORY);
    else
        api_op_done(op);
}

static void rpc_begin(struct api_op *op)
{
    api_op_error(op, API_NOT_AVAILABLE, "nothing answers procedures");
}

const struct api_method_ops api_info_ops = {.begin = info_begin};
const struct api_method_ops api_rpc_ops = {.begin = rpc_begin};
