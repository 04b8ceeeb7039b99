/* fuzz_fossil - deltas.
 *
 * The first byte says where the input is cut in two. Properties: what is made of the two is applied
 * and gives the second; no limit is exceeded; of valid text it is valid text; the second part taken
 * as a delta of the first is refused or gives as many bytes as it says. */
#include "base/utf8.h"
#include "codec/fossil.h"
#include "tests/fuzz/fuzz.h"

static void check_make(struct str source, struct str target, size_t max)
{
    struct buf work = {0}, delta = {0}, back = {0};
    int rc = fossil_create(source, target, max, &work, &delta);

    REQUIRE(rc >= 0 && (rc > 0 || delta.len == 0));
    if (rc > 0) {
        REQUIRE(delta.len < max);
        REQUIRE(fossil_apply(source, buf_view(&delta), target.n, &back) == 0);
        REQUIRE(str_equal(buf_view(&back), target));
        if (utf8_valid(target))
            REQUIRE(utf8_valid(buf_view(&delta)));
        if (target.n > 0)
            REQUIRE(fossil_apply(source, buf_view(&delta), target.n - 1, &back) == -1);
    }
    buf_fini(&work);
    buf_fini(&delta);
    buf_fini(&back);
}

static void check_apply(struct str source, struct str delta)
{
    struct buf out = {0};

    REQUIRE(buf_append_lit(&out, "before") == 0);
    if (fossil_apply(source, delta, 4096, &out) == 0) {
        REQUIRE(out.len <= 6 + 4096);
        check_make(source, str_skip(buf_view(&out), 6), SIZE_MAX / 2);
    } else {
        REQUIRE(out.len == 6);
    }
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = {(const char *)data, size}, first, second;

    if (size == 0)
        return 0;
    all = str_skip(all, 1);
    first = (struct str){all.p, MIN(all.n, data[0])};
    second = str_skip(all, first.n);
    check_make(first, second, SIZE_MAX / 2);
    check_make(second, first, SIZE_MAX / 2);
    check_make(first, second, second.n);
    check_apply(first, second);
    return 0;
}
