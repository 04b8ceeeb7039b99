/* proto/api_info.c - the method that tells about the node. */
#include "api_internal.h"
#include "codec/json.h"

static void (*api_node_info)(struct api_node *out);

void api_info_init(void (*info)(struct api_node *out))
{
    api_node_info = info;
}

static int api_append_node(struct buf *out, const struct api_node *n)
{
    if (buf_append_lit(out, "{\"result\":{\"nodes\":[{\"uid\":") == -1 ||
        json_append_string(out, str_from(n->uid)) == -1 ||
        buf_append_lit(out, ",\"name\":") == -1 ||
        json_append_string(out, str_from(n->name)) == -1 ||
        buf_append_lit(out, ",\"version\":") == -1 ||
        json_append_string(out, str_from(n->version)) == -1)
        return -1;
    return buf_printf(out,
                      ",\"num_clients\":%llu,\"num_users\":%llu,\"num_channels\":%llu,"
                      "\"num_subs\":%llu,\"uptime\":%llu,"
                      "\"process\":{\"cpu\":%.2f,\"rss\":%llu}}]}}",
                      (unsigned long long)n->num_clients, (unsigned long long)n->num_users,
                      (unsigned long long)n->num_channels, (unsigned long long)n->num_subs,
                      (unsigned long long)n->uptime_s, n->cpu, (unsigned long long)n->rss_bytes);
}

void api_info(struct http_exchange *x)
{
    struct api_request req = {0};
    struct api_node node = {0};
    struct api_fault fault;
    struct buf out = {0};

    if (api_parse(API_INFO, buf_view(&x->body), &req, &fault) == -1) {
        api_answer_fault(x, &fault);
        return;
    }
    api_node_info(&node);
    if (api_append_node(&out, &node) == -1) {
        http_refuse(x, CLOSE_NO_MEMORY);
    } else {
        api_respond(x, buf_view(&out));
    }
    buf_fini(&out);
}
