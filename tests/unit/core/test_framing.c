/* Framings: a header for each length, in front of what was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_tx.h"
#include "core/framing.c"
#include "fault.h"

static void websocket_headers_of_each_length(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    static char data[70000];
    struct buf out = {0};

    (void)state;
    memset(data, 'x', sizeof(data));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        bool binary = i & 1;
        uint8_t header[WS_HEADER_MAX];
        size_t n = ws_tx_header(binary ? WS_OP_BINARY : WS_OP_TEXT, sizes[i], header), start;

        buf_clear(&out);
        assert_int_equal(buf_append_lit(&out, "before"), 0);
        start = out.len;
        assert_int_equal(framing_open(FRAMING_WS, &out), 0);
        assert_int_equal(buf_append(&out, (struct str){.p = data, .n = sizes[i]}), 0);
        assert_int_equal(framing_close(FRAMING_WS, start, binary, &out), 0);
        assert_int_equal(out.len, start + n + sizes[i]);
        assert_memory_equal(out.p, "before", start);
        assert_memory_equal(out.p + start, header, n);
        if (sizes[i] > 0)
            assert_memory_equal(out.p + start + n, data, sizes[i]);
    }
    buf_fini(&out);
}

static void of_a_kind_that_the_publication_does_not_decide(void **state)
{
    struct buf out = {0};

    (void)state;
    for (unsigned binary = 0; binary < 2; binary++) {
        buf_clear(&out);
        assert_int_equal(framing_open(FRAMING_WS_TEXT, &out), 0);
        assert_int_equal(framing_close(FRAMING_WS_TEXT, 0, binary != 0, &out), 0);
        assert_int_equal(framing_open(FRAMING_WS_BINARY, &out), 0);
        assert_int_equal(framing_close(FRAMING_WS_BINARY, 2, binary != 0, &out), 0);
        assert_int_equal(out.len, 4);
        assert_memory_equal(out.p, "\x81\0\x82\0", 4);
    }
    buf_fini(&out);
}

static void of_streams(void **state UNUSED)
{
    static const struct {
        enum framing framing;
        const char *one; /* of "a" */
    } forms[] = {{FRAMING_BARE, "a"}, {FRAMING_LINE, "a\n"}, {FRAMING_EVENT, "data: a\n\n"}};
    struct buf out = {0};

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        size_t n = strlen(forms[i].one);

        buf_clear(&out);
        for (unsigned k = 0; k < 2; k++) {
            size_t start = out.len;

            assert_int_equal(framing_open(forms[i].framing, &out), 0);
            assert_int_equal(buf_append_char(&out, 'a'), 0);
            assert_int_equal(framing_close(forms[i].framing, start, k == 1, &out), 0);
            assert_int_equal(out.len, start + n);
            assert_memory_equal(out.p + start, forms[i].one, n);
        }
    }
    buf_fini(&out);
}

static void without_memory(void **state)
{
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(framing_open(FRAMING_WS, &out), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(websocket_headers_of_each_length),
        cmocka_unit_test(of_a_kind_that_the_publication_does_not_decide),
        cmocka_unit_test(of_streams),
        cmocka_unit_test(without_memory),
    };

    return cmocka_run_group_tests_name("core/framing", tests, NULL, NULL);
}
