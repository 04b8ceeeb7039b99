/* core/framing.h - how one message is set apart from the next in a stream of bytes.
 *
 * The transport's half of a variant (tbl/variants.def): an encoding says what a message is, a
 * framing puts it on the wire. A message's length is known only behind it, so the framing leaves
 * room in front. */
#ifndef ROOST_CORE_FRAMING_H
#define ROOST_CORE_FRAMING_H

#include "base/buf.h"

enum framing {
#define ENCODING(name)
#define FRAMING(name) FRAMING_##name,
#define VARIANT(name, encoding, framing)
#include "tbl/variants.def"
#undef ENCODING
#undef FRAMING
#undef VARIANT
    FRAMING_NR
};

/* Begins a message at the end of out. -1: no memory, out is unchanged. */
int framing_open(enum framing f, struct buf *out) MUST_CHECK;
/* What has been appended since framing_open(), which out->len was `start` before, is the message.
 * binary: as its publisher sent it. -1: no memory; may be tried again. */
int framing_close(enum framing f, size_t start, bool binary, struct buf *out) MUST_CHECK;

#endif
