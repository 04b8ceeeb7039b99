/* main.c - roostload: a load generator for long-lived WebSocket connections. */
#include <signal.h>

#include "base/boot.h"
#include "base/out.h"
#include "coordinator.h"
#include "options.h"
#include "plan.h"
#include "proc/version.h"

static int describe(bool manual)
{
    struct buf out = {0};
    int rc = options_describe(manual, &out);

    out_write(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct options options;
    struct buf errors = {0};
    int rc = 2;

    boot_process(SIGHUP); /* who says nohup means it */
    boot_release();
    signal(SIGPIPE, SIG_IGN);
    switch (options_parse(&options, argc, argv, &errors)) {
    case OPTIONS_HELP:
        options_usage();
        rc = 0;
        break;
    case OPTIONS_VERSION:
        out_printf("roostload %s (%s)\n", version_string(), version_revision());
        rc = 0;
        break;
    case OPTIONS_MANUAL:
        rc = describe(true);
        break;
    case OPTIONS_COMPLETION:
        rc = describe(false);
        break;
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
    return out_finish("roostload", rc);
}
