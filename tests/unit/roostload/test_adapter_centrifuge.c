/* tests/unit/roostload/test_adapter_centrifuge.c - what it says to a server and what it makes of the
 * answers, in both encodings. */
#include "adapter_events.h"

#include "cmd/roostload/adapter_centrifuge.c"
#include "cmd/roostload/hmac_token.c"

static struct options o;
static struct adapter_position position;

static const struct adapter *adapter_in(enum cf_encoding e)
{
    return e == CF_JSON ? &adapter_centrifuge_json : &adapter_centrifuge_protobuf;
}

static void assert_text(struct str s, const char *expected)
{
    if (!str_equal(s, str_from(expected)))
        fail_msg("got %.*s, expected %s", STR_ARG(s), expected);
}

static void what_it_says(void **state)
{
    struct adapter_user u = {.o = &o, .position = NULL};
    struct buf out = {0};

    (void)state;
    o = (struct options){.history = 5};
    assert_int_equal(adapter_centrifuge_json.hello(&u, STR_LIT("a\"b"), &out), 0);
    assert_text(buf_view(&out), "{\"id\":1,\"connect\":{\"name\":\"roostload\"}}\n"
                                "{\"id\":2,\"subscribe\":{\"channel\":\"a\\\"b\"}}");
    buf_clear(&out);
    assert_int_equal(str_copy(STR_LIT("secret"), o.token_key, sizeof(o.token_key)), 0);
    u.token_user = STR_LIT("load-7");
    assert_int_equal(adapter_centrifuge_json.hello(&u, STR_LIT("c"), &out), 0);
    assert_true(
        str_starts_with(buf_view(&out), STR_LIT("{\"id\":1,\"connect\":{\"token\":"
                                                "\"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.")));
    o.token_key[0] = '\0';
    buf_clear(&out);
    position = (struct adapter_position){0};
    u.position = &position;
    assert_int_equal(adapter_centrifuge_json.hello(&u, STR_LIT("c"), &out), 0);
    assert_text(
        str_skip(buf_view(&out), 40),
        "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"positioned\":true,\"recoverable\":true}}");
    buf_clear(&out);
    position = (struct adapter_position){.offset = 7, .epoch = "xyz"};
    assert_int_equal(adapter_centrifuge_json.hello(&u, STR_LIT("c"), &out), 0);
    assert_text(str_skip(buf_view(&out), 40),
                "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"recover\":true,\"epoch\":\"xyz\","
                "\"offset\":7,\"positioned\":true,\"recoverable\":true}}");
    buf_clear(&out);
    assert_int_equal(adapter_centrifuge_json.publish(&u, STR_LIT("c"), STR_LIT("RL00"), &out), 0);
    assert_text(buf_view(&out), "{\"id\":3,\"publish\":{\"channel\":\"c\",\"data\":\"RL00\"}}");
    buf_clear(&out);
    assert_int_equal(adapter_centrifuge_json.ask_history(&u, STR_LIT("c"), &out), 0);
    assert_text(buf_view(&out), "{\"id\":4,\"history\":{\"channel\":\"c\",\"limit\":5}}");
    buf_clear(&out);
    o.protocol = CF_PROTOBUF;
    assert_int_equal(adapter_centrifuge_protobuf.publish(&u, STR_LIT("c"), STR_LIT("RL00"), &out),
                     0);
    assert_text(buf_view(&out), "\x0f\x08\x03\x3a\x0b\x0a\x01"
                                "c\x12\x06\"RL00\"");
    buf_fini(&out);
}

/* What a reader of RFC 7515 finds in it; the MAC was made by another program. */
static void tokens(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(hmac_token(STR_LIT("secret"), STR_LIT("load-7"), 1700000000, &out), 0);
    assert_text(buf_view(&out), "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
                                "eyJzdWIiOiJsb2FkLTciLCJleHAiOjE3MDAwMDAwMDB9."
                                "sGCqBOI3x-vCwr9v1y88kE8pFjx-PsdXjvQl8z3VZJw");
    buf_fini(&out);
}

/* Appends a reply, or the end of the frame. */
static void add_reply(enum cf_encoding e, struct buf *frame, const struct cf_reply *r)
{
    if (frame->len > 0)
        assert_int_equal(cf_join(e, frame), 0);
    assert_int_equal(cf_encode_reply(e, r, frame), 0);
}

static struct cf_reply publication(uint64_t offset, const char *data)
{
    return (struct cf_reply){.has_push = true,
                             .push = {.channel = STR_LIT("c"),
                                      .has_pub = true,
                                      .pub = {.data = str_from(data), .offset = offset}}};
}

static void add_subscribed(enum cf_encoding e, struct buf *frame, bool recovered, uint64_t offset,
                           unsigned publications)
{
    struct buf list = {0};
    struct cf_items items;
    struct cf_reply r = {
        .id = 2,
        .has_subscribe = true,
        .subscribe = {
            .epoch = STR_LIT("e"), .recovered = recovered, .recoverable = true, .offset = offset}};

    cf_items_begin(&items, e, &list);
    for (unsigned i = 1; i <= publications; i++) {
        struct cf_publication p = {.data = STR_LIT("\"old\""), .offset = offset + i};

        assert_int_equal(cf_add_subscribe_result_publications(&items, &p), 0);
    }
    assert_int_equal(cf_items_end(&items), 0);
    r.subscribe.publications = buf_view(&list);
    add_reply(e, frame, &r);
    buf_fini(&list);
}

/* All that is made of a frame: "ready ", "message(text) ", with r, j or u for what is known of it. */
static void assert_events(enum cf_encoding e, struct buf *frame, bool recovers,
                          const char *expected)
{
    struct adapter_user u = {.o = &o, .position = recovers ? &position : NULL};
    struct feed f = {0};
    struct buf reply = {0};
    struct str rest = buf_view(frame), payload = STR_NULL;
    enum adapter_event event;

    o.protocol = (int)e;
    do {
        buf_clear(&reply);
        event = adapter_in(e)->receive(&u, &rest, &payload, &reply);
        feed_note(&f, event, payload, event == ADAPTER_REPLY ? STR_LIT("") : STR_NULL);
        if (u.recovered || u.jumped || u.unrecovered) {
            f.events.len--;
            assert_int_equal(buf_printf(&f.events, "%s%s%s ", u.recovered ? "r" : "",
                                        u.jumped ? "j" : "", u.unrecovered ? "u" : ""),
                             0);
        }
    } while (event != ADAPTER_REFUSED && (rest.p != NULL || u.held.p != NULL));
    assert_text(buf_view(&f.events), expected);
    buf_fini(&f.events);
    buf_fini(&reply);
    buf_clear(frame);
}

/* What is refused is said with its code. */
static void refusals(void **state)
{
    struct adapter_user u = {.o = &o};
    struct str rest =
                   STR_LIT("{\"id\":3,\"error\":{\"code\":103,\"message\":\"permission denied\"}}"),
               payload;
    struct buf reply = {0};

    (void)state;
    o = (struct options){0};
    assert_int_equal(adapter_centrifuge_json.receive(&u, &rest, &payload, &reply), ADAPTER_REFUSED);
    assert_string_equal(u.refusal, "the server refused a publication: 103 permission denied");
    rest = STR_LIT("{\"push\":{\"disconnect\":{\"code\":3500}}}");
    assert_int_equal(adapter_centrifuge_json.receive(&u, &rest, &payload, &reply), ADAPTER_REFUSED);
    assert_string_equal(u.refusal, "the server refused the connection: 3500 ");
    buf_fini(&reply);
}

static void what_it_hears(void **state)
{
    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf frame = {0};
        struct cf_reply r;

        add_reply(e, &frame, &(struct cf_reply){.id = 1, .has_connect = true});
        add_subscribed(e, &frame, false, 0, 0);
        r = publication(0, "\"xyz\"");
        add_reply(e, &frame, &r);
        add_reply(e, &frame, &(struct cf_reply){0});
        add_reply(e, &frame, &(struct cf_reply){.id = 3, .has_publish = true});
        add_reply(e, &frame, &(struct cf_reply){.id = 4, .has_history = true});
        add_reply(e, &frame, &(struct cf_reply){.has_push = true, .push.has_join = true});
        add_reply(e, &frame, &(struct cf_reply){.id = 3, .has_error = true, .error.code = 103});
        assert_events(e, &frame, false, "ready message(xyz) reply() history refused ");
        add_reply(e, &frame, &(struct cf_reply){.has_push = true, .push.has_disconnect = true});
        assert_events(e, &frame, false, "refused ");
        r = (struct cf_reply){
            .has_push = true,
            .push = {.channel = STR_LIT("c"), .has_unsubscribe = true, .unsubscribe.code = 2000}};
        add_reply(e, &frame, &r);
        assert_events(e, &frame, false, "refused ");
        r.push.unsubscribe.code = 2500;
        add_reply(e, &frame, &r);
        assert_events(e, &frame, false, "reply() ");
        assert_int_equal(buf_append_lit(&frame, "]"), 0);
        assert_events(e, &frame, false, "refused ");
        assert_events(e, &frame, false, ""); /* an empty frame */
        buf_fini(&frame);
    }
}

/* Offsets follow each other over connections; what is recovered is told, and what cannot be. */
static void recovery(void **state)
{
    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf frame = {0};
        struct cf_reply r = publication(5, "\"a\"");

        position = (struct adapter_position){0};
        add_subscribed(e, &frame, false, 4, 0); /* the first time */
        add_reply(e, &frame, &r);
        assert_events(e, &frame, true, "ready message(a) ");
        assert_int_equal(position.offset, 5);
        assert_string_equal(position.epoch, "e");
        r = publication(8, "\"b\"");
        add_subscribed(e, &frame, true, 5, 2);
        add_reply(e, &frame, &r);
        assert_events(e, &frame, true, "ready message(old)r message(old)r message(b) ");
        assert_int_equal(position.offset, 8);
        r = publication(10, "\"c\"");
        add_reply(e, &frame, &r);
        assert_events(e, &frame, true, "message(c)j ");
        add_subscribed(e, &frame, true, 11, 1); /* 11 is missing */
        assert_events(e, &frame, true, "ready message(old)rj ");
        add_subscribed(e, &frame, false, 40, 0);
        assert_events(e, &frame, true, "readyu ");
        assert_int_equal(position.offset, 40);
        buf_fini(&frame);
    }
}

/* Each publication is the difference from the one before, over the frames of a connection. */
static void deltas(void **state)
{
    static const char *const payloads[] = {"\"the first payload, some words long\"",
                                           "\"the second payload, some words long\"",
                                           "\"the third payload, some words long\""};

    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct adapter_delta kept = {0};
        struct buf frame = {0}, delta = {0}, work = {0}, reply = {0};
        struct adapter_user u = {.o = &o, .delta = &kept};
        struct cf_reply r = {.id = 2, .has_subscribe = true, .subscribe.delta = true};
        struct str rest, payload;

        o = (struct options){.protocol = (int)e, .delta = true};
        add_reply(e, &frame, &r);
        rest = buf_view(&frame);
        assert_int_equal(adapter_in(e)->receive(&u, &rest, &payload, &reply), ADAPTER_READY);
        for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
            struct str said = str_from(payloads[i]);
            struct buf quoted = {0};

            buf_clear(&frame);
            buf_clear(&delta);
            if (i > 0) {
                assert_int_equal(fossil_create(str_from(payloads[i - 1]), said, 100, &work, &delta),
                                 1);
                said = buf_view(&delta);
            }
            assert_int_equal(json_append_string(&quoted, said), 0);
            r = publication(0, "");
            r.push.pub.data = e == CF_JSON ? buf_view(&quoted) : said;
            r.push.pub.delta = i > 0;
            add_reply(e, &frame, &r);
            rest = buf_view(&frame);
            assert_int_equal(adapter_in(e)->receive(&u, &rest, &payload, &reply), ADAPTER_MESSAGE);
            assert_true(str_equal(payload, (struct str){payloads[i] + 1, strlen(payloads[i]) - 2}));
            assert_int_equal(u.was_delta, i > 0);
            buf_fini(&quoted);
        }
        /* The same once more does not fit. */
        rest = buf_view(&frame);
        assert_int_equal(adapter_in(e)->receive(&u, &rest, &payload, &reply), ADAPTER_REFUSED);
        assert_string_equal(u.refusal, "the server's delta cannot be applied");
        buf_fini(&frame);
        buf_fini(&delta);
        buf_fini(&work);
        buf_fini(&reply);
        buf_fini(&kept.before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says),  cmocka_unit_test(tokens),   cmocka_unit_test(refusals),
        cmocka_unit_test(what_it_hears), cmocka_unit_test(recovery), cmocka_unit_test(deltas),
    };

    return cmocka_run_group_tests_name("roostload/adapter_centrifuge", tests, NULL, NULL);
}
