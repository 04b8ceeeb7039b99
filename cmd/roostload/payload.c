/* payload.c - see payload.h. */
#include "payload.h"

static char *put_hex(char *out, uint64_t v, int digits)
{
    static const char hex[] = "0123456789abcdef";

    for (int i = digits - 1; i >= 0; i--, v >>= 4)
        out[i] = hex[v & 15];
    return out + digits;
}

static int get_hex(const char **in, int digits, uint64_t *out)
{
    uint64_t v = 0;

    for (int i = 0; i < digits; i++) {
        char c = (*in)[i];

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return -1;
    }
    *in += digits;
    *out = v;
    return 0;
}

void payload_write(const struct payload *p, char *out, size_t size)
{
    char *end = out + size;

    *out++ = 'R';
    *out++ = 'L';
    out = put_hex(out, p->run, 8);
    out = put_hex(out, p->publisher, 8);
    out = put_hex(out, p->channel, 8);
    out = put_hex(out, p->sequence, 8);
    out = put_hex(out, p->intended_ns, 16);
    out = put_hex(out, p->sent_ns, 16);
    memset(out, '.', (size_t)(end - out));
}

void payload_fill(char *out, size_t n, uint32_t sequence)
{
    static const char *const words[] = {"market", "price", "order",  "status",
                                        "hello",  "there", "change", "update"};
    uint32_t random = sequence;
    char text[160];

    while (n > 0) {
        size_t len;

        random = random * 1664525 + 1013904223;
        len = (size_t)snprintf(text, sizeof(text), "{id:%u,kind:%s,value:%u.%02u,text:%s-%s},",
                               random >> 8, words[random >> 29], random >> 20, (random >> 10) % 100,
                               words[random >> 26 & 7], words[random >> 23 & 7]);
        len = MIN(len, n);
        memcpy(out, text, len);
        out += len;
        n -= len;
    }
}

bool payload_is_of(struct str s, uint32_t run)
{
    char head[10] = "RL";

    put_hex(head + 2, run, 8);
    return str_starts_with(s, (struct str){head, sizeof(head)});
}

int payload_read(struct str s, struct payload *out)
{
    const char *in = s.p + 2;
    uint64_t run, publisher, channel, sequence;

    if (s.n < PAYLOAD_MIN || s.p[0] != 'R' || s.p[1] != 'L')
        return -1;
    if (get_hex(&in, 8, &run) == -1 || get_hex(&in, 8, &publisher) == -1 ||
        get_hex(&in, 8, &channel) == -1 || get_hex(&in, 8, &sequence) == -1 ||
        get_hex(&in, 16, &out->intended_ns) == -1 || get_hex(&in, 16, &out->sent_ns) == -1)
        return -1;
    out->run = (uint32_t)run;
    out->publisher = (uint32_t)publisher;
    out->channel = (uint32_t)channel;
    out->sequence = (uint32_t)sequence;
    return 0;
}

/* Moves what is remembered back by n <= 32; `leaving` are the n bits that leave the recent ones. */
static void older_shift(struct seen_older *o, unsigned n, uint32_t leaving)
{
    size_t top = ARRAY_LEN(o->missing) - 1;

    o->beyond += (unsigned)__builtin_popcountll(o->missing[top] >> (64 - n));
    for (size_t i = top; i > 0; i--)
        o->missing[i] = o->missing[i] << n | o->missing[i - 1] >> (64 - n);
    o->missing[0] = o->missing[0] << n | leaving;
}

static int need_older(struct seen *s)
{
    if (s->older == NULL)
        s->older = calloc(1, sizeof(*s->older));
    return s->older != NULL ? 0 : -1;
}

/* n sequences more, none of which has come. */
static int seen_advance(struct seen *s, uint32_t n)
{
    const uint32_t most = SEEN_RECENT + SEEN_OLDER;

    s->last += n;
    if (n > most) { /* the first of them would only be pushed through */
        if (need_older(s) == -1)
            return -1;
        s->older->beyond += n - most;
        n = most;
    }
    while (n > 0) {
        unsigned step = MIN(n, (unsigned)SEEN_RECENT);
        uint32_t leaving = s->missing >> (SEEN_RECENT - step);

        if (leaving != 0 && need_older(s) == -1)
            return -1;
        if (s->older != NULL)
            older_shift(s->older, step, leaving);
        s->missing = (uint32_t)((uint64_t)s->missing << step | ((UINT64_C(1) << step) - 1));
        n -= step;
    }
    return 0;
}

int seen_expect(struct seen *s, uint32_t sequence, struct load_metrics *m)
{
    uint32_t ahead = sequence - s->last;

    if (s->last == SEQUENCE_ANY || sequence <= s->last)
        return 0;
    m->gaps += ahead;
    return seen_advance(s, ahead);
}

/* Was it missing? Then it is no more. */
static bool seen_fill(struct seen *s, uint32_t back)
{
    uint64_t bit;

    if (back < SEEN_RECENT) {
        bit = UINT64_C(1) << back;
        if ((s->missing & bit) == 0)
            return false;
        s->missing &= (uint32_t)~bit;
        return true;
    }
    back -= SEEN_RECENT;
    if (s->older == NULL)
        return false;
    if (back >= SEEN_OLDER) {
        if (s->older->beyond == 0)
            return false;
        s->older->beyond--;
        return true;
    }
    bit = UINT64_C(1) << (back % 64);
    if ((s->older->missing[back / 64] & bit) == 0)
        return false;
    s->older->missing[back / 64] &= ~bit;
    return true;
}

int seen_add(struct seen *s, uint32_t sequence, struct load_metrics *m)
{
    bool late = sequence <= s->last;

    if (s->last == SEQUENCE_ANY) {
        s->last = sequence;
        return 1;
    }
    if (!late && seen_expect(s, sequence, m) == -1)
        return -1;
    if (!seen_fill(s, s->last - sequence)) {
        m->duplicates++;
        return 0;
    }
    m->gaps--;
    m->reordered += late;
    return 1;
}

void seen_fini(struct seen *s)
{
    free(s->older);
    s->older = NULL;
}
