/* base/close.h - reasons for which a connection ends, from tbl/close.def. */
#ifndef ROOST_BASE_CLOSE_H
#define ROOST_BASE_CLOSE_H

#include "base/common.h"

enum close_reason {
#define X(name, code, status, label, text) CLOSE_##name,
#include "tbl/close.def"
#undef X
    CLOSE_NR
};

struct close_row {
    uint16_t code;   /* WebSocket close code; 0: send none */
    uint16_t status; /* HTTP status; 0: not an HTTP outcome */
    const char *label;
    const char *text;
};

/* Never NULL for reason < CLOSE_NR. */
const struct close_row *close_row(enum close_reason reason);

#endif
