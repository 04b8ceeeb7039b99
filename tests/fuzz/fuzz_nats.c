/* fuzz_nats - what a NATS server says.
 *
 * Properties: an item is found at the same place and means the same however its bytes come; what it
 * shows lies within its bytes; a token that is read as a name is the one that the name is written as. */
#include "codec/nats.h"
#include "tests/fuzz/fuzz.h"

static bool within(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void look(struct str text)
{
    struct buf url = {0};
    struct nats_info info;

    if (nats_read_info(text, &info) == 0)
        while (nats_next_url(&info.urls, &url))
            buf_clear(&url);
    buf_fini(&url);
}

static void read_name(struct str token)
{
    struct buf name = {0}, again = {0};

    if (nats_unescape(&name, token) == 0) {
        REQUIRE(nats_escape(&again, buf_view(&name)) == 0);
        REQUIRE(str_equal(buf_view(&again), token));
        REQUIRE(nats_subject_valid(token));
    }
    buf_fini(&name);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct buf token = {0};

    REQUIRE(nats_escape(&token, in) == 0);
    read_name(buf_view(&token));
    buf_fini(&token);
    while (in.n > 0) {
        struct nats_scan whole = {0}, pieces = {0};
        struct nats_item item, same;
        ssize_t n = nats_scan(&whole, in, &item), m = 0;
        struct str all;

        for (size_t at = 1; at <= in.n && m == 0; at++)
            m = nats_scan(&pieces, (struct str){.p = in.p, .n = at}, &same);
        REQUIRE(n == m);
        if (n <= 0)
            return 0;
        REQUIRE((size_t)n <= in.n);
        all = (struct str){.p = in.p, .n = (size_t)n};
        REQUIRE(item.op == same.op && str_equal(item.payload, same.payload));
        REQUIRE(within(item.text, all) && within(item.subject, all) && within(item.sid, all));
        REQUIRE(within(item.reply, all) && within(item.headers, all) && within(item.payload, all));
        if (item.op == NATS_INFO)
            look(item.text);
        if (item.op == NATS_MSG)
            read_name(item.subject);
        in = str_skip(in, (size_t)n);
    }
    return 0;
}
