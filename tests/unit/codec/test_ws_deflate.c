/* codec/ws_deflate: every combination of RFC 7692 §7.1 is taken and answered, or declined. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_deflate.c"
#include "tests/lib/fault.h"

#define NOTHING_KEPT "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

/* NULL: declined. */
static void assert_answer(const char *params, const char *expected)
{
    struct ws_deflate agreed = {0};
    struct buf out = {0};

    if (!ws_deflate_offered(str_from(params), &agreed)) {
        if (expected != NULL)
            fail_msg("declined: %s", params);
        assert_int_equal(agreed.window, 0);
        return;
    }
    if (expected == NULL)
        fail_msg("not declined: %s", params);
    assert_int_equal(ws_deflate_answer(&agreed, &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(out.p, expected);
    buf_fini(&out);
}

/* Each parameter with each other; the answer depends on the server's window only. */
static void combinations(void **state)
{
    static const char *const server[] = {"", "; server_no_context_takeover"};
    static const char *const client[] = {"", ";client_no_context_takeover"};
    char params[256], expected[256];

    (void)state;
    for (int i = 0; i < 4; i++)
        for (int s = 7; s <= 15; s++)
            for (int c = 6; c <= 15; c++) {
                int n = snprintf(params, sizeof(params), "%s%s", server[i & 1], client[i >> 1]);
                int m = snprintf(expected, sizeof(expected), "%s", NOTHING_KEPT);

                if (s > 7) {
                    n += snprintf(params + n, sizeof(params) - (size_t)n,
                                  " ; server_max_window_bits=%d", s);
                    snprintf(expected + m, sizeof(expected) - (size_t)m,
                             "; server_max_window_bits=%d", s);
                }
                if (c == 7)
                    snprintf(params + n, sizeof(params) - (size_t)n, "; client_max_window_bits");
                else if (c > 7)
                    snprintf(params + n, sizeof(params) - (size_t)n,
                             "; client_max_window_bits=\"%d\"", c);
                assert_answer(params, expected);
            }
}

static void other_spellings(void **state)
{
    (void)state;
    assert_answer("; Server_Max_Window_Bits=10", NOTHING_KEPT "; server_max_window_bits=10");
    assert_answer("; server_max_window_bits=\"\\10\"", NOTHING_KEPT "; server_max_window_bits=10");
    assert_answer("; server_max_window_bits=\"1\\5\"", NOTHING_KEPT "; server_max_window_bits=15");
}

static void declined(void **state)
{
    static const char *const bad[] = {
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_no_context_takeover; client_no_context_takeover",
        "; server_no_context_takeover=1",
        "; client_no_context_takeover=true",
        "; server_max_window_bits",
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=0",
        "; server_max_window_bits=08",
        "; server_max_window_bits=+9",
        "; server_max_window_bits=9x",
        "; server_max_window_bits=100",
        "; server_max_window_bits=4294967305",
        "; server_max_window_bits=\"\\\"",
        "; server_max_window_bits=9; server_max_window_bits=9",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=015",
        "; client_max_window_bits; client_max_window_bits",
        "; client_max_window_bits=9; client_max_window_bits",
        "; unknown",
        "; server_max_window_bits=9; unknown=1",
        "; server_max_window_bits =9 10",
        "nothing before",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_answer(bad[i], NULL);
}

static void answers_of_a_server(void **state)
{
    static const char *const good[] = {
        NOTHING_KEPT,
        "permessage-deflate; server_no_context_takeover",
        "Permessage-Deflate;server_no_context_takeover;server_max_window_bits=9",
        ", permessage-deflate ; server_no_context_takeover ,",
    };
    static const char *const bad[] = {
        "",
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits",
        "permessage-deflate; server_no_context_takeover; unknown",
        "permessage-deflate; server_no_context_takeover, permessage-deflate",
        "permessage-bzip2; server_no_context_takeover",
        "x-webkit-deflate-frame",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(ws_deflate_answered(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (ws_deflate_answered(str_from(bad[i])))
            fail_msg("taken: %s", bad[i]);
    /* The server's own answers to what the client offers. */
    assert_true(str_equal(STR_LIT(WS_DEFLATE_OFFER), STR_LIT(NOTHING_KEPT)));
}

static void no_memory(void **state)
{
    const struct ws_deflate agreed = {.window = 9, .named = true};
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(ws_deflate_answer(&agreed, &out), -1);
    fault_fail_at(2);
    assert_int_equal(ws_deflate_answer(&agreed, &out), -1);
    fault_reset();
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(combinations), cmocka_unit_test(other_spellings),
        cmocka_unit_test(declined),     cmocka_unit_test(answers_of_a_server),
        cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests_name("codec/ws_deflate", tests, NULL, NULL);
}
