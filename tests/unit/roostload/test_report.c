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
static void memory_is_divided_by_those_that_were_there(void **state)
{
    struct results r = {.ramped = 20, .ready_max = 100};
    struct server_figures f;

    (void)state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_divided_by_those_that_were_there),
    };
    return cmocka_run_group_tests_name("roostload/report", tests, NULL, NULL);
}
