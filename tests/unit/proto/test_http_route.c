/* Keys and tables; the rest of routing is seen end to end in test_http.c. */
#include "proto/http_route.c"

#include "harness.h"

static void keys_are_compared_whole(void **state UNUSED)
{
    static const char *const other[] = {"",        "s",       "secre",        "Secret", "secreT",
                                        "secret ", "secrets", "secretsecret", "terces"};

    assert_true(http_key_equal(STR_LIT("secret"), STR_LIT("secret")));
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        assert_false(http_key_equal(str_from(other[i]), STR_LIT("secret")));
    assert_false(http_key_equal(STR_LIT("x"), STR_LIT("")));
    assert_false(http_key_equal(STR_NULL, STR_LIT("x")));
}

static void handle_nothing(struct http_exchange *x UNUSED)
{
}

static bool on;
static bool is_on(void)
{
    return on;
}

static const struct http_resource table[] = {
    {.path = "/a", .where = HTTP_ON_CLIENT, .methods = 1u << HTTP_GET, .handle = handle_nothing},
    {.path = "/a/",
     .prefix = true,
     .where = HTTP_ON_CLIENT,
     .methods = 1u << HTTP_GET,
     .handle = handle_nothing},
    {.path = "/b",
     .where = HTTP_ON_ADMIN,
     .methods = 1u << HTTP_POST,
     .enabled = is_on,
     .handle = handle_nothing},
};

static void resources_are_found_by_path_and_place(void **state UNUSED)
{
    assert_ptr_equal(http_resource_find(STR_LIT("/a"), HTTP_ON_CLIENT), &table[0]);
    assert_ptr_equal(http_resource_find(STR_LIT("/a/"), HTTP_ON_CLIENT), &table[1]);
    assert_ptr_equal(http_resource_find(STR_LIT("/a/b/c"), HTTP_ON_CLIENT), &table[1]);
    assert_null(http_resource_find(STR_LIT("/a"), HTTP_ON_ADMIN));
    assert_null(http_resource_find(STR_LIT("/ab"), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT("/"), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT(""), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT("/b"), HTTP_ON_ADMIN));
    on = true;
    assert_ptr_equal(http_resource_find(STR_LIT("/b"), HTTP_ON_ADMIN), &table[2]);
    assert_null(http_resource_find(STR_LIT("/b"), HTTP_ON_CLIENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_compared_whole),
        cmocka_unit_test(resources_are_found_by_path_and_place),
    };

    http_register(table, ARRAY_LEN(table));
    return cmocka_run_group_tests_name("proto/http_route", tests, NULL, NULL);
}
