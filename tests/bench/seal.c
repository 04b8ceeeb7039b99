/* seal - what a TLS 1.3 record costs by codec/tls13 and by SSL_write(), without a socket.
 *
 * usage: seal CERTIFICATE KEY
 *
 * A thousand connections, each of which gets one record in turn, as in a fan-out: OpenSSL's write to
 * a BIO that drops everything, ours to one buffer. CPU time; the best of some rounds. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>

#include "codec/tls13.h"

#define CONNECTIONS 1000
#define ROUNDS      15

static SSL_CTX *server, *client;
static SSL *ssls[CONNECTIONS];
static struct tls13 keys[CONNECTIONS];
static uint8_t message[TLS13_PLAIN_MAX], out[TLS13_SEALED_MAX];

static NORETURN void die(const char *what)
{
    fprintf(stderr, "seal: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A connection by OpenSSL whose handshake is over. */
static SSL *open_ssl(void)
{
    SSL *near = SSL_new(server), *far = SSL_new(client);
    BIO *a = NULL, *b = NULL;

    if (near == NULL || far == NULL || BIO_new_bio_pair(&a, 0, &b, 0) != 1)
        die("no memory");
    SSL_set_bio(near, a, a);
    SSL_set_bio(far, b, b);
    SSL_set_accept_state(near);
    SSL_set_connect_state(far);
    for (int i = 0; i < 10 && !SSL_is_init_finished(near); i++) {
        (void)SSL_do_handshake(far);
        (void)SSL_do_handshake(near);
    }
    if (!SSL_is_init_finished(near))
        die("the handshake");
    SSL_set0_wbio(near, BIO_new(BIO_s_null()));
    SSL_free(far);
    return near;
}

static void open_keys(struct tls13 *t, unsigned suite, uint8_t number)
{
    struct tls13_secrets s = {.in_len = suite == 0x1302 ? 48 : 32};

    s.out_len = s.in_len;
    memset(s.in, number, s.in_len);
    memset(s.out, number + 1, s.out_len);
    if (tls13_init(t, suite, &s) == -1)
        die("no such suite");
}

/* The best round, of one record. */
static double measure(bool ours, size_t size)
{
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();

        for (int i = 0; i < CONNECTIONS; i++)
            if (ours ? tls13_seal(&keys[i], TLS13_DATA, message, size, out) == 0
                     : SSL_write(ssls[i], message, (int)size) != (int)size)
                die("a record");
        best = MIN(best, (cpu_ns() - began) / CONNECTIONS);
    }
    return best;
}

static void compare(unsigned suite, const char *name)
{
    static const size_t sizes[] = {72, 1024, 4096, 16384};

    if (SSL_CTX_set_ciphersuites(client, name) != 1)
        die(name);
    for (int i = 0; i < CONNECTIONS; i++) {
        ssls[i] = open_ssl();
        open_keys(&keys[i], suite, (uint8_t)i);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        double theirs = measure(false, sizes[i]), ours = measure(true, sizes[i]);

        printf("%-28s %5zu B  SSL_write %5.0f ns  ours %5.0f ns  SSL_write/ours %.2f\n", name,
               sizes[i], theirs, ours, theirs / ours);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        SSL_free(ssls[i]);
        tls13_fini(&keys[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: seal CERTIFICATE KEY\n");
        return 2;
    }
    server = SSL_CTX_new(TLS_server_method());
    client = SSL_CTX_new(TLS_client_method());
    if (server == NULL || client == NULL || SSL_CTX_set_num_tickets(server, 0) != 1 ||
        SSL_CTX_use_certificate_chain_file(server, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(server, argv[2], SSL_FILETYPE_PEM) != 1)
        die("certificate and key");
#define X(number, name, ...) compare(number, name);
#include "tbl/tls13_suites.def"
#undef X
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return 0;
}
