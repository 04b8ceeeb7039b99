/* fuzz_cf_json - frames, replies and emulation requests of the Centrifuge protocol in JSON.
 *
 * Properties: those of cf_agree.h; a line that is taken is a JSON object; what is written has no line
 * end in it. */
#include "codec/json.h"
#include "tests/fuzz/cf_agree.h"

static const struct cf_way ways[] = {
    {next_command, encode_command, command_without_lists},
    {next_reply, encode_reply, reply_without_lists},
    {next_push, encode_push, push_without_lists},
};

static void check_lines(struct str frame)
{
    struct buf text = {0}, out = {0};
    struct str rest = frame, line;
    struct json_value v;
    struct cf_input in;
    struct cf_command c;
    int rc;

    cf_input_init(&in, CF_JSON, frame, &text);
    while ((rc = cf_next_command(&in, &c)) > 0) {
        REQUIRE(str_cut(&rest, '\n', &line));
        REQUIRE(json_parse(line, &v, NULL) == 0 && v.type == JSON_OBJECT);
        buf_clear(&out);
        REQUIRE(cf_encode_command(CF_JSON, &c, &out) == 0);
        REQUIRE(memchr(out.p, '\n', out.len) == NULL && memchr(out.p, '\r', out.len) == NULL);
        REQUIRE(json_parse(buf_view(&out), &v, NULL) == 0);
    }
    buf_fini(&text);
    buf_fini(&out);
}

static void check_emulation(struct str body)
{
    struct buf text = {0};
    struct cf_emulation m;

    if (cf_decode_emulation(CF_JSON, body, &text, &m) == 0)
        cf_check_frame(ways, CF_JSON, m.data);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str frame = {(const char *)data, size};

    cf_check_frame(ways, CF_JSON, frame);
    check_lines(frame);
    check_emulation(frame);
    return 0;
}
