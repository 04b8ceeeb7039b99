/* tests/unit/proc/test_exposition.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "fault.h"
#include "proc/exposition.c"

static struct metrics sum;

static enum exposition_format negotiated(const char *first, const char *second)
{
    static struct http_request r;

    r.nfields = 0;
    if (first != NULL)
        r.fields[r.nfields++] = (struct http_field){STR_LIT("Accept"), str_from(first)};
    if (second != NULL)
        r.fields[r.nfields++] = (struct http_field){STR_LIT("Accept"), str_from(second)};
    return exposition_negotiate(&r);
}

static void format_by_accept(void **state UNUSED)
{
    static const char om[] = "application/openmetrics-text";
    static const char *const openmetrics[] = {
        om,
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        "text/plain;version=0.0.4;q=0.2, application/openmetrics-text; version=\"1.0.0\"; q=0.3",
        "application/openmetrics-text, */*",
        "application/openmetrics-text, text/plain",
        "application/*, text/plain;q=0.9",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    };
    static const char *const prometheus[] = {
        "*/*",
        "",
        "text/plain, */*",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0, */*;q=0.1",
        "application/openmetrics-text;q=0.4, text/plain;q=0.5",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=2.0.0, text/plain;q=0.1",
        "application/openmetrics-text;q=x",
        "application/json", /* better than none */
    };

    assert_int_equal(negotiated(NULL, NULL), EXPOSITION_PROMETHEUS);
    for (size_t i = 0; i < ARRAY_LEN(openmetrics); i++)
        if (negotiated(openmetrics[i], NULL) != EXPOSITION_OPENMETRICS)
            fail_msg("%s", openmetrics[i]);
    for (size_t i = 0; i < ARRAY_LEN(prometheus); i++)
        if (negotiated(prometheus[i], NULL) != EXPOSITION_PROMETHEUS)
            fail_msg("%s", prometheus[i]);
    assert_int_equal(negotiated("text/plain;q=0.5", om), EXPOSITION_OPENMETRICS);
    assert_int_equal(negotiated(om, "application/openmetrics-text;version=1.0.0;q=0"),
                     EXPOSITION_PROMETHEUS);
}

/* Every line is a comment of its family or a sample of the family before it; families come once. */
static void check_lines(struct str text, bool openmetrics)
{
    char family[128] = "";
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line)) {
        struct str name = {line.p, 0};

        if (line.n == 0)
            continue;
        if (str_starts_with(line, STR_LIT("# TYPE "))) {
            struct str rest = str_skip(line, 7);

            assert_int_equal(
                str_copy((struct str){rest.p, str_find(rest, ' ')}, family, sizeof(family)), 0);
            if (openmetrics)
                assert_false(strlen(family) > 6 &&
                             strcmp(family + strlen(family) - 6, "_total") == 0);
        }
        if (line.p[0] == '#')
            continue;
        while (name.n < line.n && line.p[name.n] != '{' && line.p[name.n] != ' ')
            name.n++;
        assert_true(str_starts_with(name, str_from(family)));
    }
}

static void both_forms(void **state UNUSED)
{
    struct buf a = {0}, b = {0};

    sum.accepts = 5;
    sum.subscriptions = -1;
    sum.drops_drop = 7;
    sum.closes[CLOSE_SLOW] = 2;
    sum.ring_records[RECORD_FENCE] = 3;
    hist_record(&sum.turn_duration, 3000000);
    hist_record(&sum.turn_duration, 40000);
    assert_int_equal(exposition_write_metrics(&sum, EXPOSITION_PROMETHEUS, &a), 0);
    assert_int_equal(exposition_write_metrics(&sum, EXPOSITION_OPENMETRICS, &b), 0);
    check_lines(buf_view(&a), false);
    check_lines(buf_view(&b), true);
    assert_int_equal(buf_append_char(&a, '\0') | buf_append_char(&b, '\0'), 0);
    assert_non_null(strstr(a.p, "# TYPE roost_accepts_total counter\nroost_accepts_total 5\n"));
    assert_non_null(strstr(b.p, "# TYPE roost_accepts counter\nroost_accepts_total 5\n"));
    assert_non_null(strstr(a.p, "roost_closes_total{reason=\"slow\"} 2\n"));
    assert_non_null(strstr(a.p, "roost_ring_records_total{kind=\"fence\"} 3\n"));
    assert_null(strstr(a.p, "kind=\"unknown\""));
    assert_non_null(strstr(a.p, "roost_subscriptions -1\n"));
    assert_non_null(strstr(a.p, "roost_turn_duration_seconds_bucket{le=\"0.002\"} 1\n"));
    assert_non_null(strstr(a.p, "roost_turn_duration_seconds_bucket{le=\"0.005\"} 2\n"));
    assert_non_null(strstr(a.p, "roost_turn_duration_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(a.p, "roost_turn_duration_seconds_sum 0.00304\n"));
    assert_non_null(strstr(a.p, "# TYPE roost_drops_total counter\n"
                                "roost_drops_total{policy=\"drop\"} 7\n"
                                "roost_drops_total{policy=\"latest\"} 0\n"));
    assert_non_null(strstr(b.p, "# TYPE roost_drops counter\n"
                                "roost_drops_total{policy=\"drop\"} 7\n"));
    assert_non_null(strstr(a.p, "roost_handshake_failures_total{reason=\"full\"} 0\n"));
    assert_null(strstr(a.p, "roost_handshake_failures_total{reason=\"normal\"}"));
    assert_null(strstr(a.p, "reason=\"frame_masked\""));
    buf_fini(&a);
    buf_fini(&b);
}

/* What the table rules out but happened is shown rather than hidden. */
static void nothing_counted_is_hidden(void **state UNUSED)
{
    static struct metrics odd;
    struct buf out = {0};

    odd.handshake_failures[CLOSE_NORMAL] = 1;
    assert_int_equal(exposition_write_metrics(&odd, EXPOSITION_PROMETHEUS, &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_non_null(strstr(out.p, "roost_handshake_failures_total{reason=\"normal\"} 1\n"));
    buf_fini(&out);
}

static void labels_come_before_le(void **state UNUSED)
{
    static const struct metric_row row = {.kind = METRIC_HISTOGRAM,
                                          .name = "x_seconds",
                                          .labels = "a=\"b\"",
                                          .help = "",
                                          .scale = 1e-9};
    struct hist h = {0};
    struct buf out = {0};

    hist_record(&h, 2000000);
    assert_int_equal(put_histogram(&row, &h, &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_non_null(strstr(out.p, "x_seconds_bucket{a=\"b\",le=\"0.001\"} 0\n"));
    assert_non_null(strstr(out.p, "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(out.p, "x_seconds_sum{a=\"b\"} 0.002\n"));
    assert_non_null(strstr(out.p, "x_seconds_count{a=\"b\"} 1\n"));
    buf_fini(&out);
}

static void no_memory_at_any_point(void **state UNUSED)
{
    for (unsigned k = 1;; k++) {
        struct buf out = {0};
        int rc;

        fault_fail_at(k);
        rc = exposition_write_metrics(&sum, EXPOSITION_PROMETHEUS, &out);
        fault_reset();
        buf_fini(&out);
        if (rc == 0)
            break;
    }
}

static void end_marks(void **state UNUSED)
{
    struct buf b = {0};

    assert_int_equal(exposition_write_end(EXPOSITION_PROMETHEUS, &b), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(exposition_write_end(EXPOSITION_OPENMETRICS, &b), 0);
    assert_true(str_equal(buf_view(&b), STR_LIT("# EOF\n")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_by_accept),          cmocka_unit_test(both_forms),
        cmocka_unit_test(nothing_counted_is_hidden), cmocka_unit_test(labels_come_before_le),
        cmocka_unit_test(no_memory_at_any_point),    cmocka_unit_test(end_marks),
    };
    return cmocka_run_group_tests_name("proc/exposition", tests, NULL, NULL);
}
