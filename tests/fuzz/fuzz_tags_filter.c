/* fuzz_tags_filter - filters in both encodings, of any tags.
 *
 * The first byte says in which, the second where the input is cut in two: a filter, and tags in
 * Protobuf. Properties: a filter that is taken is within its limits; negated it says the opposite;
 * and, or with one that is always true say what they should. */
#include "codec/centrifuge/centrifuge_internal.h"
#include "codec/tags_filter.h"
#include "tests/fuzz/fuzz.h"

/* A comparison that is true of these tags. */
static struct cf_filter_node truth_of(const struct tags *t)
{
    struct cf_filter_node n = {.cmp = STR_LIT("nex"), .key = STR_LIT("k")};

    for (size_t i = 0; i < t->n; i++) {
        if (str_equal(t->list[i].key, n.key))
            n.cmp = STR_LIT("ex");
    }
    return n;
}

static void put_node(enum cf_encoding e, const struct cf_filter_node *n, struct buf *out)
{
    struct cf_writer w = {.out = out};

    REQUIRE((e == CF_JSON ? cf_json_write(&w, CF_MESSAGE_filter_node, n)
                          : cf_protobuf_write(&w, CF_MESSAGE_filter_node, n)) == 0);
}

/* Tags in Protobuf: views of them. */
static void read_tags(struct str in, struct tags *t)
{
    struct buf none = {0};
    struct str key, value;

    while (cf_each_publication_tags(CF_PROTOBUF, &in, &none, &key, &value) > 0) {
        t->list = realloc(t->list, (t->n + 1) * sizeof(*t->list));
        REQUIRE(t->list != NULL);
        t->list[t->n++] = (struct tag){.key = key, .value = value};
    }
}

/* `{"op":OP,"nodes":[` or its fields around a node. */
static int wrapped(enum cf_encoding e, const char *op, struct str node, bool with_true,
                   const struct tags *t)
{
    struct buf nodes = {0}, out = {0}, truth = {0};
    struct cf_filter_node n = {.op = str_from(op)}, yes = truth_of(t);
    struct tags_filter *f = NULL;
    struct cf_items items;
    int rc;

    cf_items_begin(&items, e, &nodes);
    put_node(e, &yes, &truth);
    if (with_true)
        REQUIRE(cf_add_filter_node_nodes(&items, buf_view(&truth)) == 0);
    REQUIRE(cf_add_filter_node_nodes(&items, node) == 0);
    REQUIRE(cf_items_end(&items) == 0);
    n.nodes = buf_view(&nodes);
    put_node(e, &n, &out);
    rc = tags_filter_new(e, buf_view(&out), &f);
    if (rc == 0)
        rc = tags_filter_match(f, t);
    tags_filter_free(f);
    buf_fini(&nodes);
    buf_fini(&out);
    buf_fini(&truth);
    return rc; /* <0: beyond the limits now */
}

static void check(enum cf_encoding e, struct str node, const struct tags *t)
{
    struct tags_filter *f = NULL;
    bool yes;
    int rc;

    if (tags_filter_new(e, node, &f) < 0)
        return;
    REQUIRE(tags_filter_size(f) <= 16384);
    yes = tags_filter_match(f, t);
    REQUIRE(yes == tags_filter_match(f, t));
    rc = wrapped(e, "not", node, false, t);
    REQUIRE(rc < 0 || rc == !yes);
    rc = wrapped(e, "and", node, true, t);
    REQUIRE(rc < 0 || rc == yes);
    rc = wrapped(e, "or", node, true, t);
    REQUIRE(rc < 0 || rc == 1);
    tags_filter_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = {(const char *)data, size}, node;
    enum cf_encoding e;
    struct tags t = {0};

    if (size < 2)
        return 0;
    e = data[0] & 1 ? CF_PROTOBUF : CF_JSON;
    all = str_skip(all, 2);
    node = (struct str){all.p, MIN(all.n, data[1])};
    read_tags(str_skip(all, node.n), &t);
    check(e, node, &t);
    free(t.list);
    return 0;
}
