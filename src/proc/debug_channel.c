/* proc/debug_channel.c - /debug/channel?name=: what the settings say of a channel, whether or not there is
 * one of that name now. */
#include "base/config.h"
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/channel_options.h"
#include "debug_internal.h"
#include "proto/http.h"

#define VALUE_MAX 512

static int put_options(const struct channel_options *o, struct buf *out)
{
    char text[VALUE_MAX];
    int rc = buf_append_lit(out, ",\"options\":{");

    for (size_t i = 0; i < channel_table.n && rc == 0; i++) {
        rc |= buf_printf(out, "%s\"%s\":", i > 0 ? "," : "", channel_table.rows[i].name);
        rc |= json_append_string(out, table_format(&channel_table, o, i, text, sizeof(text)));
    }
    return rc == 0 ? buf_append_char(out, '}') : -1;
}

/* Those that are not their defaults, by name. */
static int put_changed(const struct channel_options *o, struct buf *out)
{
    static struct channel_options defaults;
    const char *sep = "";
    int rc = buf_append_lit(out, ",\"changed\":[");

    table_defaults(&channel_table, &defaults);
    for (size_t i = 0; i < channel_table.n && rc == 0; i++) {
        if (table_equal(&channel_table, o, &defaults, i))
            continue;
        rc = buf_printf(out, "%s\"%s\"", sep, channel_table.rows[i].name);
        sep = ",";
    }
    return rc == 0 ? buf_append_char(out, ']') : -1;
}

static int put_channel(struct str name, struct buf *out)
{
    const struct channel_options *o = channel_options_of(name);
    bool possible = o != NULL && channel_name_valid(name); /* channel_regex binds clients alone */
    int rc = buf_append_lit(out, "{\"channel\":");

    rc |= json_append_string(out, name);
    rc |= buf_printf(out, ",\"possible\":%s,\"namespace\":", possible ? "true" : "false");
    if (o == NULL)
        return rc | buf_append_lit(out, "null,\"options\":{},\"changed\":[]}\n");
    rc |= json_append_string(out, str_from(o->name));
    rc |= put_options(o, out);
    rc |= put_changed(o, out);
    return rc | buf_append_lit(out, "}\n");
}

static void handle_channel(struct http_exchange *x)
{
    struct str rest = x->request->query, key, value;
    char name[CHANNEL_NAME_MAX];
    struct buf out = {0};
    size_t n = 0;
    bool found = false;

    while (!found && rest.p != NULL && http_query_next(&rest, &key, &value))
        found = str_equal(key, STR_LIT("name")) &&
                http_percent_decode(value, name, sizeof(name), &n) == 0;
    if (n == 0)
        http_refuse(x, CLOSE_BAD_QUERY);
    else if (put_channel((struct str){name, n}, &out) != 0)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, "application/json", STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

void debug_channel_init(void)
{
    static const struct http_resource table[] = {{.path = "/debug/channel",
                                                  .where = HTTP_ON_ADMIN,
                                                  .methods = 1u << HTTP_GET,
                                                  .needs_key = true,
                                                  .handle = handle_channel}};

    http_register(table, ARRAY_LEN(table));
}
