/* options.h - roostd's command line by its table (options.def), and what is printed of it. */
#ifndef ROOSTD_OPTIONS_H
#define ROOSTD_OPTIONS_H

#include "base/program.h"
#include "proc/config_load.h"

enum mode {
    MODE_RUN = 0,
    MODE_CHECK,
    MODE_PRINT,
    MODE_REFERENCE,
    MODE_METRICS,
    MODE_MIGRATING,
    MODE_TRACE,
    MODE_MANUAL,
    MODE_MANUAL_SETTINGS,
    MODE_COMPLETION,
    MODE_VERSION,
    MODE_HELP,
    MODE_USAGE /* something is wrong; it has been said on stderr */
};

#define SETS_MAX 256

struct args {
    enum mode mode;
    enum shell shell; /* MODE_COMPLETION */
    const char *sets[SETS_MAX];
    struct config_source source;
};

void options_parse(struct args *a, int argc, char **argv);
int options_usage(struct buf *out) MUST_CHECK;
int options_manual(struct buf *out) MUST_CHECK;
int options_completion(enum shell shell, struct buf *out) MUST_CHECK;

#endif
