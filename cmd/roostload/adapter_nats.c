/* adapter_nats.c - the NATS client protocol over WebSocket, in binary frames.
 *
 * Operations are a stream: a frame may hold several, or a part of one. The hello ends with a PING:
 * its PONG comes after the subscription was made, since the server works in order. */
#include "adapter.h"

#define NATS_LINE_MAX    ((size_t)64 << 10)
#define NATS_PAYLOAD_MAX ((size_t)64 << 20)

static int nats_hello(const struct adapter_user *u UNUSED, struct str channel, struct buf *out)
{
    return buf_printf(out,
                      "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,"
                      "\"lang\":\"c\",\"version\":\"1\",\"name\":\"roostload\"}\r\n"
                      "SUB %.*s 1\r\nPING\r\n",
                      STR_ARG(channel));
}

static int nats_publish(const struct adapter_user *u UNUSED, struct str channel, struct str payload,
                        struct buf *out)
{
    if (buf_printf(out, "PUB %.*s %zu\r\n", STR_ARG(channel), payload.n) == -1 ||
        buf_append(out, payload) == -1)
        return -1;
    return buf_append_lit(out, "\r\n");
}

/* Goes on behind the first n bytes; nothing is left: NULL. */
static void advance(struct str *rest, size_t n)
{
    *rest = rest->n == n ? STR_NULL : str_skip(*rest, n);
}

/* MSG subject sid [reply-to] length, then so many bytes, then CR LF. `line` is the head without its
 * end, the payload begins at byte `head` of *rest. */
static enum adapter_event nats_message(struct str *rest, struct str line, size_t head,
                                       struct str *payload)
{
    struct str words = line, word = STR_NULL;
    unsigned n = 0;
    uint64_t size;

    for (; words.p != NULL && str_cut(&words, ' ', &word); n++)
        ;
    if (n < 4 || n > 5 || str_to_u64(word, &size) == -1 || size > NATS_PAYLOAD_MAX)
        return ADAPTER_REFUSED;
    if (rest->n - head < size + 2)
        return ADAPTER_MORE;
    *payload = (struct str){rest->p + head, (size_t)size};
    advance(rest, head + (size_t)size + 2);
    return payload->p[size] == '\r' && payload->p[size + 1] == '\n' ? ADAPTER_MESSAGE
                                                                    : ADAPTER_REFUSED;
}

static enum adapter_event nats_receive(struct adapter_user *u UNUSED, struct str *rest,
                                       struct str *payload, struct buf *reply)
{
    size_t end = str_find(*rest, '\n');
    struct str line = {rest->p, end};

    if (rest->n == 0) {
        *rest = STR_NULL;
        return ADAPTER_NOTHING;
    }
    if (end > NATS_LINE_MAX)
        return ADAPTER_REFUSED;
    if (end == rest->n)
        return ADAPTER_MORE;
    if (end == 0 || rest->p[end - 1] != '\r')
        return ADAPTER_REFUSED;
    line.n--;
    if (str_starts_with(line, STR_LIT("MSG ")))
        return nats_message(rest, line, end + 1, payload);
    advance(rest, end + 1);
    if (str_equal(line, STR_LIT("PING")))
        return buf_append_lit(reply, "PONG\r\n") == -1 ? ADAPTER_REFUSED : ADAPTER_REPLY;
    if (str_equal(line, STR_LIT("PONG")))
        return ADAPTER_READY;
    if (str_starts_with(line, STR_LIT("INFO ")) || str_equal(line, STR_LIT("+OK")))
        return ADAPTER_NOTHING;
    return ADAPTER_REFUSED; /* -ERR, or nothing we know */
}

const struct adapter adapter_nats = {
    .name = "nats",
    .default_path = "/",
    .subprotocol = "",
    .binary = true,
    .stream = true,
    .ready_at_upgrade = false,
    .hello = nats_hello,
    .receive = nats_receive,
    .publish = nats_publish,
};
