/* codec/proxy_protocol.h - the PROXY protocol, versions 1 and 2: who stands behind a proxy, said
 * before a connection's first own byte
 * (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt).
 *
 * Pure parsing: bytes in, views out. Strict: what a receiver must reject is refused, so is a
 * datagram protocol (this is a stream), a TLV that does not fill its place, a wrong CRC32c. */
#ifndef ROOST_CODEC_PROXY_PROTOCOL_H
#define ROOST_CODEC_PROXY_PROTOCOL_H

#include "base/close.h"
#include "base/str.h"

#define PROXY_V1_MAX     107  /* bytes of a line, CR LF included */
#define PROXY_HEADER_MAX 4096 /* of a header of version 2, TLVs included; longer ones are refused */

struct proxy_header { /* views borrowed from the input */
    uint8_t version;
    bool local;     /* the proxy speaks for itself (a health check) */
    bool addressed; /* it says who the client is: */
    uint8_t source[16];
    uint16_t source_port;
    /* Of version 2; p == NULL: not said. */
    struct str authority;   /* the name that the client asked for (SNI) */
    struct str tls_version; /* the client speaks TLS with the proxy */
    struct str tls_subject; /* the common name of the client's certificate, */
    bool tls_verified;      /* which the proxy has verified */
};

/* One header at the start of *in.
 *   >0  *out is valid, *in starts behind it
 *    0  incomplete: all of *in belongs to a header; *in untouched
 *   <0  refused; *why: PROXY_MISSING, it begins otherwise; PROXY_HEADER, malformed */
int proxy_header_parse(struct str *in, struct proxy_header *out, enum close_reason *why) MUST_CHECK;

#endif
