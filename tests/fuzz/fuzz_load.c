/* fuzz_load - what roostload reads from a server it does not know, and from its command line.
 *
 * The first byte chooses. Adapters: whole, and cut into two frames at a place that the second byte
 * names, a stream gives the same events; a payload lies within what was read; every call gets
 * further. The page of metrics, URLs and thresholds: what is accepted lies within the text. */
#include "cmd/roostload/adapter.h"
#include "cmd/roostload/adapter_centrifuge.c"
#include "cmd/roostload/adapter_mqtt.c"
#include "cmd/roostload/adapter_nats.c"
#include "cmd/roostload/adapter_raw.c"
#include "cmd/roostload/failif.c"
#include "cmd/roostload/hdr.c"
#include "cmd/roostload/hmac_token.c"
#include "cmd/roostload/loopback.c"
#include "cmd/roostload/payload.c"
#include "cmd/roostload/sample.c"
#include "cmd/roostload/scrape.c"
#include "cmd/roostload/shared.c"
#include "cmd/roostload/url.c"
#include "tests/fuzz/fuzz.h"

static bool within(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* Appends what the adapter says of a frame: a letter for each event, payloads in full. What is left
 * of a message stays in partial. Returns false when it refuses. */
static bool feed(const struct adapter *a, struct buf *partial, struct str frame, struct buf *events)
{
    static const char letters[] = {'n', 'r', 'm', 'h', 'a', '\0', 'x'};
    struct adapter_position position = {0};
    const struct options o = {.protocol = a->protocol};
    struct adapter_user u = {.o = &o, .position = &position};
    struct buf reply = {0}, left = {0};
    enum adapter_event e;
    struct str rest, payload = STR_NULL, all;

    REQUIRE(buf_append(partial, frame) == 0);
    rest = all = partial->len > 0 ? buf_view(partial) : STR_LIT("");
    do {
        struct str before = rest, held = u.held;

        e = a->receive(&u, &rest, &payload, &reply);
        REQUIRE(rest.p == NULL || (within(rest, before) && rest.n <= before.n));
        REQUIRE(e == ADAPTER_MORE || e == ADAPTER_REFUSED || rest.p == NULL || rest.n < before.n ||
                held.p != NULL);
        REQUIRE(e != ADAPTER_MORE || (a->stream && rest.n > 0));
        if (e != ADAPTER_MORE && e != ADAPTER_NOTHING)
            REQUIRE(buf_append_char(events, letters[e]) == 0);
        if (e == ADAPTER_MESSAGE) {
            REQUIRE(within(payload, all));
            REQUIRE(buf_append(events, payload) == 0);
        }
    } while (e != ADAPTER_MORE && e != ADAPTER_REFUSED && (rest.p != NULL || u.held.p != NULL));
    if (e == ADAPTER_MORE)
        REQUIRE(buf_append(&left, rest) == 0);
    buf_fini(partial);
    *partial = left;
    buf_fini(&reply);
    return e != ADAPTER_REFUSED;
}

static void check_adapter(const struct adapter *a, uint8_t at, struct str in)
{
    struct buf whole = {0}, cut = {0}, partial = {0};
    size_t first = MIN((size_t)at, in.n);
    bool good = feed(a, &partial, in, &whole), goes_on;

    buf_fini(&partial);
    partial = (struct buf){0};
    if (a->stream) {
        goes_on = feed(a, &partial, (struct str){in.p, first}, &cut) &&
                  feed(a, &partial, str_skip(in, first), &cut);
        REQUIRE(good == goes_on);
        REQUIRE(str_equal(buf_view(&whole), buf_view(&cut)));
        buf_fini(&partial);
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

static void check_url(struct str in)
{
    const char *why = NULL;
    struct url u;

    if (url_split(in, STR_LIT("ws://"), STR_LIT("80"), &u, &why) == 0) {
        REQUIRE(u.host.n > 0 && within(u.host, in) && within(u.path, in));
        REQUIRE(u.path.n == 0 || u.path.p[0] == '/');
    }
    REQUIRE(why != NULL);
}

static void check_threshold(struct str in)
{
    static const struct load_metrics nothing;
    struct failif out;
    char err[256];

    if (failif_check(in, SCENARIO_ECHO, &nothing, -1, &out, err, sizeof(err)) == 0)
        REQUIRE(out.value >= 0);
    else
        REQUIRE(err[0] != '\0');
}

static void check_payload(struct str in)
{
    struct load_metrics m = {0};
    struct seen s = {0};
    struct payload p;

    if (payload_read(in, &p) == 0) {
        char again[PAYLOAD_MIN];

        payload_write(&p, again, sizeof(again));
        REQUIRE(memcmp(again, in.p, sizeof(again)) == 0);
    }
    /* Each byte a sequence: none is lost and come at once. */
    for (size_t i = 0; i < in.n; i++) {
        uint32_t sequence = ((uint8_t)in.p[i] + 1u) * (i % 16 == 0 ? 3 : 1);
        bool late = sequence < s.last, was_missing = late && m.gaps > 0;
        uint64_t gaps = m.gaps;
        int rc = seen_add(&s, sequence, &m);

        REQUIRE(rc >= 0 && sequence <= s.last);
        REQUIRE(!late || (rc == 1 ? was_missing && m.gaps == gaps - 1 : m.gaps == gaps));
    }
    seen_fini(&s);
    REQUIRE(m.gaps <= 768);
    REQUIRE(m.duplicates + m.reordered <= in.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct adapter *const tried[] = {&adapter_raw, &adapter_centrifuge_json,
                                                  &adapter_mqtt, &adapter_nats};
    struct str in;
    struct sample s = {0};

    if (size < 2)
        return 0;
    in = (struct str){(const char *)data + 2, size - 2};
    switch (data[0] % 8) {
    case 4:
        check_url(in);
        break;
    case 5:
        check_threshold(in);
        break;
    case 6:
        check_payload(in);
        break;
    case 7:
        sample_prometheus(in, &s);
        break;
    default:
        check_adapter(data[0] >= 128 ? &adapter_centrifuge_protobuf : tried[data[0] % 4], data[1],
                      in);
        break;
    }
    return 0;
}
