/* codec/ws_tx.c - WebSocket transmit side: headers by wslay's frame layer, masking by wide words,
 * the handshake's accept key. */
#include <openssl/evp.h>
#include <wslay/wslay.h>

#include "codec/ws_tx.h"

/* --- headers --- */

/* One context encodes every header of the process: it is between frames after each call. Made
 * before main(), because a header has no way to fail later; wslay wants memory for it. */
static wslay_frame_context_ptr tx_context;

static struct {
    uint8_t *out; /* borrowed during one call; WS_HEADER_MAX bytes */
    size_t len;
} tx;

/* wslay calls with the header first, then with the payload: copies the one, waves the other
 * through untouched. */
static ssize_t tx_send(const uint8_t *data, size_t len, int flags UNUSED, void *user_data UNUSED)
{
    if (tx.len == 0) {
        memcpy(tx.out, data, len);
        tx.len = len;
    }
    return (ssize_t)len;
}

__attribute__((constructor)) static void tx_context_new(void)
{
    static const struct wslay_frame_callbacks callbacks = {.send_callback = tx_send};

    if (wslay_frame_context_init(&tx_context, &callbacks, NULL) != 0) {
        fputs("out of memory: WebSocket transmit context\n", stderr);
        exit(EXIT_FAILURE);
    }
}

size_t ws_tx_header(enum ws_opcode op, uint64_t len, uint8_t out[WS_HEADER_MAX])
{
    struct wslay_frame_iocb iocb = {
        .fin = 1,
        .opcode = (uint8_t)op,
        .payload_length = len,
        .data = out, /* never read: see tx_send() */
        .data_length = len,
    };

    tx.out = out;
    tx.len = 0;
    (void)wslay_frame_send(tx_context, &iocb); /* a refusal leaves the length at 0 */
    return tx.len;
}

size_t ws_tx_frame_size(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t head = s.n < 2 || p[1] < 126 ? 2 : p[1] == 126 ? 4 : 10;
    uint64_t len = 0;

    if (s.n < head)
        return s.n;
    if (head == 2)
        len = p[1];
    for (size_t i = 2; i < head; i++)
        len = len << 8 | p[i];
    return len < s.n - head ? head + (size_t)len : s.n;
}

int ws_tx_masked(enum ws_opcode op, struct str payload, const uint8_t key[4], struct buf *out)
{
    uint8_t header[WS_HEADER_MAX];
    size_t n = ws_tx_header(op, payload.n, header);
    char *p;

    if (n == 0 || buf_reserve(out, n + 4 + payload.n) == -1)
        return -1;
    /* The mask bit is set here and not by wslay: once asked to mask, its context masks the payload
     * of every later frame, also of those that are sent with iocb.mask == 0. */
    header[1] |= 0x80;
    memcpy(header + n, key, 4);
    n += 4;
    p = out->p + out->len;
    memcpy(p, header, n);
    if (payload.n > 0)
        memcpy(p + n, payload.p, payload.n);
    ws_mask(p + n, payload.n, key, 0);
    out->len += n + payload.n;
    return 0;
}

size_t ws_tx_close_payload(uint16_t code, struct str reason, uint8_t *out)
{
    size_t n = MIN(reason.n, (size_t)WS_CONTROL_MAX - 2);

    if (code == 0 || code == 1005) /* RFC 6455 §7.4.1: 1005 must not be sent */
        return 0;
    if (n < reason.n)
        while (n > 0 && ((uint8_t)reason.p[n] & 0xc0) == 0x80) /* inside a character */
            n--;
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    if (n > 0)
        memcpy(out + 2, reason.p, n);
    return 2 + n;
}

/* --- masking (RFC 6455 §5.3) --- */

typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

void ws_mask(char *data, size_t len, const uint8_t key[4], size_t offset)
{
    uint8_t twice[8], turned[4]; /* the key, then beginning with the byte for data[0] */
    uint64_t word;
    uint32_t half;
    lanes wide;

    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(turned, twice + (offset & 3), sizeof(turned));
    memcpy(&half, turned, sizeof(half));
    word = (uint64_t)half << 32 | half;
    wide = (lanes){word, word};
    for (; len >= 64; len -= 64, data += 64) {
        lanes *v = (lanes *)(void *)data;

        v[0] ^= wide;
        v[1] ^= wide;
        v[2] ^= wide;
        v[3] ^= wide;
    }
    for (; len >= 8; len -= 8, data += 8) {
        uint64_t v;

        memcpy(&v, data, sizeof(v));
        v ^= word;
        memcpy(data, &v, sizeof(v));
    }
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(data[i] ^ turned[i & 3]);
}

/* --- handshake --- */

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* The last character carries two bits of the sixteenth byte and four that decoding drops; RFC 4648
 * §3.5 lets a decoder be lenient about those, and clients exist that set them. */
bool ws_key_valid(struct str key)
{
    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!is_base64(key.p[i]))
            return false;
    return true;
}

void ws_make_key(const uint8_t nonce[16], char out[WS_KEY_LEN])
{
    uint8_t text[WS_KEY_LEN + 1]; /* OpenSSL ends it with a NUL */

    EVP_EncodeBlock(text, nonce, 16);
    memcpy(out, text, WS_KEY_LEN);
}

void ws_accept_key(struct str key, char out[WS_ACCEPT_LEN])
{
    static const struct str guid = STR_LIT("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    static EVP_MD_CTX *sha1; /* kept: what it allocates, it allocates at the first handshake */
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint8_t text[WS_ACCEPT_LEN + 1]; /* OpenSSL ends it with a NUL */
    unsigned n = 0;

    if (sha1 == NULL)
        sha1 = EVP_MD_CTX_new();
    if (sha1 == NULL || EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) != 1 ||
        EVP_DigestUpdate(sha1, key.p, key.n) != 1 || EVP_DigestUpdate(sha1, guid.p, guid.n) != 1 ||
        EVP_DigestFinal_ex(sha1, digest, &n) != 1) {
        memset(out, '=', WS_ACCEPT_LEN);
        return;
    }
    EVP_EncodeBlock(text, digest, (int)n);
    memcpy(out, text, WS_ACCEPT_LEN);
}

const char *ws_library_version(void)
{
    return WSLAY_VERSION;
}
