/* What the path and the query of an upgrade ask for. */
#include "proto/plain/plain_query.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct plain_query q;

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    return 0;
}

/* path NULL: the query form. CLOSE_NONE: good. */
static enum close_reason parse(const char *path, const char *query)
{
    enum close_reason why = CLOSE_NONE;
    struct str channel = path == NULL ? STR_NULL : str_from(path);
    struct str rest = query == NULL ? STR_NULL : str_from(query);

    return plain_query_parse(channel, rest, &q, &why) == 0 ? CLOSE_NONE : why;
}

static void assert_names(const char *joined)
{
    struct str rest = {.p = q.names, .n = q.bytes}, name;
    char text[512] = "";
    size_t n = 0;

    while (plain_name_next(&rest, &name))
        n +=
            (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n > 0 ? " " : "", STR_ARG(name));
    assert_string_equal(text, joined);
}

static void the_path_form(void **state UNUSED)
{
    assert_int_equal(parse("lobby", NULL), CLOSE_NONE);
    assert_names("lobby");
    assert_int_equal(q.mode, PLAIN_BOTH);
    assert_false(q.quiet);
    assert_false(q.envelope);
    assert_int_equal(parse("a/b#\xc3\xa4", "echo=0&mode=sub&token=%zz&api_key=x"), CLOSE_NONE);
    assert_names("a/b#\xc3\xa4");
    assert_true(q.quiet);
    assert_int_equal(q.mode, PLAIN_SUB);
    assert_int_equal(parse("a", "mode=pub&echo=1&&x"), CLOSE_NONE);
    assert_int_equal(q.mode, PLAIN_PUB);
    assert_false(q.quiet);
}

static void the_query_form(void **state UNUSED)
{
    assert_int_equal(parse(NULL, "channel=a"), CLOSE_NONE);
    assert_names("a");
    assert_true(q.envelope);
    assert_int_equal(parse(NULL, "channel=a&channel=b%2Fc&echo=0&channel=a&channel=%61&channel=+"),
                     CLOSE_NONE);
    assert_names("a b/c +");
    assert_int_equal(q.n, 3);
}

static void what_is_refused(void **state UNUSED)
{
    static const struct {
        const char *path, *query;
        enum close_reason why;
    } bad[] = {
        {NULL, NULL, CLOSE_BAD_CHANNEL},
        {NULL, "", CLOSE_BAD_CHANNEL},
        {NULL, "echo=0", CLOSE_BAD_CHANNEL},
        {NULL, "channel=", CLOSE_BAD_CHANNEL},
        {NULL, "channel", CLOSE_BAD_CHANNEL},
        {NULL, "channel=a&channel=", CLOSE_BAD_CHANNEL},
        {NULL, "channel=a%20b", CLOSE_BAD_CHANNEL},
        {NULL, "channel=%", CLOSE_BAD_CHANNEL},
        {NULL, "channel=%ff", CLOSE_BAD_CHANNEL},
        {NULL, "channel=a*", CLOSE_BAD_CHANNEL},
        {NULL, "channel=%00", CLOSE_BAD_CHANNEL},
        {"", NULL, CLOSE_BAD_CHANNEL},
        {"a b", NULL, CLOSE_BAD_CHANNEL},
        {"a\n", NULL, CLOSE_BAD_CHANNEL},
        {"\xff", NULL, CLOSE_BAD_CHANNEL},
        {"a", "channel=b", CLOSE_BAD_QUERY},
        {"a", "echo", CLOSE_BAD_QUERY},
        {"a", "echo=", CLOSE_BAD_QUERY},
        {"a", "echo=2", CLOSE_BAD_QUERY},
        {"a", "echo=false", CLOSE_BAD_QUERY},
        {"a", "echo=0&echo=0", CLOSE_BAD_QUERY},
        {"a", "mode=", CLOSE_BAD_QUERY},
        {"a", "mode=both", CLOSE_BAD_QUERY},
        {"a", "mode=SUB", CLOSE_BAD_QUERY},
        {"a", "mode=sub&mode=pub", CLOSE_BAD_QUERY},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum close_reason why = parse(bad[i].path, bad[i].query);

        if (why != bad[i].why)
            fail_msg("%s?%s: %s", bad[i].path, bad[i].query, close_row(why)->label);
    }
}

static void limits(void **state UNUSED)
{
    char name[CHANNEL_NAME_MAX + 2], query[600];

    memset(name, 'x', sizeof(name));
    name[CHANNEL_NAME_MAX + 1] = '\0';
    assert_int_equal(parse(name, NULL), CLOSE_BAD_CHANNEL);
    snprintf(query, sizeof(query), "channel=%s", name);
    assert_int_equal(parse(NULL, query), CLOSE_BAD_CHANNEL);
    name[CHANNEL_NAME_MAX] = '\0';
    assert_int_equal(parse(name, NULL), CLOSE_NONE);
    snprintf(query, sizeof(query), "channel=a&channel=%s", name);
    assert_int_equal(parse(NULL, query), CLOSE_NONE);
    assert_int_equal(q.bytes, 2 + 1 + CHANNEL_NAME_MAX);
    config.max_channels_per_connection = 2;
    assert_int_equal(parse(NULL, "channel=a&channel=b&channel=a"), CLOSE_NONE);
    assert_int_equal(parse(NULL, "channel=a&channel=b&channel=c"), CLOSE_TOO_MANY_CHANNELS);
}

/* Far more names than are compared one by one, each of them three times. */
static void many_names_count_once(void **state UNUSED)
{
    struct buf query = {0};

    config.max_channels_per_connection = PLAIN_CHANNELS_MAX;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < PLAIN_CHANNELS_MAX; i++)
            assert_int_equal(buf_printf(&query, "&channel=%u%%2f", i * 7919), 0);
    assert_int_equal(buf_append_char(&query, '\0'), 0);
    assert_int_equal(parse(NULL, query.p), CLOSE_NONE);
    assert_int_equal(q.n, PLAIN_CHANNELS_MAX);
    query.len--;
    assert_int_equal(buf_append(&query, (struct str){.p = "&channel=x", .n = 11}), 0);
    assert_int_equal(parse(NULL, query.p), CLOSE_TOO_MANY_CHANNELS);
    buf_fini(&query);
}

/* As many as are allowed by default, as long as they may be, every byte escaped. */
static void the_longest_names(void **state UNUSED)
{
    struct buf query = {0};

    for (unsigned i = 0; i < (unsigned)config.max_channels_per_connection; i++) {
        assert_int_equal(buf_printf(&query, "&channel=%%%02X%%%02X", 'a' + i / 16, 'a' + i % 16),
                         0);
        for (unsigned k = 2; k < CHANNEL_NAME_MAX; k++)
            assert_int_equal(buf_append_lit(&query, "%78"), 0);
    }
    assert_true(query.len + 4096 <= (size_t)config.max_header_size);
    assert_int_equal(buf_append_char(&query, '\0'), 0);
    assert_int_equal(parse(NULL, query.p), CLOSE_NONE);
    assert_int_equal(q.n, config.max_channels_per_connection);
    assert_int_equal(q.bytes, q.n * (1 + CHANNEL_NAME_MAX));
    buf_fini(&query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_path_form, setup),
        cmocka_unit_test_setup(the_query_form, setup),
        cmocka_unit_test_setup(what_is_refused, setup),
        cmocka_unit_test_setup(limits, setup),
        cmocka_unit_test_setup(many_names_count_once, setup),
        cmocka_unit_test_setup(the_longest_names, setup),
    };

    return cmocka_run_group_tests_name("proto/plain/plain_query", tests, NULL, NULL);
}
