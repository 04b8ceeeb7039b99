/* codec/resp: values come whole and byte by byte, what is malformed is refused at once, and what was
 * scanned can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/resp.c"
#include "tests/lib/fault.h"

/* A value as text: $hello, :5, [ ... ]. */
static void describe(struct str *rest, struct buf *out, uint32_t n)
{
    struct resp_node node;

    for (uint32_t i = 0; i < n; i++) {
        assert_true(resp_next(rest, &node));
        assert_int_equal(buf_printf(out, "%c", node.type), 0);
        if (node.type == RESP_NUMBER || node.type == RESP_BOOL)
            assert_int_equal(buf_printf(out, "%lld", (long long)node.number), 0);
        else
            assert_int_equal(buf_append(out, node.text), 0);
        if (node.n > 0) {
            assert_int_equal(buf_append_lit(out, "["), 0);
            describe(rest, out, node.n);
            assert_int_equal(buf_append_lit(out, "]"), 0);
        }
        assert_int_equal(buf_append_lit(out, " "), 0);
    }
}

/* The value at the front is found however its bytes come, no byte sooner and none later. */
static void is_value(const char *wire, const char *expected)
{
    struct str in = str_from(wire), rest = in;
    struct buf text = {0}, trailing = {0};
    struct resp_scan scan = {0};

    assert_int_equal(resp_scan(&scan, in), in.n);
    for (size_t n = 0; n < in.n; n++)
        assert_int_equal(resp_scan(&scan, (struct str){.p = in.p, .n = n}), 0);
    assert_int_equal(resp_scan(&scan, in), in.n);
    for (size_t n = 0; n <= in.n; n++) { /* each beginning, then all */
        scan = (struct resp_scan){0};
        if (n < in.n)
            assert_int_equal(resp_scan(&scan, (struct str){.p = in.p, .n = n}), 0);
        assert_int_equal(resp_scan(&scan, in), in.n);
        assert_int_equal(scan.at, 0);
    }
    assert_int_equal(buf_append(&trailing, in) | buf_append_lit(&trailing, "+OK\r\n"), 0);
    assert_int_equal(resp_scan(&scan, buf_view(&trailing)), in.n);
    describe(&rest, &text, 1);
    assert_int_equal(rest.n, 0);
    assert_int_equal(buf_append_char(&text, '\0'), 0);
    assert_string_equal(text.p, expected);
    rest = in;
    resp_skip(&rest, 1);
    assert_int_equal(rest.n, 0);
    buf_fini(&text);
    buf_fini(&trailing);
}

static void values(void **state)
{
    (void)state;
    is_value("+OK\r\n", "+OK ");
    is_value("+\r\n", "+ ");
    is_value("-ERR no\r\n", "-ERR no ");
    is_value(":0\r\n", ":0 ");
    is_value(":+7\r\n", ":7 ");
    is_value(":-9223372036854775808\r\n", ":-9223372036854775808 ");
    is_value(":9223372036854775807\r\n", ":9223372036854775807 ");
    is_value("$5\r\nhello\r\n", "$hello ");
    is_value("$2\r\n\r\n\r\n", "$\r\n ");
    is_value("$0\r\n\r\n", "$ ");
    is_value("$-1\r\n", "_ ");
    is_value("*-1\r\n", "_ ");
    is_value("_\r\n", "_ ");
    is_value("#t\r\n", "#1 ");
    is_value("#f\r\n", "#0 ");
    is_value(",3.25\r\n", ",3.25 ");
    is_value("(12345678901234567890\r\n", "(12345678901234567890 ");
    is_value("!3\r\nERR\r\n", "!ERR ");
    is_value("=6\r\ntxt:ab\r\n", "=txt:ab ");
    is_value("*0\r\n", "* ");
    is_value("*2\r\n:1\r\n*1\r\n$1\r\na\r\n", "*[:1 *[$a ] ] ");
    is_value("%1\r\n+k\r\n:1\r\n", "%[+k :1 ] ");
    is_value("~2\r\n+a\r\n+b\r\n", "~[+a +b ] ");
    is_value(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n", ">[$message $c $hi ] ");
    is_value("|1\r\n+ttl\r\n:9\r\n$1\r\na\r\n", "$a ");
    is_value("*2\r\n|1\r\n+x\r\n*1\r\n:1\r\n:5\r\n:6\r\n", "*[:5 :6 ] ");
    is_value("*8\r\n*0\r\n*-1\r\n$-1\r\n_\r\n*1\r\n*1\r\n*0\r\n:2\r\n:3\r\n:4\r\n",
             "*[* _ _ _ *[*[* ] ] :2 :3 :4 ] ");
}

static void refused(void **state)
{
    static const char *const wires[] = {
        "x\r\n",
        "\r\n",
        "+OK\n",
        "+\n",
        ":\r\n",
        ":1x\r\n",
        ":--1\r\n",
        ":9223372036854775808\r\n",
        ":-9223372036854775809\r\n",
        "$-2\r\n",
        "$+1\r\n",
        "$x\r\n",
        "$\r\n",
        "$67108865\r\n",
        "$99999999999999999999\r\n",
        "$1\r\nabc",
        "$1\r\na\rx",
        "*-2\r\n",
        "*16777217\r\n",
        "*4294967297\r\n",
        "*?\r\n",
        "$?\r\n",
        "#x\r\n",
        "#\r\n",
        "_x\r\n",
        ">-5\r\n",
        "|-1\r\n",
        "*1\r\nx\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        ";4\r\n",
        ".\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wires); i++) {
        struct resp_scan scan = {0};
        ssize_t rc = resp_scan(&scan, str_from(wires[i]));

        if (rc != -1)
            print_message("%s\n", wires[i]);
        assert_int_equal(rc, -1);
    }
}

static void a_line_has_an_end(void **state)
{
    struct resp_scan scan = {0};
    struct buf in = {0};

    (void)state;
    assert_int_equal(buf_append_char(&in, '-'), 0);
    while (in.len < LINE_MAX_BYTES - 1)
        assert_int_equal(buf_append_char(&in, 'e'), 0);
    assert_int_equal(resp_scan(&scan, buf_view(&in)), 0);
    assert_int_equal(buf_append_char(&in, 'e'), 0);
    assert_int_equal(resp_scan(&scan, buf_view(&in)), -1);
    buf_fini(&in);
}

static void texts_and_numbers(void **state)
{
    struct str rest = STR_LIT("$1\r\na\r\n:5\r\n$2\r\n17\r\n*2\r\n:1\r\n:2\r\n+b\r\n_\r\n"), text;
    int64_t number;

    (void)state;
    assert_true(resp_next_text(&rest, &text) && str_equal(text, STR_LIT("a")));
    assert_true(resp_next_number(&rest, &number) && number == 5);
    assert_true(resp_next_number(&rest, &number) && number == 17);
    assert_false(resp_next_text(&rest, &text));
    assert_true(resp_next_text(&rest, &text) && str_equal(text, STR_LIT("b")));
    assert_false(resp_next_number(&rest, &number));
    assert_false(resp_next_number(&rest, &number));
    assert_false(resp_next_text(&rest, &text));
}

static void commands(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(resp_write(&out, 2, "HELLO", "3"), 0);
    assert_int_equal(resp_command(&out, 2) | resp_arg(&out, STR_LIT("a\r\n")) |
                         resp_arg_u64(&out, UINT64_MAX),
                     0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(
        out.p,
        "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$3\r\na\r\n\r\n$20\r\n18446744073709551615\r\n");
    buf_fini(&out);
}

static void without_memory_nothing_is_written(void **state)
{
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(resp_write(&out, 1, "PING"), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(refused),
        cmocka_unit_test(a_line_has_an_end),
        cmocka_unit_test(texts_and_numbers),
        cmocka_unit_test(commands),
        cmocka_unit_test(without_memory_nothing_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
