/* Bodies of the server API: each input is read by every method. Views of what was accepted must lie
 * inside the body or the request's own text, names must be valid, and binary data must survive
 * being written again. */
#include "base/config.h"
#include "codec/json.h"
#include "core/channel_name.h"
#include "core/record.h"
#include "proto/api_internal.h"
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

static void check_data(const struct api_request *r, struct str body)
{
    struct json_value v;
    size_t at;

    check(r->data.n <= (size_t)config.max_message_size);
    if (r->flags & RECORD_BINARY) {
        check(inside(r->data, buf_view(&r->text)));
    } else {
        check(r->flags == RECORD_JSON && inside(r->data, body));
        check(json_parse(r->data, &v, &at) == 0);
    }
}

static void check_channels(const struct api_request *r, struct str body)
{
    struct json_value name;
    struct str rest = r->channels;
    size_t n = 0;

    check(inside(r->channels, body));
    while (json_element(&rest, &name)) {
        check(name.type == JSON_STRING);
        n++;
    }
    check(n >= 1 && n <= API_MAX_BROADCAST);
}

/* A member that means something stands there once. */
static void check_members(struct str body)
{
    static const char *const names[] = {"channel", "channels", "data", "b64data", "pattern"};
    struct json_value object, key, value;
    struct str rest;
    size_t at, seen[ARRAY_LEN(names)] = {0};

    if (body.n == 0)
        return;
    check(json_parse(body, &object, &at) == 0);
    rest = object.raw;
    while (json_member(&rest, &key, &value))
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (json_string_equal(&key, str_from(names[i])))
                check(seen[i]++ == 0);
}

static void check_request(enum api_method method, const struct api_request *r, struct str body)
{
    switch (method) {
    case API_PUBLISH:
        check(channel_name_valid(r->channel) && inside(r->channel, buf_view(&r->text)));
        check_data(r, body);
        break;
    case API_BROADCAST:
        check_channels(r, body);
        check_data(r, body);
        break;
    case API_CHANNELS:
        check(r->pattern.n >= 1 && r->pattern.n <= CHANNEL_NAME_MAX);
        break;
    case API_INFO:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum api_method methods[] = {API_PUBLISH, API_BROADCAST, API_CHANNELS, API_INFO};
    struct str body = {.p = (const char *)data, .n = size};

    if (config.max_message_size == 0) {
        config_defaults(&config);
        config.max_message_size = 512;
    }
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct api_request r = {0};
        struct api_fault fault;

        if (api_parse(methods[i], body, &r, &fault) == 0) {
            check_members(body);
            check_request(methods[i], &r, body);
        } else {
            check(fault.why == CLOSE_NONE && fault.message != NULL);
            check(fault.at <= size);
            check(fault.code != 0 || fault.message[0] == 'n' || fault.message[0] == 'J');
        }
        api_request_fini(&r);
    }
    return 0;
}
