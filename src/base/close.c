/* base/close.c - the table of close reasons. */
#include "base/close.h"

static const struct close_row rows[CLOSE_NR] = {
#define X(name, code, status, label, use, text, setting, fix)                                      \
    {code, status, label, CLOSE_IN_##use, text, setting, fix},
#include "tbl/close.def"
#undef X
};

const struct close_row *close_row(enum close_reason reason)
{
    return &rows[reason];
}
