/* base/utf8.c - an automaton whose whole step is one shift, with a fast path over ASCII.
 *
 * A state is a shift of 0 to 48 bits. The row of a byte holds, at each state's shift, the six bits
 * of the state that follows: next = row >> state. There is no branch in it, so text of any language
 * takes the same few instructions per byte. */
#include "base/utf8.h"

enum utf8_state { /* multiples of six */
                  S_OK = UTF8_START,
                  S_NO = UTF8_REJECT,
                  S_1 = 12,  /* one continuation byte to come */
                  S_2 = 18,  /* two */
                  S_E0 = 24, /* two, the first restricted by the leading byte */
                  S_ED = 30,
                  S_3 = 36, /* three */
                  S_F0 = 42,
                  S_F4 = 48
};
#define STATE_MASK 63u

/* What follows each of the states on a byte; S_NO follows itself. */
#define ROW(ok, one, two, e0, ed, three, f0, f4)                                                   \
    ((uint64_t)(ok) << S_OK | (uint64_t)S_NO << S_NO | (uint64_t)(one) << S_1 |                    \
     (uint64_t)(two) << S_2 | (uint64_t)(e0) << S_E0 | (uint64_t)(ed) << S_ED |                    \
     (uint64_t)(three) << S_3 | (uint64_t)(f0) << S_F0 | (uint64_t)(f4) << S_F4)
/* A byte that begins a character (or is one), which then is in the given state. */
#define LEAD(state) ROW(state, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO)

static const uint64_t utf8_rows[256] = {
    /* RFC 3629 §4 */
    [0x00 ... 0x7f] = LEAD(S_OK),
    [0x80 ... 0x8f] = ROW(S_NO, S_OK, S_1, S_NO, S_1, S_2, S_NO, S_2),
    [0x90 ... 0x9f] = ROW(S_NO, S_OK, S_1, S_NO, S_1, S_2, S_2, S_NO),
    [0xa0 ... 0xbf] = ROW(S_NO, S_OK, S_1, S_1, S_NO, S_2, S_2, S_NO),
    [0xc0 ... 0xc1] = LEAD(S_NO), /* overlong */
    [0xc2 ... 0xdf] = LEAD(S_1),
    [0xe0] = LEAD(S_E0), /* A0..BF follows, else overlong */
    [0xe1 ... 0xec] = LEAD(S_2),
    [0xed] = LEAD(S_ED), /* 80..9F follows, else a surrogate */
    [0xee ... 0xef] = LEAD(S_2),
    [0xf0] = LEAD(S_F0), /* 90..BF follows, else overlong */
    [0xf1 ... 0xf3] = LEAD(S_3),
    [0xf4] = LEAD(S_F4), /* 80..8F follows, else beyond U+10FFFF */
    [0xf5 ... 0xff] = LEAD(S_NO),
};

#define HIGH_BITS UINT64_C(0x8080808080808080)
#define BLOCK     64

typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

static bool block_is_ascii(const char *p)
{
    const lanes *v = (const lanes *)(const void *)p;
    lanes all = (v[0] | v[1]) | (v[2] | v[3]);

    return ((all[0] | all[1]) & HIGH_BITS) == 0;
}

static uint64_t step(uint64_t state, const char *p, size_t n)
{
    for (; n >= 4; p += 4, n -= 4) {
        state = utf8_rows[(uint8_t)p[0]] >> (state & STATE_MASK);
        state = utf8_rows[(uint8_t)p[1]] >> (state & STATE_MASK);
        state = utf8_rows[(uint8_t)p[2]] >> (state & STATE_MASK);
        state = utf8_rows[(uint8_t)p[3]] >> (state & STATE_MASK);
    }
    for (; n > 0; p++, n--)
        state = utf8_rows[(uint8_t)*p] >> (state & STATE_MASK);
    return state;
}

uint32_t utf8_check(uint32_t state, struct str s)
{
    uint64_t now = state; /* its low six bits count */
    uint64_t word;

    for (; s.n >= BLOCK; s.p += BLOCK, s.n -= BLOCK)
        if ((now & STATE_MASK) != S_OK || !block_is_ascii(s.p))
            now = step(now, s.p, BLOCK);
    for (; s.n >= sizeof(word) && (now & STATE_MASK) == S_OK; s.p += 8, s.n -= 8) {
        memcpy(&word, s.p, sizeof(word));
        if ((word & HIGH_BITS) != 0)
            break;
    }
    return (uint32_t)(step(now, s.p, s.n) & STATE_MASK);
}

bool utf8_valid(struct str s)
{
    return utf8_check(UTF8_START, s) == UTF8_START;
}

size_t utf8_decode(struct str s, uint32_t *code)
{
    uint64_t state = UTF8_START;
    size_t n = 0;

    *code = 0;
    do {
        uint8_t c = (uint8_t)s.p[n++];

        state = utf8_rows[c] >> (state & STATE_MASK) & STATE_MASK;
        if (n > 1)
            *code = *code << 6 | (c & 0x3fu);
        else /* as many leading ones as there are bytes, but none for one byte */
            *code = c < 0x80 ? c : c & (c >= 0xf0 ? 0x07u : c >= 0xe0 ? 0x0fu : 0x1fu);
    } while (state != S_OK && state != S_NO && n < s.n);
    return state == S_OK ? n : 0;
}

struct str utf8_cut(struct str s, size_t max)
{
    size_t n = max;

    if (s.n <= max)
        return s;
    /* Four bytes that continue a character are none: what is cut there is replaced either way. */
    for (int i = 0; i < 3 && n > 0 && (s.p[n] & 0xc0) == 0x80; i++)
        n--;
    return (struct str){.p = s.p, .n = (s.p[n] & 0xc0) == 0x80 ? max : n};
}
