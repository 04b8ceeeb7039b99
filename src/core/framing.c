/* core/framing.c - the framings of tbl/variants.def. */
#include "core/framing.h"

#include "codec/ws_tx.h"

#define WS_SERVER_HEADER_MAX 10 /* of an unmasked frame */

static int ws_open_frame(struct buf *out)
{
    if (buf_reserve(out, WS_SERVER_HEADER_MAX) == -1)
        return -1;
    out->len += WS_SERVER_HEADER_MAX;
    return 0;
}

/* RFC 6455 §5.2: the header's length depends on the payload's, so short ones are moved down. */
static void ws_close_frame(size_t start, bool binary, struct buf *out)
{
    uint8_t header[WS_HEADER_MAX];
    size_t body = start + WS_SERVER_HEADER_MAX, len = out->len - body;
    size_t n = ws_tx_header(binary ? WS_OP_BINARY : WS_OP_TEXT, len, header);

    memcpy(out->p + start, header, n);
    if (n < WS_SERVER_HEADER_MAX)
        memmove(out->p + start + n, out->p + body, len);
    out->len = start + n + len;
}

static void ws_close_text(size_t start, bool binary UNUSED, struct buf *out)
{
    ws_close_frame(start, false, out);
}

static void ws_close_binary(size_t start, bool binary UNUSED, struct buf *out)
{
    ws_close_frame(start, true, out);
}

static const struct {
    int (*open)(struct buf *out);
    void (*close)(size_t start, bool binary, struct buf *out);
} framings[FRAMING_NR] = {
    [FRAMING_WS] = {.open = ws_open_frame, .close = ws_close_frame},
    [FRAMING_WS_TEXT] = {.open = ws_open_frame, .close = ws_close_text},
    [FRAMING_WS_BINARY] = {.open = ws_open_frame, .close = ws_close_binary},
};

int framing_open(enum framing f, struct buf *out)
{
    return framings[f].open(out);
}

void framing_close(enum framing f, size_t start, bool binary, struct buf *out)
{
    framings[f].close(start, binary, out);
}
