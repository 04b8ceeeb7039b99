/* tests/unit/roostctl/test_table.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostctl/table.c"
#include "fault.h"

struct ctl ctl;

static const struct ctl_column columns[] = {CTL_LEFT("name", 5), CTL_RIGHT("count"),
                                            CTL_LEFT("text", 0)};

static struct ctl_table facts(void)
{
    static const struct ctl_column two[] = {CTL_LEFT(NULL, 0), CTL_LEFT(NULL, 0)};

    return ctl_table_of(two, ARRAY_LEN(two));
}

static struct ctl_table new_table(bool cut)
{
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));

    t.cut = cut;
    return t;
}

static void expect(struct ctl_table *t, const char *text)
{
    struct buf out = {0};

    assert_int_equal(ctl_table_write(t, &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(out.p, text);
    buf_fini(&out);
}

static void put_row(struct ctl_table *t, const char *name, int count, const char *text)
{
    ctl_cell(t, "%s", name);
    ctl_cell(t, "%d", count);
    ctl_cell(t, "%s", text);
}

static void columns_are_as_wide_as_what_is_in_them(void **state UNUSED)
{
    struct ctl_table t = new_table(false);

    expect(&t, "name  count  text\n");
    t = new_table(false);
    put_row(&t, "a", 1, "x");
    put_row(&t, "longer name", 1234567, "the last has no blanks behind it");
    expect(&t, "name           count  text\n"
               "a                  1  x\n"
               "longer name  1234567  the last has no blanks behind it\n");
}

/* Characters count, not bytes; nothing is cut inside one. */
static void on_a_terminal_long_cells_are_cut(void **state UNUSED)
{
    struct ctl_table t = new_table(true);

    put_row(&t, "12345", 1, "a");
    put_row(&t, "123456", 2, "b");
    put_row(&t, "ääääää", 3, "c");
    put_row(&t, "äö", 4, "d");
    expect(&t, "name   count  text\n"
               "12345      1  a\n"
               "1234…      2  b\n"
               "ääää…      3  c\n"
               "äö         4  d\n");
}

static void facts_have_no_titles(void **state UNUSED)
{
    struct ctl_table t = facts();

    ctl_cell(&t, "a");
    ctl_cell(&t, "1");
    ctl_cell(&t, "longer");
    expect(&t, "a       1\nlonger  \n");
}

static void what_a_terminal_would_obey_is_not_shown(void **state UNUSED)
{
    struct ctl_table t = facts();

    ctl_cell_text(&t, STR_LIT("\033[2J\n\x7f\xc2\x9b.\xc3\xa4\t\0"));
    ctl_cell_text(&t, STR_LIT("x"));
    expect(&t, "?[2J???.\xc3\xa4??  x\n");
}

/* Text that a terminal would turn around, or that is not seen, could show another name than there is. */
static void what_turns_or_hides_text_is_not_shown(void **state UNUSED)
{
    static const char *const hidden[] = {
        "\xc2\xad",     "\xd8\x80",     "\xd8\x9c",     "\xe1\xa0\x8e",     "\xe2\x80\x8b",
        "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xaa", "\xe2\x80\xae",     "\xe2\x81\xa0",
        "\xe2\x81\xa6", "\xe2\x81\xa9", "\xef\xbb\xbf", "\xf0\x91\x82\xbd", "\xf3\xa0\x81\xbf",
        "\x9b",         "\xff",         "\xe2\x80" /* cut */};
    static const char *const shown[] = {"\xc2\xa1", "\xd9\x85", "\xe2\x80\x90", "\xe2\x81\x9f",
                                        "\xf0\x9f\x98\x80"};
    struct buf out = {0};

    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        buf_clear(&out);
        assert_int_equal(buf_append_lit(&out, "a"), 0);
        assert_int_equal(ctl_append_shown(&out, str_from(hidden[i])), 0);
        assert_true(str_starts_with(buf_view(&out), STR_LIT("a?")));
        for (size_t k = 1; k < out.len; k++)
            assert_int_equal(out.p[k], '?');
    }
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        buf_clear(&out);
        assert_int_equal(ctl_append_shown(&out, str_from(shown[i])), 0);
        assert_true(str_equal(buf_view(&out), str_from(shown[i])));
    }
    buf_fini(&out);
}

static void members_of_objects(void **state UNUSED)
{
    struct ctl_table t = facts();
    struct json_value v;

    assert_int_equal(
        json_parse(STR_LIT("{\"s\":\"a\\u00e4\\n\\\"\",\"n\":-1.5,\"e\":\"\",\"z\":null,"
                           "\"b\":true,\"l\":\"\\ud800\"}"),
                   &v, NULL),
        0);
    for (const char *name = "snezblx"; *name != '\0'; name++)
        ctl_cell_member(&t, &v, (const char[]){*name, '\0'});
    ctl_cell(&t, ".");
    expect(&t, "aä?\"  -1.5\n-     -\ntrue  \"\\ud800\"\n-     .\n");
}

static void documents(void **state UNUSED)
{
    struct buf out = {0};

    assert_int_equal(buf_append_char(&out, '{'), 0);
    assert_int_equal(ctl_put_text(&out, "a", STR_LIT("x\"\n")), 0);
    assert_int_equal(ctl_put_raw(&out, "b", STR_LIT("[1,\n2]")), 0);
    assert_int_equal(ctl_put_raw(&out, "c", STR_LIT("{")), 0);
    assert_int_equal(ctl_put_raw(&out, "d", STR_LIT("1")), 0);
    assert_int_equal(buf_append_lit(&out, "}}\r\n"), 0);
    {
        struct buf line = {0};

        assert_int_equal(ctl_append_line(&line, buf_view(&out)), 0);
        assert_int_equal(buf_append_char(&line, '\0'), 0);
        assert_string_equal(line.p, "{\"a\":\"x\\\"\\n\",\"b\":[1,2],\"c\":{\"d\":1}}\n");
        buf_fini(&line);
    }
    buf_fini(&out);
}

/* A cell that was lost is no table. */
static void without_memory_it_says_so(void **state UNUSED)
{
    for (unsigned long k = 1; k < 4; k++) {
        struct ctl_table t = new_table(false);
        struct buf out = {0};
        int rc;

        fault_fail_at(k);
        put_row(&t, "name", 1,
                "a text that is longer than what a first allocation has room for, "
                "so that there is another one to fail");
        rc = ctl_table_write(&t, &out);
        assert_int_equal(rc, fault_count() >= k ? -1 : 0);
        fault_reset();
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_what_is_in_them),
        cmocka_unit_test(on_a_terminal_long_cells_are_cut),
        cmocka_unit_test(facts_have_no_titles),
        cmocka_unit_test(what_a_terminal_would_obey_is_not_shown),
        cmocka_unit_test(what_turns_or_hides_text_is_not_shown),
        cmocka_unit_test(members_of_objects),
        cmocka_unit_test(documents),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests_name("roostctl/table", tests, NULL, NULL);
}
