/* commands.c - reads the command line by the table, and prints the table. */
#include "commands.h"

#include "base/suggest.h"
#include "proc/version.h"
#include "values.h"

static const struct program_option options[OPTION_NR] = {
#define OPTION(id, name_, letter_, value_, help_)                                                  \
    {.name = name_, .letter = letter_, .value = value_, .help = help_, .command = -1},
#define COMMAND_OPTION(id, command_, name_, value_, help_)                                         \
    {.name = name_, .value = value_, .help = help_, .command = COMMAND_##command_},
#include "commands.def"
};

static const struct program_command commands[COMMAND_NR] = {
#define COMMAND(name, operands, least, most, line, more) {#name, operands, line, more},
#include "commands.def"
};

static const enum value_kind kinds[OPTION_NR] = {
#define VALUE(id, kind) [OPTION_##id] = VALUE_##kind,
#include "commands.def"
};

static const enum ctl_option apart[][2] = {
#define APART(id, other) {OPTION_##id, OPTION_##other},
#include "commands.def"
};

static const struct {
    int least, most;
} counts[COMMAND_NR] = {
#define COMMAND(name, operands, least, most, line, more) {least, most},
#include "commands.def"
};

static const struct program_status statuses[] = {
#define STATUS(command, code, when) {COMMAND_##command, code, when},
#include "commands.def"
    {-1, 0, "done"},
    {-1, 1, "failed; a sentence on standard error says why"},
    {-1, 2, "wrong usage"},
};

static const struct {
    const char *word, *command;
} elsewhere[] = {
#define ELSEWHERE(word, command) {word, command},
#include "commands.def"
};

static const struct program program = {
    .name = "roostctl",
    .section = 1,
    .line = "talks to a running roostd",
    .synopsis = "COMMAND [OPTIONS] [ARGUMENTS]",
    .description = "Shows what a node does and has it do something, through its admin listener. "
                   "Where that is, and its key, come from --admin and --key, from ROOSTCTL_ADMIN "
                   "and ROOSTCTL_KEY, or from the daemon's own settings (ROOST_CONFIG, "
                   "ROOST_ADMIN_LISTEN, ROOST_API_KEY and so on).",
    .options = options,
    .noptions = ARRAY_LEN(options),
    .commands_title = "COMMANDS",
    .commands = commands,
    .ncommands = ARRAY_LEN(commands),
    .statuses = statuses,
    .nstatuses = ARRAY_LEN(statuses),
    .see_also = "roostd(8), roost.yaml(5), roostload(1)",
};

/* Without memory for the sentence the exit status still tells. */
#define COMPLAIN(error, ...)                                                                       \
    do {                                                                                           \
        if (buf_printf(error, __VA_ARGS__) == -1)                                                  \
            buf_clear(error);                                                                      \
    } while (0)

const char *commands_name(enum ctl_command command)
{
    return commands[command].name;
}

/* A command that does what is meant, or whose name is much like it; NULL: none. */
static const char *command_meant(const char *name, const char *nearest)
{
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (str_equal_nocase(str_from(name), str_from(elsewhere[i].word)))
            return elsewhere[i].command;
    return nearest;
}

enum ctl_command commands_find(const char *name, struct buf *error)
{
    const char *meant;
    struct suggest s;

    suggest_init(&s, str_from(name));
    for (enum ctl_command c = 0; c < COMMAND_NR; c++) {
        if (str_equal(str_from(name), str_from(commands[c].name)))
            return c;
        suggest_offer(&s, commands[c].name);
    }
    meant = command_meant(name, s.nearest);
    if (meant != NULL)
        COMPLAIN(error, "unknown command \"%.60s\"; did you mean \"%s\"?", name, meant);
    else
        COMPLAIN(error, "unknown command \"%.60s\"", name);
    return COMMAND_NR;
}

static bool may_have(const struct program_option *o, const struct ctl_line *line)
{
    return o->command == -1 || (line->have_command && o->command == (int)line->command);
}

/* The option that may have name as its value ("json" of "json|table"), or NULL. */
static const struct program_option *option_with_value(const struct ctl_line *line, struct str name)
{
    for (size_t i = 0; i < OPTION_NR; i++) {
        struct str rest = options[i].value != NULL ? str_from(options[i].value) : STR_NULL, one;

        if (!may_have(&options[i], line) || str_find(rest, '|') == rest.n)
            continue;
        while (str_cut(&rest, '|', &one))
            if (str_equal(one, name))
                return &options[i];
    }
    return NULL;
}

static void unknown_option(const struct ctl_line *line, struct str name, const char *word,
                           struct buf *error)
{
    const struct program_option *of = option_with_value(line, name), *other = NULL;
    struct suggest s;

    if (of != NULL) {
        COMPLAIN(error, "unknown option \"%.60s\"; did you mean --%s %.*s?", word, of->name,
                 STR_ARG(name));
        return;
    }
    if (word[1] != '-' && name.n == 1) { /* no name is like a letter */
        COMPLAIN(error, "unknown option \"%s\"", word);
        return;
    }
    suggest_init(&s, name);
    for (size_t i = 0; i < OPTION_NR; i++) {
        if (may_have(&options[i], line))
            suggest_offer(&s, options[i].name);
        else if (str_equal(name, str_from(options[i].name)))
            other = &options[i];
    }
    if (other != NULL && line->have_command)
        COMPLAIN(error, "%s has no option --%s", commands[line->command].name, other->name);
    else if (other != NULL)
        COMPLAIN(error, "--%s goes behind its command: roostctl %s --%s", other->name,
                 commands[other->command].name, other->name);
    else if (s.nearest != NULL)
        COMPLAIN(error, "unknown option \"%.60s\"; did you mean --%s?", word, s.nearest);
    else
        COMPLAIN(error, "unknown option \"%.60s\"", word);
}

/* Letters of flags are not written together: what is behind one is a value. */
static bool is_letter_of(const struct program_option *o, struct str name)
{
    return o->letter != 0 && name.n > 0 && name.p[0] == o->letter &&
           (name.n == 1 || o->value != NULL);
}

/* The option that word ("--name", "--name=value", "-x", "-xvalue") names, or NULL. */
static const struct program_option *find_option(const struct ctl_line *line, const char *word,
                                                struct buf *error)
{
    bool brief = word[1] != '-';
    struct str name = str_skip(str_from(word), brief ? 1 : 2);

    name.n = brief ? name.n : str_find(name, '=');
    for (size_t i = 0; i < OPTION_NR; i++) {
        const struct program_option *o = &options[i];

        if (may_have(o, line) &&
            (brief ? is_letter_of(o, name) : str_equal(name, str_from(o->name))))
            return o;
    }
    unknown_option(line, name, word, error);
    return NULL;
}

/* The value within the word itself ("--name=value", "-xvalue", "-x=value"), or NULL. */
static const char *value_within(const char *word)
{
    const char *eq = strchr(word, '=');

    if (word[1] == '-')
        return eq != NULL ? eq + 1 : NULL;
    if (word[2] == '\0')
        return NULL;
    return word + (word[2] == '=' ? 3 : 2);
}

/* How many words it took, or -1. */
static int take_option(struct ctl_line *line, char **argv, struct buf *error)
{
    const struct program_option *o = find_option(line, argv[0], error);
    const char *value = value_within(argv[0]);

    if (o == NULL)
        return -1;
    if (o->value == NULL && value != NULL) {
        COMPLAIN(error, "--%s takes no value", o->name);
        return -1;
    }
    if (o->value != NULL && value == NULL && argv[1] == NULL) {
        COMPLAIN(error, "--%s needs a value: --%s %s", o->name, o->name, o->value);
        return -1;
    }
    line->given[o - options] = o->value == NULL ? "" : value != NULL ? value : argv[1];
    return o->value != NULL && value == NULL ? 2 : 1;
}

/* "-" and "-5" are operands. */
static bool is_option(const char *word)
{
    char c = word[0] == '-' ? word[1] : '\0';

    return c == '-' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int take_word(struct ctl_line *line, const char *word, struct buf *error)
{
    if (!line->have_command) {
        line->command = commands_find(word, error);
        line->have_command = line->command != COMMAND_NR;
        return line->have_command ? 0 : -1;
    }
    if (line->count == OPERANDS_MAX) {
        COMPLAIN(error, "more than %d arguments", OPERANDS_MAX);
        return -1;
    }
    line->operands[line->count++] = word;
    return 0;
}

static int check_count(const struct ctl_line *line, struct buf *error)
{
    const struct program_command *c = &commands[line->command];
    int most = counts[line->command].most;

    if (line->count < counts[line->command].least) {
        COMPLAIN(error, "%s: something is missing: roostctl %s %s", c->name, c->name, c->operands);
        return -1;
    }
    if (most >= 0 && line->count > most) {
        COMPLAIN(error, "%s: unexpected argument \"%.60s\"", c->name, line->operands[most]);
        return -1;
    }
    return 0;
}

/* What the options say, by themselves and beside each other. */
static int check_options(const struct ctl_line *line, struct buf *error)
{
    struct buf why = {0};
    int rc = 0;

    for (size_t i = 0; i < OPTION_NR && rc == 0; i++) {
        if (line->given[i] == NULL || values_check(kinds[i], line->given[i], &why) == 0)
            continue;
        COMPLAIN(error, "%s: --%s: %.*s", commands[line->command].name, options[i].name,
                 STR_ARG(buf_view(&why)));
        rc = -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(apart) && rc == 0; i++) {
        if (line->given[apart[i][0]] == NULL || line->given[apart[i][1]] == NULL)
            continue;
        COMPLAIN(error, "%s: --%s does not go with --%s", commands[line->command].name,
                 options[apart[i][0]].name, options[apart[i][1]].name);
        rc = -1;
    }
    buf_fini(&why);
    return rc;
}

int commands_parse(struct ctl_line *line, char **argv, struct buf *error)
{
    bool words_only = false;
    int used;

    memset(line, 0, sizeof(*line));
    for (; argv[0] != NULL; argv += used) {
        used = 1;
        if (!words_only && str_equal(str_from(argv[0]), STR_LIT("--")))
            words_only = true;
        else if (!words_only && is_option(argv[0]))
            used = take_option(line, argv, error);
        else if (take_word(line, argv[0], error) == -1)
            return -1;
        if (used == -1)
            return -1;
    }
    if (line->given[OPTION_HELP] != NULL || line->given[OPTION_VERSION] != NULL)
        return 0;
    if (!line->have_command) {
        COMPLAIN(error, "which command?");
        return -1;
    }
    return check_count(line, error) == -1 ? -1 : check_options(line, error);
}

static int put_option(const struct program_option *o, struct buf *out)
{
    char left[64];

    snprintf(left, sizeof(left), "--%s%s%s%s%c", o->name, o->value != NULL ? " " : "",
             o->value != NULL ? o->value : "", o->letter != 0 ? ", -" : "", o->letter);
    return buf_printf(out, "  %-16s %s\n", left, o->help);
}

static int put_options(int command, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < OPTION_NR && rc == 0; i++)
        if (options[i].command == command)
            rc = put_option(&options[i], out);
    return rc;
}

/* "[--raw] CHANNEL...", or "[OPTIONS] CHANNEL..." where that is wider than the text may be, or
 * "[OPTIONS] ...". */
static void arguments(enum ctl_command c, char *text, size_t cap)
{
    const char *more = *commands[c].operands != '\0' ? " " : "";
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < OPTION_NR && n < cap; i++)
        if (options[i].command == (int)c)
            n += (size_t)snprintf(text + n, cap - n, "[--%s%s%s] ", options[i].name,
                                  options[i].value != NULL ? " " : "",
                                  options[i].value != NULL ? options[i].value : "");
    if (n < cap)
        n += (size_t)snprintf(text + n, cap - n, "%s", commands[c].operands);
    if (n >= cap)
        n = (size_t)snprintf(text, cap, "[OPTIONS]%s%s", more, commands[c].operands);
    if (n >= cap)
        snprintf(text, cap, "[OPTIONS] ...");
}

int commands_usage(struct buf *out)
{
    int rc = buf_append_lit(out, "usage: roostctl COMMAND [OPTIONS] [ARGUMENTS]\n\n");
    char text[24 + 1];

    for (enum ctl_command c = 0; c < COMMAND_NR && rc == 0; c++) {
        arguments(c, text, sizeof(text));
        rc = buf_printf(out, "  %-10s %-24s %s\n", commands[c].name, text, commands[c].line);
    }
    if (rc == 0)
        rc = buf_append_char(out, '\n');
    if (rc == 0)
        rc = put_options(-1, out);
    return rc == 0 ? buf_append_lit(out, "\nroostctl COMMAND --help says more about one.\n"
                                         "Exit status: 0 done, 1 failed, 2 wrong usage.\n")
                   : -1;
}

int commands_usage_of(enum ctl_command command, struct buf *out)
{
    const struct program_command *c = &commands[command];
    char text[50];
    int rc;

    arguments(command, text, sizeof(text));
    rc = buf_printf(out, "usage: roostctl %s%s%s\n\n%s.\n%s%s\n", c->name,
                    text[0] != '\0' ? " " : "", text, c->line, c->more,
                    c->more[0] != '\0' ? "\n" : "");
    if (rc == 0)
        rc = put_options((int)command, out);
    if (rc == 0)
        rc = put_options(-1, out);
    if (rc == 0)
        rc = buf_append_lit(out, "\nExit status:\n");
    for (size_t i = 0; i < ARRAY_LEN(statuses) && rc == 0; i++)
        if (statuses[i].command == (int)command)
            rc = buf_printf(out, "  %d  %s\n", statuses[i].code, statuses[i].when);
    return rc == 0 ? buf_append_lit(out, "  2  wrong usage\n") : -1;
}

int commands_manual(struct buf *out)
{
    struct program p = program;

    p.version = version_string();
    return program_manual(&p, out);
}

int commands_completion(enum shell shell, struct buf *out)
{
    return program_completion(&program, shell, out);
}
