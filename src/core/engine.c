/* core/engine.c - what the rows of tbl/engine.def say. */
#include "core/engine.h"

#include "base/metrics.h"

const char *engine_status_name(enum engine_status s)
{
    static const char *const names[ENGINE_STATUS_NR] = {
#define STATUS(name, label) [ENGINE_##name] = label,
#include "tbl/engine.def"
    };

    return names[s];
}

const char *engine_ending_why(enum engine_ending e)
{
    static const char *const texts[ENDING_NR] = {
#define ENDING(NAME, name, why, help) [ENDING_##NAME] = why,
#include "tbl/engine.def"
    };

    return texts[e];
}

void engine_count_ending(enum engine_ending e)
{
    switch (e) {
#define ENDING(NAME, name, why, help)                                                              \
    case ENDING_##NAME:                                                                            \
        METRIC_INC(engine_reconnects_##name);                                                      \
        break;
#include "tbl/engine.def"
    case ENDING_NR:
        break;
    }
}
