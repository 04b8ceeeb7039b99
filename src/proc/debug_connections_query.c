/* proc/debug_connections_query.c - see debug_connections.h. */
#include "debug_connections.h"
#include "debug_internal.h"
#include "net/reactor.h"
#include "net/session.h"
#include "proc/shm.h"

#define PAGE_DEFAULT 100

/* ---- does it match? ---- */

struct sought {
    struct str channel;
    bool found;
};

static void look_at_channel(struct str name, const struct sub *s UNUSED, void *arg)
{
    struct sought *sought = arg;

    sought->found |= str_equal(name, sought->channel);
}

static bool has_channel(struct conn *c, const char *channel)
{
    const struct session_ops *session = conn_ops(c)->session;
    struct sought sought = {.channel = str_from(channel)};

    if (session == NULL || session->channels == NULL)
        return false;
    session->channels(c, look_at_channel, &sought);
    return sought.found;
}

static bool has_user(struct conn *c, const char *user)
{
    const struct session_ops *session = conn_ops(c)->session;

    return session != NULL && session->user != NULL && str_equal(session->user(c), str_from(user));
}

static bool has_address(const struct conn *c, const struct conns_query *q)
{
    char text[CONN_ADDRESS_MAX];

    if (q->has_network)
        return network_has(&q->network, c->address);
    conn_format_address(c, text, sizeof(text));
    return str_starts_with(str_from(text[0] == '[' ? text + 1 : text), str_from(q->prefix));
}

bool conns_match(struct conn *c, const struct conns_query *q)
{
    return (q->state == CONN_STATE_NR || c->state == q->state) && conn_queued(c) >= q->min_queue &&
           (q->protocol[0] == '\0' || strcmp(conn_ops(c)->name, q->protocol) == 0) &&
           (q->listener[0] == '\0' || strcmp(listener_label(conn_listener(c)), q->listener) == 0) &&
           ((q->has_network == 0 && q->prefix[0] == '\0') || has_address(c, q)) &&
           (q->user[0] == '\0' || has_user(c, q->user)) &&
           (q->channel[0] == '\0' || has_channel(c, q->channel));
}

int64_t conns_rank(const struct conn *c, uint8_t sort)
{
    switch (sort) {
    case SORT_QUEUED:
        return (int64_t)conn_queued(c);
    case SORT_AGE:
        return (int64_t)(uint32_t)(reactor->tick - c->since);
    case SORT_IDLE:
        return (int64_t)(uint32_t)(reactor->tick - c->heard);
    case SORT_IN:
        return c->frames_in;
    case SORT_OUT:
        return c->frames_out;
    default:
        return -(int64_t)conn_fd(c);
    }
}

/* ---- the request ---- */

/* All of these: 1: there is a parameter; 0: not; -1: it is malformed. */

static const char *const sorts[SORT_NR] = {"", "queued", "age", "idle", "in", "out"};

static int read_word(struct http_exchange *x, const char *name, const char *const *words, size_t n,
                     uint8_t *out)
{
    char text[32];
    int rc = debug_param(x, name, text, sizeof(text));

    if (rc <= 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (words[i][0] == '\0' || strcmp(text, words[i]) != 0)
            continue;
        *out = (uint8_t)i;
        return 1;
    }
    return -1;
}

/* A network, or the beginning of an address as text. */
static int read_address(struct http_exchange *x, struct conns_query *q)
{
    char text[CONN_ADDRESS_MAX], err[128];
    int rc = debug_param(x, "address", text, sizeof(text));

    if (rc <= 0)
        return rc;
    q->has_network = network_parse(str_from(text), &q->network, err, sizeof(err)) == 0;
    if (q->has_network)
        return 1;
    if (strchr(text, '/') != NULL)
        return -1;
    memcpy(q->prefix, text, sizeof(text));
    return 1;
}

static int read_protocol(struct http_exchange *x, struct conns_query *q)
{
    static const char *const names[] = {
#define WS_SESSION(NAME, name, label) label,
#define SPOKEN(name, label)           label,
#include "tbl/protocols.def"
    };
    int rc = debug_param(x, "protocol", q->protocol, sizeof(q->protocol));

    if (rc <= 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(q->protocol, names[i]) == 0)
            return 1;
    return -1;
}

/* How many filters there are. -1: something is malformed. */
static int read_filters(struct http_exchange *x, struct conns_query *q)
{
    static const char *const states[] = {
#define X(name, label, gauge, deadline, takes, successors) label,
#include "tbl/states.def"
#undef X
    };
    int all[] = {
        read_word(x, "sort", sorts, ARRAY_LEN(sorts), &q->sort),
        read_word(x, "state", states, ARRAY_LEN(states), &q->state),
        read_address(x, q),
        read_protocol(x, q),
        debug_param(x, "listener", q->listener, sizeof(q->listener)),
        debug_param(x, "user", q->user, sizeof(q->user)),
        debug_param(x, "channel", q->channel, sizeof(q->channel)),
        debug_number(x, "min_queue", &q->min_queue),
    };
    int n = 0;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] == -1)
            return -1;
        n += all[i];
    }
    return n;
}

/* 1: which workers, INQUIRY_ALL or one; 0: nothing is said; -1: there is none such. */
static int read_worker(struct http_exchange *x, uint32_t *worker)
{
    char text[16];
    uint64_t n;
    int rc = debug_param(x, "worker", text, sizeof(text));

    *worker = INQUIRY_ALL;
    if (rc <= 0 || strcmp(text, "all") == 0)
        return rc;
    if (str_to_u64(str_from(text), &n) == -1 || n >= shm->workers)
        return -1;
    *worker = (uint32_t)n;
    return 1;
}

static int read_after(struct http_exchange *x, struct conns_query *q)
{
    char text[64];
    unsigned worker;
    uint64_t id;
    int rc = debug_param(x, "after", text, sizeof(text));

    if (rc <= 0)
        return rc;
    if (debug_id_parse(str_from(text), &worker, &id) == -1)
        return -1;
    q->continues = 1;
    q->after_worker = worker;
    q->after_place = (uint32_t)(id & ((UINT64_C(1) << CONN_ID_FD_BITS) - 1));
    return 1;
}

int conns_query_read(struct http_exchange *x, struct conns_query *q, uint32_t *worker)
{
    uint64_t limit = PAGE_DEFAULT;
    int filters, which, after;

    memset(q, 0, sizeof(*q)); /* its gaps, too: it travels */
    q->state = CONN_STATE_NR;
    filters = read_filters(x, q);
    which = read_worker(x, worker);
    after = read_after(x, q);
    if (filters == -1 || which == -1 || after == -1 || debug_number(x, "limit", &limit) == -1 ||
        (after > 0 && q->sort != SORT_NONE))
        return -1;
    q->limit = (uint32_t)MIN(limit, (uint64_t)CONNS_PAGE_MAX);
    return filters == 0 && which == 0;
}
