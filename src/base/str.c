/* base/str.c - views: comparison, cutting, numbers, globs. */
#include "base/str.h"

struct str str_from(const char *cstr)
{
    if (cstr == NULL)
        return STR_NULL;
    return (struct str){.p = cstr, .n = strlen(cstr)};
}

bool str_equal(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool str_equal_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_equal((struct str){s.p, prefix.n}, prefix);
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct str str_trim_line_end(struct str s)
{
    for (size_t i = 0; i < 2; i++)
        if (s.n > 0 && s.p[s.n - 1] == "\n\r"[i])
            s.n--;
    return s;
}

struct str str_skip(struct str s, size_t n)
{
    if (n > 0) /* of NULL not even nothing may be skipped: C11 §6.5.6 */
        s = (struct str){.p = s.p + n, .n = s.n - n};
    return s;
}

bool str_cut(struct str *rest, char sep, struct str *part)
{
    size_t at;

    if (rest->p == NULL)
        return false;
    at = str_find(*rest, sep);
    *part = (struct str){rest->p, at};
    if (at == rest->n)
        *rest = STR_NULL;
    else
        *rest = str_skip(*rest, at + 1);
    return true;
}

size_t str_find(struct str s, char c)
{
    const char *hit = s.n == 0 ? NULL : memchr(s.p, c, s.n);

    return hit == NULL ? s.n : (size_t)(hit - s.p);
}

int str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(v, UINT64_C(10), &v) ||
            __builtin_add_overflow(v, (uint64_t)digit, &v))
            return -1;
    }
    *out = v;
    return 0;
}

int str_take_number(struct str *s, double *out)
{
    char text[32], *end;
    size_t n = 0;

    while (n < s->n && ((s->p[n] >= '0' && s->p[n] <= '9') || s->p[n] == '.'))
        n++;
    if (n == 0 || str_copy((struct str){s->p, n}, text, sizeof(text)) == -1)
        return -1;
    *out = strtod(text, &end);
    *s = str_skip(*s, n);
    return *end == '\0' && end != text ? 0 : -1;
}

/* On a mismatch only the last '*' needs to take one byte more, because an earlier one that took
 * more could not match anything the later one cannot: so time is |pattern| * |s| at worst, no
 * recursion. */
bool str_glob(struct str pattern, struct str s)
{
    size_t p = 0, i = 0, star = SIZE_MAX, resume = 0;

    while (i < s.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            resume = i;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == s.p[i])) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

int str_copy(struct str s, char *dst, size_t cap)
{
    if (s.n >= cap) {
        if (cap > 0)
            dst[0] = '\0';
        return -1;
    }
    if (s.n > 0)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return 0;
}
