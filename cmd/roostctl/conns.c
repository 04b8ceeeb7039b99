/* cmd/roostctl/conns.c - conns, conn, closes, disconnect: connections of every worker, by the pages
 * /debug/connections, /debug/connection, /debug/closes and /debug/disconnect. */
#include <time.h>

#include "codec/http.h"
#include "ctl.h"
#include "proc/debug.h"
#include "values.h"

/* ---- what is asked ---- */

static int add_parameter(struct buf *path, const char *name, const char *value)
{
    bool first = memchr(path->p, '?', path->len) == NULL;

    if (value == NULL)
        return 0;
    if (buf_printf(path, "%c%s=", first ? '?' : '&', name) == -1)
        return -1;
    return http_percent_encode(str_from(value), path);
}

struct parameter {
    const char *name;
    enum ctl_option option;
};

/* The page with those that are given. -1: no memory. */
static int page_with(const char *page, const struct ctl_line *line, const struct parameter *all,
                     size_t n, struct buf *path)
{
    int rc = buf_append_lit(path, page);

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_parameter(path, all[i].name, line->given[all[i].option]);
    return rc == 0 ? buf_append_char(path, '\0') : -1;
}

/* A list of that name on the page. -1: said why. */
static int ask_list(const struct buf *path, const char *name, struct buf *body,
                    struct json_value *page, struct json_value *list)
{
    size_t at;

    if (ctl_ask(path->p, NULL, body, false) == -1)
        return -1;
    if (json_parse(buf_view(body), page, &at) == -1 || !json_get(page, str_from(name), list) ||
        list->type != JSON_ARRAY)
        return ctl_wrong_server("it lists none", false);
    return 0;
}

static int no_memory(void)
{
    fprintf(stderr, "roostctl: out of memory\n");
    return 1;
}

/* Of a page that all workers should have been asked for. Exit status. */
static int say_missing(const struct json_value *page)
{
    struct json_value missing, why, worker, word;
    struct str rest, words = STR_NULL;
    int rc = 0;

    if (!json_get(page, STR_LIT("missing"), &missing) || missing.type != JSON_ARRAY)
        return 0;
    if (json_get(page, STR_LIT("why_missing"), &why) && why.type == JSON_ARRAY)
        words = why.raw;
    for (rest = missing.raw; json_element(&rest, &worker); rc = 1) {
        bool said = words.n > 0 && json_element(&words, &word) && word.type == JSON_STRING;

        fprintf(stderr,
                "roostctl: worker %.*s has not answered (%.*s): the list lacks what it has\n",
                STR_ARG(worker.raw), STR_ARG(said ? word.raw : STR_LIT("it does not say why")));
    }
    return rc;
}

/* ---- lists ---- */

static void cell_span(struct ctl_table *t, const struct json_value *row, const char *name)
{
    char text[CTL_NUMBER_MAX];

    ctl_cell(t, "%s", ctl_span(ctl_number(row, name), text));
}

static void cell_amount(struct ctl_table *t, const struct json_value *row, const char *name)
{
    char text[CTL_NUMBER_MAX];

    ctl_cell(t, "%s", ctl_amount(ctl_number(row, name), text));
}

static void cell_bytes(struct ctl_table *t, const struct json_value *row, const char *name)
{
    char text[CTL_NUMBER_MAX];

    ctl_cell(t, "%s", ctl_bytes(ctl_number(row, name), text));
}

static int print_conns(const struct json_value *conns)
{
    static const struct ctl_column columns[] = {
        CTL_LEFT("id", 0),      CTL_LEFT("protocol", 10), CTL_LEFT("state", 0),
        CTL_LEFT("address", 0), CTL_LEFT("user", 12),     CTL_RIGHT("age"),
        CTL_RIGHT("idle"),      CTL_RIGHT("in"),          CTL_RIGHT("out"),
        CTL_RIGHT("queued"),
    };
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct str rest = conns->raw;
    struct json_value conn;

    while (json_element(&rest, &conn)) {
        ctl_cell_member(&t, &conn, "id");
        ctl_cell_member(&t, &conn, "protocol");
        ctl_cell_member(&t, &conn, "state");
        ctl_cell_member(&t, &conn, "address");
        ctl_cell_member(&t, &conn, "user");
        cell_span(&t, &conn, "age");
        cell_span(&t, &conn, "idle");
        cell_amount(&t, &conn, "frames_in");
        cell_amount(&t, &conn, "frames_out");
        cell_bytes(&t, &conn, "queued");
    }
    return ctl_table_print(&t);
}

int cmd_conns(const struct ctl_line *cmdline)
{
    static const struct parameter all[] = {
        {"limit", OPTION_CONNS_LIMIT},         {"sort", OPTION_CONNS_SORT},
        {"protocol", OPTION_CONNS_PROTOCOL},   {"state", OPTION_CONNS_STATE},
        {"listener", OPTION_CONNS_LISTENER},   {"address", OPTION_CONNS_ADDRESS},
        {"user", OPTION_CONNS_USER},           {"channel", OPTION_CONNS_CHANNEL},
        {"min_queue", OPTION_CONNS_MIN_QUEUE},
    };
    const char *worker = cmdline->given[OPTION_CONNS_WORKER];
    struct buf path = {0}, body = {0};
    struct json_value page, conns, more;
    int rc = 1;

    if (page_with(worker == NULL ? "/debug/connections?worker=all" : "/debug/connections", cmdline,
                  all, ARRAY_LEN(all), &path) == -1) {
        rc = no_memory();
        goto out;
    }
    path.len--; /* the NUL */
    if (add_parameter(&path, "worker", worker) == -1 || buf_append_char(&path, '\0') == -1) {
        rc = no_memory();
        goto out;
    }
    if (ask_list(&path, "connections", &body, &page, &conns) == -1)
        goto out;
    rc = ctl.output == CTL_JSON ? ctl_print_json(buf_view(&body)) : print_conns(&conns);
    if (json_get(&page, STR_LIT("after"), &more) ||
        (json_get(&page, STR_LIT("more"), &more) && more.type == JSON_TRUE))
        fprintf(stderr, "roostctl: there are more of them: --limit (at most 1000), or a filter\n");
    rc |= say_missing(&page);
out:
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

static void cell_time(struct ctl_table *t, const struct json_value *row)
{
    double seconds = ctl_number(row, "time");
    time_t when = (time_t)seconds;
    char text[32] = "-";
    struct tm tm;

    if (localtime_r(&when, &tm) != NULL)
        strftime(text, sizeof(text), "%H:%M:%S", &tm);
    ctl_cell(t, "%s.%03d", text, (int)((seconds - (double)when) * 1000));
}

static int print_closes(const struct json_value *closes)
{
    static const struct ctl_column columns[] = {
        CTL_LEFT("time", 0),   CTL_LEFT("id", 0), CTL_LEFT("address", 0), CTL_LEFT("protocol", 10),
        CTL_LEFT("reason", 0), CTL_RIGHT("code"), CTL_RIGHT("age"),       CTL_RIGHT("queued"),
    };
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct str rest = closes->raw;
    struct json_value closed;

    while (json_element(&rest, &closed)) {
        cell_time(&t, &closed);
        ctl_cell_member(&t, &closed, "id");
        ctl_cell_member(&t, &closed, "address");
        ctl_cell_member(&t, &closed, "protocol");
        ctl_cell_member(&t, &closed, "reason");
        ctl_cell_member(&t, &closed, "code");
        cell_span(&t, &closed, "age");
        cell_bytes(&t, &closed, "queued");
    }
    return ctl_table_print(&t);
}

int cmd_closes(const struct ctl_line *cmdline)
{
    static const struct parameter all[] = {{"limit", OPTION_CLOSES_LIMIT},
                                           {"reason", OPTION_CLOSES_REASON}};
    struct buf path = {0}, body = {0};
    struct json_value page, closes;
    int rc = 1;

    if (page_with("/debug/closes", cmdline, all, ARRAY_LEN(all), &path) == -1)
        rc = no_memory();
    else if (ask_list(&path, "closes", &body, &page, &closes) == 0)
        rc = ctl.output == CTL_JSON ? ctl_print_json(buf_view(&body)) : print_closes(&closes);
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

/* ---- one ---- */

/* A page about the connection with that id. -1: said why. */
static int ask_one(const struct buf *path, const char *id, const struct str *request,
                   struct buf *body)
{
    int status = ctl_http(path->p, request, body, false);
    struct str line = ctl_line_of(buf_view(body));

    if (status == 200)
        return 0;
    if (status == 404)
        fprintf(stderr, "roostctl: there is no connection %s\n", id);
    else if (status == 400 && str_starts_with(line, STR_LIT(DEBUG_NO_WORKER)))
        fprintf(stderr, "roostctl: %.*s\n", STR_ARG(line));
    else if (status == 400)
        fprintf(stderr,
                "roostctl: W:ID as `roostctl conns` says it, a code that may be sent, a reason of "
                "at most 123 bytes\n");
    else if (status != -1 && status != 401)
        fprintf(stderr, "roostctl: %d %s: %.*s\n", status, http_status_phrase(status),
                STR_ARG(line));
    return -1;
}

static int print_subscriptions(const struct json_value *conn)
{
    static const struct ctl_column columns[] = {CTL_LEFT("subscription", 0), CTL_LEFT("live", 0),
                                                CTL_RIGHT("offset"), CTL_LEFT("is", 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    struct json_value subs, sub;
    struct str rest;

    if (!json_get(conn, STR_LIT("subscriptions"), &subs) || subs.type != JSON_ARRAY)
        return 0;
    for (rest = subs.raw; json_element(&rest, &sub);) {
        ctl_cell_member(&t, &sub, "channel");
        ctl_cell_member(&t, &sub, "live");
        ctl_cell_member(&t, &sub, "offset");
        ctl_cell_member(&t, &sub, "is");
    }
    return ctl_table_print(&t);
}

/* Facts about it but for the channels, which are a table of their own. */
static int print_conn(const struct json_value *conn)
{
    struct buf facts = {0};
    struct json_value name, value;
    struct str rest = conn->raw;
    int rc = buf_append_char(&facts, '{');

    while (rc == 0 && json_member(&rest, &name, &value)) {
        if (str_equal(name.raw, STR_LIT("\"subscriptions\"")) ||
            str_equal(name.raw, STR_LIT("\"channels\"")))
            continue;
        rc = facts.len > 1 ? buf_append_char(&facts, ',') : 0;
        rc |= buf_append(&facts, name.raw);
        rc |= buf_append_char(&facts, ':');
        rc |= buf_append(&facts, value.raw);
    }
    rc |= buf_append_char(&facts, '}');
    rc = rc == 0 ? ctl_print_object(buf_view(&facts)) : no_memory();
    buf_fini(&facts);
    return rc == 0 ? print_subscriptions(conn) : rc;
}

int cmd_conn(const struct ctl_line *cmdline)
{
    const char *id = cmdline->operands[0];
    struct buf path = {0}, body = {0};
    struct json_value page, conn;
    size_t at;
    int rc = 1;

    if (values_check(VALUE_CONN_ANY, id, &body) == -1) {
        fprintf(stderr, "roostctl: conn: %.*s\n", STR_ARG(buf_view(&body)));
        rc = 2;
    } else if (buf_append_lit(&path, "/debug/connection") == -1 ||
               add_parameter(&path, "id", id) == -1 || buf_append_char(&path, '\0') == -1)
        rc = no_memory();
    else if (ask_one(&path, id, NULL, &body) == -1)
        rc = 1;
    else if (json_parse(buf_view(&body), &page, &at) == -1 ||
             !json_get(&page, STR_LIT("connection"), &conn) || conn.type != JSON_OBJECT)
        (void)ctl_wrong_server("its /debug/connection has none", false);
    else
        rc = ctl.output == CTL_JSON ? ctl_print_json(buf_view(&body)) : print_conn(&conn);
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

static int end_one(const char *id, const char *code, const char *reason)
{
    const struct str nothing = STR_LIT("");
    struct buf path = {0}, body = {0};
    int rc = 1;

    if (buf_append_lit(&path, "/debug/disconnect") == -1 || add_parameter(&path, "id", id) == -1 ||
        add_parameter(&path, "code", code) == -1 || add_parameter(&path, "reason", reason) == -1 ||
        buf_append_char(&path, '\0') == -1)
        rc = no_memory();
    else if (ask_one(&path, id, &nothing, &body) == 0)
        rc = ctl.output == CTL_JSON ? ctl_print_json(buf_view(&body)) : 0;
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

/* Where several nodes were asked: have all of them done it? Exit status. */
static int say_silent(const struct json_value *result)
{
    double asked = ctl_number(result, "nodes_asked"),
           answered = ctl_number(result, "nodes_answered");

    if (answered >= asked)
        return 0;
    fprintf(
        stderr,
        "roostctl: %.0f of %.0f nodes have answered: clients of the others may still be there\n",
        answered, asked);
    return 1;
}

/* Clients of the Centrifuge protocol: by the server API, on every node. */
static int end_clients(const char *user, const char *client, const char *code, const char *reason)
{
    struct buf request = {0}, body = {0};
    struct json_value result;
    int rc = buf_append_char(&request, '{');

    if (user != NULL)
        rc |= ctl_put_text(&request, "user", str_from(user));
    if (client != NULL)
        rc |= ctl_put_text(&request, "client", str_from(client));
    if (code != NULL || reason != NULL) {
        rc |= buf_printf(&request, ",\"disconnect\":{\"code\":%s", code != NULL ? code : "3503");
        rc |= ctl_put_text(&request, "reason", str_from(reason != NULL ? reason : ""));
        rc |= buf_append_char(&request, '}');
    }
    rc |= buf_append_char(&request, '}');
    if (rc != 0) {
        rc = no_memory();
    } else if (ctl_api("disconnect", buf_view(&request), &body, &result) == -1) {
        rc = 1;
    } else {
        if (ctl.output == CTL_JSON)
            (void)ctl_print_json(result.raw);
        rc = say_silent(&result);
    }
    buf_fini(&request);
    buf_fini(&body);
    return rc;
}

int cmd_disconnect(const struct ctl_line *cmdline)
{
    const char *conn = cmdline->given[OPTION_DISCONNECT_CONN],
               *user = cmdline->given[OPTION_DISCONNECT_USER],
               *client = cmdline->given[OPTION_DISCONNECT_CLIENT],
               *code = cmdline->given[OPTION_DISCONNECT_CODE],
               *reason = cmdline->given[OPTION_DISCONNECT_REASON];

    if ((conn != NULL) == (user != NULL || client != NULL)) {
        fprintf(stderr, "roostctl: disconnect: say --conn W:ID, or --user and --client\n");
        return 2;
    }
    if (conn != NULL)
        return end_one(conn, code, reason);
    return end_clients(user, client, code, reason);
}
