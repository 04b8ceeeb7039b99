/* proto/centrifuge/encode.h - publications as Centrifuge's messages.
 *
 * encode.c what a message of a batch looks like; encode_data.c its payload; encode_delta.c the
 * difference to the one before. */
#ifndef ROOST_PROTO_CENTRIFUGE_ENCODE_H
#define ROOST_PROTO_CENTRIFUGE_ENCODE_H

#include "codec/centrifuge.h"
#include "core/batch.h"

/* Who is meant, into out: views into fields, which has FIELD_INFO. False: nobody. */
bool encode_info(struct str fields, struct cf_client_info *out);
/* A publication but for its data. text: for what has to be written for it; views into it and
 * fields. -1: no memory. */
struct encode_place {
    uint64_t offset, epoch;
    uint8_t flags; /* enum record_flags */
    struct str fields;
    char epoch_text[16];
};
int encode_publication(enum cf_encoding e, struct encode_place *place, struct buf *text,
                       struct cf_publication *out) MUST_CHECK;

/* How a payload stands in an encoding. */
enum encode_form {
    FORM_RAW = 0, /* as it is */
    FORM_TEXT,    /* JSON: text, in quotes */
    FORM_BASE64,  /* JSON: bytes that are not text, in quotes */
    FORM_TWICE,   /* JSON: text as a JSON string, within a string: what differences apply to */
    FORM_TWICE_BASE64
};
enum encode_form encode_form(enum cf_encoding e, uint8_t flags, struct str payload, bool as_string);
/* Appends a piece of at most max (>= 4) bytes of payload from *done on, and moves it. >0: there is
 * more. 0: that was all. -1: no memory. */
int encode_data(enum cf_encoding e, enum encode_form form, struct str payload, size_t max,
                size_t *done, struct buf *out) MUST_CHECK;

/* The difference of item i to the one before it, where it may be sent as one. >0: out is it. 0: it
 * stands for itself. -1: no memory. Borrowed until the next call. */
int encode_delta(enum cf_encoding e, const struct batch *b, uint32_t i, struct str *out) MUST_CHECK;

/* Adds item i as a whole to a list of publications. delta: in the form that differences apply to;
 * chained: as the difference to the item before it, where that may be. -1: no memory. */
int encode_add(struct cf_items *items, const struct batch *b, uint32_t i, bool delta,
               bool chained) MUST_CHECK;

#endif
