/* commands.h - the table of commands (commands.def) and what the command line asks of it. */
#ifndef ROOSTCTL_COMMANDS_H
#define ROOSTCTL_COMMANDS_H

#include "base/program.h"

enum ctl_option {
#define OPTION(id, name, letter, value, help)          OPTION_##id,
#define COMMAND_OPTION(id, command, name, value, help) OPTION_##id,
#include "commands.def"
    OPTION_NR
};

enum ctl_command {
#define COMMAND(name, operands, least, most, line, more) COMMAND_##name,
#include "commands.def"
    COMMAND_NR
};

#define OPERANDS_MAX 1024

struct ctl_line { /* a command line, understood */
    enum ctl_command command;
    bool have_command;
    int count; /* of operands */
    const char *operands[OPERANDS_MAX + 1];
    const char *given[OPTION_NR]; /* borrowed from argv; "" for a flag; NULL: not given */
};

/* argv without the program's name. -1: *error says what is wrong. With --help or --version operands
 * are not looked at. */
int commands_parse(struct ctl_line *line, char **argv, struct buf *error) MUST_CHECK;
const char *commands_name(enum ctl_command command);
/* COMMAND_NR when there is none of that name; *error then says so. */
enum ctl_command commands_find(const char *name, struct buf *error);
/* Usage of all commands, or of one. */
int commands_usage(struct buf *out) MUST_CHECK;
int commands_usage_of(enum ctl_command command, struct buf *out) MUST_CHECK;
int commands_manual(struct buf *out) MUST_CHECK;
int commands_completion(enum shell shell, struct buf *out) MUST_CHECK;

#endif
