/* core/engine_nats against a scripted server: what comes in any cut, connections that end at any byte, servers that come
 * and go, refuse and say nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_nats.c"

#include "fault.h"
#include "nats_harness.h"

static void a_publication_is_done_behind_its_copy(void **state)
{
    struct buf written = {0};

    (void)state;
    come_up();
    subscribe_to(&a);
    publish_text("a", "one", 8, 0);
    publish_text("b.>*", "two", 16, 1);
    assert_int_equal(wire.out.len, 0); /* nothing before the round's end */
    go_round();
    assert_int_equal(buf_append(&written, buf_view(&wire.out)), 0);
    assert_true(has_written("PUB t.c.b=2E=3E=2A "));
    assert_int_equal(hub.done[0], 0);
    comes_back(buf_view(&written));
    assert_int_equal(hub.done[0], 0);
    feed("PONG\r\n");
    assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
    assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_OK);
    assert_true(hub.at[0].epoch == a.c.at.epoch && hub.at[0].offset == 1);
    assert_int_equal(hub.at[1].epoch, 0);
    log_is("sub a ok\na:1 one\n");
    buf_fini(&written);
}

/* However the server's bytes come. */
static void any_cut(void **state)
{
    const char *wire_text = "PING\r\nMSG t.c.a 9 3\r\nbad\r\n+OK\r\nMSG other 1 0\r\n\r\nPONG\r\n";
    struct str in = str_from(wire_text);

    (void)state;
    for (size_t split = 0; split <= in.n; split++) {
        setup(NULL);
        come_up();
        subscribe_to(&a);
        publish_text("a", "x", 8, 0);
        go_round();
        buf_clear(&wire.out);
        wire.events->received(wire.peer, (struct str){.p = in.p, .n = split});
        for (size_t i = split; i < in.n; i++)
            wire.events->received(wire.peer, (struct str){.p = in.p + i, .n = 1});
        assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
        assert_int_equal(metrics->engine_malformed, 1);
        go_round();
        assert_true(has_written("PONG\r\n"));
        if (split < in.n)
            teardown(NULL);
    }
}

/* What was sent and not answered is sent again, and before all that waits; what has waited too long ends,
 * by whether it may have been done. */
static void cut_at_any_byte(void **state)
{
    const char *said = "PONG\r\n";

    (void)state;
    for (size_t cut = 0; cut <= strlen(said); cut++) {
        setup(NULL);
        come_up();
        publish_text("a", "sent", 8, 0);
        go_round();
        wire.events->received(wire.peer, (struct str){.p = said, .n = cut});
        assert_int_equal(hub.done[0], cut == strlen(said));
        wire.open = false;
        wire.events->closed(wire.peer, "cut");
        publish_text("a", "waits", 16, 1);
        assert_int_equal(hub.done[1], 0);
        if (cut % 2) { /* it comes back in time */
            come_up();
            assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
            assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_OK);
        } else {
            wire.failing = 1000;
            pass(2100 * NS_PER_MS);
            go_round();
            assert_int_equal(hub.status[0], cut == strlen(said) ? ENGINE_OK : ENGINE_UNKNOWN);
            assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_UNAVAILABLE);
            publish_text("a", "at once", 24, 2);
            assert_true(hub.done[2] == 1 && hub.status[2] == ENGINE_UNAVAILABLE);
        }
        assert_int_equal(hub.done[0], 1);
        if (cut < strlen(said))
            teardown(NULL);
    }
}

static void sent_again_in_order(void **state)
{
    struct str out;
    size_t first, second;

    (void)state;
    come_up();
    publish_text("a", "one", 8, 0);
    go_round();
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    publish_text("a", "two", 16, 1);
    pass(NS_PER_SEC);
    wire.events->opened(wire.peer);
    feed(INFO "PONG\r\n");
    buf_clear(&wire.out);
    go_round();
    out = buf_view(&wire.out);
    for (first = 0; !str_starts_with(str_skip(out, first), STR_LIT("one")); first++)
        ;
    for (second = 0; !str_starts_with(str_skip(out, second), STR_LIT("two")); second++)
        ;
    assert_true(first < second);
}

/* The server would end the connection. */
static void nodes_say_no_more_than_the_server_takes(void **state)
{
    char most[1000];

    (void)state;
    memset(most, 'x', sizeof(most));
    come_up();
    feed("INFO {\"server_name\":\"n\",\"max_payload\":1000}\r\n");
    assert_int_equal(engine_nodes_say(engine->nodes, 0, (struct str){.p = most, .n = 984}), 0);
    go_round();
    assert_true(has_written("PUB t.nodes 1000\r\n"));
    assert_int_equal(engine_nodes_say(engine->nodes, 0, (struct str){.p = most, .n = 985}), 0);
    go_round();
    assert_false(has_written("PUB t.nodes "));
}

static void a_server_that_says_nothing_is_left(void **state)
{
    (void)state;
    come_up();
    pass(1100 * NS_PER_MS); /* idle: is it there? */
    wrote("PING\r\n");
    pass(2900 * NS_PER_MS);
    assert_true(wire.open);
    pass(200 * NS_PER_MS);
    assert_false(wire.open);
    assert_int_equal(metrics->engine_reconnects_timeout, 1);
}

/* There is only much to do, or the line is slow. */
static void a_server_that_answers_one_after_the_other_stays(void **state)
{
    struct nats *e;

    (void)state;
    come_up();
    e = nats_of(engine);
    for (int i = 0; i < 12; i++) {
        pass(100 * NS_PER_MS);
        publish_text("a", "x", (uint64_t)(i + 1) * 8, 0);
    }
    assert_true(e->pings - e->pongs > 8);
    while (e->pongs < 8) {
        feed("PONG\r\n");
        pass(2500 * NS_PER_MS);
        assert_true(wire.open);
    }
    assert_int_equal(metrics->engine_reconnects_timeout, 0);
    pass(700 * NS_PER_MS);
    assert_int_equal(metrics->engine_reconnects_timeout, 1);
}

static void a_server_that_delivers_nothing_is_left(void **state)
{
    struct nats *e;

    (void)state;
    come_up();
    e = nats_of(engine);
    for (int i = 0; i < 30 && wire.open; i++) {
        pass(500 * NS_PER_MS);
        while (wire.open && e->pongs < e->pings)
            feed("PONG\r\n"); /* it answers */
    }
    assert_false(wire.open);
    assert_int_equal(metrics->engine_probes_missed, 1);
}

static void sizes(void **state)
{
    static char large[1048576];
    struct record r = {.name = STR_LIT("a"), .data = {.p = large}, .position = 8};

    (void)state;
    come_up();
    r.data.n = 1048576 - ENVELOPE_HEADER;
    engine->ops->publish(engine, NULL, &r, NULL, 0);
    r.data.n++;
    engine->ops->publish(engine, NULL, &r, NULL, 1);
    assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_TOO_BIG);
    go_round();
    feed("PONG\r\n");
    assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
    /* One that waits while the server is replaced by one that takes less. */
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    r.data.n = 2000;
    engine->ops->publish(engine, NULL, &r, NULL, 2);
    for (int i = 0; i < 100 && !wire.open; i++)
        pass(10 * NS_PER_MS);
    wire.events->opened(wire.peer);
    feed("INFO {\"max_payload\":1024}\r\nPONG\r\n");
    go_round();
    assert_true(hub.done[2] == 1 && hub.status[2] == ENGINE_TOO_BIG);
    /* The server says so itself. */
    publish_text("a", "small", 16, 3);
    r.data.n = 500;
    engine->ops->publish(engine, NULL, &r, NULL, 4);
    go_round();
    feed("-ERR 'Maximum Payload Violation'\r\n");
    assert_true(hub.done[4] == 1 && hub.status[4] == ENGINE_TOO_BIG);
    assert_int_equal(hub.done[3], 0);
}

/* Of what a server answers by ending the connection, nothing is sent for ever. */
static void a_publication_is_not_sent_for_ever(void **state)
{
    (void)state;
    publish_text("a", "poison", 8, 0);
    for (unsigned i = 0; i < NATS_TRIES_MAX; i++) {
        assert_int_equal(hub.done[0], 0);
        for (int k = 0; k < 100 && !wire.open; k++)
            pass(10 * NS_PER_MS);
        wire.events->opened(wire.peer);
        feed(INFO "PONG\r\n");
        go_round();
        assert_true(has_written("poison"));
        wire.open = false;
        wire.events->closed(wire.peer, "cut");
    }
    assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_UNKNOWN);
}

static void protocol_errors(void **state)
{
    static const char *const bad[] = {"PONG\r\n", "x\r\n", "MSG t.c.a 9 x\r\n", "INFO {}\r\n",
                                      "INFO nonsense\r\n"};
    static const char *const no_greeting[] = {"PING\r\n", "INFO {}\r\n",
                                              "INFO {\"max_payload\":9,\"tls_required\":true}\r\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        come_up();
        feed(bad[i]);
        assert_false(wire.open);
    }
    for (size_t i = 0; i < ARRAY_LEN(no_greeting); i++) {
        for (int k = 0; k < 100 && !wire.open; k++)
            pass(100 * NS_PER_MS);
        wire.events->opened(wire.peer);
        feed(no_greeting[i]);
        assert_false(wire.open);
        assert_int_equal(wire.out.len, 0); /* no password for such a one */
    }
}

static void tls_begins_behind_info(void **state)
{
    static const char *const secure[] = {"tls://host", NULL};

    (void)state;
    engine_free(engine);
    make(secure);
    memcpy(nats_of(engine)->servers[0].password, "secret", 7);
    go_round();
    wire.events->opened(wire.peer);
    feed(INFO);
    assert_true(wire.secure);
    assert_int_equal(wire.out.len, 0);
    wire.events->secured(wire.peer);
    assert_true(has_written("\"tls_required\":true,\"name\":\"roost\",\"auth_token\":\"secret\""));
    feed("PONG\r\n");
    assert_int_equal(nats_of(engine)->state, NATS_UP);
    /* What is said behind INFO in the clear is anybody's. */
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    pass(NS_PER_SEC);
    wire.events->opened(wire.peer);
    feed(INFO "PING\r\n");
    assert_false(wire.open);
}

static void other_servers(void **state)
{
    static const char *const two[] = {"nats://10.0.0.1", "nats://10.0.0.2", NULL};
    bool seen[6] = {false};
    struct nats *e;

    (void)state;
    engine_free(engine);
    make(two);
    e = nats_of(engine);
    memcpy(e->servers[0].password, "p", 2);
    memcpy(e->servers[1].password, "p", 2);
    come_up();
    feed("INFO {\"max_payload\":1048576,\"connect_urls\":[\"10.0.0.2:4222\",\"10.0.0.3:4222\","
         "\"[::1]:4225\",\"u:p@evil:1\",\"\",\"a b\"]}\r\n");
    assert_int_equal(e->nservers, 4);
    assert_string_equal(e->servers[3].host, "::1");
    assert_string_equal(e->servers[2].password, "p");
    /* It goes down, and has said so: another one, when what is under way is answered. */
    publish_text("a", "x", 8, 0);
    go_round();
    feed("INFO {\"max_payload\":1048576,\"ldm\":true}\r\n");
    go_round();
    assert_true(wire.open);
    feed("PONG\r\n");
    assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
    go_round();
    assert_false(wire.open);
    /* All of them are tried before the pauses grow. */
    wire.failing = 4;
    for (int i = 0; i < 4; i++) {
        uint64_t opened = wire.opened;

        for (int k = 0; k < 100 && wire.opened == opened; k++)
            pass(NS_PER_MS);
        assert_int_equal(wire.opened, opened + 1);
        seen[wire.to.port - 4222 + (wire.to.host[0] == ':' ? 0 : wire.to.host[7] - '1')] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

/* Addresses that a server tells are verified by the name that led to it, and by themselves, in turns. */
static void certificates_are_for_names(void **state)
{
    static const char *const by_name[] = {"tls://nats.example", NULL},
                             *const by_address[] = {"tls://10.0.0.1", NULL},
                             *const clear[] = {"nats://nats.example", NULL};
    static const char info[] = "INFO {\"max_payload\":9,\"connect_urls\":[\"10.0.0.2:4222\","
                               "\"[::1]:4222\",\"other.example:4222\"]}\r\n";
    const char *const *settings[] = {by_name, by_address, clear};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct nats *e;

        engine_free(engine);
        make(settings[i]);
        e = nats_of(engine);
        go_round();
        wire.events->opened(wire.peer);
        feed(info);
        assert_int_equal(e->nservers, 4);
        for (unsigned k = 0; k < 4; k++) {
            assert_string_equal(e->servers[k].alias,
                                i == 0 && (k == 1 || k == 2) ? "nats.example" : "");
            assert_int_equal(e->servers[k].by_alias, e->servers[k].alias[0] != '\0');
        }
        wire.open = false;
        wire.events->closed(wire.peer, "cut");
    }
    engine_free(engine);
    make(by_name);
    go_round();
    wire.events->opened(wire.peer);
    feed(info);
    wire.open = false;
    wire.events->closed(wire.peer, "cut"); /* the settings' has no other name */
    assert_false(nats_of(engine)->servers[0].by_alias);
    for (int round = 0; round < 2; round++) { /* two others between */
        for (int k = 0; k < 100 && !wire.open; k++)
            pass(10 * NS_PER_MS);
        assert_string_equal(wire.to.host, "10.0.0.2");
        assert_int_equal(wire.to.by_alias, round == 0);
        wire.events->opened(wire.peer);
        feed("INFO {\"max_payload\":9}\r\n");
        assert_true(wire.secure);
        wire.open = false;
        wire.events->closed(wire.peer, "certificate verify failed");
        wire.failing = 3;
    }
}

static void what_it_cannot_do(void **state)
{
    const struct record r = {.name = STR_LIT("a"), .data = STR_LIT("x"), .position = 8};
    const struct engine_condition key = {.idempotency_key = STR_LIT("k")},
                                  version = {.version = 5, .version_epoch = STR_LIT("e")};

    (void)state;
    come_up();
    engine->ops->history(engine, STR_LIT("a"), (struct position){0}, 1, false, 0);
    engine->ops->remove_history(engine, STR_LIT("a"), 1);
    engine->ops->presence(engine, &(struct engine_presence){.op = PRESENCE_STATS}, 2);
    engine->ops->publish(engine, NULL, &r, &key, 3);
    for (unsigned i = 0; i < 4; i++)
        assert_true(hub.done[i] == 1 && hub.status[i] == ENGINE_REFUSED);
    engine->ops->publish(engine, NULL, &r, &version, 5); /* nothing is kept that could be newer */
    go_round();
    feed("PONG\r\n");
    assert_true(hub.done[5] == 1 && hub.status[5] == ENGINE_OK);
}

static void the_window_is_bounded(void **state)
{
    struct nats *e;

    (void)state;
    come_up();
    e = nats_of(engine);
    for (unsigned i = 0; i < 32; i++)
        publish_text("a", "x", 8 + i, i);
    go_round();
    assert_int_equal(e->nsent, 16);
    assert_int_equal(e->nwaiting, 16);
    assert_false(engine->ops->wants(engine));
    feed("PONG\r\n");
    go_round();
    assert_true(e->nsent == 16 && e->nwaiting == 0 && engine->ops->wants(engine));
    feed("PONG\r\n");
    assert_true(e->nsent == 0 && e->sent_bytes == 0 && e->waiting_bytes == 0);
}

/* Every call ends once and leaves nothing, whatever fails. */
static void without_memory(void **state)
{
    struct nats *e;

    (void)state;
    for (uint64_t k = 1; k <= 12; k++) {
        setup(NULL);
        come_up();
        e = nats_of(engine);
        fault_fail_at(k);
        publish_text("a", "x", 8, 0);
        engine->ops->subscribe(engine, &a.c, STR_LIT("a"));
        go_round();
        fault_reset();
        for (int i = 0; i < 5; i++) {
            if (!wire.open)
                come_up();
            go_round();
            while (wire.open && e->pongs < e->pings)
                feed("PONG\r\n");
        }
        assert_int_equal(hub.done[0], 1);
        assert_true(e->nsent == 0 && e->nwaiting == 0);
        assert_true(e->sent_bytes == 0 && e->waiting_bytes == 0);
        if (k < 12)
            teardown(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NATS_TEST(a_publication_is_done_behind_its_copy),
        cmocka_unit_test_setup_teardown(any_cut, NULL, teardown),
        cmocka_unit_test_setup_teardown(cut_at_any_byte, NULL, teardown),
        NATS_TEST(sent_again_in_order),
        NATS_TEST(nodes_say_no_more_than_the_server_takes),
        NATS_TEST(a_server_that_says_nothing_is_left),
        NATS_TEST(a_server_that_answers_one_after_the_other_stays),
        NATS_TEST(a_server_that_delivers_nothing_is_left),
        NATS_TEST(sizes),
        NATS_TEST(a_publication_is_not_sent_for_ever),
        NATS_TEST(protocol_errors),
        NATS_TEST(tls_begins_behind_info),
        NATS_TEST(other_servers),
        NATS_TEST(certificates_are_for_names),
        NATS_TEST(what_it_cannot_do),
        NATS_TEST(the_window_is_bounded),
        cmocka_unit_test_setup_teardown(without_memory, NULL, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
