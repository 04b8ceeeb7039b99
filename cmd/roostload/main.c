/* main.c - roostload: a load generator for long-lived WebSocket connections. */
#include <signal.h>

#include "base/boot.h"
#include "coordinator.h"
#include "options.h"
#include "plan.h"
#include "proc/version.h"

int main(int argc, char **argv)
{
    static struct options options;
    struct buf errors = {0};
    int rc = 2;

    boot_process(SIGHUP); /* who says nohup means it */
    boot_release();
    switch (options_parse(&options, argc, argv, &errors)) {
    case OPTIONS_HELP:
        options_usage(stdout);
        return 0;
    case OPTIONS_VERSION:
        printf("roostload %s (%s)\n", version_string(), version_revision());
        return 0;
    case OPTIONS_OK:
        if (plan_make(&options, &errors) == 0)
            rc = coordinator_run();
        break;
    case OPTIONS_ERROR:
        break;
    }
    if (errors.len > 0)
        fwrite(errors.p, 1, errors.len, stderr);
    buf_fini(&errors);
    return rc;
}
