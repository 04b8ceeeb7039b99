/* cmd/roostctl/drain.c - drain: sends clients away, and shows how far it is. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/out.h"
#include "ctl.h"

#define LOOK_MS 500
#define BAR     30
#define LOOKS   5 /* in a row that may bring no answer */

struct view { /* of the daemon's answer */
    struct buf page;
    struct json_value state;
    bool live; /* one line, drawn anew */
    bool shown;
    uint64_t asked_ns; /* for the answer */
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
    uint64_t now = clock_precise_ns();
    struct json_value state;
    struct buf page = {0};
    size_t at;

    if (ctl_ask(path, post ? &nothing : NULL, &page, quiet) == -1)
        goto err;
    if (json_parse(buf_view(&page), &state, &at) == -1 || ctl_text(&state, "state").n == 0) {
        (void)ctl_wrong_server("its /debug/drain says no state", quiet);
        goto err;
    }
    buf_fini(&v->page);
    v->page = page;
    v->state = state;
    v->asked_ns = now;
    return 0;
err:
    buf_fini(&page);
    return -1;
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

static bool nobody_listens(void)
{
    struct dialed d;

    errno = 0;
    if (ctl_connect(&d, true) == -1)
        return errno == ECONNREFUSED || errno == ENOENT;
    dial_close(&d);
    return false;
}

/* By what was heard last, has the node come to the end that was ordered? One that only drained may have done
 * so since, if its time is over. */
static bool may_have_stopped(const struct view *v)
{
    double since = (double)(clock_precise_ns() - v->asked_ns) / (double)NS_PER_SEC;

    return is(v, "stopping") || is(v, "drained") ||
           (is(v, "draining") && (number(v, "left") <= 0 || number(v, "eta") <= since));
}

static int stopped(struct view *v)
{
    end_line(v);
    if (ctl.output == CTL_JSON)
        return ctl_print_json(STR_LIT("{\"state\":\"stopped\"}")) == 0 ? 0 : 1;
    out_printf("stopped\n");
    return 0;
}

/* Asks again until there is an answer, or none is to be hoped for. -1: said so; *rc is the exit status. */
static int look(struct view *v, bool stop, int *rc)
{
    bool gone = false, closed = false;

    for (unsigned i = 0; i < LOOKS && !closed; i++) {
        (void)poll(NULL, 0, LOOK_MS);
        if (ask(v, "/debug/drain", false, true) == 0)
            return 0;
        closed = stop && nobody_listens();
        gone = closed && may_have_stopped(v);
    }
    if (gone) {
        *rc = stopped(v);
        return -1;
    }
    end_line(v);
    if (stop)
        fprintf(stderr,
                "roostctl: no answer from %s; whether the node has come to the end of its drain is "
                "not known\n",
                ctl_url());
    else
        fprintf(stderr, "roostctl: no answer from %s; the drain goes on without this view\n",
                ctl_url());
    *rc = 1;
    return -1;
}

/* Until the node is as empty as was said, or somebody says something else. */
static int follow(struct view *v, bool stop)
{
    double order = number(v, "order");
    int rc;

    for (;;) {
        if (show(v) == -1)
            return 1;
        if (is(v, "drained") && !stop)
            break;
        if (is(v, "none") ||
            (!is(v, "stopping") && (number(v, "order") < order || number(v, "order") > order))) {
            end_line(v);
            fprintf(stderr, "roostctl: drain: %s meanwhile\n",
                    is(v, "none") ? "it was cancelled" : "another order has taken its place");
            return 1;
        }
        if (look(v, stop, &rc) == -1)
            return rc;
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
