/* net/tls_records: our own records against OpenSSL's client, and against a peer that breaks rules. */
#include "net/tls_records.c"

#include <signal.h>

#include "tls_records_harness.h"

static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                     "TLS_CHACHA20_POLY1305_SHA256"};

static uint64_t seed = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % n;
}

/* A turn of the client, which has something to say or to read, or updates its keys. */
static void far_writes(size_t *at, size_t n)
{
    size_t most = 1 + random_below(20000), sent;

    if (*at < n && SSL_write_ex(far.ssl, pattern + *at, MIN(n - *at, most), &sent) == 1)
        *at += sent;
    ERR_clear_error();
}

static void both_ways_in_pieces(void **state UNUSED)
{
    static const size_t pieces[] = {1, 7, 1448, 65536};

    for (size_t s = 0; s < ARRAY_LEN(suites); s++)
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            struct conn *c = open_compact(pieces[i], suites[s]);
            size_t n = pieces[i] < 1000 ? 2000 : sizeof(pattern), at = 0;

            assert_int_equal(conn_send(c, (struct str){pattern, n}), 0);
            for (int k = 0; k < 100000 && far.len < n; k++)
                pump();
            assert_int_equal(far.len, n);
            assert_memory_equal(far.got, pattern, n);
            for (int k = 0; k < 100000 && seen.len < n; k++) {
                far_writes(&at, n);
                pump();
            }
            assert_int_equal(seen.len, n);
            assert_memory_equal(seen.input, pattern, n);
            net_steps(2);
            assert_null(records_of(c)->kept);
            end(c);
        }
}

/* All at once: data both ways, and KeyUpdates of both kinds, cut at random. */
static void updates_at_any_time(void **state UNUSED)
{
    for (unsigned round = 0; round < 30; round++) {
        struct conn *c = open_compact(65536, suites[round % 3]);
        size_t n = 100000, out = 0, in = 0;

        for (int k = 0; k < 100000 && (far.len < n || seen.len < n); k++) {
            size_t most = random_below(9000), more = MIN(n - out, most);

            far.piece = 1 + random_below(round % 2 ? 30000 : 900);
            if (more > 0 && conn_queued(c) < 50000) {
                assert_int_equal(conn_send(c, (struct str){pattern + out, more}), 0);
                out += more;
            }
            far_writes(&in, n);
            if (random_below(20) == 0) {
                int type =
                    random_below(2) ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;

                (void)SSL_key_update(far.ssl, type); /* one may be on its way still */
                ERR_clear_error();
            }
            if (random_below(40) == 0) /* ours, and the client's is asked for */
                records_of(c)->keys->ask = true;
            pump();
        }
        assert_int_equal(seen.len, n);
        assert_memory_equal(seen.input, pattern, n);
        assert_int_equal(far.len, n);
        assert_memory_equal(far.got, pattern, n);
        end(c);
    }
}

/* The peer does not read for a while: records are finished later, and updates wait behind them. */
static void a_socket_that_takes_little(void **state UNUSED)
{
    for (unsigned round = 0; round < 10; round++) {
        struct conn *c = open_compact(65536, NULL);
        int small = 5000;
        size_t n = 150000, most, sent;

        assert_int_equal(setsockopt(conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
        for (size_t at = 0, more; at < n; at += more) {
            most = 1 + random_below(40000);
            more = MIN(n - at, most);
            assert_int_equal(conn_send(c, (struct str){pattern + at, more}), 0);
        }
        net_steps(3);
        assert_non_null(records_of(c)->rest);
        assert_true(records_of(c)->offered);
        assert_true(conn_unread(c));
        assert_int_equal(SSL_key_update(far.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write_ex(far.ssl, "x", 1, &sent), 1);
        for (int k = 0; k < 100000 && far.len < n; k++) {
            far.piece = 1 + random_below(3000);
            pump();
        }
        assert_int_equal(far.len, n);
        assert_memory_equal(far.got, pattern, n);
        assert_false(tls13_update_due(records_of(c)->keys));
        assert_null(records_of(c)->rest);
        assert_null(c->out);
        end(c);
    }
}

/* A KeyUpdate that the socket takes half of is finished although nobody sends. */
static void a_control_record_in_two(void **state UNUSED)
{
    struct conn *c = open_bare();
    struct records *r = records_of(c);
    struct tls13_opened o;
    size_t n;

    n = tls13_seal_update(r->keys, sealed);
    net_write(conn_fd(c), sealed, 10);
    assert_int_equal(keep_rest(r, sealed + 10, n - 10), 0);
    conn_hold(c, CONN_HOLD_ANSWER); /* then nothing is asked for */
    assert_false(c->io.events & EV_WRITE);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    assert_true(c->io.events & EV_WRITE);
    net_steps(2);
    assert_null(r->rest);
    assert_false(c->io.events & EV_WRITE);
    assert_int_equal(hear(&o), TLS13_EVENT_QUIET);
    assert_int_equal(peer.in.seq, 0);
    assert_int_equal(conn_send(c, STR_LIT("behind")), 0);
    expect_text("behind");
    end(c);
}

/* Each request has its answer, before the next data. */
static void every_update_is_answered(void **state UNUSED)
{
    struct conn *c = open_bare();
    struct tls13_opened o;

    peer.ask = true;
    for (int i = 0; i < 32; i++) {
        net_write(far.fd, wire, tls13_seal_update(&peer, wire));
        peer.ask = true;
    }
    say(TLS13_DATA, "all asked", 9);
    net_steps(2);
    assert_int_equal(conn_send(c, STR_LIT("answered")), 0);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(hear(&o), TLS13_EVENT_QUIET);
        assert_memory_equal(plain, "\x18\0\0\1\0", 5);
    }
    expect_text("answered");
    assert_int_equal(seen.len, 9);
    end(c);
}

/* What one read opens is more than the caller has room for. */
static void room_for_less_than_a_record(void **state UNUSED)
{
    struct conn *c;
    size_t at = 0;

    config.read_budget = 1000;
    c = open_compact(65536, NULL);
    while (at < 60000) {
        size_t sent;

        assert_int_equal(SSL_write_ex(far.ssl, pattern + at, 15000, &sent), 1);
        at += sent;
    }
    pump();
    for (int k = 0; k < 200 && seen.len < 30000; k++) {
        net_steps(1);
        assert_true(seen.len <= 1000u * (unsigned)(k + 2));
    }
    conn_hold(c, CONN_HOLD_ANSWER); /* in the middle of a record */
    at = seen.len;
    net_steps(3);
    assert_int_equal(seen.len, at);
    assert_false(reactor->busy);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    for (int k = 0; k < 200 && seen.len < 60000; k++)
        net_steps(1);
    assert_int_equal(seen.len, 60000);
    assert_memory_equal(seen.input, pattern, 60000);
    end(c);
}

/* A read of tiny records brings little and takes long: it must not be taken for a light one. */
static void tiny_records_are_read_in_portions(void **state UNUSED)
{
    static uint8_t all[2000 * 23];

    open_bare();
    for (size_t i = 0; i < sizeof(all); i += 23)
        assert_int_equal(tls13_seal(&peer, TLS13_DATA, (const uint8_t *)"x", 1, all + i), 23);
    net_write(far.fd, all, sizeof(all));
    net_steps(1);
    assert_in_range(seen.len, 1, TLS13_RECORD_MAX / 23);
    net_steps(4);
    assert_int_equal(seen.len, 2000);
    end(seen.last);
}

static void sizes_of_records(void **state UNUSED)
{
    static const size_t first[] = {1370, 1370, 1370, 12274, 3616};
    struct conn *c = open_bare();
    struct tls13_opened o;
    size_t total = 0;

    clock_advance(2 * NS_PER_SEC);
    net_steps(1);
    assert_int_equal(conn_send(c, (struct str){pattern, 20000}), 0);
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        assert_int_equal(hear(&o), TLS13_EVENT_DATA);
        assert_int_equal(o.n, first[i]);
        assert_memory_equal(plain, pattern + total, o.n);
        total += o.n;
    }
    assert_int_equal(total, 20000);
    net_steps(1); /* frames of one turn are one record */
    for (int i = 0; i < 10; i++)
        assert_int_equal(conn_send(c, (struct str){pattern + 10 * i, 10}), 0);
    assert_int_equal(hear(&o), TLS13_EVENT_DATA); /* one went when the turn had not sent yet */
    assert_int_equal(o.n, 10);
    assert_int_equal(hear(&o), TLS13_EVENT_DATA);
    assert_int_equal(o.n, 90);
    assert_memory_equal(plain, pattern + 10, 90);
    end(c);
}

static void the_peer_says_goodbye(void **state UNUSED)
{
    struct conn *c = open_bare();

    say(TLS13_DATA, "goodbye", 7);
    net_write(far.fd, wire, tls13_seal_alert(&peer, TLS13_CLOSE_NOTIFY, wire));
    say(TLS13_DATA, "ignored", 7);
    net_steps(3);
    assert_int_equal(seen.len, 7);
    assert_int_equal(seen.eofs, 1);
    assert_false(reactor->busy);
    assert_int_equal(conn_send(c, STR_LIT("bye")), 0); /* one way is open still */
    conn_finish(c, CLOSE_PEER_CLOSED);
    net_steps(2);
    expect_text("bye");
    expect_alert(TLS13_CLOSE_NOTIFY);
    assert_true(net_at_eof(far.fd));
    assert_int_equal(seen.releases, 1);
    end(NULL);
}

static void we_say_goodbye(void **state UNUSED)
{
    struct conn *c = open_bare();

    conn_finish(c, CLOSE_NORMAL);
    expect_alert(TLS13_CLOSE_NOTIFY);
    assert_true(net_at_eof(far.fd));
    assert_int_equal(c->state, CONN_LINGERING);
    say(TLS13_DATA, "late", 4);
    net_steps(2);
    assert_int_equal(seen.len, 0);
    net_write(far.fd, wire, tls13_seal_alert(&peer, TLS13_CLOSE_NOTIFY, wire));
    net_steps(2);
    assert_int_equal(seen.releases, 1);
    end(NULL);
}

/* RFC 8446 §6.1: it may have been cut off by anybody. */
static void an_end_without_goodbye_is_none(void **state UNUSED)
{
    open_bare();
    say(TLS13_DATA, "hello", 5);
    shutdown(far.fd, SHUT_WR);
    net_steps(3);
    assert_int_equal(seen.len, 5);
    assert_int_equal(seen.eofs, 0);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    end(NULL);
}

static void the_peer_gives_up(void **state UNUSED)
{
    open_bare();
    net_write(far.fd, wire, tls13_seal_alert(&peer, TLS13_BAD_RECORD_MAC, wire));
    net_steps(2);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(seen.eofs, 0);
    assert_int_equal(metrics->tls_alerts_received, 1);
    assert_true(net_at_eof(far.fd)); /* an alert is not answered */
    end(NULL);
}

/* Data before a fault is delivered, nothing after it; the alert arrives, whatever else is said. */
static void expect_fault(const uint8_t *p, size_t n, enum tls13_alert alert)
{
    uint64_t before = metrics->closes[CLOSE_TLS_BROKEN];
    size_t from;

    for (from = 0; from < 2; from++) { /* whole, and byte by byte */
        struct conn *c = open_bare();

        say(TLS13_DATA, "before", 6);
        for (size_t i = 0; i < n; i += from == 0 ? n : 1) {
            net_write(far.fd, p + i, from == 0 ? n : 1);
            if (from > 0)
                net_steps(1);
            if (c->state != CONN_HTTP)
                break;
        }
        say(TLS13_DATA, "behind", 6);
        expect_alert(alert);
        net_steps(3);
        assert_int_equal(seen.len, 6);
        assert_int_equal(seen.eofs, 0);
        assert_int_equal(c->state, CONN_LINGERING);
        assert_false(reactor->busy);
        assert_int_equal(conn_send(c, STR_LIT("no")), -1);
        assert_true(net_at_eof(far.fd));
        shutdown(far.fd, SHUT_WR);
        net_steps(2);
        assert_int_equal(seen.releases, 1);
        assert_int_equal(metrics->closes[CLOSE_TLS_BROKEN], ++before);
        end(NULL);
    }
    assert_int_equal(metrics->tls_alerts_sent, before);
}

static void faults(void **state UNUSED)
{
    static uint8_t forged[5 + 32] = {23, 3, 3, 0, 32};
    static const uint8_t in_the_clear[] = {21, 3, 3, 0, 2, 1, 0}, ccs[] = {20, 3, 3, 0, 1, 1},
                         hello[] = {22, 3, 1, 0, 4, 1, 0, 0, 0}, huge[] = {23, 3, 3, 0x41, 1},
                         tiny[] = {23, 3, 3, 0, 1, 0}, version[] = {23, 3, 1, 0, 32};

    expect_fault(forged, sizeof(forged), TLS13_BAD_RECORD_MAC);
    expect_fault(in_the_clear, sizeof(in_the_clear), TLS13_UNEXPECTED_MESSAGE);
    expect_fault(ccs, sizeof(ccs), TLS13_UNEXPECTED_MESSAGE);
    expect_fault(hello, sizeof(hello), TLS13_UNEXPECTED_MESSAGE);
    expect_fault(huge, sizeof(huge), TLS13_RECORD_OVERFLOW);
    expect_fault(tiny, sizeof(tiny), TLS13_BAD_RECORD_MAC);
    expect_fault(version, sizeof(version), TLS13_DECODE_ERROR);
}

/* While output waits, a fault ends the connection all the same. */
static void a_fault_behind_a_full_socket(void **state UNUSED)
{
    struct conn *c = open_bare();
    int small = 5000;

    assert_int_equal(setsockopt(conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    assert_int_equal(conn_send(c, (struct str){pattern, 100000}), 0);
    net_steps(1);
    assert_non_null(c->out);
    net_write(far.fd, "GET / HTTP/1.1\r\n", 16);
    net_steps(3);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_TLS_BROKEN], 1);
    end(NULL);
}

/* Incomplete records count as other incomplete input does; the oldest and largest has to go. */
static void incomplete_records_are_accounted(void **state UNUSED)
{
    struct conn *c = open_bare();
    size_t n = tls13_seal(&peer, TLS13_DATA, (uint8_t *)pattern, 16000, wire);

    for (size_t i = 0; i < n; i += 100) {
        net_write(far.fd, wire + i, MIN(n - i, (size_t)100));
        net_steps(1);
        if (i + 100 < n)
            assert_in_range(partial_bytes(false), i + 100, 2 * i + 400);
    }
    assert_int_equal(seen.len, 16000);
    assert_int_equal(partial_bytes(false), 0);
    assert_null(records_of(c)->kept);

    config.max_partial_bytes = 2000;
    config.max_message_size = config.max_body_size = config.max_header_size = 100;
    partial_config_changed();
    n = tls13_seal(&peer, TLS13_DATA, (uint8_t *)pattern, 16000, wire);
    net_write(far.fd, wire, n - 1);
    net_steps(3);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_PARTIAL], 1);
    assert_int_equal(partial_bytes(false), 0);
    end(NULL);
}

/* Others come, and it is the one that takes and waits. */
static void another_makes_it_go(void **state UNUSED)
{
    struct conn *c = open_bare(), *other;
    struct holder rivals[3] = {0};
    int fd;

    config.max_partial_bytes = 20000;
    config.max_message_size = config.max_body_size = config.max_header_size = 100;
    partial_config_changed();
    assert_int_equal(tls13_seal(&peer, TLS13_DATA, (uint8_t *)pattern, 5000, wire), 5022);
    net_write(far.fd, wire, 4000);
    net_steps(2);
    assert_int_equal(c->state, CONN_HTTP);
    clock_advance(60 * NS_PER_SEC);
    other = net_pair(&fd, &seen_ops, 0);
    for (size_t i = 0; i < ARRAY_LEN(rivals); i++)
        assert_int_equal(partial_hold(other, &rivals[i], 3000), CLOSE_NONE);
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_PARTIAL);
    for (size_t i = 0; i < ARRAY_LEN(rivals); i++)
        budget_leave(&rivals[i]);
    conn_kill(other, CLOSE_NORMAL);
    net_steps(2);
    close(fd);
    end(NULL);
}

/* Whatever allocation fails, one connection ends, or goes on. */
static void memory_fails(void **state UNUSED)
{
    for (unsigned k = 1; k < 30; k++) {
        struct conn *c = open_bare();
        size_t n = tls13_seal(&peer, TLS13_DATA, (uint8_t *)pattern, 9000, wire);
        int small = 5000;

        assert_int_equal(setsockopt(conn_fd(c), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
        fault_fail_at(k);
        net_write(far.fd, wire, 100);
        net_steps(1);
        (void)send(far.fd, wire + 100, n - 100, MSG_NOSIGNAL); /* if it is there still */
        net_steps(1);
        if (seen.releases == 0 && conn_send(c, (struct str){pattern, 60000}) == 0)
            net_steps(2);
        fault_reset();
        if (seen.releases == 0)
            assert_int_equal(seen.len, 9000);
        end(seen.releases == 0 ? c : NULL);
    }
}

/* They are in pages that no core dump has, and overwritten when given back (base/pool.h). */
static void secrets_go_with_the_connection(void **state UNUSED)
{
    struct conn *c = open_bare();
    struct pool *pool = &tls_records_part()->secrets;

    assert_true(pool->secret);
    assert_int_equal(pool->in_use, 1); /* what the handshake gathered is gone */
    end(c);
    assert_int_equal(pool->in_use, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(both_ways_in_pieces),
        T(updates_at_any_time),
        T(a_socket_that_takes_little),
        T(a_control_record_in_two),
        T(every_update_is_answered),
        T(room_for_less_than_a_record),
        T(tiny_records_are_read_in_portions),
        T(sizes_of_records),
        T(the_peer_says_goodbye),
        T(we_say_goodbye),
        T(an_end_without_goodbye_is_none),
        T(the_peer_gives_up),
        T(faults),
        T(a_fault_behind_a_full_socket),
        T(incomplete_records_are_accounted),
        T(another_makes_it_go),
        T(memory_fails),
        T(secrets_go_with_the_connection),
    };

    return cmocka_run_group_tests_name("net/tls_records", tests, make_world, drop_pki);
}
