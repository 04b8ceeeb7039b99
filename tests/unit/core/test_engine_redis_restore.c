/* What a Redis engine does for its subscribers when the server is full, away, or forgets: who is told, what is
 * asked again, and how fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_redis_restore.c"

#include "redis_world.h"

/* --- full --- */

static enum shard_state shown_state(void)
{
    struct engine_shard shard = {0};
    unsigned i = 0;

    assert_true(engine_shard_next(&i, &shard));
    return (enum shard_state)shard.state;
}

/* Writes are refused at once; what is pushed, and what is not kept, goes on. */
static void a_full_server_still_delivers(void **state UNUSED)
{
    begin_subscribed();
    assert_int_equal(shown_state(), SHARD_UP);
    peer.error = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    publish_to("kept:a", "no", 0);
    publish_to("bare", "yes", 1);
    pass(0);
    completed(0, ENGINE_UNAVAILABLE);
    completed(1, ENGINE_OK);
    assert_string_equal(bare.text, "yes ");
    assert_int_equal(shown_state(), SHARD_DEGRADED);
    assert_int_equal(peer.opens, 1);
    peer.error = "-ERR Error running script: @user_script:1: -MISCONF Errors writing\r\n";
    publish_to("kept:a", "no", 2);
    pass(0);
    completed(2, ENGINE_UNAVAILABLE);
    peer.error = NULL;
    publish_to("kept:a", "again", 3);
    pass(0);
    completed(3, ENGINE_OK);
    assert_int_equal(shown_state(), SHARD_UP);
    assert_string_equal(kept.text, "again ");
    assert_int_equal(peer.opens, 1);
}

/* A channel whose meta cannot be written: whoever waits is told, and it is tried again. */
static void a_subscription_that_a_full_server_refuses(void **state UNUSED)
{
    begin_subscribed();
    peer.error_once = "-OOM command not allowed\r\n";
    listen_to(&more, "kept:b");
    pass(0);
    assert_int_equal(more.refused, 1);
    assert_int_equal(more.subscribed, 0);
    pass(NS_PER_SEC);
    assert_int_equal(more.refused, 1);
    assert_int_equal(more.subscribed, 1);
    assert_int_equal(kept.losses, 0);
}

static void connections_that_end_at_once_have_pauses_between(void **state UNUSED)
{
    uint64_t began_ns;

    begin_subscribed();
    began_ns = clock_ns();
    for (unsigned i = 0; i < 100; i++, come_up())
        peer_cut();
    assert_true(clock_ns() - began_ns > 30 * NS_PER_SEC);
}

/* --- who waits --- */

static void who_waits_for_a_server_that_is_away_is_told(void **state UNUSED)
{
    begin();
    peer.absent = true;
    listen_to(&kept, "kept:a");
    listen_to(&bare, "bare");
    pass(settings.patience_ns / 2);
    assert_int_equal(kept.refused + bare.refused, 0);
    pass(settings.patience_ns);
    assert_int_equal(kept.refused, 1);
    assert_int_equal(bare.refused, 1);
    listen_to(&more, "kept:b"); /* at once */
    assert_int_equal(more.refused, 1);
    engine->ops->unsubscribe(engine, &more.c, STR_LIT("kept:b"));
    engine->ops->subscribe(engine, &kept.c, STR_LIT("kept:a")); /* it asks again */
    assert_int_equal(kept.refused, 2);
    pass(NS_PER_SEC);
    assert_int_equal(kept.refused, 2);
    peer.absent = false;
    come_up();
    pass(NS_PER_SEC);
    assert_int_equal(kept.subscribed, 1);
    assert_int_equal(bare.subscribed, 1);
    assert_int_equal(more.subscribed, 0);
}

/* Subscribed, and the server goes: nobody is told anything, or would be sent away. */
static void who_is_subscribed_stays(void **state UNUSED)
{
    begin_subscribed();
    peer.absent = true;
    peer_cut();
    listen_to(&more, "kept:b");
    pass(2 * settings.patience_ns);
    assert_int_equal(kept.refused + bare.refused + kept.losses + bare.losses, 0);
    assert_int_equal(more.refused, 1);
    peer.absent = false;
    come_up();
    pass(NS_PER_SEC);
    assert_int_equal(kept.losses + bare.losses, 0);
    assert_int_equal(kept.subscribed, 1);
    assert_int_equal(more.subscribed, 1);
}

/* --- a channel that stands elsewhere --- */

/* As if another node had published, and the server had forgotten to push it. */
static void forgotten(const char *data)
{
    struct peer_kept *k = peer_stream(STR_LIT("t:m:kept:a"));
    struct envelope env = {.node = 2,
                           .wall_ms = 1,
                           .r = {.kind = RECORD_PUBLICATION,
                                 .flags = RECORD_IN_STREAM,
                                 .position = place += 8,
                                 .data = str_from(data)}};
    struct buf item = {0};

    assert_int_equal(envelope_write(&item, &env), 0);
    peer_keep(k, buf_view(&item));
    buf_fini(&item);
}

static void a_forgotten_publication_is_found_by_the_sweep(void **state UNUSED)
{
    settings.position_sweep_ns = 10 * NS_PER_SEC;
    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    forgotten("two");
    pass(0);
    assert_string_equal(kept.text, "one ");
    pass(2 * settings.position_sweep_ns);
    assert_string_equal(kept.text, "one two ");
    assert_true(kept.in_order && kept.losses == 0);
    assert_int_equal(metrics->engine_positions_behind, 1);
    assert_int_equal(metrics->engine_gaps_healed, 1);
}

static void what_an_outage_has_hidden_is_fetched(void **state UNUSED)
{
    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    peer_cut();
    forgotten("two");
    forgotten("three");
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one two three ");
    assert_int_equal(metrics->engine_positions_behind, 1);
    assert_int_equal(kept.losses, 0);
    assert_true(metrics->engine_resubscribe.sum > 0);
}

static void another_server(const char *run)
{
    assert_int_equal(str_copy(str_from(run), peer.run, sizeof(peer.run)), 0);
    peer_cut();
}

/* A copy has taken over, and others have published there before this node was back. What the copy lacks is told,
 * what it has got comes: of the epoch that this node knows, and of the next one. */
static void what_comes_behind_a_loss_is_fetched(void **state UNUSED)
{
    struct peer_kept *k;

    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    another_server("run2");
    k = peer_stream(STR_LIT("t:m:kept:a"));
    forgotten("two");
    peer_guard(k, STR_LIT("run2"), STR_LIT("99"));
    forgotten("three");
    forgotten("four");
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one two three four ");
    assert_true(kept.in_order);
    assert_int_equal(kept.losses, 1);
    assert_int_equal(kept.c.at.epoch, 99);
    assert_int_equal(kept.c.at.offset, 4);
    assert_int_equal(metrics->engine_epoch_changes, 1);
}

/* The copy has less than this node has got: the places are taken again. */
static void a_copy_that_lacks_some_is_followed(void **state UNUSED)
{
    struct peer_kept *k;

    begin_subscribed();
    publish_to("kept:a", "one", 0);
    publish_to("kept:a", "two", 1);
    pass(0);
    another_server("run2");
    k = peer_stream(STR_LIT("t:m:kept:a"));
    k->offset = 1;
    peer_guard(k, STR_LIT("run2"), STR_LIT("99"));
    forgotten("second");
    forgotten("third");
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one two second third ");
    assert_int_equal(kept.losses, 1);
    assert_int_equal(kept.c.at.offset, 3);
}

/* Of an epoch that follows one this node has not been in, nobody knows what is new. */
static void what_comes_behind_two_servers_is_lost(void **state UNUSED)
{
    struct peer_kept *k;

    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    k = peer_stream(STR_LIT("t:m:kept:a"));
    another_server("run3");
    peer_guard(k, STR_LIT("run2"), STR_LIT("98"));
    forgotten("unknown");
    peer_guard(k, STR_LIT("run3"), STR_LIT("99"));
    forgotten("unknown");
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one ");
    assert_int_equal(kept.losses, 1);
    assert_int_equal(kept.c.at.offset, 3);
}

/* The server before this one is the one again: nothing of its epoch comes again. */
static void a_server_that_comes_back_does_not_repeat(void **state UNUSED)
{
    struct peer_kept *k;
    uint64_t epoch;

    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    k = peer_stream(STR_LIT("t:m:kept:a"));
    epoch = kept.c.at.epoch;
    another_server("run2");
    peer_guard(k, STR_LIT("run2"), STR_LIT("99"));
    forgotten("two");
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one two ");
    k->epoch = epoch;
    k->before = 99;
    k->before_offset = 0;
    peer_cut();
    come_up();
    pass(NS_PER_SEC);
    assert_string_equal(kept.text, "one two ");
    assert_int_equal(kept.losses, 2);
    assert_int_equal(kept.c.at.epoch, epoch);
}

/* What is in no stream is not fetched: it comes when it comes, also while a gap is being closed. */
static void what_is_not_kept_comes_in_the_middle_of_a_gap(void **state UNUSED)
{
    struct envelope env = {.node = 2,
                           .wall_ms = 1,
                           .r = {.kind = RECORD_PUBLICATION,
                                 .flags = RECORD_SKIP_HISTORY,
                                 .data = STR_LIT("between")}};
    struct buf item = {0};

    begin_subscribed();
    publish_to("kept:a", "one", 0);
    pass(0);
    forgotten("two");
    publish_to("kept:a", "three", 1);
    peer.mute = true;
    turn();
    assert_int_equal(envelope_write(&item, &env), 0);
    peer_push(STR_LIT("t:c:kept:a"), STR_LIT("0:0:"), buf_view(&item));
    buf_fini(&item);
    say_pushed();
    peer.mute = false;
    pass(0);
    assert_string_equal(kept.text, "one between two three ");
    assert_int_equal(kept.losses, 0);
}

/* --- the settings --- */

static void keep_history(bool on)
{
    config.namespaces.items[0].history_size = on ? 50 : 0;
    channel_options_changed();
}

/* A channel nobody is subscribed to any more, and then somebody again, with other settings. */
static void history_may_begin_and_end_with_a_reload(void **state UNUSED)
{
    begin_subscribed();
    for (unsigned i = 0; i < 4; i++) {
        engine->ops->unsubscribe(engine, &kept.c, STR_LIT("kept:a"));
        keep_history(i % 2 == 1);
        listen_to(&kept, "kept:a");
        pass(NS_PER_SEC);
        assert_int_equal(kept.subscribed, 1);
        assert_int_equal(kept.refused + kept.losses, 0);
        assert_int_equal(kept.c.stream != NULL, i % 2);
        publish_to("kept:a", "x", i);
        pass(0);
        completed(i, ENGINE_OK);
        assert_string_equal(kept.text, "x ");
        assert_true(kept.in_order);
    }
    assert_int_equal(peer.opens, 1);
}

/* Who is subscribed is told with the first one that is kept, and goes on from there. */
static void history_begins_for_those_who_are_subscribed(void **state UNUSED)
{
    keep_history(false);
    begin_subscribed();
    assert_null(kept.c.stream);
    keep_history(true);
    publish_to("kept:a", "one", 0);
    pass(0);
    assert_int_equal(kept.losses, 1);
    assert_non_null(kept.c.stream);
    publish_to("kept:a", "two", 1);
    pass(0);
    assert_string_equal(kept.text, "two ");
    assert_true(kept.in_order);
}

static void the_guard_may_be_another(void **state UNUSED)
{
    static const char *const runs[] = {"run1", "of-run1", "any"};

    for (unsigned g = 0; g < ARRAY_LEN(runs); g++) {
        settings.guard = (enum engine_guard)g;
        begin_subscribed();
        publish_to("kept:a", "x", 0);
        pass(0);
        assert_string_equal(peer_stream(STR_LIT("t:m:kept:a"))->run, runs[g]);
        assert_int_equal(str_copy(STR_LIT("run2"), peer.run, sizeof(peer.run)), 0);
        peer_cut();
        come_up();
        pass(NS_PER_SEC);
        assert_int_equal(kept.losses, g != ENGINE_GUARD_NONE);
        end();
    }
}

/* engine_local_fallback: what is not kept goes on within the node, as soon as the server is given up. */
static void channels_that_are_not_kept_may_go_on_alone(void **state UNUSED)
{
    settings.local_fallback = true;
    begin_subscribed();
    publish_to("bare", "one", 0);
    pass(0);
    peer.absent = true;
    peer_cut();
    pass(2 * settings.patience_ns);
    publish_to("bare", "two", 1);
    publish_to("kept:a", "no", 2);
    listen_to(&more, "other");
    publish_to("other", "three", 3);
    completed(1, ENGINE_OK);
    completed(2, ENGINE_UNAVAILABLE);
    completed(3, ENGINE_OK);
    assert_string_equal(bare.text, "one two ");
    assert_string_equal(more.text, "three ");
    assert_true(bare.in_order);
    assert_int_equal(more.subscribed, 1);
    assert_int_equal(metrics->engine_local_publications, 2);
    peer.absent = false;
    come_up();
    pass(NS_PER_SEC);
    publish_to("bare", "four", 4);
    pass(0);
    completed(4, ENGINE_OK);
    assert_string_equal(bare.text, "one two four ");
    assert_true(bare.in_order);
    assert_int_equal(more.subscribed, 1);
}

/* --- many --- */

/* What the hub asks has room at any moment, and nothing spins while answers are awaited. */
static void resubscribing_leaves_room_and_sleeps(void **state UNUSED)
{
    static struct engine_channel c[50];
    struct redis_server *s;
    char name[32];

    settings.window = 16;
    begin();
    s = redis_of(engine)->servers[0];
    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = (struct engine_channel){0};
        snprintf(name, sizeof(name), "kept:%u", i);
        engine->ops->subscribe(engine, &c[i], str_from(name));
    }
    peer.chunk = 50;
    for (unsigned i = 0; i < 10000 && !s->restored; i++) {
        uint64_t next = redis_server_tick(s, clock_ns());

        assert_true(s->state != REDIS_UP || next > clock_ns());
        assert_true(redis_server_wants(s));
        peer.mute = i % 2 == 0;
        peer_turn();
    }
    assert_true(s->restored);
}

#ifdef __SANITIZE_ADDRESS__
#define MANY 200000
#else
#define MANY 1000000
#endif

/* In each round a bounded number of names and bytes, in each second what the rate says. */
static void a_million_channels_are_subscribed_to_again_in_pieces(void **state UNUSED)
{
    static struct engine_channel c[MANY];
    uint64_t began, most = 0;
    size_t names = 0;
    char name[32];

    settings.resubscribe_rate = 200000;
    begin();
    peer.counts_only = true;
    for (unsigned i = 0; i < MANY; i++) {
        memset(&c[i], 0, sizeof(c[i]));
        snprintf(name, sizeof(name), "bare-%u", i);
        engine->ops->subscribe(engine, &c[i], str_from(name));
    }
    come_up();
    for (began = clock_ns(); peer.names < MANY;) {
        names = peer.names;
        peer.bytes = 0;
        turn();
        turn();
        assert_true(peer.names - names <= 2 * 512);
        assert_true(peer.bytes <= 2 * 64 * 1024);
        most = MAX(most, peer.names - names);
        assert_true(peer.names <= (clock_ns() - began + NS_PER_SEC / 100) *
                                          settings.resubscribe_rate / NS_PER_SEC +
                                      1024);
        clock_advance(NS_PER_MS);
        assert_true(clock_ns() - began < 60 * NS_PER_SEC);
    }
    assert_true(peer.most_names <= 512 && most > 0);
    assert_true(clock_ns() - began >= MANY / 200000 * NS_PER_SEC);
    pass(0);
    assert_int_equal(metrics->engine_subscriptions, MANY);
    assert_true(redis_subs_restored(redis_of(engine)->servers[0]));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_full_server_still_delivers),
        T(a_subscription_that_a_full_server_refuses),
        T(connections_that_end_at_once_have_pauses_between),
        T(who_waits_for_a_server_that_is_away_is_told),
        T(who_is_subscribed_stays),
        T(a_forgotten_publication_is_found_by_the_sweep),
        T(what_an_outage_has_hidden_is_fetched),
        T(what_comes_behind_a_loss_is_fetched),
        T(a_copy_that_lacks_some_is_followed),
        T(what_comes_behind_two_servers_is_lost),
        T(a_server_that_comes_back_does_not_repeat),
        T(what_is_not_kept_comes_in_the_middle_of_a_gap),
        T(history_may_begin_and_end_with_a_reload),
        T(history_begins_for_those_who_are_subscribed),
        T(resubscribing_leaves_room_and_sleeps),
        T(the_guard_may_be_another),
        T(channels_that_are_not_kept_may_go_on_alone),
        T(a_million_channels_are_subscribed_to_again_in_pieces),
    };

    return cmocka_run_group_tests_name("core/engine_redis_restore", tests, NULL, NULL);
}
