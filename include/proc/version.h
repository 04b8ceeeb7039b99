/* proc/version.h - what was built: from the Makefile (ROOST_VERSION, ROOST_REVISION). */
#ifndef ROOST_PROC_VERSION_H
#define ROOST_PROC_VERSION_H

#include "base/buf.h"

const char *version_string(void);   /* "0.1.0" */
const char *version_revision(void); /* git's short hash, or "unknown" */
/* "roostd 0.1.0 (abc1234)\nlibev 4.33, wslay 1.1.1, ..." */
int version_describe(const char *program, struct buf *out) MUST_CHECK;

#endif
