/* report_json.c - all results as one JSON document, as report.schema.json describes it. Times in
 * seconds, sizes in bytes; names as in load_metrics.def. */
#include <errno.h>

#include "base/out.h"
#include "codec/json.h"
#include "coordinator.h"
#include "failif.h"
#include "proc/version.h"

#define JSON_SCHEMA 1

static int put_text(struct buf *b, const char *name, const char *value)
{
    if (buf_printf(b, "\"%s\":", name) == -1)
        return -1;
    return json_append_string(b, str_from(value));
}

/* Reports are passed on; what stands in a header field may be a token: its name alone. */
static int put_header_names(struct buf *b, struct str headers)
{
    struct buf names = {0};
    struct str header;
    int rc = 0;

    while (rc == 0 && headers.n > 0 && str_cut(&headers, '\n', &header))
        rc = buf_printf(&names, "%s%.*s: ...", names.len > 0 ? "\n" : "",
                        (int)str_find(header, ':'), header.p);
    if (rc == 0 && buf_append_lit(b, "\"header\":") == 0)
        rc = json_append_string(b, buf_view(&names));
    buf_fini(&names);
    return rc;
}

static int put_option(struct buf *b, size_t i)
{
    char text[OPTION_LIST_MAX];

    options_show(&load_shared->options, i, text, sizeof(text));
    if (strcmp(options_name(i), "header") == 0)
        return put_header_names(b, str_from(text));
    if (strcmp(options_name(i), "token-key") == 0 && text[0] != '\0')
        return put_text(b, options_name(i), "...");
    return put_text(b, options_name(i), text);
}

static int put_options(struct buf *b)
{
    bool first = true;

    if (buf_append_lit(b, "\"options\":{") == -1)
        return -1;
    for (size_t i = 0; i < options_count(); i++) {
        if ((!first && buf_append_char(b, ',') == -1) || put_option(b, i) == -1)
            return -1;
        first = false;
    }
    return buf_append_lit(b, "},\n");
}

static int put_counters(struct buf *b, const struct load_metrics *m)
{
    int rc = buf_append_lit(b, "\"counters\":{");
    const char *sep = "";

#define COUNTER(member, label, meaning)                                                            \
    rc |= buf_printf(b, "%s\"%s\":%llu", sep, #member, (unsigned long long)m->member);             \
    sep = ",";
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return rc | buf_append_lit(b, "},\n");
}

static double s(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Percentiles, and the non-empty buckets as [upper bound in s, count]. */
static int put_latency(struct buf *b, const char *name, const char *label, const struct hdr *h)
{
    const char *sep = "";
    int rc = buf_printf(
        b,
        "\"%s\":{\"label\":\"%s\",\"count\":%llu,\"mean\":%.9f,\"p50\":%.9f,\"p90\":%.9f,"
        "\"p99\":%.9f,\"p99.9\":%.9f,\"max\":%.9f,\"buckets\":[",
        name, label, (unsigned long long)h->count, h->count > 0 ? s(h->sum) / (double)h->count : 0,
        s(hdr_quantile(h, 0.5)), s(hdr_quantile(h, 0.9)), s(hdr_quantile(h, 0.99)),
        s(hdr_quantile(h, 0.999)), s(h->max));

    for (size_t i = 0; i < HDR_BUCKETS && rc == 0; i++) {
        if (h->bucket[i] == 0)
            continue;
        rc = buf_printf(b, "%s[%.9f,%llu]", sep, s(hdr_bound(i)), (unsigned long long)h->bucket[i]);
        sep = ",";
    }
    return rc | buf_append_lit(b, "]}");
}

static int put_latencies(struct buf *b, const struct load_metrics *m)
{
    int rc = buf_append_lit(b, "\"latencies\":{");
    const char *sep = "";

#define COUNTER(member, label, meaning)
#define LATENCY(member, label, meaning)                                                            \
    rc |= buf_append_lit(b, sep);                                                                  \
    rc |= put_latency(b, #member, label, &m->member);                                              \
    sep = ",\n";
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return rc | buf_append_lit(b, "},\n");
}

/* What has been counted in this row; what has not is left out. */
static int put_counts(struct buf *b, const struct load_counts *n)
{
    int rc = buf_append_lit(b, "\"counts\":{");
    const char *sep = "";

#define COUNTER(member, label, meaning)                                                            \
    if (n->member != 0) {                                                                          \
        rc |= buf_printf(b, "%s\"%s\":%lld", sep, #member, (long long)n->member);                  \
        sep = ",";                                                                                 \
    }
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return rc | buf_append_lit(b, "}}");
}

static int put_row(struct buf *b, const struct second *t)
{
    const struct load_counts *n = &t->counts;

    int rc = buf_printf(
        b,
        "{\"at\":%.3f,\"length\":%.3f,\"phase\":\"%s\",\"ready\":%llu,\"connecting\":%llu,"
        "\"connects\":%.1f,\"failures\":%.1f,\"messages_in\":%.1f,"
        "\"messages_out\":%.1f,\"bytes_in\":%.1f,\"bytes_out\":%.1f,",
        t->at_s, t->length_s, phase_name(t->phase), (unsigned long long)t->ready,
        (unsigned long long)t->connecting, per_second(t, n->connects_done),
        per_second(t, LOAD_FAILURES(n)), per_second(t, n->messages_in),
        per_second(t, n->messages_out), per_second(t, n->bytes_in), per_second(t, n->bytes_out));

    rc |= buf_printf(b,
                     "\"p50\":%.9f,\"p90\":%.9f,\"p99\":%.9f,\"p99.9\":%.9f,\"max\":%.9f,"
                     "\"cpu\":%.3f,\"rss\":%llu,\"tcp_memory\":%llu,\"sampled\":%.3f,",
                     s(t->p50), s(t->p90), s(t->p99), s(t->p999), s(t->max), t->cpu,
                     (unsigned long long)t->rss_bytes, (unsigned long long)t->tcp_memory_bytes,
                     t->sampled_s);
    return rc | put_counts(b, n);
}

static int put_series(struct buf *b, const struct results *r)
{
    int rc = buf_append_lit(b, "\"seconds\":[");

    for (size_t i = 0; i < r->nseconds && rc == 0; i++) {
        rc = buf_append_lit(b, i == 0 ? "" : ",\n");
        rc |= put_row(b, &r->seconds[i]);
    }
    return rc | buf_append_lit(b, "],\n");
}

/* How the counters are called in the summary and on the page. */
static int put_labels(struct buf *b)
{
    int rc = buf_append_lit(b, "\"labels\":{");
    const char *sep = "";

#define COUNTER(member, label, meaning)                                                            \
    rc |= buf_printf(b, "%s\"%s\":\"%s\"", sep, #member, label);                                   \
    sep = ",";
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return rc | buf_append_lit(b, "},\n");
}

/* What the counters mean, for people who read the document or the page. */
static int put_meanings(struct buf *b)
{
    int rc = buf_append_lit(b, "\"meanings\":{");
    const char *sep = "";

#define COUNTER(member, label, meaning)                                                            \
    rc |= buf_printf(b, "%s\"%s\":\"%s\"", sep, #member, meaning);                                 \
    sep = ",";
#define LATENCY(member, label, meaning) COUNTER(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return rc | buf_append_lit(b, "},\n");
}

static int put_thresholds(struct buf *b, const struct results *r)
{
    struct str rest = str_from(load_shared->options.fail_if), e;
    int rc = buf_append_lit(b, "\"thresholds\":[");
    const char *sep = "";
    struct failif c;
    char err[256];

    while (rc == 0 && rest.n > 0 && str_cut(&rest, '\n', &e)) {
        if (failif_check(e, load_shared->options.scenario, &r->total, r->storm_recovery_s, &c, err,
                         sizeof(err)) == -1)
            continue; /* plan_make() has read them: cannot be */
        rc = buf_printf(b, "%s{\"fail_if\":", sep);
        rc |= json_append_string(b, e);
        rc |= buf_printf(b, ",\"failed\":%s,\"measured\":%s,\"unit\":\"%s\",\"value\":%.9g}",
                         c.fails ? "true" : "false", c.unmeasured ? "false" : "true",
                         c.time ? "s" : "", c.time ? c.value / 1e9 : c.value);
        sep = ",";
    }
    return rc | buf_append_lit(b, "],\n");
}

static int put_sample(struct buf *b, const char *name, const struct results *r,
                      const struct sample *p)
{
    char at[32] = "null";

    if (p->at_ns != 0)
        snprintf(at, sizeof(at), "%.3f", sampled_s(r, p));
    return buf_printf(b,
                      "\"%s\":{\"at\":%s,\"processes\":%u,\"cpu_seconds\":%.3f,\"rss\":%llu,"
                      "\"private\":%llu,\"tcp_memory\":%llu,\"slab\":%llu}",
                      name, at, p->processes, p->cpu_seconds, (unsigned long long)p->rss_bytes,
                      (unsigned long long)p->private_bytes, (unsigned long long)p->tcp_memory_bytes,
                      (unsigned long long)p->slab_bytes);
}

static int put_server(struct buf *b, const struct results *r)
{
    struct server_figures f = report_server(r);
    int rc = buf_append_lit(b, "\"server\":{");

    rc |= put_sample(b, "start", r, &r->server_start);
    rc |= buf_append_char(b, ',');
    rc |= put_sample(b, "ramped", r, &r->server_ramped);
    rc |= buf_append_char(b, ',');
    rc |= put_sample(b, "end", r, &r->server_end);
    return rc | buf_printf(b,
                           ",\"per_connection\":{\"private\":%.1f,\"resident\":%.1f,\"slab\":%.1f},"
                           "\"run_cpu_seconds\":%.3f,\"run_cores\":%.4f,"
                           "\"cpu_seconds_per_message\":%.9f}",
                           f.private_bytes, f.resident_bytes, f.slab_bytes, f.run_cpu_s,
                           f.run_cores, f.cpu_s_per_message);
}

int report_document(const struct results *r, struct buf *b)
{
    char storm_at[32] = "null";
    int rc;

    if (r->stormed)
        snprintf(storm_at, sizeof(storm_at), "%.6f", r->stormed_s);
    rc = buf_printf(b,
                    "{\"schema\":%d,\"program\":\"roostload\",\"version\":\"%s\",\"scenario\":\"%"
                    "s\",\"started_at\":%lld,\"interrupted\":%s,\n"
                    "\"users\":%llu,\"processes\":%u,\"ready_max\":%llu,\"given_up\":%llu,"
                    "\"ramp_seconds\":%.3f,\"run_seconds\":%.3f,\"storm_recovery_seconds\":%.6f,"
                    "\"storm_at\":%s,\"verdict\":\"%s\","
                    "\"run_messages_in\":%llu,\"run_messages_out\":%llu,\"run_pings_in\":%llu,"
                    "\"ramped\":%llu,\"ramp_stalled_seconds\":%.1f,\"row_seconds\":%u,"
                    "\"tail_checked\":%s,\"main_latency\":\"%s\",\n",
                    JSON_SCHEMA, version_string(), scenario_name(load_shared->options.scenario),
                    (long long)r->started_at, r->interrupted ? "true" : "false",
                    (unsigned long long)load_shared->users, load_shared->processes,
                    (unsigned long long)r->ready_max, (unsigned long long)r->given_up, r->ramp_s,
                    r->run_s, r->storm_recovery_s, storm_at, report_verdict(r),
                    (unsigned long long)r->run_messages_in, (unsigned long long)r->run_messages_out,
                    (unsigned long long)r->run_pings_in, (unsigned long long)r->ramped,
                    r->ramp_stalled_s, r->row_seconds,
                    load_shared->tail_unchecked ? "false" : "true",
                    failif_main_latency(load_shared->options.scenario));

    rc |= put_options(b);
    rc |= put_thresholds(b, r);
    rc |= put_counters(b, &r->total);
    rc |= put_latencies(b, &r->total);
    rc |= put_labels(b);
    rc |= put_meanings(b);
    rc |= put_series(b, r);
    rc |= put_server(b, r);
    rc |= buf_append_lit(b, "}\n");
    return rc == 0 ? 0 : -1;
}

static int write_file(const char *path, struct str text)
{
    FILE *f;
    bool bad;

    if (strcmp(path, "-") == 0) {
        out_write(text); /* whether that was possible is known at the end */
        return 0;
    }
    f = fopen(path, "we");
    if (f == NULL)
        return -1;
    bad = fwrite(text.p, 1, text.n, f) != text.n;
    return fclose(f) != 0 || bad ? -1 : 0;
}

int report_json(const char *path, const struct results *r)
{
    struct buf b = {0};
    int rc = report_document(r, &b);

    if (rc == -1)
        errno = ENOMEM;
    else
        rc = write_file(path, buf_view(&b));
    buf_fini(&b);
    return rc;
}

/* The document in a script element, which a "</script" in one of its strings would end: '<' stands
 * nowhere else in it, and its escape means the same. */
static int put_in_page(struct buf *b, struct str document)
{
    int rc = 0;

    while (rc == 0 && document.n > 0) {
        struct str piece = {document.p, str_find(document, '<')};

        rc = buf_append(b, piece);
        document = str_skip(document, piece.n);
        if (rc == 0 && document.n > 0) {
            rc = buf_append_lit(b, "\\u003c");
            document = str_skip(document, 1);
        }
    }
    return rc;
}

int report_html(const char *path, const struct results *r)
{
    extern const char report_page_head[], report_page_head_end[], report_page_tail[],
        report_page_tail_end[];
    struct buf b = {0}, document = {0};
    int rc = buf_append(
        &b, (struct str){report_page_head, (size_t)(report_page_head_end - report_page_head)});

    rc |= report_document(r, &document);
    rc |= put_in_page(&b, buf_view(&document));
    buf_fini(&document);
    rc |= buf_append(
        &b, (struct str){report_page_tail, (size_t)(report_page_tail_end - report_page_tail)});
    if (rc != 0) {
        errno = ENOMEM;
        rc = -1;
    } else {
        rc = write_file(path, buf_view(&b));
    }
    buf_fini(&b);
    return rc;
}
