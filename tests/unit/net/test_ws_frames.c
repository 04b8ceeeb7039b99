/* tests/unit/net/test_ws_frames.c - frames are counted as the wire has them, not as messages. */
#include "net/ws.c"

#include "ws_harness.h"

/* Three fragments with a ping between them, then one message in a single frame. */
static const char stream[] = "\x01\x81\0\0\0\0a\x89\x80\0\0\0\0\x00\x81\0\0\0\0b\x80\x81\0\0\0\0c"
                             "\x81\x81\0\0\0\0d";

static void count_split(size_t split)
{
    const size_t n = sizeof(stream) - 1;
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    uint64_t frames = metrics->frames_in, messages = metrics->messages_in;

    net_write(peer, stream, split);
    net_steps(1);
    net_write(peer, stream + split, n - split);
    net_steps(1);
    assert_int_equal(metrics->frames_in - frames, 5);
    assert_int_equal(metrics->messages_in - messages, 2);
    assert_int_equal(c->frames_in, 5);
    close(peer);
    net_steps(2);
}

static void test_fragments_are_frames(void **state UNUSED)
{
    for (size_t split = 1; split < sizeof(stream) - 1; split++)
        count_split(split);
}

/* A frame that has not come to its end is none yet. */
static void test_open_frame_is_not_counted(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    net_write(peer, stream, 6);
    net_steps(1);
    assert_int_equal(c->frames_in, 0);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_fragments_are_frames),
        WS_TEST(test_open_frame_is_not_counted),
    };

    return cmocka_run_group_tests_name("net/ws frames", tests, NULL, NULL);
}
