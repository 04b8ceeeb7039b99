/* codec/centrifuge.h - the Centrifuge client protocol, version 2, as JSON and as Protobuf.
 *
 * The messages are rows of tbl/centrifuge.def, which become the structs below, both readers and both
 * writers; a session does not know which encoding it speaks. Readers allocate nothing, but for text
 * that JSON has escaped; all they hand out are views, borrowed from the input and from `text` until
 * the next call with that `text`.
 *
 * Refused as malformed: what is not JSON (RFC 8259) or Protobuf, values of a wrong type, numbers out
 * of range, text that is not UTF-8 (a lone surrogate, too), more than JSON_MAX_DEPTH levels within
 * one value, groups. Members that the table does not have are skipped. A member that comes twice
 * counts as it came last; messages that do are merged. null stands for an absent member, but in RAW
 * it is a value.
 *
 * What is written as JSON has no line ends outside of strings (of RAW values they are left out), and
 * bytes of text that are not UTF-8 become U+FFFD.
 *
 * centrifuge/: table.c the messages · json_read.c, json_write.c, protobuf_read.c, protobuf_write.c ·
 * input.c frames and what is in them · output.c whole messages, publications around their payload ·
 * items.c lists and maps */
#ifndef ROOST_CODEC_CENTRIFUGE_H
#define ROOST_CODEC_CENTRIFUGE_H

#include "base/buf.h"
#include "base/str.h"

enum cf_encoding { CF_JSON = 0, CF_PROTOBUF, CF_ENCODING_NR };

/* ---- the messages: struct cf_command, cf_reply, cf_push, ... ---- */

#define CF_C_BOOL bool
#define CF_C_U32  uint32_t
#define CF_C_U64  uint64_t
#define CF_C_I32  int32_t
#define CF_C_I64  int64_t
#define CF_C_TEXT struct str
#define CF_C_RAW  struct str
#define CF_C_SPAN struct str

#define BEGIN(message) struct cf_##message {
#define END(message)                                                                               \
    }                                                                                              \
    ;
#define FIELD(message, name, number, kind, omit) CF_C_##kind name;
#define MESSAGE(message, name, number, of)                                                         \
    bool has_##name;                                                                               \
    struct cf_##of name;
#define LIST(message, name, number, of, omit) struct str name;
#define MAP(message, name, number, of, omit)  struct str name;
#define TEXT_MAP(message, name, number, omit) struct str name;
#define TEXTS(message, name, number, omit)    struct str name;
#define SPANS(message, name, number, omit)    struct str name;
#include "tbl/centrifuge.def"

/* What a command asks for: the first of these that it has. NONE: it has none (a pong, when id is 0,
 * too). */
enum cf_method {
    CF_NONE = 0,
#define REQUEST(METHOD, name, number, of) CF_##METHOD,
#include "tbl/centrifuge.def"
    CF_METHOD_NR
};
enum cf_method cf_method_of(const struct cf_command *c);

/* tbl/centrifuge_errors.def */
enum cf_error_code {
#define X(NAME, code, message, temporary) CF_ERROR_##NAME = (code),
#include "tbl/centrifuge_errors.def"
#undef X
};
/* With message and temporary; the message is static. Of a code that is no row: without. */
struct cf_error cf_error(uint32_t code);

/* ---- reading ---- */

enum cf_failure { CF_MALFORMED = -1, CF_NO_MEMORY = -2 };

/* The messages of one frame, one after another: JSON is separated by one line end and may end with
 * one, Protobuf has the length before each. */
struct cf_input {
    enum cf_encoding encoding;
    struct str rest;  /* what has not been read; borrowed. p == NULL: nothing */
    struct buf *text; /* borrowed; for what has to be unescaped, emptied by each call */
};
/* A frame without any bytes is malformed. Keeps the pointer to text. */
void cf_input_init(struct cf_input *in, enum cf_encoding e, struct str frame, struct buf *text);
/* >0: one more. 0: the end. <0: enum cf_failure; what came before was good. */
int cf_next_command(struct cf_input *in, struct cf_command *out) MUST_CHECK;
int cf_next_reply(struct cf_input *in, struct cf_reply *out) MUST_CHECK;
/* For unidirectional transports, as a client reads them. */
int cf_next_push(struct cf_input *in, struct cf_push *out) MUST_CHECK;

/* One message without a delimiter: 0, or enum cf_failure. */
int cf_decode_connect_request(enum cf_encoding e, struct str in, struct buf *text,
                              struct cf_connect_request *out) MUST_CHECK;
/* One level of a filter; what is below it stays as it is. */
int cf_decode_filter_node(enum cf_encoding e, struct str in, struct buf *text,
                          struct cf_filter_node *out) MUST_CHECK;
/* The body of POST /emulation. data: the commands, a frame in that encoding. */
struct cf_emulation {
    struct str node, session, data;
};
int cf_decode_emulation(enum cf_encoding e, struct str in, struct buf *text,
                        struct cf_emulation *out) MUST_CHECK;

/* Lists and maps stand in their messages as they were read: cf_each_<message>_<name>() takes the
 * items one by one. *rest starts as the member. >0: one more. 0: the end. <0: enum cf_failure (of a
 * message that was read, only CF_NO_MEMORY). text: not the one the message was read with; emptied
 * by each call. A key may come twice: the last one counts.
 *
 *   int cf_each_connect_request_subs(enum cf_encoding e, struct str *rest, struct buf *text,
 *                                    struct str *key, struct cf_subscribe_request *item);
 *   int cf_each_connect_request_headers(e, rest, text, struct str *key, struct str *item);
 *   int cf_each_subscribe_result_publications(e, rest, text, struct cf_publication *item); */
#define LIST(message, name, number, of, omit)                                                      \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct cf_##of *item) MUST_CHECK;
#define MAP(message, name, number, of, omit)                                                       \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *key, struct cf_##of *item) MUST_CHECK;
#define TEXT_MAP(message, name, number, omit)                                                      \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *key, struct str *item) MUST_CHECK;
#define TEXTS(message, name, number, omit)                                                         \
    int cf_each_##message##_##name(enum cf_encoding e, struct str *rest, struct buf *text,         \
                                   struct str *item) MUST_CHECK;
#define SPANS(message, name, number, omit) TEXTS(message, name, number, omit)
#include "tbl/centrifuge.def"

/* ---- writing: appended to out; -1: no memory, and out is as it was ---- */

/* One message with what its encoding sets in front of it (Protobuf: the length). */
int cf_encode_reply(enum cf_encoding e, const struct cf_reply *r, struct buf *out) MUST_CHECK;
int cf_encode_command(enum cf_encoding e, const struct cf_command *c, struct buf *out) MUST_CHECK;
/* Not wrapped in a reply, as unidirectional transports have it. */
int cf_encode_push(enum cf_encoding e, const struct cf_push *p, struct buf *out) MUST_CHECK;
/* What stands between two messages of one frame (JSON: a line end; Protobuf: nothing). */
int cf_join(enum cf_encoding e, struct buf *out) MUST_CHECK;

/* The push of a result, for unidirectional transports. */
struct cf_connect_push cf_connect_push_of(const struct cf_connect_result *r);

/* A publication around its payload, which is written by the caller between the two calls, in as many
 * pieces as it likes: p->pub.data.n says how long it will be (Protobuf needs it), its pointer is
 * not looked at. quoted (JSON only): the payload will be the inside of a string, see
 * json_append_text(); else it is to be written by cf_append_raw(). wrapped: in a reply. Only id,
 * channel and pub of the push are looked at. */
struct cf_around {
    enum cf_encoding encoding;
    bool wrapped, quoted;
};
int cf_push_head(struct cf_around a, const struct cf_push *p, struct buf *out) MUST_CHECK;
int cf_push_tail(struct cf_around a, const struct cf_push *p, struct buf *out) MUST_CHECK;
/* A piece of a RAW value (JSON: without its line ends). */
int cf_append_raw(enum cf_encoding e, struct str piece, struct buf *out) MUST_CHECK;

/* Items of a list or map, one by one: cf_add_<message>_<name>(). Either to become a member of a
 * message to be written in the same encoding:
 *
 *   cf_items_begin(&items, e, &buf); cf_add_...(&items, ...); cf_items_end(&items);
 *   reply.subscribe.publications = buf_view(&buf);
 *
 * or right into a reply, for large answers. The reply has one result (connect, subscribe, presence,
 * history), whose list is not set; it must be the same at both ends. Then *start is where the reply
 * begins, up to CF_ROOM bytes behind where out ended at cf_reply_open(): those between are to be
 * left away.
 *
 *   cf_reply_open(&items, e, &reply, out); cf_add_...(&items, ...); cf_reply_close(&items, &reply, &start);
 *
 * Nothing else may be appended to the buffer meanwhile, but the calls may be turns apart. When
 * cf_add_() fails, the buffer is as it was before it, and it may be tried again.
 *
 *   int cf_add_subscribe_result_publications(struct cf_items *, const struct cf_publication *);
 *   int cf_add_presence_result_presence(struct cf_items *, struct str key, const struct cf_client_info *);
 *   int cf_add_publication_tags(struct cf_items *, struct str key, struct str value); */
#define CF_ROOM 32
struct cf_items {
    enum cf_encoding encoding;
    struct buf *out; /* borrowed until the end */
    size_t begin;    /* of the reply in out */
    bool named;      /* JSON: the member's name stands before the first item */
    bool comma;      /* JSON: and a comma before that */
    char closing;    /* JSON: bracket to come; 0: there is no item yet */
};
void cf_items_begin(struct cf_items *items, enum cf_encoding e, struct buf *out);
int cf_items_end(struct cf_items *items) MUST_CHECK;
int cf_reply_open(struct cf_items *items, enum cf_encoding e, const struct cf_reply *r,
                  struct buf *out) MUST_CHECK;
int cf_reply_close(struct cf_items *items, const struct cf_reply *r, size_t *start) MUST_CHECK;

#define LIST(message, name, number, of, omit)                                                      \
    int cf_add_##message##_##name(struct cf_items *items, const struct cf_##of *item) MUST_CHECK;
#define MAP(message, name, number, of, omit)                                                       \
    int cf_add_##message##_##name(struct cf_items *items, struct str key,                          \
                                  const struct cf_##of *item) MUST_CHECK;
#define TEXT_MAP(message, name, number, omit)                                                      \
    int cf_add_##message##_##name(struct cf_items *items, struct str key, struct str item)         \
        MUST_CHECK;
#define TEXTS(message, name, number, omit)                                                         \
    int cf_add_##message##_##name(struct cf_items *items, struct str item) MUST_CHECK;
#define SPANS(message, name, number, omit) TEXTS(message, name, number, omit)
#include "tbl/centrifuge.def"

#endif
