/* codec/json_string.c - JSON strings: unescaping, comparison, writing. */
#include "codec/json.h"
#include "codec/utf8.h"

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

static size_t plain_length(struct str s)
{
    size_t n = 0;

    while (n < s.n && (uint8_t)s.p[n] >= 0x20 && (uint8_t)s.p[n] < 0x80 && s.p[n] != '"' &&
           s.p[n] != '\\')
        n++;
    return n;
}

static int append_escaped(struct buf *b, char c)
{
    switch (c) {
    case '"':
        return buf_append_lit(b, "\\\"");
    case '\\':
        return buf_append_lit(b, "\\\\");
    case '\n':
        return buf_append_lit(b, "\\n");
    case '\r':
        return buf_append_lit(b, "\\r");
    case '\t':
        return buf_append_lit(b, "\\t");
    default:
        return buf_printf(b, "\\u%04x", (unsigned)c);
    }
}

/* Appends the next run of s and skips it. */
static int append_run(struct buf *b, struct str *s)
{
    size_t n = plain_length(*s);
    struct str run = {.p = s->p, .n = n};
    bool valid = true;

    if (n == 0 && (uint8_t)s->p[0] < 0x80) {
        char c = s->p[0];

        *s = str_skip(*s, 1);
        return append_escaped(b, c);
    }
    if (n == 0)
        run.n = char_length(*s, &valid);
    *s = str_skip(*s, run.n);
    return valid ? buf_append(b, run) : buf_append_lit(b, "\xef\xbf\xbd");
}

int json_append_string(struct buf *b, struct str s)
{
    size_t before = b->len;

    if (buf_append_char(b, '"') == -1)
        goto err;
    while (s.n > 0) {
        if (append_run(b, &s) == -1)
            goto err;
    }
    if (buf_append_char(b, '"') == -1)
        goto err;
    return 0;
err:
    b->len = before;
    return -1;
}
