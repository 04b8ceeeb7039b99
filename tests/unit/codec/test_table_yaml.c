/* tests/unit/codec/test_table_yaml.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/table_yaml.c"
#include "tests/unit/base/table_sample.h"

static struct sample s;
static struct buf errors;
static struct table_yaml_seen seen;

static int set_up(void **state)
{
    (void)state;
    table_defaults(&sample_table, &s);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&errors);
    return 0;
}

static void good(const char *text)
{
    table_defaults(&sample_table, &s);
    buf_clear(&errors);
    if (table_yaml(&sample_table, &s, "f", str_from(text), &seen, &errors) == -1)
        fail_msg("%.*s", (int)errors.len, errors.p);
}

static void bad(const char *text, const char *lines)
{
    table_defaults(&sample_table, &s);
    buf_clear(&errors);
    assert_int_equal(table_yaml(&sample_table, &s, "f", str_from(text), &seen, &errors), -1);
    if (!str_equal(buf_view(&errors), str_from(lines)))
        fail_msg("%s: got %.*s", text, (int)errors.len, errors.p);
}

static void value(const char *name, const char *text, const char *error)
{
    int rc;

    buf_clear(&errors);
    rc = table_yaml_value(&sample_table, &s, sample_row(name), "--set x", str_from(text), &errors);
    if (rc != (error[0] != '\0' ? -1 : 0) || !str_equal(buf_view(&errors), str_from(error)))
        fail_msg("%s=%s: got %.*s", name, text, (int)errors.len, errors.p);
}

static void null_is_not_set(void **state)
{
    static const char *const rows[] = {"secret: null\n", "secret: ~\n",    "secret:\n",
                                       "secret: Null\n", "secret: NULL\n", "{secret: null}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        good(rows[i]);
        assert_string_equal(s.secret, "");
        assert_false(table_was_set(&sample_table, &s, sample_row("secret")));
        assert_int_equal(seen.keys, 0);
        assert_true(seen.mapping);
    }
    good("secret: 'null'\ntext: \"~\"\ncount: ~\nwords: null\nitems: ~\n");
    assert_string_equal(s.secret, "null");
    assert_string_equal(s.text, "~");
    assert_int_equal(s.count, 7);
    assert_int_equal(seen.keys, 2);
    bad("words: [a, null]\n", "f:1:12: words: an entry is missing (the text null wants quotes)\n");
    good("words: [a, 'null']\n");
    assert_string_equal(s.words, "a\nnull");
}

static void nothing_is_told_from_an_empty_mapping(void **state)
{
    static const char *const rows[] = {"", "\n", "# a comment\n", "---\n", "---\n...\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        good(rows[i]);
        assert_false(seen.mapping);
    }
    good("{}");
    assert_true(seen.mapping);
}

static void mappings_in_lists(void **state)
{
    (void)state;
    good("items:\n- name: a\n  port: 1\n- {name: b, tls: yes, words: [x, y]}\n");
    assert_int_equal(s.items.n, 2);
    assert_string_equal(s.items.items[0].name, "a");
    assert_int_equal(s.items.items[0].port, 1);
    assert_string_equal(s.items.items[0].words, "a");
    assert_int_equal(s.items.items[1].port, 80);
    assert_true(s.items.items[1].tls);
    assert_string_equal(s.items.items[1].words, "x\ny");
    good("items: []\n");
    assert_int_equal(s.items.n, 0);
}

static void errors_in_lists_have_their_place(void **state)
{
    (void)state;
    bad("items:\n- name: a\n  prot: 1\n", "f:3:3: unknown key \"prot\"; did you mean \"port\"?\n");
    bad("items:\n- name: a\n- name: b\n  port: x\n",
        "f:4:9: items[1].port: expected a whole number from 1 to 65535, got \"x\"\n");
    bad("items:\n- name: a\n  name: b\n", "f:3:3: items[0].name is set twice\n");
    bad("items:\n- port: 2\n", "f:2:3: items[0].name: is missing\n");
    bad("items: [a]\n", "f:1:9: items: expected a mapping\n");
    bad("items: a\n", "f:1:8: items: expected a list of mappings, got \"a\"\n");
    bad("items: {name: a}\n", "f:1:8: expected a value, not a mapping\n");
    bad("items: [{name: a}, {name: b}, {name: c}]\n", "f:1:31: items: at most 2 are possible\n");
    bad("items: [[a]]\n", "f:1:9: expected a list of words\n");
    bad("items: [{name: {x: 1}}]\n", "f:1:16: expected a value, not a mapping\n");
    bad("words: [a, {b: c}]\n", "f:1:12: expected a list of words\n");
    bad("tokens: [a, b c]\n", "f:1:13: tokens: expected an HTTP token (letters, digits and "
                              "!#$%&'*+-.^_`|~), got \"b c\"\n");
}

static void from_the_environment(void **state)
{
    (void)state;
    value("words", "a, b", "");
    assert_string_equal(s.words, "a\nb");
    value("words", "[\"c\", \"d\"]", "");
    assert_string_equal(s.words, "c\nd");
    value("words", "[]", "");
    assert_string_equal(s.words, "");
    value("words", "[\"c\", 1, {}]", "--set x:1:10: expected a list of words\n");
    value("words", "[\"c\"", "--set x:2:1: did not find expected ',' or ']'\n");
    value("words", "[c] [d]", "--set x:1:5: did not find expected <document start>\n");
    value("items", "[{\"name\": \"a\", \"port\": 5}]", "");
    assert_int_equal(s.items.n, 1);
    assert_int_equal(s.items.items[0].port, 5);
    value("items", "[{\"name\": \"a\", \"port\": 0}]",
          "--set x:1:24: items[0].port: expected a whole number from 1 to 65535, got \"0\"\n");
    value("items", "a", "--set x:1:1: expected one list\n");
    value("items", "{\"name\": \"a\"}", "--set x:1:1: expected one list\n");
    value("count", "x", "--set x: expected a whole number from 1 to 100, got \"x\"\n");
    value("text", "[x]", "");
    assert_string_equal(s.text, "[x]");
}

static void null_from_the_environment(void **state)
{
    (void)state;
    value("secret", "hunter2", "");
    value("secret", "null", "");
    value("secret", "~", "");
    assert_string_equal(s.secret, "hunter2");
    value("secret", "", "");
    assert_string_equal(s.secret, "");
}

static void no_secret_in_messages(void **state)
{
    char text[200];

    (void)state;
    bad("secret: 'hunter 2'\n",
        "f:1:9: secret: expected 0 to 20 characters of printable ASCII without spaces or line ends "
        "(what was given is not shown)\n");
    bad("secret=hunter2: 1\n", "f:1:1: unknown key \"secret...\"; there are eighteen\n");
    table_unknown(&sample_table, STR_LIT("secret hunter2"), text, sizeof(text));
    assert_null(strstr(text, "hunter2"));
}

/* What table_write() writes is read back to the same. */
static void round_trip(void **state)
{
    struct buf text = {0};
    struct sample again;

    (void)state;
    good("flag: on\ncount: 9\nbytes: 1.5KiB\ntime: 1m\nmany: 3\nroom: 4KiB\nrate: 0.5\n"
         "text: \"it's: #{[\"\nfile: ~\nwords: ['a, b', \"c'd\"]\ntokens: [x]\n"
         "origins: ['*']\nlines: ['1, 2', '1, 2']\nwhere: :80\nchoice: mid\n"
         "items: [{name: \"a'b\", words: [x, 'y, z']}, {name: '[]', port: 1, tls: yes, words: "
         "[]}]\none: {port: 9, words: [x]}\n");
    for (size_t i = 0; i < sample_table.n; i++) {
        assert_int_equal(buf_printf(&text, "%s: ", sample_rows[i].name), 0);
        assert_int_equal(table_write(&sample_table, &s, i, &text), 0);
        assert_int_equal(buf_append_char(&text, '\n'), 0);
    }
    table_defaults(&sample_table, &again);
    if (table_yaml(&sample_table, &again, "again", buf_view(&text), &seen, &errors) == -1)
        fail_msg("%.*s", (int)errors.len, errors.p);
    for (size_t i = 0; i < sample_table.n; i++)
        if (!table_equal(&sample_table, &s, &again, i))
            fail_msg("%s", sample_rows[i].name);
    buf_fini(&text);
}

static void one_mapping(void **state UNUSED)
{
    good("one:\n  port: 81\n  words: [b, c]\n");
    assert_int_equal(s.one.port, 81);
    assert_string_equal(s.one.words, "b\nc");
    assert_true(table_was_set(&sample_table, &s, sample_row("one")));
    value("one", "{tls: on}", ""); /* replaces the whole */
    assert_int_equal(s.one.port, 80);
    assert_true(s.one.tls);
    value("one", "{\"port\": 82}", "");
    assert_int_equal(s.one.port, 82);
    value("one", "~", "");
    assert_int_equal(s.one.port, 82);
    value("one", "[a]", "--set x:1:1: expected one mapping\n");
    value("one", "a", "--set x:1:1: expected one mapping\n");
    value("one", "{port: x}",
          "--set x:1:8: one.port: expected a whole number from 1 to 65535, got \"x\"\n");
    bad("one: {prt: 1}\n", "f:1:7: unknown key \"prt\"; did you mean \"port\"?\n");
    bad("one: [a]\n", "f:1:6: expected one value, not a list\n");
    bad("one: 1\n", "f:1:6: one: expected a mapping, got \"1\"\n");
    bad("one: {port: 1}\none: {port: 2}\n", "f:2:1: one is set twice\n");
}

static void what_spans_rows(void **state UNUSED)
{
    bad("one: {port: 13}\n", "f:1:6: one: port: 13 is none\n");
    bad("items:\n- {name: a}\n- {name: b, port: 13}\n", "f:3:3: items: port: 13 is none\n");
    bad("items:\n- {name: a}\n- {name: a, port: 81}\n",
        "f:3:3: items: there are two with the name a\n");
    /* What is wrong in itself is not said twice, and hides nothing behind it. */
    bad("items:\n- {name: a, port: 0}\n- {name: a, port: 13}\n",
        "f:2:19: items[0].port: expected a whole number from 1 to 65535, got \"0\"\n"
        "f:3:3: items: port: 13 is none\nf:3:3: items: there are two with the name a\n");
}

static void one_document(void **state)
{
    (void)state;
    bad("count: 1\n---\ncount: 2\n", "f:3:1: expected one document\n");
    bad("[a]\n", "f:1:1: expected settings as \"name: value\" lines\n");
    bad("? [a]\n: b\n", "f:1:3: expected \"name: value\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(null_is_not_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_told_from_an_empty_mapping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mappings_in_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_in_lists_have_their_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(from_the_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(null_from_the_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_secret_in_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_mapping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_spans_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_document, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("codec/table_yaml", tests, NULL, NULL);
}
