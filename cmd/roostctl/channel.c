/* cmd/roostctl/channel.c - one channel: channel, history, presence. */

#include "base/out.h"
#include "codec/http.h"
#include "core/channel_name.h"
#include "ctl.h"

#define NOT_AVAILABLE 108
#define LIMIT_DEFAULT "20"

/* {"channel":NAME and what else is asked. */
static int put_request(struct buf *out, const char *channel, const char *more)
{
    buf_clear(out);
    if (buf_append_char(out, '{') == -1 || ctl_put_text(out, "channel", str_from(channel)) == -1 ||
        buf_append_lit(out, more) == -1)
        return -1;
    return buf_append_char(out, '}');
}

/* ---- history ---- */

/* "OFFSET:EPOCH" */
static int put_since(struct buf *out, const char *text)
{
    struct str epoch = str_from(text), offset;
    uint64_t n;

    if (!str_cut(&epoch, ':', &offset) || epoch.p == NULL || str_to_u64(offset, &n) == -1) {
        fprintf(stderr,
                "roostctl: --since: expected OFFSET:EPOCH, as history prints it, got "
                "\"%.80s\"\n",
                text);
        return 2;
    }
    if (buf_printf(out, ",\"since\":{\"offset\":%llu", (unsigned long long)n) == -1 ||
        ctl_put_text(out, "epoch", epoch) == -1)
        return 1;
    return buf_append_char(out, '}') == 0 ? 0 : 1;
}

/* Exit status, 0: it is in *out. */
static int put_history_request(const struct ctl_line *line, struct buf *out)
{
    const char *limit = line->given[OPTION_HISTORY_LIMIT],
               *since = line->given[OPTION_HISTORY_SINCE];
    struct buf more = {0};
    uint64_t n;
    int rc;

    limit = limit != NULL ? limit : LIMIT_DEFAULT;
    if (str_to_u64(str_from(limit), &n) == -1 || n > INT32_MAX) {
        fprintf(stderr, "roostctl: history: --limit: expected a smaller number, got \"%.60s\"\n",
                limit);
        return 2;
    }
    /* The newest, unless it is to go on from somewhere. */
    rc = buf_printf(&more, ",\"limit\":%llu%s", (unsigned long long)n,
                    since == NULL ? ",\"reverse\":true" : "") == 0
             ? 0
             : 1;
    if (rc == 0 && since != NULL)
        rc = put_since(&more, since);
    if (rc == 0)
        rc = buf_append_char(&more, '\0') == 0 && put_request(out, line->operands[0], more.p) == 0
                 ? 0
                 : 1;
    buf_fini(&more);
    return rc;
}

static int print_publications(const struct json_value *result)
{
    static const struct ctl_column columns[] = {CTL_RIGHT("offset"), CTL_LEFT("user", 20),
                                                CTL_LEFT("tags", 30), CTL_LEFT("data", 100)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value list, one, info;
    struct str rest = STR_NULL;

    if (json_get(result, STR_LIT("publications"), &list))
        rest = list.raw;
    while (rest.n > 0 && json_element(&rest, &one)) {
        ctl_cell_member(&t, &one, "offset");
        if (json_get(&one, STR_LIT("info"), &info))
            ctl_cell_member(&t, &info, "user");
        else
            ctl_cell(&t, "-");
        ctl_cell_member(&t, &one, "tags");
        ctl_cell_member(&t, &one, "data");
    }
    out_printf("position %.0f:%.*s\n", ctl_number(result, "offset"),
               STR_ARG(ctl_text(result, "epoch")));
    return ctl_table_print(&t);
}

int cmd_history(const struct ctl_line *line)
{
    struct buf request = {0}, body = {0};
    struct json_value result;
    int rc = put_history_request(line, &request);

    if (rc == 0) {
        rc = 1;
        if (ctl_api("history", buf_view(&request), &body, &result) == 0)
            rc = ctl.output == CTL_JSON ? ctl_print_json(result.raw) : print_publications(&result);
    }
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}

/* ---- presence ---- */

static int print_clients(const struct json_value *result)
{
    static const struct ctl_column columns[] = {CTL_LEFT("client", 0), CTL_LEFT("user", 30),
                                                CTL_LEFT("conn_info", 40),
                                                CTL_LEFT("chan_info", 40)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value clients, key, one;
    struct str rest = STR_NULL;

    if (json_get(result, STR_LIT("presence"), &clients))
        rest = clients.raw;
    while (rest.n > 0 && json_member(&rest, &key, &one)) {
        ctl_cell_member(&t, &one, "client");
        ctl_cell_member(&t, &one, "user");
        ctl_cell_member(&t, &one, "conn_info");
        ctl_cell_member(&t, &one, "chan_info");
    }
    return ctl_table_print(&t);
}

int cmd_presence(const struct ctl_line *line)
{
    struct buf request = {0}, body = {0};
    struct json_value result;
    int rc = 1;

    if (put_request(&request, line->operands[0], "") == 0 &&
        ctl_api("presence", buf_view(&request), &body, &result) == 0)
        rc = ctl.output == CTL_JSON ? ctl_print_json(result.raw) : print_clients(&result);
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}

/* ---- channel ---- */

/* What a method says of the channel; not available is an answer, too: *have is false. -1: said why. */
static int ask(const char *method, const char *channel, const char *more, struct buf *body,
               struct json_value *result, bool *have)
{
    struct buf request = {0};
    struct json_value v, error;
    struct str view;
    char path[64];
    int rc = -1;

    snprintf(path, sizeof(path), "/api/%s", method);
    buf_clear(body);
    *have = false;
    if (put_request(&request, channel, more) == -1)
        goto out;
    view = buf_view(&request);
    if (ctl_ask(path, &view, body, false) == -1)
        goto out;
    if (json_parse(buf_view(body), &v, NULL) == -1) {
        rc = ctl_wrong_server("what it says is no JSON", false);
    } else if (json_get(&v, STR_LIT("result"), result)) {
        *have = true;
        rc = 0;
    } else if (json_get(&v, STR_LIT("error"), &error)) {
        rc = (int)ctl_number(&error, "code") == NOT_AVAILABLE ? 0 : -1;
        if (rc == -1)
            fprintf(stderr, "roostctl: %.*s\n", STR_ARG(ctl_text(&error, "message")));
    }
out:
    buf_fini(&request);
    return rc;
}

static int put_number(struct buf *out, const char *name, double n)
{
    char text[CTL_NUMBER_MAX];

    snprintf(text, sizeof(text), "%.0f", n);
    return ctl_put_raw(out, name, str_from(text));
}

/* The page of the listing that has the channel alone. In its pattern a '?' is any byte, and it goes by the
 * names' bytes: the last name before this one that could match has '>' in the place of the last '?'. */
static int put_page_request(const char *channel, struct buf *out)
{
    const char *mark = strrchr(channel, '?');
    char before[CHANNEL_NAME_MAX + 1];
    int rc = buf_append_lit(out, "{\"limit\":1");

    rc |= ctl_put_text(out, "pattern", str_from(channel));
    if (mark != NULL && str_copy(str_from(channel), before, sizeof(before)) == 0) {
        before[mark - channel] = '?' - 1;
        rc |= ctl_put_text(out, "cursor", str_from(before));
    }
    return rc | buf_append_char(out, '}');
}

/* lacks: those of a node that did not answer. */
static int put_subscribers(const char *channel, struct buf *out, bool *lacks)
{
    struct buf body = {0}, request = {0};
    struct json_value result, channels, info, partial;
    double n = 0;
    int rc = -1;

    if (put_page_request(channel, &request) == 0 &&
        ctl_api("channels", buf_view(&request), &body, &result) == 0) {
        if (json_get(&result, STR_LIT("channels"), &channels) &&
            json_get(&channels, str_from(channel), &info))
            n = ctl_number(&info, "num_clients");
        rc = put_number(out, "subscribers", n);
        *lacks = json_get(&result, STR_LIT("partial"), &partial);
        if (*lacks)
            rc |= ctl_put_raw(out, "partial", STR_LIT("true"));
    }
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}

/* The position is that of the newest; between it and the oldest that is kept are all. */
static int put_history(const char *channel, struct buf *out)
{
    struct buf body = {0};
    struct json_value result, list, oldest;
    struct str rest;
    double newest, kept = 0;
    bool have;
    int rc = ask("history", channel, ",\"limit\":1", &body, &result, &have);

    if (rc == 0 && have) {
        newest = ctl_number(&result, "offset");
        if (json_get(&result, STR_LIT("publications"), &list)) {
            rest = list.raw;
            if (json_element(&rest, &oldest))
                kept = newest - ctl_number(&oldest, "offset") + 1;
        }
        rc |= put_number(out, "offset", newest);
        rc |= ctl_put_text(out, "epoch", ctl_text(&result, "epoch"));
        rc |= put_number(out, "kept", kept);
    }
    buf_fini(&body);
    return rc;
}

static int put_presence(const char *channel, struct buf *out)
{
    struct buf body = {0};
    struct json_value result;
    bool have;
    int rc = ask("presence_stats", channel, "", &body, &result, &have);

    if (rc == 0 && have) {
        rc |= put_number(out, "clients", ctl_number(&result, "num_clients"));
        rc |= put_number(out, "users", ctl_number(&result, "num_users"));
    }
    buf_fini(&body);
    return rc;
}

/* What the settings say of it, with all options as JSON, and else those that somebody has changed. */
static int put_settings(const struct json_value *page, struct buf *out)
{
    struct json_value v, names, options, name;
    struct str rest;
    int rc = 0;

    if (json_get(page, STR_LIT("namespace"), &v))
        rc |= ctl_put_raw(out, "namespace", v.raw);
    if (!json_get(page, STR_LIT("options"), &options) ||
        !json_get(page, STR_LIT("changed"), &names))
        return rc;
    if (ctl.output == CTL_JSON) {
        rc |= ctl_put_raw(out, "options", options.raw);
        return rc | ctl_put_raw(out, "changed", names.raw);
    }
    rest = names.raw;
    while (json_element(&rest, &name)) {
        struct str plain = {name.raw.p + 1, name.raw.n - 2};
        char text[128];

        if (json_get(&options, plain, &v) && str_copy(plain, text, sizeof(text)) == 0)
            rc |= ctl_put_raw(out, text, v.raw);
    }
    return rc;
}

static int put_page(const char *channel, struct buf *out, bool *possible)
{
    struct buf path = {0}, body = {0};
    struct json_value page, v;
    int rc = -1;

    if (buf_append_lit(&path, "/debug/channel?name=") == 0 &&
        http_percent_encode(str_from(channel), &path) == 0 && buf_append_char(&path, '\0') == 0 &&
        ctl_ask(path.p, NULL, &body, false) == 0) {
        if (json_parse(buf_view(&body), &page, NULL) == -1)
            rc = ctl_wrong_server("its /debug/channel is no JSON", false);
        else
            rc = put_settings(&page, out);
        *possible = rc == 0 && json_get(&page, STR_LIT("possible"), &v) && v.type == JSON_TRUE;
    }
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

int cmd_channel(const struct ctl_line *line)
{
    const char *name = line->operands[0];
    struct buf out = {0}, settings = {0};
    bool possible = false, lacks = false;
    int rc = 1;

    if (buf_append_char(&settings, '{') == -1 || put_page(name, &settings, &possible) == -1)
        goto out;
    if (!possible) {
        fprintf(stderr, "roostctl: by the settings there is no channel of that name: no such "
                        "namespace, or characters that no name may have\n");
        goto out;
    }
    if (buf_append_char(&out, '{') == 0 && ctl_put_text(&out, "channel", str_from(name)) == 0 &&
        put_subscribers(name, &out, &lacks) == 0 && put_history(name, &out) == 0 &&
        put_presence(name, &out) == 0 &&
        (settings.len == 1 || (buf_append_char(&out, ',') == 0 &&
                               buf_append(&out, str_skip(buf_view(&settings), 1)) == 0)) &&
        buf_append_char(&out, '}') == 0)
        rc = ctl_print_object(buf_view(&out));
    if (rc == 0 && lacks) {
        fprintf(stderr, "roostctl: those of a node that did not answer are not in it\n");
        rc = 1;
    }
out:
    buf_fini(&settings);
    buf_fini(&out);
    return rc;
}
