/* codec/inflate.c - decompressing messages, within limits. */
#include "codec/deflate.h"
#include "zlib_memory.h"

#define ROOM_MIN 1024 /* for what comes out, at first; then it doubles */

/* One for the process, because a message is read in one go. */
static z_stream stream;
static bool ready;

struct message {
    const struct inflate_limits *limits; /* borrowed */
    uint64_t most;                       /* bytes that may come out */
    uint64_t compressed;                 /* bytes of all */
    struct buf *out;
    bool ended; /* a block has said that it is the last one, and nothing has come behind it */
    enum close_reason why;
};

/* -1: no memory. The largest window reads what any was used for. */
static int stream_begin(void)
{
    if (ready)
        return inflateReset(&stream) == Z_OK ? 0 : -1;
    stream = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
    if (inflateInit2(&stream, -15) != Z_OK)
        return -1;
    ready = true;
    return 0;
}

static int refuse(struct message *m, enum close_reason why)
{
    m->why = why;
    return -1;
}

static uint64_t most_of(struct str in, const struct inflate_limits *limits)
{
    uint64_t most = MIN(limits->bytes, (uint64_t)SIZE_MAX / 4);

    if (limits->ratio > 0 && in.n < most / limits->ratio)
        most = MIN(most, MAX(in.n * limits->ratio, INFLATE_FREE));
    return most;
}

/* Room for what comes out: as much again as there has been, and never more than one byte beyond what
 * may come, by which too much is seen. */
static int make_room(struct message *m)
{
    uint64_t left = m->most + 1 - m->out->len;
    uint64_t more = m->out->cap > 0 ? m->out->cap : MAX((uint64_t)ROOM_MIN, 4 * m->compressed);

    if (left == 0)
        return refuse(m, m->most < m->limits->bytes ? CLOSE_INFLATE_RATIO : CLOSE_MESSAGE_TOO_BIG);
    if (m->out->len == m->out->cap && buf_reserve(m->out, (size_t)MIN(left, more)) == -1)
        return refuse(m, CLOSE_NO_MEMORY);
    stream.next_out = (Bytef *)m->out->p + m->out->len;
    stream.avail_out = (uInt)MIN(MIN(left, m->out->cap - m->out->len), (uint64_t)UINT32_MAX);
    return 0;
}

static int step(struct message *m)
{
    const Bytef *from;
    int rc;

    if (make_room(m) == -1)
        return -1;
    from = stream.next_out;
    rc = inflate(&stream, Z_SYNC_FLUSH);
    m->out->len += (size_t)(stream.next_out - from);
    m->ended = rc == Z_STREAM_END;
    if (rc == Z_MEM_ERROR)
        return refuse(m, CLOSE_NO_MEMORY);
    if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END)
        return refuse(m, CLOSE_BAD_DEFLATE);
    /* RFC 7692 §7.2.3.4: behind a block that says that it is the last one it begins anew. */
    if (m->ended && stream.avail_in > 0 && inflateReset(&stream) != Z_OK)
        return refuse(m, CLOSE_BAD_DEFLATE);
    return 0;
}

static int take(struct message *m, struct str in)
{
    stream.next_in = (z_const Bytef *)(uintptr_t)in.p;
    stream.avail_in = (uInt)in.n;
    do {
        if (step(m) == -1)
            return -1;
    } while (stream.avail_in > 0 || stream.avail_out == 0);
    return 0;
}

/* RFC 7692 §7.2.2: with what the sender has taken off. */
static int take_all(struct message *m, struct str in)
{
    const int between_blocks = 128; /* in z_stream.data_type */

    if (in.n == 0) /* not what a sender makes of an empty message (§7.2.3.6), but clear */
        return 0;
    if (stream_begin() == -1)
        return refuse(m, CLOSE_NO_MEMORY);
    if (take(m, in) == -1)
        return -1;
    if (m->ended)
        return 0;
    if (take(m, (struct str){"\0\0\377\377", 4}) == -1)
        return -1;
    return stream.data_type & between_blocks ? 0 : refuse(m, CLOSE_BAD_DEFLATE);
}

int inflate_message(struct str in, const struct inflate_limits *limits, struct buf *out,
                    enum close_reason *why)
{
    struct message m = {
        .limits = limits, .most = most_of(in, limits), .compressed = in.n, .out = out};
    int rc = in.n > UINT32_MAX ? refuse(&m, CLOSE_MESSAGE_TOO_BIG) : take_all(&m, in);

    if (rc == 0)
        return 0;
    buf_fini(out);
    *why = m.why;
    return -1;
}
