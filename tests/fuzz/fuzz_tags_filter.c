/* fuzz_tags_filter - filters and tags, in both encodings.
 *
 * The first byte says in which, and where the input is cut in two: a filter and tags. Properties: a
 * filter that is taken is within its limits; negated it says the opposite; and, or with one that is
 * always true say what they should; tags that are read are found. */
#include "codec/json.h"
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
    REQUIRE(cf_encode_filter_node(e, &yes, &truth) == 0);
    if (with_true)
        REQUIRE(cf_add_filter_node_nodes(&items, buf_view(&truth)) == 0);
    REQUIRE(cf_add_filter_node_nodes(&items, node) == 0);
    REQUIRE(cf_items_end(&items) == 0);
    n.nodes = buf_view(&nodes);
    REQUIRE(cf_encode_filter_node(e, &n, &out) == 0);
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
    if (tags_read(&t, e, str_skip(all, node.n)) < 0)
        REQUIRE(t.n == 0);
    check(e, node, &t);
    tags_fini(&t);
    return 0;
}
