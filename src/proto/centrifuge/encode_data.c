/* proto/centrifuge/encode_data.c - a payload within a message.
 *
 * JSON takes JSON as it is; text that is none as a string, as the plain protocol's query form has
 * it; bytes in base 64. Where differences are spoken of, all of that stands once more in a string. */
#include "base/utf8.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "encode.h"
#include "proto/payload.h"

enum encode_form encode_form(enum cf_encoding e, uint8_t flags, struct str payload, bool as_string)
{
    if (e == CF_PROTOBUF)
        return FORM_RAW;
    if ((flags & (RECORD_BINARY | RECORD_JSON)) == RECORD_BINARY)
        return as_string ? FORM_TWICE_BASE64 : FORM_BASE64;
    if (payload_is_json(flags, payload))
        return as_string ? FORM_TEXT : FORM_RAW;
    return as_string ? FORM_TWICE : FORM_TEXT;
}

/* Text as a JSON string escapes it, escaped once more. */
static int append_twice(struct buf *out, struct str piece)
{
    static struct buf once; /* kept; a piece is short */

    buf_clear(&once);
    if (json_append_text(&once, piece) == -1)
        return -1;
    return json_append_text(out, buf_view(&once));
}

static struct str next_piece(enum encode_form form, struct str rest, size_t max)
{
    if (form == FORM_TEXT || form == FORM_TWICE)
        return utf8_cut(rest, max);
    if ((form == FORM_BASE64 || form == FORM_TWICE_BASE64) && rest.n > max)
        max -= max % 3;
    rest.n = MIN(rest.n, max);
    return rest;
}

static const char *const quotes[] = {[FORM_RAW] = "",
                                     [FORM_TEXT] = "\"",
                                     [FORM_BASE64] = "\"",
                                     [FORM_TWICE] = "\"\\\"",
                                     [FORM_TWICE_BASE64] = "\"\\\""};
static const char *const unquotes[] = {[FORM_RAW] = "",
                                       [FORM_TEXT] = "\"",
                                       [FORM_BASE64] = "\"",
                                       [FORM_TWICE] = "\\\"\"",
                                       [FORM_TWICE_BASE64] = "\\\"\""};

static int append_piece(enum cf_encoding e, enum encode_form form, struct str piece,
                        struct buf *out)
{
    switch (form) {
    case FORM_RAW:
        return cf_append_raw(e, piece, out);
    case FORM_TEXT:
        return json_append_text(out, piece);
    case FORM_BASE64:
    case FORM_TWICE_BASE64:
        return base64_append(out, piece);
    case FORM_TWICE:
        return append_twice(out, piece);
    }
    return -1; /* UNTESTED: all forms stand above */
}

int encode_data(enum cf_encoding e, enum encode_form form, struct str payload, size_t max,
                size_t *done, struct buf *out)
{
    struct str piece = next_piece(form, str_skip(payload, *done), max);

    if (*done == 0 && buf_append_lit(out, quotes[form]) == -1)
        return -1;
    if (append_piece(e, form, piece, out) == -1)
        return -1;
    *done += piece.n;
    if (*done < payload.n)
        return 1;
    return buf_append_lit(out, unquotes[form]);
}
