/* codec/centrifuge/table.c - the messages as data. */
#include "centrifuge_internal.h"

#define OMIT   false
#define ALWAYS true
#define ROW(message, member, number_, kind_, of_, always_, has_)                                   \
    [CF_FIELD_##message##_##member] = {.name = #member,                                            \
                                       .name_len = sizeof(#member) - 1,                            \
                                       .number = number_,                                          \
                                       .kind = kind_,                                              \
                                       .of = CF_MESSAGE_##of_,                                     \
                                       .always = always_,                                          \
                                       .offset = offsetof(struct cf_##message, member),            \
                                       .has = has_},

const struct cf_field cf_fields[CF_FIELD_NR] = {
#define FIELD(message, name, number, kind, omit)                                                   \
    ROW(message, name, number, CF_##kind, none, omit, 0)
#define MESSAGE(message, name, number, of)                                                         \
    ROW(message, name, number, CF_MESSAGE_OF, of, OMIT, offsetof(struct cf_##message, has_##name))
#define LIST(message, name, number, of, omit) ROW(message, name, number, CF_LIST_OF, of, omit, 0)
#define MAP(message, name, number, of, omit)  ROW(message, name, number, CF_MAP_OF, of, omit, 0)
#define TEXT_MAP(message, name, number, omit)                                                      \
    ROW(message, name, number, CF_TEXT_MAP_OF, none, omit, 0)
#define TEXTS(message, name, number, omit) ROW(message, name, number, CF_TEXTS_OF, none, omit, 0)
#define SPANS(message, name, number, omit) ROW(message, name, number, CF_SPANS_OF, none, omit, 0)
#include "tbl/centrifuge.def"
};

const struct cf_layout cf_layouts[CF_MESSAGE_NR] = {
    [CF_MESSAGE_none] = {.size = sizeof(struct str)},
#define BEGIN(message)                                                                             \
    [CF_MESSAGE_##message] = {.first = CF_FIRST_##message,                                         \
                              .end = CF_END_##message,                                             \
                              .size = sizeof(struct cf_##message)},
#define END(message)
#include "tbl/centrifuge.def"
};
_Static_assert(sizeof(struct cf_reply) <= UINT16_MAX && sizeof(struct cf_command) <= UINT16_MAX,
               "offsets of members have 16 bits");

const struct cf_field *cf_field_by_number(enum cf_message m, uint32_t number,
                                          const struct cf_field **hint)
{
    const struct cf_field *first = cf_fields + cf_layouts[m].first,
                          *end = cf_fields + cf_layouts[m].end, *f = *hint;

    for (size_t n = (size_t)(end - first); n > 0; n--, f++) {
        if (f == NULL || f == end)
            f = first;
        if (f->number == number) {
            *hint = f + 1;
            return f;
        }
    }
    return NULL;
}

void cf_clear(enum cf_message m, void *message)
{
    memset(message, 0, cf_layouts[m].size);
}

void cf_clear_member(const struct cf_field *f, void *message)
{
    void *member = cf_member(f, message);

    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        *(bool *)member = false;
        return;
    case CF_U32:
    case CF_I32:
        *(uint32_t *)member = 0;
        return;
    case CF_U64:
    case CF_I64:
        *(uint64_t *)member = 0;
        return;
    case CF_TEXT:
    case CF_RAW:
    case CF_SPAN:
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        *(struct str *)member = STR_NULL;
        return;
    case CF_MESSAGE_OF:
        *cf_has(f, message) = false;
        cf_clear((enum cf_message)f->of, member);
        return;
    }
}

enum cf_method cf_method_of(const struct cf_command *c)
{
#define REQUEST(METHOD, name, number, of)                                                          \
    if (c->has_##name)                                                                             \
        return CF_##METHOD;
#include "tbl/centrifuge.def"
    return CF_NONE;
}

struct cf_error cf_error(uint32_t code)
{
    switch (code) {
#define X(NAME, code_, message_, temporary_)                                                       \
    case code_:                                                                                    \
        return (struct cf_error){                                                                  \
            .code = code_, .message = STR_LIT(message_), .temporary = temporary_};
#include "tbl/centrifuge_errors.def"
#undef X
    default:
        return (struct cf_error){.code = code};
    }
}
