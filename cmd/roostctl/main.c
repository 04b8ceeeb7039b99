/* cmd/roostctl/main.c - talks to a running roostd through its admin listener. */
#include <signal.h>

#include "ctl.h"
#include "proc/version.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *args, *help;
} commands[] = {
    {"status", cmd_status, "", "what the node is doing, once"},
    {"top", cmd_top, "[--once]", "the same, live, with rates; q quits"},
    {"tail", cmd_tail, "[--raw] CHANNEL...", "print what is published"},
    {"publish", cmd_publish, "[--json] CHANNEL DATA|-",
     "publish a text, or JSON by the server API"},
    {"channels", cmd_channels, "[PATTERN]", "channels with subscribers"},
    {"get", cmd_get, "PATH", "any page of the admin listener, e.g. /debug/turns"},
    {"health", cmd_health, "", "exit status 0 when the node answers"},
};

static void usage(FILE *f)
{
    fprintf(f, "usage: roostctl [--admin URL] [--key KEY] COMMAND\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(f, "  %-9s %-24s %s\n", commands[i].name, commands[i].args, commands[i].help);
    fprintf(f, "\n  --admin URL   admin listener of roostd (ROOSTCTL_ADMIN; default "
               "http://127.0.0.1:8001)\n"
               "  --key KEY     its api_key (ROOSTCTL_KEY, ROOST_API_KEY)\n"
               "  --version     version\n"
               "  --help        this text\n\n"
               "Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static const char *first_env(const char *a, const char *b, const char *otherwise)
{
    const char *v = getenv(a);

    if (v == NULL && b != NULL)
        v = getenv(b);
    return v != NULL ? v : otherwise;
}

static int version(void)
{
    struct buf out = {0};

    if (version_describe("roostctl", &out) == 0)
        fwrite(out.p, 1, out.len, stdout);
    buf_fini(&out);
    return 0;
}

static bool is_help(const char *word)
{
    return str_equal(str_from(word), STR_LIT("--help")) || str_equal(str_from(word), STR_LIT("-h"));
}

static int misused(const char *what, const char *word)
{
    fprintf(stderr, "roostctl: %s \"%s\"\n\n", what, word);
    usage(stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const char *admin = first_env("ROOSTCTL_ADMIN", NULL, "http://127.0.0.1:8001");

    ctl.key = first_env("ROOSTCTL_KEY", "ROOST_API_KEY", "");
    signal(SIGPIPE, SIG_IGN);
    for (argc--, argv++; argc > 0 && argv[0][0] == '-'; argc -= 2, argv += 2) {
        struct str option = str_from(argv[0]);

        if (is_help(argv[0])) {
            usage(stdout);
            return 0;
        }
        if (str_equal(option, STR_LIT("--version")) || str_equal(option, STR_LIT("-V")))
            return version();
        if (!str_equal(option, STR_LIT("--admin")) && !str_equal(option, STR_LIT("--key")))
            return misused("unknown option", argv[0]);
        if (argc < 2)
            return misused("a value is missing behind", argv[0]);
        if (str_equal(option, STR_LIT("--admin")))
            admin = argv[1];
        else
            ctl.key = argv[1];
    }
    if (ctl_set_admin(admin) == -1)
        return 2;
    if (argc == 0) {
        usage(stderr);
        return 2;
    }
    if (argc == 2 && is_help(argv[1])) {
        usage(stdout);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_equal(str_from(argv[0]), str_from(commands[i].name)))
            return commands[i].run(argc, argv);
    return misused("unknown command", argv[0]);
}
