/* core/channel_name.h - which channel names exist.
 *
 * 1 to 255 bytes of valid UTF-8. Allowed: every printable ASCII character except space, '*' (kept
 * for patterns), '"' and '\\'; and every character from U+00A1 up except U+2028, U+2029, U+FEFF and
 * the noncharacters. So a name never needs escaping in JSON, a log line or a shell's double quotes.
 * '/' is an ordinary character. */
#ifndef ROOST_CORE_CHANNEL_NAME_H
#define ROOST_CORE_CHANNEL_NAME_H

#include "base/str.h"

#define CHANNEL_NAME_MAX 255

bool channel_name_valid(struct str name);

#endif
