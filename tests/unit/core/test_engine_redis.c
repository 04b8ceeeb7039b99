/* The Redis engine against a server in memory: what becomes of calls when the connection is cut at each byte, and
 * when the server is away, slow, another one, or memory is short. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_redis.c"
#include "core/engine_redis_presence_internal.h"

#include "fault.h"
#include "logged.h"
#include "redis_world.h"

/* --- replies in pieces, pushes before and behind them --- */

static void however_it_is_cut_the_same_comes_of_it(void **state UNUSED)
{
    for (size_t chunk = 0; chunk < 40; chunk++) {
        begin_subscribed();
        peer.chunk = chunk / 2;
        peer.reply_first = chunk % 2 == 1;
        for (unsigned i = 0; i < 3; i++) {
            char text[4] = {(char)('a' + i), '\0'};

            publish_to("kept:a", text, i);
            publish_to("bare", text, 10 + i);
            if (i == 1)
                pass(0);
        }
        engine->ops->history(engine, STR_LIT("kept:a"), (struct position){.offset = 1}, 10, false,
                             20);
        pass(0);
        for (unsigned i = 0; i < 3; i++) {
            completed(i, ENGINE_OK);
            completed(10 + i, ENGINE_OK);
            assert_int_equal(calls[i].at.offset, i + 1);
        }
        completed(20, ENGINE_OK);
        assert_int_equal(calls[20].at.offset, 3);
        assert_int_equal(nhistory, 2);
        assert_string_equal(kept.text, "a b c ");
        assert_string_equal(bare.text, "a b c ");
        assert_true(kept.in_order);
        end();
    }
}

/* --- cut --- */

/* Whatever was cut: each call completes once; what is said to be done is; what is said not to be is not; a
 * channel that is kept loses nothing and doubles nothing. */
static void all_is_true(void)
{
    const struct peer_kept *k = peer_stream(STR_LIT("t:m:kept:a"));

    completed(0, ENGINE_OK);
    assert_int_equal(calls[1].completed, 1);
    assert_true(calls[1].status == ENGINE_OK || calls[1].status == ENGINE_UNKNOWN);
    completed(2, ENGINE_OK);
    assert_int_equal(k->offset, 2);
    assert_string_equal(kept.text, "first second ");
    assert_true(kept.in_order && kept.losses == 0);
    assert_int_equal(kept.last, 2);
    assert_true(peer.publications >= 2 + (calls[1].status == ENGINE_OK));
    assert_true(peer.publications <= 3);
    assert_true(bare.messages <= 1);
}

/* Publishes, with the connection cut after so many bytes that the server says, or hears. */
static bool cut_after(size_t bytes, bool said)
{
    bool cut;

    begin_subscribed();
    if (said)
        peer.out_left = bytes;
    else
        peer.in_left = bytes;
    publish_to("kept:a", "first", 0);
    publish_to("bare", "one", 1);
    publish_to("kept:a", "second", 2);
    for (unsigned i = 0;
         i < 400 && calls[0].completed + calls[1].completed + calls[2].completed < 3; i++)
        pass(0);
    cut = peer.opens > 1;
    come_up();
    pass(100 * NS_PER_MS); /* what is missing is fetched */
    all_is_true();
    end();
    return cut;
}

static void the_connection_is_cut_at_each_byte_that_is_said(void **state UNUSED)
{
    size_t n = 1;

    while (cut_after(n, true))
        n++;
    assert_true(n > 200);
}

static void the_connection_is_cut_at_each_byte_that_is_heard(void **state UNUSED)
{
    size_t n = 0;

    while (cut_after(n, false))
        n++;
    assert_true(n > 200);
}

/* What was sent may have been done, what was not has certainly not. */
static void nobody_comes_back(void **state UNUSED)
{
    begin_subscribed();
    peer.mute = true;
    publish_to("kept:a", "sent", 0);
    publish_to("bare", "sent", 1);
    pass(0);
    peer.absent = true;
    peer_cut();
    completed(1, ENGINE_UNKNOWN); /* it cannot be told from its repetition: at once */
    publish_to("kept:a", "waits", 2);
    publish_to("bare", "waits", 3);
    engine->ops->history(engine, STR_LIT("kept:a"), (struct position){0}, 1, false, 4);
    pass(settings.patience_ns / 2);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(calls[i].completed, i == 1);
    pass(settings.patience_ns);
    completed(0, ENGINE_UNKNOWN);
    completed(2, ENGINE_UNAVAILABLE);
    completed(3, ENGINE_UNAVAILABLE);
    completed(4, ENGINE_UNAVAILABLE);
    publish_to("kept:a", "late", 5); /* at once */
    completed(5, ENGINE_UNAVAILABLE);
    assert_true(engine->ops->wants(engine));
    assert_int_equal(kept.losses + bare.losses, 0);
    peer.mute = peer.absent = false;
    come_up();
    pass(0);
    publish_to("kept:a", "again", 6);
    pass(0);
    completed(6, ENGINE_OK);
    assert_true(kept.in_order);
}

/* --- order --- */

/* What stands alone between two that may share a call. */
static void a_publisher_s_order_is_kept(void **state UNUSED)
{
    const struct engine_condition once = {.idempotency_key = STR_LIT("k")};

    begin_subscribed();
    publish_to("kept:a", "a", 0);
    publish_if("kept:a", "b", &once, 1);
    publish_to("kept:a", "c", 2);
    publish_to("bare", "a", 3);
    publish_if("bare", "b", &once, 4);
    publish_to("bare", "c", 5);
    pass(0);
    for (unsigned i = 0; i < 6; i++)
        completed(i, ENGINE_OK);
    assert_string_equal(kept.text, "a b c ");
    assert_true(kept.in_order);
    assert_string_equal(bare.text, "a b c ");
}

/* --- slow, or it lies --- */

static void a_server_that_says_nothing_is_replaced(void **state UNUSED)
{
    begin_subscribed();
    peer.mute = true;
    publish_to("kept:a", "x", 0);
    pass(settings.timeout_ns / 2);
    assert_int_equal(peer.opens, 1);
    pass(settings.timeout_ns);
    assert_true(peer.opens >= 2);
    assert_true(metrics->engine_reconnects_timeout >= 1);
    peer.mute = false;
    come_up();
    pass(NS_PER_SEC);
    completed(0, ENGINE_OK);
    assert_string_equal(kept.text, "x ");
}

static void a_server_that_delivers_nothing_is_replaced(void **state UNUSED)
{
    begin_subscribed();
    peer.probes_lost = true;
    pass(settings.probe_ns);
    assert_int_equal(peer.opens, 1);
    pass(2 * settings.probe_ns);
    assert_true(peer.opens >= 2);
    assert_true(metrics->engine_probes_missed >= 1);
    assert_int_equal(metrics->engine_reconnects_probe, metrics->engine_probes_missed);
}

/* In one string or in many: what it announces counts, before the bytes have come. */
static void a_server_that_says_too_much_is_replaced(void **state UNUSED)
{
    static const char *const values[] = {"$60000000\r\n", "*3\r\n$4\r\nabcd\r\n$8190\r\n"};

    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        begin_subscribed();
        assert_true(redis_of(engine)->value_max >= (size_t)256 << 20);
        redis_of(engine)->value_max = 8192;
        peer_say("$8000\r\n");
        peer_turn();
        assert_true(peer.wire.open); /* so much may be */
        end();
        begin_subscribed();
        redis_of(engine)->value_max = 8192;
        peer_say(values[i]);
        peer_turn();
        assert_false(peer.wire.open);
        assert_int_equal(metrics->engine_reconnects_protocol, i + 1);
        end();
    }
}

static void scripts_that_are_gone_are_loaded_again(void **state UNUSED)
{
    begin_subscribed();
    peer.error_once = "-NOSCRIPT No matching script.\r\n";
    publish_to("kept:a", "first", 0);
    pass(0);
    publish_to("kept:a", "second", 1);
    come_up();
    pass(NS_PER_SEC);
    completed(0, ENGINE_OK);
    completed(1, ENGINE_OK);
    assert_string_equal(kept.text, "first second ");
}

/* What an ACL does not allow concerns the call alone. */
static void a_call_that_is_not_allowed_fails_alone(void **state UNUSED)
{
    begin_subscribed();
    peer.error = "-NOPERM User x has no permissions to run the 'evalsha' command\r\n";
    publish_to("kept:a", "x", 0);
    publish_to("bare", "x", 1);
    pass(NS_PER_SEC);
    completed(0, ENGINE_UNAVAILABLE);
    completed(1, ENGINE_OK);
    peer.error = NULL;
    peer.error_late = "-NOPERM User x has no permissions to run the 'publish' command "
                      "script: 1f, on @user_script:40.\r\n";
    publish_to("kept:a", "y", 2);
    pass(NS_PER_SEC);
    completed(2, ENGINE_UNKNOWN); /* it is kept */
    assert_int_equal(peer_stream(STR_LIT("t:m:kept:a"))->offset, 1);
    assert_int_equal(peer.opens, 1);
}

/* All of it is refused, for a while: none of what was under way has been done, so all of it waits. */
static void a_server_that_is_busy_is_waited_for(void **state UNUSED)
{
    begin_subscribed();
    peer.busy = true;
    publish_to("bare", "a", 0);
    publish_to("kept:a", "b", 1);
    publish_to("bare", "c", 2);
    engine->ops->history(engine, STR_LIT("kept:a"), (struct position){0}, 10, false, 3);
    publish_to("more", "d", 4);
    pass(0);
    assert_int_equal(metrics->engine_reconnects_refused, 1);
    peer.busy = false;
    come_up();
    pass(NS_PER_SEC);
    for (unsigned i = 0; i <= 4; i++)
        completed(i, ENGINE_OK);
    assert_string_equal(bare.text, "a c ");
    assert_string_equal(kept.text, "b ");
    assert_int_equal(peer.publications, 2 + 1);
}

/* It may have been done: it is looked for before it is done again. */
static void it_has_become_a_replica(const char *error)
{
    begin_subscribed();
    peer.error_late = error;
    publish_to("kept:a", "x", 0);
    pass(0);
    come_up();
    pass(NS_PER_SEC);
    completed(0, ENGINE_OK);
    assert_int_equal(peer.opens, 2);
    assert_int_equal(peer_stream(STR_LIT("t:m:kept:a"))->offset, 1);
    assert_string_equal(kept.text, "x ");
}

static void an_error_inside_a_script_undoes_nothing(void **state UNUSED)
{
    it_has_become_a_replica("-READONLY You can't write against a read only replica. "
                            "script: 1f, on @user_script:40.\r\n");
}

/* Redis 6.2 says it in other words. */
static void an_error_of_an_older_server(void **state UNUSED)
{
    it_has_become_a_replica("-ERR Error running script (call to f_1f): @user_script:40: "
                            "@user_script: 40: -READONLY You can't write against a read only "
                            "replica. \r\n");
}

/* Each call that is answered by a script; token 0. */
static void ask_for(enum redis_call_kind kind)
{
    struct engine_condition once = {.idempotency_key = STR_LIT("key")};
    const struct engine_presence stats = {.op = PRESENCE_STATS, .channel = STR_LIT("kept:a")};
    struct record r = {.kind = RECORD_PUBLISH,
                       .generation = 1,
                       .position = place += 8,
                       .name = STR_LIT("kept:a"),
                       .data = STR_LIT("x")};

    switch (kind) {
    case REDIS_KEEP:
        engine->ops->publish(engine, NULL, &r, NULL, 0);
        break;
    case REDIS_PUBLISH_IF:
        engine->ops->publish(engine, NULL, &r, &once, 0);
        break;
    case REDIS_HISTORY:
        engine->ops->history(engine, r.name, (struct position){0}, 10, false, 0);
        break;
    case REDIS_REMOVE:
        engine->ops->remove_history(engine, r.name, 0);
        break;
    case REDIS_USER:
        engine->ops->user(engine, STR_LIT("u"), 1, 0, 0);
        break;
    case REDIS_LIST:
        list_members("kept:a", 0);
        break;
    default:
        engine->ops->presence(engine, &stats, 0);
    }
}

/* It ends the connection; whoever asked is told that nobody knows, once. */
static void a_reply_that_cannot_be_read(void **state UNUSED)
{
    static const enum redis_call_kind kinds[] = {REDIS_KEEP,   REDIS_PUBLISH_IF, REDIS_HISTORY,
                                                 REDIS_REMOVE, REDIS_USER,       REDIS_LIST,
                                                 REDIS_COUNT};

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        bool asks = kinds[i] == REDIS_LIST || kinds[i] == REDIS_COUNT;

        begin_subscribed();
        ask_for(kinds[i]);
        peer.error_once = "*1\r\n:1\r\n";
        pass(NS_PER_SEC);
        assert_true(peer.opens >= 2);
        peer.error_once = NULL; /* members are not listed by a script */
        completed(0, asks ? ENGINE_UNAVAILABLE : ENGINE_UNKNOWN);
        come_up();
        publish_to("kept:a", "after", 1);
        pass(NS_PER_SEC);
        completed(1, ENGINE_OK);
        end();
    }
}

/* Old servers, and others that do not know HELLO, repeat what it was called with. */
static void the_password_is_shown_to_nobody(void **state UNUSED)
{
    struct engine_shard shard = {0};
    const char *log;
    unsigned i = 0;

    assert_int_equal(str_copy(STR_LIT("tell-nobody"), settings.address[0].password,
                              sizeof(settings.address[0].password)),
                     0);
    begin();
    peer.hello = "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, "
                 "`tell-nobody`, \r\n";
    logged_begin();
    pass(NS_PER_SEC);
    log = logged_end();
    assert_non_null(strstr(log, "unknown command"));
    assert_null(strstr(log, "tell-nobody"));
    assert_true(engine_shard_next(&i, &shard));
    assert_string_equal(shard.why, "ERR unknown command `HELLO`");
    assert_string_equal(redis_of(engine)->servers[0]->refusal, "ERR unknown command `HELLO`");
}

/* Another server's history: everybody is told that the epoch is another. */
static void another_server_begins_another_epoch(void **state UNUSED)
{
    begin_subscribed();
    publish_to("kept:a", "x", 0);
    pass(0);
    assert_int_equal(str_copy(STR_LIT("run2"), peer.run, sizeof(peer.run)), 0);
    peer_cut();
    come_up();
    pass(NS_PER_SEC);
    assert_int_equal(kept.losses, 1);
    assert_int_equal(metrics->engine_epoch_changes, 1);
    assert_int_equal(bare.losses, 0);
    publish_to("kept:a", "y", 1);
    pass(0);
    completed(1, ENGINE_OK);
    assert_string_equal(kept.text, "x y ");
}

static void cursor_is_gone(void)
{
    assert_memory_equal(&cursor, &cursor_gone, sizeof(cursor_gone));
    assert_true(list_empty(&redis_of(engine)->presence->listings));
}

/* Whose call is complete may have freed what it has lent. */
static void a_call_that_has_ended_touches_nothing_of_its_caller_s(void **state UNUSED)
{
    begin_subscribed();
    fault_fail_at(1);
    list_members("kept:a", 0); /* the listing */
    fault_reset();
    completed(0, ENGINE_UNAVAILABLE);
    assert_false(cursor.begun);
    peer.mute = true;
    list_members("kept:a", 1);
    pass(0);
    peer.absent = true;
    peer_cut();
    assert_int_equal(calls[1].completed, 0); /* it is asked again */
    pass(2 * settings.patience_ns);
    completed(1, ENGINE_UNAVAILABLE);
    cursor_is_gone();
    cursor = (struct engine_cursor){0};
    list_members("kept:a", 2); /* at once */
    completed(2, ENGINE_UNAVAILABLE);
    cursor_is_gone();
}

/* --- no memory --- */

static void without_memory_each_call_completes_once(void **state UNUSED)
{
    unsigned long n = 0;

    for (unsigned long k = 1; k == 1 || n >= k; k++) {
        begin_subscribed();
        fault_fail_at(k);
        for (unsigned i = 0; i < 3; i++) {
            publish_to("kept:a", "x", 3 * i);
            publish_to("bare", "x", 3 * i + 1);
            engine->ops->history(engine, STR_LIT("kept:a"), (struct position){0}, 10, false,
                                 3 * i + 2);
            engine->ops->tick(engine, clock_ns());
        }
        n = fault_count();
        fault_reset();
        come_up();
        pass(NS_PER_SEC);
        for (unsigned i = 0; i < 9; i++)
            assert_int_equal(calls[i].completed, 1);
        publish_to("kept:a", "end", 10);
        pass(NS_PER_SEC);
        completed(10, ENGINE_OK);
        assert_true(kept.in_order);
        assert_non_null(strstr(kept.text, "end "));
        assert_true(engine->ops->wants(engine));
        end();
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(however_it_is_cut_the_same_comes_of_it),
        T(the_connection_is_cut_at_each_byte_that_is_said),
        T(the_connection_is_cut_at_each_byte_that_is_heard),
        T(nobody_comes_back),
        T(a_publisher_s_order_is_kept),
        T(a_server_that_says_nothing_is_replaced),
        T(a_server_that_delivers_nothing_is_replaced),
        T(a_server_that_says_too_much_is_replaced),
        T(scripts_that_are_gone_are_loaded_again),
        T(a_call_that_is_not_allowed_fails_alone),
        T(a_server_that_is_busy_is_waited_for),
        T(an_error_inside_a_script_undoes_nothing),
        T(an_error_of_an_older_server),
        T(a_reply_that_cannot_be_read),
        T(the_password_is_shown_to_nobody),
        T(another_server_begins_another_epoch),
        T(a_call_that_has_ended_touches_nothing_of_its_caller_s),
        T(without_memory_each_call_completes_once),
    };

    return cmocka_run_group_tests_name("core/engine_redis", tests, NULL, NULL);
}
