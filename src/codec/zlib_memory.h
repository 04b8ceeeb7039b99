/* codec/zlib_memory.h - where zlib's memory comes from: calls of our own, so that tests can let them
 * fail. Private to codec/deflate.c and codec/inflate.c. */
#ifndef ROOST_CODEC_ZLIB_MEMORY_H
#define ROOST_CODEC_ZLIB_MEMORY_H

#include <zlib.h>

#include "base/common.h"

static inline voidpf zlib_alloc(voidpf opaque UNUSED, uInt items, uInt size)
{
    return malloc((size_t)items * size);
}

static inline void zlib_free(voidpf opaque UNUSED, voidpf p)
{
    free(p);
}

#endif
