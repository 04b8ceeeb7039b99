/* Client infos: what is written is read, and nothing malformed is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/client_info.c"
#include "core/record.h"
#include "fault.h"

static const struct client_info full = {
    .user = {.p = "42", .n = 2},
    .client = {.p = "c2f0a-77", .n = 8},
    .conn_info = {.p = "{\"name\":\"A\"}", .n = 12},
    .chan_info = {.p = "[1]", .n = 3},
};

static bool same(const struct client_info *a, const struct client_info *b)
{
    return str_equal(a->user, b->user) && str_equal(a->client, b->client) &&
           str_equal(a->conn_info, b->conn_info) && str_equal(a->chan_info, b->chan_info);
}

static void round_trip(void **state)
{
    const struct client_info bare = {.client = {.p = "c", .n = 1}};
    struct client_info read;
    struct buf out = {0};
    struct str rest;

    (void)state;
    assert_int_equal(client_info_write(&out, &full), 0);
    assert_int_equal(client_info_read(buf_view(&out), &read), 0);
    assert_true(same(&read, &full));
    assert_int_equal(client_info_write(&out, &bare), 0);
    assert_int_equal(client_info_read(buf_view(&out), &read), -1); /* two of them */
    rest = buf_view(&out);
    assert_int_equal(client_info_next(&rest, &read), 1);
    assert_true(same(&read, &full));
    assert_int_equal(client_info_next(&rest, &read), 1);
    assert_true(same(&read, &bare));
    assert_int_equal(client_info_next(&rest, &read), 0);
    buf_fini(&out);
}

static char long_text[UINT16_MAX];

static void what_fits_is_what_can_be_written(void **state)
{
    const size_t most = UINT16_MAX - RECORD_FIELD_OVERHEAD - sizeof(struct lengths);
    struct client_info i = full;
    struct str *const parts[] = {&i.user, &i.conn_info, &i.chan_info};
    struct buf out = {0};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
        i = full;
        *parts[k] = (struct str){.p = long_text, .n = 0};
        parts[k]->n = most - length(&i);
        assert_true(client_info_fits(&i));
        assert_int_equal(client_info_write(&out, &i), 0);
        assert_int_equal(out.len, most + sizeof(struct lengths));
        parts[k]->n++;
        assert_false(client_info_fits(&i));
        parts[k]->n = SIZE_MAX; /* nor does a sum wrap */
        assert_false(client_info_fits(&i));
        assert_int_equal(client_info_write(&out, &i), -1);
        buf_clear(&out);
    }
    buf_fini(&out);
}

static void cut_anywhere_it_is_malformed(void **state)
{
    struct client_info read;
    struct buf out = {0};

    (void)state;
    assert_int_equal(client_info_write(&out, &full), 0);
    for (size_t n = 0; n < out.len; n++)
        assert_int_equal(client_info_read((struct str){.p = out.p, .n = n}, &read), -1);
    assert_int_equal(buf_append_char(&out, 'x'), 0);
    assert_int_equal(client_info_read(buf_view(&out), &read), -1);
    buf_fini(&out);
}

static void what_a_field_cannot_hold_is_refused(void **state)
{
    static char big[UINT16_MAX + 1];
    struct client_info info = full;
    struct buf out = {0};
    struct buf fields = {0};

    (void)state;
    info.client = (struct str){.p = big, .n = CLIENT_INFO_ID_MAX + 1};
    assert_int_equal(client_info_write(&out, &info), -1);
    info = full;
    info.conn_info = info.chan_info = (struct str){.p = big, .n = UINT16_MAX / 2};
    assert_int_equal(client_info_write(&out, &info), -1);
    info.conn_info.n = sizeof(big);
    assert_int_equal(client_info_write(&out, &info), -1);
    assert_int_equal(out.len, 0);
    info.conn_info.n = RECORD_FIELDS_MAX - RECORD_FIELD_OVERHEAD - 8 - 2 - 8;
    info.chan_info.n = 0;
    assert_int_equal(client_info_write(&out, &info), 0);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, buf_view(&out)), 0);
    assert_int_equal(fields.len, RECORD_FIELDS_MAX);
    buf_fini(&out);
    buf_fini(&fields);
}

/* A hostile length may not lead beyond the end. */
static void an_id_that_is_too_long_is_malformed(void **state)
{
    char raw[8 + 300] = {0};
    const uint16_t n = 300;
    struct client_info read;

    (void)state;
    memcpy(raw + 2, &n, sizeof(n));
    assert_int_equal(client_info_read((struct str){.p = raw, .n = sizeof(raw)}, &read), -1);
}

static void no_memory(void **state)
{
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(client_info_write(&out, &full), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(what_fits_is_what_can_be_written),
        cmocka_unit_test(cut_anywhere_it_is_malformed),
        cmocka_unit_test(what_a_field_cannot_hold_is_refused),
        cmocka_unit_test(an_id_that_is_too_long_is_malformed),
        cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests_name("core/client_info", tests, NULL, NULL);
}
