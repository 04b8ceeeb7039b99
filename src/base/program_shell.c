/* base/program_shell.c - completion scripts for bash, zsh and fish, from a program's table: program.h.
 *
 * A script holds the words; nothing is asked of the program while somebody types. */
#include "base/program.h"

static const char *const shell_names[SHELL_NR] = {"bash", "zsh", "fish"};

enum shell shell_of(const char *name)
{
    enum shell s = SHELL_BASH;

    while (s < SHELL_NR && !str_equal(str_from(name), str_from(shell_names[s])))
        s++;
    return s;
}

static bool is_file(const char *value)
{
    return str_equal(str_from(value), STR_LIT("FILE")) ||
           str_equal(str_from(value), STR_LIT("PATH"));
}

static const char *words_of(const struct program_option *o)
{
    return o->words == NULL && o->value != NULL && strchr(o->value, '|') != NULL ? o->value
                                                                                 : o->words;
}

/* `text` between single quotes of a shell; also in fish, where a backslash has to be doubled. In zsh's
 * lists ':' and brackets have a meaning, too. */
static int put_quoted(const char *text, enum shell shell, struct buf *out)
{
    int rc = 0;

    for (; *text != '\0' && rc == 0; text++) {
        if (*text == '\'')
            rc = shell == SHELL_FISH ? buf_append_lit(out, "\\'") : buf_append_lit(out, "'\\''");
        else if (*text == '\\' || (shell == SHELL_ZSH && strchr(":[]", *text) != NULL))
            rc = buf_printf(out, "\\%c", *text);
        else
            rc = buf_append_char(out, *text == '\n' ? ' ' : *text);
    }
    return rc;
}

/* "a|b" as "a b". */
static int put_words(const char *words, struct buf *out)
{
    int rc = 0;

    for (; *words != '\0' && rc == 0; words++)
        rc = buf_append_char(out, *words == '|' ? ' ' : *words);
    return rc;
}

/* Small words of an operand's text are typed as they stand: "centrifugo FILE", "bash|zsh|fish". */
static int put_operands(const struct program *p, const char *operands, struct buf *out)
{
    struct str rest = str_from(operands), word;
    int rc = 0;

    if (strstr(operands, "COMMAND") != NULL)
        for (size_t i = 0; i < p->ncommands && rc == 0; i++)
            rc = buf_printf(out, " %s", p->commands[i].name);
    while (rest.n > 0 && str_cut(&rest, ' ', &word) && rc == 0)
        for (size_t i = 0; i < word.n && word.p[0] >= 'a' && word.p[0] <= 'z' && rc == 0; i++)
            rc = i == 0             ? buf_printf(out, " %c", word.p[0])
                 : word.p[i] == '|' ? buf_append_char(out, ' ')
                                    : buf_append_char(out, word.p[i]);
    return rc;
}

static int put_options_of(const struct program *p, int command, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < p->noptions && rc == 0; i++)
        if (p->options[i].command == command)
            rc = buf_printf(out, " --%s", p->options[i].name);
    return rc;
}

/* --- bash --- */

static int bash_values(const struct program *p, struct buf *out)
{
    int rc = buf_append_lit(out, "    case $prev in\n");

    for (size_t i = 0; i < p->noptions && rc == 0; i++) {
        const struct program_option *o = &p->options[i];

        if (o->value == NULL)
            continue;
        rc |= o->letter != 0 ? buf_printf(out, "    -%c|--%s) ", o->letter, o->name)
                             : buf_printf(out, "    --%s) ", o->name);
        if (words_of(o) != NULL) {
            rc |= buf_append_lit(out, "COMPREPLY=($(compgen -W '");
            rc |= put_words(words_of(o), out);
            rc |= buf_append_lit(out, "' -- \"$cur\")); return ;;\n");
        } else if (is_file(o->value)) {
            rc |= buf_append_lit(out, "COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            rc |= buf_append_lit(out, "return ;;\n");
        }
    }
    return rc | buf_append_lit(out, "    esac\n") ? -1 : 0;
}

static int bash_commands(const struct program *p, struct buf *out)
{
    int rc = buf_append_lit(out, "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                                 "        case $word in");

    for (size_t i = 0; i < p->ncommands; i++)
        rc |= buf_printf(out, "%s%s", i == 0 ? " " : "|", p->commands[i].name);
    rc |= buf_append_lit(out, ") command=$word; break ;; esac\n    done\n    case $command in\n");
    for (size_t i = 0; i < p->ncommands && rc == 0; i++) {
        const struct program_command *c = &p->commands[i];

        rc |= buf_printf(out, "    %s) options+='", c->name);
        rc |= put_options_of(p, (int)i, out);
        rc |= buf_append_lit(out, "'; words='");
        rc |= put_operands(p, c->operands, out);
        rc |= buf_printf(out, "'%s ;;\n", strstr(c->operands, "FILE") != NULL ? "; files=-f" : "");
    }
    rc |= buf_append_lit(out, "    *) words='");
    for (size_t i = 0; i < p->ncommands; i++)
        rc |= buf_printf(out, " %s", p->commands[i].name);
    return rc | buf_append_lit(out, "' ;;\n    esac\n") ? -1 : 0;
}

static int put_bash(const struct program *p, struct buf *out)
{
    int rc = buf_printf(out,
                        "# completion of %s for bash\n_%s()\n{\n"
                        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                        "    local word command= words= files= options='",
                        p->name, p->name);

    rc |= put_options_of(p, -1, out);
    /* bash cuts words at '='. */
    rc |= buf_append_lit(out, "'\n    COMPREPLY=()\n"
                              "    if [[ $cur == = ]]; then cur=; "
                              "elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n");
    rc |= bash_values(p, out);
    if (p->ncommands > 0)
        rc |= bash_commands(p, out);
    rc |= buf_printf(out,
                     "    if [[ $cur == -* ]]; then\n"
                     "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                     "    else\n"
                     "        COMPREPLY=($(compgen $files -W \"$words\" -- \"$cur\"))\n"
                     "    fi\n}\ncomplete -o filenames -F _%s %s\n",
                     p->name, p->name);
    return rc == 0 ? 0 : -1;
}

/* --- zsh --- */

static int zsh_options(const struct program *p, int command, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < p->noptions && rc == 0; i++) {
        const struct program_option *o = &p->options[i];

        if (o->command != command)
            continue;
        rc |= buf_append_lit(out, " \\\n        '");
        rc |= o->letter != 0 ? buf_printf(out, "(-%c --%s)'{-%c,--%s}'", o->letter, o->name,
                                          o->letter, o->name)
                             : buf_printf(out, "*--%s", o->name);
        rc |= buf_append_char(out, '[');
        rc |= put_quoted(o->help, SHELL_ZSH, out);
        rc |= buf_append_char(out, ']');
        if (o->value != NULL) {
            rc |= buf_append_char(out, ':');
            rc |= put_quoted(o->value, SHELL_ZSH, out);
            rc |= buf_append_char(out, ':');
            if (words_of(o) != NULL) {
                rc |= buf_append_char(out, '(');
                rc |= put_words(words_of(o), out);
                rc |= buf_append_char(out, ')');
            } else if (is_file(o->value)) {
                rc |= buf_append_lit(out, "_files");
            }
        }
        rc |= buf_append_char(out, '\'');
    }
    return rc == 0 ? 0 : -1;
}

static int zsh_command(const struct program *p, int i, struct buf *out)
{
    const struct program_command *c = &p->commands[i];
    int rc = buf_printf(out, "    %s)\n        _arguments $general", c->name);

    rc |= zsh_options(p, i, out);
    if (c->operands[0] != '\0') {
        rc |= buf_append_lit(out, " \\\n        '*:");
        rc |= put_quoted(c->operands, SHELL_ZSH, out);
        if (strstr(c->operands, "FILE") != NULL) { /* words, and files */
            rc |= buf_append_lit(out, ":{compadd --");
            rc |= put_operands(p, c->operands, out);
            rc |= buf_append_lit(out, "; _files}'");
        } else {
            rc |= buf_append_lit(out, ":(");
            rc |= put_operands(p, c->operands, out);
            rc |= buf_append_lit(out, ")'");
        }
    }
    return rc | buf_append_lit(out, "\n        ;;\n") ? -1 : 0;
}

static int put_zsh(const struct program *p, struct buf *out)
{
    int rc = buf_printf(out, "#compdef %s\n# completion of %s for zsh\n_%s()\n{\n", p->name,
                        p->name, p->name);

    rc |= buf_append_lit(out, "    local curcontext=$curcontext state line\n"
                              "    local -a general commands\n    general=(");
    rc |= zsh_options(p, -1, out);
    rc |= buf_append_lit(out, "\n    )\n");
    if (p->ncommands == 0)
        return rc | buf_printf(out, "    _arguments $general\n}\n_%s \"$@\"\n", p->name) ? -1 : 0;
    rc |= buf_append_lit(out, "    commands=(\n");
    for (size_t i = 0; i < p->ncommands && rc == 0; i++) {
        rc |= buf_printf(out, "        '%s:", p->commands[i].name);
        rc |= put_quoted(p->commands[i].line, SHELL_ZSH, out);
        rc |= buf_append_lit(out, "'\n");
    }
    rc |= buf_append_lit(
        out, "    )\n    _arguments -C $general '1:command:->command' '*::argument:->rest'\n"
             "    if [[ $state == command ]]; then\n"
             "        _describe command commands\n        return\n    fi\n"
             "    [[ $state == rest ]] || return\n    case $line[1] in\n");
    for (size_t i = 0; i < p->ncommands && rc == 0; i++)
        rc = zsh_command(p, (int)i, out);
    return rc | buf_printf(out, "    esac\n}\n_%s \"$@\"\n", p->name) ? -1 : 0;
}

/* --- fish --- */

static int fish_option(const struct program *p, const struct program_option *o, struct buf *out)
{
    int rc = buf_printf(out, "complete -c %s", p->name);

    if (o->command >= 0)
        rc |= buf_printf(out, " -n '__fish_seen_subcommand_from %s'", p->commands[o->command].name);
    rc |= buf_printf(out, " -l %s", o->name);
    if (o->letter != 0)
        rc |= buf_printf(out, " -s %c", o->letter);
    if (o->value != NULL)
        rc |= words_of(o) == NULL && is_file(o->value) ? buf_append_lit(out, " -r -F")
                                                       : buf_append_lit(out, " -x");
    if (words_of(o) != NULL) {
        rc |= buf_append_lit(out, " -a '");
        rc |= put_words(words_of(o), out);
        rc |= buf_append_char(out, '\'');
    }
    rc |= buf_append_lit(out, " -d '");
    rc |= put_quoted(o->help, SHELL_FISH, out);
    return rc | buf_append_lit(out, "'\n") ? -1 : 0;
}

static int fish_command(const struct program *p, const struct program_command *c, struct buf *out)
{
    bool file = strstr(c->operands, "FILE") != NULL;
    struct buf words = {0};
    int rc =
        buf_printf(out, "complete -c %s -n __fish_use_subcommand -a %s -d '", p->name, c->name);

    rc |= put_quoted(c->line, SHELL_FISH, out);
    rc |= buf_append_lit(out, "'\n");
    rc |= put_operands(p, c->operands, &words);
    if (words.len > 0 || file)
        rc |= buf_printf(out, "complete -c %s -n '__fish_seen_subcommand_from %s'%s -a '%.*s'\n",
                         p->name, c->name, file ? " -F" : "", STR_ARG(buf_view(&words)));
    buf_fini(&words);
    return rc == 0 ? 0 : -1;
}

static int put_fish(const struct program *p, struct buf *out)
{
    int rc = buf_printf(out, "# completion of %s for fish\ncomplete -c %s -f\n", p->name, p->name);

    for (size_t i = 0; i < p->ncommands && rc == 0; i++)
        rc = fish_command(p, &p->commands[i], out);
    for (size_t i = 0; i < p->noptions && rc == 0; i++)
        rc = fish_option(p, &p->options[i], out);
    return rc;
}

int program_completion(const struct program *p, enum shell shell, struct buf *out)
{
    switch (shell) {
    case SHELL_BASH:
        return put_bash(p, out);
    case SHELL_ZSH:
        return put_zsh(p, out);
    case SHELL_FISH:
        return put_fish(p, out);
    case SHELL_NR:
        break;
    }
    return -1;
}
