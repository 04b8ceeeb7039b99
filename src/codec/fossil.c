/* codec/fossil.c - deltas: made and applied. */
#include "codec/fossil.h"

#define WINDOW    16    /* bytes that are looked up */
#define TRIED_MAX 8     /* places of the source that are tried for one of the target */
#define LOOKS_MAX 65536 /* fruitless looks at a place of the target, before the rest is inserted */
#define NO_BLOCK  UINT32_MAX

/* ---- numbers and checksum ---- */

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

static int put_number(struct buf *out, uint32_t v, char behind)
{
    char text[8], *p = text + sizeof(text);

    *--p = behind;
    do
        *--p = digits[v & 63];
    while ((v >>= 6) > 0);
    return buf_append(out, (struct str){.p = p, .n = (size_t)(text + sizeof(text) - p)});
}

static size_t number_size(size_t v)
{
    size_t n = 1;

    while ((v >>= 6) > 0)
        n++;
    return n;
}

/* At least one digit; what is behind them stays. */
static int take_number(struct str *rest, uint32_t *out)
{
    uint64_t v = 0;
    size_t i;

    for (i = 0; i < rest->n; i++) {
        const char *at = memchr(digits, rest->p[i], sizeof(digits) - 1);

        if (at == NULL)
            break;
        v = v << 6 | (uint64_t)(at - digits);
        if (v > UINT32_MAX)
            return -1;
    }
    if (i == 0)
        return -1;
    *out = (uint32_t)v;
    *rest = str_skip(*rest, i);
    return 0;
}

static int take_char(struct str *rest, char c)
{
    if (rest->n == 0 || *rest->p != c)
        return -1;
    *rest = str_skip(*rest, 1);
    return 0;
}

/* The sum of all 32-bit numbers, big-endian, the last one filled up with zeros. */
static uint32_t checksum(struct str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i + 4 <= s.n; i += 4)
        sum += (uint32_t)p[i] << 24 | (uint32_t)p[i + 1] << 16 | (uint32_t)p[i + 2] << 8 | p[i + 3];
    for (unsigned shift = 24; i < s.n; i++, shift -= 8)
        sum += (uint32_t)p[i] << shift;
    return sum;
}

/* ---- blocks of the source, found by a hash that can be rolled ---- */

struct rolling {
    uint32_t sum, weighted; /* of the window */
};

static void roll_start(struct rolling *r, const char *p)
{
    *r = (struct rolling){0};
    for (uint32_t i = 0; i < WINDOW; i++) {
        r->sum += (uint8_t)p[i];
        r->weighted += (WINDOW - i) * (uint8_t)p[i];
    }
}

/* The window that begins at p moves on by one byte. */
static void roll_on(struct rolling *r, const char *p)
{
    r->sum += (uint32_t)(uint8_t)p[WINDOW] - (uint8_t)p[0];
    r->weighted += r->sum - WINDOW * (uint32_t)(uint8_t)p[0];
}

static uint32_t roll_hash(const struct rolling *r)
{
    return (r->sum << 16 ^ r->weighted) * 2654435761u;
}

struct blocks {
    struct str source;
    uint32_t *heads; /* by hash: the first block */
    uint32_t *next;  /* of the same hash */
    unsigned shift;  /* of a hash, to an index */
};

static int blocks_make(struct blocks *b, struct str source, struct buf *work)
{
    uint32_t n = (uint32_t)(source.n / WINDOW), nheads = 16;
    struct rolling r;

    b->source = source;
    b->shift = 28;
    for (; nheads < n; nheads *= 2)
        b->shift--;
    buf_clear(work);
    if (buf_reserve(work, ((size_t)nheads + n) * sizeof(uint32_t)) == -1)
        return -1;
    b->heads = (uint32_t *)(void *)work->p;
    b->next = b->heads + nheads;
    memset(b->heads, 0xff, nheads * sizeof(uint32_t));
    for (uint32_t i = n; i > 0; i--) { /* the first block of each hash comes first */
        uint32_t *head;

        roll_start(&r, source.p + (size_t)(i - 1) * WINDOW);
        head = &b->heads[roll_hash(&r) >> b->shift];
        b->next[i - 1] = *head;
        *head = i - 1;
    }
    return 0;
}

struct match {
    size_t source, target, n;
};

static size_t same_forward(const char *a, const char *b, size_t max)
{
    size_t n = 0;
    uint64_t x, y;

    for (; n + 8 <= max; n += 8) {
        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x != y)
            break;
    }
    while (n < max && a[n] == b[n])
        n++;
    return n;
}

static size_t same_backward(const char *a, const char *b, size_t max)
{
    size_t n = 0;

    while (n < max && a[-(ssize_t)n - 1] == b[-(ssize_t)n - 1])
        n++;
    return n;
}

/* The longest match of the window at `at`, not reaching back before `from`. */
static struct match blocks_find(const struct blocks *b, uint32_t hash, struct str target,
                                size_t from, size_t at)
{
    struct match best = {0};
    uint32_t block = b->heads[hash >> b->shift];

    for (unsigned tried = 0; block != NO_BLOCK && tried < TRIED_MAX; tried++) {
        size_t place = (size_t)block * WINDOW;
        const char *s = b->source.p + place, *t = target.p + at;
        size_t ahead = same_forward(s, t, MIN(b->source.n - place, target.n - at));

        if (ahead >= WINDOW) {
            size_t back = same_backward(s, t, MIN(place, at - from));

            if (back + ahead > best.n)
                best =
                    (struct match){.source = place - back, .target = at - back, .n = back + ahead};
        }
        block = b->next[block];
    }
    return best;
}

/* ---- making ---- */

struct maker {
    struct str source, target;
    struct buf *out;
    size_t limit; /* of out->len */
    size_t done;  /* bytes of the target that are written */
};

static bool inside_character(struct str s, size_t at)
{
    return at < s.n && ((uint8_t)s.p[at] & 0xc0) == 0x80;
}

/* Its ends move inwards to ends of characters. */
static void trim_match(const struct maker *m, struct match *x)
{
    for (unsigned i = 0; i < 3 && x->n > 0 && inside_character(m->target, x->target); i++) {
        x->source++;
        x->target++;
        x->n--;
    }
    for (unsigned i = 0; i < 3 && x->n > 0 && inside_character(m->target, x->target + x->n); i++)
        x->n--;
}

/* >0: written. 0: it is getting too long. -1: no memory. */
static int put_insert(struct maker *m, size_t n)
{
    struct str piece = {.p = m->target.p + m->done, .n = n};

    if (n == 0)
        return 1;
    if (m->out->len + n >= m->limit)
        return 0;
    if (put_number(m->out, (uint32_t)n, ':') == -1 || buf_append(m->out, piece) == -1)
        return -1;
    m->done += n;
    return 1;
}

/* A match, and what is between the last one and it. The same if it is not worth it: then nothing is
 * written. */
static int put_match(struct maker *m, struct match x)
{
    int rc;

    trim_match(m, &x);
    /* N@O, in the midst of an insertion, which then has two heads. */
    if (x.n <= number_size(x.n) + number_size(x.source) + 4)
        return 1;
    rc = put_insert(m, x.target - m->done);
    if (rc <= 0)
        return rc;
    if (put_number(m->out, (uint32_t)x.n, '@') == -1 ||
        put_number(m->out, (uint32_t)x.source, ',') == -1)
        return -1;
    m->done += x.n;
    return m->out->len < m->limit;
}

/* Everything up to `end` of the target by copies from anywhere, as far as there are. */
static int put_middle(struct maker *m, size_t end, struct buf *work)
{
    struct str target = {.p = m->target.p, .n = end};
    struct blocks b;
    struct rolling r;
    size_t at = m->done;
    unsigned looks = 0;
    int rc = 1;

    if (m->source.n < WINDOW || end - at < WINDOW)
        return 1;
    if (blocks_make(&b, m->source, work) == -1)
        return -1;
    roll_start(&r, target.p + at);
    while (rc > 0) {
        size_t before = m->done;
        struct match x = blocks_find(&b, roll_hash(&r), target, m->done, at);

        if (x.n > 0)
            rc = put_match(m, x);
        if (m->done > before) {
            at = m->done;
            if (end - at < WINDOW)
                break;
            roll_start(&r, target.p + at);
        } else {
            if (at + WINDOW >= end || ++looks == LOOKS_MAX)
                break;
            roll_on(&r, target.p + at);
            at++;
        }
    }
    return rc;
}

/* Most differences are in one place: what is the same at both ends needs no search. */
static int put_commands(struct maker *m, struct buf *work)
{
    struct str s = m->source, t = m->target;
    size_t shorter = MIN(s.n, t.n), head = same_forward(s.p, t.p, shorter);
    size_t tail = same_backward(s.p + s.n, t.p + t.n, shorter - head);
    int rc = put_match(m, (struct match){.n = head});

    if (rc > 0)
        rc = put_middle(m, t.n - tail, work);
    if (rc > 0)
        rc = put_match(m, (struct match){.source = s.n - tail, .target = t.n - tail, .n = tail});
    if (rc > 0)
        rc = put_insert(m, t.n - m->done);
    return rc;
}

int fossil_create(struct str source, struct str target, size_t max, struct buf *work,
                  struct buf *out)
{
    size_t before = out->len;
    struct maker m = {.source = source, .target = target, .out = out, .limit = before + max};
    int rc;

    if (source.n > INT32_MAX || target.n > INT32_MAX)
        return -1;
    if (source.n == 0)
        m.source = STR_LIT("");
    if (target.n == 0)
        m.target = STR_LIT("");
    rc = put_number(out, (uint32_t)target.n, '\n') == -1 ? -1 : put_commands(&m, work);
    if (rc > 0 && put_number(out, checksum(target), ';') == -1)
        rc = -1;
    if (rc > 0 && out->len >= m.limit)
        rc = 0;
    if (rc <= 0)
        out->len = before;
    return rc;
}

/* ---- applying ---- */

/* One command: what it copies or inserts. */
static int take_piece(struct str source, struct str *rest, struct str *piece)
{
    uint32_t n, at;

    if (take_number(rest, &n) == -1)
        return -1;
    if (take_char(rest, '@') == 0) {
        if (take_number(rest, &at) == -1 || take_char(rest, ',') == -1 || at > source.n ||
            n > source.n - at)
            return -1;
        *piece = (struct str){.p = source.p + at, .n = n};
        return 0;
    }
    if (take_char(rest, ':') == -1 || n > rest->n)
        return -1;
    *piece = (struct str){.p = rest->p, .n = n};
    *rest = str_skip(*rest, n);
    return 0;
}

/* Is what is left the end: the checksum of what has been made? */
static bool take_end(struct str rest, struct str made)
{
    uint32_t sum;

    return take_number(&rest, &sum) == 0 && take_char(&rest, ';') == 0 && rest.n == 0 &&
           sum == checksum(made);
}

int fossil_apply(struct str source, struct str delta, size_t max, struct buf *out)
{
    size_t before = out->len;
    struct str rest = delta, piece;
    uint32_t size;

    if (take_number(&rest, &size) == -1 || take_char(&rest, '\n') == -1 || size > max ||
        buf_reserve(out, size) == -1)
        return -1;
    while (out->len - before < size) {
        if (take_piece(source, &rest, &piece) == -1 || piece.n > size - (out->len - before) ||
            buf_append(out, piece) == -1)
            goto err;
    }
    if (take_end(rest, str_skip(buf_view(out), before)))
        return 0;
err:
    out->len = before;
    return -1;
}
