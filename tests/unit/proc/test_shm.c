/* tests/unit/proc/test_shm.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "proc/shm.c"

static void rings_hold_four_of_the_largest(void **state)
{
    struct config c;

    (void)state;
    config_defaults(&c);
    assert_int_equal(shm_ring_capacity(&c),
                     8 << 20); /* four times 1 MiB and their heads: the next power of two */
    c.max_message_size = 125;
    c.ring_size = 65536;
    assert_int_equal(shm_ring_capacity(&c), 65536);
    c.ring_size = 65537;
    assert_int_equal(shm_ring_capacity(&c), 131072);
}

static void slots_settings_and_sums(void **state)
{
    struct metrics *own = metrics;
    static struct metrics sum;
    char err[256];

    (void)state;
    assert_int_equal(shm_create(3, 65536, err, sizeof(err)), 0);
    config_defaults(&shm->configs[0]);
    shm_enter(SHM_WORKER + 1);
    assert_int_equal(config.max_connections, 30000);
    assert_int_equal(shm->slots[SHM_WORKER + 1].pid, getpid());
    METRIC_ADD(accepts, 4);
    shm->slots[SHM_WORKER + 2].metrics.accepts = 3;
    shm_sum_metrics(&sum);
    assert_int_equal(sum.accepts, 7);
    shm->slots[SHM_WORKER].client_connections = 5;
    shm->slots[SHM_WORKER + 2].client_connections = 6;
    assert_int_equal(shm_node_connections(), 11);
    assert_false(shm_take_config());
    shm->configs[1] = shm->configs[0];
    shm->configs[1].max_connections = 9;
    shm->config_version = 1;
    assert_true(shm_take_config());
    assert_int_equal(config.max_connections, 9);
    assert_false(shm_take_config());
    metrics->subscriptions = 8; /* a new incarnation keeps counters and starts with empty gauges */
    shm_enter(SHM_WORKER + 1);
    assert_int_equal(metrics->accepts, 4);
    assert_int_equal(metrics->subscriptions, 0);
    shm_destroy();
    shm_destroy();
    metrics = own;
}

static void fetched_keys(void **state UNUSED)
{
    static struct shm_key_set set, got[2];
    struct metrics *own = metrics;
    char err[256], name[32];
    uint32_t seen = 0;

    assert_int_equal(shm_create(1, 65536, err, sizeof(err)), 0);
    config_defaults(&config);
    assert_false(shm_take_keys(&seen, got));
    assert_false(shm_slot_used(SHM_EGRESS));
    assert_true(shm_slot_used(SHM_HUB) && shm_slot_used(SHM_WORKER));
    snprintf(config.token_jwks_url, sizeof(config.token_jwks_url), "https://a");
    assert_true(shm_slot_used(SHM_EGRESS));
    assert_string_equal(shm_slot_name(SHM_EGRESS, name, sizeof(name)), "egress");
    snprintf(set.url, sizeof(set.url), "https://a");
    set.len = (uint32_t)snprintf(set.text, sizeof(set.text), "one");
    shm_put_keys(0, &set);
    set.len = (uint32_t)snprintf(set.text, sizeof(set.text), "other");
    shm_put_keys(1, &set);
    assert_true(shm_take_keys(&seen, got));
    assert_int_equal(got[0].len, 3);
    assert_memory_equal(got[0].text, "one", 3);
    assert_int_equal(got[1].len, 5);
    assert_false(shm_take_keys(&seen, got));
    set.len = UINT32_MAX; /* what another process writes is believed nothing */
    memset(set.url, 'x', sizeof(set.url));
    shm_put_keys(0, &set);
    assert_true(shm_take_keys(&seen, got));
    assert_int_equal(got[0].len, SHM_KEYS_MAX);
    assert_int_equal(strlen(got[0].url), sizeof(got[0].url) - 1);
    config_defaults(&config);
    shm_destroy();
    metrics = own;
}

static void wake_ups_never_block(void **state)
{
    char err[256];
    uint64_t n;

    (void)state;
    assert_int_equal(shm_create(1, 65536, err, sizeof(err)), 0);
    for (int i = 0; i < 1000; i++)
        shm_wake(shm->hub_wake_fd);
    assert_int_equal(read(shm->hub_wake_fd, &n, sizeof(n)), sizeof(n));
    assert_int_equal(n, 1000);
    shm_destroy();
}

/* What the kernel may do with an address in this process: no signal is needed to find out. */
static bool readable(const void *at)
{
    int p[2];
    bool yes;

    assert_int_equal(pipe(p), 0);
    yes = write(p[1], at, 1) == 1;
    close(p[0]);
    close(p[1]);
    return yes;
}

static bool writable(void *at)
{
    int p[2];
    bool yes;

    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    yes = read(p[0], at, 1) == 1;
    close(p[0]);
    close(p[1]);
    return yes;
}

/* The first of these that is not so, or 0. */
static unsigned wrong_of_worker(void)
{
    struct shm_slot *other = &shm->slots[SHM_WORKER + 2];
    struct ring_shared *mine = shm->to_worker[1], *others = shm->to_worker[2];
    int other_fd = shm->worker_wake_fd[2], own_fd = shm->worker_wake_fd[1];

    shm_enter(SHM_WORKER + 1);
    shm_confine(SHM_WORKER + 1);
    if (!writable(&metrics->accepts))
        return 1;
    if (!writable(&mine->head) || !writable(&mine->data[65535]) ||
        !writable(&shm->to_hub[1]->data[0]))
        return 2;
    if (!readable(other) || !readable(&others->head) || !readable(&shm->configs[1]))
        return 3;
    if (writable(&other->metrics) || writable(&shm->slots[SHM_MASTER].phase))
        return 4;
    if (writable(&shm->configs[0]) || writable(&shm->config_version) ||
        writable(&shm->keys->version) || !readable(&shm->keys->copies[0]))
        return 5;
    if (writable(&others->head) || writable(&others->data[0]))
        return 6;
    if (readable(&others->data[0]) || readable(&others->data[65535]))
        return 7;
    if (mprotect(other, 4096, PROT_READ | PROT_WRITE) != -1 ||
        mprotect(shm, 4096, PROT_READ | PROT_WRITE) != -1)
        return 8;
    if (fcntl(other_fd, F_GETFD) != -1 || fcntl(own_fd, F_GETFD) == -1)
        return 9;
    if (!writable(&shm->address_tables[1].places[shm->addresses.places - 1]) ||
        writable(&shm->address_tables[2].places[0]) || !readable(&shm->address_tables[0].places[0]))
        return 10;
    if (!writable(shm_trace_area(SHM_WORKER + 1)) || writable(shm_trace_area(SHM_WORKER + 2)) ||
        writable(shm_trace_area(SHM_HUB)) || !readable(shm_trace_area(SHM_WORKER + 2)))
        return 11;
    return 0;
}

static unsigned wrong_of_hub(void)
{
    shm_enter(SHM_HUB);
    shm_confine(SHM_HUB);
    if (!writable(&metrics->accepts))
        return 1;
    if (!writable(&shm->to_hub[2]->head) || !writable(&shm->to_worker[0]->data[0]))
        return 2;
    if (writable(&shm->slots[SHM_WORKER].pid) || writable(&shm->configs[0]) ||
        writable(&shm->keys->version) || writable(&shm->address_tables[0].places[0]))
        return 3;
    if (!writable(shm_trace_area(SHM_HUB)) || writable(shm_trace_area(SHM_WORKER + 2)))
        return 5;
    return fcntl(shm->worker_wake_fd[2], F_GETFD) == -1 ? 4 : 0;
}

static unsigned wrong_of_egress(void)
{
    shm_enter(SHM_EGRESS);
    shm_confine(SHM_EGRESS);
    if (!writable(&metrics->accepts) || !writable(&shm->keys->version) ||
        !writable(&shm->keys->copies[1][1].text[0]))
        return 1;
    if (writable(&shm->slots[SHM_WORKER].pid) || writable(&shm->slots[SHM_HUB].pid) ||
        writable(&shm->configs[0]))
        return 2;
    if (writable(&shm->to_hub[0]->head) || readable(&shm->to_hub[0]->data[0]) ||
        readable(&shm->to_worker[2]->data[0]))
        return 3;
    return fcntl(shm->worker_wake_fd[2], F_GETFD) != -1 ? 4 : 0;
}

static void in_child(unsigned (*wrong)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit((int)wrong());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_child_keeps_what_is_its_own(void **state)
{
    char err[256];

    (void)state;
    assert_int_equal(shm_create(3, 65536, err, sizeof(err)), 0);
    in_child(wrong_of_worker);
    in_child(wrong_of_hub);
    in_child(wrong_of_egress);
    assert_true(writable(&shm->configs[0]) && writable(&shm->slots[SHM_WORKER + 1].pid) &&
                writable(&shm->to_hub[1]->data[0])); /* the master's own is as it was */
    shm_destroy();
}

static void who_moves_and_who_serves(void **state)
{
    struct shm_slot *s;
    char err[256];

    (void)state;
    clock_set_virtual(100 * NS_PER_SEC);
    assert_int_equal(shm_create(2, 65536, err, sizeof(err)), 0);
    s = &shm->slots[SHM_WORKER + 1];
    assert_true(shm_serves(SHM_WORKER + 1)); /* it is about to be started */
    assert_string_equal(shm_phase_name(SHM_WORKER + 1), "down");
    clock_advance(SHM_STILL_NS - 1);
    assert_true(shm_serves(SHM_WORKER + 1));
    clock_advance(1);
    assert_false(shm_serves(SHM_WORKER + 1));
    assert_string_equal(shm_phase_name(SHM_WORKER + 1), "down");
    s->pid = 1;
    s->phase = SHM_READY;
    assert_string_equal(shm_phase_name(SHM_WORKER + 1), "hung");
    assert_int_equal(shm_heartbeat_age_ns(SHM_WORKER + 1), SHM_STILL_NS);
    shm_heartbeat(SHM_WORKER + 1);
    assert_true(shm_serves(SHM_WORKER + 1));
    assert_string_equal(shm_phase_name(SHM_WORKER + 1), "ready");
    s->phase = SHM_DRAINING; /* told to leave by somebody else than the master */
    assert_true(shm_moves(SHM_WORKER + 1));
    assert_false(shm_serves(SHM_WORKER + 1));
    shm->draining = 1;
    assert_true(shm_serves(SHM_WORKER + 1));
    s->heartbeat_ns = clock_ns() + 1; /* another process's clock */
    assert_int_equal(shm_heartbeat_age_ns(SHM_WORKER + 1), 0);
    shm_destroy();
    clock_set_virtual(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rings_hold_four_of_the_largest),
                                       cmocka_unit_test(slots_settings_and_sums),
                                       cmocka_unit_test(fetched_keys),
                                       cmocka_unit_test(wake_ups_never_block),
                                       cmocka_unit_test(a_child_keeps_what_is_its_own),
                                       cmocka_unit_test(who_moves_and_who_serves)};
    return cmocka_run_group_tests_name("proc/shm", tests, NULL, NULL);
}
