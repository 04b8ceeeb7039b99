/* core/tags.c - two lengths, then the two texts, for each pair. */
#include "core/tags.h"

int tags_add(struct buf *out, struct str name, struct str value)
{
    uint16_t len[2] = {(uint16_t)name.n, (uint16_t)value.n};

    if (name.n > UINT16_MAX || value.n > UINT16_MAX ||
        buf_reserve(out, sizeof(len) + name.n + value.n) == -1)
        return -1;
    memcpy(out->p + out->len, len, sizeof(len));
    out->len += sizeof(len);
    if (name.n > 0)
        memcpy(out->p + out->len, name.p, name.n);
    out->len += name.n;
    if (value.n > 0)
        memcpy(out->p + out->len, value.p, value.n);
    out->len += value.n;
    return 0;
}

bool tags_next(struct str *rest, struct str *name, struct str *value)
{
    uint16_t len[2];

    if (rest->n < sizeof(len))
        return false;
    memcpy(len, rest->p, sizeof(len)); /* once: the writer may change it */
    if ((size_t)len[0] + len[1] > rest->n - sizeof(len))
        return false;
    *name = (struct str){.p = rest->p + sizeof(len), .n = len[0]};
    *value = (struct str){.p = name->p + len[0], .n = len[1]};
    *rest = str_skip(*rest, sizeof(len) + len[0] + len[1]);
    return true;
}
