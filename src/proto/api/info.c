/* proto/api/info.c - methods that ask nobody else: the node, and procedures of an application that
 * has none. */
#include "api_internal.h"

static void (*api_node_info)(struct api_node *out);

void api_info_init(void (*info)(struct api_node *out))
{
    api_node_info = info;
}

static int append_node(struct buf *out, const struct api_node *n)
{
    if (buf_append_lit(out, "{\"nodes\":[{\"uid\":") == -1 ||
        json_append_string(out, str_from(n->uid)) == -1 ||
        buf_append_lit(out, ",\"name\":") == -1 ||
        json_append_string(out, str_from(n->name)) == -1 ||
        buf_append_lit(out, ",\"version\":") == -1 ||
        json_append_string(out, str_from(n->version)) == -1)
        return -1;
    return buf_printf(out,
                      ",\"num_clients\":%llu,\"num_users\":%llu,\"num_channels\":%llu,"
                      "\"num_subs\":%llu,\"uptime\":%llu,"
                      "\"process\":{\"cpu\":%.2f,\"rss\":%llu}}]}",
                      (unsigned long long)n->num_clients, (unsigned long long)n->num_users,
                      (unsigned long long)n->num_channels, (unsigned long long)n->num_subs,
                      (unsigned long long)n->uptime_s, n->cpu, (unsigned long long)n->rss_bytes);
}

static void info_begin(struct api_op *op)
{
    struct api_node node = {0};

    api_node_info(&node);
    if (append_node(&op->out, &node) == -1)
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
