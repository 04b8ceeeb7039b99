/* net/tls_records.c - the transport whose TLS 1.3 records are our own.
 *
 * Reading: what one read brings is opened from a scratch of the process to where the caller wants it. A
 * record that is not complete is kept, accounted as other incomplete input is (net/partial.h), and so
 * is what the caller has no room for; so an idle connection holds nothing.
 *
 * Writing: records are sealed from where the bytes stand into a scratch of the process, and sent with
 * one call. What the socket does not take is kept sealed. To be asked again when it does, the last byte
 * that is in it is not reported as taken: whoever offers it again gets the rest sent first.
 *
 * A fault of the peer's is told to it by an alert, then nothing is said or believed any more. */
#include "codec/tls13.h"

#include "base/metrics.h"
#include "net/reactor.h"
#include "net_internal.h"
#include "tcp.h"
#include "tls_records_internal.h"

/* Of one call: records, and all the KeyUpdates that can be due before one. */
#define SEALED_MAX (TLS13_PLAIN_MAX + 32 * TLS13_OVERHEAD + 257 * (TLS13_OVERHEAD + 5))

struct rest { /* sealed, and not taken by the socket */
    size_t from, to;
    uint8_t bytes[];
};

struct records {
    struct tls_shared shared;
    struct tls13 *keys;    /* owned */
    struct tls_kept *kept; /* owned; NULL: nothing is */
    struct rest *rest;     /* owned; NULL: there is none */
    uint32_t sent_tick;    /* tls_burst_begin() */
    uint16_t burst;
    uint8_t end;  /* enum tls_end of what is to be read; broken, faulty: of both directions */
    bool offered; /* a byte that is in rest is to be offered again */
};
_Static_assert(sizeof(struct records) <= TRANSPORT_STATE_SIZE, "TRANSPORT_STATE_SIZE");

/* Used up before a call returns. */
static uint8_t raw[TLS13_RECORD_MAX + SCRATCH_SIZE];
static uint8_t sealed[SEALED_MAX];

static const struct transport_ops records_transport;

static void part_init(void *part)
{
    pool_init_secret(&((struct tls_records_part *)part)->secrets, "tls_secrets",
                     sizeof(struct tls13));
}

static void part_fini(void *part)
{
    pool_fini(&((struct tls_records_part *)part)->secrets);
}

struct tls_records_part *tls_records_part(void)
{
    static struct reactor_part part = {
        .size = sizeof(struct tls_records_part), .init = part_init, .fini = part_fini};

    return reactor_part(&part);
}

static struct records *records_of(const struct conn *c)
{
    return transport_state(c);
}

void tls_records_begin(struct conn *c, const struct tls_shared *shared, struct tls13 *keys)
{
    struct records *r = records_of(c);

    *r = (struct records){.shared = *shared, .keys = keys};
    r->shared.transport.ops = &records_transport;
}

/* ---- reading ---- */

/* 1: it has gone, 0: later, < 0: as send() answers. */
static ssize_t send_rest(struct conn *c, struct records *r)
{
    ssize_t n = tcp_send(c, (char *)r->rest->bytes + r->rest->from, r->rest->to - r->rest->from);

    if (n <= 0)
        return n;
    r->rest->from += (size_t)n;
    if (r->rest->from < r->rest->to)
        return 0;
    free(r->rest);
    r->rest = NULL;
    return 1;
}

static int keep_rest(struct records *r, const uint8_t *p, size_t n)
{
    r->rest = malloc(sizeof(*r->rest) + n);
    if (r->rest == NULL) {
        r->end = TLS_END_BROKEN;
        return -1;
    }
    *r->rest = (struct rest){.to = n};
    memcpy(r->rest->bytes, p, n);
    return 0;
}

/* The peer has made a fault. */
static void tell_fault(struct conn *c, struct records *r, enum tls13_alert alert)
{
    size_t n = tls13_seal_alert(r->keys, alert, sealed);

    r->end = TLS_END_FAULT;
    METRIC_INC(tls_alerts_sent);
    if (n > 0 && (r->rest == NULL || send_rest(c, r) == 1))
        (void)tcp_send(c, (char *)sealed, n);
}

struct taken { /* of the caller's room */
    char *p;
    size_t max, n;
};

/* n bytes at data, which are in their place if there was room. */
static int take_data(struct records *r, struct taken *t, const uint8_t *data, size_t n)
{
    size_t fit = MIN(n, t->max - t->n);

    if ((const char *)data != t->p + t->n)
        memcpy(t->p + t->n, data, fit);
    t->n += fit;
    if (fit == n)
        return 0;
    return tls_kept_make(&r->kept) == NULL
               ? -1
               : buf_append(&r->kept->opened, (struct str){(const char *)data + fit, n - fit});
}

static int open_record(struct conn *c, struct records *r, uint8_t *record, size_t size,
                       struct taken *t)
{
    bool fits = size - TLS13_HEADER - TLS13_TAG <= t->max - t->n;
    uint8_t *out = fits ? (uint8_t *)t->p + t->n : record + TLS13_HEADER;
    struct tls13_opened opened;

    switch (tls13_open(r->keys, record, size, out, &opened)) {
    case TLS13_EVENT_DATA:
        return take_data(r, t, out, opened.n);
    case TLS13_EVENT_QUIET:
        break;
    case TLS13_EVENT_CLOSED:
        r->end = TLS_END_NOTIFIED;
        break;
    case TLS13_EVENT_ALERT:
        r->end = TLS_END_BROKEN;
        METRIC_INC(tls_alerts_received);
        break;
    case TLS13_EVENT_FATAL:
        tell_fault(c, r, opened.alert);
        break;
    }
    return 0;
}

/* The first `len` bytes of raw. */
static int open_records(struct conn *c, struct records *r, size_t len, struct taken *t)
{
    size_t at = 0;
    ssize_t size = 0;
    enum tls13_alert alert;

    while (r->end == TLS_END_NONE) {
        size = tls13_record_size(raw + at, len - at, &alert);
        if (size == -1)
            tell_fault(c, r, alert);
        if (size <= 0 || (size_t)size > len - at)
            break;
        if (open_record(c, r, raw + at, (size_t)size, t) == -1)
            return -1;
        at += (size_t)size;
    }
    if (r->end != TLS_END_NONE || at == len) /* behind an end nothing counts */
        return 0;
    if (tls_kept_make(&r->kept) == NULL)
        return -1;
    r->kept->size = (size_t)size;
    return buf_append(&r->kept->raw, (struct str){(char *)raw + at, len - at});
}

/* Answers as recv() does. */
static ssize_t read_records(struct conn *c, struct records *r, char *p, size_t max)
{
    struct taken t = {.p = p, .max = max};
    struct tls_kept *k = r->kept;
    size_t have = k == NULL ? 0 : k->raw.len;
    /* Who has yet to show that its records bring much may make no more work than one large one. */
    size_t most = c->flags & CONN_BULK ? SCRATCH_SIZE : TLS13_RECORD_MAX;
    ssize_t n = tcp_recv(c, (char *)raw + have, MIN(max, most));
    int rc;

    if (n <= 0) { /* an end that is not told before may be anybody's doing (RFC 8446 §6.1) */
        if (n < 0)
            r->end = TLS_END_BROKEN;
        return n == TRANSPORT_EOF ? TRANSPORT_BROKEN : n;
    }
    if (have > 0 && have + (size_t)n < k->size) {
        rc = buf_append(&k->raw, (struct str){(char *)raw + have, (size_t)n});
    } else {
        if (have > 0) {
            memcpy(raw, k->raw.p, have);
            buf_fini(&k->raw);
        }
        rc = open_records(c, r, have + (size_t)n, &t);
    }
    return rc == -1 ? TRANSPORT_NO_MEMORY : (ssize_t)t.n;
}

static ssize_t at_the_end(const struct records *r)
{
    switch ((enum tls_end)r->end) {
    case TLS_END_NONE:
        break;
    case TLS_END_NOTIFIED:
        return TRANSPORT_EOF;
    case TLS_END_BROKEN:
        return TRANSPORT_BROKEN;
    case TLS_END_FAULT:
        return TRANSPORT_FAULT;
    }
    return TRANSPORT_LATER;
}

/* Seals the KeyUpdates that are due. Returns their size, -1: no memory. */
static ssize_t seal_updates(struct records *r, uint8_t *out)
{
    size_t len = 0;

    while (tls13_update_due(r->keys)) {
        size_t n = tls13_seal_update(r->keys, out + len);

        if (n == 0)
            return -1; /* UNTESTED: OpenSSL's memory */
        len += n;
    }
    return (ssize_t)len;
}

/* Those that the peer has asked for (RFC 8446 §4.6.3: before the next data). Behind what the socket did
 * not take they wait for that. */
static void send_updates(struct conn *c, struct records *r)
{
    ssize_t len = seal_updates(r, sealed);
    ssize_t n = len == -1 ? TRANSPORT_NO_MEMORY : tcp_send(c, (char *)sealed, (size_t)len);

    if (n < 0)
        r->end = TLS_END_BROKEN;
    else if (n < len)
        (void)keep_rest(r, sealed + n, (size_t)(len - n));
}

static ssize_t records_recv(struct conn *c, char *p, size_t max)
{
    struct records *r = records_of(c);
    ssize_t n, end;

    /* What the peer still says is discarded; its end is what we wait for. */
    if (r->end == TLS_END_FAULT && conn_finished(c))
        return tcp_recv(c, p, max);
    if (r->rest != NULL && !r->offered && send_rest(c, r) < 0)
        r->end = TLS_END_BROKEN;
    n = (ssize_t)tls_kept_take(r->kept, p, max);
    if (n == 0 && r->end == TLS_END_NONE)
        n = read_records(c, r, p, max);
    if (r->end == TLS_END_NONE && tls13_update_due(r->keys) && r->rest == NULL)
        send_updates(c, r);
    end = tls_kept_settle(c, &r->kept);
    if (end != 0)
        return end;
    return n != 0 ? n : at_the_end(r);
}

static bool records_pending(const struct conn *c)
{
    const struct records *r = records_of(c);

    return (r->kept != NULL && r->kept->at < r->kept->opened.len) || r->end == TLS_END_NOTIFIED ||
           (r->end != TLS_END_NONE && !conn_finished(c));
}

/* ---- writing ---- */

struct offer { /* what is to be sent, and how much of it is sealed */
    const struct iovec *iov;
    size_t n, skip;
};

/* The next n bytes, which stand in one piece. */
static const uint8_t *next_piece(struct offer *o, size_t n)
{
    const uint8_t *p = (const uint8_t *)o->iov->iov_base + o->skip;

    o->skip += n;
    if (o->skip == o->iov->iov_len)
        o->iov++, o->n--, o->skip = 0;
    return p;
}

/* Seals the next record of at most max bytes, from where they stand if they do so in one piece.
 * Returns its size, 0: no memory; *took: how many bytes are in it. */
static size_t seal_next(struct records *r, struct offer *o, size_t max, uint8_t *out, size_t *took)
{
    size_t part = o->iov->iov_len - o->skip;
    const uint8_t *in = out + TLS13_HEADER;

    if (part >= max || o->n == 1) {
        *took = MIN(part, max);
        in = next_piece(o, *took);
    } else {
        for (*took = 0; *took < max && o->n > 0; *took += part) {
            part = MIN(o->iov->iov_len - o->skip, max - *took);
            memcpy(out + TLS13_HEADER + *took, next_piece(o, part), part);
        }
    }
    return tls13_seal(r->keys, TLS13_DATA, in, *took, out);
}

/* Seals what one call shall send. Returns its size, 0: no memory; *took: the bytes in it. */
static size_t seal_some(struct records *r, struct offer *o, size_t *took)
{
    size_t len = 0, n, one;

    *took = 0;
    while (o->n > 0 && *took < TLS13_PLAIN_MAX) {
        ssize_t updates = seal_updates(r, sealed + len);

        if (updates == -1)
            return 0; /* UNTESTED: OpenSSL's memory */
        len += (size_t)updates;
        n = seal_next(r, o, MIN(tls_burst_record(r->burst), TLS13_PLAIN_MAX - *took), sealed + len,
                      &one);
        if (n == 0)
            return 0; /* UNTESTED: OpenSSL's memory */
        len += n;
        *took += one;
        tls_burst_add(&r->burst, one);
    }
    return len;
}

static ssize_t records_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    struct records *r = records_of(c);
    struct offer o = {.iov = iov, .n = n};
    size_t total = 0;

    if (UNLIKELY(r->end > TLS_END_NOTIFIED))
        return TRANSPORT_BROKEN;
    if (UNLIKELY(r->rest != NULL)) {
        ssize_t rc = send_rest(c, r);

        if (rc != 1)
            return rc;
        total = r->offered;
        (void)next_piece(&o, total);
        r->offered = false;
    }
    tls_burst_begin(&r->burst, &r->sent_tick);
    while (o.n > 0) {
        size_t took, len = seal_some(r, &o, &took);
        ssize_t sent = len == 0 ? TRANSPORT_NO_MEMORY : tcp_send(c, (char *)sealed, len);

        if (UNLIKELY(sent < 0))
            return sent;
        total += took;
        if (UNLIKELY((size_t)sent < len)) {
            if (keep_rest(r, sealed + sent, len - (size_t)sent) == -1)
                return TRANSPORT_NO_MEMORY;
            r->offered = true;
            return (ssize_t)total - 1;
        }
    }
    return (ssize_t)total;
}

static ssize_t records_send(struct conn *c, const char *p, size_t n)
{
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};

    return records_sendv(c, &iov, 1);
}

/* ---- the end, and the rest ---- */

static int records_shut(struct conn *c, bool last)
{
    struct records *r = records_of(c);
    size_t n;

    if (r->end <= TLS_END_NOTIFIED && (r->rest == NULL || send_rest(c, r) == 1)) {
        n = tls13_seal_alert(r->keys, TLS13_CLOSE_NOTIFY, sealed);
        if (n > 0) /* the socket is full: then without it */
            (void)tcp_send(c, (char *)sealed, n);
    }
    return tcp_shut(c, last);
}

static void records_close(struct conn *c)
{
    struct records *r = records_of(c);

    tls13_fini(r->keys);
    pool_put(&tls_records_part()->secrets, r->keys);
    tls_kept_free(&r->kept);
    free(r->rest);
    free(r->shared.subject);
    tcp_close(c);
}

/* What of ours waits without anybody's offering a byte is sent when it is read. */
static void records_want(struct conn *c, int events)
{
    const struct records *r = records_of(c);

    if (r->rest != NULL && !r->offered && (events & TRANSPORT_READ))
        events |= TRANSPORT_WRITE;
    tcp_want(c, events);
}

static bool records_unread(const struct conn *c)
{
    return records_of(c)->rest != NULL || tcp_unread(c);
}

static const struct holder *records_holder(const struct conn *c)
{
    const struct tls_kept *k = records_of(c)->kept;

    return k == NULL ? NULL : &k->holder;
}

static void records_describe(const struct conn *c, char *out, size_t cap)
{
    snprintf(out, cap, "tls TLSv1.3 %s compact", tls13_suite_name(records_of(c)->keys));
}

static const struct transport_ops records_transport = {
    .tls = true,
    .ahead = 1, /* it is sealed already */
    .recv = records_recv,
    .send = records_send,
    .sendv = records_sendv,
    .shut = records_shut,
    .close = records_close,
    .linger = tcp_linger,
    .want = records_want,
    .pending = records_pending,
    .unread = records_unread,
    .holder = records_holder,
    .describe = records_describe,
};
