/* tests/unit/roostctl/test_bundle_archive.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostctl/bundle_archive.c"
#include "fault.h"

static void cleaned(const struct bundle *b, const char *text, const char *expect)
{
    struct buf out = {0};

    assert_int_equal(bundle_clean(b, str_from(text), &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(out.p, expect);
    buf_fini(&out);
}

static void secrets_go_wherever_they_are(void **state UNUSED)
{
    struct bundle b = {.folder = "f"};

    bundle_hide(&b, STR_LIT("hunter2-x"));
    bundle_hide(&b, STR_LIT("hunter2-x-longer"));
    bundle_hide(&b, STR_LIT("short"));
    bundle_hide(&b, STR_LIT(""));
    cleaned(&b, "", "");
    cleaned(&b, "hunter2-x", "(removed)");
    cleaned(&b, "a hunter2-xhunter2-x-longer, short", "a (removed)(removed), short");
    cleaned(&b, "hunter2-", "hunter2-");
    bundle_fini(&b);
}

/* Every kind of setting that is one. */
static void secrets_of_all_settings(void **state UNUSED)
{
    static struct config c;
    struct bundle b = {.folder = "f"};
    char secret[64], err[128];
    size_t n = 0;

    config_defaults(&c);
    for (size_t i = 0; i < config_row_count(); i++) {
        if (config_row(i)->type != TABLE_SECRET)
            continue;
        snprintf(secret, sizeof(secret), "secret-number-%zu", 100 + i);
        assert_int_equal(table_set(&config_table, &c, i, str_from(secret), err, sizeof(err)), 0);
        n++;
    }
    bundle_hide_all(&b, &c);
    for (size_t i = 0; i < config_row_count(); i++) {
        if (config_row(i)->type != TABLE_SECRET)
            continue;
        snprintf(secret, sizeof(secret), "x secret-number-%zu", 100 + i);
        cleaned(&b, secret, "x (removed)");
    }
    assert_true(n >= 8);
    bundle_fini(&b);
}

static void what_urls_hide(void **state UNUSED)
{
    struct bundle b = {.folder = "f"};

    cleaned(&b, "https://a.example/keys?token=abc def", "https://a.example/keys?(removed) def");
    cleaned(&b, "\"https://u:pw@a.example:1/x\"", "\"https://(removed)@a.example:1/x\"");
    cleaned(&b, "redis://:p@w@h:6379, rediss://h?master=m",
            "redis://(removed)@h:6379, rediss://h?(removed)");
    cleaned(&b, "http://a/b@c?", "http://a/b@c");
    cleaned(&b, "a://", "a://");
    cleaned(&b, "what? no url", "what? no url");
    bundle_fini(&b);
}

static void an_archive(void **state UNUSED)
{
    struct bundle b = {.folder = "roost-x", .time_s = 5};
    const struct header *h;

    bundle_hide(&b, STR_LIT("hunter2"));
    bundle_add(&b, "a/b", STR_LIT("text hunter2"));
    bundle_missing(&b, "c", "status 401 hunter2");
    assert_int_equal(bundle_end(&b), 0);
    assert_int_equal(b.tar.len, 6 * BLOCK);
    h = (const struct header *)(const void *)b.tar.p;
    assert_string_equal(h->name, "roost-x/a/b");
    assert_string_equal(h->size, "00000000016");
    assert_string_equal(h->mtime, "00000000005");
    assert_memory_equal(b.tar.p + BLOCK, "text (removed)\0", 15);
    assert_null(memmem(b.tar.p, b.tar.len, "hunter", 6));
    assert_non_null(memmem(b.tar.p, b.tar.len,
                           "a/b                          14 bytes\n"
                           "c                            missing: status 401 "
                           "(removed)\n",
                           60));
    bundle_fini(&b);
}

/* An archive that lacks something without saying so is none. */
static void without_memory_it_is_none(void **state UNUSED)
{
    for (unsigned long k = 1; k < 12; k++) {
        struct bundle b = {.folder = "f"};
        int rc;

        fault_fail_at(k);
        bundle_hide(&b, STR_LIT("hunter2"));
        bundle_add(&b, "a", STR_LIT("text"));
        bundle_missing(&b, "c", "gone");
        rc = bundle_end(&b);
        assert_int_equal(rc, fault_count() >= k ? -1 : 0);
        fault_reset();
        bundle_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_go_wherever_they_are),
        cmocka_unit_test(secrets_of_all_settings),
        cmocka_unit_test(what_urls_hide),
        cmocka_unit_test(an_archive),
        cmocka_unit_test(without_memory_it_is_none),
    };
    return cmocka_run_group_tests_name("roostctl/bundle_archive", tests, NULL, NULL);
}
