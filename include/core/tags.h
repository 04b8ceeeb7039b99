/* core/tags.h - a publication's tags (FIELD_TAGS): pairs of texts, in a form of no encoding. */
#ifndef ROOST_CORE_TAGS_H
#define ROOST_CORE_TAGS_H

#include "base/buf.h"

/* Appends a pair. -1: no memory, or a text is longer than 65,535 bytes; out is unchanged. */
int tags_add(struct buf *out, struct str name, struct str value) MUST_CHECK;
/* Takes the next pair off *rest. False: there is none. */
bool tags_next(struct str *rest, struct str *name, struct str *value);

#endif
