/* cmd/roostctl/channels.c - channels with subscribers, by the server API. */
#include "ctl.h"

int ctl_api(const char *method, struct str request, struct buf *body, struct json_value *result)
{
    struct json_value v, error;
    char path[64];
    size_t at;

    snprintf(path, sizeof(path), "/api/%s", method);
    if (ctl_ask(path, &request, body, false) == -1)
        return -1;
    if (json_parse(buf_view(body), &v, &at) == -1)
        return ctl_wrong_server("what it says is no JSON", false);
    if (json_get(&v, STR_LIT("result"), result))
        return 0;
    if (json_get(&v, STR_LIT("error"), &error))
        fprintf(stderr, "roostctl: %.*s (%.0f)\n", STR_ARG(ctl_text(&error, "message")),
                ctl_number(&error, "code"));
    else
        (void)ctl_wrong_server("it has neither result nor error", false);
    return -1;
}

static int print_channels(const struct json_value *result)
{
    static const struct ctl_column columns[] = {CTL_RIGHT("subscribers"), CTL_LEFT("channel", 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value channels, name, info;
    struct buf text = {0};
    struct str rest;

    if (!json_get(result, STR_LIT("channels"), &channels))
        return ctl_wrong_server("it lists no channels", false) == 0 ? 0 : 1;
    rest = channels.raw;
    while (json_member(&rest, &name, &info)) {
        buf_clear(&text);
        ctl_cell_member(&t, &info, "num_clients");
        ctl_cell_text(&t, json_string(&name, &text) == 0 ? buf_view(&text) : name.raw);
    }
    buf_fini(&text);
    return ctl_table_print(&t);
}

int cmd_channels(const struct ctl_line *cmdline)
{
    struct str pattern = cmdline->count > 0 ? str_from(cmdline->operands[0]) : STR_LIT("*");
    struct buf request = {0}, body = {0};
    struct json_value result, found;
    int rc = 1;

    if (buf_append_char(&request, '{') == 0 && ctl_put_text(&request, "pattern", pattern) == 0 &&
        buf_append_char(&request, '}') == 0 &&
        ctl_api("channels", buf_view(&request), &body, &result) == 0) {
        rc = ctl.output == CTL_JSON ? ctl_print_json(result.raw) : print_channels(&result);
        if (json_get(&result, STR_LIT("partial"), &found)) {
            fprintf(stderr,
                    "roostctl: the list lacks the channels of a node that did not answer\n");
            rc = 1;
        }
        if (json_get(&result, STR_LIT("total"), &found)) {
            fprintf(stderr,
                    "roostctl: the list is not complete: there are %.*s such channels; a PATTERN "
                    "that fewer have says them\n",
                    STR_ARG(found.raw));
            rc = 1;
        }
    }
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}
