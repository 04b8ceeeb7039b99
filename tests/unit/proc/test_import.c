/* proc/import: the rows fit our settings, and what an option becomes; tests/integration/test_import.py
 * has whole configurations. */
#include "proc/import.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "proc/config_load.h"
#include "tests/lib/fault.h"

static struct buf yaml, notes;

static enum import_result import(const char *text)
{
    buf_clear(&yaml);
    buf_clear(&notes);
    return import_centrifugo("config.json", str_from(text), &yaml, &notes);
}

static bool has(const struct buf *b, const char *text)
{
    return b->len > 0 && memmem(b->p, b->len, text, strlen(text)) != NULL;
}

static void becomes(const char *text, const char *line)
{
    if (import(text) != IMPORT_DONE || notes.len > 0 || !has(&yaml, line))
        fail_msg("%s: %.*s%.*s", text, (int)yaml.len, yaml.p, (int)notes.len, notes.p);
}

static void is_told(const char *text, enum import_result result, const char *line)
{
    enum import_result got = import(text);

    if (got != result || !has(&notes, line))
        fail_msg("%s: %d %.*s", text, got, (int)notes.len, notes.p);
}

static void every_setting_exists(void **state UNUSED)
{
    for (size_t i = 0; i < import_row_count; i++) {
        const struct import_row *row = &import_rows[i];

        if ((row->kind == IMPORT_CARRY || row->kind == IMPORT_HANDLE) &&
            config_row_find(str_from(row->setting)) == -1)
            fail_msg("%s: there is no setting %s", row->v6, row->setting);
        assert_true(row->v6[0] != '\0' || row->v5[0] != '\0');
        assert_true(row->kind != IMPORT_WITHOUT || row->text[0] != '\0');
    }
}

/* No row stands behind one that takes what is its own. */
static void every_row_is_reached(void **state UNUSED)
{
    for (size_t i = 0; i < import_row_count; i++) {
        const char *names[] = {import_rows[i].v6, import_rows[i].v5};

        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            struct str path = str_from(names[k]);

            if (path.n == 0)
                continue;
            if (path.p[path.n - 1] == '*')
                path.n--;
            if (find_row(path, import_rows[i].channel) != &import_rows[i] &&
                names[k][path.n] == '\0')
                fail_msg("%s is taken by an earlier row", names[k]);
        }
        assert_true(!import_rows[i].channel ||
                    table_find(&channel_table, str_from(import_rows[i].v6)) == -1);
    }
}

static void both_versions(void **state UNUSED)
{
    becomes("{\"client\": {\"channel_limit\": 12}}", "\nchannel_limit: 12\n");
    becomes("{\"client_channel_limit\": 12}", "\nchannel_limit: 12\n");
    becomes("{\"channel\": {\"without_namespace\": {\"presence\": true}}}",
            "\nchannel_without_namespace:\n  presence: true\n");
    becomes("{\"presence\": true}", "\nchannel_without_namespace:\n  presence: true\n");
    becomes("{\"history_meta_ttl\": \"1h\"}", "  history_meta_ttl: 1h\n");
    becomes("{\"global_history_meta_ttl\": \"1h\"}", "\nhistory_meta_ttl: 1h\n");
    becomes("{\"http_stream\": true}", "\nhttp_stream: true\n");
    becomes("{\"http_stream\": {\"enabled\": true}}", "\nhttp_stream: true\n");
    becomes("{\"namespaces\": [{\"presence\": true, \"name\": \"ab\"}]}",
            "\nnamespaces:\n- name: \"ab\"\n  presence: true\n");
    becomes("{\"websocket\": {\"disabled\": true}}", "\nwebsocket: false\n");
    becomes("{\"websocket_disable\": true}", "\nwebsocket: false\n");
    becomes("{\"channel\": {\"namespaces\": [{\"name\": \"ab\"}, {\"name\": \"cd\", "
            "\"publication_data_format\": \"json\"}, {\"name\": \"ef\", "
            "\"publication_data_format\": \"\"}], \"publication_data_format\": \"json_object\"}}",
            "\nchannel_without_namespace:\n  publication_data_format: json_object\n\nnamespaces:\n"
            "- name: \"ab\"\n  publication_data_format: json_object\n"
            "- name: \"cd\"\n  publication_data_format: json\n"
            "- name: \"ef\"\n  publication_data_format: json_object\n");
    becomes("{\"port\": \"80\"}", "\nlisten: \":80\"\n");
    becomes("{}", "\nplain: false\napi_error_mode: centrifugo\n");
}

static void values(void **state UNUSED)
{
    becomes("{\"allowed_origins\": [\"https://a.example\", \"http://b:*\"]}",
            "allowed_origins: [\"https://a.example\", \"http://b:*\"]\n");
    becomes("{\"allowed_origins\": \"https://a.example  http://b\"}",
            "allowed_origins: [\"https://a.example\", \"http://b\"]\n");
    becomes("{\"name\": \"a\\\"b\\\\c\\u00e9\\u2028\"}",
            "node_name: \"a\\\"b\\\\c\xc3\xa9\\u2028\"\n");
    becomes("{\"port\": 80, \"port\": 81}", "\nlisten: \":81\"\n"); /* the last one, as in Go */
    becomes("{\"force_recovery_mode\": \"\", \"publication_data_format\": \"\"}", "plain: false");
    becomes("{\"log_level\": \"none\"}", "\nlog_level: error\n");
    becomes("{\"client_channel_limit\": null}", "plain: false");
    is_told("{\"client_channel_limit\": \"many\"}", IMPORT_UNSAFE,
            "client_channel_limit: not carried over, and it protects: expected a whole number");
    is_told("{\"client_stale_close_delay\": [1]}", IMPORT_DONE,
            "client_stale_close_delay: not carried over: expected one value");
    is_told("{\"port\": [1]}", IMPORT_UNSAFE, "port: not carried over, and it protects");
    is_told("{\"namespaces\": [{\"name\": \"ab\", \"presence\": \"maybe\"}]}", IMPORT_UNSAFE,
            "namespace ab: presence: not carried over, and it protects: expected true or false");
    is_told("{\"namespaces\": [{\"presence\": true}]}", IMPORT_REFUSED, "name: is missing");
    is_told("{\"history_size\": 1}", IMPORT_REFUSED, "history_size and history_ttl");
}

static void one_note_for_a_group(void **state UNUSED)
{
    is_told("{\"grpc_api\": {\"address\": \"a\", \"port\": 1}}", IMPORT_DONE,
            "grpc_api.address: not carried over: gRPC is not spoken");
    assert_false(has(&notes, "port"));
}

static void engine_addresses(void **state UNUSED)
{
    becomes("{\"engine\": \"redis\"}", "\nengine_address: [\"redis://127.0.0.1:6379\"]\n");
    becomes(
        "{\"engine\": \"redis\", \"redis_address\": \"tcp://:p%40w@r1/2,rediss://:p%40w@[::1]:1\"}",
        "\nengine_address: [\"redis://r1:6379/2\", \"rediss://[::1]:1\"]\n"
        "engine_password: \"p@w\"\n");
    becomes("{\"engine\": \"redis\", \"redis_address\": \"unix:///run/r\"}", "[\"unix:/run/r\"]\n");
    becomes("{\"engine\": \"redis\", \"redis_sentinel_address\": \"a,b:1\", \"redis_db\": 3, "
            "\"redis_sentinel_master_name\": \"m y\"}",
            "[\"redis+sentinel://a:26379/3?master=m%20y\", "
            "\"redis+sentinel://b:1/3?master=m%20y\"]\n");
    becomes("{\"broker\": \"nats\", \"nats_url\": \"a,nats://u:p@b\"}",
            "engine: nats\nengine_address: [\"nats://a:4222\", \"nats://b:4222\"]\n"
            "engine_user: \"u\"\nengine_password: \"p\"\n");
    becomes("{\"broker\": \"nats\", \"nats_url\": \"nats://token@a\"}",
            "[\"nats://a:4222\"]\nengine_password: \"token\"\n");
    assert_false(has(&yaml, "engine_user"));
    becomes("{\"redis_address\": \"x\"}", "plain: false"); /* it is not the engine */
}

static void addresses_that_are_not_carried(void **state UNUSED)
{
    static const char *const texts[] = {"redis://:hun/ter2@h",
                                        "redis://h?password=hunter2",
                                        "redis://hunter2:x",
                                        "h/hunter2",
                                        "redis+sentinel://h/hunter2",
                                        "unix://",
                                        "unix:///hunter2 x",
                                        "http://hunter2",
                                        "nats://hunter2",
                                        "redis+cluster://hunter2"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[200];

        snprintf(text, sizeof(text), "{\"engine\": \"redis\", \"redis_address\": \"%s\"}",
                 texts[i]);
        is_told(text, IMPORT_DONE,
                "engine.redis.address: not carried over: there is no such form of an address");
        assert_false(has(&yaml, "engine") || has(&notes, "hunter2"));
    }
    is_told("{\"engine\": \"redis\", \"redis_address\": \"redis://:a@h,redis://:b@h\"}",
            IMPORT_DONE, "different users or passwords");
    is_told("{\"engine\": \"redis\", \"redis_db\": 256}", IMPORT_DONE, "number of a database");
    is_told("{\"engine\": \"redis\", \"redis_sentinel_address\": \"h\"}", IMPORT_DONE,
            "the name of the master is missing");
    is_told("{\"engine\": \"redis\", \"redis_cluster_address\": [\"a,b\", \"c\"]}", IMPORT_DONE,
            "several clusters");
    is_told("{\"engine\": \"redis\", \"redis_address\": [[1]]}", IMPORT_UNSAFE,
            "expected a list of addresses");
    is_told("{\"engine\": \"postgres\"}", IMPORT_DONE, "memory, redis and nats are what");
    is_told("{\"broker\": {\"enabled\": true, \"type\": \"redis\"}}", IMPORT_DONE,
            "broker.type: not carried over: an engine is broker and keeper of presence");
}

static void what_is_off_is_not_told(void **state UNUSED)
{
    becomes("{\"http_server\": {\"tls\": {\"cert_pem\": \"x\", \"enabled\": false}}}",
            "plain: false");
    becomes("{\"client\": {\"proxy\": {\"connect\": {\"enabled\": false, \"timeout\": \"1s\"}}}}",
            "plain: false");
    becomes("{\"uni_sse\": {\"enabled\": false}}", "uni_sse: false");
    becomes("{\"admin\": {\"password\": \"\", \"secret\": null}, \"proxies\": []}", "plain: false");
    becomes("{\"channel\": {\"user_boundary\": \"#\"}}", "plain: false");
    is_told("{\"channel\": {\"user_boundary\": \"\"}}", IMPORT_UNSAFE,
            "channel.user_boundary: not");
    becomes("{\"http_api\": {\"handler_prefix\": \"\"}}", "plain: false");
}

static void files_that_are_none(void **state UNUSED)
{
    static const char bomb[] =
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b {a: *a,c: *a,d: *a,e: *a,f: *a}\n"
        "c: &c {a: *b,c: *b,d: *b,e: *b,f: *b}\n"
        "d: &d {a: *c,c: *c,d: *c,e: *c,f: *c}\n"
        "e: &e {a: *d,c: *d,d: *d,e: *d,f: *d}\n"
        "f: &f {a: *e,c: *e,d: *e,e: *e,f: *e}\n"
        "g: &g {a: *f,c: *f,d: *f,e: *f,f: *f}\n";

    is_told("", IMPORT_UNREADABLE, "config.json:1: expected options as");
    is_told("x", IMPORT_UNREADABLE, "expected options as");
    is_told("{\"a\": ", IMPORT_UNREADABLE, "config.json:2: did not find");
    is_told("a = 1\n", IMPORT_UNREADABLE, "this is TOML");
    is_told("# a\n\n[http_server]\n", IMPORT_UNREADABLE, "this is TOML");
    is_told("# a = b: c\n[a]\nb = 'c:d'", IMPORT_UNREADABLE, "config.json:");
    is_told("\xff", IMPORT_UNREADABLE, "config.json:");
    is_told(bomb, IMPORT_UNREADABLE, "it is larger, or nested more deeply, than a configuration");
    is_told("a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}",
            IMPORT_UNREADABLE, "nested more deeply");
}

static void no_memory(void **state UNUSED)
{
    static const char text[] = "{\"port\": 80, \"token_audience\": \"x\", \"engine\": \"redis\", "
                               "\"redis_address\": \"a,b\", \"redis_password\": \"x\", "
                               "\"namespaces\": [{\"name\": \"ab\", \"presence\": true}]}";
    enum import_result want = import(text), got;
    unsigned long all;

    fault_reset();
    assert_int_equal(import(text), want);
    all = fault_count();
    for (unsigned long k = 1; k <= all; k++) {
        buf_fini(&yaml);
        buf_fini(&notes);
        fault_fail_at(k);
        got = import(text);
        fault_reset();
        assert_true(got == want || got == IMPORT_UNREADABLE || got == IMPORT_REFUSED);
    }
}

static int tear_down(void **state UNUSED)
{
    buf_fini(&yaml);
    buf_fini(&notes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_setting_exists, tear_down),
        cmocka_unit_test_teardown(every_row_is_reached, tear_down),
        cmocka_unit_test_teardown(both_versions, tear_down),
        cmocka_unit_test_teardown(values, tear_down),
        cmocka_unit_test_teardown(one_note_for_a_group, tear_down),
        cmocka_unit_test_teardown(engine_addresses, tear_down),
        cmocka_unit_test_teardown(addresses_that_are_not_carried, tear_down),
        cmocka_unit_test_teardown(what_is_off_is_not_told, tear_down),
        cmocka_unit_test_teardown(files_that_are_none, tear_down),
        cmocka_unit_test_teardown(no_memory, tear_down),
    };

    return cmocka_run_group_tests_name("proc/import", tests, NULL, NULL);
}
