/* proto/control.c - the order, then each member in the table's order: its length and bytes, or its
 * eight bytes. */
#include "proto/control.h"

static int write_text(struct buf *out, struct str s)
{
    uint32_t n = (uint32_t)s.n;

    if (s.n > UINT32_MAX || buf_append(out, (struct str){(const char *)&n, sizeof(n)}) == -1)
        return -1;
    return buf_append(out, s);
}

static int write_number(struct buf *out, int64_t v)
{
    return buf_append(out, (struct str){(const char *)&v, sizeof(v)});
}

static int read_bytes(struct str *data, void *to, size_t n)
{
    if (data->n < n)
        return -1;
    memcpy(to, data->p, n);
    *data = str_skip(*data, n);
    return 0;
}

static int read_text(struct str *data, struct str *out)
{
    uint32_t n;

    if (read_bytes(data, &n, sizeof(n)) == -1 || data->n < n)
        return -1;
    *out = (struct str){data->p, n};
    *data = str_skip(*data, n);
    return 0;
}

static int read_number(struct str *data, int64_t *out)
{
    return read_bytes(data, out, sizeof(*out));
}

#define CONTROL_TEXT(what, at, name)   what##_text(at, name)
#define CONTROL_NUMBER(what, at, name) what##_number(at, name)

int control_write(const struct control *c, struct buf *out)
{
    size_t before = out->len;

    if (buf_append_char(out, (char)c->order) == -1
#define MEMBER(name, KIND) || CONTROL_##KIND(write, out, c->name) == -1
#include "tbl/control.def"
    ) {
        out->len = before;
        return -1;
    }
    return 0;
}

int control_read(struct str data, struct control *out)
{
    uint8_t order;

    memset(out, 0, sizeof(*out));
    if (read_bytes(&data, &order, 1) == -1 || order >= CONTROL_ORDER_NR
#define MEMBER(name, KIND) || CONTROL_##KIND(read, &data, &out->name) == -1
#include "tbl/control.def"
    )
        return -1;
    out->order = (enum control_order)order;
    return data.n == 0 ? 0 : -1;
}
