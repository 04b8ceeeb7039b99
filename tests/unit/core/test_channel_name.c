/* Which channel names exist. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/channel_name.c"

#define VALID(lit)   assert_true(channel_name_valid(STR_LIT(lit)))
#define INVALID(lit) assert_false(channel_name_valid(STR_LIT(lit)))

static void ordinary_names(void **state UNUSED)
{
    VALID("a");
    VALID("lobby");
    VALID("room/1/2");
    VALID("!#$%&'()+,-./0:;<=>?@[]^_`{|}~");
    VALID("caf\xc3\xa9");
    VALID("\xe6\x97\xa5\xe6\x9c\xac");
    VALID("\xf0\x9f\xa6\x89");
    VALID("\xc2\xa1");         /* U+00A1, the first allowed beyond ASCII */
    VALID("\xe2\x80\xa7");     /* U+2027 */
    VALID("\xe2\x80\xaa");     /* U+202A */
    VALID("\xef\xb7\x8f");     /* U+FDCF */
    VALID("\xef\xb7\xb0");     /* U+FDF0 */
    VALID("\xef\xbf\xbd");     /* U+FFFD */
    VALID("\xf0\x90\x80\x80"); /* U+10000 */
}

static void ascii_outside_the_alphabet(void **state UNUSED)
{
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        bool want = c > 0x20 && c < 0x7f && c != '*' && c != '"' && c != '\\';

        assert_int_equal(channel_name_valid((struct str){.p = &one, .n = 1}), want);
    }
    INVALID("a b");
    INVALID("a*");
    INVALID("a\"b");
    INVALID("a\\b");
    INVALID("a\nb");
    INVALID("a\x7f");
    INVALID("a\0b");
}

static void characters_outside_the_alphabet(void **state UNUSED)
{
    INVALID("\xc2\x80");         /* U+0080 */
    INVALID("\xc2\xa0");         /* U+00A0, no-break space */
    INVALID("\xe2\x80\xa8");     /* U+2028 */
    INVALID("\xe2\x80\xa9");     /* U+2029 */
    INVALID("\xef\xbb\xbf");     /* U+FEFF */
    INVALID("\xef\xb7\x90");     /* U+FDD0 */
    INVALID("\xef\xb7\xaf");     /* U+FDEF */
    INVALID("\xef\xbf\xbe");     /* U+FFFE */
    INVALID("\xef\xbf\xbf");     /* U+FFFF */
    INVALID("\xf0\x9f\xbf\xbe"); /* U+1FFFE */
    INVALID("\xf4\x8f\xbf\xbf"); /* U+10FFFF */
    INVALID("ok\xef\xbf\xbfok");
}

static void bytes_that_are_not_utf8(void **state UNUSED)
{
    INVALID("\x80");
    INVALID("\xff");
    INVALID("\xc3");
    INVALID("a\xe6\x97");
    INVALID("\xc0\xaf");
    INVALID("\xed\xa0\x80");     /* a surrogate */
    INVALID("\xf4\x90\x80\x80"); /* beyond U+10FFFF */
}

static void length(void **state UNUSED)
{
    char name[CHANNEL_NAME_MAX + 1];

    memset(name, 'x', sizeof(name));
    assert_false(channel_name_valid(STR_NULL));
    assert_false(channel_name_valid(STR_LIT("")));
    assert_true(channel_name_valid((struct str){.p = name, .n = CHANNEL_NAME_MAX}));
    assert_false(channel_name_valid((struct str){.p = name, .n = CHANNEL_NAME_MAX + 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_names),
        cmocka_unit_test(ascii_outside_the_alphabet),
        cmocka_unit_test(characters_outside_the_alphabet),
        cmocka_unit_test(bytes_that_are_not_utf8),
        cmocka_unit_test(length),
    };

    return cmocka_run_group_tests_name("core/channel_name", tests, NULL, NULL);
}
