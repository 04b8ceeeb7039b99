/* report.c - the summary on the terminal and the thresholds. */
#include "base/out.h"
#include "coordinator.h"
#include "engine.h"
#include "failif.h"

const char *report_latency(uint64_t ns, char *out, size_t cap)
{
    if (ns == 0)
        snprintf(out, cap, "-");
    else if (ns < 1000000)
        snprintf(out, cap, "%.0fus", (double)ns / 1e3);
    else if (ns < 1000000000)
        snprintf(out, cap, "%.2fms", (double)ns / 1e6);
    else
        snprintf(out, cap, "%.2fs", (double)ns / 1e9);
    return out;
}

const char *report_bytes(uint64_t bytes, char *out, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    snprintf(out, cap, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
    return out;
}

static void print_counters(FILE *f, const struct load_metrics *m)
{
#define COUNTER(member, label, meaning)                                                            \
    if (m->member > 0)                                                                             \
        fprintf(f, "  %-22s %14llu  %s\n", label, (unsigned long long)m->member, meaning);
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
}

static void print_latency(FILE *f, const char *label, const struct hdr *h)
{
    char p[5][32];

    if (h->count == 0)
        return;
    fprintf(f, "  %-22s %10s %10s %10s %10s %10s  (%llu)\n", label,
            report_latency(hdr_quantile(h, 0.5), p[0], sizeof(p[0])),
            report_latency(hdr_quantile(h, 0.9), p[1], sizeof(p[1])),
            report_latency(hdr_quantile(h, 0.99), p[2], sizeof(p[2])),
            report_latency(hdr_quantile(h, 0.999), p[3], sizeof(p[3])),
            report_latency(h->max, p[4], sizeof(p[4])), (unsigned long long)h->count);
}

static void print_latencies(FILE *f, const struct load_metrics *m)
{
    fprintf(f, "\n  %-22s %10s %10s %10s %10s %10s  (samples)\n", "latency", "p50", "p90", "p99",
            "p99.9", "max");
#define COUNTER(member, label, meaning)
#define LATENCY(member, label, meaning) print_latency(f, label, &m->member);
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
}

static double each(uint64_t before, uint64_t after, uint64_t n)
{
    return n > 0 && after > before ? (double)(after - before) / (double)n : 0;
}

struct server_figures report_server(const struct results *r)
{
    const struct sample *a = &r->server_start, *b = &r->server_ramped, *c = &r->server_end;
    struct server_figures f = {0};

    if (b->processes == 0)
        return f;
    f.private_bytes = each(a->private_bytes, b->private_bytes, r->ramped);
    f.resident_bytes = each(a->rss_bytes, b->rss_bytes, r->ramped);
    f.slab_bytes = each(a->slab_bytes, b->slab_bytes, r->ramped);
    if (c->cpu_seconds > b->cpu_seconds && c->at_ns > b->at_ns && r->run_s > 0) {
        /* The samples are a little later than the instants they are for. */
        f.run_cores = (c->cpu_seconds - b->cpu_seconds) / ((double)(c->at_ns - b->at_ns) / 1e9);
        f.run_cpu_s = f.run_cores * r->run_s;
        if (r->run_messages_in > 0)
            f.cpu_s_per_message = f.run_cpu_s / (double)r->run_messages_in;
    }
    return f;
}

static void print_server(FILE *f, const struct results *r)
{
    struct server_figures s = report_server(r);
    char text[2][32];

    if (r->server_ramped.processes == 0)
        return;
    fprintf(f, "\nserver (%u processes watched)\n", r->server_ramped.processes);
    if (s.private_bytes > 0)
        fprintf(f, "  private memory per connection  %.0f B\n", s.private_bytes);
    if (s.resident_bytes > 0)
        fprintf(f, "  resident memory per connection %.0f B\n", s.resident_bytes);
    if (s.slab_bytes > 0)
        fprintf(f, "  kernel slab per connection     %.0f B (both ends, whole machine)\n",
                s.slab_bytes);
    if (s.run_cpu_s > 0)
        fprintf(f, "  CPU during the run             %.2f s = %.2f cores\n", s.run_cpu_s,
                s.run_cores);
    if (s.cpu_s_per_message > 0)
        fprintf(f, "  CPU per delivered message      %s\n",
                report_latency((uint64_t)(s.cpu_s_per_message * 1e9), text[0], sizeof(text[0])));
    fprintf(f, "  resident %s, socket buffers of this machine %s\n",
            report_bytes(r->server_end.rss_bytes, text[0], sizeof(text[0])),
            report_bytes(r->server_end.tcp_memory_bytes, text[1], sizeof(text[1])));
}

static void print_tls_failure(FILE *f)
{
    for (unsigned p = 0; p < load_shared->processes; p++) {
        const char *why = load_shared->slots[p].tls_failure;

        if (why[0] == '\0')
            continue;
        fprintf(f, "  the first TLS failure: %s\n", why);
        if (strstr(why, "wrong version number") != NULL)
            fprintf(f, "  the server does not speak TLS there: use ws:// in --url\n");
        if (str_starts_with(str_from(why), STR_LIT("certificate")))
            fprintf(f, "  --ca FILE trusts the authority in that file, --insecure anybody\n");
        return;
    }
}

static const char *first_protocol_error(void)
{
    for (unsigned p = 0; p < load_shared->processes; p++)
        if (load_shared->slots[p].protocol_error[0] != '\0')
            return load_shared->slots[p].protocol_error;
    return NULL;
}

/* Not one connection: say the likeliest reason. */
static void print_failures(FILE *f, const struct results *r)
{
    const struct load_metrics *m = &r->total;
    const char *error = first_protocol_error();

    if (error != NULL && strcmp(error, HANDSHAKE_TLS_THERE) == 0)
        fprintf(f, "  %s\n", error);
    else if (error != NULL)
        fprintf(f, "  the first broken protocol: %s\n", error);
    if (r->hopeless)
        fprintf(f, "  the first %llu attempts failed: no more were made\n",
                (unsigned long long)LOAD_FAILURES(m));
    if (m->connects_done > 0 || m->connects_started == 0)
        return;
    if (r->tls_there)
        fprintf(f, "  %s\n", HANDSHAKE_TLS_THERE);
    if (m->connect_failed == m->connects_started)
        fprintf(f, "  nobody answers at %s: is the server running there?\n",
                load_shared->targets[0].host);
}

static uint32_t first_refusal(void)
{
    for (unsigned p = 0; p < load_shared->processes; p++)
        if (atomic_load(&load_shared->slots[p].first_status) != 0)
            return atomic_load(&load_shared->slots[p].first_status);
    return 0;
}

static void print_storm(FILE *f, const struct results *r)
{
    char text[32];

    if (load_shared->options.storm_after <= 0)
        return;
    if (!r->stormed)
        fprintf(f, "  the storm did not come\n");
    else if (r->storm_recovery_s >= 0)
        fprintf(f, "  everybody was back after %s\n",
                report_latency((uint64_t)(r->storm_recovery_s * 1e9), text, sizeof(text)));
    else
        fprintf(f, "  not everybody was back within the run\n");
}

void report_summary(FILE *f, const struct results *r)
{
    const struct load_metrics *m = &r->total;
    uint32_t status = first_refusal();

    fprintf(f, "%s%s: %llu of %llu connections at the most, ramp %.1f s, run %.1f s\n\n",
            scenario_name(load_shared->options.scenario), r->interrupted ? " (interrupted)" : "",
            (unsigned long long)r->ready_max, (unsigned long long)load_shared->users, r->ramp_s,
            r->run_s);
    if (r->ramp_stalled_s > 0)
        fprintf(f, "  the ramp stood still for %.0f s, and %s without %llu of the connections\n",
                r->ramp_stalled_s, r->run_s > 0 ? "the run began" : "the test ended",
                (unsigned long long)(load_shared->users - r->ramped));
    print_counters(f, m);
    if (r->given_up > 0)
        fprintf(f, "  %-22s %14llu  users that failed three times\n", "given up",
                (unsigned long long)r->given_up);
    if (status != 0)
        fprintf(f, "  the first refusal was HTTP status %u\n", status);
    if (load_shared->tail_unchecked)
        fprintf(f,
                "  messages lost at the end are not found: %llu publishers x %llu channels are too "
                "many\n",
                (unsigned long long)load_shared->publishers,
                (unsigned long long)load_shared->channels);
    print_failures(f, r);
    if (m->tls_failed > 0)
        print_tls_failure(f);
    print_storm(f, r);
    if (r->run_s > 0)
        fprintf(f, "  during the run: %.0f messages/s in, %.0f messages/s out\n",
                (double)r->run_messages_in / r->run_s, (double)r->run_messages_out / r->run_s);
    print_latencies(f, m);
    print_server(f, r);
    out_flush(); /* for the reason, if that fails; standard error has no buffer */
}

bool report_not_run(const struct results *r)
{
    return r->total.connects_done == 0 || (r->run_s <= 0 && !r->interrupted);
}

const char *report_verdict(const struct results *r)
{
    struct str rest = str_from(load_shared->options.fail_if), e;
    struct failif c;
    char text[256];

    if (rest.n == 0)
        return report_not_run(r) ? "not run" : "not judged";
    while (rest.n > 0 && str_cut(&rest, '\n', &e))
        if (failif_check(e, load_shared->options.scenario, &r->total, r->storm_recovery_s, &c, text,
                         sizeof(text)) == -1 ||
            c.fails)
            return "failed";
    return report_not_run(r) ? "not run" : "passed";
}

int report_thresholds(FILE *f, const struct results *r)
{
    struct str rest = str_from(load_shared->options.fail_if), e;
    char text[256]; /* a sentence or a value */
    struct failif c;
    int failed = 0;

    while (rest.n > 0 && str_cut(&rest, '\n', &e)) {
        if (failif_check(e, load_shared->options.scenario, &r->total, r->storm_recovery_s, &c, text,
                         sizeof(text)) == -1) { /* plan_make() has read them: cannot be */
            fprintf(f, "%s\n", text);
            failed++;
            continue;
        }
        if (c.unmeasured)
            snprintf(text, sizeof(text), "%s",
                     str_starts_with(str_trim(e), STR_LIT("storm")) ? "not everybody was back"
                                                                    : "no samples");
        else if (c.time)
            report_latency((uint64_t)c.value, text, sizeof(text));
        else
            snprintf(text, sizeof(text), "%.0f", c.value);
        fprintf(f, "%s: %.*s (%s)\n", c.fails ? "FAILED" : "ok", STR_ARG(e), text);
        failed += c.fails;
    }
    return failed;
}
