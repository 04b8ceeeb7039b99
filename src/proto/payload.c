#include "proto/payload.h"

#include "codec/json.h"
#include "core/record.h"

bool payload_is_json(uint8_t flags, struct str payload)
{
    struct json_value v;
    size_t at;

    if (flags & RECORD_JSON)
        return true;
    if (flags & RECORD_BINARY)
        return false;
    /* Most chat is not: do not scan it for the sake of its first byte. */
    payload = str_trim(payload);
    if (payload.n == 0 || (payload.p[0] != '{' && payload.p[0] != '['))
        return false;
    return json_parse(payload, &v, &at) == 0;
}
