/* tests/unit/base/test_log.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.c"

static char last[LINE_MAX_BYTES + 1];
static unsigned lines;

static void keep(struct str line, void *arg)
{
    (void)arg;
    assert_true(line.n > 0 && line.n < sizeof(last));
    memcpy(last, line.p, line.n);
    last[line.n] = '\0';
    lines++;
}

static int set_up(void **state)
{
    (void)state;
    clock_set_virtual(UINT64_C(1700000000123) * 1000000);
    log_set_sink(keep, NULL);
    log_set_format(LOG_FORMAT_LOGFMT);
    log_set_level(LOG_INFO);
    log_set_process("test");
    lines = 0;
    return 0;
}

static void logfmt_line(void **state)
{
    (void)state;
    LOG(LOG_INFO, "it works", KV_S("a", "b"), KV_U("n", 7), KV_I("i", -7), KV_B("yes", true),
        KV_NS("t", 1500000000), KV_S("e", ""));
    assert_string_equal(
        last, "ts=2023-11-14T22:13:20.123Z level=info proc=test msg=\"it works\" a=b n=7 i=-7 "
              "yes=true t=1.500000 e=\"\"\n");
}

static void levels(void **state)
{
    (void)state;
    LOG(LOG_DEBUG, "no");
    assert_int_equal(lines, 0);
    log_set_level(LOG_ERROR);
    LOG(LOG_WARN, "no");
    assert_int_equal(lines, 0);
    assert_string_equal(log_level_name(LOG_WARN), "warn");
}

/* What a client can send must not forge lines, colours or directions on a terminal. */
static void nasty_values_are_escaped(void **state)
{
    (void)state;
    LOG(LOG_INFO, "x", KV_S("v", "a\nlevel=error\r\033[31m\x7f\"\\"));
    assert_non_null(strstr(last, "v=\"a\\u000alevel=error\\u000d\\u001b[31m\\u007f\\\"\\\\\"\n"));
    LOG(LOG_INFO, "x",
        KV_S("v", "\xc2\x9b"
                  "31m \xe2\x80\xae \xff\xfe \xed\xa0\x80 \xc0\xaf gr\xc3\xbc\xc3\x9f"));
    for (const char *p = last; *p != '\n'; p++)
        assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    assert_null(strstr(last, "\xe2\x80\xae"));
    assert_null(strstr(last, "\xc2\x9b"));
    assert_null(strstr(last, "\xff"));
    assert_non_null(strstr(last, "gr\xc3\xbc\xc3\x9f"));
}

static void json_line(void **state)
{
    (void)state;
    log_set_format(LOG_FORMAT_JSON);
    LOG(LOG_WARN, "a \"b\"", KV_U("n", 7), KV_S("s", "x\ty"));
    assert_string_equal(
        last, "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\",\"proc\":\"test\",\"msg\":"
              "\"a \\\"b\\\"\",\"n\":7,\"s\":\"x\\u0009y\"}\n");
}

static void long_lines_are_cut_whole(void **state)
{
    static char big[5000];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    log_set_format(LOG_FORMAT_JSON);
    LOG(LOG_INFO, "m", KV_U("before", 1), KV_S("big", big), KV_U("after", 2));
    assert_non_null(strstr(last, "\"before\":1,\"cut\":true}\n"));
    assert_null(strstr(last, "after"));
}

static void each_site_has_its_limit(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 100; i++)
            LOG(LOG_WARN, "again");
        assert_int_equal(lines, 10 * (round + 1));
        clock_advance(NS_PER_SEC);
    }
    for (int i = 0; i < 1; i++)
        LOG(LOG_WARN, "other site");
    assert_null(strstr(last, "suppressed"));
    for (int i = 0; i < 50; i++)
        LOG(LOG_INFO, "not limited");
    assert_int_equal(lines, 71);
}

static void what_was_suppressed_is_said(void **state)
{
    (void)state;
    for (int i = 0; i < 26; i++) {
        if (i == 25)
            clock_advance(NS_PER_SEC);
        LOG(LOG_ERROR, "burst");
    }
    assert_non_null(strstr(last, "suppressed=15"));
}

static void files(void **state)
{
    char path[] = "/tmp/roost-log-XXXXXX", text[512] = "";
    int fd = mkstemp(path);

    (void)state;
    log_set_sink(NULL, NULL);
    assert_int_equal(log_open(LOG_INFO, LOG_FORMAT_LOGFMT, "/nonexistent/x"), -1);
    assert_int_equal(log_open(LOG_INFO, LOG_FORMAT_LOGFMT, path), 0);
    LOG(LOG_INFO, "one");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(log_reopen(), 0);
    LOG(LOG_INFO, "two");
    assert_int_equal(log_open(LOG_INFO, LOG_FORMAT_LOGFMT, ""), 0);
    assert_int_equal(log_reopen(), 0);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    close(fd);
    fd = open(path, O_RDONLY);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "two"));
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(logfmt_line, set_up),
        cmocka_unit_test_setup(levels, set_up),
        cmocka_unit_test_setup(nasty_values_are_escaped, set_up),
        cmocka_unit_test_setup(json_line, set_up),
        cmocka_unit_test_setup(long_lines_are_cut_whole, set_up),
        cmocka_unit_test_setup(each_site_has_its_limit, set_up),
        cmocka_unit_test_setup(what_was_suppressed_is_said, set_up),
        cmocka_unit_test_setup(files, set_up),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
