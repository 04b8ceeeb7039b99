/* codec/tls13.h - TLS 1.3 records of a connection whose handshake is over: the server's side.
 *
 * Who has made the handshake gives the two traffic secrets and how many records have used them;
 * from then on a struct tls13 is all there is (RFC 8446 §5 records, §4.6.3 KeyUpdate, §6 alerts,
 * §7.2 and §7.3 keys). It is plain data without pointers. Nothing but application data, alerts and
 * KeyUpdate is taken after the handshake; whatever else comes is answered with the alert that RFC 8446
 * demands. No I/O and no buffers: the caller has both.
 *
 * The AEAD is OpenSSL's, in contexts that all connections of the process share, so one costs 224
 * bytes. tls13_fini() makes them forget a connection's keys. */
#ifndef ROOST_CODEC_TLS13_H
#define ROOST_CODEC_TLS13_H

#include "base/common.h"

#define TLS13_HEADER     5
#define TLS13_TAG        16
#define TLS13_PLAIN_MAX  16384                          /* content of a record */
#define TLS13_OVERHEAD   (TLS13_HEADER + 1 + TLS13_TAG) /* of a record that we seal */
#define TLS13_SEALED_MAX (TLS13_PLAIN_MAX + TLS13_OVERHEAD)
#define TLS13_RECORD_MAX (TLS13_HEADER + TLS13_PLAIN_MAX + 256) /* that a peer may send */
#define TLS13_SECRET_MAX 48
/* A key seals so many records at most (RFC 8446 §5.5: 2^24.5 with AES-GCM), and so many in a row may
 * bring nothing: KeyUpdate, empty records, warnings. */
#define TLS13_RECORDS_MAX (UINT64_C(1) << 24)
#define TLS13_QUIET_MAX   64

enum tls13_type { TLS13_ALERT = 21, TLS13_HANDSHAKE = 22, TLS13_DATA = 23 };

enum tls13_alert { /* RFC 8446 §6 */
                   TLS13_CLOSE_NOTIFY = 0,
                   TLS13_UNEXPECTED_MESSAGE = 10,
                   TLS13_BAD_RECORD_MAC = 20,
                   TLS13_RECORD_OVERFLOW = 22,
                   TLS13_ILLEGAL_PARAMETER = 47,
                   TLS13_DECODE_ERROR = 50,
                   TLS13_INTERNAL_ERROR = 80,
                   TLS13_USER_CANCELED = 90
};

struct tls13_direction {
    uint64_t seq; /* of the next record */
    uint8_t secret[TLS13_SECRET_MAX];
    uint8_t key[32], iv[12];
};

struct tls13 {
    struct tls13_direction in, out;
    uint8_t suite;       /* private: row of tbl/tls13_suites.def */
    uint8_t answers;     /* KeyUpdates that the peer has asked for, due before the next data */
    bool ask;            /* and one that asks the peer for one of its own */
    uint8_t quiet;       /* records in a row that brought nothing */
    uint8_t message_len; /* of a handshake message that is not complete */
    uint8_t message[5];
};

struct tls13_secrets { /* in: what the client writes with */
    uint8_t in[TLS13_SECRET_MAX], out[TLS13_SECRET_MAX];
    size_t in_len, out_len;
    uint64_t in_seq, out_seq; /* records that have used them */
};

/* cipher: the suite's number (0x1301). -1: it is none of ours, the secrets have not its length, or no
 * memory. */
int tls13_init(struct tls13 *t, unsigned cipher, const struct tls13_secrets *s) MUST_CHECK;
/* Cleanses it. Of zeros it is fine. */
void tls13_fini(struct tls13 *t);
/* "TLS_AES_128_GCM_SHA256" */
const char *tls13_suite_name(const struct tls13 *t);

enum tls13_event {
    TLS13_EVENT_DATA,   /* n > 0 bytes for whoever speaks on it */
    TLS13_EVENT_QUIET,  /* a record that was for us */
    TLS13_EVENT_CLOSED, /* close_notify: nothing more comes */
    TLS13_EVENT_ALERT,  /* the peer has given up: `alert` */
    TLS13_EVENT_FATAL   /* `alert` is owed to the peer, and nothing more is to be read */
};
struct tls13_opened {
    size_t n;
    enum tls13_alert alert;
};

/* The size of the record at p, of which n bytes are there. 0: its head is not complete. -1: it is
 * none that may come now: *alert. */
ssize_t tls13_record_size(const uint8_t *p, size_t n, enum tls13_alert *alert) MUST_CHECK;
/* Opens one whole record. out has room for size - TLS13_HEADER - TLS13_TAG bytes; it is record +
 * TLS13_HEADER, or does not overlap. */
enum tls13_event tls13_open(struct tls13 *t, const uint8_t *record, size_t size, uint8_t *out,
                            struct tls13_opened *opened) MUST_CHECK;

/* Seals content of at most TLS13_PLAIN_MAX bytes into out, which has room for TLS13_OVERHEAD more; in
 * is out + TLS13_HEADER, or does not overlap. Returns the record's size; 0: no memory, nothing can be
 * sent any more. Data is sealed only while tls13_update_due() is false. */
size_t tls13_seal(struct tls13 *t, enum tls13_type type, const uint8_t *in, size_t n,
                  uint8_t *out) MUST_CHECK;
/* An alert: close_notify as a warning, others fatal. Room for TLS13_OVERHEAD + 2. */
size_t tls13_seal_alert(struct tls13 *t, enum tls13_alert alert, uint8_t *out) MUST_CHECK;
/* Must a KeyUpdate go before the next data? */
static inline bool tls13_update_due(const struct tls13 *t)
{
    return UNLIKELY(t->answers > 0 || t->ask || t->out.seq >= TLS13_RECORDS_MAX - 1);
}
/* A KeyUpdate that is due; new keys from then on. At most 256 in a row. Room for TLS13_OVERHEAD + 5. */
size_t tls13_seal_update(struct tls13 *t, uint8_t *out) MUST_CHECK;

#endif
