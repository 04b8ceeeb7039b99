/* proto/api/parse.c - bodies of the server API, by tbl/api.def.
 *
 * What cannot be read as what it is meant for is refused as a whole, members that the table does not
 * have are skipped, null is as good as absent. All text goes into one buffer, which has room for as
 * much as the body is long: text is never longer than what stands for it, so views never move. */
#include "api_internal.h"
#include "codec/base64.h"
#include "core/tags.h"

enum kind {
    KIND_TEXT = 0,
    KIND_VALUE,
    KIND_RAW,
    KIND_BASE64,
    KIND_BOOL,
    KIND_WISH,
    KIND_I64,
    KIND_U64,
    KIND_TAGS,
    KIND_TEXTS,
    KIND_OBJECTS,
    KIND_OBJECT
};

enum object { /* whose member it is */
              TOP = 0,
#define OBJECT(name, methods, sentence) IN_##name,
#include "tbl/api.def"
};

#define M(NAME)  (1u << API_##NAME)
#define AT(name) offsetof(struct api_request, name)
static const struct row {
    const char *name;
    enum kind kind;
    enum object of, object; /* object: of KIND_OBJECT, which one */
    size_t at;
    unsigned methods;
} rows[] = {
#define FIELD(name_, KIND, methods_, sentence)                                                     \
    {.name = #name_, .kind = KIND_##KIND, .at = AT(name_), .methods = (methods_)},
#define OBJECT(name_, methods_, sentence)                                                          \
    {.name = #name_,                                                                               \
     .kind = KIND_OBJECT,                                                                          \
     .object = IN_##name_,                                                                         \
     .at = AT(has_##name_),                                                                        \
     .methods = (methods_)},
#define PART(of_, name_, KIND, sentence)                                                           \
    {.name = #name_, .kind = KIND_##KIND, .of = IN_##of_, .at = AT(of_##_##name_), .methods = ~0u},
#include "tbl/api.def"
};
_Static_assert(ARRAY_LEN(rows) <= 64, "read_object() remembers what it has seen in 64 bits");
_Static_assert(API_METHOD_NR < 32, "methods are bits");

static const char *const names[API_METHOD_NR] = {
#define METHOD(NAME, name, changes, sentence) [API_##NAME] = #name,
#include "tbl/api.def"
};

const char *api_method_name(enum api_method m)
{
    return names[m];
}

enum api_method api_method_find(const struct json_value *name)
{
    size_t m = 0;

    while (m < API_METHOD_NR && !json_string_equal(name, str_from(names[m])))
        m++;
    return (enum api_method)m;
}

static int refuse(struct api_fault *f, enum api_code code, const struct row *row,
                  const char *message)
{
    f->code = code;
    f->name = row == NULL ? NULL : row->name;
    f->message = message;
    return -1;
}

static int no_memory(struct api_fault *f)
{
    f->why = CLOSE_NO_MEMORY;
    return refuse(f, API_NO_ERROR, NULL, "too much: out of memory");
}

/* ---- each kind: 0, -1 it is none, or ---- */

#define MALFORMED (-2) /* a string that is not what it should be: no fault of the JSON */
#define NO_MEMORY (-3)

static int read_text(const struct json_value *v, struct buf *text, struct str *out)
{
    size_t start = text->len;

    if (v->type != JSON_STRING || json_string(v, text) == -1)
        return -1;
    *out = str_skip(buf_view(text), start);
    return 0;
}

static int read_base64(const struct json_value *v, struct buf *text, struct str *out)
{
    struct str raw = v->raw;
    size_t start = text->len;

    if (v->type != JSON_STRING)
        return -1;
    raw = (struct str){.p = raw.p + 1, .n = raw.n - 2};
    if (memchr(raw.p, '\\', raw.n) != NULL) { /* PHP writes "/" as "\/" */
        if (read_text(v, text, &raw) == -1)
            return -1;
        text->len = start; /* decoded where it stands: what is read lies ahead */
    }
    if (base64_decode(raw, text) == -1)
        return MALFORMED;
    *out = str_skip(buf_view(text), start);
    return 0;
}

static int read_i64(const struct json_value *v, int64_t *out)
{
    struct json_value digits = *v;
    bool negative = v->type == JSON_NUMBER && v->raw.p[0] == '-';
    uint64_t n;

    if (negative)
        digits.raw = str_skip(digits.raw, 1);
    if (v->type != JSON_NUMBER || json_u64(&digits, &n) == -1 || n > INT64_MAX)
        return -1;
    *out = negative ? -(int64_t)n : (int64_t)n;
    return 0;
}

static int read_bool(const struct json_value *v, bool *out)
{
    *out = v->type == JSON_TRUE;
    return v->type == JSON_TRUE || v->type == JSON_FALSE ? 0 : -1;
}

/* {"value":true} */
static int read_wish(const struct json_value *v, enum api_wish *out)
{
    struct json_value value;
    bool yes;

    if (v->type != JSON_OBJECT)
        return -1;
    if (!json_get(v, STR_LIT("value"), &value) || value.type == JSON_NULL)
        yes = false; /* as the original's false, which it leaves out */
    else if (read_bool(&value, &yes) == -1)
        return -1;
    *out = yes ? API_SAYS_YES : API_SAYS_NO;
    return 0;
}

static int read_list(const struct json_value *v, enum json_type of, struct api_list *out)
{
    struct str rest = v->raw;
    struct json_value element;

    if (v->type != JSON_ARRAY)
        return -1;
    for (; json_element(&rest, &element); out->n++)
        if (element.type != of)
            return -1;
    out->raw = v->raw;
    return 0;
}

static int add_tag(const struct json_value *key, const struct json_value *value, struct buf *once,
                   struct buf *text)
{
    struct str name, tag;

    buf_clear(once);
    if (read_text(key, once, &name) == -1 || read_text(value, once, &tag) == -1)
        return -1;
    return tags_add(text, name, tag);
}

static int read_tags(const struct json_value *v, struct buf *text, struct str *out)
{
    struct json_value key, value;
    struct str rest = v->raw;
    size_t start = text->len;
    struct buf once = {0};
    int rc = v->type == JSON_OBJECT ? 0 : -1;

    if (rc == 0 && buf_reserve(&once, v->raw.n) == -1)
        rc = NO_MEMORY;
    while (rc == 0 && json_member(&rest, &key, &value))
        rc = add_tag(&key, &value, &once, text);
    buf_fini(&once);
    *out = str_skip(buf_view(text), start);
    return rc;
}

/* ---- a row of an object ---- */

static const char *const expected[] = {
    [KIND_TEXT] = "must be a string",
    [KIND_VALUE] = "must be JSON",
    [KIND_RAW] = "must be JSON",
    [KIND_BASE64] = "must be a base64 string",
    [KIND_BOOL] = "must be true or false",
    [KIND_WISH] = "must be an object with a value that is true or false",
    [KIND_I64] = "must be a whole number",
    [KIND_U64] = "must be a whole number that is not negative",
    [KIND_TAGS] = "must be an object of strings",
    [KIND_TEXTS] = "must be an array of strings",
    [KIND_OBJECTS] = "must be an array of objects",
    [KIND_OBJECT] = "must be an object",
};

static int read_kind(const struct row *row, const struct json_value *v, struct api_request *r)
{
    void *at = (char *)r + row->at;

    switch (row->kind) {
    case KIND_TEXT:
        return read_text(v, &r->text, at);
    case KIND_VALUE:
    case KIND_RAW:
        *(struct str *)at = v->raw;
        return 0;
    case KIND_BASE64:
        return read_base64(v, &r->text, at);
    case KIND_BOOL:
        return read_bool(v, at);
    case KIND_WISH:
        return read_wish(v, at);
    case KIND_I64:
        return read_i64(v, at);
    case KIND_U64:
        return v->type == JSON_NUMBER ? json_u64(v, at) : -1;
    case KIND_TAGS:
        return read_tags(v, &r->text, at);
    case KIND_TEXTS:
        return read_list(v, JSON_STRING, at);
    case KIND_OBJECTS:
        return read_list(v, JSON_OBJECT, at);
    case KIND_OBJECT:
        *(bool *)at = true;
        return v->type == JSON_OBJECT ? 0 : -1;
    }
    return -1; /* UNTESTED: all kinds stand above */
}

static const struct row *row_find(enum api_method method, enum object of,
                                  const struct json_value *key)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].of == of && (rows[i].methods & 1u << method) != 0 &&
            json_string_equal(key, str_from(rows[i].name)))
            return &rows[i];
    return NULL;
}

/* The members of one object. inner: those that are objects, by enum object. */
static int read_object(enum api_method method, enum object of, struct str rest,
                       struct api_request *r, struct json_value *inner, struct api_fault *f)
{
    struct json_value key, value;
    uint64_t seen = 0;

    while (json_member(&rest, &key, &value)) {
        const struct row *row = row_find(method, of, &key);
        int rc;

        if (row == NULL)
            continue;
        /* Parsers differ in which one counts (RFC 8259 §4): none does. */
        if (seen & UINT64_C(1) << (row - rows))
            return refuse(f, API_BAD_REQUEST, row, "is repeated");
        seen |= UINT64_C(1) << (row - rows);
        if (value.type == JSON_NULL && row->kind != KIND_VALUE)
            continue;
        rc = read_kind(row, &value, r);
        if (rc == NO_MEMORY)
            return no_memory(f);
        if (rc != 0)
            return refuse(f, rc == MALFORMED ? API_BAD_REQUEST : API_NO_ERROR, row,
                          expected[row->kind]);
        if (row->kind == KIND_OBJECT)
            inner[row->object] = value;
    }
    return 0;
}

#define OBJECT(name, methods, sentence) +1
enum {
    OBJECTS_NR =
#include "tbl/api.def"
};

int api_parse(enum api_method method, struct str body, struct api_request *out,
              struct api_fault *fault)
{
    struct json_value inner[OBJECTS_NR + 1] = {0};
    struct json_value object;

    *fault = (struct api_fault){.why = CLOSE_NONE};
    /* What asks only for an answer may come without a body (curl -X POST). */
    if (body.n == 0 && (method == API_CHANNELS || method == API_INFO))
        body = STR_LIT("{}");
    if (json_parse(body, &object, &fault->at) == -1)
        return refuse(fault, API_NO_ERROR, NULL, json_refusal(body));
    fault->at = 0;
    if (object.type != JSON_OBJECT)
        return refuse(fault, API_NO_ERROR, NULL, "not a JSON object");
    if (buf_reserve(&out->text, body.n) == -1)
        return no_memory(fault);
    if (read_object(method, TOP, object.raw, out, inner, fault) == -1)
        return -1;
    for (size_t i = 1; i <= OBJECTS_NR; i++)
        if (inner[i].raw.p != NULL &&
            read_object(method, (enum object)i, inner[i].raw, out, NULL, fault) == -1)
            return -1;
    return 0;
}

void api_request_fini(struct api_request *r)
{
    buf_fini(&r->text);
    memset(r, 0, sizeof(*r));
}
