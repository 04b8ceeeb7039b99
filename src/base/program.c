/* base/program.c - manual pages in roff: man(7), groff_man(7). Completion is in program_shell.c. */
#include "base/program.h"

/* A '-' is a hyphen unless it is escaped, and a line that begins with '.' or '\'' is a request. */
static int put_roff(struct str s, struct buf *out)
{
    int rc = s.n > 0 && (s.p[0] == '.' || s.p[0] == '\'') ? buf_append_lit(out, "\\&") : 0;

    for (size_t i = 0; i < s.n && rc == 0; i++) {
        switch (s.p[i]) {
        case '\\':
            rc = buf_append_lit(out, "\\e");
            break;
        case '-':
            rc = buf_append_lit(out, "\\-");
            break;
        default:
            rc = buf_append_char(out, s.p[i]);
        }
    }
    return rc;
}

int manual_section(const char *title, struct buf *out)
{
    return buf_printf(out, ".SH %s\n", title);
}

int manual_title(const char *name, int section, const char *version, const char *line,
                 struct buf *out)
{
    int rc = buf_printf(out, ".TH \"%s\" %d \"\" \"Roost %s\" \"Roost\"\n.SH NAME\n", name, section,
                        version);

    rc |= put_roff(str_from(name), out);
    rc |= buf_append_lit(out, " \\- ");
    rc |= put_roff(str_from(line), out);
    return rc | buf_append_char(out, '\n') ? -1 : 0;
}

/* paragraph: the request that begins one. */
static int put_text(struct str text, const char *paragraph, struct buf *out)
{
    struct str line;
    bool verbatim = false;
    int rc = 0;

    while (text.n > 0 && str_cut(&text, '\n', &line) && rc == 0) {
        bool example = line.n > 0 && line.p[0] == ' ';

        if (example != verbatim)
            rc |= example ? buf_append_lit(out, ".RS\n.nf\n") : buf_append_lit(out, ".fi\n.RE\n");
        verbatim = example;
        if (line.n == 0) {
            rc |= buf_printf(out, "%s\n", paragraph);
            continue;
        }
        rc |= put_roff(line, out);
        rc |= buf_append_char(out, '\n');
    }
    if (verbatim)
        rc |= buf_append_lit(out, ".fi\n.RE\n");
    return rc == 0 ? 0 : -1;
}

int manual_text(struct str text, struct buf *out)
{
    return put_text(text, ".PP", out);
}

int manual_item(struct str term, struct str text, struct buf *out)
{
    int rc = buf_append_lit(out, ".TP\n\\fB");

    rc |= put_roff(term, out);
    rc |= buf_append_lit(out, "\\fR\n");
    rc |= put_text(text, ".IP", out);
    return rc == 0 ? 0 : -1;
}

static int put_option(const struct program_option *o, struct buf *out)
{
    struct buf term = {0}, text = {0};
    bool optional = o->value != NULL && o->value[0] == '[';
    int rc = 0;

    if (o->section != NULL)
        rc |= buf_printf(out, ".SS %s\n", o->section);
    if (o->letter != 0)
        rc |= buf_printf(&term, "-%c, ", o->letter);
    rc |= buf_printf(&term, "--%s%s%s", o->name, o->value != NULL && !optional ? " " : "",
                     o->value != NULL ? o->value : "");
    rc |= buf_printf(&text, "%s%s%s", o->help, o->words != NULL ? "\n\nOne of " : "",
                     o->words != NULL ? o->words : "");
    rc |= manual_item(buf_view(&term), buf_view(&text), out);
    buf_fini(&term);
    buf_fini(&text);
    return rc == 0 ? 0 : -1;
}

static int put_options(const struct program *p, int command, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < p->noptions && rc == 0; i++)
        if (p->options[i].command == command)
            rc = put_option(&p->options[i], out);
    return rc;
}

static int put_statuses(const struct program *p, int command, struct buf *out)
{
    char code[12];
    int rc = 0;

    for (size_t i = 0; i < p->nstatuses && rc == 0; i++) {
        if (p->statuses[i].command != command)
            continue;
        snprintf(code, sizeof(code), "%d", p->statuses[i].code);
        rc = manual_item(str_from(code), str_from(p->statuses[i].when), out);
    }
    return rc;
}

static int put_command(const struct program *p, int c, struct buf *out)
{
    const struct program_command *row = &p->commands[c];
    int rc = buf_printf(out, ".SS \"%s%s%s\"\n", row->name, row->operands[0] != '\0' ? " " : "",
                        row->operands);

    rc |= put_roff(str_from(row->line), out);
    rc |= buf_append_lit(out, ".\n");
    rc |= manual_text(str_from(row->more), out);
    rc |= put_options(p, c, out);
    for (size_t i = 0; i < p->nstatuses; i++) {
        if (p->statuses[i].command != c)
            continue;
        rc |= buf_append_lit(out, ".PP\nExit status:\n");
        rc |= put_statuses(p, c, out);
        break;
    }
    return rc == 0 ? 0 : -1;
}

int program_manual(const struct program *p, struct buf *out)
{
    int rc = manual_title(p->name, p->section, p->version, p->line, out);

    rc |= manual_section("SYNOPSIS", out);
    rc |= buf_printf(out, "\\fB%s\\fR ", p->name);
    rc |= manual_text(str_from(p->synopsis), out);
    rc |= manual_section("DESCRIPTION", out);
    rc |= manual_text(str_from(p->description), out);
    if (p->ncommands > 0)
        rc |= manual_section(p->commands_title, out);
    for (size_t i = 0; i < p->ncommands && rc == 0; i++)
        rc = put_command(p, (int)i, out);
    rc |= manual_section("OPTIONS", out);
    rc |= put_options(p, -1, out);
    rc |= manual_section("EXIT STATUS", out);
    rc |= put_statuses(p, -1, out);
    rc |= manual_section("SEE ALSO", out);
    rc |= manual_text(str_from(p->see_also), out);
    return rc == 0 && buf_append_char(out, '\n') == 0 ? 0 : -1;
}
