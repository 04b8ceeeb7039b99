/* fuzz_json - JSON text, its members, elements and strings, and UTF-8.
 *
 * Properties: what is accepted is taken apart into values that are accepted, too, and lie within
 * it; a prefix is refused at its end or where the whole is; strings survive writing and reading;
 * UTF-8 does not depend on splits. */
#include "base/utf8.h"
#include "codec/json.h"
#include "tests/fuzz/fuzz.h"

static bool within(struct str part, struct str whole)
{
    return part.n > 0 && part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

static void check_string(const struct json_value *v)
{
    struct buf text = {0}, again = {0}, back = {0};
    struct json_value w;

    if (json_string(v, &text) == 0) {
        REQUIRE(utf8_valid(buf_view(&text)));
        REQUIRE(json_string_equal(v, buf_view(&text)));
        REQUIRE(json_append_string(&again, buf_view(&text)) == 0);
        REQUIRE(json_parse(buf_view(&again), &w, NULL) == 0 && w.type == JSON_STRING);
        REQUIRE(json_string(&w, &back) == 0);
        REQUIRE(str_equal(buf_view(&text), buf_view(&back)));
        if (text.len > 0)
            REQUIRE(!json_string_equal(v, (struct str){text.p, text.len - 1}));
    }
    buf_fini(&text);
    buf_fini(&again);
    buf_fini(&back);
}

/* One level; what is inside is checked as a text of its own. Returns the number of inner values. */
static size_t check_value(const struct json_value *v)
{
    struct str rest = v->raw;
    struct json_value key, inner, same;
    size_t n = 0, at;
    uint64_t u;

    while (v->type == JSON_OBJECT ? json_member(&rest, &key, &inner)
                                  : json_element(&rest, &inner)) {
        n++;
        REQUIRE(within(inner.raw, v->raw));
        REQUIRE(json_parse(inner.raw, &same, &at) == 0);
        REQUIRE(same.type == inner.type && str_equal(same.raw, inner.raw));
        if (inner.type == JSON_STRING)
            check_string(&inner);
        if (v->type == JSON_OBJECT) {
            REQUIRE(within(key.raw, v->raw) && key.type == JSON_STRING);
            check_string(&key);
        }
    }
    if (json_u64(v, &u) == 0)
        REQUIRE(v->type == JSON_NUMBER && v->raw.p[0] != '-');
    return n;
}

static void check_prefixes(struct str in, int whole, size_t whole_at)
{
    struct json_value v;

    for (size_t n = 0; n < in.n && n < 200; n++) {
        size_t at = SIZE_MAX;

        if (json_parse((struct str){in.p, n}, &v, &at) == -1)
            REQUIRE(at == n || (whole == -1 && at == whole_at));
    }
}

static void check_utf8(struct str in)
{
    uint32_t whole = utf8_check(UTF8_START, in), at = UTF8_START;

    for (size_t i = 0; i < in.n; i++)
        at = utf8_check(at, (struct str){in.p + i, 1});
    REQUIRE(at == whole);
    for (size_t i = 0; i < in.n; i += 1 + in.n / 16) {
        at = utf8_check(UTF8_START, (struct str){in.p, i});
        REQUIRE(utf8_check(at, (struct str){in.p + i, in.n - i}) == whole);
    }
}

/* Written in pieces it is the same. */
static void check_pieces(struct str in, struct str whole)
{
    size_t max = 4 + in.n % 61;
    struct buf b = {0};

    while (in.n > 0) {
        struct str piece = utf8_cut(in, max);

        REQUIRE(piece.n > 0 && json_append_text(&b, piece) == 0);
        in = str_skip(in, piece.n);
    }
    REQUIRE(str_equal(buf_view(&b), whole));
    buf_fini(&b);
}

/* Any bytes can be written as a string, and then read. */
static void check_append(struct str in)
{
    struct buf b = {0};
    struct json_value v;

    REQUIRE(json_append_string(&b, in) == 0);
    REQUIRE(json_parse(buf_view(&b), &v, NULL) == 0 && v.type == JSON_STRING);
    REQUIRE(json_string_equal(&v, in) == utf8_valid(in));
    check_pieces(in, str_skip((struct str){b.p, b.len - 1}, 1));
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct json_value v;
    size_t at = SIZE_MAX;
    int rc;

    if (size == 0)
        return 0;
    check_utf8(in);
    check_append(in);
    rc = json_parse(in, &v, &at);
    check_prefixes(in, rc, at);
    if (rc == -1) {
        REQUIRE(at <= size);
        return 0;
    }
    REQUIRE(within(v.raw, in) && utf8_valid(in));
    if (v.type == JSON_STRING)
        check_string(&v);
    check_value(&v);
    return 0;
}
