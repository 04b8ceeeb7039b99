/* cmd/roostctl/status.c - status and top: the node at a glance. */
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/json.h"
#include "ctl.h"

struct view { /* two readings, for rates */
    double at_s;
    double upgrades, publications, deliveries, in_bytes, out_bytes, cpu;
};

static volatile sig_atomic_t stop;

static void on_stop(int sig)
{
    (void)sig;
    stop = 1;
}

double ctl_metric(struct str page, const char *name, const char *label_match)
{
    struct str line, want = str_from(name);
    double sum = 0;

    while (page.n > 0 && str_cut(&page, '\n', &line)) {
        struct str rest, labels;
        char number[64];
        size_t space = line.n;

        if (!str_starts_with(line, want))
            continue;
        rest = str_skip(line, want.n);
        if (rest.n == 0 || (rest.p[0] != ' ' && rest.p[0] != '{'))
            continue;
        labels = (struct str){rest.p, str_find(rest, '}')};
        if (label_match != NULL &&
            memmem(labels.p, labels.n, label_match, strlen(label_match)) == NULL)
            continue;
        while (space > 0 && line.p[space - 1] != ' ')
            space--;
        if (str_copy(str_skip(line, space), number, sizeof(number)) == 0)
            sum += strtod(number, NULL);
    }
    return sum;
}

static double number(const struct json_value *object, const char *name)
{
    struct json_value v;
    char text[64];

    if (!json_get(object, str_from(name), &v) || str_copy(v.raw, text, sizeof(text)) == -1)
        return 0;
    return strtod(text, NULL);
}

static struct str text_of(const struct json_value *object, const char *name)
{
    struct json_value v;

    if (!json_get(object, str_from(name), &v) || v.type != JSON_STRING)
        return STR_LIT("");
    return (struct str){v.raw.p + 1, v.raw.n - 2};
}

static const char *bytes(double v, char *out, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(out, cap, "%.*f %s", i == 0 ? 0 : 1, v, units[i]);
    return out;
}

static const char *span(double s, char *out, size_t cap)
{
    if (s < 120)
        snprintf(out, cap, "%.0fs", s);
    else if (s < 7200)
        snprintf(out, cap, "%.0fm", s / 60);
    else
        snprintf(out, cap, "%.1fh", s / 3600);
    return out;
}

static void read_view(struct str page, struct view *v)
{
    clock_refresh();
    v->at_s = (double)clock_ns() / 1e9;
    v->upgrades = ctl_metric(page, "roost_upgrades_total", NULL);
    v->publications = ctl_metric(page, "roost_publications_in_total", NULL);
    v->deliveries = ctl_metric(page, "roost_deliveries_total", NULL);
    v->in_bytes = ctl_metric(page, "roost_read_bytes_total", NULL);
    v->out_bytes = ctl_metric(page, "roost_written_bytes_total", NULL);
    v->cpu = ctl_metric(page, "roost_process_cpu_seconds_total", NULL);
}

static bool is_draining(const struct json_value *node)
{
    struct json_value v;

    return json_get(node, STR_LIT("draining"), &v) && v.type == JSON_TRUE;
}

static void put_head(struct str page, const struct json_value *node, struct buf *out,
                     const char *eol)
{
    char a[32], b[32];
    struct str version = text_of(node, "version"), revision = text_of(node, "revision");
    int rc = buf_printf(out, "roost %.*s (%.*s), up %s%s%s", STR_ARG(version), STR_ARG(revision),
                        span(number(node, "uptime"), a, sizeof(a)),
                        is_draining(node) ? ", draining" : "", eol);

    rc |= buf_printf(out,
                     "connections  %.0f of %.0f    subscriptions %.0f    channels %.0f%s"
                     "queues       %.0f clients with %s unsent    rings %s%s",
                     number(node, "connections"), number(node, "max_connections"),
                     ctl_metric(page, "roost_subscriptions", NULL),
                     ctl_metric(page, "roost_hub_channels", NULL), eol,
                     ctl_metric(page, "roost_output_queues", NULL),
                     bytes(ctl_metric(page, "roost_output_queue_bytes", NULL), a, sizeof(a)),
                     bytes(ctl_metric(page, "roost_ring_to_hub_bytes", NULL) +
                               ctl_metric(page, "roost_ring_to_worker_bytes", NULL),
                           b, sizeof(b)),
                     eol);
    (void)rc; /* out of memory: the screen stays short */
}

static void put_rates(const struct view *now, const struct view *then, struct buf *out,
                      const char *eol)
{
    double t = now->at_s - then->at_s;
    char a[32], b[32];

    if (t <= 0)
        t = 1;
    if (buf_printf(out,
                   "per second   %.0f connects    %.0f publications    %.0f deliveries    in %s    "
                   "out %s    "
                   "%.2f cores%s",
                   (now->upgrades - then->upgrades) / t,
                   (now->publications - then->publications) / t,
                   (now->deliveries - then->deliveries) / t,
                   bytes((now->in_bytes - then->in_bytes) / t, a, sizeof(a)),
                   bytes((now->out_bytes - then->out_bytes) / t, b, sizeof(b)),
                   (now->cpu - then->cpu) / t, eol) == -1)
        return;
}

static void put_totals(const struct view *v, struct buf *out)
{
    char a[32], b[32];

    if (buf_printf(out,
                   "in all       %.0f connects    %.0f publications    %.0f deliveries    in %s    "
                   "out %s\n",
                   v->upgrades, v->publications, v->deliveries, bytes(v->in_bytes, a, sizeof(a)),
                   bytes(v->out_bytes, b, sizeof(b))) == -1)
        return;
}

static void put_processes(const struct json_value *node, struct buf *out, const char *eol)
{
    struct json_value list, p;
    struct str rest;
    int rc = buf_printf(out, "%s%-10s %8s %-9s %8s %9s %10s %11s %8s %9s%s", eol, "process", "pid",
                        "phase", "up", "cpu s", "resident", "connections", "subs", "restarts", eol);

    if (!json_get(node, STR_LIT("processes"), &list))
        return;
    rest = list.raw;
    while (json_element(&rest, &p)) {
        char a[32], b[32];
        struct str name = text_of(&p, "name"), phase = text_of(&p, "phase");

        rc |= buf_printf(out, "%-10.*s %8.0f %-9.*s %8s %9.2f %10s %11.0f %8.0f %9.0f%s",
                         STR_ARG(name), number(&p, "pid"), STR_ARG(phase),
                         span(number(&p, "uptime"), a, sizeof(a)), number(&p, "cpu_seconds"),
                         bytes(number(&p, "rss_bytes"), b, sizeof(b)), number(&p, "connections"),
                         number(&p, "subscriptions"), number(&p, "restarts"), eol);
    }
    (void)rc;
}

/* Reads both pages. 0, or -1 (said why unless quiet). */
static int fetch(struct buf *page, struct buf *node, struct json_value *v, bool quiet)
{
    size_t at;

    buf_clear(page);
    buf_clear(node);
    if (ctl_http("/metrics", NULL, page, quiet) != 200 ||
        ctl_http("/debug/processes", NULL, node, quiet) != 200)
        return -1;
    return json_parse(buf_view(node), v, &at);
}

int cmd_status(int argc, char **argv)
{
    struct buf page = {0}, node = {0}, out = {0};
    struct json_value v;
    struct view now;
    int rc = 1;

    (void)argc;
    (void)argv;
    if (fetch(&page, &node, &v, false) == 0) {
        read_view(buf_view(&page), &now);
        put_head(buf_view(&page), &v, &out, "\n");
        put_totals(&now, &out);
        put_processes(&v, &out, "\n");
        fwrite(out.p, 1, out.len, stdout);
        rc = 0;
    }
    buf_fini(&page);
    buf_fini(&node);
    buf_fini(&out);
    return rc;
}

static struct termios saved;

static void raw_terminal(bool on)
{
    struct termios t;

    if (!on) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
        printf("\033[?25h\033[?1049l");
    } else if (tcgetattr(STDIN_FILENO, &saved) == 0) {
        t = saved;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &t);
        printf("\033[?1049h\033[?25l"); /* a screen of our own, no cursor */
    }
    fflush(stdout);
}

/* A second's pause that q ends. */
static void pause_for_key(bool keys)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char c;

    if (poll(&p, keys ? 1 : 0, 1000) > 0 && read(STDIN_FILENO, &c, 1) == 1 &&
        (c == 'q' || c == 'Q'))
        stop = 1;
}

static void draw(const struct buf *out, bool live)
{
    if (live)
        printf("\033[H");
    fwrite(out->p, 1, out->len, stdout);
    if (live)
        printf("\033[J");
    else
        printf("\n");
    fflush(stdout);
}

int cmd_top(int argc, char **argv)
{
    bool once = argc > 1 && str_equal(str_from(argv[1]), STR_LIT("--once"));
    bool live = !once && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    const char *eol = live ? "\033[K\r\n" : "\n";
    struct buf page = {0}, node = {0}, out = {0};
    struct sigaction sa = {.sa_handler = on_stop};
    struct view then, now;
    struct json_value v;
    int rc = 0;

    if (fetch(&page, &node, &v, false) == -1) {
        buf_fini(&page);
        buf_fini(&node);
        return 1;
    }
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    read_view(buf_view(&page), &then);
    if (live)
        raw_terminal(true);
    do {
        pause_for_key(live);
        buf_clear(&out);
        if (stop)
            break;
        if (fetch(&page, &node, &v, true) == 0) {
            read_view(buf_view(&page), &now);
            put_head(buf_view(&page), &v, &out, eol);
            put_rates(&now, &then, &out, eol);
            put_processes(&v, &out, eol);
            then = now;
            rc = 0;
        } else {
            rc = buf_printf(&out, "no answer from http://%s:%s, trying again%s", ctl.host, ctl.port,
                            eol) == -1;
        }
        if (live && buf_printf(&out, "%sq quits%s", eol, eol) == -1)
            break;
        draw(&out, live);
    } while (!once);
    if (live)
        raw_terminal(false);
    buf_fini(&page);
    buf_fini(&node);
    buf_fini(&out);
    return rc;
}
