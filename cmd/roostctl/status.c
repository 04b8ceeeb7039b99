/* cmd/roostctl/status.c - the node at a glance: status, and what top shows. */
#include "base/clock.h"
#include "base/out.h"
#include "ctl.h"

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

double ctl_number(const struct json_value *object, const char *name)
{
    struct json_value v;
    char text[64];

    if (!json_get(object, str_from(name), &v) || str_copy(v.raw, text, sizeof(text)) == -1)
        return 0;
    return strtod(text, NULL);
}

struct str ctl_text(const struct json_value *object, const char *name)
{
    struct json_value v;

    if (!json_get(object, str_from(name), &v) || v.type != JSON_STRING)
        return STR_LIT("");
    return (struct str){v.raw.p + 1, v.raw.n - 2};
}

/* 999999, 1.23M, 64.0M. */
static const char *scaled(double v, double step, double plain, const char *const units[],
                          size_t count, char *out)
{
    size_t i = 0;

    for (; (i == 0 ? v >= plain : v >= step) && i + 1 < count; i++)
        v /= step;
    snprintf(out, CTL_NUMBER_MAX, "%.*f%s", i == 0 ? 0 : v < 10 ? 2 : v < 100 ? 1 : 0, v, units[i]);
    return out;
}

const char *ctl_amount(double v, char *out)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};

    return scaled(v, 1000, 1e6, units, ARRAY_LEN(units), out);
}

const char *ctl_bytes(double v, char *out)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};

    return scaled(v, 1024, 1024, units, ARRAY_LEN(units), out);
}

const char *ctl_span(double s, char *out)
{
    if (s < 120)
        snprintf(out, CTL_NUMBER_MAX, "%.0fs", s);
    else if (s < 7200)
        snprintf(out, CTL_NUMBER_MAX, "%.0fm", s / 60);
    else if (s < 48 * 3600)
        snprintf(out, CTL_NUMBER_MAX, "%.1fh", s / 3600);
    else
        snprintf(out, CTL_NUMBER_MAX, "%.0fd", s / 86400);
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
    char a[CTL_NUMBER_MAX], b[CTL_NUMBER_MAX], c[CTL_NUMBER_MAX], d[CTL_NUMBER_MAX];
    const struct json_value *node = &v->processes;
    struct str version = ctl_text(node, "version"), revision = ctl_text(node, "revision");
    struct str page = buf_view(&v->page);

    if (buf_printf(out, "roost %.*s (%.*s), up %s%s\n", STR_ARG(version), STR_ARG(revision),
                   ctl_span(ctl_number(node, "uptime"), a),
                   is_draining(node) ? ", draining" : "") == -1 ||
        buf_printf(out, "connections  %s of %s    subscriptions %s    channels %s\n",
                   ctl_amount(ctl_number(node, "connections"), a),
                   ctl_amount(ctl_number(node, "max_connections"), b),
                   ctl_amount(ctl_metric(page, "roost_subscriptions", NULL), c),
                   ctl_amount(ctl_metric(page, "roost_hub_channels", NULL), d)) == -1)
        return -1;
    return buf_printf(out, "queues       %s clients with %s unsent    rings %s\n",
                      ctl_amount(ctl_metric(page, "roost_output_queues", NULL), a),
                      ctl_bytes(ctl_metric(page, "roost_output_queue_bytes", NULL), b),
                      ctl_bytes(ctl_metric(page, "roost_ring_to_hub_bytes", NULL) +
                                    ctl_metric(page, "roost_ring_to_worker_bytes", NULL),
                                c));
}

static int put_rates(const struct ctl_view *now, const struct ctl_view *then, struct buf *out)
{
    char a[CTL_NUMBER_MAX], b[CTL_NUMBER_MAX], c[CTL_NUMBER_MAX], d[CTL_NUMBER_MAX],
        e[CTL_NUMBER_MAX];
    double t = now->at_s > then->at_s ? now->at_s - then->at_s : 1;

    return buf_printf(out,
                      "per second   %s connects    %s publications    %s deliveries\n"
                      "             in %s    out %s    %.2f cores\n",
                      ctl_amount((now->upgrades - then->upgrades) / t, a),
                      ctl_amount((now->publications - then->publications) / t, b),
                      ctl_amount((now->deliveries - then->deliveries) / t, c),
                      ctl_bytes((now->in_bytes - then->in_bytes) / t, d),
                      ctl_bytes((now->out_bytes - then->out_bytes) / t, e),
                      (now->cpu - then->cpu) / t);
}

static int put_totals(const struct ctl_view *v, struct buf *out)
{
    char a[CTL_NUMBER_MAX], b[CTL_NUMBER_MAX], c[CTL_NUMBER_MAX], d[CTL_NUMBER_MAX],
        e[CTL_NUMBER_MAX];

    return buf_printf(out,
                      "in all       %s connects    %s publications    %s deliveries\n"
                      "             in %s    out %s\n",
                      ctl_amount(v->upgrades, a), ctl_amount(v->publications, b),
                      ctl_amount(v->deliveries, c), ctl_bytes(v->in_bytes, d),
                      ctl_bytes(v->out_bytes, e));
}

static int put_process(const struct json_value *p, struct buf *out)
{
    char up[CTL_NUMBER_MAX], cpu[CTL_NUMBER_MAX], rss[CTL_NUMBER_MAX], conns[CTL_NUMBER_MAX],
        subs[CTL_NUMBER_MAX], restarts[CTL_NUMBER_MAX];
    struct str name = ctl_text(p, "name"), phase = ctl_text(p, "phase");
    double seconds = ctl_number(p, "cpu_seconds");

    snprintf(cpu, sizeof(cpu), "%.*f", seconds < 1e5 ? 2 : 0, seconds);
    return buf_printf(out, "%-10.*s %7.0f %-8.*s %5s %8s %8s %7s %7s %8s\n", STR_ARG(name),
                      ctl_number(p, "pid"), STR_ARG(phase), ctl_span(ctl_number(p, "uptime"), up),
                      cpu, ctl_bytes(ctl_number(p, "rss_bytes"), rss),
                      ctl_amount(ctl_number(p, "connections"), conns),
                      ctl_amount(ctl_number(p, "subscriptions"), subs),
                      ctl_amount(ctl_number(p, "restarts"), restarts));
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

static int put_number(struct buf *out, const char *name, double v)
{
    char text[CTL_NUMBER_MAX];

    snprintf(text, sizeof(text), "%.15g", v);
    return ctl_put_raw(out, name, str_from(text));
}

static const struct {
    const char *name;
    size_t offset; /* in struct ctl_view */
} sums[] = {{"connects", offsetof(struct ctl_view, upgrades)},
            {"publications", offsetof(struct ctl_view, publications)},
            {"deliveries", offsetof(struct ctl_view, deliveries)},
            {"in_bytes", offsetof(struct ctl_view, in_bytes)},
            {"out_bytes", offsetof(struct ctl_view, out_bytes)},
            {"cpu_seconds", offsetof(struct ctl_view, cpu)}};

static double sum_of(const struct ctl_view *v, size_t i)
{
    return *(const double *)((const char *)v + sums[i].offset);
}

/* What has been counted; then given: a second, and what is a rate of CPU time is a number of cores. */
static int put_sums(const struct ctl_view *now, const struct ctl_view *then, struct buf *out)
{
    double t = then != NULL && now->at_s > then->at_s ? now->at_s - then->at_s : 1;
    int rc = 0;

    rc |= ctl_put_raw(out, then != NULL ? "per_second" : "totals", STR_LIT("{"));
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        rc |= put_number(out, sums[i].name,
                         then != NULL ? (sum_of(now, i) - sum_of(then, i)) / t : sum_of(now, i));
    return rc | buf_append_char(out, '}');
}

/* The page of processes, and what else the screen has. */
int view_write_json(const struct ctl_view *now, const struct ctl_view *then, struct buf *out)
{
    static const char *const gauges[][2] = {{"subscriptions", "roost_subscriptions"},
                                            {"channels", "roost_hub_channels"},
                                            {"output_queues", "roost_output_queues"},
                                            {"output_queue_bytes", "roost_output_queue_bytes"},
                                            {"ring_to_hub_bytes", "roost_ring_to_hub_bytes"},
                                            {"ring_to_worker_bytes", "roost_ring_to_worker_bytes"}};
    struct str rest = now->processes.raw, page = buf_view(&now->page);
    struct json_value key, value;
    struct buf text = {0};
    int rc = buf_append_char(&text, '{');

    while (json_member(&rest, &key, &value)) {
        rc |= text.len > 1 ? buf_append_char(&text, ',') : 0;
        rc |= buf_append(&text, key.raw);
        rc |= buf_append_char(&text, ':');
        rc |= buf_append(&text, value.raw);
    }
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        rc |= put_number(&text, gauges[i][0], ctl_metric(page, gauges[i][1], NULL));
    rc |= put_sums(now, then, &text);
    rc |= buf_append_char(&text, '}');
    rc |= ctl_append_line(out, buf_view(&text));
    buf_fini(&text);
    return rc == 0 ? 0 : -1;
}

int cmd_status(const struct ctl_line *cmdline UNUSED)
{
    struct ctl_view view = {0};
    struct buf out = {0};
    int rc = 1;

    if (view_read(&view, false) == 0 &&
        (ctl.output == CTL_JSON ? view_write_json(&view, NULL, &out)
                                : view_draw(&view, NULL, &out)) == 0) {
        out_write(buf_view(&out));
        rc = 0;
    }
    view_fini(&view);
    buf_fini(&out);
    return rc;
}
