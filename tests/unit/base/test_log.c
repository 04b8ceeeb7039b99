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

static int set_up(void **state UNUSED)
{
    clock_set_virtual(UINT64_C(1700000000123) * 1000000);
    log_set_sink(keep, NULL);
    log_set_format(LOG_FORMAT_LOGFMT);
    log_set_level(LOG_INFO);
    log_set_process("test");
    lines = 0;
    return 0;
}

static void logfmt_line(void **state UNUSED)
{
    LOG(LOG_INFO, "it works", KV_S("a", "b"), KV_U("n", 7), KV_I("i", -7), KV_B("yes", true),
        KV_NS("t", 1500000000), KV_S("e", ""));
    assert_string_equal(
        last, "ts=2023-11-14T22:13:20.123Z level=info proc=test msg=\"it works\" a=b n=7 i=-7 "
              "yes=true t=1.500000 e=\"\"\n");
}

static void levels(void **state UNUSED)
{
    LOG(LOG_DEBUG, "no");
    assert_int_equal(lines, 0);
    log_set_level(LOG_ERROR);
    LOG(LOG_WARN, "no");
    assert_int_equal(lines, 0);
    assert_string_equal(log_level_name(LOG_WARN), "warn");
}

/* What a client can send must not forge lines, colours or directions on a terminal. */
static void nasty_values_are_escaped(void **state UNUSED)
{
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

static void json_line(void **state UNUSED)
{
    log_set_format(LOG_FORMAT_JSON);
    LOG(LOG_WARN, "a \"b\"", KV_U("n", 7), KV_S("s", "x\ty"));
    assert_string_equal(
        last, "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\",\"proc\":\"test\",\"msg\":"
              "\"a \\\"b\\\"\",\"n\":7,\"s\":\"x\\u0009y\"}\n");
}

static void long_lines_are_cut_whole(void **state UNUSED)
{
    static char big[5000];

    memset(big, 'x', sizeof(big) - 1);
    log_set_format(LOG_FORMAT_JSON);
    LOG(LOG_INFO, "m", KV_U("before", 1), KV_S("big", big), KV_U("after", 2));
    assert_non_null(strstr(last, "\"before\":1,\"cut\":true}\n"));
    assert_null(strstr(last, "after"));
}

static void each_site_has_its_limit(void **state UNUSED)
{
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

static void what_was_suppressed_is_said(void **state UNUSED)
{
    for (int i = 0; i < 26; i++) {
        if (i == 25)
            clock_advance(NS_PER_SEC);
        LOG(LOG_ERROR, "burst");
    }
    assert_non_null(strstr(last, "suppressed=15"));
}

/* A burst is the last thing that happens for a long time: its count is said all the same. */
static void a_closing_line_says_the_count(void **state UNUSED)
{
    for (int i = 0; i < 25; i++)
        LOG(LOG_WARN, "storm", KV_S("detail", "of one"));
    assert_int_equal(lines, 10);
    log_say_suppressed(false);
    assert_int_equal(lines, 10); /* its window is not over */
    clock_advance(NS_PER_SEC);
    log_say_suppressed(false);
    assert_int_equal(lines, 11);
    assert_non_null(strstr(last, "level=warn proc=test msg=\"storm\" suppressed=15\n"));
    log_say_suppressed(true);
    assert_int_equal(lines, 11); /* once */
}

static void a_site_of_its_own(void **state UNUSED)
{
    static struct log_site site;

    site = (struct log_site){
        .window_ns = 10 * NS_PER_SEC, .burst = 2, .subject = KV_S("reason", "slow")};
    for (int i = 0; i < 5; i++) {
        LOG_AT(&site, LOG_WARN, "closed", KV_U("i", i));
        clock_advance(NS_PER_SEC);
        log_say_suppressed(false);
    }
    assert_int_equal(lines, 2);
    log_say_suppressed(true); /* the process ends */
    assert_int_equal(lines, 3);
    assert_non_null(strstr(last, "msg=\"closed\" reason=slow suppressed=3\n"));
    clock_advance(10 * NS_PER_SEC);
    for (int i = 0; i < 5; i++)
        LOG_AT(&site, LOG_WARN, "closed", KV_U("i", i));
    clock_advance(10 * NS_PER_SEC);
    LOG_AT(&site, LOG_WARN, "closed", KV_U("i", 9)); /* the next line says it: no closing line */
    assert_non_null(strstr(last, "i=9 suppressed=3\n"));
    lines = 0;
    log_say_suppressed(true);
    assert_int_equal(lines, 0);
    for (int i = 0; i < 5; i++)
        LOG_AT(&site, LOG_WARN, "closed");
    lines = 0;
    log_set_process("child"); /* the count stays the parent's */
    log_say_suppressed(true);
    assert_int_equal(lines, 0);
    log_set_level(LOG_ERROR); /* said before, not asked for any more */
    LOG_AT(&site, LOG_WARN, "closed");
    assert_int_equal(lines, 0);
}

static void a_cut_line_has_its_counts(void **state UNUSED)
{
    static struct log_site site;
    static char big[5000];

    site = (struct log_site){.burst = 1};
    memset(big, 'x', sizeof(big) - 1);
    log_set_format(LOG_FORMAT_JSON);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            clock_advance(NS_PER_SEC);
        LOG_AT(&site, LOG_WARN, "m", KV_S("big", big));
    }
    assert_non_null(strstr(last, "\"msg\":\"m\",\"suppressed\":1,\"cut\":true}\n"));
    for (size_t n = 1850; n < 2050; n++) { /* wherever the room ends */
        clock_advance(NS_PER_SEC);
        LOG_AT(&site, LOG_WARN, "m", KV_STR("big", ((struct str){big, n})));
        LOG_AT(&site, LOG_WARN, "m");
        assert_true(strcmp(last + strlen(last) - 2, "}\n") == 0);
        assert_true(n == 1850 || strstr(last, ",\"suppressed\":1") != NULL);
    }
    log_say_suppressed(true);
}

static void files(void **state UNUSED)
{
    char path[] = "/tmp/roost-log-XXXXXX", text[512] = "";
    int fd = mkstemp(path);

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
        cmocka_unit_test_setup(a_closing_line_says_the_count, set_up),
        cmocka_unit_test_setup(a_site_of_its_own, set_up),
        cmocka_unit_test_setup(a_cut_line_has_its_counts, set_up),
        cmocka_unit_test_setup(files, set_up),
    };
    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
