/* codec/ws_tx.h - WebSocket transmit side (RFC 6455 §5.2): frame headers, by wslay's frame layer,
 * and the handshake's accept key. */
#ifndef ROOST_CODEC_WS_TX_H
#define ROOST_CODEC_WS_TX_H

#include "codec/ws_rx.h"

#define WS_HEADER_MAX  14 /* with mask key */
#define WS_CONTROL_MAX 125

/* Header of a final, unmasked (server) frame of len payload bytes. Returns its length, 2..10; 0 for
 * what cannot be sent: a control frame over WS_CONTROL_MAX, a length of 2^63 or more. */
size_t ws_tx_header(enum ws_opcode op, uint64_t len, uint8_t out[WS_HEADER_MAX]);
/* Says in a header that the message is compressed (RFC 7692 §6). */
static inline void ws_tx_deflated(uint8_t header[WS_HEADER_MAX])
{
    header[0] |= WS_OP_DEFLATED;
}
/* Bytes of the header of an unmasked frame of our own. */
static inline size_t ws_tx_header_size(struct str frame)
{
    uint8_t len = (uint8_t)frame.p[1];

    return len < 126 ? 2 : len == 126 ? 4 : 10;
}
/* Size of the unmasked frame of our own that stands at the beginning of s; at most s.n. */
size_t ws_tx_frame_size(struct str s);
/* Whole masked (client) frame appended to out; key is 4 random bytes from the caller. -1: no
 * memory, or what ws_tx_header() refuses; out is then unchanged. */
int ws_tx_masked(enum ws_opcode op, struct str payload, const uint8_t key[4],
                 struct buf *out) MUST_CHECK;
/* Payload of a close frame: code and a reason cut to 123 bytes at a character boundary. Returns
 * length; 0 for code 0 or 1005 (empty close). out holds WS_CONTROL_MAX bytes. */
size_t ws_tx_close_payload(uint16_t code, struct str reason, uint8_t *out);
/* XORs data with the 4-byte key, starting at key byte `offset & 3`, by wide words. */
void ws_mask(char *data, size_t len, const uint8_t key[4], size_t offset);

#define WS_ACCEPT_LEN 28
/* Sec-WebSocket-Accept for a key (RFC 6455 §4.2.2 item 5.4). Should OpenSSL have no memory at the
 * first call, out is all '=', which makes the client fail the handshake (§4.1). */
#define WS_KEY_LEN 24
/* The base64 of a nonce, as a client sends it. */
void ws_make_key(const uint8_t nonce[16], char out[WS_KEY_LEN]);
void ws_accept_key(struct str key, char out[WS_ACCEPT_LEN]);
/* Is key the base64 of 16 bytes? */
bool ws_key_valid(struct str key);

/* Of wslay, for --version. */
const char *ws_library_version(void);

#endif
