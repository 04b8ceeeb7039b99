/* codec/json.c - scanner and access to members and elements. */
#include "codec/json.h"

#include "base/utf8.h"

#define STR(x)  #x
#define XSTR(x) STR(x)

/* One bit for each open container. */
_Static_assert(JSON_MAX_DEPTH <= 64, "the stack of json_scan is one uint64_t");

struct json_scan {
    const char *p, *end; /* borrowed; after a failure p is the byte that is wrong, or end */
    uint64_t objects;    /* bit per open container, the innermost lowest: is it an object? */
    unsigned depth;      /* open containers */
    bool too_deep;       /* that is what was wrong */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void skip_space(struct json_scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool at(const struct json_scan *s, char c)
{
    return s->p < s->end && *s->p == c;
}

static int expect(struct json_scan *s, char c)
{
    if (!at(s, c))
        return -1;
    s->p++;
    return 0;
}

static int scan_literal(struct json_scan *s, const char *word)
{
    for (; *word != '\0'; word++) {
        if (expect(s, *word) == -1)
            return -1;
    }
    return 0;
}

static int scan_digits(struct json_scan *s)
{
    if (s->p == s->end || !is_digit(*s->p))
        return -1;
    while (s->p < s->end && is_digit(*s->p))
        s->p++;
    return 0;
}

/* number = [ minus ] int [ frac ] [ exp ] (RFC 8259 §6) */
static int scan_number(struct json_scan *s)
{
    if (at(s, '-'))
        s->p++;
    if (at(s, '0'))
        s->p++; /* nothing may follow a leading zero but frac and exp */
    else if (scan_digits(s) == -1)
        return -1;
    if (at(s, '.')) {
        s->p++;
        if (scan_digits(s) == -1)
            return -1;
    }
    if (at(s, 'e') || at(s, 'E')) {
        s->p++;
        if (at(s, '+') || at(s, '-'))
            s->p++;
        if (scan_digits(s) == -1)
            return -1;
    }
    return 0;
}

static int scan_escape(struct json_scan *s)
{
    int i;

    s->p++; /* the backslash */
    if (s->p == s->end || *s->p == '\0' || strchr("\"\\/bfnrtu", *s->p) == NULL)
        return -1;
    if (*s->p++ != 'u')
        return 0;
    for (i = 0; i < 4; i++, s->p++) {
        if (s->p == s->end || hex_value(*s->p) == -1)
            return -1;
    }
    return 0;
}

/* A run of bytes that are not ASCII must be whole characters. */
static int scan_utf8(struct json_scan *s)
{
    const char *start = s->p;
    uint32_t state = UTF8_START;

    while (s->p < s->end && (uint8_t)*s->p >= 0x80)
        s->p++;
    if (utf8_valid((struct str){.p = start, .n = (size_t)(s->p - start)}))
        return 0;
    for (; start < s->p; start++) { /* which byte was it? */
        state = utf8_check(state, (struct str){.p = start, .n = 1});
        if (state == UTF8_REJECT)
            s->p = start;
    }
    return -1;
}

/* Bytes of a string that mean themselves. */
static const bool plain[256] = {
    [0x20 ... 0x21] = true,
    [0x23 ... 0x5b] = true,
    [0x5d ... 0x7f] = true,
};

#define BLOCK 16

typedef uint8_t lanes __attribute__((vector_size(BLOCK), aligned(1), may_alias));
typedef uint64_t halves __attribute__((vector_size(BLOCK)));

static bool block_is_plain(const char *p)
{
    lanes v = *(const lanes *)(const void *)p;
    halves other = (halves)((v < 0x20) | (v > 0x7f) | (v == '"') | (v == '\\'));

    return (other[0] | other[1]) == 0;
}

static int scan_string(struct json_scan *s)
{
    if (expect(s, '"') == -1)
        return -1;
    for (;;) {
        while (s->end - s->p >= BLOCK && block_is_plain(s->p))
            s->p += BLOCK;
        while (s->p < s->end && plain[(uint8_t)*s->p])
            s->p++;
        if (s->p == s->end)
            return -1;
        if (*s->p == '"') {
            s->p++;
            return 0;
        }
        if (*s->p == '\\') {
            if (scan_escape(s) == -1)
                return -1;
        } else if ((uint8_t)*s->p < 0x20 || scan_utf8(s) == -1) {
            return -1; /* control characters must be escaped (RFC 8259 §7) */
        }
    }
}

static int scan_scalar(struct json_scan *s)
{
    if (s->p == s->end)
        return -1;
    switch (*s->p) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    default:
        return scan_number(s);
    }
}

/* "key" : of an object, up to the start of the value. */
static int scan_key(struct json_scan *s)
{
    if (scan_string(s) == -1)
        return -1;
    skip_space(s);
    if (expect(s, ':') == -1)
        return -1;
    skip_space(s);
    return 0;
}

static bool in_object(const struct json_scan *s)
{
    return (s->objects & 1) != 0;
}

/* Closes the innermost container if the input does. */
static bool scan_close(struct json_scan *s)
{
    if (!at(s, in_object(s) ? '}' : ']'))
        return false;
    s->p++;
    s->objects >>= 1;
    s->depth--;
    return true;
}

/* At '{' or '['. >0: at the start of the first inner value; 0: the container was empty; <0
 * malformed. */
static int scan_open(struct json_scan *s)
{
    s->too_deep = s->depth == JSON_MAX_DEPTH;
    if (s->too_deep)
        return -1;
    s->objects = s->objects << 1 | (*s->p == '{' ? 1 : 0);
    s->depth++;
    s->p++;
    skip_space(s);
    if (scan_close(s))
        return 0;
    if (in_object(s) && scan_key(s) == -1)
        return -1;
    return 1;
}

/* Behind a value. >0: at the start of the next one; 0: the outermost value is complete; <0
 * malformed. */
static int scan_separator(struct json_scan *s)
{
    while (s->depth > 0) {
        skip_space(s);
        if (scan_close(s))
            continue;
        if (expect(s, ',') == -1)
            return -1;
        skip_space(s);
        if (in_object(s) && scan_key(s) == -1)
            return -1;
        return 1;
    }
    return 0;
}

/* One value with all that is in it. */
static int scan_value(struct json_scan *s)
{
    int more;

    do {
        more = at(s, '{') || at(s, '[') ? scan_open(s) : scan_scalar(s);
        if (more == 0)
            more = scan_separator(s);
    } while (more > 0);
    return more;
}

static enum json_type type_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

static struct json_scan scan_start(struct str in)
{
    struct json_scan s = {.p = in.p, .end = in.p};

    if (in.n > 0)
        s.end += in.n;
    return s;
}

static int take_value(struct json_scan *s, struct json_value *out)
{
    const char *start = s->p;

    if (scan_value(s) == -1)
        return -1;
    out->type = type_of(*start);
    out->raw = (struct str){.p = start, .n = (size_t)(s->p - start)};
    return 0;
}

int json_parse(struct str in, struct json_value *out, size_t *error_at)
{
    struct json_scan s = scan_start(in);
    int rc;

    skip_space(&s);
    rc = take_value(&s, out);
    if (rc == 0) {
        skip_space(&s);
        if (s.p < s.end)
            rc = -1;
    }
    if (rc == -1 && error_at != NULL)
        *error_at = in.n - (size_t)(s.end - s.p);
    return rc;
}

int json_take(struct str *rest, struct json_value *out)
{
    struct json_scan s = scan_start(*rest);

    skip_space(&s);
    if (take_value(&s, out) == -1)
        return -1;
    *rest = (struct str){.p = s.p, .n = (size_t)(s.end - s.p)};
    return 0;
}

const char *json_refusal(struct str in)
{
    struct json_scan s = scan_start(in);

    skip_space(&s);
    if (scan_value(&s) == -1 && s.too_deep)
        return "JSON nested deeper than " XSTR(JSON_MAX_DEPTH) " levels";
    return "not JSON";
}

/* *rest stands at the container's bracket before the first inner value and at ',' or the closing
 * bracket behind each. Goes behind the bracket or comma; false at the end. */
static bool enter_next(struct json_scan *s, char open, char close)
{
    if (!at(s, open) && !at(s, ','))
        return false;
    s->p++;
    skip_space(s);
    return !at(s, close);
}

static void leave(struct json_scan *s, struct str *rest)
{
    skip_space(s);
    *rest = (struct str){.p = s->p, .n = (size_t)(s->end - s->p)};
}

bool json_member(struct str *rest, struct json_value *key, struct json_value *value)
{
    struct json_scan s = scan_start(*rest);
    const char *start;

    if (!enter_next(&s, '{', '}'))
        return false;
    start = s.p;
    if (scan_string(&s) == -1)
        return false;
    key->type = JSON_STRING;
    key->raw = (struct str){.p = start, .n = (size_t)(s.p - start)};
    skip_space(&s);
    if (expect(&s, ':') == -1)
        return false;
    skip_space(&s);
    if (take_value(&s, value) == -1)
        return false;
    leave(&s, rest);
    return true;
}

bool json_element(struct str *rest, struct json_value *value)
{
    struct json_scan s = scan_start(*rest);

    if (!enter_next(&s, '[', ']') || take_value(&s, value) == -1)
        return false;
    leave(&s, rest);
    return true;
}

bool json_get(const struct json_value *object, struct str name, struct json_value *out)
{
    struct str rest = object->raw;
    struct json_value key, value;
    bool found = false;

    while (json_member(&rest, &key, &value)) {
        if (json_string_equal(&key, name)) {
            *out = value;
            found = true;
        }
    }
    return found;
}

int json_u64(const struct json_value *v, uint64_t *out)
{
    return v->type == JSON_NUMBER ? str_to_u64(v->raw, out) : -1;
}
