#include "proc/gzip.h"

#include <limits.h>
#include <zlib.h>

#define FORMAT_GZIP  16
#define WINDOW_BITS  13 /* 8 KiB: lines that repeat stand close to each other */
#define MEMORY_LEVEL 6

int gzip_append(struct str s, struct buf *out)
{
    z_stream z = {.next_in = (z_const Bytef *)(uintptr_t)s.p};
    uLong bound;
    int rc = -1;

    if (s.n > UINT_MAX / 2 || deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS + FORMAT_GZIP,
                                           MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    z.avail_in = (uInt)s.n;
    bound = deflateBound(&z, (uLong)s.n);
    if (buf_reserve(out, bound) == 0) {
        z.next_out = (Bytef *)out->p + out->len;
        z.avail_out = (uInt)bound;
        if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
            out->len += bound - z.avail_out;
            rc = 0;
        }
    }
    deflateEnd(&z);
    return rc;
}
