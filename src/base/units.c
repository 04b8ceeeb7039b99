/* base/units.c - sizes and durations. */
#include "base/units.h"

#include "base/clock.h"

struct unit {
    const char *name;
    int64_t factor;
};
/* Those with which values are written stand first, largest first. */
#define SIZE_WRITTEN 4
static const struct unit size_units[] = {{"GiB", INT64_C(1) << 30},
                                         {"MiB", INT64_C(1) << 20},
                                         {"KiB", INT64_C(1) << 10},
                                         {"B", 1},
                                         {"GB", 1000000000},
                                         {"MB", 1000000},
                                         {"KB", 1000}};
static const struct unit duration_units[] = {{"h", 3600 * (int64_t)NS_PER_SEC},
                                             {"m", 60 * (int64_t)NS_PER_SEC},
                                             {"s", (int64_t)NS_PER_SEC},
                                             {"ms", (int64_t)NS_PER_MS},
                                             {"us", 1000},
                                             {"ns", 1}};

struct number { /* whole + part / scale */
    uint64_t whole, part, scale;
};

static size_t digits_of(struct str s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* "12" or "0.25" off the front of *s. */
static int take_number(struct str *s, struct number *out)
{
    size_t n = digits_of(*s);

    *out = (struct number){.scale = 1};
    if (str_to_u64((struct str){s->p, n}, &out->whole) == -1)
        return -1;
    *s = str_skip(*s, n);
    if (s->n == 0 || s->p[0] != '.')
        return 0;
    *s = str_skip(*s, 1);
    n = digits_of(*s);
    if (n > 9 || str_to_u64((struct str){s->p, n}, &out->part) == -1)
        return -1;
    for (size_t i = 0; i < n; i++)
        out->scale *= 10;
    *s = str_skip(*s, n);
    return 0;
}

/* The unit's factor off the front of *s, up to the next digit. 0: no such unit. */
static int64_t take_unit(struct str *s, const struct unit *units, size_t n)
{
    struct str name = {s->p, 0};

    while (name.n < s->n && (s->p[name.n] < '0' || s->p[name.n] > '9'))
        name.n++;
    *s = str_skip(*s, name.n);
    for (size_t i = 0; i < n; i++)
        if (str_equal_nocase(name, str_from(units[i].name)))
            return units[i].factor;
    return 0;
}

/* Adds number x factor, which must be a whole number, to *sum. */
static int add(int64_t *sum, const struct number *number, int64_t factor)
{
    int64_t whole, part = 0;

    if (number->whole > INT64_MAX ||
        __builtin_mul_overflow((int64_t)number->whole, factor, &whole) ||
        __builtin_add_overflow(*sum, whole, sum))
        return -1;
    if (number->part > 0) {
        __extension__ unsigned __int128 x =
            (__extension__(unsigned __int128) number->part) * (uint64_t)factor;

        if (x % number->scale != 0)
            return -1;
        part = (int64_t)(x / number->scale);
    }
    return __builtin_add_overflow(*sum, part, sum) ? -1 : 0;
}

int units_parse_size(struct str s, int64_t *bytes)
{
    struct number number;
    int64_t sum = 0, factor = 1;

    if (take_number(&s, &number) == -1)
        return -1;
    if (s.n > 0)
        factor = take_unit(&s, size_units, ARRAY_LEN(size_units));
    if (factor == 0 || s.n > 0 || add(&sum, &number, factor) == -1)
        return -1;
    *bytes = sum;
    return 0;
}

/* Several parts, each of a smaller unit than the one before: "1m30s". */
int units_parse_duration(struct str s, int64_t *ns)
{
    struct number number;
    int64_t sum = 0, factor, last = INT64_MAX;

    if (str_equal(s, STR_LIT("0"))) {
        *ns = 0;
        return 0;
    }
    do {
        if (take_number(&s, &number) == -1)
            return -1;
        factor = take_unit(&s, duration_units, ARRAY_LEN(duration_units));
        if (factor == 0 || factor >= last || add(&sum, &number, factor) == -1)
            return -1;
        last = factor;
    } while (s.n > 0);
    *ns = sum;
    return 0;
}

static void format(int64_t v, const struct unit *units, size_t n, char *out, size_t cap)
{
    size_t i = 0;

    while (i < n - 1 && (v < units[i].factor || v % units[i].factor != 0))
        i++;
    snprintf(out, cap, "%lld%s", (long long)(v / units[i].factor), units[i].name);
}

void units_format_size(int64_t bytes, char *out, size_t cap)
{
    if (bytes % 1024 != 0 || bytes == 0)
        snprintf(out, cap, "%lld", (long long)bytes);
    else
        format(bytes, size_units, SIZE_WRITTEN, out, cap);
}

void units_format_duration(int64_t ns, char *out, size_t cap)
{
    if (ns == 0)
        snprintf(out, cap, "0s");
    else
        format(ns, duration_units, ARRAY_LEN(duration_units), out, cap);
}
