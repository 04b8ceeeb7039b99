/* cmd/roostctl/reload.c - has the daemon read its settings again, and says what has come of it. */
#include <errno.h>
#include <signal.h>

#include "base/out.h"
#include "base/read_whole_file.h"
#include "codec/http.h"
#include "ctl.h"
#include "proc/reload.h"

#define PID_FILE_MAX 64
#define RELOAD       "/debug/reload"

/* The daemon gives up first, and says so. */
static const struct dial_limits patience = {.end_ns = UINT64_MAX,
                                            .idle_ns = RELOAD_PATIENCE_NS + 5 * NS_PER_SEC};

bool reload_result_is(const struct json_value *report, const char *result)
{
    return str_equal(ctl_text(report, "result"), str_from(result));
}

bool reload_is_complete(const struct json_value *report)
{
    struct json_value v;

    return !json_get(report, STR_LIT("complete"), &v) || v.type != JSON_FALSE;
}

void reload_say_incomplete(const struct json_value *report)
{
    if (!reload_is_complete(report))
        fprintf(stderr, "roostctl: the daemon's report had no room for everything: values are left "
                        "out, and it may be names of settings\n");
}

int reload_ask(const char *path, struct buf *body, struct json_value *report)
{
    struct str nothing = STR_LIT("");
    int status = ctl_http_within(path, &nothing, body, false, &patience);

    if (status == 404)
        return ctl_wrong_server("it has no /debug/reload", false);
    if (status == -1 && errno != ENOTCONN && str_equal(str_from(path), STR_LIT(RELOAD)))
        fprintf(stderr,
                "roostctl: the reload may still come, or have been done: the log says so\n");
    if (status == 401 || status == -1)
        return -1;
    if (json_parse(buf_view(body), report, NULL) == -1)
        return ctl_wrong_server("what it says is no JSON", false);
    if (status == 200)
        return 0;
    fprintf(stderr, "roostctl: %.*s (status %d)\n", STR_ARG(ctl_text(report, "error")), status);
    return -1;
}

void reload_say_lines(const struct json_value *report, const char *name, const char *before)
{
    struct json_value list, line;
    struct buf text = {0};
    struct str rest;

    if (!json_get(report, str_from(name), &list) || list.type != JSON_ARRAY)
        return;
    rest = list.raw;
    while (json_element(&rest, &line)) {
        buf_clear(&text);
        if (json_string(&line, &text) == 0)
            fprintf(stderr, "roostctl: %s%.*s\n", before, STR_ARG(buf_view(&text)));
    }
    buf_fini(&text);
}

/* Without their values. */
static int print_names(const struct json_value *report)
{
    static const struct ctl_column columns[] = {CTL_LEFT("setting", 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value list, one;
    struct buf text = {0};
    struct str rest = STR_NULL;

    if (json_get(report, STR_LIT("changed"), &list) && list.type == JSON_ARRAY)
        rest = list.raw;
    while (rest.n > 0 && json_element(&rest, &one)) {
        buf_clear(&text);
        ctl_cell_text(&t, json_string(&one, &text) == 0 ? buf_view(&text) : one.raw);
    }
    buf_fini(&text);
    if (t.count > 0)
        return ctl_table_print(&t);
    return 0;
}

static int print_changes(const struct json_value *report)
{
    static const struct ctl_column columns[] = {CTL_LEFT("setting", 0), CTL_LEFT("before", 40),
                                                CTL_LEFT("now", 40)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value list, one;
    struct str rest;

    if (str_equal(ctl_text(report, "certificates"), STR_LIT("replaced")))
        out_printf("certificates replaced\n");
    if (!reload_is_complete(report))
        return print_names(report);
    if (!json_get(report, STR_LIT("settings"), &list) || str_equal(list.raw, STR_LIT("[]")))
        return 0;
    rest = list.raw;
    while (json_element(&rest, &one)) {
        ctl_cell_member(&t, &one, "name");
        ctl_cell_member(&t, &one, "before");
        ctl_cell_member(&t, &one, "after");
    }
    return ctl_table_print(&t);
}

static int say(const struct json_value *report)
{
    reload_say_incomplete(report);
    reload_say_lines(report, "warnings", "warning: ");
    if (reload_result_is(report, "unchanged")) {
        out_printf("reloaded, nothing has changed\n");
        return 0;
    }
    if (reload_result_is(report, "applied")) {
        out_printf("reloaded\n");
        return print_changes(report);
    }
    reload_say_lines(report, "errors", "refused: ");
    if (!reload_result_is(report, "needs_restart")) {
        fprintf(stderr, "roostctl: the old settings stay\n");
        return 3;
    }
    reload_say_lines(report, "restart", "refused: this setting needs a restart: ");
    fprintf(stderr,
            "roostctl: nothing is applied until the daemon is restarted, or these are as they "
            "were\n");
    return 4;
}

static int status_of(const struct json_value *report)
{
    if (reload_result_is(report, "needs_restart"))
        return 4;
    return reload_result_is(report, "applied") || reload_result_is(report, "unchanged") ? 0 : 3;
}

/* Where there is no admin listener: the signal. What came of it only the log says. */
static int send_signal(const char *path)
{
    struct buf text = {0};
    uint64_t pid = 0;
    char err[256];
    int rc = 1;

    if (read_whole_file(path, PID_FILE_MAX, NULL, &text, err, sizeof(err)) == -1)
        fprintf(stderr, "roostctl: %s: %s\n", path, err);
    else if (str_to_u64(ctl_line_of(buf_view(&text)), &pid) == -1 || pid < 2 || pid > INT32_MAX)
        fprintf(stderr, "roostctl: %s holds no process's number\n", path);
    else if (kill((pid_t)pid, SIGHUP) == -1)
        fprintf(stderr, "roostctl: process %llu: %s\n", (unsigned long long)pid, strerror(errno));
    else
        rc = 0;
    buf_fini(&text);
    if (rc != 0)
        return rc;
    if (ctl.output == CTL_JSON)
        out_printf("{\"result\":\"signalled\",\"pid\":%llu}\n", (unsigned long long)pid);
    else
        out_printf("SIGHUP sent to process %llu; its log says whether it has taken the settings\n",
                   (unsigned long long)pid);
    return 0;
}

int cmd_reload(const struct ctl_line *line)
{
    struct buf body = {0};
    struct json_value report;
    int rc = 1;

    if (line->given[OPTION_RELOAD_PID_FILE] != NULL)
        return send_signal(line->given[OPTION_RELOAD_PID_FILE]);
    if (reload_ask(RELOAD, &body, &report) == 0) {
        if (ctl.output == CTL_JSON)
            (void)ctl_print_json(buf_view(&body));
        rc = ctl.output == CTL_JSON ? status_of(&report) : say(&report);
    }
    buf_fini(&body);
    return rc;
}
