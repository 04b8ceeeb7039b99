/* options.h - what the user asked for: command line over scenario file over defaults. */
#ifndef ROOSTLOAD_OPTIONS_H
#define ROOSTLOAD_OPTIONS_H

#include "base/buf.h"
#include "base/str.h"

#define OPTION_TEXT_MAX 512
#define OPTION_LIST_MAX 4096

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

#define OPTION_COUNT(member)    int64_t member;
#define OPTION_SIZE(member)     int64_t member;
#define OPTION_DURATION(member) int64_t member;
#define OPTION_RATE(member)     double member;
#define OPTION_TEXT(member)     char member[OPTION_TEXT_MAX];
#define OPTION_LIST(member)     char member[OPTION_LIST_MAX];
#define OPTION_FLAG(member)     bool member;

struct options { /* plain data */
    enum scenario scenario;
    bool have_scenario; /* somebody has said which */
#define SECTION(title)
#define X(member, name, type, def, min, max, help) OPTION_##type(member)
#include "options.def"
#undef X
#undef SECTION
};

enum options_result { OPTIONS_OK = 0, OPTIONS_ERROR, OPTIONS_HELP, OPTIONS_VERSION };
/* Reads argv. On OPTIONS_ERROR *errors holds lines for the user. */
enum options_result options_parse(struct options *o, int argc, char **argv, struct buf *errors);
void options_usage(void); /* to standard output */
/* Appends a line "roostload: text". */
void options_complain(struct buf *errors, const char *text);
/* One option by its long name. -1 with a sentence. */
int options_set(struct options *o, struct str name, struct str value, char *err,
                size_t errcap) MUST_CHECK;
/* As options_set(), and the key "scenario". */
int options_key(struct options *o, struct str key, struct str value, char *err,
                size_t errcap) MUST_CHECK;
/* Reads a YAML mapping of options (a scalar or a sequence of scalars each), errors as
 * FILE:LINE:COLUMN. */
int options_file(struct options *o, const char *path, struct buf *errors) MUST_CHECK;
/* The value as it would be written; for reports. */
struct str options_show(const struct options *o, size_t i, char *out, size_t cap);
size_t options_count(void);
const char *options_name(size_t i);
/* Place in the table, -1: no option of that name. */
int options_find(struct str name);
/* May it be given several times? */
bool options_is_list(struct str name);

#endif
