/* fuzz_proxy - what a proxy says of its client: headers of the PROXY protocol, and header fields.
 *
 * Properties of a header: a decision is the same for all longer inputs; what is handed out lies
 * within the header, which has a bounded size. Of fields: whatever a client has written, on the
 * line to which the proxy appends or on one of its own, the client is who the proxy says, or the
 * request is refused. */
#include "base/buf.h"
#include "codec/forwarded.h"
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

/* The proxy's own words about the client at 2001:db8::9. */
static const struct {
    enum forwarded_field field;
    const char *name, *appended;
} proxies[] = {
    {FORWARDED_X_FORWARDED_FOR, "X-Forwarded-For", "2001:db8::9"},
    {FORWARDED_X_FORWARDED_FOR, "X-Forwarded-For", "[2001:db8::9]:4711"},
    {FORWARDED_RFC_7239, "Forwarded", "for=\"[2001:db8::9]\""},
    {FORWARDED_RFC_7239, "Forwarded", "proto=https;for=\"[2001:db8::9]:4711\";by=_x"},
};

static void check_client(const struct http_request *r, enum forwarded_field field)
{
    static const uint8_t real[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};
    static struct networks trusted;
    struct forwarded_client c;
    int rc;

    if (trusted.n == 0)
        networks_read(&trusted, "10.0.0.0/8\n192.0.2.1");
    rc = forwarded_client(r, field, &trusted, &c);
    REQUIRE(rc != 0 && (rc > 0 || field == FORWARDED_RFC_7239));
    REQUIRE(rc < 0 || memcmp(c.address, real, 16) == 0);
}

static void check_fields(struct str said)
{
    static struct http_request r;

    for (size_t i = 0; i < said.n; i++)
        if ((uint8_t)said.p[i] < ' ' && said.p[i] != '\t')
            return; /* no field has it */
    for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++) {
        struct str name = str_from(proxies[i].name), own = str_from(proxies[i].appended);
        struct buf line = {0};

        REQUIRE(buf_append(&line, said) == 0 && buf_append_lit(&line, ", ") == 0 &&
                buf_append(&line, own) == 0);
        r.nfields = 1;
        r.fields[0] = (struct http_field){name, buf_view(&line)};
        check_client(&r, proxies[i].field);
        r.nfields = 2;
        r.fields[0].value = said;
        r.fields[1] = (struct http_field){name, own};
        check_client(&r, proxies[i].field);
        buf_fini(&line);
    }
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
    check_fields((struct str){p, size});
    return 0;
}
