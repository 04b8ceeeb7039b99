/* proc/egress: where keys may be fetched from, and when they are. */
#include "proc/egress.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses(void **state UNUSED)
{
    static const struct {
        const char *url, *why;
    } rows[] = {
        {"https://example.com/keys", NULL},
        {"https://example.com:8443/a?b=c", NULL},
        {"https://[2001:db8::1]/keys", NULL},
        {"HTTPS://EXAMPLE.com", NULL},
        {"http://127.0.0.1:8080/keys", NULL},
        {"http://localhost/keys", NULL},
        {"http://[::1]:80/keys", NULL},
        {"http://example.com/keys", "is neither https nor on this machine"},
        {"http://127.example.com/keys", "is neither https nor on this machine"},
        {"http://localhost.example.com/", "is neither https nor on this machine"},
        {"ftp://127.0.0.1/keys", "is neither https nor on this machine"},
        {"file:///etc/passwd", "is no"},
        {"https://user:secret@example.com/", "has a user's name"},
        {"https://example.com/{{realm}}/keys", "has a template"},
        {"example.com/keys", "is no URL"},
        {"https://", "is no"},
        {"nonsense", "is no URL"},
        {"gopher://127.0.0.1/", "is neither https nor on this machine"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = egress_refusal(rows[i].url);

        if ((why == NULL) != (rows[i].why == NULL) ||
            (why != NULL && strncmp(why, rows[i].why, strlen(rows[i].why)) != 0))
            fail_msg("%s: %s", rows[i].url, why != NULL ? why : "taken");
    }
}

static void wanted_only_with_a_url(void **state UNUSED)
{
    static struct config c;

    config_defaults(&c);
    assert_false(egress_wanted(&c));
    snprintf(c.subscription_token_jwks_url, sizeof(c.subscription_token_jwks_url), "https://a/");
    assert_false(egress_wanted(&c)); /* of no use yet */
    c.subscription_token_enabled = true;
    assert_true(egress_wanted(&c));
}

/* After failures: 1, 2, 4, ... 60 seconds, or the interval if that is less. */
static void patience(void **state UNUSED)
{
    static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct source *s = &e.sources[0];

    config_defaults(&config);
    clock_set_virtual(1000 * NS_PER_SEC);
    clock_refresh();
    s->failures = 0;
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        failed(s, "of a test");
        assert_int_equal(s->next_ns - clock_ns(), seconds[i] * NS_PER_SEC);
    }
    config.token_fetch_interval = 10 * (int64_t)NS_PER_SEC;
    failed(s, "of a test");
    assert_int_equal(s->next_ns - clock_ns(), 10 * NS_PER_SEC);
    clock_set_virtual(0);
}

/* What tokens cause is bounded, however many there are. */
static void due_when_a_token_wants_a_key(void **state UNUSED)
{
    const uint64_t second = NS_PER_SEC;
    struct source s = {.started_ns = 100 * second, .next_ns = 400 * second};

    assert_false(is_due(&s, 399 * second, 0));
    assert_true(is_due(&s, 400 * second, 0));
    assert_false(is_due(&s, 109 * second, 105 * second)); /* ten seconds between two */
    assert_true(is_due(&s, 110 * second, 105 * second));
    assert_false(is_due(&s, 110 * second, 99 * second)); /* it has been asked for since */
    s.failures = 1;
    assert_false(is_due(&s, 110 * second, 105 * second)); /* its own pauses count */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(wanted_only_with_a_url),
        cmocka_unit_test(patience),
        cmocka_unit_test(due_when_a_token_wants_a_key),
    };

    return cmocka_run_group_tests_name("proc/egress", tests, NULL, NULL);
}
