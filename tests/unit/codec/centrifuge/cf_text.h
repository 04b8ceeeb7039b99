/* cf_text.h - commands as text, for the tests of the Centrifuge codec. */
#ifndef CF_TEXT_H
#define CF_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/centrifuge.h"

/* A copy of exactly its size, so that a sanitizer sees every step beyond it. */
static inline char *exact_copy(struct str s)
{
    char *p = malloc(s.n > 0 ? s.n : 1);

    assert_non_null(p);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return p;
}

static inline void assert_text(const struct buf *b, const char *expected)
{
    if (b->len != strlen(expected) || (b->len > 0 && memcmp(b->p, expected, b->len) != 0))
        fail_msg("got %.*s, expected %s", (int)b->len, b->p != NULL ? b->p : "", expected);
}

static inline void assert_str(struct str s, const char *expected)
{
    if (!str_equal(s, str_from(expected)))
        fail_msg("got %.*s, expected %s", STR_ARG(s), expected);
}

/* Reads every command of a frame and writes it as JSON, each with a blank behind it; at last
 * "malformed" if it is. */
static inline void read_frame(enum cf_encoding e, struct str frame, struct buf *seen)
{
    char *copy = exact_copy(frame);
    struct buf text = {0};
    struct cf_command c;
    struct cf_input in;
    int rc;

    cf_input_init(&in, e, (struct str){copy, frame.n}, &text);
    while ((rc = cf_next_command(&in, &c)) > 0) {
        assert_int_equal(cf_encode_command(CF_JSON, &c, seen), 0);
        assert_int_equal(buf_append_char(seen, ' '), 0);
    }
    if (rc < 0) {
        assert_int_equal(rc, CF_MALFORMED);
        assert_int_equal(cf_next_command(&in, &c), 0); /* it stays at the end */
        assert_int_equal(buf_append_lit(seen, "malformed "), 0);
    }
    if (seen->len > 0)
        seen->len--;
    buf_fini(&text);
    free(copy);
}

static inline void assert_frame(enum cf_encoding e, struct str frame, const char *expected)
{
    struct buf seen = {0};

    read_frame(e, frame, &seen);
    assert_text(&seen, expected);
    buf_fini(&seen);
}

#endif
