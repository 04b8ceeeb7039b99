/* adapter_events.h - feeds an adapter frames as traffic.c does, and writes down what it reports. */
#ifndef ADAPTER_EVENTS_H
#define ADAPTER_EVENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cmd/roostload/adapter.h"

struct feed {
    struct buf partial; /* the beginning of a message */
    struct buf events;  /* "ready ", "message(text) ", ... */
};

static void feed_note(struct feed *f, enum adapter_event e, struct str payload, struct str reply)
{
    int rc = 0;

    switch (e) {
    case ADAPTER_NOTHING:
    case ADAPTER_MORE:
        break;
    case ADAPTER_READY:
        rc = buf_append_lit(&f->events, "ready ");
        break;
    case ADAPTER_MESSAGE:
        rc = buf_printf(&f->events, "message(%.*s) ", STR_ARG(payload));
        break;
    case ADAPTER_HISTORY:
        rc = buf_append_lit(&f->events, "history ");
        break;
    case ADAPTER_REPLY:
        rc = buf_printf(&f->events, "reply(%.*s) ", STR_ARG(reply));
        break;
    case ADAPTER_REFUSED:
        rc = buf_append_lit(&f->events, "refused ");
        break;
    }
    assert_int_equal(rc, 0);
}

static void feed_frame(struct feed *f, const struct adapter *a, struct str frame)
{
    struct buf all = {0}, reply = {0};
    struct str rest, payload = STR_NULL;
    struct adapter_user u = {0};
    enum adapter_event e;

    assert_int_equal(buf_append(&all, buf_view(&f->partial)), 0);
    assert_int_equal(buf_append(&all, frame), 0);
    buf_fini(&f->partial);
    rest = all.len > 0 ? buf_view(&all) : STR_LIT("");
    do {
        buf_clear(&reply);
        e = a->receive(&u, &rest, &payload, &reply);
        feed_note(f, e, payload, buf_view(&reply));
    } while (e != ADAPTER_MORE && e != ADAPTER_REFUSED && rest.p != NULL);
    if (e == ADAPTER_MORE) {
        assert_true(rest.n > 0);
        assert_int_equal(buf_append(&f->partial, rest), 0);
    }
    buf_fini(&all);
    buf_fini(&reply);
}

/* The same events whole, byte by byte, and cut in two at every place. */
static UNUSED void feed_expect(const struct adapter *a, struct str stream, const char *events)
{
    for (size_t cut = 0; cut <= stream.n + 1; cut++) {
        struct feed f = {0};

        if (cut <= stream.n) {
            feed_frame(&f, a, (struct str){stream.p, cut});
            feed_frame(&f, a, str_skip(stream, cut));
        }
        for (size_t i = 0; cut > stream.n && i < stream.n; i++)
            feed_frame(&f, a, (struct str){stream.p + i, 1});
        assert_int_equal(f.partial.len, 0);
        assert_int_equal(buf_append_char(&f.events, '\0'), 0);
        assert_string_equal(f.events.p, events);
        buf_fini(&f.events);
    }
}

/* One frame, whole: what is reported first is a refusal. */
static UNUSED void feed_refused(const struct adapter *a, struct str frame)
{
    struct feed f = {0};

    feed_frame(&f, a, frame);
    assert_true(str_equal(buf_view(&f.events), STR_LIT("refused ")));
    buf_fini(&f.partial);
    buf_fini(&f.events);
}

#endif
