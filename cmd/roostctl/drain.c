/* cmd/roostctl/drain.c - drain: sends clients away, and shows how far it is. */
#include <poll.h>
#include <unistd.h>

#include "base/out.h"
#include "ctl.h"

#define LOOK_MS 500
#define BAR     30

struct view { /* of the daemon's answer */
    struct buf page;
    struct json_value state;
    bool live; /* one line, drawn anew */
    bool shown;
};

static bool is(const struct view *v, const char *state)
{
    return str_equal(ctl_text(&v->state, "state"), str_from(state));
}

static double number(const struct view *v, const char *name)
{
    return ctl_number(&v->state, name);
}

static int ask(struct view *v, const char *path, bool post, bool quiet)
{
    static const struct str nothing = {.p = "", .n = 0};
    size_t at;

    buf_clear(&v->page);
    if (ctl_ask(path, post ? &nothing : NULL, &v->page, quiet) == -1)
        return -1;
    if (json_parse(buf_view(&v->page), &v->state, &at) == -1 || ctl_text(&v->state, "state").n == 0)
        return ctl_wrong_server("its /debug/drain says no state", quiet);
    return 0;
}

/* What is sent as it stands: the daemon knows what a number is. False: it would not fit an address,
 * or change its meaning there. */
static bool put_option(struct buf *path, const char *name, const char *value)
{
    if (value == NULL)
        return true;
    if (strlen(value) > 32 ||
        value[strspn(value, "0123456789.abcdefghijklmnopqrstuvwxyz-")] != '\0')
        return false;
    return buf_printf(path, "%c%s=%s", memchr(path->p, '?', path->len) != NULL ? '&' : '?', name,
                      value) == 0;
}

/* -1: said why. */
static int path_of(const struct ctl_line *line, struct buf *path)
{
    const struct {
        const char *name;
        enum ctl_option option;
    } options[] = {
        {"leave", OPTION_DRAIN_LEAVE}, {"rate", OPTION_DRAIN_RATE}, {"time", OPTION_DRAIN_TIME}};

    if (buf_append_lit(path, "/debug/drain") == -1)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (!put_option(path, options[i].name, line->given[options[i].option])) {
            fprintf(stderr, "roostctl: drain: --%s \"%.40s\" is none\n", options[i].name,
                    line->given[options[i].option]);
            return -1;
        }
    if (line->given[OPTION_DRAIN_STOP] != NULL && !put_option(path, "stop", "1"))
        return -1;
    if (line->given[OPTION_DRAIN_CANCEL] != NULL && !put_option(path, "cancel", "1"))
        return -1;
    return buf_append_char(path, '\0');
}

/* "draining  [=====     ]  12.0k to go of 50.0k, 3200 stay, 500/s, 24s". */
static int put_progress(const struct view *v, struct buf *out)
{
    double from = number(v, "from"), leave = number(v, "leave"), left = number(v, "left");
    double whole = MAX(from - leave, left), done = whole > 0 ? (whole - left) / whole : 1;
    char a[CTL_NUMBER_MAX], b[CTL_NUMBER_MAX], c[CTL_NUMBER_MAX], d[CTL_NUMBER_MAX];
    int filled = (int)(done * BAR);

    return buf_printf(out, "draining  [%.*s%*s]  %s to go, %s here, %s may stay, %s", filled,
                      "==============================", BAR - filled, "", ctl_amount(left, a),
                      ctl_amount(number(v, "connections"), b), ctl_amount(leave, c),
                      number(v, "eta") > 0 ? ctl_span(number(v, "eta"), d) : "closing");
}

static int put_line(const struct view *v, struct buf *out)
{
    char a[CTL_NUMBER_MAX], b[CTL_NUMBER_MAX];

    if (is(v, "draining"))
        return put_progress(v, out);
    if (is(v, "drained"))
        return buf_printf(out,
                          "drained: %s clients, %s may stay; new ones go elsewhere until drain "
                          "--cancel",
                          ctl_amount(number(v, "connections"), a),
                          ctl_amount(number(v, "leave"), b));
    if (is(v, "stopping"))
        return buf_printf(out, "the node stops: %s clients are here",
                          ctl_amount(number(v, "connections"), a));
    return buf_printf(out, "no drain: %s clients are here, new ones are welcome",
                      ctl_amount(number(v, "connections"), a));
}

static int show(struct view *v)
{
    struct buf out = {0};
    int rc;

    if (ctl.output == CTL_JSON) {
        rc = ctl_print_json(buf_view(&v->page));
    } else {
        rc = put_line(v, &out);
        out_printf("%s%.*s%s", v->live && v->shown ? "\r" : "", STR_ARG(buf_view(&out)),
                   v->live ? "\033[K" : "\n");
        v->shown = true;
    }
    buf_fini(&out);
    return rc == 0 && out_flush() ? 0 : -1;
}

static void end_line(struct view *v)
{
    if (v->live && v->shown)
        out_write(STR_LIT("\n"));
    v->shown = false;
}

/* The master that stops has taken its listener with it, or the last word was that it is about to. */
static int gone(struct view *v, bool stop)
{
    end_line(v);
    if (!stop) {
        fprintf(stderr, "roostctl: no answer from %s; the drain goes on without this view\n",
                ctl_url());
        return 1;
    }
    if (ctl.output == CTL_JSON)
        return ctl_print_json(STR_LIT("{\"state\":\"stopped\"}"));
    out_printf("stopped\n");
    return 0;
}

/* Until the node is as empty as was said, or somebody says something else. */
static int follow(struct view *v, bool stop)
{
    double leave = number(v, "leave"), time = number(v, "time");

    for (;;) {
        if (show(v) == -1)
            return 1;
        if (is(v, "drained") && !stop)
            break;
        if (is(v, "none") ||
            (!is(v, "stopping") && (number(v, "leave") < leave || number(v, "leave") > leave ||
                                    number(v, "time") < time || number(v, "time") > time))) {
            end_line(v);
            fprintf(stderr, "roostctl: drain: %s meanwhile\n",
                    is(v, "none") ? "it was cancelled" : "another order has taken its place");
            return 1;
        }
        (void)poll(NULL, 0, LOOK_MS);
        if (ask(v, "/debug/drain", false, true) == -1)
            return gone(v, stop);
    }
    end_line(v);
    return 0;
}

int cmd_drain(const struct ctl_line *cmdline)
{
    bool only = cmdline->given[OPTION_DRAIN_SHOW] != NULL;
    bool cancel = cmdline->given[OPTION_DRAIN_CANCEL] != NULL;
    struct view v = {.live = ctl.output == CTL_TABLE && isatty(STDOUT_FILENO)};
    struct buf path = {0};
    int rc = 2;

    if (path_of(cmdline, &path) == 0)
        rc = ask(&v, only ? "/debug/drain" : path.p, !only, false) == -1 ? 1 : 0;
    if (rc == 0 && (only || cancel || cmdline->given[OPTION_DRAIN_NO_WAIT] != NULL)) {
        rc = show(&v) == 0 ? 0 : 1;
        end_line(&v);
    } else if (rc == 0) {
        rc = follow(&v, cmdline->given[OPTION_DRAIN_STOP] != NULL);
    }
    buf_fini(&path);
    buf_fini(&v.page);
    return rc;
}
