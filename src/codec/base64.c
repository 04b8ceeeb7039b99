/* codec/base64.c - bytes from base64, and into it. */
#include "codec/base64.h"

#include <openssl/evp.h>

static int value_of(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* Characters without padding. The bits behind the last byte must be 0, so that bytes have one text
 * only. */
static int decode(struct str in, bool url, struct buf *out)
{
    size_t before = out->len;
    uint32_t bits = 0;
    unsigned have = 0;

    if (in.n % 4 == 1 || buf_reserve(out, in.n / 4 * 3 + 2) == -1)
        return -1;
    for (size_t i = 0; i < in.n; i++) {
        int v = value_of(in.p[i], url);

        if (v == -1) {
            out->len = before;
            return -1;
        }
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out->p[out->len++] = (char)(bits >> have & 0xff);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0) {
        out->len = before;
        return -1;
    }
    return 0;
}

int base64url_decode(struct str in, struct buf *out)
{
    return decode(in, true, out);
}

int base64_decode(struct str in, struct buf *out)
{
    if (in.n % 4 != 0)
        return -1;
    for (int i = 0; i < 2 && in.n > 0 && in.p[in.n - 1] == '='; i++)
        in.n--;
    return decode(in, false, out);
}

int base64_append(struct buf *out, struct str bytes)
{
    if (buf_reserve(out, (bytes.n + 2) / 3 * 4 + 1) == -1) /* the end is a NUL */
        return -1;
    if (bytes.n > 0)
        out->len += (size_t)EVP_EncodeBlock((unsigned char *)out->p + out->len,
                                            (const unsigned char *)bytes.p, (int)bytes.n);
    return 0;
}
