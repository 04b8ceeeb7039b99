/* tests/unit/roostctl/test_commands.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostctl/commands.c"
#include "cmd/roostctl/values.c"

#define PARSE(line, ...)     parse(line, (const char *[]){__VA_ARGS__, NULL})
#define REFUSED(expect, ...) refused(expect, (const char *[]){__VA_ARGS__, NULL})

static int parse(struct ctl_line *line, const char **words)
{
    struct buf error = {0};
    int rc = commands_parse(line, (char **)(uintptr_t)words, &error);

    assert_true(rc == 0 ? error.len == 0 : error.len > 0);
    buf_fini(&error);
    return rc;
}

static void refused(const char *expect, const char **words)
{
    static struct ctl_line line;
    struct buf error = {0};

    assert_int_equal(commands_parse(&line, (char **)(uintptr_t)words, &error), -1);
    assert_int_equal(buf_append_char(&error, '\0'), 0);
    if (strstr(error.p, expect) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", expect, error.p);
    buf_fini(&error);
}

/* Nothing is behind the sentence: no guess. */
static void refused_alone(const char *expect, const char **words)
{
    static struct ctl_line line;
    struct buf error = {0};

    assert_int_equal(commands_parse(&line, (char **)(uintptr_t)words, &error), -1);
    assert_true(str_equal(buf_view(&error), str_from(expect)));
    buf_fini(&error);
}

static void options_stand_anywhere(void **state UNUSED)
{
    static struct ctl_line line;

    assert_int_equal(PARSE(&line, "--admin", "U", "tail", "--raw", "a"), 0);
    assert_int_equal(line.command, COMMAND_tail);
    assert_string_equal(line.given[OPTION_ADMIN], "U");
    assert_non_null(line.given[OPTION_TAIL_RAW]);
    assert_null(line.given[OPTION_KEY]);
    assert_int_equal(PARSE(&line, "tail", "a", "--raw", "--admin=U=V", "--key", ""), 0);
    assert_int_equal(line.count, 1);
    assert_string_equal(line.operands[0], "a");
    assert_string_equal(line.given[OPTION_ADMIN], "U=V");
    assert_string_equal(line.given[OPTION_KEY], "");
    assert_non_null(line.given[OPTION_TAIL_RAW]);
}

static void values_behind_a_letter(void **state UNUSED)
{
    static struct ctl_line line;

    assert_int_equal(PARSE(&line, "-ojson", "status"), 0);
    assert_string_equal(line.given[OPTION_OUTPUT], "json");
    assert_int_equal(PARSE(&line, "status", "-o=table"), 0);
    assert_string_equal(line.given[OPTION_OUTPUT], "table");
    assert_int_equal(PARSE(&line, "status", "-o", "json"), 0);
    assert_string_equal(line.given[OPTION_OUTPUT], "json");
    assert_int_equal(PARSE(&line, "status", "--output=json"), 0);
    assert_string_equal(line.given[OPTION_OUTPUT], "json");
    REFUSED("--output needs a value", "status", "-o");
    REFUSED("unknown option \"-hV\"", "status", "-hV");
    REFUSED("unknown option \"-h=1\"", "status", "-h=1");
}

static void operands_that_look_like_options(void **state UNUSED)
{
    static struct ctl_line line;

    assert_int_equal(PARSE(&line, "publish", "a", "-"), 0);
    assert_string_equal(line.operands[1], "-");
    assert_int_equal(PARSE(&line, "publish", "a", "-5"), 0);
    assert_string_equal(line.operands[1], "-5");
    assert_int_equal(PARSE(&line, "publish", "--", "a", "--json"), 0);
    assert_string_equal(line.operands[1], "--json");
    assert_null(line.given[OPTION_PUBLISH_JSON]);
    assert_int_equal(PARSE(&line, "publish", "a", "--", "--"), 0);
    assert_string_equal(line.operands[1], "--");
}

static void help_needs_nothing_else(void **state UNUSED)
{
    static struct ctl_line line;

    assert_int_equal(PARSE(&line, "publish", "--help"), 0);
    assert_int_equal(line.command, COMMAND_publish);
    assert_non_null(line.given[OPTION_HELP]);
    assert_int_equal(PARSE(&line, "-h"), 0);
    assert_false(line.have_command);
    assert_int_equal(PARSE(&line, "-V"), 0);
    assert_non_null(line.given[OPTION_VERSION]);
}

static void what_is_refused_says_why(void **state UNUSED)
{
    const char *none[] = {NULL};

    refused("which command?", none);
    REFUSED("unknown command \"statsu\"; did you mean \"status\"?", "statsu");
    REFUSED("unknown command \"zzzzzzzz\"", "zzzzzzzz");
    /* As others call it, however near another name is. */
    REFUSED("unknown command \"monitor\"; did you mean \"trace\"?", "monitor");
    REFUSED("unknown command \"CLIENT\"; did you mean \"conns\"?", "CLIENT", "list");
    REFUSED("unknown command \"stop\"; did you mean \"drain --stop\"?", "stop");
    REFUSED("unexpected argument \"x\"", "status", "x");
    REFUSED("unexpected argument \"c\"", "publish", "a", "b", "c");
    REFUSED("something is missing: roostctl publish CHANNEL DATA|-", "publish", "a");
    REFUSED("something is missing", "tail");
    REFUSED("did you mean --admin?", "status", "--amdin", "x");
    REFUSED("channels has no option --raw", "channels", "--raw");
    REFUSED("--raw goes behind its command: roostctl tail --raw", "--raw", "tail", "a");
    REFUSED("--admin needs a value", "status", "--admin");
    REFUSED("--raw takes no value", "tail", "--raw=1", "a");
    REFUSED("unknown option \"-x\"", "status", "-x");
    REFUSED("unknown option \"--=\"", "status", "--=");
    /* A value for an option's name. */
    REFUSED("unknown option \"--json\"; did you mean --output json?", "--json", "status");
    REFUSED("unknown option \"--json\"; did you mean --output json?", "status", "--json");
    REFUSED("unknown option \"--queued\"; did you mean --sort queued?", "conns", "--queued");
    refused_alone("unknown option \"-j\"", (const char *[]){"status", "-j", NULL});
}

/* Each kind of value at its edges. */
static void values_are_looked_at(void **state UNUSED)
{
    static struct ctl_line line;

    REFUSED("conns: --sort: expected queued, age, idle, in or out, got \"x\"", "conns", "--sort",
            "x");
    REFUSED("--limit: expected a whole number", "conns", "--limit=");
    REFUSED("--rate: expected a whole number above 0, got \"0\"", "drain", "--rate", "0");
    REFUSED("--time: expected a time", "drain", "--time", "169h");
    REFUSED("--address: expected an address or a network", "trace", "--address", "1.2.3.4/33");
    REFUSED("--conn: expected W:ID", "disconnect", "--conn", "1");
    REFUSED("--conn: expected W:ID", "trace", "--conn", "1:");
    REFUSED("--conn: expected W:ID", "trace", "--conn", ":1");
    REFUSED("--user: expected some text", "disconnect", "--user", "");
    REFUSED("--reason: expected one of those in deploy/METRICS.md, such as slow", "closes",
            "--reason", "slow_");
    REFUSED("--cancel does not go with --rate", "drain", "--rate", "1", "--cancel");
    assert_int_equal(PARSE(&line, "conns", "--sort", "out", "--limit", "0", "--address", "10."), 0);
    assert_int_equal(PARSE(&line, "drain", "--time", "168h", "--leave", "0"), 0);
    assert_int_equal(PARSE(&line, "trace", "--conn", "1"), 0);
    assert_int_equal(PARSE(&line, "trace", "--address", "2001:db8::/32"), 0);
    assert_int_equal(PARSE(&line, "disconnect", "--conn", "0:1", "--reason", ""), 0);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        assert_int_equal(PARSE(&line, "conns", "--protocol", protocols[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        assert_int_equal(PARSE(&line, "closes", "--reason", reasons[i]), 0);
}

static void more_operands_than_there_is_room_for(void **state UNUSED)
{
    static const char *words[OPERANDS_MAX + 3];

    words[0] = "tail";
    for (size_t i = 1; i < OPERANDS_MAX + 2; i++)
        words[i] = "a";
    refused("more than", words);
}

/* A value in small words is completed by them, in every shell. */
static void words_of_a_value_are_completed(void **state UNUSED)
{
    static const char *const expect[SHELL_NR] = {
        [SHELL_BASH] = "-o|--output) COMPREPLY=($(compgen -W 'json table'",
        [SHELL_ZSH] = ":json|table:(json table)'",
        [SHELL_FISH] = "-l output -s o -x -a 'json table'"};

    for (enum shell s = SHELL_BASH; s < SHELL_NR; s++) {
        struct buf out = {0};

        assert_int_equal(commands_completion(s, &out), 0);
        assert_int_equal(buf_append_char(&out, '\0'), 0);
        assert_non_null(strstr(out.p, expect[s]));
        buf_fini(&out);
    }
}

/* Usage comes from the table: each command has its page, no line is wider than a terminal, and each
 * command says what 0, 1 and 2 mean. */
static void usage_of_every_command(void **state UNUSED)
{
    struct buf out = {0};

    assert_int_equal(commands_usage(&out), 0);
    for (enum ctl_command c = 0; c < COMMAND_NR; c++) {
        assert_int_equal(buf_append_char(&out, '\0'), 0);
        assert_non_null(strstr(out.p, commands[c].name));
        out.len--;
    }
    for (enum ctl_command c = 0; c < COMMAND_NR; c++) {
        size_t at = out.len;

        assert_int_equal(commands_usage_of(c, &out), 0);
        assert_int_equal(buf_append_char(&out, '\0'), 0);
        assert_non_null(strstr(out.p + at, "\n  0  "));
        assert_non_null(strstr(out.p + at, "\n  1  "));
        assert_non_null(strstr(out.p + at, "\n  2  wrong usage\n"));
        out.len--;
    }
    for (struct str rest = buf_view(&out), line; rest.n > 0 && str_cut(&rest, '\n', &line);)
        if (line.n > 80)
            fail_msg("%zu columns: %.*s", line.n, STR_ARG(line));
    buf_fini(&out);
}

/* What they lead to is ours; a word of ours leads nowhere. */
static void words_of_other_tools(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        struct str rest = str_from(elsewhere[i].command), first;
        char name[32];
        struct buf error = {0};

        assert_true(str_cut(&rest, ' ', &first));
        assert_int_equal(str_copy(first, name, sizeof(name)), 0);
        assert_int_not_equal(commands_find(name, &error), COMMAND_NR);
        assert_int_equal(error.len, 0);
        assert_int_equal(commands_find(elsewhere[i].word, &error), COMMAND_NR);
        buf_fini(&error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(values_behind_a_letter),
        cmocka_unit_test(operands_that_look_like_options),
        cmocka_unit_test(help_needs_nothing_else),
        cmocka_unit_test(what_is_refused_says_why),
        cmocka_unit_test(words_of_other_tools),
        cmocka_unit_test(values_are_looked_at),
        cmocka_unit_test(more_operands_than_there_is_room_for),
        cmocka_unit_test(words_of_a_value_are_completed),
        cmocka_unit_test(usage_of_every_command),
    };
    return cmocka_run_group_tests_name("roostctl/commands", tests, NULL, NULL);
}
