/* proto/payload.h - what a publication's payload is, to protocols that have to know. */
#ifndef ROOST_PROTO_PAYLOAD_H
#define ROOST_PROTO_PAYLOAD_H

#include "base/str.h"

/* May it stand as a JSON value? flags: enum record_flags of the publication. Of text whose
 * publisher has not said so: if it is an object or an array, as "12" may well be chat. */
bool payload_is_json(uint8_t flags, struct str payload);

#endif
