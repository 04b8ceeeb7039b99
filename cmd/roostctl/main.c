/* cmd/roostctl/main.c - talks to a running roostd through its admin listener. */
#include <signal.h>

#include "base/boot.h"
#include "base/out.h"
#include "base/read_whole_file.h"
#include "ctl.h"
#include "proc/version.h"

#define KEY_FILE_MAX 4096

static int (*const run[COMMAND_NR])(const struct ctl_line *line) = {
#define COMMAND(name, operands, least, most, line, more) cmd_##name,
#include "commands.def"
};

/* Without a line end behind it, as the daemon takes it. */
static const char *env(const char *name)
{
    char *v = getenv(name);

    if (v != NULL)
        v[str_trim_line_end(str_from(v)).n] = '\0';
    return v;
}

static const char *first_env(const char *a, const char *b, const char *otherwise)
{
    const char *v = env(a);

    if (v == NULL && b != NULL)
        v = env(b);
    return v != NULL ? v : otherwise;
}

/* The key as the daemon gets it from its environment. -1: its file cannot be read. */
static int key_from_environment(void)
{
    const char *file = env("ROOST_API_KEY_FILE");
    static struct buf text; /* outlives this: ctl.key points into it */
    char err[256];

    ctl.key = first_env("ROOSTCTL_KEY", "ROOST_API_KEY", "");
    if (ctl.key[0] != '\0' || file == NULL || file[0] == '\0')
        return 0;
    if (read_whole_file(file, KEY_FILE_MAX, NULL, &text, err, sizeof(err)) == -1) {
        fprintf(stderr, "roostctl: ROOST_API_KEY_FILE %s: %s\n", file, err);
        return -1;
    }
    text.len = str_trim_line_end(buf_view(&text)).n; /* as the daemon does */
    if (buf_append_char(&text, '\0') == -1)
        return -1;
    ctl.key = text.p;
    return 0;
}

int cmd_version(const struct ctl_line *line UNUSED)
{
    struct buf out = {0};
    int rc;

    if (ctl.output == CTL_TABLE) {
        rc = version_describe("roostctl", &out);
    } else {
        rc = buf_append_char(&out, '{');
        rc |= ctl_put_text(&out, "version", str_from(version_string()));
        rc |= ctl_put_text(&out, "revision", str_from(version_revision()));
        rc |= buf_append_lit(&out, "}\n");
    }
    out_write(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

int cmd_manual(const struct ctl_line *line UNUSED)
{
    struct buf out = {0};
    int rc = commands_manual(&out);

    out_write(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

int cmd_completion(const struct ctl_line *line)
{
    enum shell shell = shell_of(line->operands[0]);
    struct buf out = {0};
    int rc;

    if (shell == SHELL_NR) {
        fprintf(stderr, "roostctl: completion: expected bash, zsh or fish, got \"%.60s\"\n",
                line->operands[0]);
        return 2;
    }
    rc = commands_completion(shell, &out);
    out_write(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

static int print_usage(const struct ctl_line *line)
{
    struct buf out = {0};
    int rc = line->have_command ? commands_usage_of(line->command, &out) : commands_usage(&out);

    out_write(buf_view(&out));
    buf_fini(&out);
    return rc == 0 ? 0 : 1;
}

static int misused(const struct ctl_line *line, struct buf *error)
{
    fprintf(stderr, "roostctl: %.*s\nTry roostctl %s%s--help.\n", STR_ARG(buf_view(error)),
            line->have_command ? commands_name(line->command) : "", line->have_command ? " " : "");
    buf_fini(error);
    return 2;
}

int cmd_help(const struct ctl_line *line)
{
    struct ctl_line about = {0};
    struct buf error = {0};

    if (line->count > 0) {
        about.command = commands_find(line->operands[0], &error);
        about.have_command = about.command != COMMAND_NR;
        if (!about.have_command)
            return misused(&about, &error);
    }
    return print_usage(&about);
}

static bool asks_nobody(const struct ctl_line *line)
{
    enum ctl_command c = line->command;

    if (c == COMMAND_config)
        return config_asks_nobody(line);
    if (c == COMMAND_reload)
        return line->given[OPTION_RELOAD_PID_FILE] != NULL;
    return c == COMMAND_help || c == COMMAND_version || c == COMMAND_token || c == COMMAND_doctor ||
           c == COMMAND_import || c == COMMAND_completion || c == COMMAND_manual;
}

/* What they print is a document, or a script, that has its own form. */
static bool has_own_form(enum ctl_command c)
{
    return c == COMMAND_get || c == COMMAND_import || c == COMMAND_completion ||
           c == COMMAND_manual || c == COMMAND_help;
}

/* -o. -1: said why. */
static int take_output(const struct ctl_line *line)
{
    const char *form = line->given[OPTION_OUTPUT];

    if (form == NULL)
        return 0;
    if (has_own_form(line->command)) {
        fprintf(stderr, "roostctl: %s has a form of its own: without --output\n",
                commands_name(line->command));
        return -1;
    }
    ctl.output = str_equal(str_from(form), STR_LIT("json")) ? CTL_JSON : CTL_TABLE;
    if (ctl.output == CTL_JSON || str_equal(str_from(form), STR_LIT("table")))
        return 0;
    fprintf(stderr, "roostctl: --output: expected json or table, got \"%.60s\"\n", form);
    return -1;
}

static int act(const struct ctl_line *line)
{
    const char *admin = line->given[OPTION_ADMIN];

    if (line->given[OPTION_VERSION] != NULL)
        return cmd_version(line);
    if (line->given[OPTION_HELP] != NULL)
        return print_usage(line);
    if (take_output(line) == -1)
        return 2;
    ctl.key = line->given[OPTION_KEY];
    if (ctl.key == NULL && key_from_environment() == -1)
        return 2;
    if (admin == NULL)
        admin = env("ROOSTCTL_ADMIN");
    ctl.ca = line->given[OPTION_CA];
    if (ctl.ca == NULL)
        ctl.ca = first_env("ROOSTCTL_CA", NULL, "");
    if (asks_nobody(line))
        return run[line->command](line);
    if (admin != NULL && ctl_set_admin(admin) == -1)
        return 2;
    if (admin == NULL &&
        ctl_find_node(line->command == COMMAND_health || line->command == COMMAND_ready) != 0 &&
        line->command != COMMAND_bundle) /* which says what is missing */
        return 1;
    return run[line->command](line);
}

int main(int argc UNUSED, char **argv)
{
    static struct ctl_line line;
    struct buf error = {0};

    boot_process(SIGHUP); /* who says nohup means it */
    boot_release();
    signal(SIGPIPE, SIG_IGN);
    if (commands_parse(&line, argv + (argc > 0), &error) == -1)
        return misused(&line, &error);
    return out_finish("roostctl", act(&line));
}
