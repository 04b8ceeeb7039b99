/* fuzz_cf_protobuf - frames, replies and emulation requests of the Centrifuge protocol in Protobuf.
 *
 * Properties: those of cf_agree.h. A publication whose payload is not JSON cannot go to JSON and back;
 * so data is looked at first. */
#include "codec/json.h"
#include "tests/fuzz/cf_agree.h"

/* As in a space where payloads are JSON: what is none is left out before it is written as JSON. */
static void only_json(struct str *data)
{
    struct json_value v;

    /* White space around it and line ends in it do not come back. */
    if (json_parse(*data, &v, NULL) == -1 || v.raw.n != data->n ||
        memchr(data->p, '\n', data->n) != NULL || memchr(data->p, '\r', data->n) != NULL)
        *data = STR_NULL;
}

static void json_command(void *m)
{
    struct cf_command *c = m;

    command_without_lists(m);
    only_json(&c->connect.data);
    only_json(&c->subscribe.data);
    only_json(&c->publish.data);
    only_json(&c->send.data);
    only_json(&c->rpc.data);
}

static void json_push(void *m)
{
    struct cf_push *p = m;

    push_without_lists(m);
    only_json(&p->pub.data);
    only_json(&p->pub.info.conn_info);
    only_json(&p->pub.info.chan_info);
    only_json(&p->join.info.conn_info);
    only_json(&p->join.info.chan_info);
    only_json(&p->leave.info.conn_info);
    only_json(&p->leave.info.chan_info);
    only_json(&p->message.data);
    only_json(&p->subscribe.data);
    only_json(&p->connect.data);
}

static void json_reply(void *m)
{
    struct cf_reply *r = m;

    reply_without_lists(m);
    json_push(&r->push);
    only_json(&r->connect.data);
    only_json(&r->subscribe.data);
    only_json(&r->rpc.data);
}

static const struct cf_way ways[] = {
    {next_command, encode_command, json_command},
    {next_reply, encode_reply, json_reply},
    {next_push, encode_push, json_push},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str frame = {(const char *)data, size};
    struct cf_emulation m;
    struct buf text = {0};

    cf_check_frame(ways, CF_PROTOBUF, frame);
    if (cf_decode_emulation(CF_PROTOBUF, frame, &text, &m) == 0)
        cf_check_frame(ways, CF_PROTOBUF, m.data);
    buf_fini(&text);
    return 0;
}
