/* options.c - the option table, the command line, the scenario file, --help. */
#include "options.h"

#include "base/out.h"
#include "base/program.h"
#include "base/read_whole_file.h"
#include "base/suggest.h"
#include "base/table.h"
#include "codec/table_yaml.h"
#include "proc/version.h"

#define RATE_DEFAULT   10 /* messages per second where the scenario needs a rate */
#define FILE_MAX_BYTES ((size_t)1024 * 1024)

static const char *const scenario_help[SCENARIO_NR] = {
    [SCENARIO_HOLD] = "open connections and keep them",
    [SCENARIO_BROADCAST] =
        "publishers at a fixed rate, subscribers that check order and measure delay",
    [SCENARIO_ECHO] = "each connection sends and waits for its own message",
    [SCENARIO_CHURN] = "keep connections and replace some all the time",
    [SCENARIO_STORM] = "drop all connections at once and measure the recovery",
    [SCENARIO_CHAT] = "rooms of people who talk, leave and join",
    [SCENARIO_SLOW] = "as broadcast, with a share of subscribers that stop reading",
};
static const char *const scenario_names[SCENARIO_NR] = {"hold",  "broadcast", "echo", "churn",
                                                        "storm", "chat",      "slow"};

/* The scenario is a key of the file and the command line's word; then come the options. */
static const struct table_row rows[] = {
    {.name = "scenario",
     .type = TABLE_CHOICE,
     .def = "hold|broadcast|echo|churn|storm|chat|slow",
     .offset = offsetof(struct options, scenario),
     .size = sizeof(enum scenario)},
#define SECTION(title)
#define X(member, name_, type_, def_, min_, max_, help_)                                           \
    {.name = name_,                                                                                \
     .type = TABLE_##type_,                                                                        \
     .def = def_,                                                                                  \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .sentence = help_,                                                                            \
     .offset = offsetof(struct options, member),                                                   \
     .size = sizeof(((struct options *)0)->member)},
#include "options.def"
#undef X
#undef SECTION
};
_Static_assert(ARRAY_LEN(rows) == sizeof(((struct options *)0)->set), "a mark for each row");
_Static_assert(sizeof(enum scenario) == sizeof(int), "a CHOICE is an int");

static const struct table table = {.rows = rows,
                                   .n = ARRAY_LEN(rows),
                                   .size = sizeof(struct options),
                                   .set = offsetof(struct options, set),
                                   .help = "see roostload --help"};

enum row {
    ROW_SCENARIO = 0,
#define SECTION(title)
#define X(member, name_, type_, def_, min_, max_, help_) ROW_##member,
#include "options.def"
#undef X
#undef SECTION
};

static const struct { /* of --help: a heading, or an option */
    const char *section;
    enum row row;
} lines[] = {
#define SECTION(title)                                   {.section = title},
#define X(member, name_, type_, def_, min_, max_, help_) {.row = ROW_##member},
#include "options.def"
#undef X
#undef SECTION
};

static enum shell completed; /* of --completion */

/* Of the command line alone. */
static const struct program_option general[] = {
    {.name = "config",
     .value = "FILE",
     .help = "scenario file: YAML mapping of \"scenario\" and the options above",
     .section = "General",
     .command = -1},
    {.name = "completion",
     .value = "SHELL",
     .words = SHELL_WORDS,
     .help = "print a script that completes this command line, and exit",
     .command = -1},
    {.name = "manual", .help = "print the manual page (roff) and exit", .command = -1},
    {.name = "help", .help = "this text", .command = -1},
    {.name = "version", .help = "version", .command = -1},
};

const char *scenario_name(enum scenario s)
{
    return scenario_names[s];
}

size_t options_count(void)
{
    return ARRAY_LEN(rows) - 1;
}

const char *options_name(size_t i)
{
    return rows[i + 1].name;
}

struct str options_show(const struct options *o, size_t i, char *out, size_t cap)
{
    return table_format(&table, o, i + 1, out, cap);
}

static void unknown(struct str name, char *err, size_t errcap)
{
    struct suggest s;

    suggest_init(&s, name);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        suggest_offer(&s, rows[i].name);
    for (size_t i = 0; i < ARRAY_LEN(general); i++)
        suggest_offer(&s, general[i].name);
    if (s.nearest != NULL)
        snprintf(err, errcap, "unknown option \"%.*s\"; did you mean --%s?",
                 (int)MIN(name.n, (size_t)60), name.p, s.nearest);
    else
        snprintf(err, errcap, "unknown option \"%.*s\"; see roostload --help",
                 (int)MIN(name.n, (size_t)60), name.p);
}

void options_usage(void)
{
    char left[24];

    out_printf(
        "usage: roostload SCENARIO [options]\n"
        "       roostload --config FILE [options]\n\n"
        "Loads a WebSocket server with long-lived connections and measures it.\n\nScenarios:\n");
    for (size_t i = 0; i < SCENARIO_NR; i++)
        out_printf("  %-12s %s\n", scenario_names[i], scenario_help[i]);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct table_row *row = &rows[lines[i].row];

        if (lines[i].section != NULL)
            out_printf("\n%s:\n", lines[i].section);
        else if (row->type == TABLE_BOOL)
            out_printf("  --%-18s %s\n", row->name, row->sentence);
        else
            out_printf("  --%-18s %s%s%s%s\n", row->name, row->sentence, row->def[0] ? " [" : "",
                       row->def, row->def[0] ? "]" : "");
    }
    out_printf(
        "\n--fail-if compares a counter or a latency of the results. lost is the messages lost and "
        "the\n"
        "connections that the server did not keep: gaps + connection_lost + server_closed +\n"
        "protocol_errors. Messages never sent (not_sent), duplicates, reordered, misrouted and "
        "damaged\n"
        "are counters of their own.\n"
        "\nGeneral:\n");
    for (size_t i = 0; i < ARRAY_LEN(general); i++) {
        snprintf(left, sizeof(left), "%s %s", general[i].name,
                 general[i].value != NULL ? general[i].value : "");
        out_printf("  --%-18s %s\n", left, general[i].help);
    }
    out_printf(
        "\nExit status: 0 done, 1 the test could not run, 2 usage, 3 a --fail-if was true.\n");
}

/* The table for manual pages and shells. */
static struct program describe(struct program_option *all)
{
    static const struct program_status statuses[] = {{-1, 0, "done"},
                                                     {-1, 1, "the test could not run"},
                                                     {-1, 2, "wrong usage"},
                                                     {-1, 3, "a --fail-if was true"}};
    static struct program_command scenarios[SCENARIO_NR];
    const char *section = NULL;
    size_t n = 0;

    for (size_t i = 0; i < SCENARIO_NR; i++)
        scenarios[i] = (struct program_command){scenario_names[i], "", scenario_help[i], ""};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct table_row *row = &rows[lines[i].row];
        bool file = lines[i].row == ROW_json || lines[i].row == ROW_html || lines[i].row == ROW_ca;

        if (lines[i].section != NULL) {
            section = lines[i].section;
            continue;
        }
        all[n++] = (struct program_option){.name = row->name,
                                           .value = row->type == TABLE_BOOL ? NULL
                                                    : file                  ? "FILE"
                                                                            : "VALUE",
                                           .words = row->type == TABLE_CHOICE ? row->def : NULL,
                                           .help = row->sentence,
                                           .section = section,
                                           .command = -1};
        section = NULL;
    }
    memcpy(all + n, general, sizeof(general));
    return (struct program){
        .name = "roostload",
        .version = version_string(),
        .section = 1,
        .line = "a load generator for long-lived WebSocket connections",
        .synopsis = "SCENARIO [options]",
        .description = "Opens connections to a WebSocket server, holds them, has them send and "
                       "receive, and measures what comes of it: connections lost, messages lost, "
                       "late or out of order, latencies with percentiles.\n\n"
                       "Targets that are not on loopback want --i-own-the-target.",
        .options = all,
        .noptions = n + ARRAY_LEN(general),
        .commands_title = "SCENARIOS",
        .commands = scenarios,
        .ncommands = SCENARIO_NR,
        .statuses = statuses,
        .nstatuses = ARRAY_LEN(statuses),
        .see_also = "roostd(8), roostctl(1)",
    };
}

int options_describe(bool manual, struct buf *out)
{
    struct program_option all[ARRAY_LEN(lines) + ARRAY_LEN(general)];
    struct program p = describe(all);

    return manual ? program_manual(&p, out) : program_completion(&p, completed, out);
}

void options_complain(struct buf *errors, const char *text)
{
    /* Without memory for the message the exit status still tells. */
    if (buf_printf(errors, "roostload: %s\n", text) == -1)
        return;
}

static int set(struct options *o, int row, struct str value, struct buf *errors)
{
    char err[384], text[512];

    if (table_set(&table, o, (size_t)row, value, err, sizeof(err)) == 0)
        return 0;
    snprintf(text, sizeof(text), "%s: %s", rows[row].name, err);
    options_complain(errors, text);
    return -1;
}

static int take_file(struct options *o, const char *path, struct buf *errors)
{
    bool pipe;
    struct buf text = {0};
    char err[256], line[384];
    int rc = read_whole_file(path, FILE_MAX_BYTES, &pipe, &text, err, sizeof(err));

    if (rc == -1) {
        snprintf(line, sizeof(line), "%.120s: %s", path, err);
        options_complain(errors, line);
    } else {
        rc = table_yaml(&table, o, path, buf_view(&text), NULL, errors);
    }
    buf_fini(&text);
    return rc;
}

/* A list that somebody has emptied is the default again. */
static void default_lists(struct options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (table_is_list(rows[i].type) && ((char *)o + rows[i].offset)[0] == '\0')
            table_default(&table, o, i);
}

struct cli {
    struct options *o;
    struct buf *errors;
    bool touched[ARRAY_LEN(rows)]; /* lists the command line has started */
};

/* --name value, --name=value, --flag. Returns how many arguments were used, 0 on error. */
static int take_option(struct cli *cli, char **argv)
{
    struct str arg = str_skip(str_from(argv[0]), 2), name, value;
    size_t eq = str_find(arg, '=');
    char err[256];
    int used = 1, row;

    name = (struct str){arg.p, eq};
    row = table_find(&table, name);
    if (row == ROW_SCENARIO) /* it has no dashes */
        row = -1;
    if (eq < arg.n && row >= 0) {
        value = str_skip(arg, eq + 1);
    } else if (row >= 0 && rows[row].type == TABLE_BOOL) {
        value = STR_LIT("true");
    } else if (argv[1] != NULL && row >= 0) {
        value = str_from(argv[1]);
        used = 2;
    } else {
        if (row >= 0)
            snprintf(err, sizeof(err), "--%s needs a value", rows[row].name);
        else
            unknown(name, err, sizeof(err));
        options_complain(cli->errors, err);
        return 0;
    }
    if (table_is_list(rows[row].type) && !cli->touched[row]) {
        cli->touched[row] = true;
        table_list_clear(&table, cli->o, (size_t)row);
    }
    return set(cli->o, row, value, cli->errors) == -1 ? 0 : used;
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
        if (str_equal(str_from(argv[i]), STR_LIT("--manual")))
            return OPTIONS_MANUAL;
        if (str_equal(str_from(argv[i]), STR_LIT("--completion"))) {
            completed = shell_of(argv[i + 1] != NULL ? argv[i + 1] : "");
            if (completed != SHELL_NR)
                return OPTIONS_COMPLETION;
            options_complain(cli->errors, "--completion: expected bash, zsh or fish");
            return OPTIONS_ERROR;
        }
        file = str_starts_with(str_from(argv[i]), STR_LIT("--config=")) ? argv[i] + 9 : NULL;
        if (str_equal(str_from(argv[i]), STR_LIT("--config")))
            file = argv[i + 1] != NULL ? argv[i + 1] : "";
        if (file != NULL && file[0] == '\0') {
            options_complain(cli->errors, "--config needs a file");
            return OPTIONS_ERROR;
        }
        if (file != NULL && take_file(cli->o, file, cli->errors) == -1)
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

    table_defaults(&table, o);
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
        } else if (set(o, ROW_SCENARIO, arg, errors) == -1) {
            return OPTIONS_ERROR;
        }
    }
    if (!o->set[ROW_SCENARIO]) {
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
