/* options.c - the option table, the command line, --help. */
#include "options.h"

#include "base/out.h"
#include "base/suggest.h"
#include "base/units.h"

enum option_type {
    TYPE_COUNT,
    TYPE_SIZE,
    TYPE_DURATION,
    TYPE_RATE,
    TYPE_TEXT,
    TYPE_LIST,
    TYPE_FLAG
};

#define RATE_DEFAULT 10 /* messages per second where the scenario needs a rate */

struct row {
    const char *section; /* non-NULL: only a heading */
    const char *name;
    enum option_type type;
    const char *def;
    int64_t min, max;
    const char *help;
    size_t offset;
};

static const struct row rows[] = {
#define SECTION(title) {.section = title},
#define X(member, name_, type_, def_, min_, max_, help_)                                           \
    {.name = name_,                                                                                \
     .type = TYPE_##type_,                                                                         \
     .def = def_,                                                                                  \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .help = help_,                                                                                \
     .offset = offsetof(struct options, member)},
#include "options.def"
#undef X
#undef SECTION
};

static const struct {
    const char *name, *help;
} scenarios[SCENARIO_NR] = {
    {"hold", "open connections and keep them"},
    {"broadcast", "publishers at a fixed rate, subscribers that check order and measure delay"},
    {"echo", "each connection sends and waits for its own message"},
    {"churn", "keep connections and replace some all the time"},
    {"storm", "drop all connections at once and measure the recovery"},
    {"chat", "rooms of people who talk, leave and join"},
    {"slow", "as broadcast, with a share of subscribers that stop reading"},
};

/* Of the command line alone. */
static const char *const general[] = {"config", "help", "version"};

const char *scenario_name(enum scenario s)
{
    return scenarios[s].name;
}

size_t options_count(void)
{
    return ARRAY_LEN(rows);
}

const char *options_name(size_t i)
{
    return rows[i].name;
}

static int set_text(char *member, struct str value)
{
    return str_copy(value, member, OPTION_TEXT_MAX);
}

static int add_entry(char *member, struct str value)
{
    size_t used = str_from(member).n;

    if (value.n == 0 || str_find(value, '\n') != value.n || used + value.n + 2 > OPTION_LIST_MAX)
        return -1;
    if (used > 0)
        member[used++] = '\n';
    return str_copy(value, member + used, OPTION_LIST_MAX - used);
}

static int set_rate(const struct row *row, double *member, struct str value)
{
    double v;

    if (str_take_number(&value, &v) == -1 || value.n > 0 || v < (double)row->min ||
        v > (double)row->max)
        return -1;
    *member = v;
    return 0;
}

static int set_number(const struct row *row, int64_t *member, struct str value)
{
    uint64_t count;
    int64_t v;

    if (row->type == TYPE_SIZE) {
        if (units_parse_size(value, &v) == -1)
            return -1;
    } else if (row->type == TYPE_DURATION) {
        if (units_parse_duration(value, &v) == -1)
            return -1;
    } else {
        if (str_to_u64(value, &count) == -1 || count > INT64_MAX)
            return -1;
        v = (int64_t)count;
    }
    if (v < row->min || v > row->max)
        return -1;
    *member = v;
    return 0;
}

static int set_flag(bool *member, struct str value)
{
    if (!str_equal(value, STR_LIT("true")) && !str_equal(value, STR_LIT("false")))
        return -1;
    *member = str_equal(value, STR_LIT("true"));
    return 0;
}

static int set_row(struct options *o, const struct row *row, struct str value)
{
    char *member = (char *)o + row->offset;

    switch (row->type) {
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_DURATION:
        return set_number(row, (int64_t *)(void *)member, value);
    case TYPE_RATE:
        return set_rate(row, (double *)(void *)member, value);
    case TYPE_TEXT:
        return set_text(member, value);
    case TYPE_LIST:
        return add_entry(member, value);
    case TYPE_FLAG:
        return set_flag((bool *)member, value);
    }
    return -1;
}

static void show_number(const struct row *row, int64_t v, char *out, size_t cap)
{
    if (row->type == TYPE_SIZE)
        units_format_size(v, out, cap);
    else if (row->type == TYPE_DURATION)
        units_format_duration(v, out, cap);
    else
        snprintf(out, cap, "%lld", (long long)v);
}

struct str options_show(const struct options *o, size_t i, char *out, size_t cap)
{
    const struct row *row = &rows[i];
    const char *member = (const char *)o + row->offset;
    int64_t number;
    double rate;

    out[0] = '\0';
    switch (row->type) {
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_DURATION:
        memcpy(&number, member, sizeof(number));
        show_number(row, number, out, cap);
        break;
    case TYPE_RATE:
        memcpy(&rate, member, sizeof(rate));
        snprintf(out, cap, "%g", rate);
        break;
    case TYPE_TEXT:
    case TYPE_LIST:
        snprintf(out, cap, "%s", member);
        break;
    case TYPE_FLAG:
        snprintf(out, cap, "%s", *(const bool *)member ? "true" : "false");
        break;
    }
    return str_from(out);
}

static const struct row *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].name != NULL && str_equal(str_from(rows[i].name), name))
            return &rows[i];
    return NULL;
}

int options_find(struct str name)
{
    const struct row *row = find(name);

    return row != NULL ? (int)(row - rows) : -1;
}

bool options_is_list(struct str name)
{
    const struct row *row = find(name);

    return row != NULL && row->type == TYPE_LIST;
}

static const char *expectation(const struct row *row, char *out, size_t cap)
{
    char lo[32], hi[32];

    switch (row->type) {
    case TYPE_COUNT:
    case TYPE_SIZE:
    case TYPE_DURATION:
    case TYPE_RATE:
        show_number(row, row->min, lo, sizeof(lo));
        show_number(row, row->max, hi, sizeof(hi));
        snprintf(out, cap, "%s from %s to %s",
                 row->type == TYPE_DURATION ? "a duration such as 500ms, 10s or 5m"
                 : row->type == TYPE_SIZE   ? "a size such as 512 or 64KiB"
                 : row->type == TYPE_RATE   ? "a number"
                                            : "a whole number",
                 lo, hi);
        break;
    case TYPE_FLAG:
        snprintf(out, cap, "true or false");
        break;
    case TYPE_TEXT:
    case TYPE_LIST:
        snprintf(out, cap, "one line of text, not too long");
        break;
    }
    return out;
}

/* "--" only where the word was an option: a key of the scenario file has none. */
static void unknown(struct str name, const char *dashes, char *err, size_t errcap)
{
    struct suggest s;

    suggest_init(&s, name);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].name != NULL)
            suggest_offer(&s, rows[i].name);
    for (size_t i = 0; i < ARRAY_LEN(general); i++)
        suggest_offer(&s, general[i]);
    if (s.nearest != NULL)
        snprintf(err, errcap, "unknown option \"%.*s\"; did you mean %s%s?",
                 (int)MIN(name.n, (size_t)60), name.p, dashes, s.nearest);
    else
        snprintf(err, errcap, "unknown option \"%.*s\"; see roostload --help",
                 (int)MIN(name.n, (size_t)60), name.p);
}

int options_set(struct options *o, struct str name, struct str value, char *err, size_t errcap)
{
    const struct row *row = find(name);
    char what[160];

    if (row == NULL) {
        unknown(name, "", err, errcap);
        return -1;
    }
    if (set_row(o, row, value) == -1) {
        snprintf(err, errcap, "%s: expected %s, got \"%.*s\"", row->name,
                 expectation(row, what, sizeof(what)), (int)MIN(value.n, (size_t)60), value.p);
        return -1;
    }
    return 0;
}

void options_usage(void)
{
    out_printf(
        "usage: roostload SCENARIO [options]\n"
        "       roostload --config FILE [options]\n\n"
        "Loads a WebSocket server with long-lived connections and measures it.\n\nScenarios:\n");
    for (size_t i = 0; i < SCENARIO_NR; i++)
        out_printf("  %-12s %s\n", scenarios[i].name, scenarios[i].help);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].section != NULL)
            out_printf("\n%s:\n", rows[i].section);
        else if (rows[i].type == TYPE_FLAG)
            out_printf("  --%-18s %s\n", rows[i].name, rows[i].help);
        else
            out_printf("  --%-18s %s%s%s%s\n", rows[i].name, rows[i].help,
                       rows[i].def[0] ? " [" : "", rows[i].def, rows[i].def[0] ? "]" : "");
    }
    out_printf(
        "\n--fail-if compares a counter or a latency of the results. lost is the messages lost and "
        "the\n"
        "connections that the server did not keep: gaps + connection_lost + server_closed +\n"
        "protocol_errors. Messages never sent (not_sent), duplicates, reordered, misrouted and "
        "damaged\n"
        "are counters of their own.\n"
        "\nGeneral:\n"
        "  --config FILE        scenario file: YAML mapping of \"scenario\" and the options above\n"
        "  --help               this text\n"
        "  --version            version\n\n"
        "Exit status: 0 done, 1 the test could not run, 2 usage, 3 a --fail-if was true.\n");
}

static int set_scenario(struct options *o, struct str name)
{
    for (size_t i = 0; i < SCENARIO_NR; i++) {
        if (str_equal(name, str_from(scenarios[i].name))) {
            o->scenario = (enum scenario)i;
            return 0;
        }
    }
    return -1;
}

int options_key(struct options *o, struct str key, struct str value, char *err, size_t errcap)
{
    struct suggest s;

    if (!str_equal(key, STR_LIT("scenario")))
        return options_set(o, key, value, err, errcap);
    if (set_scenario(o, value) == 0) {
        o->have_scenario = true;
        return 0;
    }
    suggest_init(&s, value);
    for (size_t i = 0; i < SCENARIO_NR; i++)
        suggest_offer(&s, scenarios[i].name);
    snprintf(
        err, errcap,
        "scenario: expected hold, broadcast, echo, churn, storm, chat or slow, got \"%.*s\"%s%s%s",
        (int)MIN(value.n, (size_t)60), value.p, s.nearest != NULL ? "; did you mean " : "",
        s.nearest != NULL ? s.nearest : "", s.nearest != NULL ? "?" : "");
    return -1;
}

static void defaults(struct options *o)
{
    memset(o, 0, sizeof(*o));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name != NULL && rows[i].type != TYPE_LIST &&
            set_row(o, &rows[i], str_from(rows[i].def)) == -1)
            abort(); /* a wrong row of the table: the first run finds it */
    }
}

/* Lists start empty, so that what the user gives replaces the default. */
static void default_lists(struct options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *member = (char *)o + rows[i].offset;

        if (rows[i].name != NULL && rows[i].type == TYPE_LIST && member[0] == '\0' &&
            rows[i].def[0] != '\0' && add_entry(member, str_from(rows[i].def)) == -1)
            abort();
    }
}

struct cli {
    struct options *o;
    struct buf *errors;
    char touched[64]; /* lists the command line has started */
};

void options_complain(struct buf *errors, const char *text)
{
    /* Without memory for the message the exit status still tells. */
    if (buf_printf(errors, "roostload: %s\n", text) == -1)
        return;
}

/* --name value, --name=value, --flag. Returns how many arguments were used, 0 on error. */
static int take_option(struct cli *cli, char **argv)
{
    struct str arg = str_skip(str_from(argv[0]), 2), name, value;
    size_t eq = str_find(arg, '=');
    const struct row *row;
    char err[256];
    int used = 1;

    name = (struct str){arg.p, eq};
    row = find(name);
    if (eq < arg.n && row != NULL) {
        value = str_skip(arg, eq + 1);
    } else if (row != NULL && row->type == TYPE_FLAG) {
        value = STR_LIT("true");
    } else if (argv[1] != NULL && row != NULL) {
        value = str_from(argv[1]);
        used = 2;
    } else {
        if (row != NULL)
            snprintf(err, sizeof(err), "--%s needs a value", row->name);
        else
            unknown(name, "--", err, sizeof(err));
        options_complain(cli->errors, err);
        return 0;
    }
    if (row != NULL && row->type == TYPE_LIST && !cli->touched[row - rows]) {
        cli->touched[row - rows] = 1;
        ((char *)cli->o + row->offset)[0] = '\0';
    }
    if (options_set(cli->o, name, value, err, sizeof(err)) == -1) {
        options_complain(cli->errors, err);
        return 0;
    }
    return used;
}

/* --config must be read before the other options, which stand above it. */
static enum options_result first_pass(struct cli *cli, int argc, char **argv)
{
    const char *file;

    for (int i = 1; i < argc; i++) {
        if (str_equal(str_from(argv[i]), STR_LIT("--help")))
            return OPTIONS_HELP;
        if (str_equal(str_from(argv[i]), STR_LIT("--version")))
            return OPTIONS_VERSION;
        file = str_starts_with(str_from(argv[i]), STR_LIT("--config=")) ? argv[i] + 9 : NULL;
        if (str_equal(str_from(argv[i]), STR_LIT("--config")))
            file = argv[i + 1] != NULL ? argv[i + 1] : "";
        if (file != NULL && file[0] == '\0') {
            options_complain(cli->errors, "--config needs a file");
            return OPTIONS_ERROR;
        }
        if (file != NULL && options_file(cli->o, file, cli->errors) == -1)
            return OPTIONS_ERROR;
    }
    return OPTIONS_OK;
}

enum options_result options_parse(struct options *o, int argc, char **argv, struct buf *errors)
{
    struct cli cli = {.o = o, .errors = errors};
    enum options_result r;
    char err[256];
    int used, positional = 0;

    _Static_assert(ARRAY_LEN(rows) <= sizeof(cli.touched), "one mark per row");
    defaults(o);
    r = first_pass(&cli, argc, argv);
    if (r != OPTIONS_OK)
        return r;
    for (int i = 1; i < argc; i += used) {
        struct str arg = str_from(argv[i]);

        used = 1;
        if (str_equal(arg, STR_LIT("--config"))) {
            used = 2;
        } else if (str_starts_with(arg, STR_LIT("--config="))) {
            continue;
        } else if (str_starts_with(arg, STR_LIT("--"))) {
            used = take_option(&cli, argv + i);
            if (used == 0)
                return OPTIONS_ERROR;
        } else if (positional++ > 0) {
            snprintf(err, sizeof(err), "one scenario is enough, and \"%.60s\" is another word",
                     argv[i]);
            options_complain(errors, err);
            return OPTIONS_ERROR;
        } else if (options_key(o, STR_LIT("scenario"), arg, err, sizeof(err)) == -1) {
            options_complain(errors, err);
            return OPTIONS_ERROR;
        }
    }
    if (!o->have_scenario) {
        options_complain(errors,
                         "which scenario? hold, broadcast, echo, churn, storm, chat or slow; see "
                         "roostload --help");
        return OPTIONS_ERROR;
    }
    default_lists(o);
    if (o->rate <= 0 && o->scenario != SCENARIO_ECHO)
        o->rate = RATE_DEFAULT;
    return OPTIONS_OK;
}
