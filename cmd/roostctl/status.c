/* cmd/roostctl/status.c - the node at a glance: status, and what top shows. */
#include "base/clock.h"
#include "base/out.h"
#include "ctl.h"

#define NUMBER_MAX 32

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

/* Numbers are at most 8 columns wide, so that the lines fit 80: 999999, 1.23M, 64.0M. */
static const char *scaled(double v, double step, double plain, const char *const units[],
                          size_t count, char *out)
{
    size_t i = 0;

    for (; (i == 0 ? v >= plain : v >= step) && i + 1 < count; i++)
        v /= step;
    snprintf(out, NUMBER_MAX, "%.*f%s", i == 0 ? 0 : v < 10 ? 2 : v < 100 ? 1 : 0, v, units[i]);
    return out;
}

static const char *amount(double v, char *out)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};

    return scaled(v, 1000, 1e6, units, ARRAY_LEN(units), out);
}

static const char *bytes(double v, char *out)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};

    return scaled(v, 1024, 1024, units, ARRAY_LEN(units), out);
}

static const char *span(double s, char *out)
{
    if (s < 120)
        snprintf(out, NUMBER_MAX, "%.0fs", s);
    else if (s < 7200)
        snprintf(out, NUMBER_MAX, "%.0fm", s / 60);
    else if (s < 48 * 3600)
        snprintf(out, NUMBER_MAX, "%.1fh", s / 3600);
    else
        snprintf(out, NUMBER_MAX, "%.0fd", s / 86400);
    return out;
}

static void read_numbers(struct ctl_view *v)
{
    struct str page = buf_view(&v->page);

    clock_refresh();
    v->at_s = (double)clock_ns() / 1e9;
    v->upgrades = ctl_metric(page, "roost_upgrades_total", NULL);
    v->publications = ctl_metric(page, "roost_publications_in_total", NULL);
    v->deliveries = ctl_metric(page, "roost_deliveries_total", NULL);
    v->in_bytes = ctl_metric(page, "roost_read_bytes_total", NULL);
    v->out_bytes = ctl_metric(page, "roost_written_bytes_total", NULL);
    v->cpu = ctl_metric(page, "roost_process_cpu_seconds_total", NULL);
}

int view_read(struct ctl_view *v, bool quiet)
{
    struct json_value list;
    size_t at;

    buf_clear(&v->page);
    buf_clear(&v->node);
    if (ctl_ask("/metrics", NULL, &v->page, quiet) == -1 ||
        ctl_ask("/debug/processes", NULL, &v->node, quiet) == -1)
        return -1;
    if (json_parse(buf_view(&v->node), &v->processes, &at) == -1 ||
        !json_get(&v->processes, STR_LIT("processes"), &list))
        return ctl_wrong_server("its /debug/processes lists none", quiet);
    read_numbers(v);
    return 0;
}

void view_fini(struct ctl_view *v)
{
    buf_fini(&v->page);
    buf_fini(&v->node);
}

static bool is_draining(const struct json_value *node)
{
    struct json_value v;

    return json_get(node, STR_LIT("draining"), &v) && v.type == JSON_TRUE;
}

static int put_head(const struct ctl_view *v, struct buf *out)
{
    char a[NUMBER_MAX], b[NUMBER_MAX], c[NUMBER_MAX], d[NUMBER_MAX];
    const struct json_value *node = &v->processes;
    struct str version = text_of(node, "version"), revision = text_of(node, "revision");
    struct str page = buf_view(&v->page);

    if (buf_printf(out, "roost %.*s (%.*s), up %s%s\n", STR_ARG(version), STR_ARG(revision),
                   span(number(node, "uptime"), a), is_draining(node) ? ", draining" : "") == -1 ||
        buf_printf(out, "connections  %s of %s    subscriptions %s    channels %s\n",
                   amount(number(node, "connections"), a),
                   amount(number(node, "max_connections"), b),
                   amount(ctl_metric(page, "roost_subscriptions", NULL), c),
                   amount(ctl_metric(page, "roost_hub_channels", NULL), d)) == -1)
        return -1;
    return buf_printf(out, "queues       %s clients with %s unsent    rings %s\n",
                      amount(ctl_metric(page, "roost_output_queues", NULL), a),
                      bytes(ctl_metric(page, "roost_output_queue_bytes", NULL), b),
                      bytes(ctl_metric(page, "roost_ring_to_hub_bytes", NULL) +
                                ctl_metric(page, "roost_ring_to_worker_bytes", NULL),
                            c));
}

static int put_rates(const struct ctl_view *now, const struct ctl_view *then, struct buf *out)
{
    char a[NUMBER_MAX], b[NUMBER_MAX], c[NUMBER_MAX], d[NUMBER_MAX], e[NUMBER_MAX];
    double t = now->at_s > then->at_s ? now->at_s - then->at_s : 1;

    return buf_printf(out,
                      "per second   %s connects    %s publications    %s deliveries\n"
                      "             in %s    out %s    %.2f cores\n",
                      amount((now->upgrades - then->upgrades) / t, a),
                      amount((now->publications - then->publications) / t, b),
                      amount((now->deliveries - then->deliveries) / t, c),
                      bytes((now->in_bytes - then->in_bytes) / t, d),
                      bytes((now->out_bytes - then->out_bytes) / t, e), (now->cpu - then->cpu) / t);
}

static int put_totals(const struct ctl_view *v, struct buf *out)
{
    char a[NUMBER_MAX], b[NUMBER_MAX], c[NUMBER_MAX], d[NUMBER_MAX], e[NUMBER_MAX];

    return buf_printf(out,
                      "in all       %s connects    %s publications    %s deliveries\n"
                      "             in %s    out %s\n",
                      amount(v->upgrades, a), amount(v->publications, b), amount(v->deliveries, c),
                      bytes(v->in_bytes, d), bytes(v->out_bytes, e));
}

static int put_process(const struct json_value *p, struct buf *out)
{
    char up[NUMBER_MAX], cpu[NUMBER_MAX], rss[NUMBER_MAX], conns[NUMBER_MAX], subs[NUMBER_MAX],
        restarts[NUMBER_MAX];
    struct str name = text_of(p, "name"), phase = text_of(p, "phase");
    double seconds = number(p, "cpu_seconds");

    snprintf(cpu, sizeof(cpu), "%.*f", seconds < 1e5 ? 2 : 0, seconds);
    return buf_printf(out, "%-10.*s %7.0f %-8.*s %5s %8s %8s %7s %7s %8s\n", STR_ARG(name),
                      number(p, "pid"), STR_ARG(phase), span(number(p, "uptime"), up), cpu,
                      bytes(number(p, "rss_bytes"), rss), amount(number(p, "connections"), conns),
                      amount(number(p, "subscriptions"), subs),
                      amount(number(p, "restarts"), restarts));
}

static int put_processes(const struct json_value *node, struct buf *out)
{
    struct json_value list, p;
    struct str rest;

    if (buf_printf(out, "\n%-10s %7s %-8s %5s %8s %8s %7s %7s %8s\n", "process", "pid", "phase",
                   "up", "cpu s", "resident", "conns", "subs", "restarts") == -1)
        return -1;
    if (!json_get(node, STR_LIT("processes"), &list))
        return 0;
    rest = list.raw;
    while (json_element(&rest, &p))
        if (put_process(&p, out) == -1)
            return -1;
    return 0;
}

int view_draw(const struct ctl_view *now, const struct ctl_view *then, struct buf *out)
{
    if (put_head(now, out) == -1 ||
        (then != NULL ? put_rates(now, then, out) : put_totals(now, out)) == -1)
        return -1;
    return put_processes(&now->processes, out);
}

int cmd_status(const struct ctl_line *cmdline UNUSED)
{
    struct ctl_view view = {0};
    struct buf out = {0};
    int rc = 1;

    if (view_read(&view, false) == 0 && view_draw(&view, NULL, &out) == 0) {
        out_write(buf_view(&out));
        rc = 0;
    }
    view_fini(&view);
    buf_fini(&out);
    return rc;
}
