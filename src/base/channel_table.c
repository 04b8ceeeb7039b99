/* base/channel_table.c - the rows of tbl/channel_options.def, and what goes together. */
#include "base/channel_table.h"

#include "base/clock.h"
#include "base/regex.h"

#define ROW(name_, type_, def_, min_, max_, sentence_)                                             \
    {.name = #name_,                                                                               \
     .type = TABLE_##type_,                                                                        \
     .def = def_,                                                                                  \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .change = TABLE_RELOAD,                                                                       \
     .sentence = sentence_,                                                                        \
     .paragraph = "",                                                                              \
     .offset = offsetof(struct channel_options, name_),                                            \
     .size = sizeof(((struct channel_options *)0)->name_)},

/* The name stands first, so that the rest is the table of options without one. */
static const struct table_row rows[] = {
    ROW(name, STRING, NULL, 2, CHANNEL_NAMESPACE_MAX, "what stands before the first : of a channel")
#define X(name, type, def, min, max, sentence) ROW(name, type, def, min, max, sentence)
#include "tbl/channel_options.def"
#undef X
};
#undef ROW

static const char *wrong_name(const struct channel_options *o)
{
    for (const char *p = o->name; *p != '\0'; p++)
        if (!((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') || *p == '-' ||
              *p == '_' || *p == '.'))
            return "name: letters, digits and the characters - _ . are possible";
    return NULL;
}

static const char *wrong_history(const struct channel_options *o)
{
    if ((o->history_size > 0) != (o->history_ttl > 0))
        return "history_size and history_ttl: one does nothing without the other; set both or none";
    if (o->history_ttl % (int64_t)NS_PER_SEC != 0)
        return "history_ttl: whole seconds are possible";
    if (o->history_meta_ttl > 0 && o->history_meta_ttl < o->history_ttl)
        return "history_meta_ttl: it is less than history_ttl, so publications would outlive their "
               "position";
    return NULL;
}

static const char *wrong_recovery(const struct channel_options *o)
{
    bool recovery = o->force_recovery || o->allow_recovery;

    if (o->history_size == 0 && recovery)
        return "force_recovery and allow_recovery: they need history_size and history_ttl";
    if (o->history_size == 0 && (o->force_positioning || o->allow_positioning))
        return "force_positioning and allow_positioning: they need history_size and history_ttl";
    if (o->auto_cache_recover &&
        (!o->force_recovery || o->force_recovery_mode != (int)RECOVERY_CACHE))
        return "auto_cache_recover: it needs force_recovery and force_recovery_mode cache";
    return NULL;
}

static const char *wrong_delta(const struct channel_options *o)
{
    if (o->allowed_delta_types[0] != '\0' &&
        !str_equal(str_from(o->allowed_delta_types), STR_LIT("fossil")))
        return "allowed_delta_types: fossil is the only kind";
    return NULL;
}

static int check(const void *obj, char *err, size_t errcap)
{
    static const char *(*const wrong[])(const struct channel_options *) = {
        wrong_name, wrong_history, wrong_recovery, wrong_delta};
    const struct channel_options *o = obj;
    struct regex *re;
    char text[160];

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const char *sentence = wrong[i](o);

        if (sentence != NULL) {
            snprintf(err, errcap, "%s", sentence);
            return -1;
        }
    }
    if (o->channel_regex[0] == '\0')
        return 0;
    re = regex_new(str_from(o->channel_regex), text, sizeof(text));
    if (re == NULL)
        snprintf(err, errcap, "channel_regex: %s", text);
    regex_free(re);
    return re != NULL ? 0 : -1;
}

#define HELP "deploy/CONFIGURATION.md lists the options of channels"

const struct table channel_table = {.rows = rows + 1,
                                    .n = ARRAY_LEN(rows) - 1,
                                    .size = sizeof(struct channel_options),
                                    .set = TABLE_NO_SET,
                                    .check = check,
                                    .help = HELP};
const struct table namespace_table = {.rows = rows,
                                      .n = ARRAY_LEN(rows),
                                      .size = sizeof(struct channel_options),
                                      .set = TABLE_NO_SET,
                                      .key = true,
                                      .check = check,
                                      .help = HELP};
