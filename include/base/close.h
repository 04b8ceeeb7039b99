/* base/close.h - reasons for which a connection ends, from tbl/close.def. */
#ifndef ROOST_BASE_CLOSE_H
#define ROOST_BASE_CLOSE_H

#include "base/common.h"

enum close_reason {
#define X(name, code, status, label, use, text, setting, fix) CLOSE_##name,
#include "tbl/close.def"
#undef X
    CLOSE_NR
};
_Static_assert(CLOSE_NR <= UINT8_MAX, "struct conn and struct closed have a byte for it");

enum close_use { /* metrics in which a reason can occur */
                 CLOSE_IN_NOTHING = 0,
                 CLOSE_IN_END = 1,
                 CLOSE_IN_HANDSHAKE = 2,
                 CLOSE_IN_BOTH = CLOSE_IN_END | CLOSE_IN_HANDSHAKE
};

struct close_row {
    uint16_t code;   /* WebSocket close code; 0: send none */
    uint16_t status; /* HTTP status; 0: not an HTTP outcome */
    const char *label;
    enum close_use use;
    const char *text;
    const char *setting; /* whose value belongs into the warning, or "" */
    const char *fix;     /* "": no warning */
};

/* Never NULL for reason < CLOSE_NR. */
const struct close_row *close_row(enum close_reason reason);

#endif
