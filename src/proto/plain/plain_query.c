#include "plain_internal.h"

#include "base/config.h"
#include "base/hash.h"

/* So many names are compared one by one; more are found by their hash, or a request with thousands
 * of repeated names would take long. */
#define PLAIN_FEW 16

bool plain_name_next(struct str *rest, struct str *name)
{
    if (rest->n == 0)
        return false;
    name->n = (unsigned char)rest->p[0];
    name->p = rest->p + 1;
    *rest = str_skip(*rest, 1 + name->n);
    return true;
}

bool plain_name_in(struct str packed, struct str name)
{
    struct str one;

    while (plain_name_next(&packed, &one))
        if (str_equal(one, name))
            return true;
    return false;
}

/* The slot of name, or the free one that it would get. */
static uint32_t *plain_query_slot(struct plain_query *q, struct str name)
{
    size_t i = (size_t)hash_str(name) % PLAIN_INDEX_SLOTS;

    for (; q->index[i] != 0; i = (i + 1) % PLAIN_INDEX_SLOTS) {
        const char *at = q->names + q->index[i] - 1;

        if (str_equal((struct str){.p = at + 1, .n = (unsigned char)at[0]}, name))
            break;
    }
    return &q->index[i];
}

static bool plain_query_has(struct plain_query *q, struct str name)
{
    if (q->n <= PLAIN_FEW)
        return plain_name_in((struct str){.p = q->names, .n = q->bytes}, name);
    return *plain_query_slot(q, name) != 0;
}

/* The last of the names has just been added. */
static void plain_query_index(struct plain_query *q, size_t from)
{
    struct str rest, name;

    if (q->n <= PLAIN_FEW)
        return;
    if (q->n == PLAIN_FEW + 1) {
        memset(q->index, 0, sizeof(q->index));
        from = 0;
    }
    rest = (struct str){.p = q->names + from, .n = q->bytes - from};
    while (plain_name_next(&rest, &name))
        *plain_query_slot(q, name) = (uint32_t)(name.p - q->names);
}

static int plain_query_add_name(struct plain_query *q, struct str name, enum close_reason *why)
{
    *why = CLOSE_BAD_CHANNEL;
    if (!channel_name_valid(name))
        return -1;
    if (plain_query_has(q, name))
        return 0;
    *why = CLOSE_TOO_MANY_CHANNELS;
    if (q->n >= (unsigned)config.max_channels_per_connection || q->n == PLAIN_CHANNELS_MAX)
        return -1;
    q->names[q->bytes] = (char)(unsigned char)name.n;
    memcpy(q->names + q->bytes + 1, name.p, name.n);
    q->bytes += 1 + name.n;
    q->n++;
    plain_query_index(q, q->bytes - 1 - name.n);
    return 0;
}

/* The path names the channel: a second one would have to be read as something else. */
static int plain_query_channel(struct plain_query *q, struct str value, enum close_reason *why)
{
    char name[CHANNEL_NAME_MAX + 1];
    size_t n;

    *why = CLOSE_BAD_QUERY;
    if (!q->envelope)
        return -1;
    *why = CLOSE_BAD_CHANNEL;
    if (http_percent_decode(value, name, sizeof(name), &n) == -1)
        return -1;
    return plain_query_add_name(q, (struct str){.p = name, .n = n}, why);
}

static int plain_query_echo(struct plain_query *q, struct str value)
{
    if (!str_equal(value, STR_LIT("0")) && !str_equal(value, STR_LIT("1")))
        return -1;
    q->quiet = value.p[0] == '0';
    return 0;
}

static int plain_query_mode(struct plain_query *q, struct str value)
{
    if (str_equal(value, STR_LIT("sub")))
        q->mode = PLAIN_SUB;
    else if (str_equal(value, STR_LIT("pub")))
        q->mode = PLAIN_PUB;
    else
        return -1;
    return 0;
}

int plain_query_parse(struct str channel, struct str query, struct plain_query *out,
                      enum close_reason *why)
{
    struct str key, value;
    bool echo = false, mode = false; /* seen: a repeated one could be read either way */

    out->mode = PLAIN_BOTH;
    out->quiet = false;
    out->envelope = channel.p == NULL;
    out->n = 0;
    out->bytes = 0;
    if (!out->envelope && plain_query_add_name(out, channel, why) == -1)
        return -1;
    while (query.p != NULL && http_query_next(&query, &key, &value)) {
        bool bad = false;

        if (str_equal(key, STR_LIT("channel"))) {
            if (plain_query_channel(out, value, why) == -1)
                return -1;
        } else if (str_equal(key, STR_LIT("echo"))) {
            bad = echo || plain_query_echo(out, value) == -1;
            echo = true;
        } else if (str_equal(key, STR_LIT("mode"))) {
            bad = mode || plain_query_mode(out, value) == -1;
            mode = true;
        }
        *why = CLOSE_BAD_QUERY;
        if (bad)
            return -1;
    }
    *why = CLOSE_BAD_CHANNEL;
    return out->n == 0 ? -1 : 0;
}
