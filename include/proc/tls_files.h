/* proc/tls_files.h - certificates, their keys and what goes with them: from files into shared memory.
 * tls_watch.c has tls_files_watch().
 *
 * The master alone reads files: at the start, and at each reload. It checks what it has read by
 * making contexts of it, as workers do (net/tls_server.h), and puts the texts into an area that only
 * it can write and only workers can read. Live connections keep what they began with.
 *
 * Happy path of a new certificate: 1 SIGHUP · 2 tls_files_read() into the copy that is not in use ·
 * 3 tls_files_publish() · 4 each worker sees another version and has tls_files_take() make its
 * contexts. can fail: a listener whose files cannot be read or do not fit together keeps what it had
 * (said in one line); with other files named than before, the reload is refused. */
#ifndef ROOST_PROC_TLS_FILES_H
#define ROOST_PROC_TLS_FILES_H

#include "base/buf.h"
#include "base/config.h"
#include "net/tls_server.h"

#define TLS_TEXTS_MAX ((size_t)1024 * 1024) /* of all files together */

struct tls_span { /* of texts */
    uint32_t at, n;
};
struct tls_file_pair {
    struct tls_span certificate, key, ocsp;
    int64_t expires, ocsp_until; /* seconds since 1970; 0: it does not say */
};
struct tls_files { /* of one moment */
    struct tls_listener_files {
        uint32_t npairs; /* 0: it speaks no TLS */
        struct tls_file_pair pairs[TLS_PAIRS_MAX];
        struct tls_span client_ca;
    } listener[LISTENERS_MAX];
    uint32_t used;
    char texts[TLS_TEXTS_MAX];
};
struct tls_area { /* the copy in use is copies[version & 1]; version 0: nothing was read yet */
    _Atomic uint32_t version;
    struct tls_ticket_keys tickets;
    struct tls_files copies[2];
};

/* Reads and checks what c names. running: the settings in force, and now what is in use with them;
 * where they name the same files, the old texts stand in for what cannot be used, with a line in
 * kept. NULL: none are. -1: said in errors why not. */
int tls_files_read(const struct config *c, const struct config *running,
                   const struct tls_files *now, struct tls_files *out, struct buf *kept,
                   struct buf *errors) MUST_CHECK;
/* Are they the same texts for the same listeners? */
bool tls_files_equal(const struct tls_files *a, const struct tls_files *b);
/* For --check: reads, checks, forgets. */
int tls_files_check(const struct config *c, struct buf *errors) MUST_CHECK;

/* Master: makes what was read into the copy that is not in use the one in use. */
struct tls_files *tls_files_unused(struct tls_area *area);
const struct tls_files *tls_files_used(const struct tls_area *area);
void tls_files_publish(struct tls_area *area);

/* Worker: contexts for all listeners, if the version is another than the last one taken. -1: the
 * old ones stay (logged). */
int tls_files_take(const struct tls_area *area) MUST_CHECK;

/* Master, often: warns once each when a certificate has 21, 7, 1 days left, has expired, and when a
 * staple is out of date. now: seconds since 1970. */
void tls_files_watch(const struct config *c, const struct tls_files *f, int64_t now);
/* The i-th entry of a list of files, "" behind the last one; into out (LISTENER_FILES_MAX bytes). */
const char *tls_files_name(const char *list, size_t i, char *out);

#endif
