/* codec/centrifuge/tags_filter: what a filter wants, what is none; the same in both encodings. */
#include "cf_text.h"

#include <jansson.h>

#include "codec/centrifuge/centrifuge_internal.h"
#include "codec/centrifuge/tags_filter.c"
#include "tests/lib/fault.h"

/* A filter in JSON as Protobuf. */
static void to_protobuf(struct str json, struct buf *out)
{
    struct buf text = {0}, vals = {0}, nodes = {0}, one = {0}, item_text = {0};
    struct cf_items items;
    struct cf_filter_node n;
    struct cf_writer w = {0};
    struct str rest, item;

    assert_int_equal(cf_decode_filter_node(CF_JSON, json, &text, &n), 0);
    cf_items_begin(&items, CF_PROTOBUF, &vals);
    for (rest = n.vals; cf_each_filter_node_vals(CF_JSON, &rest, &item_text, &item) > 0;)
        assert_int_equal(cf_add_filter_node_vals(&items, item), 0);
    cf_items_begin(&items, CF_PROTOBUF, &nodes);
    for (rest = n.nodes; cf_each_filter_node_nodes(CF_JSON, &rest, &item_text, &item) > 0;) {
        buf_clear(&one);
        to_protobuf(item, &one);
        assert_int_equal(cf_add_filter_node_nodes(&items, buf_view(&one)), 0);
    }
    n.vals = buf_view(&vals);
    n.nodes = buf_view(&nodes);
    w.out = out;
    assert_int_equal(cf_protobuf_write(&w, CF_MESSAGE_filter_node, &n), 0);
    buf_fini(&text);
    buf_fini(&vals);
    buf_fini(&nodes);
    buf_fini(&one);
    buf_fini(&item_text);
}

static bool matches(enum cf_encoding e, struct str filter, struct str tags)
{
    json_t *object = json_loadb(tags.n > 0 ? tags.p : "{}", tags.n > 0 ? tags.n : 2, 0, NULL),
           *value;
    struct tags_filter *f;
    struct tag list[8];
    struct tags t = {.list = list};
    const char *key;
    bool yes;

    assert_int_equal(tags_filter_new(e, filter, &f), 0);
    assert_true(tags_filter_size(f) < 1000);
    assert_non_null(object);
    json_object_foreach(object, key, value)
    {
        list[t.n++] =
            (struct tag){.key = str_from(key), .value = str_from(json_string_value(value))};
    }
    yes = tags_filter_match(f, &t);
    json_decref(object);
    tags_filter_free(f);
    return yes;
}

/* With ' for ", as it reads better. */
static struct str quoted(const char *text, char *to, size_t cap)
{
    size_t n = strlen(text);

    assert_true(n < cap);
    for (size_t i = 0; i < n; i++)
        to[i] = text[i];
    for (size_t i = 0; i < n; i++) {
        if (to[i] == '\'')
            to[i] = '"';
    }
    return (struct str){to, n};
}

struct row {
    const char *filter, *tags;
    bool yes;
};

static void check(const struct row *rows, size_t n)
{
    static char filter[2000], tags[2000];

    for (size_t i = 0; i < n; i++) {
        struct str f = quoted(rows[i].filter, filter, sizeof(filter)),
                   t = quoted(rows[i].tags, tags, sizeof(tags));
        struct buf p = {0};

        to_protobuf(f, &p);
        if (matches(CF_JSON, f, t) != rows[i].yes ||
            matches(CF_PROTOBUF, buf_view(&p), t) != rows[i].yes)
            fail_msg("%s of %s", rows[i].filter, rows[i].tags);
        buf_fini(&p);
    }
}

static void comparisons_of_text(void **state)
{
    static const struct row rows[] = {
        {"{'key':'a','cmp':'eq','val':'1'}", "{'a':'1'}", true},
        {"{'key':'a','cmp':'eq','val':'1'}", "{'a':'1.0'}", false},
        {"{'key':'a','cmp':'eq','val':'1'}", "{'b':'1'}", false},
        {"{'key':'a','cmp':'eq','val':'1'}", "", false},
        {"{'key':'a','cmp':'eq','val':'1'}", "{'a':'1','a':'2'}", false},
        {"{'key':'a','cmp':'neq','val':'1'}", "{'a':'1'}", false},
        {"{'key':'a','cmp':'neq','val':'1'}", "{'a':'2'}", true},
        {"{'key':'a','cmp':'neq','val':'1'}", "{}", true},
        {"{'key':'a','cmp':'in','vals':['1','2']}", "{'a':'2'}", true},
        {"{'key':'a','cmp':'in','vals':['1','2']}", "{'a':'3'}", false},
        {"{'key':'a','cmp':'in','vals':['1','2']}", "{}", false},
        {"{'key':'a','cmp':'in','vals':['']}", "{}", true},
        {"{'key':'a','cmp':'nin','vals':['1','2']}", "{'a':'2'}", false},
        {"{'key':'a','cmp':'nin','vals':['1','2']}", "{'a':'3'}", true},
        {"{'key':'a','cmp':'nin','vals':['1','2']}", "{}", true},
        {"{'key':'a','cmp':'ex'}", "{'a':''}", true},
        {"{'key':'a','cmp':'ex'}", "{'A':''}", false},
        {"{'cmp':'ex'}", "{'':''}", true},
        {"{'key':'a','cmp':'nex'}", "{'a':''}", false},
        {"{'key':'a','cmp':'nex'}", "{'A':''}", true},
        {"{'key':'a','cmp':'sw','val':'xy'}", "{'a':'xyz'}", true},
        {"{'key':'a','cmp':'sw','val':'xy'}", "{'a':'x'}", false},
        {"{'key':'a','cmp':'sw','val':'xy'}", "{}", false},
        {"{'key':'a','cmp':'ew','val':'yz'}", "{'a':'xyz'}", true},
        {"{'key':'a','cmp':'ew','val':'yz'}", "{'a':'yzz'}", false},
        {"{'key':'a','cmp':'ew','val':'yz'}", "{'a':'z'}", false},
        {"{'key':'a','cmp':'ct','val':'y'}", "{'a':'xyz'}", true},
        {"{'key':'a','cmp':'ct','val':'yx'}", "{'a':'xyz'}", false},
        {"{'key':'a','cmp':'ct','val':'y'}", "{'a':''}", false},
        {"{'key':'\\u0061','cmp':'eq','val':'\\n'}", "{'\\u0061':'\\u000a'}", true},
        {"{'key':'a','cmp':'eq','val':'\\u00e9'}", "{'b':'\\n','a':'\\u00e9'}", true},
        {"{'op':'','key':'a','cmp':'eq','val':'1','vals':[],'nodes':[],'x':1}", "{'a':'1'}", true},
        {"{'key':'a','cmp':'eq','val':'1','vals':null}", "{'a':'1'}", true},
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void comparisons_of_numbers(void **state)
{
    static const struct {
        const char *a, *b;
        int order; /* 2: no number */
    } rows[] = {
        {"1", "2", -1},
        {"2", "10", -1},
        {"10", "9.99", 1},
        {"1.0", "1", 0},
        {"01", "1", 0},
        {"-0", "0", 0},
        {"+1", "1", 0},
        {"-1", "1", -1},
        {"-2", "-1", -1},
        {"-1.5", "-1.25", -1},
        {"0.1", "0.09", 1},
        {"0.10", "0.1", 0},
        {"1000000000000000000000000000000", "999", 1},
        {"1000000000000000000000000000000.1", "1000000000000000000000000000000.2", -1},
        {"0.00000000000000000001", "0", 1},
        {"-0.1", "0.1", -1},
        {"100", "99.999", 1},
        {"", "1", 2},
        {"x", "1", 2},
        {"1x", "1", 2},
        {"1.", "1", 2},
        {".5", "1", 2},
        {"1e3", "1", 2},
        {"--1", "1", 2},
        {"-", "1", 2},
        {" 1", "1", 2},
        {"1", "one", 2},
        {"0x1", "1", 2},
        {"1.2.3", "1", 2},
    };
    static const char *const names[] = {"lt", "lte", "gt", "gte"};
    char filter[200], tags[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const bool expected[] = {rows[i].order == -1, rows[i].order == -1 || rows[i].order == 0,
                                 rows[i].order == 1, rows[i].order == 1 || rows[i].order == 0};

        for (unsigned c = 0; c < 4; c++) {
            snprintf(filter, sizeof(filter), "{'key':'n','cmp':'%s','val':'%s'}", names[c],
                     rows[i].b);
            snprintf(tags, sizeof(tags), "{'n':'%s'}", rows[i].a);
            check(&(struct row){filter, tags, expected[c]}, 1);
            check(&(struct row){filter, "{}", false}, 1);
        }
    }
}

#define A  "{'key':'a','cmp':'ex'}"
#define B  "{'key':'b','cmp':'ex'}"
#define NO "{'key':'z','cmp':'ex'}"

static void combinations(void **state)
{
    static const struct row rows[] = {
        {"{'op':'and','nodes':[" A "," B "]}", "{'a':'','b':''}", true},
        {"{'op':'and','nodes':[" A "," B "]}", "{'a':''}", false},
        {"{'op':'and','nodes':[" A "]}", "{'a':''}", true},
        {"{'op':'or','nodes':[" NO "," B "]}", "{'b':''}", true},
        {"{'op':'or','nodes':[" A "," B "]}", "{}", false},
        {"{'op':'not','nodes':[" A "]}", "{'a':''}", false},
        {"{'op':'not','nodes':[" A "]}", "{}", true},
        {"{'op':'not','nodes':[{'op':'not','nodes':[" A "]}]}", "{'a':''}", true},
        {"{'op':'or','nodes':[{'op':'and','nodes':[" A "," NO "]},{'op':'not','nodes':[" NO "]}]}",
         "{'a':''}", true},
        {"{'op':'and','nodes':[{'op':'or','nodes':[" NO "," A "]}," NO "]}", "{'a':''}", false},
        {"{'op':'and','nodes':[{'op':'or','nodes':[" NO ",{'op':'and','nodes':[" A "," B "]}]}," A
         "]}",
         "{'a':'','b':''}", true},
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void refused(void **state)
{
    static const char *const rows[] = {
        "",
        "1",
        "[]",
        "null",
        "{}",
        "{'key':'a'}",
        "{'key':'a','cmp':''}",
        "{'key':'a','cmp':'EQ','val':'1'}",
        "{'key':'a','cmp':'eq'}",
        "{'key':'a','cmp':'eq','val':''}",
        "{'cmp':'eq','val':'1'}",
        "{'key':'a','cmp':'eq','val':1}",
        "{'key':'a','cmp':'eq','val':'1','vals':['1']}",
        "{'key':'a','cmp':'in'}",
        "{'key':'a','cmp':'in','vals':[]}",
        "{'key':'a','cmp':'in','val':'1'}",
        "{'key':'a','cmp':'in','val':'1','vals':['1']}",
        "{'key':'a','cmp':'in','vals':[1]}",
        "{'key':'a','cmp':'in','vals':'1'}",
        "{'cmp':'nin','vals':['1']}",
        "{'key':'a','cmp':'ex','val':'1'}",
        "{'key':'a','cmp':'nex','vals':['1']}",
        "{'op':'xor','nodes':[" A "]}",
        "{'op':'and'}",
        "{'op':'and','nodes':[]}",
        "{'op':'or','nodes':null}",
        "{'op':'not','nodes':[]}",
        "{'op':'not','nodes':[" A "," B "]}",
        "{'op':'and','nodes':[{}]}",
        "{'op':'and','nodes':[null]}",
        "{'op':'and','nodes':[1]}",
        "{'op':'and','nodes':{}}",
        "{'op':'and','nodes':[" A ",{'op':'not'}]}",
        "{'op':1,'nodes':[" A "]}",
        "{'key':'a','cmp':'ex'",
        "{'key':'\\ud800','cmp':'ex'}",
    };
    static char text[500];
    struct tags_filter *f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (tags_filter_new(CF_JSON, quoted(rows[i], text, sizeof(text)), &f) != CF_MALFORMED)
            fail_msg("%s", rows[i]);
    }
    assert_int_equal(tags_filter_new(CF_PROTOBUF, STR_LIT(""), &f), CF_MALFORMED);
    assert_int_equal(tags_filter_new(CF_PROTOBUF, STR_LIT("\x0a\1x"), &f), CF_MALFORMED);
    assert_int_equal(tags_filter_new(CF_PROTOBUF, STR_LIT("\x0a"), &f), CF_MALFORMED);
}

/* n times `each`, between a start and an end. */
static int make_repeated(const char *start, const char *each, unsigned n, const char *between,
                         const char *end)
{
    struct tags_filter *f = NULL;
    struct buf b = {0};
    int rc;

    assert_int_equal(buf_append_lit(&b, start), 0);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(buf_append_lit(&b, i > 0 ? between : ""), 0);
        assert_int_equal(buf_append_lit(&b, each), 0);
    }
    assert_int_equal(buf_append_lit(&b, end), 0);
    rc = tags_filter_new(CF_JSON, buf_view(&b), &f);
    tags_filter_free(f);
    buf_fini(&b);
    return rc;
}

static void limits(void **state)
{
    static const char leaf[] = "{\"cmp\":\"ex\"}",
                      two[] = "{\"op\":\"or\",\"nodes\":[{\"cmp\":\"ex\"}]}";
    struct buf deep = {0};

    (void)state;
    assert_int_equal(make_repeated("{\"op\":\"or\",\"nodes\":[", leaf, 63, ",", "]}"), 0);
    assert_int_equal(make_repeated("{\"op\":\"or\",\"nodes\":[", leaf, 64, ",", "]}"),
                     CF_MALFORMED);
    assert_int_equal(make_repeated("{\"op\":\"or\",\"nodes\":[", two, 31, ",", "]}"), 0);
    assert_int_equal(make_repeated("{\"op\":\"or\",\"nodes\":[", two, 32, ",", "]}"), CF_MALFORMED);
    assert_int_equal(
        make_repeated("{\"key\":\"a\",\"cmp\":\"in\",\"vals\":[", "\"1\"", 256, ",", "]}"), 0);
    assert_int_equal(
        make_repeated("{\"key\":\"a\",\"cmp\":\"in\",\"vals\":[", "\"1\"", 257, ",", "]}"),
        CF_MALFORMED);
    assert_int_equal(make_repeated("{\"cmp\":\"ex\",\"key\":\"", "a", 8192, "", "\"}"), 0);
    assert_int_equal(make_repeated("{\"cmp\":\"ex\",\"key\":\"", "a", 8193, "", "\"}"),
                     CF_MALFORMED);
    for (unsigned depth = 16; depth <= 17; depth++) {
        struct tags_filter *f = NULL;

        buf_clear(&deep);
        for (unsigned i = 1; i < depth; i++)
            assert_int_equal(buf_append_lit(&deep, "{\"op\":\"not\",\"nodes\":["), 0);
        assert_int_equal(buf_append_lit(&deep, leaf), 0);
        for (unsigned i = 1; i < depth; i++)
            assert_int_equal(buf_append_lit(&deep, "]}"), 0);
        assert_int_equal(tags_filter_new(CF_JSON, buf_view(&deep), &f),
                         depth == 16 ? 0 : CF_MALFORMED);
        tags_filter_free(f);
    }
    buf_fini(&deep);
}

/* Of two with the same key the last one counts. */
static void tags_twice(void **state)
{
    struct tag list[] = {{STR_LIT("a"), STR_LIT("1")}, {STR_LIT("a"), STR_LIT("2")}};
    struct tags t = {.list = list, .n = 2};
    struct tags_filter *f;

    (void)state;
    assert_int_equal(
        tags_filter_new(CF_JSON, STR_LIT("{\"key\":\"a\",\"cmp\":\"eq\",\"val\":\"1\"}"), &f), 0);
    assert_false(tags_filter_match(f, &t));
    t.n = 1;
    assert_true(tags_filter_match(f, &t));
    tags_filter_free(f);
}

static void memory(void **state)
{
    static const char filter[] = "{\"key\":\"\\u0061\",\"cmp\":\"in\",\"vals\":[\"\\u0062\"]}";
    struct tags_filter *f = NULL;
    unsigned long k = 1;
    int rc;

    (void)state;
    do {
        fault_fail_at(k++);
        rc = tags_filter_new(CF_JSON, str_from(filter), &f);
        assert_true(rc == 0 || rc == CF_NO_MEMORY);
    } while (rc != 0);
    fault_reset();
    assert_int_equal(k, 4); /* the text, the filter */
    tags_filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons_of_text),
        cmocka_unit_test(comparisons_of_numbers),
        cmocka_unit_test(combinations),
        cmocka_unit_test(refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(tags_twice),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/tags_filter", tests, NULL, NULL);
}
