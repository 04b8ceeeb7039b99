/* fuzz_resp - what a Redis server says.
 *
 * Properties: a value is found at the same place however its bytes come; what was scanned is read
 * to its last byte and not beyond. */
#include "codec/resp.h"
#include "tests/fuzz/fuzz.h"

static void read_all(struct str *rest, uint32_t n)
{
    struct resp_node node;

    for (uint32_t i = 0; i < n; i++) {
        REQUIRE(resp_next(rest, &node));
        REQUIRE(node.text.n == 0 || node.text.p + node.text.n <= rest->p);
        read_all(rest, node.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    while (in.n > 0) {
        struct resp_scan whole = {0}, pieces = {0};
        ssize_t n = resp_scan(&whole, in), m = 0;
        struct str rest;

        for (size_t at = 1; at <= in.n && m == 0; at++)
            m = resp_scan(&pieces, (struct str){.p = in.p, .n = at});
        REQUIRE(n == m);
        if (n <= 0)
            return 0;
        REQUIRE((size_t)n <= in.n);
        rest = (struct str){.p = in.p, .n = (size_t)n};
        read_all(&rest, 1);
        REQUIRE(rest.n == 0);
        rest = (struct str){.p = in.p, .n = (size_t)n};
        resp_skip(&rest, 1);
        REQUIRE(rest.n == 0);
        in = str_skip(in, (size_t)n);
    }
    return 0;
}
