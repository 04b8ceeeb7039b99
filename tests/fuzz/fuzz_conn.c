/* fuzz_conn - a whole connection: HTTP, upgrade, frames in any order, against a worker and a hub.
 *
 * Input: one byte of choices (bit 0: the admin listener, bit 1: one that wants a header of the PROXY
 * protocol), one that seeds the cuts, then the bytes
 * that the peer sends. Properties: what comes back is well formed, nothing follows a close frame;
 * another client of the channel stays served and gets whole frames; the answers do not depend on how
 * the input was cut, nor on a way that takes and gives little at a time. */
#include "base/buf.h"
#include "base/str.h"
#include "fuzz.h"
#include "sim.h"

#define INPUT_MAX 16384
#define QUIET     8   /* rounds in which nothing moves: there is nothing more to come */
#define LAST      300 /* rounds that wait for that */

#define UPGRADE                                                                                    \
    "GET /ws/lobby HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"           \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

struct heard { /* of one connection, by kind: how they interleave is free */
    struct buf http, data, pongs, close;
    unsigned closes;
};

static void keep(struct buf *b, struct str s)
{
    REQUIRE(buf_append(b, s) == 0);
}

/* The way may answer "later" although there is something. */
static void read_all(struct memory_end *end, struct buf *in)
{
    unsigned later = 0;

    while (later < 60) {
        ssize_t n;

        REQUIRE(buf_reserve(in, 65536) == 0);
        n = memory_read(end, in->p + in->len, 65536);
        if (n < 0)
            break;
        later = n > 0 ? 0 : later + 1;
        in->len += (size_t)n;
    }
}

/* False: it has been closed. */
static bool say(struct memory_end *end, struct str text)
{
    while (text.n > 0) {
        ssize_t n = memory_write(end, text.p, text.n);

        if (n < 0)
            return false;
        text = str_skip(text, (size_t)n);
    }
    return true;
}

/* Until all that comes has come. */
static void finish(struct sim *s, struct memory_end *end, struct buf *got)
{
    unsigned quiet = 0;

    for (unsigned i = 0; i < LAST && quiet < QUIET; i++) {
        size_t before = got->len;
        bool moved = sim_rounds(s, 1);

        read_all(end, got);
        quiet = moved || got->len > before ? 0 : quiet + 1;
    }
}

/* But for the time in it. */
static void keep_response(struct buf *b, struct str response)
{
    const char *date = memmem(response.p, response.n, "\r\nDate: ", 8);
    size_t before = date == NULL ? 0 : (size_t)(date - response.p);

    keep(b, (struct str){response.p, before});
    response = str_skip(response, before);
    keep(b,
         str_skip(response, date == NULL ? 0 : strlen("\r\nDate: Thu, 01 Jan 1970 00:16:40 GMT")));
}

/* Responses, up to the 101; what follows. An answer to HEAD has a length and no body. */
static struct str hear_http(struct str in, struct heard *h, bool *upgraded)
{
    *upgraded = false;
    while (in.n > 0 && !*upgraded) {
        const char *end = memmem(in.p, in.n, "\r\n\r\n", 4), *length;
        size_t head, body = 0;

        REQUIRE(in.n > 13 && memcmp(in.p, "HTTP/1.1 ", 9) == 0 && end != NULL);
        head = (size_t)(end - in.p) + 4;
        length = memmem(in.p, head, "\r\nContent-Length: ", 18);
        if (length != NULL)
            body = strtoul(length + 18, NULL, 10);
        if (body > 0 && (in.n == head || (in.n > head + 9 && !memcmp(in.p + head, "HTTP/1.1 ", 9))))
            body = 0;
        REQUIRE(in.n >= head + body);
        *upgraded = memcmp(in.p + 9, "101", 3) == 0;
        if (memcmp(in.p + 9, "100", 3) != 0) /* said only while the body has not come */
            keep_response(&h->http, (struct str){in.p, head + body});
        in = str_skip(in, head + body);
    }
    return in;
}

static void hear_frame(uint8_t first, struct str payload, struct heard *h)
{
    REQUIRE(h->closes == 0 && (first & 0xf0) == 0x80);
    if (first == 0x88) {
        h->closes++;
        keep(&h->close, payload);
    } else if (first == 0x8a) {
        REQUIRE(payload.n <= 125);
        keep(&h->pongs, payload);
    } else {
        REQUIRE(first == 0x81 || first == 0x82);
        REQUIRE(buf_append_char(&h->data, (char)first) == 0);
        keep(&h->data, payload);
    }
}

static void hear_frames(struct str in, struct heard *h)
{
    while (in.n > 0) {
        const uint8_t *p = (const uint8_t *)in.p;
        size_t head = 2, n;

        REQUIRE(in.n >= 2 && p[1] < 127); /* the input is too short for more */
        n = p[1];
        if (n == 126) {
            REQUIRE(in.n >= 4);
            n = (size_t)p[2] << 8 | p[3];
            head = 4;
            REQUIRE(n > 125);
        }
        REQUIRE(in.n >= head + n);
        hear_frame(p[0], (struct str){in.p + head, n}, h);
        in = str_skip(in, head + n);
    }
}

static void hear(struct str in, struct heard *h)
{
    bool upgraded;
    struct str rest = hear_http(in, h, &upgraded);

    REQUIRE(upgraded || rest.n == 0);
    hear_frames(rest, h);
}

static void forget(struct heard *h)
{
    buf_fini(&h->http);
    buf_fini(&h->data);
    buf_fini(&h->pongs);
    buf_fini(&h->close);
}

/* cuts 0: the input in one piece. */
static void converse(struct str in, unsigned choices, uint32_t cuts, struct heard *h)
{
    struct sim_plan plan = {.seed = 1,
                            .workers = 1,
                            .channels = 1,
                            .ring_size = 1 << 17,
                            .queue_max = 1 << 20,
                            .output_limit = 1 << 20,
                            .longest_tick_ns = 1,
                            .strangers = true};
    struct memory_end *other, *end;
    struct heard beside = {0};
    struct buf got = {0}, got_beside = {0};
    struct sim *s;

    if (cuts != 0)
        plan.way = (struct memory_plan){.short_each = 2, .later_each = 3};
    s = sim_new(&plan);
    other = sim_connect(s, 0, false);
    REQUIRE(say(other, STR_LIT(UPGRADE)));
    finish(s, other, &got_beside);
    end = choices & 2 ? sim_connect_proxied(s, 0) : sim_connect(s, 0, choices & 1);
    while (in.n > 0) {
        size_t n = cuts == 0 ? in.n : 1 + (cuts >> 16) % (1 + in.n / 8);

        cuts = cuts == 0 ? 0 : (cuts * 1103515245u + 12345u) | 1;
        if (!say(end, (struct str){in.p, n}))
            break; /* it has been closed */
        in = str_skip(in, n);
        (void)sim_rounds(s, 1);
        read_all(end, &got);
    }
    finish(s, end, &got);
    memory_shut(end);
    finish(s, end, &got);
    finish(s, other, &got_beside);
    hear(buf_view(&got), h);
    hear(buf_view(&got_beside), &beside);
    REQUIRE(memcmp(beside.http.p, "HTTP/1.1 101", 12) == 0 && beside.closes == 0);
    forget(&beside);
    buf_fini(&got);
    buf_fini(&got_beside);
    memory_close(end);
    memory_close(other);
    (void)sim_rounds(s, QUIET);
    sim_free(s);
}

/* An incomplete head is not looked at with every byte (proto/http.c), so its refusal may be missing
 * when the peer ends. */
static bool same_answers(struct str a, struct str b)
{
    struct str less = a.n < b.n ? a : b, more = a.n < b.n ? b : a, rest = str_skip(more, less.n);

    return (less.n == 0 || memcmp(less.p, more.p, less.n) == 0) &&
           (rest.n == 0 || (rest.n > 10 && memcmp(rest.p, "HTTP/1.1 4", 10) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole = {0}, cut = {0};
    struct str in;

    if (size < 2 || size > INPUT_MAX)
        return 0;
    in = (struct str){(const char *)data + 2, size - 2};
    converse(in, data[0], 0, &whole);
    converse(in, data[0], (uint32_t)data[1] * 2654435761u | 1, &cut);
    REQUIRE(same_answers(buf_view(&whole.http), buf_view(&cut.http)));
    REQUIRE(str_equal(buf_view(&whole.data), buf_view(&cut.data)));
    REQUIRE(str_equal(buf_view(&whole.pongs), buf_view(&cut.pongs)));
    REQUIRE(whole.closes == cut.closes && str_equal(buf_view(&whole.close), buf_view(&cut.close)));
    forget(&whole);
    forget(&cut);
    return 0;
}
