/* base/units.h - sizes and durations as people write them. */
#ifndef ROOST_BASE_UNITS_H
#define ROOST_BASE_UNITS_H

#include "base/str.h"

/* "512", "64KiB", "1.5MiB", "2GiB", and "1MB" (a million) to bytes. -1: malformed, no whole number
 * of bytes, or larger than int64_t. */
int units_parse_size(struct str s, int64_t *bytes) MUST_CHECK;
/* "250ms", "0.5s", "1m30s", "1h" (also us, ns; a bare 0) to nanoseconds. -1: malformed or
 * too long. */
int units_parse_duration(struct str s, int64_t *ns) MUST_CHECK;
/* In the largest unit that divides the value, so that parsing gives it back. */
void units_format_size(int64_t bytes, char *out, size_t cap);
void units_format_duration(int64_t ns, char *out, size_t cap);

#endif
