/* cmd/roostd/main.c - the gateway daemon: options, then the supervisor. */
#include <getopt.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/log.h"
#include "base/out.h"
#include "net/tls.h"
#include "proc/config_load.h"
#include "proc/exposition.h"
#include "proc/import.h"
#include "proc/supervisor.h"
#include "proc/tls_files.h"
#include "proc/version.h"

#define SETS_MAX 256

enum mode {
    MODE_RUN = 0,
    MODE_CHECK,
    MODE_PRINT,
    MODE_REFERENCE,
    MODE_METRICS,
    MODE_MIGRATING,
    MODE_VERSION,
    MODE_HELP,
    MODE_USAGE
};

struct args {
    enum mode mode;
    const char *sets[SETS_MAX];
    struct config_source source;
};

static void usage(FILE *f)
{
    fprintf(f,
            "usage: roostd [options]\n\n"
            "A WebSocket gateway: clients subscribe and publish, servers publish over HTTP.\n"
            "Without options it serves clients on [::]:8000 and administrators on "
            "127.0.0.1:8001.\n\n"
            "  -c, --config FILE     settings from a YAML file (default: ROOST_CONFIG, else none)\n"
            "  -s, --set NAME=VALUE  one setting; above the file and the environment "
            "(ROOST_NAME=VALUE)\n"
            "      --check           check the settings and exit\n"
            "      --print-config    print all settings in force, annotated, and exit\n"
            "      --reference       print the reference of all settings (Markdown) and exit;\n"
            "                        =metrics of all metrics, =migrating of Centrifugo's options\n"
            "  -V, --version         print the version and exit\n"
            "  -h, --help            print this text and exit\n\n"
            "Signals: TERM, INT stop (clients are closed over drain_time; a second signal ends at\n"
            "once), HUP reloads the settings, USR1 opens the log file again.\n"
            "Exit status: 0 stopped as asked, 1 could not start, 2 wrong usage or settings.\n");
}

static enum mode reference_mode(const char *of)
{
    if (of == NULL)
        return MODE_REFERENCE;
    if (str_equal(str_from(of), STR_LIT("metrics")))
        return MODE_METRICS;
    if (str_equal(str_from(of), STR_LIT("migrating")))
        return MODE_MIGRATING;
    fprintf(stderr, "roostd: --reference=%s: expected --reference, =metrics or =migrating\n", of);
    return MODE_USAGE;
}

static void parse_args(struct args *a, int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"set", required_argument, NULL, 's'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"print-config", no_argument, NULL, 'p'},
                                            {"reference", optional_argument, NULL, 'r'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "c:s:Vh", options, NULL)) != -1) {
        if (c == 'c')
            a->source.path = optarg;
        else if (c == 's' && a->source.nsets < SETS_MAX)
            a->sets[a->source.nsets++] = optarg;
        else if (c == 'k')
            a->mode = MODE_CHECK;
        else if (c == 'p')
            a->mode = MODE_PRINT;
        else if (c == 'r')
            a->mode = reference_mode(optarg);
        else if (c == 'V')
            a->mode = MODE_VERSION;
        else if (c == 'h')
            a->mode = MODE_HELP;
        else
            a->mode = MODE_USAGE;
        if (a->mode == MODE_USAGE)
            return;
    }
    if (optind < argc) {
        fprintf(stderr, "roostd: unexpected argument \"%s\"\n", argv[optind]);
        a->mode = MODE_USAGE;
    }
}

/* Writes what a mode printed; its exit status. */
static int print(struct buf *out, int rc)
{
    if (rc == -1) {
        fprintf(stderr, "roostd: out of memory\n");
        return 1;
    }
    out_write(buf_view(out));
    return 0;
}

/* The settings are good; some may be hardly meant. */
static int check(void)
{
    struct buf lines = {0};
    struct str rest, line;

    if (tls_files_check(&config, &lines) == -1) {
        fwrite(lines.p, 1, lines.len, stderr);
        buf_fini(&lines);
        return 2;
    }
    if (config_warnings(&config, &lines) == -1)
        return print(&lines, -1);
    rest = buf_view(&lines);
    while (rest.n > 0 && str_cut(&rest, '\n', &line))
        if (line.n > 0)
            fprintf(stderr, "warning: %.*s\n", STR_ARG(line));
    buf_fini(&lines);
    out_write(STR_LIT("settings are good\n"));
    return 0;
}

static int run_mode(enum mode mode, const struct config_source *source)
{
    struct buf out = {0};
    int status = 0;

    switch (mode) {
    case MODE_PRINT:
        status = print(&out, config_print(&config, &out));
        break;
    case MODE_REFERENCE:
        status = print(&out, config_reference(&out));
        break;
    case MODE_METRICS:
        status = print(&out, exposition_reference(&out));
        break;
    case MODE_MIGRATING:
        status = print(&out, import_reference(&out));
        break;
    case MODE_VERSION:
        status = print(&out, version_describe("roostd", &out));
        break;
    case MODE_CHECK:
        status = check();
        break;
    case MODE_HELP:
        usage(stdout);
        break;
    case MODE_USAGE:
        fprintf(stderr, "Try roostd --help.\n");
        status = 2;
        break;
    case MODE_RUN:
        if (log_open(config_log_level(&config), (enum log_format)config.log_format,
                     config.log_file) == -1) {
            perror(config.log_file);
            return 1;
        }
        return supervisor_run(source);
    }
    buf_fini(&out);
    return out_finish("roostd", status);
}

int main(int argc, char **argv)
{
    static struct args args; /* outlives main's frame: reloads read it again */
    struct buf errors = {0};
    const char *file;

    boot_process(0);
    if (tls_wipe_memory() == -1) {
        fprintf(stderr, "roostd: OpenSSL has been used already, its memory cannot be wiped\n");
        return 1; /* UNTESTED: a library that uses it before main() */
    }
    file = getenv("ROOST_CONFIG");
    args.source = (struct config_source){.path = file != NULL && file[0] != '\0' ? file : NULL,
                                         .sets = args.sets,
                                         .environ_vars = environ};
    parse_args(&args, argc, argv);
    if (args.mode != MODE_RUN)
        boot_release();
    if (args.mode != MODE_RUN && args.mode != MODE_CHECK && args.mode != MODE_PRINT)
        return run_mode(args.mode, &args.source);
    if (config_load(&config, &args.source, &errors) == -1 ||
        config_files_read(&config_files, &config, NULL, &errors) == -1) {
        fwrite(errors.p, 1, errors.len, stderr);
        buf_fini(&errors);
        return 2;
    }
    return run_mode(args.mode, &args.source);
}
