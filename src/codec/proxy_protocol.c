#include "codec/proxy_protocol.h"

#include "base/ip.h"
#include "base/network.h"

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_HEAD      16 /* signature, version and command, family, length */
#define V2_UNIX      216

enum { V2_LOCAL = 0, V2_PROXY = 1 };
enum {
    V2_UNSPEC = 0x00,
    V2_TCP4 = 0x11, /* family, then SOCK_STREAM */
    V2_TCP6 = 0x21,
    V2_UNIX_STREAM = 0x31
};
enum {
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22
};
#define TLV_HEAD      3
#define SSL_HEAD      5    /* a byte of flags, a number that is 0 when the certificate is good */
#define SSL_BY_CLIENT 0x01 /* flags: the client has connected by TLS, */
#define SSL_CERT      0x06 /* and shown a certificate, on this connection or in its session */

static int refuse(enum close_reason *why, enum close_reason reason)
{
    *why = reason;
    return -1;
}

/* ---- version 1: a line of text ---- */

static int v1_port(struct str s, uint16_t *port)
{
    uint64_t v;

    if (s.n > 5 || (s.n > 1 && s.p[0] == '0') || str_to_u64(s, &v) == -1 || v > UINT16_MAX)
        return -1;
    *port = (uint16_t)v;
    return 0;
}

/* "TCP4 192.0.2.1 192.0.2.2 50000 443", without the line's end. */
static int v1_addresses(struct str line, struct proxy_header *out)
{
    struct str family, source, target, source_port, target_port;
    uint8_t target_address[16];
    uint16_t port;
    bool v6;

    if (!str_cut(&line, ' ', &family) || !str_cut(&line, ' ', &source) ||
        !str_cut(&line, ' ', &target) || !str_cut(&line, ' ', &source_port) ||
        !str_cut(&line, ' ', &target_port) || line.p != NULL)
        return -1;
    v6 = str_equal(family, STR_LIT("TCP6"));
    if ((!v6 && !str_equal(family, STR_LIT("TCP4"))) || v6 != (str_find(source, ':') < source.n) ||
        v6 != (str_find(target, ':') < target.n))
        return -1;
    if (ip_parse(source, out->source) == -1 || ip_parse(target, target_address) == -1 ||
        v1_port(source_port, &out->source_port) == -1 || v1_port(target_port, &port) == -1)
        return -1;
    out->addressed = true;
    return 0;
}

static int v1_parse(struct str *in, struct proxy_header *out, enum close_reason *why)
{
    struct str seen = {in->p, MIN(in->n, (size_t)PROXY_V1_MAX)};
    struct str line = {seen.p, str_find(seen, '\n')};
    size_t end = line.n + 1;

    if (line.n == seen.n)
        return seen.n == PROXY_V1_MAX ? refuse(why, CLOSE_PROXY_HEADER) : 0;
    if (line.p[line.n - 1] != '\r') /* "PROXY " stands before it */
        return refuse(why, CLOSE_PROXY_HEADER);
    line.n--;
    line = str_skip(line, sizeof("PROXY ") - 1);
    out->version = 1;
    /* Whatever stands behind UNKNOWN is to be ignored. */
    if (!str_equal(line, STR_LIT("UNKNOWN")) && !str_starts_with(line, STR_LIT("UNKNOWN ")) &&
        v1_addresses(line, out) == -1)
        return refuse(why, CLOSE_PROXY_HEADER);
    *in = str_skip(*in, end);
    return 1;
}

/* ---- version 2: binary ---- */

static uint32_t crc32c(uint32_t crc, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        crc ^= (uint8_t)s.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return crc;
}

static unsigned get16(const char *p)
{
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

static uint32_t get32(const char *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Over the whole header, with zeros in the checksum's own place. */
static bool checksum_good(struct str header, struct str value)
{
    size_t at = (size_t)(value.p - header.p);
    uint32_t crc = UINT32_MAX;

    if (value.n != sizeof(crc))
        return false;
    crc = crc32c(crc, (struct str){header.p, at});
    crc = crc32c(crc, (struct str){"\0\0\0\0", sizeof(crc)});
    crc = crc32c(crc, str_skip(header, at + sizeof(crc)));
    return ~crc == get32(value.p);
}

/* One TLV at the front of *rest; there are bytes. */
static int tlv_next(struct str *rest, unsigned *type, struct str *value)
{
    size_t n;

    if (rest->n < TLV_HEAD)
        return -1;
    *type = (uint8_t)rest->p[0];
    n = get16(rest->p + 1);
    *rest = str_skip(*rest, TLV_HEAD);
    if (rest->n < n)
        return -1;
    *value = (struct str){rest->p, n};
    *rest = str_skip(*rest, n);
    return 0;
}

/* How the client speaks TLS with the proxy. */
static int read_ssl(struct str in, struct proxy_header *out)
{
    struct str version = STR_LIT("TLS"), subject = STR_NULL, value;
    unsigned flags, type;

    if (in.n < SSL_HEAD)
        return -1;
    flags = (uint8_t)in.p[0];
    out->tls_verified = (flags & SSL_CERT) != 0 && get32(in.p + 1) == 0;
    in = str_skip(in, SSL_HEAD);
    while (in.n > 0) {
        if (tlv_next(&in, &type, &value) == -1)
            return -1;
        if (type == TLV_SSL_VERSION)
            version = value;
        else if (type == TLV_SSL_CN)
            subject = value;
    }
    if ((flags & SSL_BY_CLIENT) != 0) {
        out->tls_version = version;
        out->tls_subject = subject;
    }
    return 0;
}

static int read_tlvs(struct str header, struct str rest, struct proxy_header *out)
{
    struct str value;
    unsigned type;

    while (rest.n > 0) {
        if (tlv_next(&rest, &type, &value) == -1)
            return -1;
        if (type == TLV_AUTHORITY)
            out->authority = value;
        else if (type == TLV_CRC32C && !checksum_good(header, value))
            return -1;
        else if (type == TLV_SSL && read_ssl(value, out) == -1)
            return -1;
    }
    return 0;
}

/* Bytes of a family's two addresses. -1: no such family on a stream. */
static int addresses_size(unsigned family)
{
    switch (family) {
    case V2_UNSPEC:
        return 0;
    case V2_TCP4:
        return 2 * (4 + 2);
    case V2_TCP6:
        return 2 * (16 + 2);
    case V2_UNIX_STREAM:
        return V2_UNIX;
    }
    return -1;
}

static void read_source(unsigned family, const char *p, struct proxy_header *out)
{
    if (family == V2_TCP4) {
        ip_from_v4(p, out->source);
        out->source_port = (uint16_t)get16(p + 8);
        out->addressed = true;
    } else if (family == V2_TCP6) {
        memcpy(out->source, p, 16);
        out->source_port = (uint16_t)get16(p + 32);
        out->addressed = true;
    }
}

/* Judges each byte of the head as soon as it is there. >0: the head is good, *size that of the whole
 * header. */
static int v2_head(struct str in, struct proxy_header *out, size_t *size)
{
    unsigned length;
    int addresses = 0;

    if (in.n > 12) {
        unsigned command = (uint8_t)in.p[12] & 15;

        if ((uint8_t)in.p[12] >> 4 != 2 || command > V2_PROXY)
            return -1;
        out->local = command == V2_LOCAL;
    }
    if (in.n > 13 && !out->local && (addresses = addresses_size((uint8_t)in.p[13])) == -1)
        return -1;
    if (in.n < V2_HEAD)
        return 0;
    length = get16(in.p + 14);
    if (length < (unsigned)addresses || length > PROXY_HEADER_MAX - V2_HEAD)
        return -1;
    *size = V2_HEAD + length;
    return 1;
}

static int v2_parse(struct str *in, struct proxy_header *out, enum close_reason *why)
{
    struct str header = *in;
    unsigned family;
    size_t size = 0;
    int rc = v2_head(*in, out, &size);

    if (rc < 0)
        return refuse(why, CLOSE_PROXY_HEADER);
    if (rc == 0 || in->n < size)
        return 0;
    header.n = size;
    out->version = 2;
    family = (uint8_t)header.p[13];
    if (!out->local && family != V2_UNSPEC) { /* else what follows means nothing */
        size_t addresses = (size_t)addresses_size(family);

        read_source(family, header.p + V2_HEAD, out);
        if (read_tlvs(header, str_skip(header, V2_HEAD + addresses), out) == -1)
            return refuse(why, CLOSE_PROXY_HEADER);
    }
    *in = str_skip(*in, size);
    return 1;
}

/* Does one begin with the other, as far as the shorter goes? */
static bool begins(struct str in, struct str signature)
{
    return in.n == 0 || memcmp(in.p, signature.p, MIN(in.n, signature.n)) == 0;
}

int proxy_header_parse(struct str *in, struct proxy_header *out, enum close_reason *why)
{
    const struct str v1 = STR_LIT("PROXY "), v2 = STR_LIT(V2_SIGNATURE);

    memset(out, 0, sizeof(*out));
    if (begins(*in, v1))
        return in->n <= v1.n ? 0 : v1_parse(in, out, why);
    if (begins(*in, v2))
        return in->n <= v2.n ? 0 : v2_parse(in, out, why);
    return refuse(why, CLOSE_PROXY_MISSING);
}
