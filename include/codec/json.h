/* codec/json.h - strict JSON (RFC 8259) with views of the raw text, and a small writer.
 *
 * Written here because publications pass through unchanged: the API needs the exact bytes of
 * `data`, which the tree-building libraries do not keep. No recursion; depth is bounded. Input must
 * be UTF-8.
 *
 * json.c reads · json_string.c reads and writes strings. */
#ifndef ROOST_CODEC_JSON_H
#define ROOST_CODEC_JSON_H

#include "base/buf.h"
#include "base/str.h"

#define JSON_MAX_DEPTH 64

enum json_type {
    JSON_NULL = 0,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};
struct json_value {
    enum json_type type;
    struct str raw; /* the value's text, e.g. with quotes; borrowed from the input */
};

/* Parses exactly one value with nothing but white space around it. -1: *error_at is the byte
 * offset. */
int json_parse(struct str in, struct json_value *out, size_t *error_at) MUST_CHECK;

/* Why json_parse() has refused it, static: behind "is ", e.g. "not JSON". */
const char *json_refusal(struct str in);

/* Takes one value, with white space before it, off the front of *rest; what follows is not looked at.
 * -1: there is none, or it is malformed. */
int json_take(struct str *rest, struct json_value *out) MUST_CHECK;

/* Members of a value that json_parse() accepted. *rest starts as v->raw; false at the end. key.raw
 * is a JSON string. For arrays json_element(). */
bool json_member(struct str *rest, struct json_value *key, struct json_value *value);
bool json_element(struct str *rest, struct json_value *value);
/* Value of the last member with this (unescaped) name, as most parsers have it; false
 * when absent. */
bool json_get(const struct json_value *object, struct str name, struct json_value *out);

/* Unescapes a JSON_STRING to UTF-8, appended to out. -1: lone surrogate or no memory. */
int json_string(const struct json_value *v, struct buf *out) MUST_CHECK;
bool json_string_equal(const struct json_value *v, struct str s);
/* Whole number 0..UINT64_MAX without sign, fraction, exponent. */
int json_u64(const struct json_value *v, uint64_t *out) MUST_CHECK;

/* Appends s as a JSON string; bytes that are not UTF-8 become U+FFFD. */
int json_append_string(struct buf *b, struct str s) MUST_CHECK;
/* The same without the quotes: a string may be written in the pieces that utf8_cut() makes. */
int json_append_text(struct buf *b, struct str s) MUST_CHECK;

#endif
