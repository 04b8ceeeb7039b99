/* tests/unit/base/test_close.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/close.c"
#include "base/config.h"

/* RFC 6455 §5.5.1: a reason fits 123 bytes; §7.4: only these codes may be sent, of which 3000 and up
 * are a protocol's own. Labels are metric labels: distinct. */
static void rows_are_sound(void **state UNUSED)
{
    for (unsigned i = 0; i < CLOSE_NR; i++) {
        const struct close_row *r = close_row((enum close_reason)i);

        assert_true(r->code == 0 || (r->code >= 3000 && r->code <= 4999) ||
                    (r->code >= 1000 && r->code <= 1013 && r->code != 1004 && r->code != 1005 &&
                     r->code != 1006));
        assert_true(r->status == 0 || (r->status >= 400 && r->status < 600));
        assert_true(strlen(r->text) > 0 && strlen(r->text) <= 123);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(r->label, close_row((enum close_reason)k)->label);
    }
}

/* A warning names a setting that exists, and says what to do about it. */
static void fixes_are_sound(void **state UNUSED)
{
    for (unsigned i = 0; i < CLOSE_NR; i++) {
        const struct close_row *r = close_row((enum close_reason)i);

        if (r->setting[0] != '\0') {
            assert_true(config_row_find(str_from(r->setting)) >= 0);
            assert_true(r->fix[0] != '\0');
        }
        assert_true(strlen(r->fix) < 300);
        /* A handshake fails over HTTP, so its reasons have a status. */
        assert_true(!(r->use & CLOSE_IN_HANDSHAKE) || r->status != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_are_sound),
                                       cmocka_unit_test(fixes_are_sound)};
    return cmocka_run_group_tests_name("base/close", tests, NULL, NULL);
}
