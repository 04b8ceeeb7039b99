/* tests/unit/roostload/test_report.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/failif.c"
#include "cmd/roostload/hdr.c"
#include "cmd/roostload/report.c"
#include "cmd/roostload/shared.c"

/* Only names are looked up in what these tests call. */
const char *scenario_name(enum scenario s)
{
    (void)s;
    return "";
}

/* What was sampled when the run began belongs to the connections of then. */
static void memory_is_divided_by_those_that_were_there(void **state UNUSED)
{
    struct results r = {.ramped = 20, .ready_max = 100};
    struct server_figures f;

    r.server_start = (struct sample){.processes = 1, .private_bytes = 1000};
    r.server_ramped = (struct sample){
        .processes = 1, .private_bytes = 21000, .rss_bytes = 40000, .slab_bytes = 60000};
    f = report_server(&r);
    assert_true(f.private_bytes == 1000);
    assert_true(f.resident_bytes == 2000);
    assert_true(f.slab_bytes == 3000);
    r.ramped = 0;
    assert_true(report_server(&r).private_bytes == 0);
}

/* Two rows of the summary, or of the page, with the same name say nothing. */
static void every_row_has_a_name_of_its_own(void **state UNUSED)
{
    static const char *const names[] = {
#define COUNTER(member, label, meaning) label,
#define LATENCY(member, label, meaning) label,
#include "cmd/roostload/load_metrics.def"
#undef COUNTER
#undef LATENCY
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(names[i], names[k]);
}

static const char *verdict(const char *fail_if, uint64_t done, uint64_t gaps)
{
    struct results r = {.run_s = 1};

    r.total.connects_done = done;
    r.total.gaps = gaps;
    assert_int_equal(str_copy(str_from(fail_if), load_shared->options.fail_if, OPTION_LIST_MAX), 0);
    return report_verdict(&r);
}

static void verdicts(void **state UNUSED)
{
    static struct load_shared shared;

    load_shared = &shared;
    assert_string_equal(verdict("", 1, 1), "not judged");
    assert_string_equal(verdict("", 0, 0), "not run");
    assert_string_equal(verdict("lost>0\nconnects_done<1", 1, 0), "passed");
    assert_string_equal(verdict("connects_done<1\nlost>0", 1, 1), "failed");
    assert_string_equal(verdict("connects_done<1", 0, 0), "failed");
    assert_string_equal(verdict("lost>0", 0, 0), "not run");
    load_shared = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_divided_by_those_that_were_there),
        cmocka_unit_test(every_row_has_a_name_of_its_own),
        cmocka_unit_test(verdicts),
    };
    return cmocka_run_group_tests_name("roostload/report", tests, NULL, NULL);
}
