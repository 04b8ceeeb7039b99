/* codec/utf8.c - a table-driven automaton with a fast path over ASCII. */
#include "codec/utf8.h"

/* Bytes that behave alike in every state (RFC 3629 §4). */
enum utf8_class {
    B_ASCII = 0, /* 00..7F */
    B_80,        /* 80..8F, continuation */
    B_90,        /* 90..9F, continuation */
    B_A0,        /* A0..BF, continuation */
    B_TWO,       /* C2..DF, leads two bytes */
    B_E0,        /* leads three, A0..BF follows (else overlong) */
    B_THREE,     /* E1..EC, EE, EF */
    B_ED,        /* leads three, 80..9F follows (else a surrogate) */
    B_F0,        /* leads four, 90..BF follows (else overlong) */
    B_FOUR,      /* F1..F3 */
    B_F4,        /* leads four, 80..8F follows (else beyond U+10FFFF) */
    B_BAD,       /* C0, C1, F5..FF */
    B_NR
};

static const uint8_t utf8_class[256] = {
    [0x00 ... 0x7f] = B_ASCII,
    [0x80 ... 0x8f] = B_80,
    [0x90 ... 0x9f] = B_90,
    [0xa0 ... 0xbf] = B_A0,
    [0xc0 ... 0xc1] = B_BAD,
    [0xc2 ... 0xdf] = B_TWO,
    [0xe0] = B_E0,
    [0xe1 ... 0xec] = B_THREE,
    [0xed] = B_ED,
    [0xee ... 0xef] = B_THREE,
    [0xf0] = B_F0,
    [0xf1 ... 0xf3] = B_FOUR,
    [0xf4] = B_F4,
    [0xf5 ... 0xff] = B_BAD,
};

enum utf8_state {
    S_OK = UTF8_START,
    S_NO = UTF8_REJECT,
    S_1,  /* one continuation byte to come */
    S_2,  /* two */
    S_E0, /* two, the first restricted by the leading byte */
    S_ED,
    S_3, /* three */
    S_F0,
    S_F4,
    S_NR
};

static const uint8_t utf8_next[S_NR][B_NR] = {
    [S_OK] = {S_OK, S_NO, S_NO, S_NO, S_1, S_E0, S_2, S_ED, S_F0, S_3, S_F4, S_NO},
    [S_NO] = {S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_1] = {S_NO, S_OK, S_OK, S_OK, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_2] = {S_NO, S_1, S_1, S_1, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_E0] = {S_NO, S_NO, S_NO, S_1, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_ED] = {S_NO, S_1, S_1, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_3] = {S_NO, S_2, S_2, S_2, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_F0] = {S_NO, S_NO, S_2, S_2, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
    [S_F4] = {S_NO, S_2, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO, S_NO},
};

#define HIGH_BITS UINT64_C(0x8080808080808080)

typedef uint64_t lanes __attribute__((vector_size(16), aligned(1), may_alias));

/* First byte that is not ASCII, or end. Wide steps, because most text is ASCII. */
static const char *utf8_skip_ascii(const char *p, const char *end)
{
    uint64_t a;

    for (; end - p >= 64; p += 64) {
        const lanes *v = (const lanes *)(const void *)p;
        lanes all = (v[0] | v[1]) | (v[2] | v[3]);

        if (((all[0] | all[1]) & HIGH_BITS) != 0)
            break;
    }
    for (; end - p >= 8; p += 8) {
        memcpy(&a, p, 8);
        if ((a & HIGH_BITS) != 0)
            break;
    }
    while (p < end && (uint8_t)*p < 0x80)
        p++;
    return p;
}

uint32_t utf8_check(uint32_t state, struct str s)
{
    const char *p, *end;

    if (s.n == 0) /* s.p may be NULL: no arithmetic on it */
        return state;
    p = s.p;
    end = s.p + s.n;
    while (p < end) {
        if (state == UTF8_START) {
            p = utf8_skip_ascii(p, end);
            if (p == end)
                break;
        }
        state = utf8_next[state][utf8_class[(uint8_t)*p++]];
        if (state == UTF8_REJECT)
            break;
    }
    return state;
}

bool utf8_valid(struct str s)
{
    return utf8_check(UTF8_START, s) == UTF8_START;
}
