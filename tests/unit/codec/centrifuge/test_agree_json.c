/* codec/centrifuge against jansson: random commands, right and wrong, are taken or refused as its tree
 * of the same text demands, and have its values. */
#include "cf_random.h"

#include <jansson.h>

static struct buf doc;

static void put(const char *text)
{
    assert_int_equal(buf_append_lit(&doc, text), 0);
}

static void random_space(void)
{
    static const char *const spaces[] = {"", "", "", " ", "\t", "\r", "  "};

    put(spaces[random_below(ARRAY_LEN(spaces))]);
}

static void random_string(void)
{
    static const char *const pieces[] = {"a",
                                         "Z9",
                                         "\\n",
                                         "\\\"",
                                         "\\\\",
                                         "\\/",
                                         "\\u0041",
                                         "\\u00e9",
                                         "\\ud83d\\ude00",
                                         "\xc3\xa9",
                                         "\xf0\x9f\x98\x80",
                                         "\x7f",
                                         " "};

    put("\"");
    for (uint32_t i = random_below(5); i > 0; i--)
        put(pieces[random_below(ARRAY_LEN(pieces))]);
    put("\"");
}

/* Any value; what jansson cannot hold (more than 64 bits, -0, U+0000, lone surrogates) apart. */
static void random_value(unsigned depth)
{
    static const char *const scalars[] = {"null",
                                          "true",
                                          "false",
                                          "0",

                                          "1",
                                          "-7",
                                          "2.5",
                                          "1e3",
                                          "1.0",
                                          "4294967295",
                                          "4294967296",
                                          "9223372036854775807",
                                          "-9223372036854775807",
                                          "2147483648",
                                          "-2147483649",
                                          "{}",
                                          "[]",
                                          "\"\""};
    uint32_t kind = random_below(depth > 3 ? 2 : 4);

    random_space();
    if (kind == 0) {
        put(scalars[random_below(ARRAY_LEN(scalars))]);
    } else if (kind == 1) {
        random_string();
    } else {
        put(kind == 2 ? "[" : "{");
        for (uint32_t i = 0, n = random_below(4); i < n; i++) {
            if (kind == 3) {
                random_space();
                random_string();
                put(":");
            }
            random_value(depth + 1);
            put(i + 1 < n ? "," : "");
        }
        put(kind == 2 ? "]" : "}");
    }
    random_space();
}

static void random_object(enum cf_message m, unsigned depth);

/* What fits the field, mostly. */
static void random_member(const struct cf_field *f, unsigned depth)
{
    char number[32];

    if (random_below(40) == 0) {
        random_value(0);
        return;
    }
    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        put(random_below(2) ? "true" : "false");
        break;
    case CF_U32:
    case CF_U64:
        snprintf(number, sizeof(number), "%llu", (unsigned long long)random_number(31));
        put(number);
        break;
    case CF_I32:
    case CF_I64:
        snprintf(number, sizeof(number), "%lld", -(long long)random_number(31));
        put(number);
        break;
    case CF_TEXT:
        random_string();
        break;
    case CF_RAW:
        random_value(0);
        break;
    case CF_SPAN:
        put("{\"key\": \"k\", \"cmp\": \"ex\"}");
        break;
    case CF_MESSAGE_OF:
        random_object((enum cf_message)f->of, depth + 1);
        break;
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        put(cf_is_map(f) ? "{" : "[");
        for (uint32_t i = 0, n = random_below(3); i < n; i++) {
            if (cf_is_map(f))
                put(i == 0 ? "\"first\\t\" : " : "\"second\" : "); /* each once */
            if (cf_item_kind(f) == CF_MESSAGE_OF)
                random_object((enum cf_message)f->of, depth + 1);
            else if (cf_item_kind(f) == CF_TEXT)
                random_string();
            else
                put("{ }");
            put(i + 1 < n ? "," : "");
        }
        put(cf_is_map(f) ? "}" : "]");
        break;
    }
}

static void random_object(enum cf_message m, unsigned depth)
{
    bool some = false;

    put("{");
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end && depth < 5; i++) {
        if (random_below(depth > 1 ? 3 : 2) == 0)
            continue;
        put(some ? "," : "");
        random_space();
        put("\"");
        put(cf_fields[i].name);
        put("\"");
        random_space();
        put(":");
        random_space();
        random_member(&cf_fields[i], depth);
        some = true;
    }
    if (random_below(3) == 0) {
        put(some ? ",\"unknown\":" : "\"unknown\":");
        random_value(0);
    }
    random_space();
    put("}");
}

/* ---- what jansson's tree says ---- */

static bool fits_message(enum cf_message m, json_t *v);

static bool fits_items(const struct cf_field *f, json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;

    if (cf_is_map(f) ? !json_is_object(v) : !json_is_array(v))
        return false;
    if (cf_is_map(f)) {
        json_object_foreach(v, key, item)
        {
            if (!json_is_null(item) &&
                (cf_item_kind(f) == CF_TEXT ? !json_is_string(item)
                                            : !fits_message((enum cf_message)f->of, item)))
                return false;
        }
    }
    json_array_foreach(v, i, item)
    {
        if (!json_is_null(item) && cf_item_kind(f) == CF_MESSAGE_OF &&
            !fits_message((enum cf_message)f->of, item))
            return false;
    }
    return true;
}

static bool fits_number(const struct cf_field *f, json_t *v)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v))
        return false;
    if (f->kind == CF_U32)
        return n >= 0 && n <= UINT32_MAX;
    if (f->kind == CF_I32)
        return n >= INT32_MIN && n <= INT32_MAX;
    return f->kind == CF_I64 || n >= 0;
}

static bool fits(const struct cf_field *f, json_t *v)
{
    if (v == NULL || json_is_null(v))
        return true;
    switch ((enum cf_kind)f->kind) {
    case CF_BOOL:
        return json_is_boolean(v);
    case CF_U32:
    case CF_U64:
    case CF_I32:
    case CF_I64:
        return fits_number(f, v);
    case CF_TEXT:
        return json_is_string(v);
    case CF_RAW:
        return true;
    case CF_SPAN:
        return json_is_object(v);
    case CF_MESSAGE_OF:
        return fits_message((enum cf_message)f->of, v);
    case CF_LIST_OF:
    case CF_TEXTS_OF:
    case CF_SPANS_OF:
    case CF_MAP_OF:
    case CF_TEXT_MAP_OF:
        return fits_items(f, v);
    }
    return false;
}

static bool fits_message(enum cf_message m, json_t *v)
{
    if (!json_is_object(v))
        return false;
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        if (!fits(&cf_fields[i], json_object_get(v, cf_fields[i].name)))
            return false;
    }
    return true;
}

static void same_value(struct str raw, json_t *v)
{
    json_t *mine = json_loadb(raw.p, raw.n, JSON_DECODE_ANY, NULL);

    assert_non_null(mine);
    assert_true(json_equal(mine, v));
    json_decref(mine);
}

static void same_message(enum cf_message m, const void *message, json_t *v)
{
    for (unsigned i = cf_layouts[m].first; i < cf_layouts[m].end; i++) {
        const struct cf_field *f = &cf_fields[i];
        const void *member = cf_member_of(f, message);
        const struct str *s = member;
        json_t *value = json_object_get(v, f->name);
        bool there = value != NULL && !json_is_null(value);

        if (f->kind == CF_BOOL) {
            assert_int_equal(*(const bool *)member, json_is_true(value));
        } else if (f->kind == CF_U32) {
            assert_int_equal(*(const uint32_t *)member, there ? json_integer_value(value) : 0);
        } else if (f->kind == CF_I32) {
            assert_int_equal(*(const int32_t *)member, there ? json_integer_value(value) : 0);
        } else if (f->kind <= CF_I64) {
            assert_int_equal(*(const int64_t *)member, there ? json_integer_value(value) : 0);
        } else if (f->kind == CF_TEXT) {
            assert_true(
                str_equal(*s, (struct str){json_string_value(value), json_string_length(value)}));
        } else if (f->kind == CF_MESSAGE_OF) {
            assert_int_equal(cf_has_of(f, message), there);
            same_message((enum cf_message)f->of, member, value);
        } else if (f->kind == CF_RAW ? value != NULL : there) {
            same_value(*s, value);
        } else {
            assert_null(s->p);
        }
    }
}

/* One text: taken by both or by none. */
static void check(unsigned *taken, unsigned *refused)
{
    struct buf text = {0};
    struct cf_command c;
    char *copy = exact_copy(buf_view(&doc));
    struct str in = {copy, doc.len};
    json_t *v = json_loadb(in.p, in.n, JSON_DECODE_ANY, NULL);
    bool good = v != NULL && fits_message(CF_MESSAGE_command, v);
    int rc = cf_json_room(in, &text);

    assert_int_equal(rc, 0);
    rc = cf_json_read(CF_MESSAGE_command, in, &text, &c);
    if ((rc == 0) != good)
        fail_msg("%s: %.*s", good ? "refused" : "taken", STR_ARG(in));
    if (good) {
        same_message(CF_MESSAGE_command, &c, v);
        (*taken)++;
    } else {
        (*refused)++;
    }
    json_decref(v);
    buf_fini(&text);
    free(copy);
}

static void random_commands(void **state)
{
    unsigned taken = 0, refused = 0;

    (void)state;
    for (unsigned round = 0; round < 10000; round++) {
        buf_clear(&doc);
        random_space();
        random_object(CF_MESSAGE_command, 0);
        check(&taken, &refused);
    }
    assert_true(taken > 2000 && refused > 2000);
    buf_fini(&doc);
}

/* A character is changed or left out. jansson refuses a lone surrogate anywhere, we in text only; it
 * cannot hold long numbers: those are not made here. */
static void broken_commands(void **state)
{
    static const char characters[] = "{}[],:\"\\ \tnulx-.";
    unsigned taken = 0, refused = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t at;

        buf_clear(&doc);
        random_object(CF_MESSAGE_command, 0);
        at = random_below((uint32_t)doc.len);
        if (random_below(2))
            doc.p[at] = characters[random_below(sizeof(characters) - 1)];
        else
            memmove(doc.p + at, doc.p + at + 1, --doc.len - at);
        if (memmem(doc.p, doc.len, "\\ud", 3) == NULL)
            check(&taken, &refused);
    }
    assert_true(taken > 100 && refused > 2000);
    buf_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_commands),
        cmocka_unit_test(broken_commands),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/agree_json", tests, NULL, NULL);
}
