/* options.c - reads roostd's command line, and prints the table of its options. */
#include "options.h"

#include <getopt.h>

#include "proc/version.h"

enum { OPTION_CHECK = 256, OPTION_PRINT, OPTION_REFERENCE, OPTION_COMPLETION };

static const struct program_option rows[] = {
#define OPTION(id, name_, letter_, argument, value_, words_, help_)                                \
    {.name = name_,                                                                                \
     .letter = letter_,                                                                            \
     .value = value_,                                                                              \
     .words = words_,                                                                              \
     .help = help_,                                                                                \
     .command = -1},
#include "options.def"
};

static const struct option getopt_rows[] = {
#define OPTION(id, name, letter, argument, value, words, help)                                     \
    {name, argument##_argument, NULL, id},
#include "options.def"
    {NULL, 0, NULL, 0}};

static const struct program_status statuses[] = {
    {-1, 0, "stopped as asked, or printed what was asked for"},
    {-1, 1, "could not start"},
    {-1, 2, "wrong usage or settings"},
};

static const struct program program = {
    .name = "roostd",
    .section = 8,
    .line = "a WebSocket gateway",
    .synopsis = "[options]",
    .description =
        "Clients subscribe and publish over WebSocket and HTTP streams, servers publish over HTTP; "
        "one process for each core holds the connections.\n\n"
        "Without options it serves clients on [::]:8000 and administrators on 127.0.0.1:8001. "
        "Settings come from the file, the environment and the options; the later one of these "
        "wins. roost.yaml(5) lists them.\n\n"
        "TERM and INT stop it: clients are closed over drain_time, and a second signal ends at "
        "once. HUP reads the settings again, USR1 opens the log file again. A service manager is "
        "told of each by sd_notify(3).",
    .options = rows,
    .noptions = ARRAY_LEN(rows),
    .statuses = statuses,
    .nstatuses = ARRAY_LEN(statuses),
    .see_also = "roostctl(1), roostload(1), roost.yaml(5)",
};

int options_usage(struct buf *out)
{
    char left[40];
    int rc = buf_append_lit(
        out, "usage: roostd [options]\n\n"
             "A WebSocket gateway: clients subscribe and publish, servers publish over HTTP.\n"
             "Without options it serves clients on [::]:8000 and administrators on "
             "127.0.0.1:8001.\n\n");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct program_option *o = &rows[i];

        snprintf(left, sizeof(left), "--%s%s%s", o->name,
                 o->value != NULL && o->value[0] != '[' ? " " : "",
                 o->value != NULL ? o->value : "");
        rc |=
            o->letter != 0 ? buf_printf(out, "  -%c, ", o->letter) : buf_append_lit(out, "      ");
        rc |= buf_printf(out, "%-19s %s\n", left, o->help);
        if (o->words != NULL)
            rc |= buf_printf(out, "%26s(%s)\n", "", o->words);
    }
    rc |= buf_append_lit(
        out, "\nSignals: TERM, INT stop (clients are closed over drain_time; a second signal ends "
             "at\nonce), HUP reloads the settings, USR1 opens the log file again.\n"
             "Exit status: 0 stopped as asked, 1 could not start, 2 wrong usage or settings.\n");
    return rc == 0 ? 0 : -1;
}

static struct program with_version(void)
{
    struct program p = program;

    p.version = version_string();
    return p;
}

int options_manual(struct buf *out)
{
    struct program p = with_version();

    return program_manual(&p, out);
}

int options_completion(enum shell shell, struct buf *out)
{
    struct program p = with_version();

    return program_completion(&p, shell, out);
}

static enum mode reference_mode(const char *of)
{
    static const struct {
        const char *name;
        enum mode mode;
    } references[] = {{"settings", MODE_REFERENCE},  {"metrics", MODE_METRICS},
                      {"migrating", MODE_MIGRATING}, {"trace", MODE_TRACE},
                      {"manual", MODE_MANUAL},       {"manual-settings", MODE_MANUAL_SETTINGS}};

    for (size_t i = 0; i < ARRAY_LEN(references); i++)
        if (of == NULL || str_equal(str_from(of), str_from(references[i].name)))
            return references[i].mode;
    fprintf(stderr,
            "roostd: --reference=%s: expected =settings, =metrics, =migrating, =trace, =manual "
            "or =manual-settings\n",
            of);
    return MODE_USAGE;
}

static enum mode completion_mode(struct args *a, const char *shell)
{
    a->shell = shell_of(shell);
    if (a->shell != SHELL_NR)
        return MODE_COMPLETION;
    fprintf(stderr, "roostd: --completion %s: expected bash, zsh or fish\n", shell);
    return MODE_USAGE;
}

/* One option. */
static void take(struct args *a, int c)
{
    switch (c) {
    case 'c':
        a->source.path = optarg;
        break;
    case 's':
        if (a->source.nsets < SETS_MAX)
            a->sets[a->source.nsets++] = optarg;
        else
            a->mode = MODE_USAGE;
        break;
    case OPTION_CHECK:
        a->mode = MODE_CHECK;
        break;
    case OPTION_PRINT:
        a->mode = MODE_PRINT;
        break;
    case OPTION_REFERENCE:
        a->mode = reference_mode(optarg);
        break;
    case OPTION_COMPLETION:
        a->mode = completion_mode(a, optarg);
        break;
    case 'V':
        a->mode = MODE_VERSION;
        break;
    case 'h':
        a->mode = MODE_HELP;
        break;
    default: /* getopt_long() has said what is wrong */
        a->mode = MODE_USAGE;
    }
}

void options_parse(struct args *a, int argc, char **argv)
{
    int c;

    while (a->mode != MODE_USAGE &&
           (c = getopt_long(argc, argv, "c:s:Vh", getopt_rows, NULL)) != -1)
        take(a, c);
    if (a->mode != MODE_USAGE && optind < argc) {
        fprintf(stderr, "roostd: unexpected argument \"%s\"\n", argv[optind]);
        a->mode = MODE_USAGE;
    }
}
