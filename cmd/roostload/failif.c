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
        *out = (double)(m->gaps + m->connection_lost + m->server_closed + m->protocol_errors);
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

static int quantile(const struct hdr *h, struct str which, struct failif *out)
{
    double q;

    if (str_equal(which, STR_LIT("count"))) {
        out->value = (double)h->count;
        return 0;
    }
    out->time = true;
    out->unmeasured = h->count == 0;
    if (str_equal(which, STR_LIT("max"))) {
        out->value = (double)h->max;
        return 0;
    }
    if (which.n < 2 || which.p[0] != 'p')
        return -1;
    which = str_skip(which, 1);
    if (str_take_number(&which, &q) == -1 || which.n > 0 || q <= 0 || q > 100)
        return -1;
    out->value = (double)hdr_quantile(h, q / 100);
    return 0;
}

/* The left side: NAME, NAME.pQ, or pQ / max of the main latency. */
static int evaluate(struct str left, enum scenario s, const struct load_metrics *m,
                    double storm_recovery_s, struct failif *out)
{
    size_t dot = str_find(left, '.');
    struct str name = {left.p, dot};
    const struct hdr *h = failif_latency(m, name);

    if (str_equal(left, STR_LIT("storm_recovery"))) {
        out->time = true;
        out->unmeasured = storm_recovery_s < 0;
        out->value = out->unmeasured ? 0 : storm_recovery_s * 1e9;
        return 0;
    }
    if (h != NULL && dot < left.n)
        return quantile(h, str_skip(left, dot + 1), out);
    if (counter(m, left, &out->value) == 0)
        return 0;
    h = failif_latency(m, str_from(failif_main_latency(s)));
    return quantile(h, left, out);
}

/* A number, and for a time its unit: "50ms", "1.5 s". */
static int right_side(struct str right, bool time, double *out)
{
    int64_t unit_ns;
    char one[16];

    if (str_take_number(&right, out) == -1)
        return -1;
    right = str_trim(right);
    if (!time)
        return right.n == 0 ? 0 : -1;
    snprintf(one, sizeof(one), "1%.*s", (int)MIN(right.n, (size_t)8), right.p);
    if (units_parse_duration(str_from(one), &unit_ns) == -1)
        return -1;
    *out *= (double)unit_ns;
    return 0;
}

static bool compare(double value, bool greater, bool equal, double limit)
{
    if (greater)
        return equal ? value >= limit : value > limit;
    return equal ? value <= limit : value < limit;
}

int failif_check(struct str e, enum scenario s, const struct load_metrics *m,
                 double storm_recovery_s, struct failif *out, char *err, size_t errcap)
{
    size_t at = 0;
    bool greater, equal;
    struct str left, right;
    double limit = 0;
    const char *wrong = NULL;

    *out = (struct failif){0};
    while (at < e.n && e.p[at] != '<' && e.p[at] != '>')
        at++;
    greater = at < e.n && e.p[at] == '>';
    equal = at + 1 < e.n && e.p[at + 1] == '=';
    left = str_trim((struct str){e.p, at});
    right = at < e.n ? str_trim(str_skip(e, at + 1 + equal)) : STR_NULL;
    if (at == e.n)
        wrong = "no > or < in it";
    else if (evaluate(left, s, m, storm_recovery_s, out) == -1)
        wrong = "nothing of that name is measured";
    else if (right_side(right, out->time, &limit) == -1)
        wrong = out->time ? "a time is a number with its unit (us, ms, s)"
                          : "a count is a number without a unit";
    if (wrong != NULL) {
        snprintf(err, errcap,
                 "--fail-if '%.*s': %s; expected for example 'p99>50ms', 'lost>0', "
                 "'ready.p99.9>1s' or 'connect_failed>0'",
                 (int)MIN(e.n, (size_t)60), e.p, wrong);
        return -1;
    }
    out->fails = out->unmeasured || compare(out->value, greater, equal, limit);
    return 0;
}
