/* Bodies of the server API: each input is read by every method. Views of what was accepted must lie
 * inside the body or the request's own text, what is passed on raw must be JSON, and a member that
 * means something stands there once. */
#include "base/config.h"
#include "core/tags.h"
#include "proto/api/api_internal.h"
#include "tests/fuzz/fuzz.h"

static void check(bool good)
{
    if (!good)
        abort();
}

static bool inside(struct str part, struct str whole)
{
    return part.n == 0 || ((uintptr_t)part.p >= (uintptr_t)whole.p &&
                           (uintptr_t)part.p + part.n <= (uintptr_t)whole.p + whole.n);
}

static void check_text(struct str s, const struct api_request *r, struct str body UNUSED)
{
    check(inside(s, buf_view(&r->text)));
}

static void check_raw(struct str s, const struct api_request *r UNUSED, struct str body)
{
    struct json_value v;
    size_t at;

    check(inside(s, body));
    check(s.p == NULL || json_parse(s, &v, &at) == 0);
}

static void check_tags(struct str s, const struct api_request *r, struct str body UNUSED)
{
    struct str name, value;

    check_text(s, r, body);
    while (tags_next(&s, &name, &value))
        check(inside(name, buf_view(&r->text)) && inside(value, buf_view(&r->text)));
    check(s.n == 0);
}

static void check_list(struct api_list l, enum json_type of, struct str body)
{
    struct json_value v;
    size_t n = 0;

    check(inside(l.raw, body));
    while (l.raw.p != NULL && json_element(&l.raw, &v)) {
        check(v.type == of);
        n++;
    }
    check(n == l.n);
}

#define CHECK_TEXT(name)    check_text(r->name, r, body)
#define CHECK_VALUE(name)   check_raw(r->name, r, body)
#define CHECK_RAW(name)     check_raw(r->name, r, body)
#define CHECK_BASE64(name)  check_text(r->name, r, body)
#define CHECK_BOOL(name)    check(r->name == true || r->name == false)
#define CHECK_WISH(name)    check(r->name <= API_SAYS_YES)
#define CHECK_I64(name)     (void)r->name
#define CHECK_U64(name)     (void)r->name
#define CHECK_TAGS(name)    check_tags(r->name, r, body)
#define CHECK_TEXTS(name)   check_list(r->name, JSON_STRING, body)
#define CHECK_OBJECTS(name) check_list(r->name, JSON_OBJECT, body)

static void check_request(const struct api_request *r, struct str body)
{
#define FIELD(name, KIND, methods, sentence) CHECK_##KIND(name);
#define PART(of, name, KIND, sentence)       CHECK_##KIND(of##_##name);
#include "tbl/api.def"
}

/* A member that means something to a method stands there once. */
static void check_members(enum api_method method, struct str body)
{
#define M(NAME) (1u << API_##NAME)
    static const struct {
        const char *name;
        unsigned methods;
    } known[] = {
#define FIELD(name, KIND, methods, sentence) {#name, methods},
#define OBJECT(name, methods, sentence)      {#name, methods},
#include "tbl/api.def"
    };
    struct json_value object, key, value;
    size_t at, seen[ARRAY_LEN(known)] = {0};
    struct str rest;

    if (body.n == 0)
        return;
    check(json_parse(body, &object, &at) == 0);
    rest = object.raw;
    while (json_member(&rest, &key, &value))
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if ((known[i].methods & 1u << method) != 0 &&
                json_string_equal(&key, str_from(known[i].name)))
                check(seen[i]++ == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = {.p = (const char *)data, .n = size};

    for (size_t m = 0; m < API_METHOD_NR; m++) {
        struct api_request r = {0};
        struct api_fault fault;

        if (api_parse((enum api_method)m, body, &r, &fault) == 0) {
            check_members((enum api_method)m, body);
            check_request(&r, body);
        } else {
            check(fault.why == CLOSE_NONE && fault.message != NULL);
            check(fault.at <= size);
            check(fault.name != NULL || fault.message[0] == 'n' || fault.message[0] == 'J');
        }
        api_request_fini(&r);
    }
    return 0;
}
