/* proto/token_queue: one per step, in order; cancelled, bounded, from within done(). */
#include "proto/token_queue.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"

static struct task_queue tasks;
static struct buf token;
static char seen[64]; /* what done() was called for, in order */
static struct token_ask *others[2];

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    memcpy(config.keys.text, "secret", 6);
    config.keys.len[0][CONFIG_KEY_HMAC] = 6;
    clock_set_virtual(1700000000 * NS_PER_SEC);
    clock_refresh();
    log_set_level(LOG_ERROR);
    task_queue_init(&tasks);
    seen[0] = '\0';
    memset(others, 0, sizeof(others));
    token.len = 0;
    if (tokens_init(&tasks) == -1)
        return -1;
    return token_make(TOKEN_CONNECTION, STR_LIT("{\"sub\":\"42\",\"channel\":\"c\"}"), &token);
}

static int teardown(void **state UNUSED)
{
    fault_reset();
    tokens_fini();
    assert_int_equal(metrics->tokens_waiting, 0);
    buf_fini(&token);
    clock_set_virtual(0);
    return 0;
}

/* Notes its name; in capitals when the token was good. */
static void done(void *arg, enum token_fault fault, struct token_connection *c,
                 struct token_subscription *s)
{
    size_t n = strlen(seen);
    char name = *(const char *)arg;

    assert_true((c == NULL) != (s == NULL));
    if (fault == TOKEN_GOOD && s != NULL)
        assert_true(str_equal(s->user, STR_LIT("42")));
    seen[n] = fault == TOKEN_GOOD ? (char)(name & ~0x20) : name;
    seen[n + 1] = '\0';
}

static struct token_ask *ask(enum token_kind kind, const char *name, const char *channel,
                             void (*fn)(void *, enum token_fault, struct token_connection *,
                                        struct token_subscription *))
{
    char copy[512], where[16];
    struct token_query q = {
        .kind = kind, .user = STR_LIT("42"), .done = fn, .arg = (void *)(uintptr_t)name};
    struct token_ask *a;

    /* What was given may go at once. */
    memcpy(copy, token.p, token.len);
    snprintf(where, sizeof(where), "%s", channel);
    q.token = (struct str){copy, token.len};
    q.channel = str_from(where);
    a = token_submit(&q);
    memset(copy, 0, sizeof(copy));
    memset(where, 0, sizeof(where));
    return a;
}

static void one_per_step_in_order(void **state UNUSED)
{
    assert_non_null(ask(TOKEN_SUBSCRIPTION, "a", "c", done));
    assert_non_null(ask(TOKEN_CONNECTION, "b", "", done)); /* it has a channel: invalid */
    assert_non_null(ask(TOKEN_SUBSCRIPTION, "d", "e", done));
    assert_non_null(ask(TOKEN_SUBSCRIPTION, "f", "c", done));
    assert_string_equal(seen, ""); /* never from inside */
    assert_int_equal(metrics->tokens_waiting, 4);
    assert_true(task_run(&tasks, 0));
    assert_string_equal(seen, "A");
    assert_true(task_run(&tasks, 0));
    assert_string_equal(seen, "Ab");
    assert_false(task_run(&tasks, UINT64_C(1000000000000)));
    assert_string_equal(seen, "AbdF");
    assert_false(task_runnable(&queue.task));
}

static void cancelled(void **state UNUSED)
{
    struct token_ask *a = ask(TOKEN_SUBSCRIPTION, "a", "c", done);
    struct token_ask *b = ask(TOKEN_SUBSCRIPTION, "b", "c", done);

    token_cancel(&a);
    assert_null(a);
    token_cancel(&a);
    task_run(&tasks, 0);
    assert_string_equal(seen, "B");
    b = ask(TOKEN_SUBSCRIPTION, "b", "c", done);
    token_cancel(&b);
    assert_false(task_run(&tasks, 0));
    assert_int_equal(queue.bytes, 0);
}

/* The first cancels the second and asks again. */
static void cancel_and_ask(void *arg, enum token_fault fault, struct token_connection *c,
                           struct token_subscription *s)
{
    done(arg, fault, c, s);
    token_cancel(&others[0]);
    others[1] = ask(TOKEN_SUBSCRIPTION, "z", "c", done);
}

static void from_within(void **state UNUSED)
{
    assert_non_null(ask(TOKEN_SUBSCRIPTION, "a", "c", cancel_and_ask));
    others[0] = ask(TOKEN_SUBSCRIPTION, "b", "c", done);
    assert_true(task_run(&tasks, 0));
    assert_string_equal(seen, "A");
    assert_false(task_run(&tasks, 0));
    assert_string_equal(seen, "AZ");
}

static void bounded(void **state UNUSED)
{
    size_t n = 0, each;

    while (ask(TOKEN_SUBSCRIPTION, "a", "c", done) != NULL)
        n++;
    each = queue.bytes / n;
    assert_true(queue.bytes <= WAITING_MAX && queue.bytes + each > WAITING_MAX);
    assert_int_equal(metrics->tokens_waiting, n);
}

static void too_long_is_not_kept(void **state UNUSED)
{
    static char large[JWT_SIZE_MAX * 2];
    struct token_query q = {
        .token = {large, sizeof(large)}, .done = done, .arg = (void *)(uintptr_t) "a"};

    assert_non_null(token_submit(&q));
    assert_true(queue.bytes < JWT_SIZE_MAX + 1024);
    task_run(&tasks, 0);
    assert_string_equal(seen, "a");
}

static void no_memory(void **state UNUSED)
{
    fault_fail_at(1);
    assert_null(ask(TOKEN_SUBSCRIPTION, "a", "c", done));
    assert_int_equal(queue.bytes, 0);
}

static char last_line[512];
static unsigned lines;

static void note_line(struct str line, void *arg UNUSED)
{
    lines++;
    snprintf(last_line, sizeof(last_line), "%.*s", STR_ARG(line));
}

/* Why, never the token; three lines, then none for a while. */
static void refusals_are_told(void **state UNUSED)
{
    log_set_sink(note_line, NULL);
    log_set_level(LOG_WARN);
    lines = 0;
    assert_non_null(ask(TOKEN_SUBSCRIPTION, "a", "c", done));
    task_run(&tasks, 0);
    assert_int_equal(lines, 0);
    for (int i = 0; i < 10; i++) {
        assert_non_null(ask(TOKEN_SUBSCRIPTION, "a", "another", done));
        task_run(&tasks, 0);
    }
    log_set_sink(NULL, NULL);
    log_set_level(LOG_ERROR);
    assert_int_equal(lines, 3);
    assert_non_null(strstr(last_line, "token refused"));
    assert_non_null(strstr(last_line, "reason=\"it is for another channel\""));
    assert_null(strstr(last_line, "eyJ"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_per_step_in_order), T(cancelled), T(from_within),      T(bounded),
        T(too_long_is_not_kept),  T(no_memory), T(refusals_are_told)};

    return cmocka_run_group_tests_name("proto/token_queue", tests, NULL, NULL);
}
