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
static int ws_close_frame(size_t start, bool binary, struct buf *out)
{
    uint8_t header[WS_HEADER_MAX];
    size_t body = start + WS_SERVER_HEADER_MAX, len = out->len - body;
    size_t n = ws_tx_header(binary ? WS_OP_BINARY : WS_OP_TEXT, len, header);

    memcpy(out->p + start, header, n);
    if (n < WS_SERVER_HEADER_MAX)
        memmove(out->p + start + n, out->p + body, len);
    out->len = start + n + len;
    return 0;
}

static int ws_close_text(size_t start, bool binary UNUSED, struct buf *out)
{
    return ws_close_frame(start, false, out);
}

static int ws_close_binary(size_t start, bool binary UNUSED, struct buf *out)
{
    return ws_close_frame(start, true, out);
}

/* One after the other: the message says how long it is. */
static int bare_open(struct buf *out UNUSED)
{
    return 0;
}

static int bare_close(size_t start UNUSED, bool binary UNUSED, struct buf *out UNUSED)
{
    return 0;
}

static int line_close(size_t start UNUSED, bool binary UNUSED, struct buf *out)
{
    return buf_append_char(out, '\n');
}

/* HTML, 9.2.6: an event of one line. */
static int event_open(struct buf *out)
{
    return buf_append_lit(out, "data: ");
}

static int event_close(size_t start UNUSED, bool binary UNUSED, struct buf *out)
{
    return buf_append_lit(out, "\n\n");
}

static const struct {
    int (*open)(struct buf *out);
    int (*close)(size_t start, bool binary, struct buf *out);
} framings[FRAMING_NR] = {
    [FRAMING_WS] = {.open = ws_open_frame, .close = ws_close_frame},
    [FRAMING_WS_TEXT] = {.open = ws_open_frame, .close = ws_close_text},
    [FRAMING_WS_BINARY] = {.open = ws_open_frame, .close = ws_close_binary},
    [FRAMING_BARE] = {.open = bare_open, .close = bare_close},
    [FRAMING_LINE] = {.open = bare_open, .close = line_close},
    [FRAMING_EVENT] = {.open = event_open, .close = event_close},
};

int framing_open(enum framing f, struct buf *out)
{
    return framings[f].open(out);
}

int framing_close(enum framing f, size_t start, bool binary, struct buf *out)
{
    return framings[f].close(start, binary, out);
}
