/* base/program.h - what a program's own tables say of its command line, for manual pages (program.c) and for the completion of
 * shells (program_shell.c).
 *
 * Texts are borrowed, static as a rule. Writers allocate in *out only; -1: no memory. */
#ifndef ROOST_BASE_PROGRAM_H
#define ROOST_BASE_PROGRAM_H

#include "base/buf.h"

struct program_option {
    const char *name; /* without its dashes */
    char letter;      /* 0: none */
    /* "FILE" and "PATH" are completed as such, "a|b" as its words; NULL: a flag. */
    const char *value;
    const char *words; /* the values there are, '|' between them; NULL: any, or those of value */
    const char *help;
    const char *section; /* that begins with it; NULL: none does */
    int command;         /* it belongs to; -1: to all */
};

struct program_command {
    const char *name, *operands; /* "[COMMAND]", "centrifugo FILE" */
    const char *line, *more;     /* one line; more lines, maybe empty */
};

struct program_status {
    int command, code; /* command -1: of all */
    const char *when;
};

struct program {
    const char *name, *version;
    int section;             /* of the manual */
    const char *line;        /* what it is, for the NAME section */
    const char *synopsis;    /* "[options]" */
    const char *description; /* paragraphs, an empty line between them */
    const struct program_option *options;
    size_t noptions;
    const char *commands_title; /* "COMMANDS"; NULL with ncommands 0 */
    const struct program_command *commands;
    size_t ncommands;
    const struct program_status *statuses;
    size_t nstatuses;
    const char *see_also; /* "roostctl(1), roost.yaml(5)" */
};

/* roff for man(7). */
int program_manual(const struct program *p, struct buf *out) MUST_CHECK;
/* Parts of a page, for those that are not a program's. */
int manual_title(const char *name, int section, const char *version, const char *line,
                 struct buf *out) MUST_CHECK;
int manual_section(const char *title, struct buf *out) MUST_CHECK;
/* term in bold, text as its paragraph. */
int manual_item(struct str term, struct str text, struct buf *out) MUST_CHECK;
/* Paragraphs: an empty line is between two of them; a line that begins with a blank stays as it is. */
int manual_text(struct str text, struct buf *out) MUST_CHECK;

enum shell { SHELL_BASH = 0, SHELL_ZSH, SHELL_FISH, SHELL_NR };
#define SHELL_WORDS "bash|zsh|fish"
/* SHELL_NR: there is no such. */
enum shell shell_of(const char *name);
/* A script for the shell's folder of completions. */
int program_completion(const struct program *p, enum shell shell, struct buf *out) MUST_CHECK;

#endif
