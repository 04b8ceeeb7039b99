/* codec/http_body.c - bodies: counted, chunked, until the connection closes. */
#include "http_internal.h"

enum body_state {
    BODY_DONE = 0,
    BODY_COUNTED,     /* `left` bytes of a body with Content-Length */
    BODY_UNTIL_CLOSE, /* of a response */
    BODY_SIZE,        /* in a chunk size */
    BODY_EXT_SPACE,   /* white space before the ';' of an extension */
    BODY_EXT,         /* in a chunk extension */
    BODY_SIZE_LF,     /* behind the CR of a size line */
    BODY_DATA,        /* `left` bytes of chunk data */
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_TRAILER_START, /* at the start of a trailer line or the last, empty line */
    BODY_TRAILER_NAME,
    BODY_TRAILER_VALUE,
    BODY_TRAILER_LF,
    BODY_END_LF /* behind the CR of the last line */
};

static void body_init(struct http_body *b, enum http_body_kind kind, uint64_t length)
{
    memset(b, 0, sizeof(*b));
    b->kind = kind;
    switch (kind) {
    case HTTP_BODY_NONE:
        b->state = BODY_DONE;
        break;
    case HTTP_BODY_LENGTH:
        b->left = length;
        b->state = length > 0 ? BODY_COUNTED : BODY_DONE;
        break;
    case HTTP_BODY_CHUNKED:
        b->state = BODY_SIZE;
        break;
    }
}

void http_body_init(struct http_body *b, const struct http_request *r)
{
    body_init(b, r->body, r->content_length);
}

void http_body_init_response(struct http_body *b, const struct http_response *r)
{
    body_init(b, r->body, r->content_length);
    if (r->body == HTTP_BODY_NONE)
        b->state = BODY_UNTIL_CLOSE;
}

/* Would the announced bytes exceed max? (max may have been lowered meanwhile.) */
static bool too_big(const struct http_body *b, uint64_t max)
{
    return b->received > max || b->left > max - b->received;
}

/* Takes the piece of payload at the start of *in. `next` follows when `left` has come. */
static int take_data(struct http_body *b, enum body_state next, struct str *in, struct str *data)
{
    size_t n = b->left < in->n ? (size_t)b->left : in->n;

    *data = (struct str){.p = in->p, .n = n};
    *in = str_skip(*in, n);
    b->left -= n;
    b->received += n;
    if (b->left == 0)
        b->state = (uint8_t)next;
    return n > 0;
}

static int take_until_close(struct http_body *b, uint64_t max, struct str *in, struct str *data,
                            enum close_reason *why)
{
    if (b->received > max || in->n > max - b->received)
        return http_fail(why, CLOSE_BODY_TOO_BIG);
    *data = *in;
    *in = str_skip(*in, in->n);
    b->received += data->n;
    return 1;
}

static int step_size(struct http_body *b, char c)
{
    if (http_is(c, HTTP_C_HEX)) {
        if (b->digits == HTTP_CHUNK_DIGITS_MAX)
            return -1;
        b->digits++;
        b->left = b->left << 4 | http_hex_value(c);
        return BODY_SIZE;
    }
    if (b->digits == 0)
        return -1;
    switch (c) {
    case '\r':
        return BODY_SIZE_LF;
    case ';':
        return BODY_EXT;
    case ' ':
    case '\t':
        return BODY_EXT_SPACE;
    default:
        return -1;
    }
}

static int step_ext(enum body_state state, char c)
{
    if (state == BODY_EXT_SPACE) { /* BWS is allowed before ';' only (RFC 9112 §7.1.1) */
        if (c == ';')
            return BODY_EXT;
        return c == ' ' || c == '\t' ? BODY_EXT_SPACE : -1;
    }
    if (c == '\r')
        return BODY_SIZE_LF;
    return http_is(c, HTTP_C_VALUE) ? BODY_EXT : -1;
}

static int step_trailer(enum body_state state, char c)
{
    if (state == BODY_TRAILER_VALUE) {
        if (c == '\r')
            return BODY_TRAILER_LF;
        return http_is(c, HTTP_C_VALUE) ? BODY_TRAILER_VALUE : -1;
    }
    if (http_is(c, HTTP_C_TOKEN))
        return BODY_TRAILER_NAME;
    if (state == BODY_TRAILER_START)
        return c == '\r' ? BODY_END_LF : -1;
    return c == ':' ? BODY_TRAILER_VALUE : -1;
}

/* The size line is complete. */
static enum body_state size_known(struct http_body *b)
{
    b->digits = 0;
    return b->left > 0 ? BODY_DATA : BODY_TRAILER_START;
}

/* One byte of framing; the next state, or -1: malformed. */
static int step(struct http_body *b, char c)
{
    enum body_state state = (enum body_state)b->state;

    switch (state) {
    case BODY_SIZE:
        return step_size(b, c);
    case BODY_EXT_SPACE:
    case BODY_EXT:
        return b->extra++ < HTTP_CHUNK_EXTRA_MAX ? step_ext(state, c) : -1;
    case BODY_SIZE_LF:
        return c == '\n' ? (int)size_known(b) : -1;
    case BODY_DATA_CR:
        return c == '\r' ? BODY_DATA_LF : -1;
    case BODY_DATA_LF:
        return c == '\n' ? BODY_SIZE : -1;
    case BODY_TRAILER_START:
    case BODY_TRAILER_NAME:
    case BODY_TRAILER_VALUE:
        return b->extra++ < HTTP_CHUNK_EXTRA_MAX ? step_trailer(state, c) : -1;
    case BODY_TRAILER_LF:
        return c == '\n' ? BODY_TRAILER_START : -1;
    case BODY_END_LF:
        return c == '\n' ? BODY_DONE : -1;
    case BODY_DONE:
    case BODY_COUNTED:
    case BODY_UNTIL_CLOSE:
    case BODY_DATA: /* payload states have no framing bytes */
        break;
    }
    return -1;
}

/* Framing up to the next payload, the end of the body, or the end of the input. */
static int take_framing(struct http_body *b, uint64_t max, struct str *in, enum close_reason *why)
{
    size_t i = 0;

    while (i < in->n && b->state != BODY_DATA && b->state != BODY_DONE) {
        int next = step(b, in->p[i++]);

        if (next == -1)
            return http_fail(why, CLOSE_BAD_CHUNK);
        b->state = (uint8_t)next;
        if (next == BODY_DATA && too_big(b, max))
            return http_fail(why, CLOSE_BODY_TOO_BIG);
    }
    *in = str_skip(*in, i);
    return 0;
}

int http_body_next(struct http_body *b, uint64_t max, struct str *in, struct str *data,
                   enum close_reason *why)
{
    *data = (struct str){.p = in->p, .n = 0};
    if (b->state == BODY_DONE)
        return 0;
    /* Before any of the body has come, so that it can be refused instead of 100 (Continue). */
    if (b->state == BODY_COUNTED && too_big(b, max))
        return http_fail(why, CLOSE_BODY_TOO_BIG);
    if (in->n == 0)
        return 0;
    if (b->state == BODY_UNTIL_CLOSE)
        return take_until_close(b, max, in, data, why);
    if (b->state == BODY_COUNTED)
        return take_data(b, BODY_DONE, in, data);
    if (b->state != BODY_DATA && take_framing(b, max, in, why) == -1)
        return -1;
    if (b->state == BODY_DONE)
        return 1; /* an empty last piece, so that a caller who counts pieces sees the end */
    if (b->state != BODY_DATA)
        return 0;
    return take_data(b, BODY_DATA_CR, in, data);
}

bool http_body_done(const struct http_body *b)
{
    return b->state == BODY_DONE;
}
