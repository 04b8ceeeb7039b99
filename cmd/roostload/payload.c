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

void seen_add(struct seen *s, uint32_t sequence, struct load_metrics *m)
{
    uint32_t ahead = sequence - s->last, back = s->last - sequence - 1;

    if (s->last == SEQUENCE_ANY) {
        *s = (struct seen){.last = sequence};
    } else if (sequence > s->last) {
        m->gaps += ahead - 1;
        s->missing = ahead < 32 ? s->missing << ahead : 0;
        s->missing |= ahead > 32 ? UINT32_MAX : (uint32_t)((UINT64_C(1) << (ahead - 1)) - 1);
        s->last = sequence;
    } else if (sequence == s->last || (back < 32 && (s->missing >> back & 1) == 0)) {
        m->duplicates++;
    } else {
        m->reordered++;
        if (back < 32) {
            s->missing &= ~(UINT32_C(1) << back);
            m->gaps--;
        }
    }
}
