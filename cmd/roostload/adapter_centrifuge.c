/* adapter_centrifuge.c - Centrifuge's JSON protocol: connect and subscribe in one frame, {} pings,
 * pushes. */
#include "adapter.h"

#include "codec/json.h"

static int centrifuge_hello(struct str channel, struct buf *out)
{
    if (buf_append_lit(out, "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":") ==
            -1 ||
        json_append_string(out, channel) == -1)
        return -1;
    return buf_append_lit(out, "}}");
}

static int centrifuge_publish(struct str channel, struct str payload, struct buf *out)
{
    if (buf_append_lit(out, "{\"id\":3,\"publish\":{\"channel\":") == -1 ||
        json_append_string(out, channel) == -1 || buf_append_lit(out, ",\"data\":\"") == -1 ||
        buf_append(out, payload) == -1)
        return -1;
    return buf_append_lit(out, "\"}}");
}

/* {"push":{"channel":...,"pub":{"data":"..."}}}: the payload is the text between the quotes. */
static bool push_payload(const struct json_value *reply, struct str *payload)
{
    struct json_value push, pub, data;

    if (!json_get(reply, STR_LIT("push"), &push) || !json_get(&push, STR_LIT("pub"), &pub) ||
        !json_get(&pub, STR_LIT("data"), &data))
        return false;
    *payload = data.raw;
    if (data.type == JSON_STRING)
        *payload = (struct str){data.raw.p + 1, data.raw.n - 2};
    return true;
}

static enum adapter_event centrifuge_receive(struct str *rest, struct str *payload,
                                             struct buf *reply)
{
    struct json_value v, member;
    struct str line;
    size_t at;
    uint64_t id;

    if (!str_cut(rest, '\n', &line))
        return ADAPTER_REFUSED;
    if (line.n == 0) /* behind the last one's end of line */
        return ADAPTER_NOTHING;
    if (json_parse(line, &v, &at) == -1 || v.type != JSON_OBJECT)
        return ADAPTER_REFUSED;
    if (str_equal(v.raw, STR_LIT("{}")))
        return buf_append_lit(reply, "{}") == -1 ? ADAPTER_REFUSED : ADAPTER_REPLY;
    if (json_get(&v, STR_LIT("push"), &member))
        return push_payload(&v, payload) ? ADAPTER_MESSAGE : ADAPTER_NOTHING;
    if (json_get(&v, STR_LIT("error"), &member))
        return ADAPTER_REFUSED;
    if (json_get(&v, STR_LIT("id"), &member) && json_u64(&member, &id) == 0 && id == 2)
        return ADAPTER_READY;
    return ADAPTER_NOTHING;
}

const struct adapter adapter_centrifuge = {
    .name = "centrifuge",
    .default_path = "/connection/websocket",
    .subprotocol = "centrifuge-json",
    .ready_at_upgrade = false,
    .hello = centrifuge_hello,
    .receive = centrifuge_receive,
    .publish = centrifuge_publish,
};
