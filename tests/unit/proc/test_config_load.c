/* tests/unit/proc/test_config_load.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_load.c"

static struct buf errors;

static int set_up(void **state)
{
    (void)state;
    buf_fini(&errors);
    return 0;
}

static int load(struct config *c, const char *text)
{
    config_defaults(c);
    buf_clear(&errors);
    return config_load_text(c, "f.yaml", str_from(text), &errors);
}

static void refused(const char *text, const char *lines)
{
    struct config c, before;

    config_defaults(&before);
    assert_int_equal(load(&c, text), -1);
    if (!str_equal(buf_view(&errors), str_from(lines)))
        fail_msg("got: %.*s", (int)errors.len, errors.p);
    assert_memory_equal(&c, &before, sizeof(c)); /* all or nothing */
}

static void good_files(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(load(&c, ""), 0);
    assert_int_equal(load(&c, "# nothing but a comment\n"), 0);
    assert_int_equal(
        load(
            &c,
            "---\nworkers: 3\nping_interval: 5s\nallowed_origins:\n  - https://a\n  - 'https://b'\n"
            "subprotocols: [x, y]\nlog_level: \"debug\"\n...\n"),
        0);
    assert_int_equal(c.workers, 3);
    assert_true(c.ping_interval == 5 * INT64_C(1000000000));
    assert_string_equal(c.allowed_origins, "https://a\nhttps://b");
    assert_string_equal(c.subprotocols, "x\ny");
    assert_int_equal(load(&c, "{workers: 2, max_connections: 5}"), 0);
    assert_int_equal(c.max_connections, 5);
    assert_int_equal(load(&c, "subprotocols: []\n"), 0);
    assert_string_equal(c.subprotocols, "");
}

static void errors_have_their_place(void **state)
{
    (void)state;
    refused("workers: 2\n\nmax_conections: 5\n",
            "f.yaml:3:1: unknown key \"max_conections\"; did you mean \"max_connections\"?\n");
    refused(
        "zzzzzzzzzzzzzzzzzzzzzz: 1\n",
        "f.yaml:1:1: unknown key \"zzzzzzzzzzzzzzzzzzzzzz\"; roostd --print-config lists all\n");
    refused("ping_interval:   fast\n", "f.yaml:1:18: ping_interval: expected a duration such as "
                                       "250ms, 10s, 5m or 1h, got \"fast\"\n");
    refused("workers: 2\nworkers: 3\n", "f.yaml:2:1: workers is set twice\n");
    refused("workers: [1, 2]\n", "f.yaml:1:10: expected one value, not a list\n");
    refused("workers:\n  x: 1\n", "f.yaml:2:3: expected a value; settings do not nest\n");
    refused("- a\n", "f.yaml:1:1: expected settings as \"name: value\" lines\n");
    refused("just text\n", "f.yaml:1:1: expected settings as \"name: value\" lines\n");
    refused("workers: *x\n", "f.yaml:1:10: expected a value; aliases are not supported\n");
    refused("allowed_origins:\n  - [a]\n", "f.yaml:2:5: expected a list of words\n");
}

static void several_errors_are_told_together(void **state)
{
    (void)state;
    refused("workers: 0\nlisten: nowhere\nnope: 1\n",
            "f.yaml:1:10: workers: expected auto or a whole number from 1 to 128, got \"0\"\n"
            "f.yaml:2:9: listen: expected an address such as [::]:8000, 0.0.0.0:8000 or :8000, got "
            "\"nowhere\"\n"
            "f.yaml:3:1: unknown key \"nope\"; roostd --print-config lists all\n");
}

static void what_is_not_yaml(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(load(&c, "workers: \"2\n"), -1);
    assert_true(str_starts_with(buf_view(&errors), STR_LIT("f.yaml:")));
    assert_int_equal(load(&c, "a: b: c\n"), -1);
    assert_int_equal(load(&c, "\x01\n"), -1);
    assert_int_equal(load(&c, "\t- x\n"), -1);
}

static void precedence(void **state)
{
    char path[] = "/tmp/roost-config-XXXXXX";
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=3",
                   (char *)(uintptr_t) "ROOST_MAX_CONNECTIONS=30",
                   (char *)(uintptr_t) "ROOST_HINTS=1", (char *)(uintptr_t) "HOME=/", NULL};
    const char *sets[] = {"workers=4"};
    struct config_source src = {.path = path, .sets = sets, .nsets = 1, .environ_vars = env};
    FILE *f = fdopen(mkstemp(path), "w");
    struct config c;

    (void)state;
    fputs("workers: 2\nmax_connections: 20\nnode_name: n\n", f);
    fclose(f);
    assert_int_equal(config_load(&c, &src, &errors), 0);
    assert_int_equal(c.workers, 4);
    assert_int_equal(c.max_connections, 30);
    assert_string_equal(c.node_name, "n");
    unlink(path);
    assert_int_equal(config_load(&c, &src, &errors), -1); /* the file is gone */
}

static void sources_are_named(void **state)
{
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=0", (char *)(uintptr_t) "ROOST_WORKRES=1",
                   NULL};
    const char *sets[] = {"workers", "pingg=1"};
    struct config_source src = {.sets = sets, .nsets = 2, .environ_vars = env};
    struct config c;

    (void)state;
    assert_int_equal(config_load(&c, &src, &errors), -1);
    if (!str_equal(
            buf_view(&errors),
            STR_LIT(
                "environment ROOST_WORKERS: expected auto or a whole number from 1 to 128, got "
                "\"0\"\n"
                "environment ROOST_WORKRES: unknown key \"workres\"; did you mean \"workers\"?\n"
                "--set workers: expected key=value\n"
                "--set pingg: unknown key \"pingg\"; roostd --print-config lists all\n")))
        fail_msg("got: %.*s", (int)errors.len, errors.p);
}

static void admin_off_loopback_needs_a_key(void **state)
{
    const char *open[] = {"admin_listen=0.0.0.0:8001"},
               *keyed[] = {"admin_listen=0.0.0.0:8001", "api_key=k"},
               *v6[] = {"admin_listen=[::1]:8001"}, *off[] = {"admin_listen=off"};
    struct config c;

    (void)state;
    assert_int_equal(config_load(&c, &(struct config_source){.sets = open, .nsets = 1}, &errors),
                     -1);
    assert_non_null(memmem(errors.p, errors.len, "api_key", 7));
    assert_int_equal(config_load(&c, &(struct config_source){.sets = keyed, .nsets = 2}, &errors),
                     0);
    assert_int_equal(config_load(&c, &(struct config_source){.sets = v6, .nsets = 1}, &errors), 0);
    assert_int_equal(config_load(&c, &(struct config_source){.sets = off, .nsets = 1}, &errors), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(good_files, set_up),
        cmocka_unit_test_setup(errors_have_their_place, set_up),
        cmocka_unit_test_setup(several_errors_are_told_together, set_up),
        cmocka_unit_test_setup(what_is_not_yaml, set_up),
        cmocka_unit_test_setup(precedence, set_up),
        cmocka_unit_test_setup(sources_are_named, set_up),
        cmocka_unit_test_setup(admin_off_loopback_needs_a_key, set_up),
    };
    return cmocka_run_group_tests_name("proc/config_load", tests, NULL, NULL);
}
