/* cmd/roostctl/metrics.c - the page of /metrics for people: a line for each series, histograms folded. */
#include <math.h>

#include "base/out.h"
#include "ctl.h"

#define NAME_MAX_BYTES   128
#define LABELS_MAX_BYTES 512

struct series {              /* views into the page */
    struct str name, labels; /* labels without braces */
    double value;
};

static bool take_series(struct str line, struct series *s)
{
    char number[64];
    size_t end, space = line.n;

    if (line.n == 0 || line.p[0] == '#')
        return false;
    while (space > 0 && line.p[space - 1] != ' ')
        space--;
    if (space == 0 || str_copy(str_skip(line, space), number, sizeof(number)) == -1)
        return false;
    s->value = strtod(number, NULL);
    line.n = space - 1;
    end = str_find(line, '{');
    s->name = (struct str){line.p, end};
    s->labels = STR_LIT("");
    if (end < line.n && line.p[line.n - 1] == '}')
        s->labels = (struct str){line.p + end + 1, line.n - end - 2};
    return true;
}

static bool ends_with(struct str s, struct str end)
{
    return s.n > end.n && str_equal(str_skip(s, s.n - end.n), end);
}

static struct str without(struct str s, size_t end)
{
    return (struct str){s.p, s.n - end};
}

/* A text without '*' and '?' is looked for anywhere in the name. */
static bool matches(const struct ctl_line *line, struct str name)
{
    struct str pattern;

    if (line->count == 0)
        return true;
    pattern = str_from(line->operands[0]);
    if (str_find(pattern, '*') < pattern.n || str_find(pattern, '?') < pattern.n)
        return str_glob(pattern, name);
    return pattern.n == 0 || memmem(name.p, name.n, pattern.p, pattern.n) != NULL;
}

/* ---- a value for people, by its unit, which is the end of the name ---- */

static const char *seconds(double v, char *out)
{
    static const struct {
        double from, scale;
        const char *unit;
    } units[] = {{1e-3, 1e3, "ms"}, {1e-6, 1e6, "us"}, {0, 1e9, "ns"}};

    if (v >= 1 || !(v > 0)) {
        snprintf(out, CTL_NUMBER_MAX, v < 100 ? "%.3gs" : "%.0fs", v);
        return out;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (v >= units[i].from) {
            snprintf(out, CTL_NUMBER_MAX, "%.3g%s", v * units[i].scale, units[i].unit);
            break;
        }
    return out;
}

static const char *shown(struct str name, double v, char *out)
{
    if (ends_with(name, STR_LIT("_total")))
        name = without(name, 6);
    if (isnan(v) || isinf(v) || v < 0)
        snprintf(out, CTL_NUMBER_MAX, "%g", v);
    else if (ends_with(name, STR_LIT("_seconds")) && v < 1e8) /* else a time of day */
        return seconds(v, out);
    else if (ends_with(name, STR_LIT("_bytes")))
        return ctl_bytes(v, out);
    else if (v < 1e15 && v >= floor(v) && v <= floor(v))
        snprintf(out, CTL_NUMBER_MAX, "%.0f", v);
    else
        snprintf(out, CTL_NUMBER_MAX, "%.6g", v);
    return out;
}

/* ---- histograms ---- */

struct fold { /* one while its buckets are read */
    bool any;
    unsigned empty; /* of them all so far: nothing was observed */
    char name[NAME_MAX_BYTES];
    double count, sum;
    size_t n;                          /* of the buckets */
    double ends[64], counts[64];       /* cumulative */
    char labels[LABELS_MAX_BYTES + 1]; /* without le */
};

/* le, and the labels without it. */
static double bucket_end(struct str labels, char *rest, size_t cap)
{
    static const char le[] = "le=\"";
    const char *at = memmem(labels.p, labels.n, le, sizeof(le) - 1);
    struct str value = STR_LIT("+Inf");
    char text[64];

    rest[0] = '\0';
    if (at != NULL) {
        value = str_skip(labels, (size_t)(at - labels.p) + sizeof(le) - 1);
        value.n = str_find(value, '"');
        labels.n = (size_t)(at - labels.p);
        if (labels.n > 0 && labels.p[labels.n - 1] == ',')
            labels.n--;
    }
    if (str_copy(labels, rest, cap) == -1)
        rest[0] = '\0';
    if (str_copy(value, text, sizeof(text)) == -1)
        return INFINITY;
    return strtod(text, NULL);
}

static double quantile(const struct fold *f, double q)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->counts[i] >= q * f->count)
            return f->ends[i];
    return INFINITY;
}

static void end_fold(struct fold *f, struct ctl_table *t, bool all)
{
    char text[3][CTL_NUMBER_MAX];
    struct str name = str_from(f->name);

    if (f->any && (all || f->count > 0)) {
        double mean = f->count > 0 ? f->sum / f->count : 0;

        ctl_cell_text(t, name);
        ctl_cell_text(t, str_from(f->labels));
        ctl_cell(t, "%.0f, mean %s, p50 <= %s, p99 <= %s", f->count, shown(name, mean, text[0]),
                 shown(name, quantile(f, 0.5), text[1]), shown(name, quantile(f, 0.99), text[2]));
    } else if (f->any) {
        f->empty++;
    }
    f->any = false;
    f->n = 0;
}

/* Is the line a part of a histogram? _bucket lines come first, then _sum, then _count. */
static bool fold(struct fold *f, const struct series *s, struct ctl_table *t, bool all)
{
    char labels[LABELS_MAX_BYTES + 1];
    double end;

    if (f->any && ends_with(s->name, STR_LIT("_sum")) &&
        str_equal(without(s->name, 4), str_from(f->name))) {
        f->sum = s->value;
        return true;
    }
    if (f->any && ends_with(s->name, STR_LIT("_count")) &&
        str_equal(without(s->name, 6), str_from(f->name))) {
        f->count = s->value;
        end_fold(f, t, all);
        return true;
    }
    if (!ends_with(s->name, STR_LIT("_bucket")))
        return false;
    end = bucket_end(s->labels, labels, sizeof(labels));
    if (!f->any) {
        *f = (struct fold){.any = true, .empty = f->empty};
        if (str_copy(without(s->name, 7), f->name, sizeof(f->name)) == -1)
            f->name[0] = '\0';
        memcpy(f->labels, labels, sizeof(labels));
    }
    if (f->n < ARRAY_LEN(f->ends)) {
        f->ends[f->n] = end;
        f->counts[f->n++] = s->value;
    }
    return true;
}

/* ---- the command ---- */

static int print_table(const struct ctl_line *line, struct str page)
{
    static const struct ctl_column columns[] = {CTL_LEFT("metric", 0), CTL_LEFT("labels", 60),
                                                CTL_LEFT("value", 0)};
    struct ctl_table t = ctl_table_of(columns, ARRAY_LEN(columns));
    bool all = line->given[OPTION_METRICS_ALL] != NULL;
    struct fold f = {.any = false};
    unsigned zero = 0;
    struct str one;
    struct series s;
    char text[CTL_NUMBER_MAX];
    int rc;

    while (page.n > 0 && str_cut(&page, '\n', &one)) {
        if (!take_series(one, &s) || !matches(line, s.name) || fold(&f, &s, &t, all))
            continue;
        if (!all && s.value >= 0 && s.value <= 0) {
            zero++;
            continue;
        }
        ctl_cell_text(&t, s.name);
        ctl_cell_text(&t, s.labels);
        ctl_cell(&t, "%s", shown(s.name, s.value, text));
    }
    rc = ctl_table_print(&t);
    if (line->count > 0 && zero + f.empty > 0)
        out_printf("%u more %s 0: --all prints them\n", zero + f.empty,
                   zero + f.empty == 1 ? "is" : "are");
    return rc;
}

/* `a="x",b="y"` as an object: values are written as JSON would, but for what it does not escape so. */
static int put_labels(struct str labels, struct buf *out)
{
    int rc = ctl_put_raw(out, "labels", STR_LIT("{"));

    while (labels.n > 0 && rc == 0) {
        size_t eq = str_find(labels, '='), i = eq + 2;

        if (i > labels.n)
            break;
        while (i < labels.n && labels.p[i] != '"')
            i += labels.p[i] == '\\' ? 2 : 1;
        i = MIN(i, labels.n);
        rc |= buf_printf(out, "\"%.*s\":", (int)eq, labels.p);
        rc |= buf_append(out, (struct str){labels.p + eq + 1, MIN(i + 1, labels.n) - eq - 1});
        labels = str_skip(labels, MIN(i + 1, labels.n));
        if (labels.n > 0 && labels.p[0] == ',') {
            labels = str_skip(labels, 1);
            rc |= buf_append_char(out, ',');
        }
    }
    return rc == 0 ? buf_append_char(out, '}') : -1;
}

static int put_series(const struct series *s, struct buf *out)
{
    char name[NAME_MAX_BYTES], number[CTL_NUMBER_MAX];
    int rc;

    if (str_copy(s->name, name, sizeof(name)) == -1)
        return 0;
    snprintf(number, sizeof(number), isnan(s->value) || isinf(s->value) ? "null" : "%.15g",
             s->value);
    rc = buf_append_lit(out, out->p[out->len - 1] == '[' ? "\n{" : ",\n{");
    rc |= ctl_put_text(out, "name", s->name);
    rc |= put_labels(s->labels, out);
    rc |= ctl_put_raw(out, "value", str_from(number));
    return rc | buf_append_char(out, '}');
}

static int print_json(const struct ctl_line *line, struct str page)
{
    struct buf out = {0};
    struct series s;
    struct str one;
    int rc = buf_append_lit(&out, "{\"metrics\":[");

    while (page.n > 0 && str_cut(&page, '\n', &one) && rc == 0)
        if (take_series(one, &s) && matches(line, s.name))
            rc = put_series(&s, &out);
    if (rc == 0 && buf_append_lit(&out, "]}\n") == 0)
        rc = ctl_print_json(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

static bool any_matches(const struct ctl_line *line, struct str page)
{
    struct series s;
    struct str one;

    while (page.n > 0 && str_cut(&page, '\n', &one))
        if (take_series(one, &s) && matches(line, s.name))
            return true;
    fprintf(stderr, "roostctl: no metric is called \"%.80s\": roostctl metrics --all prints all\n",
            line->count > 0 ? line->operands[0] : "");
    return false;
}

int cmd_metrics(const struct ctl_line *line)
{
    struct buf page = {0};
    int rc = 1;

    if (ctl_ask("/metrics", NULL, &page, false) == 0 && any_matches(line, buf_view(&page)))
        rc = ctl.output == CTL_JSON ? print_json(line, buf_view(&page))
                                    : print_table(line, buf_view(&page));
    buf_fini(&page);
    return rc;
}
