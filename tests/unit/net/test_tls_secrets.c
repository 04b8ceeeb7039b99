/* net/tls_secrets: which connections leave OpenSSL, and with what. */
#include "net/tls_secrets.c"

#include <signal.h>

#include "tls_records_harness.h"

static struct tls_ticket_keys tickets;

/* An accepted connection after its handshake, with this client. */
static struct conn *open_with(SSL_SESSION *session, int version)
{
    struct conn *c;

    serve_plainly();
    c = accept_pair(65536);
    far_starts(session, "localhost");
    assert_int_equal(SSL_set_max_proto_version(far.ssl, version), 1);
    pump_until_secured();
    return c;
}

static void both_ways(struct conn *c)
{
    size_t sent;

    assert_int_equal(conn_send(c, STR_LIT("from the server")), 0);
    assert_int_equal(SSL_write_ex(far.ssl, "from the client", 15, &sent), 1);
    for (int k = 0; k < 100 && (far.len < 15 || seen.len < 15); k++)
        pump();
    assert_memory_equal(far.got, "from the server", 15);
    assert_memory_equal(seen.input, "from the client", 15);
}

/* However many tickets there are, and with a ticket's session: the count of what OpenSSL wrote is
 * ours. */
static void tickets_are_counted(void **state UNUSED)
{
    SSL_SESSION *session = NULL;

    assert_int_equal(tls_tickets_rotate(&tickets), 0);
    tls_tickets_use(&tickets);
    for (int i = 0; i < 3; i++) {
        struct conn *c = open_with(session, TLS1_3_VERSION);

        assert_true(is_compact(c));
        both_ways(c);
        assert_int_equal(SSL_session_reused(far.ssl), session != NULL);
        SSL_SESSION_free(session);
        session = SSL_get1_session(far.ssl);
        assert_true(SSL_SESSION_is_resumable(session));
        SSL_set_shutdown(far.ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL gives the session up */
        end(c);
    }
    assert_int_equal(metrics->tls_resumed, 2);
    SSL_SESSION_free(session);
    tls_tickets_use(NULL);
}

/* What the client says with its Finished is not OpenSSL's to read. */
static void data_with_the_finished(void **state UNUSED)
{
    struct conn *c;
    size_t sent;

    serve_plainly();
    c = accept_pair(65536);
    far_starts(NULL, "localhost");
    while (SSL_do_handshake(far.ssl) != 1) {
        char piece[8192];
        ssize_t n = BIO_read(far.out, piece, sizeof(piece));

        if (n > 0)
            net_write(far.fd, piece, (size_t)n);
        net_steps(1);
        n = recv(far.fd, piece, sizeof(piece), MSG_DONTWAIT);
        if (n > 0)
            assert_int_equal(BIO_write(far.in, piece, (int)n), n);
    }
    far.done = 1;
    assert_int_equal(secured, 0); /* Finished lies in far.out */
    assert_int_equal(SSL_write_ex(far.ssl, pattern, 40000, &sent), 1);
    for (int k = 0; k < 100 && seen.len < 40000; k++)
        pump();
    assert_true(is_compact(c));
    assert_int_equal(seen.len, 40000);
    assert_memory_equal(seen.input, pattern, 40000);
    end(c);
}

static void who_stays(void **state UNUSED)
{
    struct pool *pool = &tls_records_part()->secrets;
    struct conn *c = open_with(NULL, TLS1_2_VERSION);

    assert_false(is_compact(c));
    assert_non_null(strstr(described(c), "TLSv1.2"));
    both_ways(c);
    end(c);

    config.tls_records = TLS_RECORDS_OPENSSL;
    c = open_with(NULL, TLS1_3_VERSION);
    assert_false(is_compact(c));
    assert_non_null(strstr(described(c), "TLSv1.3"));
    assert_int_equal(pool->in_use, 0); /* nothing was gathered */
    both_ways(c);
    end(c);

    config.tls_records = TLS_RECORDS_COMPACT;
    serve_plainly(); /* smaller records are agreed upon: RFC 6066 §4 */
    c = accept_pair(65536);
    far_starts(NULL, "localhost");
    assert_int_equal(SSL_set_tlsext_max_fragment_length(far.ssl, TLSEXT_max_fragment_length_512),
                     1);
    pump_until_secured();
    assert_false(is_compact(c));
    assert_int_equal(pool->in_use, 0); /* what was gathered has been given back */
    both_ways(c);
    end(c);
}

/* Its handshake has gathered one secret, then it ends. */
static void who_goes_in_the_middle(void **state UNUSED)
{
    struct pool *pool = &tls_records_part()->secrets;

    serve_plainly();
    accept_pair(100);
    far_starts(NULL, "localhost");
    for (int k = 0; k < 1000 && pool->in_use == 0; k++)
        pump();
    assert_int_equal(pool->in_use, 1);
    assert_int_equal(secured, 0);
    far_fini();
    for (int k = 0; k < 10; k++)
        net_steps(1);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(pool->in_use, 0);
    end(NULL);
}

static void early_data_is_off(void **state UNUSED)
{
    struct conn *c = open_with(NULL, TLS1_3_VERSION);

    end(c);
    config.tls_records = TLS_RECORDS_OPENSSL;
    c = open_with(NULL, TLS1_3_VERSION);
    assert_int_equal(SSL_get_max_early_data(tls_of(c)->ssl), 0);
    end(c);
}

static void texts_of_secrets(void **state UNUSED)
{
    static const char full[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
                               "000102030405060708090a0b0c0d0e0fff";
    uint8_t out[TLS13_SECRET_MAX];
    char text[100];

    for (size_t n = 0; n < sizeof(full); n++) {
        snprintf(text, sizeof(text), "%.*s", (int)n, full);
        assert_int_equal(read_secret(text, out), n % 2 || n > 96 ? 0 : n / 2);
    }
    assert_int_equal(out[47], 0x0f);
    assert_int_equal(out[31], 0x1f);
    assert_int_equal(read_secret("0g", out), 0);
    assert_int_equal(read_secret("0011 ", out), 0);
}

/* Two parts of one handshake: an allocation each. */
static void without_memory_it_stays(void **state UNUSED)
{
    struct pool *pool = &tls_records_part()->secrets;
    struct conn *c;

    assert_null(pool_get(pool) == NULL ? "" : NULL);
    pool->max = pool->allocated = 1; /* no more than that one */
    pool->free_list = NULL;
    c = open_with(NULL, TLS1_3_VERSION);
    assert_false(is_compact(c));
    both_ways(c);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(tickets_are_counted),     T(data_with_the_finished), T(who_stays),
        T(who_goes_in_the_middle),  T(early_data_is_off),      T(texts_of_secrets),
        T(without_memory_it_stays),
    };

    return cmocka_run_group_tests_name("net/tls_secrets", tests, make_world, drop_pki);
}
