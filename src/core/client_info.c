/* core/client_info.c - who a client is: four lengths, four texts. */
#include "core/client_info.h"

#include "core/record.h"

struct lengths { /* in front of the texts; no alignment */
    uint16_t user, client, conn_info, chan_info;
};

#define ROOM (RECORD_FIELDS_MAX - RECORD_FIELD_OVERHEAD - sizeof(struct lengths))

static size_t length(const struct client_info *i)
{
    return i->user.n + i->client.n + i->conn_info.n + i->chan_info.n;
}

bool client_info_fits(const struct client_info *i)
{
    return i->user.n <= ROOM && i->client.n <= CLIENT_INFO_ID_MAX && i->conn_info.n <= ROOM &&
           i->chan_info.n <= ROOM && length(i) <= ROOM;
}

int client_info_write(struct buf *out, const struct client_info *info)
{
    struct lengths n = {
        .user = (uint16_t)info->user.n,
        .client = (uint16_t)info->client.n,
        .conn_info = (uint16_t)info->conn_info.n,
        .chan_info = (uint16_t)info->chan_info.n,
    };

    if (!client_info_fits(info) || buf_reserve(out, sizeof(n) + length(info)) == -1)
        return -1;
    memcpy(out->p + out->len, &n, sizeof(n));
    out->len += sizeof(n);
    /* There is room: none of these can fail. */
    return buf_append(out, info->user) == -1 || buf_append(out, info->client) == -1 ||
                   buf_append(out, info->conn_info) == -1 || buf_append(out, info->chan_info) == -1
               ? -1
               : 0;
}

static struct str take(struct str *rest, size_t n)
{
    struct str s = {.p = rest->p, .n = n};

    *rest = str_skip(*rest, n);
    return s;
}

int client_info_next(struct str *rest, struct client_info *out)
{
    struct lengths n;

    if (rest->n == 0)
        return 0;
    if (rest->n < sizeof(n))
        return -1;
    memcpy(&n, rest->p, sizeof(n)); /* once: the writer may change it between a check and a use */
    if ((size_t)n.user + n.client + n.conn_info + n.chan_info > rest->n - sizeof(n) ||
        n.client > CLIENT_INFO_ID_MAX)
        return -1;
    *rest = str_skip(*rest, sizeof(n));
    out->user = take(rest, n.user);
    out->client = take(rest, n.client);
    out->conn_info = take(rest, n.conn_info);
    out->chan_info = take(rest, n.chan_info);
    return 1;
}

int client_info_read(struct str s, struct client_info *out)
{
    return client_info_next(&s, out) > 0 && s.n == 0 ? 0 : -1;
}
