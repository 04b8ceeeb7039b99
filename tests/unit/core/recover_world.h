/* A channel with history: the test plays the hub and its stream of publications "p<offset>". Anchor is
 * a subscriber that does not recover. */
#ifndef ROOST_TEST_RECOVER_WORLD_H
#define ROOST_TEST_RECOVER_WORLD_H

#include "core/channel_options.h"

#include "broker_harness.h"

static struct { /* the hub's */
    uint64_t epoch, top, oldest;
    unsigned requests;
    bool silent; /* it does not answer */
    enum engine_status status;
} stream;

static struct client anchor;
static uint32_t id;

static void answer_part(const struct record *asked, uint64_t offset)
{
    char text[16];

    snprintf(text, sizeof(text), "p%u", (unsigned)offset);
    assert_true(to_broker((struct record){.kind = RECORD_HISTORY_PART,
                                          .flags = RECORD_IN_STREAM,
                                          .chan = asked->chan,
                                          .token = asked->token,
                                          .epoch = stream.epoch,
                                          .offset = offset,
                                          .time_ns = clock_ns(),
                                          .data = str_from(text)}));
}

static void answer_history(const struct record *asked)
{
    uint32_t left = asked->count;

    assert_true(asked->flags & RECORD_REVERSE && asked->count > 0);
    for (uint64_t o = MIN(asked->offset - 1, stream.top);
         stream.status == ENGINE_OK && o >= stream.oldest && o > 0 && left-- > 0; o--)
        answer_part(asked, o);
    assert_true(to_broker((struct record){.kind = RECORD_HISTORY_PART,
                                          .flags = RECORD_LAST,
                                          .status = (uint16_t)stream.status,
                                          .chan = asked->chan,
                                          .token = asked->token,
                                          .epoch = stream.epoch,
                                          .offset = stream.top}));
}

/* Reads what the broker has written, and answers. */
static void play_hub(void)
{
    const struct record *r;

    flush();
    while ((r = from_broker()) != NULL) {
        const struct record asked = *r;

        if (asked.kind == RECORD_SUBSCRIBE) {
            id = asked.chan;
            assert_true(to_broker((struct record){.kind = RECORD_SUBSCRIBED,
                                                  .flags = RECORD_IN_STREAM,
                                                  .chan = id,
                                                  .epoch = stream.epoch,
                                                  .offset = stream.top}));
        } else if (asked.kind == RECORD_HISTORY) {
            stream.requests++;
            if (!stream.silent)
                answer_history(&asked);
        }
    }
}

static void turns(void)
{
    for (int i = 0; i < 6; i++) {
        play_hub();
        turn();
    }
}

static void deliver(uint64_t offset, uint8_t flags)
{
    char text[16];

    snprintf(text, sizeof(text), "p%u", (unsigned)offset);
    next_position += 8;
    assert_true(to_broker((struct record){.kind = RECORD_PUBLICATION,
                                          .flags = flags,
                                          .chan = id,
                                          .epoch = stream.epoch,
                                          .offset = offset,
                                          .position = next_position,
                                          .data = str_from(text)}));
}

static void next_publication(void)
{
    deliver(++stream.top, RECORD_IN_STREAM);
}

static int setup(void **state)
{
    broker_setup(state);
    config.channel_without_namespace.history_size = 100;
    config.channel_without_namespace.history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    memset(&stream, 0, sizeof(stream));
    stream.epoch = 9;
    stream.top = 10;
    stream.oldest = 1;
    join(&anchor, "a");
    turns();
    assert_string_equal(anchor.log, "S");
    return 0;
}

static int teardown(void **state)
{
    int rc = broker_teardown(state);

    assert_int_equal(metrics->tail_bytes, 0);
    config_defaults(&config);
    channel_options_changed();
    clock_set_virtual(0);
    return rc;
}

static void join_recovering(struct client *c, uint64_t epoch, uint64_t offset)
{
    enum close_reason why;

    memset(c, 0, sizeof(*c));
    c->sub.kind = CLIENT;
    c->recovers = true;
    c->want.since = (struct position){.epoch = epoch, .offset = offset};
    c->want.limit = 50;
    assert_int_equal(broker_subscribe(broker, &c->sub, STR_LIT("a"), &why), 0);
}

#endif
