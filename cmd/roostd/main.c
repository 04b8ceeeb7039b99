/* cmd/roostd/main.c - the gateway daemon: options, then the supervisor. */
#include <unistd.h>

#include "base/boot.h"
#include "base/log.h"
#include "base/out.h"
#include "net/tls.h"
#include "options.h"
#include "proc/config_load.h"
#include "proc/debug.h"
#include "proc/exposition.h"
#include "proc/import.h"
#include "proc/supervisor.h"
#include "proc/tls_files.h"
#include "proc/version.h"

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

static int run_mode(const struct args *args)
{
    struct buf out = {0};
    int status = 0;

    switch (args->mode) {
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
    case MODE_TRACE:
        status = print(&out, trace_reference(&out));
        break;
    case MODE_VERSION:
        status = print(&out, version_describe("roostd", &out));
        break;
    case MODE_CHECK:
        status = check();
        break;
    case MODE_MANUAL:
        status = print(&out, options_manual(&out));
        break;
    case MODE_MANUAL_SETTINGS:
        status = print(&out, config_manual(&out));
        break;
    case MODE_COMPLETION:
        status = print(&out, options_completion(args->shell, &out));
        break;
    case MODE_HELP:
        status = print(&out, options_usage(&out));
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
        return supervisor_run(&args->source);
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
    options_parse(&args, argc, argv);
    if (args.mode != MODE_RUN)
        boot_release();
    if (args.mode != MODE_RUN && args.mode != MODE_CHECK && args.mode != MODE_PRINT)
        return run_mode(&args);
    if (config_load(&config, &args.source, &errors) == -1 ||
        config_files_read(&config_files, &config, NULL, &errors) == -1) {
        fwrite(errors.p, 1, errors.len, stderr);
        buf_fini(&errors);
        return 2;
    }
    return run_mode(&args);
}
