/* codec/http_accept: parameters, weights, media ranges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_accept.c"

static void parameters(void **state UNUSED)
{
    static const struct {
        const char *text;
        int end;              /* what the call behind the last one returns */
        const char *pairs[6]; /* name, value, ...; "-": none */
    } rows[] = {
        {"", 0, {NULL}},
        {" \t", 0, {NULL}},
        {";a=1", 0, {"a", "1"}},
        {" ; a=1\t; b ;c=\"x;\\\"y\" ", 0, {"a", "1", "b", "-", "c", "x;\\\"y"}},
        {";;a", 0, {"", "-", "a", "-"}},
        {";a=\"\"", 0, {"a", ""}},
        {"a", -1, {NULL}},
        {";a b", -1, {"a", "-"}},
        {";a =b", -1, {"a", "-"}},
        {";a=", -1, {NULL}},
        {";a= b", -1, {NULL}},
        {";a=\"x", -1, {NULL}},
        {";a=\"x\\", -1, {NULL}},
        {";a=\"x\\\"", -1, {NULL}},
        {";a=\"x\"y", -1, {"a", "x"}},
        {";=b", -1, {"", "-"}},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest = str_from(rows[i].text), name, value;

        for (size_t k = 0; k < 6 && rows[i].pairs[k] != NULL; k += 2) {
            assert_int_equal(http_param_next(&rest, &name, &value), 1);
            assert_true(str_equal(name, str_from(rows[i].pairs[k])));
            if (rows[i].pairs[k + 1][0] == '-')
                assert_null(value.p);
            else
                assert_true(str_equal(value, str_from(rows[i].pairs[k + 1])));
        }
        if (http_param_next(&rest, &name, &value) != rows[i].end)
            fail_msg("%s", rows[i].text);
    }
}

static void weights(void **state UNUSED)
{
    static const struct {
        const char *text;
        int weight; /* -1: malformed */
    } rows[] = {
        {"0", 0},     {"1", 1000},   {"0.", 0},      {"1.", 1000},  {"0.5", 500},
        {"0.05", 50}, {"0.001", 1},  {"0.999", 999}, {"1.0", 1000}, {"1.000", 1000},
        {"", -1},     {"1.001", -1}, {"0.0001", -1}, {"2", -1},     {".5", -1},
        {"0,5", -1},  {"-0.5", -1},  {"00.5", -1},   {"0.x", -1},   {"1.1", -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned weight = 7;
        int rc = http_read_weight(str_from(rows[i].text), &weight);

        if (rc != (rows[i].weight < 0 ? -1 : 0) || (rc == 0 && (int)weight != rows[i].weight))
            fail_msg("%s: %u", rows[i].text, weight);
    }
}

/* Of "text/plain" in version 2, whatever else is asked for. */
static void the_most_precise_range_counts(void **state UNUSED)
{
    static const struct {
        const char *lines[3];
        unsigned weight, precision;
    } rows[] = {
        {{NULL}, 1000, 0},
        {{""}, 0, 0},
        {{"*/*"}, 1000, 1},
        {{"text/*;q=0.3, */*"}, 300, 2},
        {{"TEXT/Plain; charset=utf-8;Q=0.3, text/*"}, 300, 3},
        {{"text/plain;q=0", "*/*"}, 0, 3},
        {{"text/plain;version=1, text/plain;q=0.1"}, 100, 3},
        {{"text/plain;version=2;q=0.7, text/plain;q=1"}, 700, 4},
        {{"text/plain;version=\"2\""}, 1000, 4},
        {{"text/plain;q=0.2", "text/plain;q=0.4", "text/plain;q=0.3"}, 400, 3},
        {{"text/plain;q=2, */*;q=0.1"}, 100, 1},
        {{"text/plain;q=\"x, */*;q=0.1"}, 0, 0},
        {{"text/plaint, textx/*, text/html, application/json"}, 0, 0},
        {{"*, text, /, text/"}, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static struct http_request r;
        unsigned weight, precision;

        r.nfields = 0;
        for (size_t k = 0; k < 3 && rows[i].lines[k] != NULL; k++)
            r.fields[r.nfields++] =
                (struct http_field){STR_LIT("accept"), str_from(rows[i].lines[k])};
        r.fields[r.nfields++] = (struct http_field){STR_LIT("X-Accept"), STR_LIT("text/plain")};
        weight = http_accept_weight(&r, STR_LIT("text/plain"), STR_LIT("2"), &precision);
        if (weight != rows[i].weight || precision != rows[i].precision)
            fail_msg("%s: %u, %u", rows[i].lines[0], weight, precision);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters),
        cmocka_unit_test(weights),
        cmocka_unit_test(the_most_precise_range_counts),
    };

    return cmocka_run_group_tests_name("codec/http_accept", tests, NULL, NULL);
}
