/* view.c - what is seen while the test runs: a live block on a terminal, one line a second
 * elsewhere. */
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/out.h"
#include "coordinator.h"
#include "failif.h"

#define SPARK_WIDTH 40
#define BLOCK_LINES 7

static struct {
    FILE *f;
    bool live;
    unsigned lines; /* of the block on the screen */
} view;

static struct winsize terminal(void)
{
    struct winsize size = {0};

    if (ioctl(fileno(view.f), TIOCGWINSZ, &size) == -1 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return size;
}

void view_start(FILE *f, bool live)
{
    view.f = f;
    view.live = live && terminal().ws_row > BLOCK_LINES; /* or it would scroll away */
    view.lines = 0;
    if (view.live)
        fprintf(view.f, "\033[?25l"); /* hide the cursor */
}

static uint64_t rate(const struct second *s, int64_t count)
{
    return (uint64_t)(per_second(s, count) + 0.5);
}

static uint64_t spark_value(const struct second *s)
{
    return rate(s, s->counts.messages_in > 0 ? s->counts.messages_in : s->counts.connects_done);
}

/* The last seconds as eight block heights, scaled to the highest of them. */
static void sparkline(const struct results *r, char *out, size_t cap)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    size_t from = r->nseconds > SPARK_WIDTH ? r->nseconds - SPARK_WIDTH : 0, n = 0;
    uint64_t top = 1;

    out[0] = '\0';
    for (size_t i = from; i < r->nseconds; i++)
        top = MAX(top, spark_value(&r->seconds[i]));
    for (size_t i = from; i < r->nseconds && n + 4 < cap; i++)
        n +=
            (size_t)snprintf(out + n, cap - n, "%s", blocks[spark_value(&r->seconds[i]) * 7 / top]);
}

static void progress_bar(uint64_t done, uint64_t of, char *out, size_t cap)
{
    size_t filled = of == 0 ? 0 : (size_t)(MIN(done, of) * 30 / of), n = 0;

    for (size_t i = 0; i < 30 && n + 4 < cap; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s", i < filled ? "█" : "░");
}

/* Of a line that is too long what fits: wrapped, it would take two. */
static void print_line(const char *text)
{
    size_t n = 0;

    for (unsigned columns = terminal().ws_col; text[n] != '\0'; n++) {
        if ((text[n] & 0xc0) == 0x80)
            continue; /* inside a character */
        if (columns-- == 0)
            break;
    }
    fprintf(view.f, "\033[K%.*s\n", (int)n, text);
    view.lines++;
}

static void live_block(const struct results *r, const struct load_metrics *sum, const char *phase,
                       double eta_s)
{
    const struct second *s = &r->now;
    char text[512], a[32], b[32], c[32], d[32], bar[160], spark[256];

    if (view.lines > 0)
        fprintf(view.f, "\033[%uA", view.lines);
    view.lines = 0;
    progress_bar(s->ready, load_shared->users, bar, sizeof(bar));
    sparkline(r, spark, sizeof(spark));
    snprintf(text, sizeof(text), "roostload %s  %s  %.0f s, about %.0f s left",
             scenario_name(load_shared->options.scenario), phase, s->at_s, MAX(eta_s, 0.0));
    print_line(text);
    snprintf(text, sizeof(text),
             "  connections %s %llu / %llu  (+%llu/s, %llu under way, %llu failed)", bar,
             (unsigned long long)s->ready, (unsigned long long)load_shared->users,
             (unsigned long long)rate(s, s->counts.connects_done),
             (unsigned long long)s->connecting, (unsigned long long)LOAD_FAILURES(sum));
    print_line(text);
    snprintf(text, sizeof(text), "  messages    in %llu/s (%s/s)  out %llu/s",
             (unsigned long long)rate(s, s->counts.messages_in),
             report_bytes(rate(s, s->counts.bytes_in), a, sizeof(a)),
             (unsigned long long)rate(s, s->counts.messages_out));
    print_line(text);
    snprintf(text, sizeof(text), "  %-11s p50 %s  p90 %s  p99 %s  max %s",
             failif_main_latency(load_shared->options.scenario),
             report_latency(s->p50, a, sizeof(a)), report_latency(s->p90, b, sizeof(b)),
             report_latency(s->p99, c, sizeof(c)), report_latency(s->max, d, sizeof(d)));
    print_line(text);
    snprintf(text, sizeof(text),
             "  messages lost %llu  duplicates %llu  out of order %llu  closed by the server %llu",
             (unsigned long long)sum->gaps, (unsigned long long)sum->duplicates,
             (unsigned long long)sum->reordered,
             (unsigned long long)(sum->server_closed + sum->connection_lost));
    print_line(text);
    if (s->rss_bytes > 0) {
        snprintf(text, sizeof(text), "  server      %.2f cores, %s resident, %s in sockets", s->cpu,
                 report_bytes(s->rss_bytes, a, sizeof(a)),
                 report_bytes(s->tcp_memory_bytes, b, sizeof(b)));
        print_line(text);
    }
    snprintf(text, sizeof(text), "  %s", spark);
    print_line(text);
    out_flush();
}

static void plain_line(const struct results *r, const struct load_metrics *sum, const char *phase)
{
    const struct second *s = &r->now;
    char a[32], b[32], c[32];

    fprintf(view.f,
            "%6.0fs %-5s ready %llu/%llu connects/s %llu failed %llu in/s %llu out/s %llu p50 %s "
            "p99 %s max %s messages-lost %llu",
            s->at_s, phase, (unsigned long long)s->ready, (unsigned long long)load_shared->users,
            (unsigned long long)rate(s, s->counts.connects_done),
            (unsigned long long)LOAD_FAILURES(sum),
            (unsigned long long)rate(s, s->counts.messages_in),
            (unsigned long long)rate(s, s->counts.messages_out),
            report_latency(s->p50, a, sizeof(a)), report_latency(s->p99, b, sizeof(b)),
            report_latency(s->max, c, sizeof(c)), (unsigned long long)sum->gaps);
    if (sum->server_closed + sum->connection_lost > 0)
        fprintf(view.f, " dropped %llu",
                (unsigned long long)(sum->server_closed + sum->connection_lost));
    fprintf(view.f, "\n");
    out_flush();
}

void view_second(const struct results *r, const struct load_metrics *sum, const char *phase,
                 double eta_s)
{
    if (r->nseconds == 0)
        return;
    if (view.live)
        live_block(r, sum, phase, eta_s);
    else
        plain_line(r, sum, phase);
}

void view_end(void)
{
    if (view.live)
        fprintf(view.f, "\033[?25h");
    fprintf(view.f, "\n");
    out_flush();
}
