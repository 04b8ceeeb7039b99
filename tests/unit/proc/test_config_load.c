/* tests/unit/proc/test_config_load.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_load.c"

#include <sys/stat.h>
#include <unistd.h>

static struct buf errors;

static int set_up(void **state UNUSED)
{
    buf_fini(&errors);
    return 0;
}

static int load(struct config *c, const char *text)
{
    config_defaults(c);
    buf_clear(&errors);
    return config_load_text(c, "f.yaml", str_from(text), NULL, &errors);
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

static void good_files(void **state UNUSED)
{
    struct config c;

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

static void errors_have_their_place(void **state UNUSED)
{
    refused("workers: 2\n\nmax_conections: 5\n",
            "f.yaml:3:1: unknown key \"max_conections\"; did you mean \"max_connections\"?\n");
    refused(
        "zzzzzzzzzzzzzzzzzzzzzz: 1\n",
        "f.yaml:1:1: unknown key \"zzzzzzzzzzzzzzzzzzzzzz\"; roostd --print-config lists all\n");
    refused("ping_interval:   fast\n", "f.yaml:1:18: ping_interval: expected a duration such as "
                                       "250ms, 10s, 5m or 1h, got \"fast\"\n");
    refused("workers: 2\nworkers: 3\n", "f.yaml:2:1: workers is set twice\n");
    refused("workers: [1, 2]\n", "f.yaml:1:10: expected one value, not a list\n");
    refused("workers:\n  x: 1\n", "f.yaml:2:3: expected a value, not a mapping\n");
    refused("- a\n", "f.yaml:1:1: expected settings as \"name: value\" lines\n");
    refused("just text\n", "f.yaml:1:1: expected settings as \"name: value\" lines\n");
    refused("workers: *x\n", "f.yaml:1:10: expected a value; aliases are not supported\n");
    refused("allowed_origins:\n  - [a]\n", "f.yaml:2:5: expected a list of words\n");
}

static void several_errors_are_told_together(void **state UNUSED)
{
    refused("workers: 0\nlisten: nowhere\nnope: 1\n",
            "f.yaml:1:10: workers: expected auto or a whole number from 1 to 128, got \"0\"\n"
            "f.yaml:2:9: listen: expected an address such as [::]:8000, 0.0.0.0:8000, :8000 or "
            "unix:/path, got "
            "\"nowhere\"\n"
            "f.yaml:3:1: unknown key \"nope\"; roostd --print-config lists all\n");
}

static void what_is_not_yaml(void **state UNUSED)
{
    struct config c;

    assert_int_equal(load(&c, "workers: \"2\n"), -1);
    assert_true(str_starts_with(buf_view(&errors), STR_LIT("f.yaml:")));
    assert_int_equal(load(&c, "a: b: c\n"), -1);
    assert_int_equal(load(&c, "\x01\n"), -1);
    assert_int_equal(load(&c, "\t- x\n"), -1);
}

static void precedence(void **state UNUSED)
{
    char path[] = "/tmp/roost-config-XXXXXX";
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=3",
                   (char *)(uintptr_t) "ROOST_MAX_CONNECTIONS=30",
                   (char *)(uintptr_t) "ROOST_HINTS=1", (char *)(uintptr_t) "HOME=/", NULL};
    const char *sets[] = {"workers=4"};
    struct config_source src = {.path = path, .sets = sets, .nsets = 1, .environ_vars = env};
    FILE *f = fdopen(mkstemp(path), "w");
    struct config c;

    fputs("workers: 2\nmax_connections: 20\nnode_name: n\n", f);
    fclose(f);
    assert_int_equal(config_load(&c, &src, &errors), 0);
    assert_int_equal(c.workers, 4);
    assert_int_equal(c.max_connections, 30);
    assert_string_equal(c.node_name, "n");
    unlink(path);
    assert_int_equal(config_load(&c, &src, &errors), -1); /* the file is gone */
}

static void sources_are_named(void **state UNUSED)
{
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=0", (char *)(uintptr_t) "ROOST_WORKRES=1",
                   NULL};
    const char *sets[] = {"workers", "pingg=1"};
    struct config_source src = {.sets = sets, .nsets = 2, .environ_vars = env};
    struct config c;

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

/* docker's --env-file gives the program what stands in the file, quotes and all. */
static void quotes_in_the_environment(void **state UNUSED)
{
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=\"4\"",
                   (char *)(uintptr_t) "ROOST_NAMESPACES='[]'",
                   (char *)(uintptr_t) "ROOST_DRAIN_TIME=\"", NULL};
    struct config_source src = {.environ_vars = env};
    struct config c;

    assert_int_equal(config_load(&c, &src, &errors), -1);
    if (!str_equal(
            buf_view(&errors),
            STR_LIT(
                "environment ROOST_WORKERS: expected auto or a whole number from 1 to 128, got "
                "\"?4?\"\n"
                "environment ROOST_WORKERS: " CONFIG_QUOTES "\n"
                "environment ROOST_NAMESPACES:1:1: expected one list\n"
                "environment ROOST_NAMESPACES: " CONFIG_QUOTES "\n"
                "environment ROOST_DRAIN_TIME: expected a duration such as 250ms, 10s, 5m or 1h, "
                "got \"?\"\n")))
        fail_msg("got: %.*s", (int)errors.len, errors.p);
}

static void line_ends_in_the_environment(void **state UNUSED)
{
    char *env[] = {(char *)(uintptr_t) "ROOST_WORKERS=4\n",
                   (char *)(uintptr_t) "ROOST_API_KEY=a-key-of-publishers\r\n",
                   (char *)(uintptr_t) "ROOST_DRAIN_TIME=3s\r",
                   (char *)(uintptr_t) "ROOST_ALLOWED_ORIGINS=https://a\n",
                   (char *)(uintptr_t) "ROOST_LOG_LEVEL=\n", /* not set */
                   NULL};
    char *within[] = {(char *)(uintptr_t) "ROOST_API_KEY=a-key\nof-publishers", NULL};
    char *two[] = {(char *)(uintptr_t) "ROOST_API_KEY=a-key-of-publishers\n\n", NULL};
    struct config_source src = {.environ_vars = env};
    struct config c;

    assert_int_equal(config_load(&c, &src, &errors), 0);
    assert_int_equal(c.workers, 4);
    assert_string_equal(c.api_key, "a-key-of-publishers");
    assert_true(c.drain_time == 3 * INT64_C(1000000000));
    assert_string_equal(c.allowed_origins, "https://a");
    src.environ_vars = within;
    assert_int_equal(config_load(&c, &src, &errors), -1);
    src.environ_vars = two;
    assert_int_equal(config_load(&c, &src, &errors), -1);
}

static void admin_off_loopback_needs_a_key(void **state UNUSED)
{
    const char *unlocked[] = {"admin_listen=0.0.0.0:8001"},
               *keyed[] = {"admin_listen=0.0.0.0:8001", "api_key=k"},
               *v6[] = {"admin_listen=[::1]:8001"}, *off[] = {"admin_listen=off"};
    struct config c;

    assert_int_equal(
        config_load(&c, &(struct config_source){.sets = unlocked, .nsets = 1}, &errors), -1);
    assert_non_null(memmem(errors.p, errors.len, "api_key", 7));
    assert_int_equal(config_load(&c, &(struct config_source){.sets = keyed, .nsets = 2}, &errors),
                     0);
    assert_int_equal(config_load(&c, &(struct config_source){.sets = v6, .nsets = 1}, &errors), 0);
    assert_int_equal(config_load(&c, &(struct config_source){.sets = off, .nsets = 1}, &errors), 0);
}

static void kubernetes_variables_are_no_settings(void **state UNUSED)
{
    static const struct {
        const char *name, *value;
        bool service;
    } rows[] = {
        {"SERVICE_HOST", "10.0.0.1", true},
        {"SERVICE_PORT", "80", true},
        {"SERVICE_PORT_HTTP", "80", true},
        {"PORT", "tcp://10.0.0.1:80", true},
        {"PORT", "udp://10.0.0.1:80", true},
        {"PORT", "sctp://10.0.0.1:80", true},
        {"PORT_6379_TCP", "tcp://10.0.0.1:6379", true},
        {"PORT_6379_UDP_PORT", "6379", true},
        {"REDIS_PORT_6379_TCP_ADDR", "10.0.0.1", true},
        {"REDIS_PORT_6379_SCTP_PROTO", "sctp", true},
        {"REDIS_SERVICE_HOST", "10.0.0.1", true},
        {"MY_REDIS_SERVICE_PORT_TLS", "443", true},
        {"REDIS_PORT", "tcp://10.0.0.1:6379", true},
        {"PORT", "8000", false},
        {"PORT", "", false},
        {"SUPPORT", "tcp://10.0.0.1:80", false},
        {"PORT_HTTP", "80", false},
        {"PORT_80_TCP_NAME", "x", false},
        {"PORT_80_ICMP", "x", false},
        {"XSERVICE_HOST", "x", false},
        {"SERVICE", "x", false},
        {"SERVICE_PORT_", "x", false},
        {"WORKERS", "tcp://1", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (config_is_service_variable(str_from(rows[i].name), str_from(rows[i].value)) !=
            rows[i].service)
            fail_msg("ROOST_%s=%s", rows[i].name, rows[i].value);
}

static struct config loaded;

/* Loads a file with the variables; into `loaded` when it is good. */
static int load_file(const char *path, const struct config *running, char *const *env)
{
    buf_clear(&errors);
    return config_load(
        &loaded, &(struct config_source){.path = path, .environ_vars = env, .running = running},
        &errors);
}

static void says(const char *text)
{
    if (memmem(errors.p ? errors.p : "", errors.len, text, strlen(text)) == NULL)
        fail_msg("got: %.*s", (int)errors.len, errors.p);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
}

static void what_is_absent_is_not_a_default(void **state UNUSED)
{
    static const char *const nothing[] = {"", "\n", "# api_key: x\n", "---\n"};
    char folder[] = "/tmp/roost-config-XXXXXX", path[64];
    struct config running;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/f.yaml", folder);
    write_file(path, "api_key: k\nworkers: ~\n");
    assert_int_equal(load_file(path, NULL, NULL), 0);
    assert_int_equal(loaded.file_settings, 1);
    running = loaded;
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++) {
        write_file(path, nothing[i]);
        assert_int_equal(load_file(path, &running, NULL), -1);
        says("sets nothing any more");
        assert_string_equal(loaded.api_key, "k");
        assert_int_equal(load_file(path, NULL, NULL), 0);    /* at a start it is what there is */
        assert_int_equal(load_file(path, &loaded, NULL), 0); /* and was */
        loaded = running;
    }
    write_file(path, "{}");
    assert_int_equal(load_file(path, &running, NULL), 0);
    unlink(path);
    assert_int_equal(load_file(path, &running, NULL), -1);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load_file(path, &running, NULL), -1); /* and does not wait */
    says("is not a regular file");
    assert_int_equal(load_file(folder, &running, NULL), -1);
    says("is a folder");
    assert_int_equal(load_file("/dev/null", &running, NULL), -1);
    assert_int_equal(load_file("/dev/null", NULL, NULL), 0);
    assert_int_equal(load_file("/dev/zero", NULL, NULL), -1);
    unlink(path);
    rmdir(folder);
}

static void a_pipe_is_read_once(void **state UNUSED)
{
    struct config running;
    char path[32];
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    assert_int_equal(write(fds[1], "workers: 3\n", 11), 11);
    close(fds[1]);
    assert_int_equal(load_file(path, NULL, NULL), 0);
    assert_int_equal(loaded.workers, 3);
    assert_true(loaded.file_was_pipe);
    running = loaded;
    assert_int_equal(load_file(path, &running, NULL), -1);
    says("came through a pipe");
    assert_int_equal(load_file("/dev/null", &running, NULL), -1); /* whatever has its name now */
    says("came through a pipe");
    assert_int_equal(load_file(path, NULL, NULL), -1);
    says("the pipe ended without a setting");
    close(fds[0]);
}

static void null_in_the_environment_is_not_set(void **state UNUSED)
{
    char *env[] = {(char *)(uintptr_t) "ROOST_API_KEY=null",
                   (char *)(uintptr_t) "ROOST_WORKERS=",
                   (char *)(uintptr_t) "ROOST_NODE_NAME=~",
                   (char *)(uintptr_t) "ROOST_REDIS_PORT=tcp://10.0.0.1:6379",
                   (char *)(uintptr_t) "ROOST_SUBPROTOCOLS=[\"a\", \"b\"]",
                   NULL};

    assert_int_equal(load_file(NULL, NULL, env), 0);
    assert_string_equal(loaded.api_key, "");
    assert_string_equal(loaded.node_name, "");
    assert_false(loaded.set.workers);
    assert_string_equal(loaded.subprotocols, "a\nb");
}

static void key_from_a_file(void **state UNUSED)
{
    char path[] = "/tmp/roost-key-XXXXXX", variable[64];
    char *env[] = {variable, NULL, NULL};

    close(mkstemp(path));
    snprintf(variable, sizeof(variable), "ROOST_API_KEY_FILE=%s", path);
    write_file(path, "hunter2\n");
    assert_int_equal(load_file(NULL, NULL, env), 0);
    assert_string_equal(loaded.api_key, "hunter2");
    assert_false(loaded.set.api_key);
    write_file(path, "hunter2\r\n");
    assert_int_equal(load_file(NULL, NULL, env), 0);
    assert_string_equal(loaded.api_key, "hunter2");
    write_file(path, "hunter2");
    assert_int_equal(load_file(NULL, NULL, env), 0);
    assert_string_equal(loaded.api_key, "hunter2");
    write_file(path, "hunter2\n\n");
    assert_int_equal(load_file(NULL, NULL, env), -1);
    says("printable ASCII");
    assert_null(memmem(errors.p, errors.len, "hunter", 6));
    write_file(path, "\n");
    assert_int_equal(load_file(NULL, NULL, env), -1);
    says("api_key_file is empty");
    env[1] = (char *)(uintptr_t) "ROOST_API_KEY=k";
    assert_int_equal(load_file(NULL, NULL, env), -1);
    says("api_key is set as well");
    env[1] = NULL;
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load_file(NULL, NULL, env), -1);
    says("is not a regular file");
    unlink(path);
    assert_int_equal(load_file(NULL, NULL, env), -1);
    says("No such file");
}

static void patience_shorter_than_a_heartbeat_is_refused(void **state UNUSED)
{
    const char *sets[] = {"hang_timeout=1999ms"}, *two[] = {"hang_timeout=2s"},
               *off[] = {"hang_timeout=0s"};
    struct config c;

    assert_int_equal(config_load(&c, &(struct config_source){.sets = sets, .nsets = 1}, &errors),
                     -1);
    assert_non_null(memmem(errors.p, errors.len, "hang_timeout", 12));
    assert_int_equal(config_load(&c, &(struct config_source){.sets = two, .nsets = 1}, &errors), 0);
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
        cmocka_unit_test_setup(kubernetes_variables_are_no_settings, set_up),
        cmocka_unit_test_setup(what_is_absent_is_not_a_default, set_up),
        cmocka_unit_test_setup(a_pipe_is_read_once, set_up),
        cmocka_unit_test_setup(null_in_the_environment_is_not_set, set_up),
        cmocka_unit_test_setup(quotes_in_the_environment, set_up),
        cmocka_unit_test_setup(line_ends_in_the_environment, set_up),
        cmocka_unit_test_setup(key_from_a_file, set_up),
        cmocka_unit_test_setup(admin_off_loopback_needs_a_key, set_up),
        cmocka_unit_test_setup(patience_shorter_than_a_heartbeat_is_refused, set_up),
    };
    return cmocka_run_group_tests_name("proc/config_load", tests, NULL, NULL);
}
