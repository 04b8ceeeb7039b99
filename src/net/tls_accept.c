/* net/tls_accept.c - handshakes of accepted connections: whose turn it is, and what becomes of them.
 *
 * What a handshake costs is asymmetric cryptography, so there is a queue of those that can go on,
 * and a time for it in each turn: a storm of new clients does not hold up those that are there.
 * OpenSSL's objects are made when the first bytes have come and look like TLS, so whoever says
 * nothing costs a plain connection. */
#include <openssl/err.h>

#include "base/config.h"
#include "base/listener_table.h"
#include "base/metrics.h"
#include "net/refusal.h"
#include "net_internal.h"
#include "tcp.h"
#include "tls_internal.h"
#include "tls_records.h"

#define SUBJECT_MAX 1024 /* bytes of a subject and its common name; a longer one is refused */
#define HANDSHAKE   0x16 /* ContentType, RFC 8446 §5.1 */

enum tls_failure {
#define TLS_FAILURE(NAME, name, help) TLS_FAILURE_##NAME,
#include "tbl/tls_failures.def"
    TLS_FAILURE_NR
};

static const char *const failure_labels[TLS_FAILURE_NR] = {
#define TLS_FAILURE(NAME, name, help) #name,
#include "tbl/tls_failures.def"
};

static struct tls_server *servers[LISTENERS_MAX];

void tls_server_use(unsigned listener, struct tls_server *s)
{
    tls_server_free(servers[listener]);
    servers[listener] = s;
}

bool tls_looks_like(struct str in)
{
    return in.n > 0 && in.p[0] == HANDSHAKE && (in.n == 1 || in.p[1] == 3);
}

struct conn *tls_accept(int fd, const struct conn_ops *ops, const struct sockaddr *peer,
                        unsigned flags, enum conn_state first)
{
    struct tls tls = {.shared.transport = {&tls_transport}, .accepted = true};
    struct conn *c = transport_add(&tls.shared.transport, sizeof(tls), fd, ops, peer, flags, first);

    if (c != NULL && first == CONN_SECURING)
        conn_arm(c, (uint64_t)config.tls_handshake_timeout);
    return c;
}

const char *tls_subject(const struct conn *c)
{
    if (!(c->flags & CONN_NOT_TCP) || c->state == CONN_SECURING || !transport_of(c)->tls)
        return NULL;
    return ((const struct tls_shared *)transport_state(c))->subject;
}

const char *tls_common_name(const struct conn *c)
{
    const char *subject = tls_subject(c);

    return subject != NULL ? subject + strlen(subject) + 1 : "";
}

/* ---- whose turn ---- */

static bool running; /* the queue, not an event, goes on with a handshake */

static int queue(struct conn *c)
{
    if (tls_of(c)->queued)
        return 0;
    if (ids_push(&reactor->securing, c->id) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    tls_of(c)->queued = true;
    return 0;
}

bool tls_turn(void)
{
    size_t n = reactor->securing.n;
    uint64_t end;

    if (LIKELY(n == 0))
        return false;
    end = clock_precise_ns() + (uint64_t)config.tls_handshake_budget;
    do {
        struct conn *c = conn_find(ids_pop(&reactor->securing));

        if (c == NULL || c->state != CONN_SECURING)
            continue;
        tls_of(c)->queued = false;
        running = true;
        conn_establish(c);
        running = false;
    } while (--n > 0 && clock_precise_ns() < end);
    return reactor->securing.n > 0;
}

/* ---- how it ends ---- */

static void count(enum tls_failure why)
{
    switch (why) {
#define TLS_FAILURE(NAME, name, help)                                                              \
    case TLS_FAILURE_##NAME:                                                                       \
        METRIC_INC(tls_failed_##name);                                                             \
        break;
#include "tbl/tls_failures.def"
    case TLS_FAILURE_NR:
        break;
    }
}

static void say(struct conn *c, enum close_reason reason, enum tls_failure why, const char *detail)
{
    const struct log_kv more[] = {KV_S("handshake", failure_labels[why]), KV_S("detail", detail)};

    count(why);
    refusal_say(c, reason, "TLS handshake failed", more, ARRAY_LEN(more));
}

/* Speaks no TLS any more: for a last word, if any, and an end that does not destroy it. */
static void leave_tls(struct conn *c)
{
    struct tls *tls = tls_of(c);

    tls_enter(c);
    SSL_free(tls->ssl);
    tls->ssl = NULL;
    tls->shared.transport.ops = &tcp;
    conn_set_state(c, CONN_HTTP);
}

static int answer_plain(struct conn *c)
{
    const struct close_row *row = close_row(CLOSE_PLAIN_ON_TLS);
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 400 Bad Request\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n"
                     "Connection: close\r\n"
                     "\r\n"
                     "%s\n",
                     strlen(row->text) + 1, row->text);

    say(c, CLOSE_PLAIN_ON_TLS, TLS_FAILURE_PLAIN_HTTP, "a request came instead of a handshake");
    leave_tls(c);
    if (conn_send(c, (struct str){text, (size_t)n}) == 0)
        conn_finish(c, CLOSE_PLAIN_ON_TLS);
    return 0;
}

static int give_up(struct conn *c, enum tls_failure why, const char *detail)
{
    say(c, CLOSE_TLS_FAILED, why, detail);
    conn_kill(c, CLOSE_TLS_FAILED);
    return -1;
}

bool tls_overdue(struct conn *c)
{
    if (transport_of(c) != &tls_transport || !tls_of(c)->accepted)
        return false;
    say(c, CLOSE_TLS_TIMEOUT, TLS_FAILURE_TIMEOUT, "the deadline has passed");
    conn_kill(c, CLOSE_TLS_TIMEOUT);
    return true;
}

static enum tls_failure failure_of(unsigned long e)
{
    int reason = ERR_GET_REASON(e);

    switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAILURE_GONE;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return TLS_FAILURE_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILURE_ALPN;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILURE_NO_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILURE_CERTIFICATE;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return TLS_FAILURE_REFUSED;
    case ERR_R_MALLOC_FAILURE:
        return TLS_FAILURE_NO_MEMORY;
    default:
        return reason > SSL_AD_REASON_OFFSET ? TLS_FAILURE_ALERT : TLS_FAILURE_PROTOCOL;
    }
}

/* Our alert is on its way; a reset must not destroy it. */
static int failed(struct conn *c)
{
    unsigned long e = ERR_peek_error();
    enum tls_failure why = e == 0 ? TLS_FAILURE_GONE : failure_of(e);
    char detail[200];

    if (why == TLS_FAILURE_CERTIFICATE) {
        ERR_clear_error();
        snprintf(detail, sizeof(detail), "%s",
                 X509_verify_cert_error_string(SSL_get_verify_result(tls_of(c)->ssl)));
    } else {
        tls_take_error(detail, sizeof(detail));
    }
    if (why == TLS_FAILURE_GONE || why == TLS_FAILURE_NO_MEMORY)
        return give_up(c, why, detail);
    say(c, CLOSE_TLS_FAILED, why, detail);
    leave_tls(c);
    conn_finish(c, CLOSE_TLS_FAILED);
    return 0;
}

/* Into a text of its own; a name with a NUL within would be read as another. NULL: none, several. */
static char *common_name(const X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1), n;
    unsigned char *text = NULL;

    if (at == -1 || X509_NAME_get_index_by_NID(name, NID_commonName, at) != -1)
        return NULL;
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (n > 0 && strlen((const char *)text) == (size_t)n)
        return (char *)text;
    OPENSSL_free(text);
    return NULL;
}

/* What is kept of the client's certificate when OpenSSL's objects are gone. */
static int keep_subject(struct tls *tls)
{
    const X509 *x = SSL_get0_peer_certificate(tls->ssl);
    const X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;
    char *subject = NULL, *cn;
    BIO *out;
    long n;

    if (x == NULL)
        return 0;
    cn = common_name(name);
    out = BIO_new(BIO_s_mem());
    if (out != NULL &&
        X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0 &&
        BIO_write(out, "", 1) == 1 &&
        BIO_write(out, cn != NULL ? cn : "", (int)strlen(cn != NULL ? cn : "") + 1) > 0 &&
        (n = BIO_get_mem_data(out, &subject)) <= SUBJECT_MAX) {
        tls->shared.subject = malloc((size_t)n);
        if (tls->shared.subject != NULL)
            memcpy(tls->shared.subject, subject, (size_t)n);
    }
    BIO_free(out);
    OPENSSL_free(cn);
    return tls->shared.subject != NULL ? 0 : -1;
}

static int complete(struct conn *c)
{
    struct tls *tls = tls_of(c);

    if (keep_subject(tls) == -1)
        return give_up(c, TLS_FAILURE_CERTIFICATE, "the subject is too long, or memory short");
    if (SSL_session_reused(tls->ssl))
        METRIC_INC(tls_resumed);
    else
        METRIC_INC(tls_full);
    hist_record(&metrics->tls_handshake_duration, clock_precise_ns() - tls->began_ns);
    if (config.tls_records == TLS_RECORDS_COMPACT)
        (void)tls_records_take(c);
    return 1;
}

/* ---- on the way ---- */

/* The first bytes: 1 TLS, 0 there are none yet or it was answered, -1 killed. */
static int look(struct conn *c)
{
    const struct tls_server *s = servers[conn_listener_index(c)];
    struct tls *tls = tls_of(c);
    char first = 0;
    ssize_t n = recv(conn_fd(c), &first, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return give_up(c, TLS_FAILURE_GONE, "nothing was said");
    if (first >= 'A' && first <= 'Z')
        return answer_plain(c);
    if (first != HANDSHAKE)
        return give_up(c, TLS_FAILURE_NOT_TLS, "the first byte is of no handshake");
    tls_enter(c);
    tls->began_ns = clock_precise_ns();
    if (s != NULL)
        tls->ssl = SSL_new(tls_server_context(s));
    if (tls->ssl == NULL || tls_set_bio(tls->ssl) == -1)
        return give_up(c, TLS_FAILURE_NO_MEMORY, "no memory for TLS");
    SSL_set_accept_state(tls->ssl);
    return 1;
}

int tls_accept_secure(struct conn *c)
{
    struct tls *tls = tls_of(c);
    int rc;

    if (!running)
        return queue(c);
    if (tls->ssl == NULL && (rc = look(c)) != 1)
        return rc;
    tls_enter(c);
    rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        tls->read_wants_write = false;
        return complete(c);
    }
    rc = SSL_get_error(tls->ssl, rc);
    tls->read_wants_write = rc == SSL_ERROR_WANT_WRITE;
    if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
        return 0;
    return failed(c);
}
