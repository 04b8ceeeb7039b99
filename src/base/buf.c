/* base/buf.c - growable byte buffer. */
#include "base/buf.h"

#include <stdarg.h>

int buf_reserve(struct buf *b, size_t n)
{
    size_t want, cap;
    char *p;

    if (b->cap - b->len >= n)
        return 0;
    if (__builtin_add_overflow(b->len, n, &want) || want > SIZE_MAX / 2)
        return -1;
    cap = MAX(want, b->cap + b->cap / 2);
    cap = MAX(cap, 64);
    p = realloc(b->p, cap);
    if (p == NULL)
        return -1;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, struct str s)
{
    if (s.n == 0)
        return 0;
    if (buf_reserve(b, s.n) == -1)
        return -1;
    memcpy(b->p + b->len, s.p, s.n);
    b->len += s.n;
    return 0;
}

int buf_append_lit(struct buf *b, const char *cstr)
{
    return buf_append(b, str_from(cstr));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, (struct str){&c, 1});
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    /* One byte more than the text: vsnprintf ends it with a NUL that is not counted. */
    if (n < 0 || buf_reserve(b, (size_t)n + 1) == -1)
        return -1;
    va_start(ap, fmt);
    vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

void buf_drop(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->p, b->p + n, b->len);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

struct str buf_view(const struct buf *b)
{
    return (struct str){.p = b->p, .n = b->len};
}
