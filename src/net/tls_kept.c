/* net/tls_kept.c - what a connection has read and neither opened nor handed on. */
#include "net/partial.h"
#include "tls_records_internal.h"

void tls_kept_free(struct tls_kept **kp)
{
    struct tls_kept *k = *kp;

    if (k == NULL)
        return;
    budget_leave(&k->holder);
    buf_fini(&k->raw);
    buf_fini(&k->opened);
    free(k);
    *kp = NULL;
}

struct tls_kept *tls_kept_make(struct tls_kept **kp)
{
    if (*kp == NULL)
        *kp = calloc(1, sizeof(**kp));
    return *kp;
}

ssize_t tls_kept_settle(struct conn *c, struct tls_kept **kp)
{
    struct tls_kept *k = *kp;
    enum close_reason why;

    if (k == NULL)
        return 0;
    if (k->raw.len == 0 && k->at == k->opened.len) {
        tls_kept_free(kp);
        return 0;
    }
    why = partial_hold(c, &k->holder, k->raw.cap + k->opened.cap);
    if (why == CLOSE_NONE)
        return 0;
    conn_kill(c, why);
    return TRANSPORT_BROKEN;
}

size_t tls_kept_take(struct tls_kept *k, char *p, size_t max)
{
    size_t n = k == NULL ? 0 : MIN(max, k->opened.len - k->at);

    if (n == 0)
        return 0;
    memcpy(p, k->opened.p + k->at, n);
    k->at += n;
    if (k->at == k->opened.len) {
        buf_fini(&k->opened);
        k->at = 0;
    }
    return n;
}
