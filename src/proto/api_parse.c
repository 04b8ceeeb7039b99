/* proto/api_parse.c - bodies of the server API.
 *
 * Members that only steer what Roost does not have are accepted: skip_history (there is no
 * history), delta (an encoding), tags (metadata for another protocol), and unknown ones, as the
 * original does. A member that promises what would not be kept is answered NOT_AVAILABLE:
 * idempotency_key and version would suppress publications. */
#include "api_internal.h"

#include "base/config.h"
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/record.h"

const char api_bad_channel[] =
    "bad request: a channel name has 1 to 255 bytes of printable UTF-8 without space, *, \" and \\";

enum api_member {
    API_M_CHANNEL = 0,
    API_M_CHANNELS,
    API_M_DATA,
    API_M_B64DATA,
    API_M_PATTERN,
    API_M_IDEMPOTENCY_KEY,
    API_M_VERSION,
    API_M_NR
};
static const char *const api_member_names[API_M_NR] = {
    [API_M_CHANNEL] = "channel", [API_M_CHANNELS] = "channels",
    [API_M_DATA] = "data",       [API_M_B64DATA] = "b64data",
    [API_M_PATTERN] = "pattern", [API_M_IDEMPOTENCY_KEY] = "idempotency_key",
    [API_M_VERSION] = "version",
};

struct api_members { /* raw.p == NULL: absent */
    struct json_value v[API_M_NR];
};

static int api_fail(struct api_fault *f, int code, const char *message)
{
    f->code = code;
    f->message = message;
    return -1;
}

static int api_no_memory(struct api_fault *f)
{
    f->why = CLOSE_NO_MEMORY;
    return api_fail(f, API_INTERNAL, "internal server error: out of memory");
}

static int api_base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to one to three bytes. Returns how many, 0: malformed. last: padding is allowed.
 */
static size_t api_base64_group(const char *p, bool last, char out[3])
{
    size_t chars = 4;
    uint32_t bits = 0;

    if (last && p[3] == '=')
        chars = p[2] == '=' ? 2 : 3;
    for (size_t i = 0; i < 4; i++) {
        int v = i < chars ? api_base64_value(p[i]) : 0;

        if (v < 0)
            return 0;
        bits = bits << 6 | (uint32_t)v;
    }
    /* RFC 4648 §3.5: bits behind the end are zero, or two texts would mean the same. */
    if ((chars == 2 && (bits & 0xffff)) || (chars == 3 && (bits & 0xff)))
        return 0;
    out[0] = (char)(uint8_t)(bits >> 16);
    out[1] = (char)(uint8_t)(bits >> 8);
    out[2] = (char)(uint8_t)bits;
    return chars - 1;
}

int api_base64_decode(struct str s, struct buf *out, enum close_reason *why)
{
    *why = CLOSE_NONE;
    if (s.n % 4 != 0)
        return -1;
    if (s.n > 0 && buf_reserve(out, s.n / 4 * 3) == -1) {
        *why = CLOSE_NO_MEMORY;
        return -1;
    }
    for (size_t i = 0; i < s.n; i += 4) {
        char bytes[3];
        size_t n = api_base64_group(s.p + i, i + 4 == s.n, bytes);

        if (n == 0)
            return -1;
        memcpy(out->p + out->len, bytes, n);
        out->len += n;
    }
    return 0;
}

static int api_read_members(struct str body, struct api_members *m, struct api_fault *f)
{
    struct json_value object, key, value;
    struct str rest;

    memset(m, 0, sizeof(*m));
    if (json_parse(body, &object, &f->at) == -1)
        return api_fail(f, 0, json_refusal(body));
    f->at = 0;
    if (object.type != JSON_OBJECT)
        return api_fail(f, 0, "not a JSON object");
    rest = object.raw;
    while (json_member(&rest, &key, &value)) {
        for (size_t i = 0; i < API_M_NR; i++) {
            if (!json_string_equal(&key, str_from(api_member_names[i])))
                continue;
            /* Parsers differ in which one counts (RFC 8259 §4): none does. */
            if (m->v[i].raw.p != NULL)
                return api_fail(f, API_BAD_REQUEST, "bad request: a member is repeated");
            m->v[i] = value;
        }
    }
    return 0;
}

/* null is absent, as in the original. */
static bool api_given(const struct json_value *v)
{
    return v->raw.p != NULL && v->type != JSON_NULL;
}

/* A string of at most max bytes to text. */
static int api_read_string(const struct json_value *v, size_t max, struct api_request *r,
                           const char *message, struct api_fault *f)
{
    size_t start = r->text.len;

    if (!api_given(v) || v->type != JSON_STRING)
        return api_fail(f, API_BAD_REQUEST, message);
    /* Enough for what follows: an unescaped string is never longer than its text. */
    if (buf_reserve(&r->text, v->raw.n) == -1)
        return api_no_memory(f);
    if (json_string(v, &r->text) == -1 || r->text.len - start > max)
        return api_fail(f, API_BAD_REQUEST, message);
    return 0;
}

/* Appends to r->text. */
static int api_read_binary(const struct json_value *v, struct api_request *r, struct api_fault *f)
{
    static const char message[] = "bad request: b64data must be a base64 string";
    struct str raw = v->raw;
    enum close_reason why;

    if (v->type != JSON_STRING)
        return api_fail(f, API_BAD_REQUEST, message);
    /* PHP writes "/" as "\/". */
    if (memchr(raw.p, '\\', raw.n) != NULL) {
        struct buf plain = {0};
        int rc = buf_reserve(&plain, raw.n);

        why = rc == -1 ? CLOSE_NO_MEMORY : CLOSE_NONE;
        if (rc == 0)
            rc = json_string(v, &plain);
        if (rc == 0)
            rc = api_base64_decode(buf_view(&plain), &r->text, &why);
        buf_fini(&plain);
        if (rc == 0)
            return 0;
    } else {
        raw = (struct str){.p = raw.p + 1, .n = raw.n - 2};
        if (api_base64_decode(raw, &r->text, &why) == 0)
            return 0;
    }
    return why == CLOSE_NO_MEMORY ? api_no_memory(f) : api_fail(f, API_BAD_REQUEST, message);
}

static int api_read_data(const struct api_members *m, struct api_request *r, struct api_fault *f)
{
    const struct json_value *data = &m->v[API_M_DATA], *binary = &m->v[API_M_B64DATA];
    bool has_binary = api_given(binary);

    /* Some libraries write the member they do not use as an empty one. */
    if (has_binary && data->raw.p != NULL && str_equal(binary->raw, STR_LIT("\"\"")))
        has_binary = false;

    if (api_given(&m->v[API_M_IDEMPOTENCY_KEY]) &&
        !str_equal(m->v[API_M_IDEMPOTENCY_KEY].raw, STR_LIT("\"\"")))
        return api_fail(f, API_NOT_AVAILABLE, "not available: idempotency_key");
    if (api_given(&m->v[API_M_VERSION]) && !str_equal(m->v[API_M_VERSION].raw, STR_LIT("0")))
        return api_fail(f, API_NOT_AVAILABLE, "not available: version");
    if (has_binary && data->raw.p != NULL)
        return api_fail(f, API_BAD_REQUEST, "bad request: data and b64data exclude each other");
    if (!has_binary && data->raw.p == NULL)
        return api_fail(f, API_BAD_REQUEST, "bad request: data is missing");
    if (has_binary) {
        size_t start = r->text.len;

        if (api_read_binary(binary, r, f) == -1)
            return -1;
        r->data = str_skip(buf_view(&r->text), start);
        r->flags = RECORD_BINARY;
    } else {
        r->data = data->raw;
        r->flags = RECORD_JSON;
    }
    if (r->data.n > (size_t)config.max_message_size)
        return api_fail(f, API_BAD_REQUEST, "bad request: data is larger than max_message_size");
    return 0;
}

static int api_read_channel(const struct api_members *m, struct api_request *r, struct api_fault *f)
{
    size_t start = r->text.len;
    struct str name;

    if (!api_given(&m->v[API_M_CHANNEL]))
        return api_fail(f, API_BAD_REQUEST, "bad request: channel is missing");
    if (api_read_string(&m->v[API_M_CHANNEL], CHANNEL_NAME_MAX, r, api_bad_channel, f) == -1)
        return -1;
    name = str_skip(buf_view(&r->text), start);
    if (!channel_name_valid(name))
        return api_fail(f, API_BAD_REQUEST, api_bad_channel);
    r->channel = name;
    return 0;
}

/* The array's shape; each name is looked at when its turn comes. */
static int api_read_channels(const struct api_members *m, struct api_request *r,
                             struct api_fault *f)
{
    const struct json_value *v = &m->v[API_M_CHANNELS];
    struct str rest = v->raw;
    struct json_value element;
    size_t n = 0;

    if (!api_given(v) || v->type != JSON_ARRAY)
        return api_fail(f, API_BAD_REQUEST, "bad request: channels must be an array of names");
    for (; json_element(&rest, &element); n++)
        if (element.type != JSON_STRING)
            return api_fail(f, API_BAD_REQUEST, "bad request: channels must be an array of names");
    if (n == 0)
        return api_fail(f, API_BAD_REQUEST, "bad request: channels is empty");
    if (n > API_MAX_BROADCAST)
        return api_fail(f, API_BAD_REQUEST, "bad request: more than 10000 channels");
    r->channels = v->raw;
    r->channel_count = n;
    return 0;
}

static int api_read_pattern(const struct api_members *m, struct api_request *r, struct api_fault *f)
{
    const struct json_value *v = &m->v[API_M_PATTERN];
    size_t start = r->text.len;

    r->pattern = STR_LIT("*");
    if (!api_given(v) || str_equal(v->raw, STR_LIT("\"\"")))
        return 0;
    if (api_read_string(v, CHANNEL_NAME_MAX, r,
                        "bad request: pattern must be a glob of at most 255 bytes", f) == -1)
        return -1;
    r->pattern = str_skip(buf_view(&r->text), start);
    return 0;
}

int api_parse(enum api_method method, struct str body, struct api_request *out,
              struct api_fault *fault)
{
    struct api_members m;

    *fault = (struct api_fault){.why = CLOSE_NONE};
    /* What asks only for an answer may come without a body (curl -X POST). */
    if (body.n == 0 && (method == API_CHANNELS || method == API_INFO))
        body = STR_LIT("{}");
    if (api_read_members(body, &m, fault) == -1)
        return -1;
    switch (method) {
    case API_PUBLISH:
        if (api_read_channel(&m, out, fault) == -1 || api_read_data(&m, out, fault) == -1)
            return -1;
        out->channel.p = out->text.p; /* it stands first; text may have moved */
        return 0;
    case API_BROADCAST:
        return api_read_channels(&m, out, fault) == -1 ? -1 : api_read_data(&m, out, fault);
    case API_CHANNELS:
        return api_read_pattern(&m, out, fault);
    case API_INFO:
        return 0;
    }
    return api_fail(fault, API_INTERNAL, "internal server error");
}

void api_request_fini(struct api_request *r)
{
    buf_fini(&r->text);
    memset(r, 0, sizeof(*r));
}
