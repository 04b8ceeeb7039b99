/* core/engine_redis_reply: by what a server is told from others, and from itself before it was a replica. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_redis_reply.c"

#define FIRST  "master_replid:1111111111111111aaaaaaaaaaaaaaaaaaaaaaaa\r\n"
#define SECOND "master_replid2:2222222222222222bbbbbbbbbbbbbbbbbbbbbbbb\r\n"
#define NONE   "master_replid2:0000000000000000000000000000000000000000\r\n"
#define LONG   "0123456789abcdef0123456789abcdef0123456789abcdef"

static struct redis engine;
static struct redis_server server;

static void is(enum engine_guard guard, const char *info, const char *run_id)
{
    engine = (struct redis){.s.guard = guard};
    server = (struct redis_server){.engine = &engine};
    assert_true(take_info(&server, str_from(info)));
    assert_string_equal(server.run_id, run_id);
}

static void a_process_is_one_server(void **state UNUSED)
{
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\nrole:master\r\n" FIRST NONE, "r");
    assert_true(server.original);
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\nrole:master\r\n" FIRST, "r");
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\n", "r"); /* it does not say more */
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\nrole:master\r\n" SECOND, "r");
}

static void a_master_that_was_a_replica_is_another_one(void **state UNUSED)
{
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\nrole:master\r\n" FIRST SECOND, "r:1111111111111111");
    assert_false(server.original);
    is(ENGINE_GUARD_RUN_ID, "run_id:r\r\nrole:master\r\nmaster_replid:3\r\n" SECOND, "r:3");
}

static void the_setting_decides(void **state UNUSED)
{
    is(ENGINE_GUARD_REPLID, "run_id:r\r\nrole:master\r\n" FIRST SECOND,
       "1111111111111111aaaaaaaaaaaaaaaaaaaaaaaa");
    is(ENGINE_GUARD_NONE, "run_id:r\r\nrole:master\r\n" FIRST SECOND, "any");
}

static void nobody_is_told_by_half_an_id(void **state UNUSED)
{
    engine = (struct redis){.s.guard = ENGINE_GUARD_RUN_ID};
    server = (struct redis_server){.engine = &engine};
    assert_false(take_info(&server, STR_LIT("run_id:" LONG "\r\nrole:master\r\n" FIRST SECOND)));
    assert_false(take_info(&server, STR_LIT("role:master\r\n" FIRST SECOND)));
    assert_false(take_info(&server, STR_LIT("run_id:\r\nrole:master\r\n" FIRST SECOND)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_one_server),
        cmocka_unit_test(a_master_that_was_a_replica_is_another_one),
        cmocka_unit_test(the_setting_decides),
        cmocka_unit_test(nobody_is_told_by_half_an_id),
    };

    return cmocka_run_group_tests_name("core/engine_redis_reply", tests, NULL, NULL);
}
