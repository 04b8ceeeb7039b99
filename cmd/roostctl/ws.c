/* cmd/roostctl/ws.c - a small WebSocket client that waits. */
#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"
#include "codec/http.h"
#include "codec/ws_tx.h"
#include "ctl.h"

#define HEAD_MAX    16384
#define PARTIAL_MAX ((uint64_t)64 * 1024 * 1024)

static const char handshake_key[] = "cm9vc3RjdGwtaGFuZHNoYQ==";

static int send_handshake(struct dialed *d, const char *path)
{
    struct buf out = {0};
    int rc = buf_printf(&out,
                        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: "
                        "Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
                        path, ctl.authority, handshake_key);

    if (ctl.key[0] != '\0')
        rc |= buf_printf(&out, "X-API-Key: %s\r\n", ctl.key);
    rc |= buf_append_lit(&out, "\r\n");
    if (rc == 0)
        rc = dial_send(d, buf_view(&out), &ctl_patience);
    buf_fini(&out);
    return rc;
}

/* Reads the response head; what follows it stays in ws->in. Status, or -1. */
static int read_handshake(struct ctl_ws *ws)
{
    struct http_response r;
    enum close_reason why;
    size_t n = 0;

    while (n < HEAD_MAX) {
        ssize_t got;
        int rc;

        got = dial_recv(&ws->peer, ws->buffer + n, HEAD_MAX - n, &ctl_patience);
        if (got <= 0)
            return -1;
        n += (size_t)got;
        ws->in = (struct str){ws->buffer, n};
        rc = http_response_final(&ws->in, HEAD_MAX, &r, &why);
        if (rc < 0)
            return -1;
        if (rc > 0)
            return r.status;
    }
    return -1;
}

int ctl_ws_open(struct ctl_ws *ws, const char *path, bool quiet)
{
    int status;

    memset(ws, 0, offsetof(struct ctl_ws, buffer));
    if (ctl_connect(&ws->peer, quiet) == -1)
        return -1;
    status = send_handshake(&ws->peer, path) == -1 ? -1 : read_handshake(ws);
    if (status == 101) {
        ws->pool = ws_rx_pool_new(WS_CLIENT, PARTIAL_MAX);
        return 0;
    }
    if (!quiet && status == 401)
        ctl_wants_key();
    else if (!quiet && status == -1)
        fprintf(stderr, "roostctl: %s: no answer to the WebSocket handshake\n", ctl_url());
    else if (!quiet)
        fprintf(stderr, "roostctl: %s: the WebSocket handshake was refused: %d %s: %.*s\n",
                ctl_url(), status, http_status_phrase(status), STR_ARG(ctl_line_of(ws->in)));
    dial_close(&ws->peer);
    return -1;
}

int ctl_ws_send(struct ctl_ws *ws, enum ws_opcode op, struct str payload)
{
    struct buf frame = {0};
    uint8_t key[4];
    int rc = -1;

    if (getrandom(key, sizeof(key), 0) == (ssize_t)sizeof(key) &&
        ws_tx_masked(op, payload, key, &frame) == 0)
        rc = dial_send(&ws->peer, buf_view(&frame), &ctl_patience);
    buf_fini(&frame);
    return rc;
}

int ctl_ws_next(struct ctl_ws *ws, struct ws_item *item, int timeout_ms)
{
    static const struct ws_rx_limits limits = {.frame = 16 << 20, .message = 16 << 20};
    const struct dial_limits wait = {UINT64_MAX, (uint64_t)timeout_ms * NS_PER_MS};
    enum close_reason why;
    ssize_t n;
    int rc;

    for (;;) {
        rc = ws->in.n == 0 ? 0 : ws_rx_next(&ws->rx, ws->pool, &limits, &ws->in, item, &why);
        if (rc > 0 && item->kind == WS_ITEM_PING) {
            if (ctl_ws_send(ws, WS_OP_PONG, item->data) == -1)
                return 0;
            continue;
        }
        if (rc != 0)
            return rc > 0 ? 1 : 0;
        n = dial_recv(&ws->peer, ws->buffer, sizeof(ws->buffer), &wait);
        if (n == -1 && errno == ETIMEDOUT)
            return -1;
        if (n <= 0)
            return 0;
        ws->in = (struct str){ws->buffer, (size_t)n};
    }
}

void ctl_ws_close(struct ctl_ws *ws)
{
    if (ws->peer.fd == -1)
        return;
    ws_rx_fini(&ws->rx, ws->pool);
    ws_rx_pool_free(ws->pool);
    dial_close(&ws->peer);
}
