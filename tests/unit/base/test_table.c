/* tests/unit/base/test_table.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/table.c"
#include "tests/unit/base/table_sample.h"

static struct sample s;

static int set_up(void **state)
{
    (void)state;
    table_defaults(&sample_table, &s);
    return 0;
}

static void accepted(const char *name, const char *value, const char *shown)
{
    char err[300] = "", text[4096];

    if (table_set(&sample_table, &s, sample_row(name), str_from(value), err, sizeof(err)) == -1)
        fail_msg("%s=%s: %s", name, value, err);
    table_format(&sample_table, &s, sample_row(name), text, sizeof(text));
    assert_string_equal(text, shown);
}

static void refused(const char *name, const char *value, const char *why)
{
    struct sample before = s;
    char err[300] = "";

    assert_int_equal(
        table_set(&sample_table, &s, sample_row(name), str_from(value), err, sizeof(err)), -1);
    assert_string_equal(err, why);
    assert_memory_equal(&before, &s, sizeof(s));
}

static void truth_has_several_spellings(void **state)
{
    static const char *const yes[] = {"true", "yes", "on", "1", "TRUE", "Yes", "ON"};
    static const char *const no[] = {"false", "no", "off", "0", "False", "NO", "Off"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        accepted("flag", yes[i], "true");
        accepted("flag", no[i], "false");
    }
    refused("flag", "perhaps", "expected true or false, got \"perhaps\"");
    refused("flag", "", "expected true or false, got \"\"");
}

static void numbers(void **state)
{
    (void)state;
    accepted("count", "100", "100");
    refused("count", "101", "expected a whole number from 1 to 100, got \"101\"");
    refused("count", "x", "expected a whole number from 1 to 100, got \"x\"");
    accepted("bytes", "1.5KiB", "1536");
    refused("bytes", "2MiB", "expected a value from 1 to 1MiB, got \"2MiB\"");
    accepted("time", "0.5s", "500ms");
    accepted("time", "0m30s", "30s");
    refused("time", "soon", "expected a duration such as 250ms, 10s, 5m or 1h, got \"soon\"");
    accepted("rate", "0.25", "0.25");
    accepted("rate", "0.1234567", "0.1234567");
    accepted("rate", "0.00000000000000000001", "0.00000000000000000001");
    accepted("rate", "10", "10");
    refused("rate", "11", "expected a number from 0 to 10, got \"11\"");
}

static void auto_is_not_set(void **state)
{
    (void)state;
    accepted("many", "9", "9");
    assert_true(table_was_set(&sample_table, &s, sample_row("many")));
    accepted("many", "auto", "auto");
    assert_false(table_was_set(&sample_table, &s, sample_row("many")));
    refused("many", "10", "expected auto or a whole number from 1 to 9, got \"10\"");
    accepted("room", "2KiB", "2KiB");
    accepted("room", "AUTO", "auto");
    s.room = 77; /* derived by its owner */
    accepted("count", "7", "7");
    assert_true(table_was_set(&sample_table, &s, sample_row("count")));
    refused("room", "much",
            "expected auto or a size such as 512, 64KiB, 1MiB or 2GiB, got \"much\"");
}

static void a_secret_is_never_shown(void **state)
{
    static const char why[] = "expected 0 to 20 characters of printable ASCII without spaces or "
                              "line ends (what was given is not shown)";
    struct buf out = {0};

    (void)state;
    accepted("secret", "hunter2", "(hidden)");
    assert_string_equal(s.secret, "hunter2");
    assert_int_equal(table_write(&sample_table, &s, sample_row("secret"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("'(hidden)'")));
    refused("secret", "hunter2\n", why);
    refused("secret", "hunter 2", why);
    refused("secret", "hunter\xc3\xa4", why);
    refused("secret", "hunter2hunter2hunter2", why);
    refused(
        "secret", "(hidden)",
        "\"(hidden)\" only stands for a secret that is not shown; write the secret in its place");
    accepted("secret", "", "");
    buf_fini(&out);
}

static void text(void **state)
{
    (void)state;
    accepted("text", "a b", "a b");
    refused("text", "a\nb",
            "expected text of 0 to 20 bytes without control characters, got \"a?b\"");
    accepted("where", "OFF", "off");
    accepted("where", "[::1]:80", "[::1]:80");
    refused("where", "80",
            "expected an address such as 127.0.0.1:8001, [::1]:8001, :8001 or unix:/path, or off, "
            "got \"80\"");
    accepted("choice", "Mid", "middle");
    accepted("choice", "high", "high");
    assert_int_equal(s.choice, 2);
    refused("choice", "xx", "expected one of low|middle|high, got \"xx\"");
    refused("choice", "hihg", "expected one of low|middle|high, got \"hihg\"; did you mean high?");
    refused("choice", "midle",
            "expected one of low|middle|high, got \"midle\"; did you mean middle?");
    assert_int_equal(s.choice, 2);
}

static void lists(void **state)
{
    char err[300];

    (void)state;
    accepted("words", " a , b,,a", "a\nb");
    accepted("words", "c", "c");
    accepted("tokens", "mqtt, a!b", "mqtt\na!b");
    refused("tokens", "a, b c",
            "expected an HTTP token (letters, digits and !#$%&'*+-.^_`|~), got \"b c\"");
    accepted("lines", "a, b", "a, b");
    accepted("lines", "a, b", "a, b\na, b");
    s.lines[0] = '\0';
    table_mark(&sample_table, &s, sample_row("lines"), false);
    snprintf(s.lines, sizeof(s.lines), "a default");
    accepted("lines", "the first replaces it", "the first replaces it");
    accepted("lines", "x\ty", "the first replaces it\nx\ty");
    refused("lines", "x\ny",
            "expected a list of lines of text, together of at most 62 bytes, got \"x?y\"");
    table_list_clear(&sample_table, &s, sample_row("words"));
    assert_int_equal(
        table_list_add(&sample_table, &s, sample_row("words"), STR_LIT("a,b"), err, sizeof(err)),
        0);
    assert_string_equal(s.words, "a,b");
    refused("words", "0123456789012345678901234567890123456789012345678901234567890123456789",
            "expected a list of lines of text, together of at most 62 bytes, got "
            "\"01234567890123456789012345678901234567890123456789012345678...\"");
}

static void items(void **state)
{
    const struct table_row *row = &sample_rows[sample_row("items")];
    struct sample_item *item = table_maps_add(row, &s);
    struct buf out = {0};

    (void)state;
    assert_ptr_equal(item, &s.items.items[0]);
    assert_int_equal(item->port, 80);
    assert_string_equal(item->words, "a");
    snprintf(item->name, sizeof(item->name), "it's");
    assert_int_equal(table_write(&sample_table, &s, sample_row("items"), &out), 0);
    assert_true(
        str_equal(buf_view(&out), STR_LIT("[{name: 'it''s'}]"))); /* the rest is as by default */
    item->tls = true;
    buf_clear(&out);
    assert_int_equal(table_write(&sample_table, &s, sample_row("items"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("[{name: 'it''s', tls: true}]")));
    assert_non_null(table_maps_add(row, &s));
    assert_null(table_maps_add(row, &s));
    assert_int_equal(s.items.n, 2);
    refused("items", "x", "expected a list of mappings, got \"x\"");
    buf_fini(&out);
}

static void one_mapping(void **state UNUSED)
{
    struct buf out = {0};

    assert_int_equal(s.one.port, 80);
    assert_string_equal(s.one.words, "a");
    assert_int_equal(table_write(&sample_table, &s, sample_row("one"), &out), 0);
    s.one.port = 81;
    assert_int_equal(table_write(&sample_table, &s, sample_row("one"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("{}{port: 81}")));
    refused("one", "x", "expected a mapping, got \"x\"");
    buf_fini(&out);
}

static void equality(void **state)
{
    struct sample other = s;

    (void)state;
    for (size_t i = 0; i < sample_table.n; i++)
        assert_true(table_equal(&sample_table, &s, &other, i));
    other.room = 5; /* both are auto: what was derived does not count */
    assert_true(table_equal(&sample_table, &s, &other, sample_row("room")));
    accepted("room", "5", "5");
    assert_false(table_equal(&sample_table, &s, &other, sample_row("room")));
    accepted("secret", "a", "(hidden)");
    snprintf(other.secret, sizeof(other.secret), "b");
    assert_false(table_equal(&sample_table, &s, &other, sample_row("secret")));
}

static void names(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(table_find(&sample_table, STR_LIT("nope")), -1);
    for (size_t i = 0; i < sample_table.n; i++) {
        assert_int_equal(table_write_type(&sample_rows[i], &out), 0);
        assert_int_equal(buf_append_char(&out, '\n'), 0);
    }
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_non_null(strstr(out.p, "auto or a size, 1 to 1MiB\n"));
    assert_non_null(strstr(out.p, "one of low|middle|high\n"));
    assert_non_null(strstr(out.p, "secret text of 0 to 20 bytes\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(truth_has_several_spellings, set_up),
        cmocka_unit_test_setup(numbers, set_up),
        cmocka_unit_test_setup(auto_is_not_set, set_up),
        cmocka_unit_test_setup(a_secret_is_never_shown, set_up),
        cmocka_unit_test_setup(text, set_up),
        cmocka_unit_test_setup(lists, set_up),
        cmocka_unit_test_setup(items, set_up),
        cmocka_unit_test_setup(one_mapping, set_up),
        cmocka_unit_test_setup(equality, set_up),
        cmocka_unit_test_setup(names, set_up),
    };
    return cmocka_run_group_tests_name("base/table", tests, NULL, NULL);
}
