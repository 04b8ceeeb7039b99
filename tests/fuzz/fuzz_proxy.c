/* fuzz_proxy - headers of the PROXY protocol.
 *
 * Properties: a decision is the same for all longer inputs; what is handed out lies within the
 * header, which has a bounded size. */
#include "codec/proxy_protocol.h"
#include "fuzz.h"

static bool within(struct str part, const char *p, size_t n)
{
    return part.p == NULL || (part.p >= p && part.p + part.n <= p + n);
}

static void check_header(const struct proxy_header *h, const char *p, size_t n)
{
    REQUIRE(n >= 15 && n <= PROXY_HEADER_MAX && (h->version == 1 || h->version == 2));
    REQUIRE(h->version == 2 || n <= PROXY_V1_MAX);
    REQUIRE(!h->local || !h->addressed);
    REQUIRE(within(h->authority, p, n) && within(h->tls_subject, p, n));
    REQUIRE(h->version == 2 || (h->authority.p == NULL && h->tls_version.p == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    enum close_reason why = CLOSE_NONE, decided_why = CLOSE_NONE;
    size_t consumed = 0;
    int decided = 0;

    for (size_t n = 0; n <= size; n++) {
        struct str in = {p, n};
        struct proxy_header h;
        int rc;

        if (n > 300 && n < size && n % 61 != 0) /* bounds the quadratic work */
            continue;
        rc = proxy_header_parse(&in, &h, &why);
        if (decided != 0) {
            REQUIRE(rc == decided && (rc < 0 ? why == decided_why : n - in.n == consumed));
        } else if (rc != 0) {
            decided = rc;
            decided_why = why;
            consumed = n - in.n;
        }
        if (rc > 0)
            check_header(&h, p, consumed);
        else
            REQUIRE(in.p == p && in.n == n);
        REQUIRE(rc >= 0 || why == CLOSE_PROXY_MISSING || why == CLOSE_PROXY_HEADER);
        REQUIRE(rc != 0 || n < PROXY_HEADER_MAX);
    }
    return 0;
}
