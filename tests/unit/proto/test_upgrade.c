/* RFC 6455 §4.2.1: which handshakes are in order. */
#include "proto/upgrade.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    return 0;
}

static int check(const char *text, struct upgrade *up, enum close_reason *why)
{
    struct str in = str_from(text);
    struct http_request r;

    if (http_request_parse(&in, 8192, 100, &r, why) <= 0)
        fail_msg("not a head: %s", text);
    return upgrade_check(&r, config.subprotocols, up, why);
}

#define START "GET /ws/a HTTP/1.1\r\nHost: example.com\r\n"
#define UP    "Upgrade: websocket\r\n"
#define CO    "Connection: Upgrade\r\n"
#define KEY   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VER   "Sec-WebSocket-Version: 13\r\n"
#define END   "\r\n"

static void the_example_of_the_rfc(void **state UNUSED)
{
    struct upgrade up;
    enum close_reason why;
    struct buf out = {0};

    assert_int_equal(check(START UP CO KEY VER END, &up, &why), 0);
    assert_memory_equal(up.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN);
    assert_string_equal(up.subprotocol, "");
    clock_set_virtual(784111777 * NS_PER_SEC);
    assert_int_equal(upgrade_response(&up, &out), 0);
    clock_set_virtual(0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(out.p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                               "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    buf_fini(&out);
}

static void variants_that_are_in_order(void **state UNUSED)
{
    static const char *const good[] = {
        START "upgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY VER END,
        START "Upgrade: h2c, websocket\r\n" CO KEY VER END,
        START UP "Connection: keep-alive\r\nConnection: Upgrade\r\n" KEY VER END,
        START UP CO KEY VER "Content-Length: 0\r\n" END,
        START UP CO KEY VER "Sec-WebSocket-Extensions: permessage-deflate; x=\"y\"\r\n" END,
        START UP CO KEY VER "Sec-WebSocket-Extensions: a, ,b;c ; d=e\t;f=\"g\\h\" ,i\r\n" END,
        START UP CO KEY VER "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: a\r\n" END,
        START UP CO KEY VER "Sec-WebSocket-Protocol: a, A\r\nSec-WebSocket-Protocol: ,b\r\n" END,
        START UP CO KEY VER "Sec-WebSocket-Protocol:\r\n" END,
        START UP CO KEY VER "Origin: http://example.com\r\n" END,
        START UP CO KEY VER "Origin: http://example.com:\r\n" END,
        "GET http://a:80/ws HTTP/1.1\r\nHost: b\r\nOrigin: http://a\r\n" UP CO KEY VER END,
        "GET ws://a/ws HTTP/1.1\r\nHost: b\r\nOrigin: http://a:80\r\n" UP CO KEY VER END,
        START UP CO KEY VER "Origin: https://EXAMPLE.com:443\r\n" END,
        "GET /ws HTTP/1.1\r\nHost: a:80\r\nOrigin: http://a\r\n" UP CO KEY VER END,
        "GET /ws HTTP/1.1\r\nHost: a:8000\r\nOrigin: http://a:8000\r\n" UP CO KEY VER END,
        "GET /ws HTTP/1.1\r\nHost: [::1]:8000\r\nOrigin: http://[::1]:8000\r\n" UP CO KEY VER END,
    };
    struct upgrade up;
    enum close_reason why;

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (check(good[i], &up, &why) != 0)
            fail_msg("%s: %s", close_row(why)->label, good[i]);
}

static void what_is_refused_and_why(void **state UNUSED)
{
    static const struct {
        const char *text;
        enum close_reason why;
    } bad[] = {
        {"POST /ws HTTP/1.1\r\nHost: a\r\n" UP CO KEY VER END, CLOSE_BAD_METHOD},
        {"HEAD /ws HTTP/1.1\r\nHost: a\r\n" UP CO KEY VER END, CLOSE_BAD_METHOD},
        {"GET /ws HTTP/1.0\r\nHost: a\r\n" UP CO KEY VER END, CLOSE_UPGRADE_REQUIRED},
        {START END, CLOSE_UPGRADE_REQUIRED},
        {START CO KEY VER END, CLOSE_UPGRADE_REQUIRED},
        {START "Upgrade: h2c\r\n" CO KEY VER END, CLOSE_UPGRADE_REQUIRED},
        {START "Upgrade: websockets\r\n" CO KEY VER END, CLOSE_UPGRADE_REQUIRED},
        {START "Upgrade:\r\n" CO KEY VER END, CLOSE_UPGRADE_REQUIRED},
        {START UP CO KEY END, CLOSE_UPGRADE_VERSION},
        {START UP CO KEY "Sec-WebSocket-Version: 8\r\n" END, CLOSE_UPGRADE_VERSION},
        {START UP CO KEY "Sec-WebSocket-Version: 13, 8\r\n" END, CLOSE_UPGRADE_VERSION},
        {START UP CO KEY "Sec-WebSocket-Version: 013\r\n" END, CLOSE_UPGRADE_VERSION},
        {START UP CO KEY "Sec-WebSocket-Version:\r\n" END, CLOSE_UPGRADE_VERSION},
        {START UP CO KEY VER VER END, CLOSE_UPGRADE_VERSION},
        {START UP KEY "Sec-WebSocket-Version: 7\r\n" END, CLOSE_UPGRADE_VERSION},
        {START UP CO VER END, CLOSE_UPGRADE_KEY},
        {START UP CO VER KEY KEY END, CLOSE_UPGRADE_KEY},
        {START UP CO VER "Sec-WebSocket-Key:\r\n" END, CLOSE_UPGRADE_KEY},
        {START UP CO VER "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n" END, CLOSE_UPGRADE_KEY},
        {START UP CO VER "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n" END, CLOSE_UPGRADE_KEY},
        {START UP CO VER "Sec-WebSocket-Key: ????????????????????????\r\n" END, CLOSE_UPGRADE_KEY},
        {START UP KEY VER END, CLOSE_UPGRADE_HEADER},
        {START UP "Connection: keep-alive\r\n" KEY VER END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Content-Length: 1\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Transfer-Encoding: chunked\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Protocol: a b\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Protocol: ok, \"q\"\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Protocol: ,\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Protocol: a, b, a\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n" END,
         CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions:\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: ,\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a b\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a;\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: ;a\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a=b\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a;b=\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a;b=\"\"\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a;b=\"c d\"\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a;b=\"c\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Sec-WebSocket-Extensions: a, b;c=@\r\n" END, CLOSE_UPGRADE_HEADER},
        {START UP CO KEY VER "Origin: http://evil.com\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: http://example.com:81\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: https://example.com:80\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: null\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin:\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: example.com\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: http://\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: http://example.com/\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: http://example.com.evil.com\r\n" END, CLOSE_BAD_ORIGIN},
        {START UP CO KEY VER "Origin: http://example.com\r\nOrigin: http://example.com\r\n" END,
         CLOSE_BAD_ORIGIN},
    };
    struct upgrade up;
    enum close_reason why;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(check(bad[i].text, &up, &why), -1);
        if (why != bad[i].why)
            fail_msg("%s instead of %s: %s", close_row(why)->label, close_row(bad[i].why)->label,
                     bad[i].text);
    }
}

static void the_first_subprotocol_that_is_configured(void **state UNUSED)
{
    struct upgrade up;
    enum close_reason why;
    struct buf out = {0};
    struct str seen;

    snprintf(config.subprotocols, sizeof(config.subprotocols), "one\ntwo");
    assert_int_equal(
        check(START UP CO KEY VER "Sec-WebSocket-Protocol: x, two, one\r\n" END, &up, &why), 0);
    assert_string_equal(up.subprotocol, "two");
    assert_int_equal(upgrade_response(&up, &out), 0);
    seen = buf_view(&out);
    assert_non_null(memmem(seen.p, seen.n, "\r\nSec-WebSocket-Protocol: two\r\n\r\n", 33));
    buf_fini(&out);
    assert_int_equal(check(START UP CO KEY VER
                           "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: one\r\n" END,
                           &up, &why),
                     0);
    assert_string_equal(up.subprotocol, "one");
    assert_int_equal(
        check(START UP CO KEY VER "Sec-WebSocket-Protocol: One, thre\r\n" END, &up, &why), 0);
    assert_string_equal(up.subprotocol, "");
}

#define NOTHING_KEPT "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define EXT          "Sec-WebSocket-Extensions: "

static void assert_compression(const char *text, const char *answer)
{
    struct upgrade up;
    enum close_reason why;
    struct buf out = {0};

    assert_int_equal(check(text, &up, &why), 0);
    assert_int_equal(upgrade_response(&up, &out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    if (answer == NULL)
        assert_null(strstr(out.p, "Extensions"));
    else
        assert_non_null(strstr(out.p, answer));
    buf_fini(&out);
}

/* RFC 7692 §5: the first offer in order is taken, on one line or several; others are passed over. */
static void compression(void **state UNUSED)
{
    static const char any[] = "\r\n" EXT NOTHING_KEPT "\r\n";
    static const char nine[] = "\r\n" EXT NOTHING_KEPT "; server_max_window_bits=9\r\n";

    assert_compression(START UP CO KEY VER END, NULL);
    assert_compression(START UP CO KEY VER EXT "permessage-deflate\r\n" END, any);
    assert_compression(
        START UP CO KEY VER EXT "x, PerMessage-Deflate ; client_max_window_bits\r\n" END, any);
    assert_compression(START UP CO KEY VER EXT
                       "permessage-deflate; server_max_window_bits=77, "
                       "permessage-deflate; server_max_window_bits=9, permessage-deflate\r\n" END,
                       nine);
    assert_compression(START UP CO KEY VER EXT
                       "permessage-deflate; unknown\r\n" EXT "y\r\n" EXT
                       "permessage-deflate; server_max_window_bits=9\r\n" END,
                       nine);
    assert_compression(START UP CO KEY VER EXT "permessage-deflate; unknown\r\n" END, NULL);
    assert_compression(START UP CO KEY VER EXT "permessage-bzip2\r\n" END, NULL);
    config.compression = false;
    assert_compression(START UP CO KEY VER EXT "permessage-deflate\r\n" END, NULL);
}

/* Each is compared with those before it. */
static void few_subprotocols_may_be_offered(void **state UNUSED)
{
    struct buf text = {0};
    struct upgrade up;
    enum close_reason why;

    assert_int_equal(buf_append_lit(&text, START UP CO KEY VER "Sec-WebSocket-Protocol: one"), 0);
    for (int i = 1; i < UPGRADE_OFFERS_MAX; i++)
        assert_int_equal(buf_printf(&text, ",p%d", i), 0);
    assert_int_equal(buf_append(&text, (struct str){.p = "\r\n\r\n", .n = 5}), 0);
    assert_int_equal(check(text.p, &up, &why), 0);
    text.len -= 5;
    assert_int_equal(buf_append(&text, (struct str){.p = ",x\r\n\r\n", .n = 7}), 0);
    assert_int_equal(check(text.p, &up, &why), -1);
    assert_int_equal(why, CLOSE_UPGRADE_HEADER);
    buf_fini(&text);
}

static void listed_origins(void **state UNUSED)
{
    struct str host = STR_LIT("example.com");

    snprintf(config.allowed_origins, sizeof(config.allowed_origins),
             "https://*.example.com\nhttp://a:1");
    assert_true(upgrade_origin_allowed(STR_LIT("https://x.example.com"), host));
    assert_true(upgrade_origin_allowed(STR_LIT("http://a:1"), host));
    assert_false(upgrade_origin_allowed(STR_LIT("http://example.com"), host)); /* own, not listed */
    assert_false(upgrade_origin_allowed(STR_LIT("https://example.com"), host));
    assert_false(upgrade_origin_allowed(STR_LIT("http://a:12"), host));
    assert_false(upgrade_origin_allowed(STR_LIT("null"), host));
    snprintf(config.allowed_origins, sizeof(config.allowed_origins), "*");
    assert_true(upgrade_origin_allowed(STR_LIT("null"), host));
}

static void no_memory_for_the_response(void **state UNUSED)
{
    struct upgrade up = {.subprotocol = "roost-plain", .deflate = {.window = 15}};
    struct buf out = {0};
    int failed = 0;

    memset(up.accept, 'x', sizeof(up.accept));
    for (unsigned k = 1; k < 10; k++) {
        fault_fail_at(k);
        failed += upgrade_response(&up, &out) == -1;
        fault_reset();
        buf_fini(&out);
    }
    assert_true(failed > 0);
    assert_int_equal(upgrade_response(&up, &out), 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_example_of_the_rfc, setup),
        cmocka_unit_test_setup(variants_that_are_in_order, setup),
        cmocka_unit_test_setup(what_is_refused_and_why, setup),
        cmocka_unit_test_setup(the_first_subprotocol_that_is_configured, setup),
        cmocka_unit_test_setup(compression, setup),
        cmocka_unit_test_setup(few_subprotocols_may_be_offered, setup),
        cmocka_unit_test_setup(listed_origins, setup),
        cmocka_unit_test_setup(no_memory_for_the_response, setup),
    };

    return cmocka_run_group_tests_name("proto/upgrade", tests, NULL, NULL);
}
