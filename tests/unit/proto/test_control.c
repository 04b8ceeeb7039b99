/* Orders of the server API: written and read, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fault.h"
#include "proto/control.c"

static const struct control full = {.order = CONTROL_SUBSCRIBE,
                                    .user = {"42", 2},
                                    .client = {"id", 2},
                                    .session = {"s", 1},
                                    .whitelist = {"a b", 3},
                                    .code = 4000,
                                    .reason = {"as it was said", 14},
                                    .channel = {"news", 4},
                                    .info = {"{}", 2},
                                    .data = {"[1]", 3},
                                    .expire_at = INT64_MAX,
                                    .expired = 1,
                                    .overridden = 3,
                                    .override = 1,
                                    .recover = 1,
                                    .offset = -1,
                                    .epoch = {"abcdefgh", 8}};

static void what_is_written_is_read(void **state)
{
    struct buf out = {0};
    struct control got;

    (void)state;
    assert_int_equal(control_write(&full, &out), 0);
    assert_int_equal(control_read(buf_view(&out), &got), 0);
    assert_int_equal(got.order, full.order);
#define CHECK_TEXT(name)   assert_true(str_equal(got.name, full.name));
#define CHECK_NUMBER(name) assert_true(got.name == full.name);
#define MEMBER(name, KIND) CHECK_##KIND(name)
#include "tbl/control.def"
    buf_fini(&out);
}

static void whatever_is_cut_or_longer_is_none(void **state)
{
    struct buf out = {0};
    struct control got;

    (void)state;
    assert_int_equal(control_write(&full, &out), 0);
    for (size_t n = 0; n < out.len; n++)
        assert_int_equal(control_read((struct str){out.p, n}, &got), -1);
    assert_int_equal(buf_append_char(&out, 0), 0);
    assert_int_equal(control_read(buf_view(&out), &got), -1);
    out.len--;
    out.p[0] = CONTROL_ORDER_NR;
    assert_int_equal(control_read(buf_view(&out), &got), -1);
    out.p[0] = CONTROL_REFRESH;
    memset(out.p + 1, 0xff, 4); /* a text longer than there is */
    assert_int_equal(control_read(buf_view(&out), &got), -1);
    buf_fini(&out);
}

static void without_memory(void **state)
{
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(control_write(&full, &out), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(whatever_is_cut_or_longer_is_none),
        cmocka_unit_test(without_memory),
    };

    return cmocka_run_group_tests_name("proto/control", tests, NULL, NULL);
}
