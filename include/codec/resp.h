/* codec/resp.h - RESP3, the protocol between Redis and its clients: commands out, values in.
 *
 * https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md. A value is scanned until all of it
 * is there, each byte once, then read node by node as views into the same bytes. Streamed values
 * (lengths of '?') are not spoken by any server without being asked and are refused. */
#ifndef ROOST_CODEC_RESP_H
#define ROOST_CODEC_RESP_H

#include "base/buf.h"
#include "base/str.h"

#define RESP_DEPTH_MAX 8
#define RESP_BULK_MAX  (64u << 20) /* bytes of one string */
#define RESP_ITEMS_MAX (1u << 24)  /* children of one node */

enum resp_type { /* as on the wire */
                 RESP_SIMPLE = '+',
                 RESP_ERROR = '-',
                 RESP_NUMBER = ':',
                 RESP_BULK = '$',
                 RESP_ARRAY = '*',
                 RESP_NULL = '_', /* also RESP2's $-1 and *-1 */
                 RESP_BOOL = '#',
                 RESP_DOUBLE = ',',
                 RESP_BIG = '(',
                 RESP_BULK_ERROR = '!',
                 RESP_VERBATIM = '=',
                 RESP_MAP = '%',
                 RESP_SET = '~',
                 RESP_PUSH = '>',
                 RESP_ATTRIBUTE = '|'
};

struct resp_scan { /* zeroed: at the beginning of a value */
    size_t at;     /* bytes looked at */
    size_t skip;   /* of a string's bytes, with its line end: still to come */
    unsigned depth;
    uint32_t left[RESP_DEPTH_MAX]; /* nodes still to come, by depth */
};

/* Looks for the end of the value at the front of `in`, which begins with the same byte as in the
 * call before and has only grown. > 0: the value's bytes, and *s is zeroed for the next one; 0: more
 * is needed; -1: this is not RESP3, or beyond the limits. */
ssize_t resp_scan(struct resp_scan *s, struct str in) MUST_CHECK;

/* So many bytes the value under way has at least, those of a string that are still to come included. */
static inline size_t resp_scan_bytes(const struct resp_scan *s)
{
    return s->at + s->skip;
}

struct resp_node {
    enum resp_type type;
    struct str text; /* SIMPLE, ERROR, BULK, BULK_ERROR, VERBATIM, DOUBLE, BIG; borrowed */
    int64_t number;  /* NUMBER; BOOL: 0 or 1 */
    uint32_t n;      /* nodes that follow: ARRAY, SET, PUSH; MAP: twice the pairs */
};

/* Takes the next node off *rest, bytes of a value that has been scanned; attributes are passed over.
 * False: there is none. */
bool resp_next(struct str *rest, struct resp_node *out);
/* Takes a node's n children off *rest, whatever they hold. */
void resp_skip(struct str *rest, uint32_t n);
/* The next node as text or number. False: it is another kind of node (taken all the same). */
bool resp_next_text(struct str *rest, struct str *out);
bool resp_next_number(struct str *rest, int64_t *out);

/* A command of n arguments, each given by resp_arg() and its like next. -1: no memory. */
int resp_command(struct buf *out, size_t n) MUST_CHECK;
int resp_arg(struct buf *out, struct str s) MUST_CHECK;
int resp_arg_u64(struct buf *out, uint64_t v) MUST_CHECK;
/* Whole commands of few texts: resp_write(out, 2, "HELLO", "3"). */
int resp_write(struct buf *out, size_t n, ...) MUST_CHECK;

#endif
