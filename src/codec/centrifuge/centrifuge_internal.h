/* centrifuge_internal.h - the messages as data, for the readers and writers of both encodings.
 * Shared by the files of this folder (*.c). */
#ifndef ROOST_CENTRIFUGE_INTERNAL_H
#define ROOST_CENTRIFUGE_INTERNAL_H

#include "codec/centrifuge.h"

enum cf_kind {
    CF_BOOL,
    CF_U32,
    CF_U64,
    CF_I32,
    CF_I64,
    CF_TEXT,
    CF_RAW,
    CF_SPAN,
    CF_MESSAGE_OF,
    CF_LIST_OF,
    CF_TEXTS_OF,
    CF_SPANS_OF,
    CF_MAP_OF,
    CF_TEXT_MAP_OF
};

enum cf_message {
    CF_MESSAGE_none = 0, /* an item that is a string or a span */
#define BEGIN(message) CF_MESSAGE_##message,
#define END(message)
#include "tbl/centrifuge.def"
    CF_MESSAGE_NR
};

/* Places in cf_fields: CF_FIELD_<message>_<name>. */
enum cf_field_at {
#define BEGIN(message)                           CF_FIRST_##message, CF_BEFORE_##message = CF_FIRST_##message - 1,
#define END(message)                             CF_END_##message, CF_BACK_##message = CF_END_##message - 1,
#define FIELD(message, name, number, kind, omit) CF_FIELD_##message##_##name,
#define MESSAGE(message, name, number, of)       CF_FIELD_##message##_##name,
#define LIST(message, name, number, of, omit)    CF_FIELD_##message##_##name,
#define MAP(message, name, number, of, omit)     CF_FIELD_##message##_##name,
#define TEXT_MAP(message, name, number, omit)    CF_FIELD_##message##_##name,
#define TEXTS(message, name, number, omit)       CF_FIELD_##message##_##name,
#define SPANS(message, name, number, omit)       CF_FIELD_##message##_##name,
#include "tbl/centrifuge.def"
    CF_FIELD_NR
};

struct cf_field {
    const char *name;
    uint8_t name_len;
    uint8_t number;
    uint8_t kind;    /* enum cf_kind */
    uint8_t of;      /* enum cf_message */
    bool always;     /* written when it is zero, too */
    uint16_t offset; /* of the member */
    uint16_t has;    /* of has_<name>: MESSAGE */
};
struct cf_layout {
    uint16_t first, end; /* in cf_fields */
    uint16_t size;       /* of the struct */
};
extern const struct cf_field cf_fields[CF_FIELD_NR];
extern const struct cf_layout cf_layouts[CF_MESSAGE_NR];

/* The field with that number, or NULL. *hint: where to look first. */
const struct cf_field *cf_field_by_number(enum cf_message m, uint32_t number,
                                          const struct cf_field **hint);

/* An item of any list. */
union cf_item {
    struct str text;
#define LIST(message, name, number, of, omit) struct cf_##of message##_##name;
#define MAP(message, name, number, of, omit)  struct cf_##of message##_##name;
#include "tbl/centrifuge.def"
};

static inline void *cf_member(const struct cf_field *f, void *message)
{
    return (char *)message + f->offset;
}

static inline const void *cf_member_of(const struct cf_field *f, const void *message)
{
    return (const char *)message + f->offset;
}

static inline bool *cf_has(const struct cf_field *f, void *message)
{
    return (bool *)((char *)message + f->has);
}

static inline bool cf_has_of(const struct cf_field *f, const void *message)
{
    return *(const bool *)((const char *)message + f->has);
}

static inline bool cf_is_map(const struct cf_field *f)
{
    return f->kind >= CF_MAP_OF;
}

/* What an item of a list or map is: a message, text or a span. */
static inline enum cf_kind cf_item_kind(const struct cf_field *f)
{
    if (f->of != CF_MESSAGE_none)
        return CF_MESSAGE_OF;
    return f->kind == CF_SPANS_OF ? CF_SPAN : CF_TEXT;
}

void cf_clear(enum cf_message m, void *message);
void cf_clear_member(const struct cf_field *f, void *message);

/* ---- readers: 0, or enum cf_failure ---- */

/* text must have room for whatever is escaped in `in`: cf_json_room(). */
int cf_json_room(struct str in, struct buf *text) MUST_CHECK;
int cf_json_read(enum cf_message m, struct str in, struct buf *text, void *out) MUST_CHECK;
int cf_protobuf_read(enum cf_message m, struct str in, void *out) MUST_CHECK;
/* As cf_each_...(); key is not looked at for a list. cf_json_next(): text has room. */
int cf_json_next(const struct cf_field *f, struct str *rest, struct buf *text, struct str *key,
                 void *item) MUST_CHECK;
int cf_json_each(const struct cf_field *f, struct str *rest, struct buf *text, struct str *key,
                 void *item) MUST_CHECK;
int cf_protobuf_each(const struct cf_field *f, struct str *rest, struct str *key,
                     void *item) MUST_CHECK;

/* What stands under one tag of Protobuf. Groups are refused, as nobody writes them. */
enum cf_wire { CF_WIRE_VARINT = 0, CF_WIRE_64 = 1, CF_WIRE_BYTES = 2, CF_WIRE_32 = 5 };
struct cf_value {
    uint32_t number; /* of the field */
    uint8_t wire;    /* enum cf_wire */
    uint64_t varint;
    struct str bytes; /* of all others */
    struct str whole; /* with the tag */
};
/* -1: malformed. */
int cf_protobuf_take(struct str *rest, struct cf_value *out) MUST_CHECK;
int cf_varint(struct str *rest, uint64_t *out) MUST_CHECK;

/* ---- writers ---- */

/* JSON can leave out one list, the hole, to be written by somebody else: one call writes what is
 * before it, another what is behind it. */
enum cf_part { CF_WHOLE = 0, CF_HEAD, CF_TAIL };
struct cf_writer {
    struct buf *out;
    const struct cf_field *hole;
    enum cf_part part;
    bool items;  /* part CF_TAIL: something was written into the hole */
    bool silent; /* private: on the other side of the hole */
    bool comma;  /* one belongs before the hole */
};
int cf_json_write(struct cf_writer *w, enum cf_message m, const void *in) MUST_CHECK;
int cf_json_put(struct cf_writer *w, struct str s) MUST_CHECK;
/* Nothing if it is to be left out. */
int cf_json_put_member(struct cf_writer *w, const struct cf_field *f, bool comma,
                       const void *message) MUST_CHECK;
int cf_json_put_name(struct buf *out, bool comma, const struct cf_field *f) MUST_CHECK;
int cf_protobuf_write(struct cf_writer *w, enum cf_message m, const void *in) MUST_CHECK;
int cf_protobuf_put_member(struct cf_writer *w, const struct cf_field *f,
                           const void *message) MUST_CHECK;
/* Bytes that will be written for it, or for some of its members (places in cf_fields). */
size_t cf_protobuf_size(enum cf_message m, const void *in);
size_t cf_protobuf_members_size(unsigned first, unsigned end, const void *in);
int cf_protobuf_put(struct cf_writer *w, struct str s) MUST_CHECK;
int cf_protobuf_put_varint(struct cf_writer *w, uint64_t v) MUST_CHECK;
/* Field number and length of what has one. */
int cf_protobuf_put_head(struct cf_writer *w, unsigned number, size_t n) MUST_CHECK;
size_t cf_varint_size(uint64_t v);
/* At most 10 bytes to `to`; how many. */
size_t cf_varint_write(uint64_t v, char *to);

#endif
