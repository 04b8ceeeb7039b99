/* trace.c - what happens to a client or a channel, as it happens: /debug/trace, read again and again. */
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/out.h"
#include "base/units.h"
#include "codec/http.h"
#include "ctl.h"

#define POLL_MS 100 /* the daemon's answers are a fifth of that old */

struct trace {
    struct buf what;  /* owned: "channel=news" */
    char id[16];      /* "": not asked yet */
    struct buf after; /* owned: where the last answer ended */
    uint64_t for_ns, until_ns;
    bool armed, told_missing, silent;
    struct buf line; /* owned, kept */
};

static volatile sig_atomic_t stop;

static void on_stop(int sig UNUSED)
{
    stop = 1;
}

/* --- an event as a line --- */

/* "2026-11-27T03:42:11.851361Z" is 03:42:11.851361 for people. */
static struct str time_of_day(struct str time)
{
    size_t t = str_find(time, 'T');

    return t + 16 <= time.n ? (struct str){time.p + t + 1, 15} : time;
}

static int put_member(const struct json_value *name, const struct json_value *value,
                      struct buf *out)
{
    struct str key = {name->raw.p + 1, name->raw.n - 2};
    struct buf text = {0};
    uint64_t number;
    int rc;

    if (value->type == JSON_STRING) {
        rc = json_string(value, &text);
        rc |= buf_printf(out, " %.*s=", STR_ARG(key));
        rc |= ctl_append_shown(out, buf_view(&text));
    } else if (key.n > 3 && str_equal(str_skip(key, key.n - 3), STR_LIT("_ns")) &&
               json_u64(value, &number) == 0) {
        rc = buf_printf(out, " %.*s=%.3fms", (int)(key.n - 3), key.p, (double)number / 1e6);
    } else {
        rc = buf_printf(out, " %.*s=%.*s", STR_ARG(key), STR_ARG(value->raw));
    }
    buf_fini(&text);
    return rc;
}

static bool stands_in_front(const struct json_value *name)
{
    static const char *const columns[] = {"time", "process", "event", "conn"};

    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        if (json_string_equal(name, str_from(columns[i])))
            return true;
    return false;
}

static int put_event(const struct json_value *event, struct buf *out)
{
    struct str rest = event->raw, conn = ctl_text(event, "conn");
    struct json_value name, value;
    int rc = buf_printf(
        out, "%.*s %-8.*s %-16.*s %-11.*s", STR_ARG(time_of_day(ctl_text(event, "time"))),
        STR_ARG(ctl_text(event, "process")), STR_ARG(conn.n > 0 ? conn : STR_LIT("-")),
        STR_ARG(ctl_text(event, "event")));

    while (rc == 0 && json_member(&rest, &name, &value))
        if (!stands_in_front(&name))
            rc = put_member(&name, &value, out);
    return rc;
}

static int print_event(struct trace *t, const struct json_value *event)
{
    int rc;

    buf_clear(&t->line);
    if (ctl.output == CTL_JSON)
        rc = ctl_append_line(&t->line, event->raw);
    else
        rc = put_event(event, &t->line);
    if (rc == 0 && ctl.output == CTL_TABLE)
        rc = buf_append_char(&t->line, '\n');
    if (rc != 0)
        return -1;
    out_write(buf_view(&t->line));
    return 0;
}

/* --- what the daemon answers --- */

static void say_missing(struct trace *t, const struct json_value *page)
{
    struct json_value missing, name;
    struct str rest;
    bool any = false;

    if (!json_get(page, STR_LIT("missing"), &missing))
        return;
    for (rest = missing.raw; json_element(&rest, &name); any = true)
        if (!t->told_missing)
            fprintf(stderr, "roostctl: %.*s does not move, nothing comes from it\n",
                    STR_ARG(name.raw));
    t->told_missing = any;
}

static void note_armed(struct trace *t, const struct json_value *page)
{
    struct json_value armed;

    if (t->armed || !json_get(page, STR_LIT("armed"), &armed) || armed.type != JSON_TRUE)
        return;
    t->armed = true;
    clock_refresh();
    t->until_ns = t->for_ns > 0 ? clock_ns() + t->for_ns : UINT64_MAX;
    fprintf(stderr, "roostctl: tracing %.*s; times are UTC%s\n", STR_ARG(buf_view(&t->what)),
            t->for_ns > 0 ? "" : "; Ctrl-C ends it");
}

/* -1: it is no trace. *more: there are events left. */
static int take_page(struct trace *t, const struct json_value *page, bool *more)
{
    struct json_value events, event, v;
    double lost = ctl_number(page, "lost");
    struct str rest;

    if (!json_get(page, STR_LIT("events"), &events) ||
        str_copy(ctl_text(page, "trace"), t->id, sizeof(t->id)) == -1)
        return ctl_wrong_server("what it says is no trace", false);
    buf_clear(&t->after);
    if (buf_append(&t->after, ctl_text(page, "after")) == -1)
        return -1;
    if (lost > 0)
        fprintf(stderr, "roostctl: %.0f events came faster than they could be read\n", lost);
    for (rest = events.raw; json_element(&rest, &event);)
        if (print_event(t, &event) == -1)
            return -1;
    say_missing(t, page);
    note_armed(t, page);
    *more = json_get(page, STR_LIT("more"), &v) && v.type == JSON_TRUE;
    return out_flush() ? 0 : 1;
}

/* One question. 1: nobody reads what we print. */
static int ask(struct trace *t, bool *more)
{
    struct buf path = {0}, body = {0};
    struct json_value page;
    size_t at;
    int rc = buf_printf(&path, "/debug/trace?%.*s", STR_ARG(buf_view(&t->what)));

    *more = false;
    if (t->id[0] != '\0')
        rc |= buf_printf(&path, "&trace=%s&after=%.*s", t->id, STR_ARG(buf_view(&t->after)));
    rc |= buf_append_char(&path, '\0');
    if (rc == 0)
        rc = ctl_ask(path.p, NULL, &body, t->id[0] != '\0');
    if (rc == 0 && json_parse(buf_view(&body), &page, &at) == -1)
        rc = ctl_wrong_server("what it says is no JSON", false);
    if (rc == 0)
        rc = take_page(t, &page, more);
    buf_fini(&path);
    buf_fini(&body);
    return rc;
}

static bool time_is_over(const struct trace *t)
{
    clock_refresh();
    return t->armed && clock_ns() >= t->until_ns;
}

/* When the time is over, what happened in it is a question or two away. */
static int follow(struct trace *t)
{
    unsigned left = 2;
    bool more;
    int rc = ask(t, &more);

    if (rc != 0)
        return rc == 1 ? 0 : 1;
    for (;;) {
        if (!more)
            poll(NULL, 0, POLL_MS);
        if (stop || out_is_gone() || (time_is_over(t) && !more && left-- == 0))
            return 0;
        rc = ask(t, &more);
        if (rc == 1)
            return 0;
        if (rc == -1 && !t->silent)
            fprintf(stderr, "roostctl: no answer from %s, trying again\n", ctl_url());
        t->silent = rc == -1;
    }
}

/* --- what is asked for --- */

static int put_what(const struct ctl_line *cmdline, struct buf *what)
{
    static const struct {
        enum ctl_option option;
        const char *name;
    } kinds[] = {{OPTION_TRACE_CONN, "conn"},
                 {OPTION_TRACE_CHANNEL, "channel"},
                 {OPTION_TRACE_ADDRESS, "address"}};
    unsigned n = 0;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *value = cmdline->given[kinds[i].option];

        if (value == NULL)
            continue;
        if (value[0] == '\0' || n++ > 0 || buf_printf(what, "%s=", kinds[i].name) == -1 ||
            http_percent_encode(str_from(value), what) == -1)
            return -1;
    }
    return n == 1 ? 0 : -1;
}

int cmd_trace(const struct ctl_line *cmdline)
{
    const char *time = cmdline->given[OPTION_TRACE_FOR];
    struct sigaction sa = {.sa_handler = on_stop};
    struct trace t = {0};
    int64_t ns = 0;
    int rc;

    if (put_what(cmdline, &t.what) == -1) {
        fprintf(stderr, "roostctl: trace: one of --conn W:ID, --channel NAME and --address IP\n");
        rc = 2;
    } else if (time != NULL && (units_parse_duration(str_from(time), &ns) == -1 || ns <= 0)) {
        fprintf(stderr, "roostctl: trace: --for: expected a time such as 10s, got \"%.60s\"\n",
                time);
        rc = 2;
    } else {
        sigaction(SIGINT, &sa, NULL);
        sigaction(SIGTERM, &sa, NULL);
        t.for_ns = (uint64_t)ns;
        rc = follow(&t);
    }
    buf_fini(&t.what);
    buf_fini(&t.after);
    buf_fini(&t.line);
    return rc;
}
