/* tests/bench/ingest.c - feeds masked text frames to the receive side, as a worker does.
 *
 * usage: ingest SIZE COUNT ascii|cyrillic PIECE
 * COUNT frames with SIZE bytes of payload; a read brings at most PIECE bytes of one of them.
 * Run under callgrind with --toggle-collect=ws_rx_next: the copy that stands for recv() is then not
 * counted. Ends with an error when a message does not come out as it went in. */
#include "codec/ws_rx.h"
#include "codec/ws_tx.h"

#define SIZE_MAX_BYTES (1 << 20)

static void die(const char *what)
{
    fprintf(stderr, "ingest: %s\n", what);
    exit(1);
}

static size_t number(const char *text, size_t most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n == 0 || n > most)
        die("not a number in range");
    return (size_t)n;
}

/* Text of exactly n bytes. */
static void fill(char *p, size_t n, bool cyrillic)
{
    static const char ascii[] = "the quick brown fox jumps over the lazy dog, ";
    static const char two_bytes[] = "\xd1\x81\xd1\x8a\xd0\xb5\xd1\x88\xd1\x8c ";
    const char *from = cyrillic ? two_bytes : ascii;
    size_t len = cyrillic ? sizeof(two_bytes) - 1 : sizeof(ascii) - 1, whole = n / len * len;

    for (size_t i = 0; i < whole; i++)
        p[i] = from[i % len];
    memset(p + whole, '.', n - whole);
}

static void receive(struct ws_rx_pool *pool, struct str in, size_t piece, struct str want)
{
    static const struct ws_rx_limits limits = {.frame = SIZE_MAX_BYTES, .message = SIZE_MAX_BYTES};
    struct ws_rx rx = {0};
    struct ws_item item;
    enum close_reason why;
    int rc = 0;

    while (in.n > 0 && rc == 0) {
        struct str some = {.p = in.p, .n = MIN(in.n, piece)};

        in = str_skip(in, some.n);
        rc = ws_rx_next(&rx, pool, &limits, &some, &item, &why);
    }
    if (rc <= 0 || in.n > 0 || item.kind != WS_ITEM_TEXT || !str_equal(item.data, want))
        die("the message is not what was sent");
}

int main(int argc, char **argv)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    static char text[SIZE_MAX_BYTES], scratch[SIZE_MAX_BYTES + 64];
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, SIZE_MAX_BYTES * UINT64_C(2));
    struct buf frame = {0};
    struct str payload = {.p = text};
    size_t count, piece;

    if (argc != 5)
        die("usage: ingest SIZE COUNT ascii|cyrillic PIECE");
    payload.n = number(argv[1], SIZE_MAX_BYTES);
    count = number(argv[2], 1000000000);
    piece = number(argv[4], SIZE_MAX_BYTES);
    fill(text, payload.n, strcmp(argv[3], "cyrillic") == 0);
    if (ws_tx_masked(WS_OP_TEXT, payload, key, &frame) == -1)
        die("no memory");
    while (count-- > 0) {
        memcpy(scratch, frame.p, frame.len);
        receive(pool, (struct str){.p = scratch, .n = frame.len}, piece, payload);
    }
    buf_fini(&frame);
    ws_rx_pool_free(pool);
    return 0;
}
