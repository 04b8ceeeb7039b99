/* hmac_token.c - see hmac_token.h; RFC 7515 §7.1, RFC 7518 §3.2. */
#include "hmac_token.h"

#include <openssl/hmac.h>

#include "codec/json.h"

/* RFC 7515 §2: the alphabet of URLs, without padding. */
static int put_base64url(struct buf *out, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (; s.n > 0; s = str_skip(s, MIN(s.n, (size_t)3))) {
        size_t n = MIN(s.n, (size_t)3);
        uint32_t v = 0;
        char text[4];

        for (size_t i = 0; i < 3; i++)
            v = v << 8 | (i < n ? (uint8_t)s.p[i] : 0);
        for (size_t i = 0; i < 4; i++)
            text[i] = digits[v >> (18 - 6 * i) & 63];
        if (buf_append(out, (struct str){text, n + 1}) == -1)
            return -1;
    }
    return 0;
}

static int put_claims(struct buf *out, struct str user, int64_t expires)
{
    struct buf claims = {0};
    int rc = buf_append_lit(&claims, "{\"sub\":");

    if (rc == 0)
        rc = json_append_string(&claims, user);
    if (rc == 0)
        rc = buf_printf(&claims, ",\"exp\":%lld}", (long long)expires);
    if (rc == 0)
        rc = put_base64url(out, buf_view(&claims));
    buf_fini(&claims);
    return rc;
}

int hmac_token(struct str key, struct str user, int64_t expires, struct buf *out)
{
    size_t start = out->len;
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = sizeof(mac);

    if (put_base64url(out, STR_LIT("{\"alg\":\"HS256\",\"typ\":\"JWT\"}")) == -1 ||
        buf_append_char(out, '.') == -1 || put_claims(out, user, expires) == -1 ||
        HMAC(EVP_sha256(), key.p, (int)key.n, (const uint8_t *)out->p + start, out->len - start,
             mac, &n) == NULL ||
        buf_append_char(out, '.') == -1)
        return -1;
    return put_base64url(out, (struct str){(const char *)mac, n});
}
