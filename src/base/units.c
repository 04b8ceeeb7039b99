/* base/units.c - sizes and durations. */
#include "base/units.h"

#include "base/clock.h"

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit size_units[] = {
    {"GiB", INT64_C(1) << 30}, {"MiB", INT64_C(1) << 20}, {"KiB", INT64_C(1) << 10}, {"B", 1}};
static const struct unit duration_units[] = {{"h", 3600 * (int64_t)NS_PER_SEC},
                                             {"m", 60 * (int64_t)NS_PER_SEC},
                                             {"s", (int64_t)NS_PER_SEC},
                                             {"ms", (int64_t)NS_PER_MS},
                                             {"us", 1000},
                                             {"ns", 1}};

/* Digits, then one of the units; a number without one counts as `bare` units (0: only the number 0
 * may). */
static int parse(struct str s, const struct unit *units, size_t n, int64_t bare, int64_t *out)
{
    size_t digits = 0;
    uint64_t v;
    int64_t factor = 0;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (str_to_u64((struct str){s.p, digits}, &v) == -1 || v > INT64_MAX)
        return -1;
    s = str_skip(s, digits);
    if (s.n == 0)
        factor = v == 0 ? 1 : bare;
    for (size_t i = 0; i < n && s.n > 0; i++)
        if (str_equal_nocase(s, str_from(units[i].name)))
            factor = units[i].factor;
    if (factor == 0 || __builtin_mul_overflow((int64_t)v, factor, out))
        return -1;
    return 0;
}

int units_parse_size(struct str s, int64_t *bytes)
{
    return parse(s, size_units, ARRAY_LEN(size_units), 1, bytes);
}

int units_parse_duration(struct str s, int64_t *ns)
{
    return parse(s, duration_units, ARRAY_LEN(duration_units), 0, ns);
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
        format(bytes, size_units, ARRAY_LEN(size_units), out, cap);
}

void units_format_duration(int64_t ns, char *out, size_t cap)
{
    if (ns == 0)
        snprintf(out, cap, "0s");
    else
        format(ns, duration_units, ARRAY_LEN(duration_units), out, cap);
}
