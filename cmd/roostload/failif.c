/* failif.c - see failif.h. */
#include "failif.h"

#include "base/units.h"

const char *failif_main_latency(enum scenario s)
{
    switch (s) {
    case SCENARIO_BROADCAST:
    case SCENARIO_CHAT:
    case SCENARIO_SLOW:
        return "delivery";
    case SCENARIO_ECHO:
        return "echo";
    case SCENARIO_HOLD:
    case SCENARIO_CHURN:
    case SCENARIO_STORM:
    case SCENARIO_NR:
        break;
    }
    return "ready";
}

const struct hdr *failif_latency(const struct load_metrics *m, struct str name)
{
#define COUNTER(member, label, meaning)
#define LATENCY(member, label, meaning)                                                            \
    if (str_equal(name, STR_LIT(#member)))                                                         \
        return &m->member;
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return NULL;
}

static int counter(const struct load_metrics *m, struct str name, double *out)
{
    if (str_equal(name, STR_LIT("lost"))) {
        *out = (double)(m->gaps + m->connection_lost);
        return 0;
    }
#define COUNTER(member, label, meaning)                                                            \
    if (str_equal(name, STR_LIT(#member))) {                                                       \
        *out = (double)m->member;                                                                  \
        return 0;                                                                                  \
    }
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
    return -1;
}

static int quantile(const struct hdr *h, struct str which, double *out)
{
    char text[16], *end;
    double q;

    if (str_equal(which, STR_LIT("max"))) {
        *out = (double)h->max;
        return 0;
    }
    if (str_equal(which, STR_LIT("count"))) {
        *out = (double)h->count;
        return 0;
    }
    if (which.n < 2 || which.p[0] != 'p' || str_copy(str_skip(which, 1), text, sizeof(text)) == -1)
        return -1;
    q = strtod(text, &end);
    if (*end != '\0' || q <= 0 || q > 100)
        return -1;
    *out = (double)hdr_quantile(h, q / 100);
    return 0;
}

/* The left side: NAME, NAME.pQ, or pQ / max of the main latency. */
static int evaluate(struct str left, enum scenario s, const struct load_metrics *m, double *out)
{
    size_t dot = str_find(left, '.');
    struct str name = {left.p, dot};
    const struct hdr *h = failif_latency(m, name);

    if (h != NULL && dot < left.n)
        return quantile(h, str_skip(left, dot + 1), out);
    if (counter(m, left, out) == 0)
        return 0;
    h = failif_latency(m, str_from(failif_main_latency(s)));
    return quantile(h, left, out);
}

static int right_side(struct str right, double *out)
{
    char text[32], *end;
    int64_t ns;

    if (str_copy(right, text, sizeof(text)) == -1 || right.n == 0)
        return -1;
    *out = strtod(text, &end);
    if (*end == '\0')
        return 0;
    if (units_parse_duration(right, &ns) == -1)
        return -1;
    *out = (double)ns;
    return 0;
}

int failif_check(struct str e, enum scenario s, const struct load_metrics *m, double *value,
                 char *err, size_t errcap)
{
    size_t at = 0;
    bool greater, equal;
    struct str left, right;
    double limit;

    while (at < e.n && e.p[at] != '<' && e.p[at] != '>')
        at++;
    greater = at < e.n && e.p[at] == '>';
    equal = at + 1 < e.n && e.p[at + 1] == '=';
    left = str_trim((struct str){e.p, at});
    right = at < e.n ? str_trim(str_skip(e, at + 1 + equal)) : STR_NULL;
    if (at == e.n || right_side(right, &limit) == -1 || evaluate(left, s, m, value) == -1) {
        snprintf(err, errcap,
                 "--fail-if '%.*s': expected for example 'p99>50ms', 'lost>0', 'ready.p99.9>1s' or "
                 "'connect_failed>0'",
                 STR_ARG(e));
        return -1;
    }
    if (greater)
        return equal ? *value >= limit : *value > limit;
    return equal ? *value <= limit : *value < limit;
}
