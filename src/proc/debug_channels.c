/* proc/debug_channels.c - GET /debug/channels: those of this node with the most subscribers, or page by page
 * by their names; the hub is asked (proto/inquiry.h). */
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/record.h"
#include "debug_internal.h"
#include "proto/inquiry.h"

#define PAGE_DEFAULT 100

/* Members of an object, {"num_clients":n} by name, as objects of an array. */
static int put_channels(struct str members, struct buf *out)
{
    struct str rest = members;
    struct json_value name, value, clients;
    const char *sep = "\n";
    int rc = 0;

    while (rc == 0 && json_member(&rest, &name, &value)) {
        if (value.type != JSON_OBJECT || !json_get(&value, STR_LIT("num_clients"), &clients))
            return -1;
        rc = buf_append_lit(out, sep);
        rc |= buf_append_lit(out, "{\"channel\":");
        rc |= buf_append(out, name.raw);
        rc |= buf_append_lit(out, ",\"subscribers\":");
        rc |= buf_append(out, clients.raw);
        rc |= buf_append_char(out, '}');
        sep = ",\n";
    }
    return rc;
}

static void channels_done(struct http_exchange *x, struct str members, uint32_t matches)
{
    struct buf object = {0}, out = {0};
    struct json_value v;
    size_t at;
    int rc = buf_append_char(&object, '{');

    if (members.n > 0)
        rc |= buf_append(&object, members);
    rc |= buf_append_char(&object, '}');
    rc |= buf_append_lit(&out, "{\"channels\":[");
    if (rc == 0 && json_parse(buf_view(&object), &v, &at) == 0)
        rc |= put_channels(v.raw, &out);
    rc |= buf_printf(&out, "],\"total\":%u}\n", matches);
    buf_fini(&object);
    debug_answer(x, &out, rc);
}

static void handle_channels(struct http_exchange *x)
{
    char pattern[CHANNEL_NAME_MAX + 1], after[CHANNEL_NAME_MAX + 1], sort[16];
    uint64_t limit = PAGE_DEFAULT;
    int given = debug_param(x, "pattern", pattern, sizeof(pattern));
    int sorted = debug_param(x, "sort", sort, sizeof(sort));
    int behind = debug_param(x, "after", after, sizeof(after));
    bool by_name = strcmp(sort, "name") == 0;
    struct str first = str_from(after);

    if (given == -1 || sorted == -1 || behind == -1 || debug_number(x, "limit", &limit) == -1 ||
        (sorted > 0 && !by_name && strcmp(sort, "subscribers") != 0) || (behind > 0 && !by_name)) {
        http_refuse(x, CLOSE_BAD_QUERY);
        return;
    }
    inquiry_channels(x, given > 0 ? str_from(pattern) : STR_LIT("*"),
                     (uint32_t)MIN(limit, (uint64_t)RECORD_PAGE_MAX), by_name ? &first : NULL,
                     channels_done);
}

void debug_channels_init(void)
{
    static const struct http_resource table[] = {
        {.path = "/debug/channels",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_channels},
    };

    http_register(table, ARRAY_LEN(table));
}
