/* codec/tls13_internal.h - what tls13_*.c share. */
#ifndef ROOST_CODEC_TLS13_INTERNAL_H
#define ROOST_CODEC_TLS13_INTERNAL_H

#include "codec/tls13.h"

/* tls13_keys.c */
/* The suite of that number, or -1. */
int tls13_suite_find(unsigned cipher) MUST_CHECK;
size_t tls13_hash_size(const struct tls13 *t) MUST_CHECK;
/* Key and iv of d's secret, and its records are counted from 0 again (RFC 8446 §7.3). -1: no memory.
 */
int tls13_keys_make(const struct tls13 *t, struct tls13_direction *d) MUST_CHECK;
/* The same with the secret that follows d's (§7.2). */
int tls13_keys_update(const struct tls13 *t, struct tls13_direction *d) MUST_CHECK;
/* Seals n bytes and the type behind them with d's next number; the tag follows. -1: no memory. */
int tls13_aead_seal(const struct tls13 *t, struct tls13_direction *d, const uint8_t *head,
                    const uint8_t *in, size_t n, uint8_t type, uint8_t *out) MUST_CHECK;
/* Opens n bytes, behind which the tag stands. -1: they are not authentic. */
int tls13_aead_open(const struct tls13 *t, struct tls13_direction *d, const uint8_t *head,
                    const uint8_t *in, size_t n, uint8_t *out) MUST_CHECK;
/* The shared contexts keep nothing of d. */
void tls13_aead_forget(const struct tls13_direction *d);

#endif
