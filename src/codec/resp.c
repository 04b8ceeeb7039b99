#include "codec/resp.h"

#include <inttypes.h>
#include <stdarg.h>

#define LINE_MAX_BYTES 65536 /* of what stands on one line: an error's text at most */

static bool is_aggregate(char type)
{
    return type == RESP_ARRAY || type == RESP_MAP || type == RESP_SET || type == RESP_PUSH ||
           type == RESP_ATTRIBUTE;
}

static bool is_bulk(char type)
{
    return type == RESP_BULK || type == RESP_BULK_ERROR || type == RESP_VERBATIM;
}

/* A length: digits, or -1 for RESP2's null. */
static bool read_length(struct str s, int64_t max, int64_t *out)
{
    uint64_t v;

    if (str_equal(s, STR_LIT("-1"))) {
        *out = -1;
        return true;
    }
    if (str_to_u64(s, &v) == -1 || v > (uint64_t)max)
        return false;
    *out = (int64_t)v;
    return true;
}

static bool read_number(struct str s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t v;

    if (negative || (s.n > 0 && s.p[0] == '+'))
        s = str_skip(s, 1);
    if (str_to_u64(s, &v) == -1 || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* --- scanning --- */

/* The line that begins at s->at, without its end. 1, 0: not yet all of it, -1: not one. */
static int scan_line(const struct resp_scan *s, struct str in, struct str *line)
{
    struct str rest = str_skip(in, s->at);
    const char *end = memchr(rest.p, '\n', MIN(rest.n, LINE_MAX_BYTES));

    if (end == NULL)
        return rest.n < LINE_MAX_BYTES ? 0 : -1;
    line->p = rest.p;
    line->n = (size_t)(end - rest.p);
    if (line->n < 2 || line->p[line->n - 1] != '\r')
        return -1;
    line->n--;
    return 1;
}

/* A node is complete but for its children: enters them, or leaves those that are done. */
static int scan_enter(struct resp_scan *s, uint64_t children)
{
    if (children > 0) {
        if (s->depth == RESP_DEPTH_MAX)
            return -1;
        s->left[s->depth++] = (uint32_t)children;
        return 0;
    }
    while (s->depth > 0 && --s->left[s->depth - 1] == 0)
        s->depth--;
    return s->depth == 0 ? 1 : 0;
}

static bool is_scalar(char type, struct str text)
{
    int64_t number;

    switch (type) {
    case RESP_NUMBER:
        return read_number(text, &number);
    case RESP_NULL:
        return text.n == 0;
    case RESP_BOOL:
        return text.n == 1 && (text.p[0] == 't' || text.p[0] == 'f');
    case RESP_SIMPLE:
    case RESP_ERROR:
    case RESP_DOUBLE:
    case RESP_BIG:
        return true;
    default:
        return false;
    }
}

/* 1: the value ends with this line, 0: it goes on, -1: malformed. */
static int scan_node(struct resp_scan *s, struct str line)
{
    char type = line.p[0];
    struct str text = str_skip(line, 1);
    int64_t n;

    s->at += line.n + 2;
    if (is_bulk(type)) {
        if (!read_length(text, RESP_BULK_MAX, &n))
            return -1;
        if (n < 0)
            return scan_enter(s, 0);
        s->skip = (size_t)n + 2;
        return 0;
    }
    if (is_aggregate(type)) {
        if (!read_length(text, RESP_ITEMS_MAX, &n))
            return -1;
        if (type == RESP_ATTRIBUTE) /* and the value that it is an attribute of */
            return n < 0 ? -1 : scan_enter(s, (uint64_t)n * 2 + 1);
        return scan_enter(s, n < 0 ? 0 : (uint64_t)n * (type == RESP_MAP ? 2 : 1));
    }
    return is_scalar(type, text) ? scan_enter(s, 0) : -1;
}

/* The rest of a string. 1: it is there, 0: not yet, -1: it does not end where it said. */
static int scan_bulk(struct resp_scan *s, struct str in)
{
    if (in.n - s->at < s->skip)
        return 0;
    s->at += s->skip;
    s->skip = 0;
    return in.p[s->at - 2] == '\r' && in.p[s->at - 1] == '\n' ? 1 : -1;
}

ssize_t resp_scan(struct resp_scan *s, struct str in)
{
    struct str line;
    ssize_t bytes;
    int rc;

    do {
        if (s->skip > 0) {
            rc = scan_bulk(s, in);
            if (rc <= 0)
                return rc;
            rc = scan_enter(s, 0);
        } else {
            rc = s->at < in.n ? scan_line(s, in, &line) : 0;
            if (rc <= 0)
                return rc;
            rc = scan_node(s, line);
        }
    } while (rc == 0);
    if (rc < 0)
        return -1;
    bytes = (ssize_t)s->at;
    *s = (struct resp_scan){0};
    return bytes;
}

/* --- reading what was scanned --- */

static struct str take_line(struct str *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct str line = {.p = rest->p, .n = (size_t)(end - rest->p) - 1};

    *rest = str_skip(*rest, line.n + 2);
    return line;
}

static void read_node(struct str line, struct str *rest, struct resp_node *out)
{
    struct str text = str_skip(line, 1);
    int64_t n = 0;

    *out = (struct resp_node){.type = (enum resp_type)line.p[0], .text = text};
    if (is_bulk(line.p[0])) {
        (void)read_length(text, RESP_BULK_MAX, &n);
        out->text = STR_NULL;
        if (n < 0) {
            out->type = RESP_NULL;
            return;
        }
        out->text = (struct str){.p = rest->p, .n = (size_t)n};
        *rest = str_skip(*rest, (size_t)n + 2);
    } else if (is_aggregate(line.p[0])) {
        (void)read_length(text, RESP_ITEMS_MAX, &n);
        out->text = STR_NULL;
        out->type = n < 0 ? RESP_NULL : out->type;
        out->n = n < 0
                     ? 0
                     : (uint32_t)n * (line.p[0] == RESP_MAP || line.p[0] == RESP_ATTRIBUTE ? 2 : 1);
    } else if (out->type == RESP_NUMBER) {
        (void)read_number(text, &out->number);
    } else if (out->type == RESP_BOOL) {
        out->number = text.p[0] == 't';
    }
}

bool resp_next(struct str *rest, struct resp_node *out)
{
    while (rest->n > 0) {
        read_node(take_line(rest), rest, out);
        if (out->type != RESP_ATTRIBUTE)
            return true;
        resp_skip(rest, out->n);
    }
    return false;
}

void resp_skip(struct str *rest, uint32_t n)
{
    struct resp_node node;
    uint64_t left = n;

    for (; left > 0 && rest->n > 0; left--) {
        read_node(take_line(rest), rest, &node);
        left += node.type == RESP_ATTRIBUTE ? (uint64_t)node.n + 1 : node.n;
    }
}

bool resp_next_text(struct str *rest, struct str *out)
{
    struct resp_node node;

    *out = STR_NULL;
    if (!resp_next(rest, &node))
        return false;
    resp_skip(rest, node.n);
    *out = node.text;
    return node.type == RESP_BULK || node.type == RESP_SIMPLE || node.type == RESP_VERBATIM;
}

bool resp_next_number(struct str *rest, int64_t *out)
{
    struct resp_node node;

    *out = 0;
    if (!resp_next(rest, &node))
        return false;
    resp_skip(rest, node.n);
    if (node.type == RESP_BULK || node.type == RESP_SIMPLE) /* what Lua makes of large numbers */
        return read_number(node.text, out);
    *out = node.number;
    return node.type == RESP_NUMBER || node.type == RESP_BOOL;
}

/* --- writing --- */

int resp_command(struct buf *out, size_t n)
{
    return buf_printf(out, "*%zu\r\n", n);
}

int resp_arg(struct buf *out, struct str s)
{
    if (buf_reserve(out, s.n + 32) == -1)
        return -1;
    return buf_printf(out, "$%zu\r\n", s.n) || buf_append(out, s) ||
                   buf_append(out, STR_LIT("\r\n"))
               ? -1
               : 0;
}

int resp_arg_u64(struct buf *out, uint64_t v)
{
    char text[24];

    return resp_arg(
        out, (struct str){.p = text, .n = (size_t)snprintf(text, sizeof(text), "%" PRIu64, v)});
}

int resp_write(struct buf *out, size_t n, ...)
{
    size_t before = out->len;
    va_list args;
    int rc = resp_command(out, n);

    va_start(args, n);
    for (size_t i = 0; i < n; i++)
        rc |= resp_arg(out, str_from(va_arg(args, const char *)));
    va_end(args);
    if (rc != 0)
        out->len = before;
    return rc == 0 ? 0 : -1;
}
