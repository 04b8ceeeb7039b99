/* proc/config_check_engine: what the engine cannot do is refused at the start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_check_engine.c"

static struct config c;

static void set(const char *name, const char *value)
{
    char err[256];

    assert_int_equal(table_set(&config_table, &c, (size_t)config_row_find(str_from(name)),
                               str_from(value), err, sizeof(err)),
                     0);
}

static void has(int bad, const char *text)
{
    struct buf errors = {0};

    assert_int_equal(config_check_engine(&c, &errors), bad);
    assert_int_equal(buf_append_char(&errors, '\0'), 0);
    if (strstr(errors.p, text) == NULL)
        fail_msg("%s\nlacks: %s", errors.p, text);
    buf_fini(&errors);
}

static void addresses(void **state)
{
    (void)state;
    config_defaults(&c);
    has(0, "");
    set("engine", "redis");
    has(1, "engine_address: engine: redis needs one");
    set("engine_address", "redis://127.0.0.1,unix:/run/s,rediss://[::1]:1,redis://localhost");
    has(0, "");
    set("engine_address", "redis://h.example");
    has(0, "");
    set("engine_address", "redis://:pw@127.0.0.1");
    has(1, "engine_password_file");
    set("engine_address", "redis+sentinel://127.0.0.1,127.0.0.2:1/3?master=m");
    has(0, "");
    set("engine_address", "nats://127.0.0.1");
    has(1, "engine: redis speaks with");
    set("engine_address", "redis+cluster://127.0.0.1,[::1]:7000,rediss+cluster://127.0.0.1");
    has(0, "");
    set("engine_prefix", "a{b}");
    has(1, "engine_prefix: braces");
    set("engine_address", "redis+cluster://127.0.0.1,redis://127.0.0.1:1");
    set("engine_prefix", "roost");
    has(1, "a Redis Cluster stands alone");
    set("engine_address", "rediss://roost@127.0.0.1");
    has(0, "");
    set("engine_tls_cert", "/c.pem");
    has(1, "engine_tls_cert: a certificate and its key");
    set("engine_tls_key", "/c.key");
    has(0, "");
    set("engine_address", "127.0.0.1:6379,redis://127.0.0.1:x");
    has(1, "an address begins with");
}

static void addresses_of_nats(void **state)
{
    (void)state;
    config_defaults(&c);
    set("engine", "nats");
    has(1, "engine_address: engine: nats needs one");
    set("engine_address", "nats://127.0.0.1,tls://[::1]:1,nats://localhost");
    has(0, "");
    set("engine_address", "redis://127.0.0.1");
    has(1, "speaks with NATS servers");
    set("engine_address", "unix:/s");
    has(1, "speaks with NATS servers");
    set("engine_address", "nats://roost:pw@127.0.0.1");
    has(1, "engine_password_file");
    set("engine", "redis");
    set("engine_address", "nats://127.0.0.1");
    has(1, "single servers");
}

/* What NATS cannot do, one by one. */
static void options_of_nats(void **state)
{
    struct channel_options *o = &c.channel_without_namespace, plain;

    (void)state;
    config_defaults(&c);
    set("engine", "nats");
    set("engine_address", "nats://127.0.0.1");
    o->conflate = o->exclude_self = true;
    o->history_size = 10; /* without a history_ttl there is none */
    has(0, "");
    plain = *o;
    o->history_ttl = 1000000000;
    has(1, "channel_without_namespace has history_size and history_ttl");
    *o = plain;
    o->presence = true;
    has(1, "has presence, which engine: nats cannot do");
    *o = plain;
    o->join_leave = true;
    has(1, "join_leave");
    *o = plain;
    o->force_push_join_leave = true;
    has(1, "join_leave");
}

static void options(void **state)
{
    (void)state;
    config_defaults(&c);
    set("engine", "redis");
    set("engine_address", "unix:/s");
    c.channel_without_namespace.presence = c.channel_without_namespace.join_leave = true;
    has(0, "");
    set("engine_address", "");
    has(1, "engine: redis needs one");
    c.engine = ENGINE_IS_MEMORY;
    has(0, "");
}

static void nodes(void **state)
{
    (void)state;
    config_defaults(&c);
    set("engine", "redis");
    set("engine_address", "unix:/s");
    set("node_heartbeat", "2s");
    set("node_ttl", "6s");
    has(0, "");
    set("node_ttl", "5999ms");
    has(1, "node_ttl: it is less than three times node_heartbeat");
    set("node_ttl", "6s");
    set("user_connection_limit_scope", "all_nodes");
    has(0, "");
    set("engine", "nats");
    set("engine_address", "nats://127.0.0.1");
    has(1, "all_nodes needs an engine that counts users");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses), cmocka_unit_test(addresses_of_nats), cmocka_unit_test(options),
        cmocka_unit_test(options_of_nats), cmocka_unit_test(nodes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
