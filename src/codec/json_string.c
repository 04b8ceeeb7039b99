/* codec/json_string.c - JSON strings: unescaping, comparison, writing. */
#include "base/utf8.h"
#include "codec/json.h"

/* Text between the quotes; n == 0 also for what is not a string. */
static struct str inside(const struct json_value *v)
{
    if (v->type != JSON_STRING || v->raw.n < 2)
        return STR_NULL;
    return (struct str){.p = v->raw.p + 1, .n = v->raw.n - 2};
}

static size_t encode_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* \u and four hex digits at the start of *rest, which is skipped. */
static int take_unit(struct str *rest, uint32_t *unit)
{
    size_t i;

    if (rest->n < 6 || rest->p[0] != '\\' || rest->p[1] != 'u')
        return -1;
    *unit = 0;
    for (i = 2; i < 6; i++) {
        char c = rest->p[i];
        char lower = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            *unit = *unit << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            *unit = *unit << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return -1;
    }
    *rest = str_skip(*rest, 6);
    return 0;
}

/* \u and four hex digits, or two of them that are a surrogate pair. */
static int take_code_point(struct str *rest, uint32_t *c)
{
    uint32_t low;

    if (take_unit(rest, c) == -1 || (*c >= 0xdc00 && *c <= 0xdfff))
        return -1;
    if (*c < 0xd800 || *c > 0xdbff)
        return 0;
    if (take_unit(rest, &low) == -1 || low < 0xdc00 || low > 0xdfff)
        return -1;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

static int take_escape(struct str *rest, char out[4], struct str *piece)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *at;
    uint32_t c;

    *piece = (struct str){.p = out, .n = 1};
    if (rest->n < 2)
        return -1;
    if (rest->p[1] == 'u') {
        if (take_code_point(rest, &c) == -1)
            return -1;
        piece->n = encode_utf8(c, out);
        return 0;
    }
    at = memchr(names, rest->p[1], sizeof(names) - 1);
    if (at == NULL)
        return -1;
    out[0] = values[at - names];
    *rest = str_skip(*rest, 2);
    return 0;
}

/* Next piece of unescaped text: a view of the input, or of room. */
static int take_piece(struct str *rest, char room[4], struct str *piece)
{
    size_t n = str_find(*rest, '\\');

    if (n == 0)
        return take_escape(rest, room, piece);
    *piece = (struct str){.p = rest->p, .n = n};
    *rest = str_skip(*rest, n);
    return 0;
}

int json_string(const struct json_value *v, struct buf *out)
{
    struct str rest = inside(v), piece;
    size_t before = out->len;
    char room[4];

    if (v->type != JSON_STRING)
        return -1;
    while (rest.n > 0) {
        if (take_piece(&rest, room, &piece) == -1 || buf_append(out, piece) == -1) {
            out->len = before;
            return -1;
        }
    }
    return 0;
}

bool json_string_equal(const struct json_value *v, struct str s)
{
    struct str rest = inside(v), piece;
    char room[4];

    if (v->type != JSON_STRING)
        return false;
    while (rest.n > 0) {
        if (take_piece(&rest, room, &piece) == -1)
            return false;
        if (piece.n > s.n || memcmp(piece.p, s.p, piece.n) != 0)
            return false;
        s = str_skip(s, piece.n);
    }
    return s.n == 0;
}

/* Length of the first character of s, which is not ASCII. *valid false: it is the longest start of
 * a character that s holds, to be replaced by one U+FFFD (Unicode §3.9, "maximal subpart"). */
static size_t char_length(struct str s, bool *valid)
{
    uint32_t state = UTF8_START;
    size_t n = 0;

    *valid = false;
    do {
        state = utf8_check(state, (struct str){.p = s.p + n, .n = 1});
        if (state == UTF8_REJECT)
            return n > 0 ? n : 1;
        n++;
    } while (state != UTF8_START && n < s.n);
    *valid = state == UTF8_START;
    return n;
}

/* How each byte of valid text is written; the padding lets one store move a row. */
struct escape {
    char text[7];
    uint8_t len; /* 1: as it is, and text says nothing */
};

/* clang-format off */
#define U(hex) {.text = "\\u00" hex, .len = 6}
#define E(c)   {.text = "\\" c, .len = 2}
#define PLAIN  {.len = 1}

static const struct escape escapes[256] = {
    /* RFC 8259 §7 */
    U("00"), U("01"), U("02"), U("03"), U("04"), U("05"), U("06"), U("07"),
    U("08"), E("t"), E("n"), U("0b"), U("0c"), E("r"), U("0e"), U("0f"),
    U("10"), U("11"), U("12"), U("13"), U("14"), U("15"), U("16"), U("17"),
    U("18"), U("19"), U("1a"), U("1b"), U("1c"), U("1d"), U("1e"), U("1f"),
    [0x20 ... 0x21] = PLAIN,
    ['"'] = E("\""),
    [0x23 ... 0x5b] = PLAIN,
    ['\\'] = E("\\"),
    [0x5d ... 0xff] = PLAIN,
};
/* clang-format on */

#define ESCAPED_MAX 6    /* bytes written for one */
#define PIECE       1024 /* bytes for which room is made at a time */
#define BLOCK       16

typedef uint8_t lanes __attribute__((vector_size(BLOCK), aligned(1), may_alias));
typedef uint64_t halves __attribute__((vector_size(BLOCK)));

static bool block_is_plain(const char *p)
{
    lanes v = *(const lanes *)(const void *)p;
    halves escaped = (halves)((v < 0x20) | (v == '"') | (v == '\\'));

    return (escaped[0] | escaped[1]) == 0;
}

/* Without a branch: text may alternate. */
static char *escape_bytes(char *to, const char *p, size_t n)
{
    for (; n > 0; p++, n--) {
        const struct escape *e = &escapes[(uint8_t)*p];

        memcpy(to, e, sizeof(*e));
        to[0] = e->len == 1 ? *p : '\\';
        to += e->len;
    }
    return to;
}

/* Writes up to sizeof(struct escape) - 1 bytes beyond what it returns. */
static char *escape_piece(char *to, struct str s)
{
    for (; s.n >= BLOCK; s.p += BLOCK, s.n -= BLOCK) {
        if (block_is_plain(s.p)) {
            memcpy(to, s.p, BLOCK);
            to += BLOCK;
        } else {
            to = escape_bytes(to, s.p, BLOCK);
        }
    }
    return escape_bytes(to, s.p, s.n);
}

/* s is valid UTF-8. */
static int append_valid(struct buf *b, struct str s)
{
    while (s.n > 0) {
        struct str piece = {.p = s.p, .n = MIN(s.n, PIECE)};

        if (buf_reserve(b, piece.n * ESCAPED_MAX + sizeof(struct escape)) == -1)
            return -1;
        b->len = (size_t)(escape_piece(b->p + b->len, piece) - b->p);
        s = str_skip(s, piece.n);
    }
    return 0;
}

static int append_repaired(struct buf *b, struct str s)
{
    while (s.n > 0) {
        struct str run = {.p = s.p, .n = 0};
        bool valid = true;

        while (run.n < s.n && (uint8_t)s.p[run.n] < 0x80)
            run.n++;
        if (run.n == 0)
            run.n = char_length(s, &valid);
        if ((valid ? append_valid(b, run) : buf_append_lit(b, "\xef\xbf\xbd")) == -1)
            return -1;
        s = str_skip(s, run.n);
    }
    return 0;
}

int json_append_text(struct buf *b, struct str s)
{
    size_t before = b->len;

    if (s.n > SIZE_MAX / 2 || buf_reserve(b, s.n) == -1)
        return -1;
    if ((utf8_valid(s) ? append_valid(b, s) : append_repaired(b, s)) == 0)
        return 0;
    b->len = before;
    return -1;
}

int json_append_string(struct buf *b, struct str s)
{
    size_t before = b->len;

    if (buf_append_char(b, '"') == 0 && json_append_text(b, s) == 0 && buf_append_char(b, '"') == 0)
        return 0;
    b->len = before;
    return -1;
}
