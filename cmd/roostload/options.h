/* options.h - what the user asked for: command line over scenario file over defaults. */
#ifndef ROOSTLOAD_OPTIONS_H
#define ROOSTLOAD_OPTIONS_H

#include "base/buf.h"
#include "base/table.h"

#define OPTION_TEXT_MAX 512
#define OPTION_LIST_MAX TABLE_LIST_MAX

enum scenario {
    SCENARIO_HOLD = 0,
    SCENARIO_BROADCAST,
    SCENARIO_ECHO,
    SCENARIO_CHURN,
    SCENARIO_STORM,
    SCENARIO_CHAT,
    SCENARIO_SLOW,
    SCENARIO_NR
};
const char *scenario_name(enum scenario s);

#define OPTION_INT(member)      int64_t member;
#define OPTION_SIZE(member)     int64_t member;
#define OPTION_DURATION(member) int64_t member;
#define OPTION_RATE(member)     double member;
#define OPTION_STRING(member)   char member[OPTION_TEXT_MAX];
#define OPTION_LINES(member)    char member[OPTION_LIST_MAX];
#define OPTION_BOOL(member)     bool member;
#define OPTION_CHOICE(member)   int member;
#define OPTION_SECRET(member)   char member[OPTION_TEXT_MAX];

struct options { /* plain data */
    enum scenario scenario;
#define SECTION(title)
#define X(member, name, type, def, min, max, help) OPTION_##type(member)
#include "options.def"
#undef X
    bool set[1 /* the scenario */
#define X(member, name, type, def, min, max, help) +1
#include "options.def"
#undef X
#undef SECTION
    ]; /* somebody has said it */
};

enum options_result {
    OPTIONS_OK = 0,
    OPTIONS_ERROR,
    OPTIONS_HELP,
    OPTIONS_VERSION,
    OPTIONS_MANUAL,
    OPTIONS_COMPLETION
};
/* Reads argv. On OPTIONS_ERROR *errors holds lines for the user. */
enum options_result options_parse(struct options *o, int argc, char **argv, struct buf *errors);
void options_usage(void); /* to standard output */
/* The manual page, or the completion script that --completion has asked for. */
int options_describe(bool manual, struct buf *out) MUST_CHECK;
/* Appends a line "roostload: text". */
void options_complain(struct buf *errors, const char *text);
/* The value as it would be written; for reports. */
struct str options_show(const struct options *o, size_t i, char *out, size_t cap);
size_t options_count(void);
const char *options_name(size_t i);

#endif
