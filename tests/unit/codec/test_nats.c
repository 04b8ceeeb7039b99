/* codec/nats: what a server says comes whole, byte by byte and at every split with the same meaning, what is
 * malformed is refused, and no name can be more than a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/nats.c"
#include "tests/lib/fault.h"

static void describe(struct buf *out, const struct nats_item *i)
{
    static const char *const names[] = {"INFO", "MSG", "PING", "PONG", "OK", "ERR"};

    assert_int_equal(buf_printf(out, "%s", names[i->op]), 0);
    if (i->text.n > 0)
        assert_int_equal(buf_printf(out, " <%.*s>", STR_ARG(i->text)), 0);
    if (i->op == NATS_MSG)
        assert_int_equal(buf_printf(out, " <%.*s> <%.*s> <%.*s> <%.*s> <%.*s>", STR_ARG(i->subject),
                                    STR_ARG(i->sid), STR_ARG(i->reply), STR_ARG(i->headers),
                                    STR_ARG(i->payload)),
                         0);
    assert_int_equal(buf_append_lit(out, "\n"), 0);
}

/* Takes what is whole off the front of `in`; how many bytes. -1: malformed. */
static ssize_t take(struct nats_scan *s, struct str in, struct buf *out)
{
    size_t at = 0;
    struct nats_item item;
    ssize_t n;

    while ((n = nats_scan(s, str_skip(in, at), &item)) > 0) {
        describe(out, &item);
        at += (size_t)n;
    }
    return n < 0 ? -1 : (ssize_t)at;
}

/* The stream in two pieces, the second one byte by byte or whole. */
static void in_pieces(struct str in, size_t split, bool bytes, const char *expected)
{
    struct nats_scan scan = {0};
    struct buf log = {0}, held = {0};

    for (size_t at = 0; at < in.n;) {
        size_t n = at < split ? split : bytes ? 1 : in.n - at;
        ssize_t taken;

        assert_int_equal(buf_append(&held, (struct str){.p = in.p + at, .n = n}), 0);
        at += n;
        taken = take(&scan, buf_view(&held), &log);
        assert_true(taken >= 0);
        buf_drop(&held, (size_t)taken);
    }
    assert_int_equal(held.len, 0);
    assert_int_equal(buf_append_char(&log, '\0'), 0);
    assert_string_equal(log.p, expected);
    buf_fini(&log);
    buf_fini(&held);
}

static void is_stream(const char *wire, const char *expected)
{
    struct str in = str_from(wire);

    for (size_t split = 0; split < in.n; split++) {
        in_pieces(in, split, false, expected);
        in_pieces(in, split, true, expected);
    }
}

static void what_a_server_says(void **state)
{
    (void)state;
    is_stream("PING\r\n", "PING\n");
    is_stream("pong\r\n", "PONG\n");
    is_stream("+OK\r\n", "OK\n");
    is_stream("-ERR 'Stale Connection'\r\n", "ERR <Stale Connection>\n");
    is_stream("-ERR no quotes\r\n", "ERR <no quotes>\n");
    is_stream("-ERR\r\n", "ERR\n");
    is_stream("-ERR '\r\n", "ERR <'>\n");
    is_stream("INFO {\"a\":1} \r\n", "INFO <{\"a\":1}>\n");
    is_stream("INFO\t{}\r\n", "INFO <{}>\n");
    is_stream("MSG a.b 12 5\r\nhello\r\n", "MSG <a.b> <12> <> <> <hello>\n");
    is_stream("MSG a 1 reply.to 2\r\n\r\n\r\n", "MSG <a> <1> <reply.to> <> <\r\n>\n");
    is_stream("MSG a 1 0\r\n\r\n", "MSG <a> <1> <> <> <>\n");
    is_stream("msg \t a  1\t3 \r\nabc\r\n", "MSG <a> <1> <> <> <abc>\n");
    is_stream("HMSG a 1 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
              "MSG <a> <1> <> <NATS/1.0\r\n\r\n> <abc>\n");
    is_stream("HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
              "MSG <a> <1> <r> <NATS/1.0\r\n\r\n> <>\n");
    is_stream(
        "INFO {}\r\nPING\r\nMSG a 1 4\r\nPING\r\nMSG a 2 6\r\nPONG\r\n\r\nPONG\r\n-ERR 'x'\r\n",
        "INFO <{}>\nPING\nMSG <a> <1> <> <> <PING>\nMSG <a> <2> <> <> <PONG\r\n>\nPONG\nERR <x>\n");
}

static void refused(void **state)
{
    static const char *const wires[] = {
        "\r\n",
        "\n",
        "x\r\n",
        " PING\r\n",
        "PING\n",
        "PING x\r\n",
        "PINGPONG\r\n",
        "+OK?\r\n",
        "OK\r\n",
        "INFO\r\n",
        "INFO \r\n",
        "PUB a 1\r\na\r\n",
        "MSG\r\n",
        "MSG a\r\n",
        "MSG a 1\r\n",
        "MSG a 1 x\r\n",
        "MSG a 1 -1\r\n",
        "MSG a 1 +1\r\n",
        "MSG a 1 1.5\r\n",
        "MSG a 1 67108865\r\n",
        "MSG a 1 18446744073709551616\r\n",
        "MSG a 1 r 1 1\r\na\r\n",
        "MSG a 1 r x 1 1\r\na\r\n",
        "MSG a 1 1\r\nabc",
        "MSG a 1 1\r\na\r\r",
        "MSG a 1 1\na\r\n",
        "HMSG a 1 1\r\na\r\n",
        "HMSG a 1 3 2\r\nab\r\n",
        "HMSG a 1 x 2\r\nab\r\n",
        "HMSG a 1 r s 1 2\r\nab\r\n",
        "HMSG a 1 1 67108865\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wires); i++) {
        struct nats_scan whole = {0}, pieces = {0};
        struct str in = str_from(wires[i]);
        struct nats_item item;
        ssize_t rc = nats_scan(&whole, in, &item);

        if (rc != -1)
            print_message("%s\n", wires[i]);
        assert_int_equal(rc, -1);
        for (size_t n = 1, got = 0; n <= in.n && got == 0; n++) {
            rc = nats_scan(&pieces, (struct str){.p = in.p, .n = n}, &item);
            assert_true(rc == 0 || rc == -1);
            got = rc == -1;
        }
        assert_int_equal(rc, -1);
    }
}

static void a_line_has_an_end(void **state)
{
    struct nats_scan scan = {0};
    struct nats_item item;
    struct buf in = {0};

    (void)state;
    assert_int_equal(buf_append_lit(&in, "INFO {"), 0);
    while (in.len < NATS_LINE_MAX - 1)
        assert_int_equal(buf_append_char(&in, ' '), 0);
    assert_int_equal(nats_scan(&scan, buf_view(&in), &item), 0);
    assert_int_equal(buf_append_char(&in, ' '), 0);
    assert_int_equal(nats_scan(&scan, buf_view(&in), &item), -1);
    buf_fini(&in);
}

static void info(void **state)
{
    const char *json = "{\"server_id\":\"X\",\"server_name\":\"n1\",\"max_payload\":1048576,"
                       "\"tls_required\":true,\"auth_required\":false,\"ldm\":true,"
                       "\"connect_urls\":[\"10.0.0.1:4222\",7,\"[::1]:4223\"],\"jetstream\":{}}";
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"max_payload\":-2}",
                                      "{\"max_payload\":-1.0}",
                                      "{\"max_payload\":1.5}",
                                      "{\"max_payload\":\"1\"}",
                                      "{\"tls_required\":1}",
                                      "{\"ldm\":null}",
                                      "{} {}"};
    struct nats_info i;
    struct buf url = {0};

    (void)state;
    assert_int_equal(nats_read_info(str_from(json), &i), 0);
    assert_int_equal(i.max_payload, 1048576);
    assert_true(i.tls_required && i.lame_duck && !i.auth_required);
    assert_true(str_equal(i.name, STR_LIT("n1")));
    assert_true(nats_next_url(&i.urls, &url) &&
                str_equal(buf_view(&url), STR_LIT("10.0.0.1:4222")));
    buf_clear(&url);
    assert_true(nats_next_url(&i.urls, &url) && str_equal(buf_view(&url), STR_LIT("[::1]:4223")));
    assert_false(nats_next_url(&i.urls, &url));
    assert_int_equal(nats_read_info(STR_LIT("{}"), &i), 0);
    assert_true(i.max_payload == 0 && i.urls.n == 0);
    assert_int_equal(nats_read_info(STR_LIT("{\"max_payload\":-1}"), &i), 0);
    assert_int_equal(i.max_payload, NATS_PAYLOAD_MAX);
    assert_int_equal(nats_read_info(STR_LIT("{}"), &i), 0);
    assert_false(nats_next_url(&i.urls, &url));
    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        assert_int_equal(nats_read_info(str_from(bad[k]), &i), -1);
    buf_fini(&url);
}

static void escapes_to(struct str name, const char *token)
{
    struct buf out = {0}, back = {0};

    assert_int_equal(nats_escape(&out, name), 0);
    assert_true(str_equal(buf_view(&out), str_from(token)));
    assert_true(nats_subject_valid(buf_view(&out)));
    assert_int_equal(str_find(buf_view(&out), '.'), out.len);
    assert_int_equal(nats_unescape(&back, buf_view(&out)), 0);
    assert_true(str_equal(buf_view(&back), name));
    buf_fini(&out);
    buf_fini(&back);
}

static void names(void **state)
{
    static const char *const bad[] = {"",    "a.b", "a b", "a=", "=4", "=GG",  "=2e",   "=41",
                                      "=5F", "==",  "a=2", "*",  ">",  "\xc3", "a\r\n", "=2E="};
    struct buf out = {0};
    char all[256];

    (void)state;
    escapes_to(STR_LIT("chat_Room-7"), "chat_Room-7");
    escapes_to(STR_LIT(""), "=");
    escapes_to(STR_LIT("="), "=3D");
    escapes_to(STR_LIT("a.b"), "a=2Eb");
    escapes_to(STR_LIT("*"), "=2A");
    escapes_to(STR_LIT(">"), "=3E");
    escapes_to(STR_LIT("a b"), "a=20b");
    escapes_to(STR_LIT("a\r\nPUB x 0\r\n\r\n"), "a=0D=0APUB=20x=200=0D=0A=0D=0A");
    escapes_to(STR_LIT("news:\xc3\xa9"), "news=3A=C3=A9");
    escapes_to((struct str){.p = "\0", .n = 1}, "=00");
    for (size_t i = 0; i < sizeof(all); i++) { /* each byte alone, and all of them */
        all[i] = (char)i;
        buf_clear(&out);
        assert_int_equal(nats_escape(&out, (struct str){.p = &all[i], .n = 1}), 0);
        assert_true(nats_subject_valid(buf_view(&out)));
    }
    buf_clear(&out);
    assert_int_equal(nats_escape(&out, (struct str){.p = all, .n = sizeof(all)}), 0);
    assert_in_range(out.len, sizeof(all), NATS_ESCAPED(sizeof(all)));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_clear(&out);
        assert_int_equal(nats_unescape(&out, str_from(bad[i])), -1);
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
}

static void subjects(void **state)
{
    static const char *const good[] = {"a", "a.b", "a*", "a>b.c", "\xc3\xa9"};
    static const char *const bad[] = {"",    ".",   "a.",  ".a",   "a..b",   "*",
                                      "a.*", "a.>", "a b", "a\tb", "a\r\nb", "a\x7f"};
    struct buf out = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(nats_subject_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(nats_subject_valid(str_from(bad[i])));
        assert_int_equal(nats_write_pub(&out, str_from(bad[i]), STR_NULL), -1);
        assert_int_equal(nats_write_sub(&out, str_from(bad[i]), 1), -1);
    }
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void commands(void **state)
{
    const struct nats_connect c = {
        .user = "u", .password = "p\"\r\n", .token = "", .name = "roost", .tls = true};
    struct buf out = {0};

    (void)state;
    assert_int_equal(nats_write_connect(&out, &c), 0);
    assert_int_equal(
        nats_write_connect(
            &out, &(struct nats_connect){.user = "", .password = "", .token = "t", .name = ""}),
        0);
    assert_int_equal(nats_write_pub(&out, STR_LIT("a.b"), STR_LIT("x\r\n")), 0);
    assert_int_equal(nats_write_sub(&out, STR_LIT("a"), UINT64_MAX), 0);
    assert_int_equal(nats_write_unsub(&out, 7), 0);
    assert_int_equal(nats_write_ping(&out) | nats_write_pong(&out), 0);
    assert_int_equal(buf_append_char(&out, '\0'), 0);
    assert_string_equal(
        out.p,
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\"headers\":true,"
        "\"protocol\":1,\"lang\":\"c\",\"version\":\"1\",\"tls_required\":true,\"name\":\"roost\","
        "\"user\":\"u\",\"pass\":\"p\\\"\\r\\n\"}\r\n"
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\"headers\":true,"
        "\"protocol\":1,\"lang\":\"c\",\"version\":\"1\",\"tls_required\":false,"
        "\"auth_token\":\"t\"}\r\n"
        "PUB a.b 3\r\nx\r\n\r\nSUB a 18446744073709551615\r\nUNSUB 7\r\nPING\r\nPONG\r\n");
    buf_fini(&out);
}

static void without_memory_nothing_is_written(void **state)
{
    const struct nats_connect c = {.user = "u", .password = "p", .token = "", .name = ""};
    struct buf out = {0};

    (void)state;
    for (uint64_t k = 1; k < 4; k++) {
        fault_fail_at(k);
        if (nats_write_connect(&out, &c) == -1)
            assert_int_equal(out.len, 0);
        fault_reset();
        buf_fini(&out);
    }
    fault_fail_at(1);
    assert_int_equal(nats_write_pub(&out, STR_LIT("a"), STR_LIT("b")), -1);
    fault_fail_at(1);
    assert_int_equal(nats_escape(&out, STR_LIT("a")), -1);
    fault_fail_at(1);
    assert_int_equal(nats_unescape(&out, STR_LIT("a")), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_says),
        cmocka_unit_test(refused),
        cmocka_unit_test(a_line_has_an_end),
        cmocka_unit_test(info),
        cmocka_unit_test(names),
        cmocka_unit_test(subjects),
        cmocka_unit_test(commands),
        cmocka_unit_test(without_memory_nothing_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
