/* codec/centrifuge/items: lists and maps, read and written one by one. */
#include "cf_text.h"

#include "codec/centrifuge/items.c"
#include "tests/lib/fault.h"

/* The reply of *start, read again and written as JSON. */
static void assert_same_reply(enum cf_encoding e, const struct buf *out, size_t start,
                              const struct cf_reply *head, const char *json)
{
    struct buf text = {0}, all = {0};
    struct cf_input in;
    struct cf_reply r;

    if (e == CF_JSON) {
        assert_str(str_skip(buf_view(out), start), json);
        assert_true(start == 6);
    }
    cf_input_init(&in, e, str_skip(buf_view(out), start), &text);
    assert_int_equal(cf_next_reply(&in, &r), 1);
    assert_int_equal(cf_next_reply(&in, &r), 0);
    cf_input_init(&in, e, str_skip(buf_view(out), start), &text);
    assert_int_equal(cf_next_reply(&in, &r), 1);
    assert_int_equal(r.id, head->id);
    /* The same as if it had been written in one go. */
    assert_int_equal(cf_encode_reply(e, &r, &all), 0);
    if (e == CF_JSON)
        assert_str(buf_view(&all), json);
    else
        assert_int_equal(all.len, out->len - start);
    buf_fini(&text);
    buf_fini(&all);
}

static void assert_opened(const struct cf_reply *head, unsigned nitems, const char *json)
{
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf out = {0};
        struct cf_items items;
        size_t start;

        assert_int_equal(buf_append_lit(&out, "before"), 0);
        assert_int_equal(cf_reply_open(&items, e, head, &out), 0);
        for (unsigned i = 1; i <= nitems; i++) {
            struct cf_publication p = {.data = STR_LIT("7"), .offset = i};
            struct cf_client_info info = {.user = STR_LIT("u")};
            struct cf_subscribe_result sub = {.offset = i};
            struct str key = i == 1 ? STR_LIT("a") : STR_LIT("\"");

            if (head->has_subscribe)
                assert_int_equal(cf_add_subscribe_result_publications(&items, &p), 0);
            else if (head->has_history)
                assert_int_equal(cf_add_history_result_publications(&items, &p), 0);
            else if (head->has_presence)
                assert_int_equal(cf_add_presence_result_presence(&items, key, &info), 0);
            else
                assert_int_equal(cf_add_connect_result_subs(&items, key, &sub), 0);
        }
        assert_int_equal(cf_reply_close(&items, head, &start), 0);
        assert_true(start >= 6 && start <= 6 + CF_ROOM);
        assert_same_reply(e, &out, start, head, json);
        buf_fini(&out);
    }
}

static void in_replies(void **state)
{
    struct cf_reply sub = {.id = 2,
                           .has_subscribe = true,
                           .subscribe = {.epoch = STR_LIT("e"), .offset = 5, .recovered = true}},
                    bare = {.id = 4294967295, .has_subscribe = true},
                    history = {.id = 3, .has_history = true, .history = {.epoch = STR_LIT("e")}},
                    presence = {.id = 4, .has_presence = true},
                    connect = {.id = 1,
                               .has_connect = true,
                               .connect = {.client = STR_LIT("c"), .pong = true}};

    (void)state;
    assert_opened(&sub, 0,
                  "{\"id\":2,\"subscribe\":{\"epoch\":\"e\",\"recovered\":true,\"offset\":5}}");
    assert_opened(
        &sub, 2,
        "{\"id\":2,\"subscribe\":{\"epoch\":\"e\",\"publications\":[{\"data\":7,\"offset\":1},"
        "{\"data\":7,\"offset\":2}],\"recovered\":true,\"offset\":5}}");
    assert_opened(&bare, 0, "{\"id\":4294967295,\"subscribe\":{}}");
    assert_opened(
        &bare, 1,
        "{\"id\":4294967295,\"subscribe\":{\"publications\":[{\"data\":7,\"offset\":1}]}}");
    assert_opened(&history, 0,
                  "{\"id\":3,\"history\":{\"publications\":[],\"epoch\":\"e\",\"offset\":0}}");
    assert_opened(
        &history, 1,
        "{\"id\":3,\"history\":{\"publications\":[{\"data\":7,\"offset\":1}],\"epoch\":\"e\","
        "\"offset\":0}}");
    assert_opened(&presence, 0, "{\"id\":4,\"presence\":{\"presence\":{}}}");
    assert_opened(&presence, 2,
                  "{\"id\":4,\"presence\":{\"presence\":{\"a\":{\"user\":\"u\",\"client\":\"\"},"
                  "\"\\\"\":{\"user\":\"u\",\"client\":\"\"}}}}");
    assert_opened(&connect, 0, "{\"id\":1,\"connect\":{\"client\":\"c\",\"pong\":true}}");
    assert_opened(
        &connect, 2,
        "{\"id\":1,\"connect\":{\"client\":\"c\",\"subs\":{\"a\":{\"offset\":1},\"\\\"\":{"
        "\"offset\":2}},\"pong\":true}}");
}

/* Large ones: lengths of more than one byte, and the walk back over them. */
static void large_replies(void **state)
{
    struct cf_reply head = {.id = 9, .has_history = true, .history.offset = 5000};

    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf out = {0}, text = {0}, item_text = {0};
        struct cf_publication p = {.data = STR_LIT("\"payload\"")};
        struct cf_items items;
        struct cf_input in;
        struct cf_reply r;
        struct str rest;
        size_t start;

        assert_int_equal(cf_reply_open(&items, e, &head, &out), 0);
        for (p.offset = 1; p.offset <= 5000; p.offset++)
            assert_int_equal(cf_add_history_result_publications(&items, &p), 0);
        assert_int_equal(cf_reply_close(&items, &head, &start), 0);
        cf_input_init(&in, e, str_skip(buf_view(&out), start), &text);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        assert_int_equal(r.history.offset, 5000);
        rest = r.history.publications;
        for (uint64_t n = 1; n <= 5000; n++) {
            assert_int_equal(cf_each_history_result_publications(e, &rest, &item_text, &p), 1);
            assert_int_equal(p.offset, n);
            assert_str(p.data, "\"payload\"");
        }
        assert_int_equal(cf_each_history_result_publications(e, &rest, &item_text, &p), 0);
        assert_int_equal(cf_next_reply(&in, &r), 0);
        buf_fini(&out);
        buf_fini(&text);
        buf_fini(&item_text);
    }
}

/* Written into a buffer of their own, then members of something that is a member. */
static void nested(void **state)
{
    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf tags = {0}, pubs = {0}, subs = {0}, out = {0}, text = {0};
        struct cf_items items;
        struct cf_publication p = {.data = STR_LIT("1")};
        struct cf_subscribe_result s = {.recovered = true};
        struct cf_connect_result c = {.client = STR_LIT("c")};
        struct cf_reply r = {.id = 1, .has_connect = true};
        struct cf_input in;
        struct str key, value, rest;

        cf_items_begin(&items, e, &tags);
        assert_int_equal(cf_add_publication_tags(&items, STR_LIT("k\n"), STR_LIT("v")), 0);
        assert_int_equal(cf_add_publication_tags(&items, STR_LIT(""), STR_LIT("")), 0);
        assert_int_equal(cf_items_end(&items), 0);
        p.tags = buf_view(&tags);
        cf_items_begin(&items, e, &pubs);
        assert_int_equal(cf_add_subscribe_result_publications(&items, &p), 0);
        assert_int_equal(cf_items_end(&items), 0);
        s.publications = buf_view(&pubs);
        cf_items_begin(&items, e, &subs);
        assert_int_equal(cf_add_connect_result_subs(&items, STR_LIT("x"), &s), 0);
        assert_int_equal(cf_items_end(&items), 0);
        c.subs = buf_view(&subs);
        r.connect = c;
        assert_int_equal(cf_encode_reply(e, &r, &out), 0);
        if (e == CF_JSON)
            assert_text(
                &out, "{\"id\":1,\"connect\":{\"client\":\"c\",\"subs\":{\"x\":{\"publications\":["
                      "{\"data\":1,\"tags\":{\"k\\n\":\"v\",\"\":\"\"}}],\"recovered\":true}}}}");
        cf_input_init(&in, e, buf_view(&out), &text);
        assert_int_equal(cf_next_reply(&in, &r), 1);
        rest = r.connect.subs;
        assert_int_equal(cf_each_connect_result_subs(e, &rest, &tags, &key, &s), 1);
        assert_str(key, "x");
        assert_int_equal(
            cf_each_connect_result_subs(e, &rest, &tags, &key, &(struct cf_subscribe_result){0}),
            0);
        rest = s.publications;
        assert_int_equal(cf_each_subscribe_result_publications(e, &rest, &pubs, &p), 1);
        rest = p.tags;
        assert_int_equal(cf_each_publication_tags(e, &rest, &subs, &key, &value), 1);
        assert_str(key, "k\n");
        assert_str(value, "v");
        assert_int_equal(cf_each_publication_tags(e, &rest, &subs, &key, &value), 1);
        assert_true(key.n == 0 && value.n == 0);
        assert_int_equal(cf_each_publication_tags(e, &rest, &subs, &key, &value), 0);
        buf_fini(&tags);
        buf_fini(&pubs);
        buf_fini(&subs);
        buf_fini(&out);
        buf_fini(&text);
    }
}

/* Items in JSON as others write them. */
static void foreign_items(void **state)
{
    struct buf text = {0};
    struct str rest = STR_LIT("{ \"a\" : \"1\" ,\t\"\\u0062\":\"\\n\" } "), key, value;

    (void)state;
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 1);
    assert_str(key, "a");
    assert_str(value, "1");
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 1);
    assert_str(key, "b");
    assert_str(value, "\n");
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 0);
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 0);
    static const char *const wrong[] = {"[]",        "x",          "{",
                                        "{\"a\"}",   "{\"a\":}",   "{1:2}",
                                        "{\"a\":1}", "{\"a\":{}}", "{\"\\ud800\":\"\"}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        rest = str_from(wrong[i]);
        assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value),
                         CF_MALFORMED);
    }
    rest = STR_LIT(" { } ");
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 0);
    rest = STR_NULL;
    assert_int_equal(cf_each_publication_tags(CF_JSON, &rest, &text, &key, &value), 0);
    rest = STR_LIT("\x38");
    assert_int_equal(cf_each_publication_tags(CF_PROTOBUF, &rest, &text, &key, &value),
                     CF_MALFORMED);
    buf_fini(&text);
}

/* Whichever allocation fails: what was written stays, and the step can be repeated. */
static void memory(void **state)
{
    static const struct cf_reply head = {.id = 1, .has_presence = true};

    (void)state;
    for (enum cf_encoding e = CF_JSON; e < CF_ENCODING_NR; e++) {
        struct buf expected = {0};

        for (unsigned long k = 0; k < 12; k++) {
            struct cf_client_info info = {.user = STR_LIT("somebody"), .client = STR_LIT("client")};
            struct buf out = {0};
            struct cf_items items;
            size_t start;

            fault_reset();
            if (k > 0)
                fault_fail_at(k);
            while (cf_reply_open(&items, e, &head, &out) == -1)
                assert_int_equal(out.len, 0);
            for (unsigned i = 0; i < 20; i++) {
                size_t before = out.len;

                while (cf_add_presence_result_presence(&items, STR_LIT("key"), &info) == -1)
                    assert_int_equal(out.len, before);
            }
            while (cf_reply_close(&items, &head, &start) == -1)
                ;
            fault_reset();
            if (k == 0)
                assert_int_equal(buf_append(&expected, str_skip(buf_view(&out), start)), 0);
            assert_true(str_equal(buf_view(&expected), str_skip(buf_view(&out), start)));
            buf_fini(&out);
        }
        buf_fini(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_replies),    cmocka_unit_test(large_replies), cmocka_unit_test(nested),
        cmocka_unit_test(foreign_items), cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/items", tests, NULL, NULL);
}
