/* proto/api/openapi.c - GET /api/openapi.json: tbl/api.def as OpenAPI 3.0 has it. */
#include "api_internal.h"
#include "base/config.h"

#define M(NAME) (1u << API_##NAME)

/* Schemas of request members, by kind; they end open. */
#define SCHEMA_TEXT    "{\"type\":\"string\""
#define SCHEMA_VALUE   "{\"nullable\":true"
#define SCHEMA_RAW     "{\"nullable\":true"
#define SCHEMA_BASE64  "{\"type\":\"string\",\"format\":\"byte\""
#define SCHEMA_BOOL    "{\"type\":\"boolean\""
#define SCHEMA_WISH    "{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"boolean\"}}"
#define SCHEMA_I64     "{\"type\":\"integer\",\"format\":\"int64\""
#define SCHEMA_U64     "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0"
#define SCHEMA_TAGS    "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}"
#define SCHEMA_TEXTS   "{\"type\":\"array\",\"items\":{\"type\":\"string\"}"
#define SCHEMA_OBJECTS "{\"type\":\"array\",\"items\":{\"type\":\"object\"}"
#define SCHEMA_OBJECT  "{\"type\":\"object\""

static const struct member { /* of a request */
    const char *of;          /* "": the body's own */
    const char *name, *schema, *sentence;
    unsigned methods;
    bool object;
} members[] = {
#define FIELD(name_, KIND, methods_, sentence_)                                                    \
    {"", #name_, SCHEMA_##KIND, sentence_, methods_, false},
#define OBJECT(name_, methods_, sentence_) {"", #name_, SCHEMA_OBJECT, sentence_, methods_, true},
#define PART(of_, name_, KIND, sentence_)  {#of_, #name_, SCHEMA_##KIND, sentence_, 0, false},
#include "tbl/api.def"
};

static const struct part { /* of a result */
    const char *of, *name, *type;
    bool required;
} parts[] = {
#define RESULT(of_, name_, required_, type_) {#of_, #name_, type_, required_},
#include "tbl/api.def"
};

static const char *const sentences[API_METHOD_NR] = {
#define METHOD(NAME, name, changes, sentence) [API_##NAME] = sentence,
#include "tbl/api.def"
};

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* ---- requests ---- */

static int append_member(struct buf *out, const struct member *m, bool *first)
{
    int rc = buf_printf(out, "%s\"%s\":%s,\"description\":\"%s\"", *first ? "" : ",", m->name,
                        m->schema, m->sentence);
    bool inner = true;

    *first = false;
    if (rc == 0 && m->object)
        rc = buf_append_lit(out, ",\"properties\":{");
    for (size_t i = 0; i < ARRAY_LEN(members) && rc == 0 && m->object; i++)
        if (same(members[i].of, m->name))
            rc = append_member(out, &members[i], &inner);
    if (rc == 0 && m->object)
        rc = buf_append_char(out, '}');
    return rc == -1 ? -1 : buf_append_char(out, '}');
}

static int append_request(struct buf *out, enum api_method m)
{
    bool first = true;

    if (buf_append_lit(out, "{\"type\":\"object\",\"properties\":{") == -1)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if ((members[i].methods & 1u << m) != 0 && append_member(out, &members[i], &first) == -1)
            return -1;
    return buf_append_lit(out, "}}");
}

/* ---- results ---- */

static int append_ref(struct buf *out, const char *name)
{
    return buf_printf(out, "{\"$ref\":\"#/components/schemas/%s\"}", name);
}

/* A type as the table has it: behind [ or { the type of what is in it. */
static int append_type(struct buf *out, const char *type)
{
    char inner[32];

    if (type[0] == '[' || type[0] == '{') {
        snprintf(inner, sizeof(inner), "%.*s", (int)strlen(type) - 2, type + 1);
        if (buf_append_lit(out, type[0] == '['
                                    ? "{\"type\":\"array\",\"items\":"
                                    : "{\"type\":\"object\",\"additionalProperties\":") == -1 ||
            append_type(out, inner) == -1)
            return -1;
        return buf_append_char(out, '}');
    }
    if (same(type, "any"))
        return buf_append_lit(out, "{\"nullable\":true}");
    if (same(type, "string") || same(type, "integer") || same(type, "boolean") ||
        same(type, "number"))
        return buf_printf(out, "{\"type\":\"%s\"}", type);
    return append_ref(out, type);
}

static int append_schema(struct buf *out, const char *name)
{
    bool first = true;

    if (buf_printf(out,
                   "\"%s\":{\"type\":\"object\",\"additionalProperties\":false,"
                   "\"properties\":{",
                   name) == -1)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!same(parts[i].of, name))
            continue;
        if (buf_printf(out, "%s\"%s\":", first ? "" : ",", parts[i].name) == -1 ||
            append_type(out, parts[i].type) == -1)
            return -1;
        first = false;
    }
    if (buf_append_char(out, '}') == -1)
        return -1;
    first = true;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!same(parts[i].of, name) || !parts[i].required)
            continue;
        if (buf_printf(out, "%s\"%s\"", first ? ",\"required\":[" : ",", parts[i].name) == -1)
            return -1;
        first = false;
    }
    return buf_append_lit(out, first ? "}" : "]}");
}

static bool is_method(const char *name)
{
    for (size_t m = 0; m < API_METHOD_NR; m++)
        if (same(api_method_name((enum api_method)m), name))
            return true;
    return false;
}

/* One for each method's result, and for each thing that these refer to. */
static int append_schemas(struct buf *out)
{
    for (size_t m = 0; m < API_METHOD_NR; m++)
        if ((m > 0 && buf_append_char(out, ',') == -1) ||
            append_schema(out, api_method_name((enum api_method)m)) == -1)
            return -1;
    for (size_t i = 1; i < ARRAY_LEN(parts); i++) {
        const char *of = parts[i].of;

        if (!same(of, parts[i - 1].of) && !is_method(of) &&
            (buf_append_char(out, ',') == -1 || append_schema(out, of) == -1))
            return -1;
    }
    return 0;
}

/* Of POST /api/batch: each reply has the method's name where others have "result". */
static int append_replies(struct buf *out)
{
    if (buf_append_lit(out, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                            "\"replies\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
                            "\"additionalProperties\":false,\"properties\":{\"error\":") == -1 ||
        append_ref(out, "error") == -1)
        return -1;
    for (size_t m = 0; m < API_METHOD_NR; m++) {
        const char *name = api_method_name((enum api_method)m);

        if (m != API_BATCH &&
            (buf_printf(out, ",\"%s\":", name) == -1 || append_ref(out, name) == -1))
            return -1;
    }
    return buf_append_lit(out, "}}}}}");
}

static int append_response(struct buf *out, enum api_method m)
{
    if (m == API_BATCH)
        return append_replies(out);
    if (buf_append_lit(out, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                            "\"result\":") == -1 ||
        append_ref(out, api_method_name(m)) == -1 || buf_append_lit(out, ",\"error\":") == -1 ||
        append_ref(out, "error") == -1)
        return -1;
    return buf_append_lit(out, "}}");
}

/* ---- the document ---- */

static const char other_statuses[] =
    "}}},\"400\":{\"description\":\"the body cannot be read as what the method takes\"},"
    "\"401\":{\"description\":\"the API key is missing or wrong\"},"
    "\"503\":{\"description\":\"not done; the same again may help\"},"
    "\"504\":{\"description\":\"it is not known whether it was done\"}}}}";

static int append_path(struct buf *out, enum api_method m)
{
    const char *name = api_method_name(m);

    if (buf_printf(out, "%s\"/api/%s\":{\"post\":{\"operationId\":\"%s\",\"summary\":\"%s\",",
                   m > 0 ? "," : "", name, name, sentences[m]) == -1 ||
        buf_append_lit(out, "\"requestBody\":{\"required\":true,\"content\":"
                            "{\"application/json\":{\"schema\":") == -1 ||
        append_request(out, m) == -1 ||
        buf_append_lit(out, "}}},\"responses\":{\"200\":{\"description\":\"done, or why not\","
                            "\"content\":{\"application/json\":{\"schema\":") == -1 ||
        append_response(out, m) == -1)
        return -1;
    return buf_append_lit(out, other_statuses);
}

static const char head[] =
    "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"Roost server API\",\"version\":\"1\"},"
    "\"security\":[{\"header\":[]},{\"authorization\":[]},{\"query\":[]}],\"paths\":{";
static const char components[] =
    "},\"components\":{\"securitySchemes\":{"
    "\"header\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-API-Key\"},"
    "\"authorization\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"Authorization\"},"
    "\"query\":{\"type\":\"apiKey\",\"in\":\"query\",\"name\":\"api_key\"}},\"schemas\":{";

static int append_all(struct buf *out)
{
    if (buf_append_lit(out, head) == -1)
        return -1;
    for (size_t m = 0; m < API_METHOD_NR; m++)
        if (append_path(out, (enum api_method)m) == -1)
            return -1;
    if (buf_append_lit(out, components) == -1 || append_schemas(out) == -1)
        return -1;
    return buf_append_lit(out, "}}}");
}

void api_openapi(struct http_exchange *x)
{
    struct buf out = {0};

    if (append_all(&out) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, API_JSON, STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}
