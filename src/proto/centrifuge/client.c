/* proto/centrifuge/client.c - clients: their memory, who they are, which are one user's. */
#include "client.h"
#include "base/config.h"
#include "base/metrics.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>

struct client_user { /* malloc'ed; while it has clients */
    struct htab_node node;
    struct list clients; /* struct client.by_user */
    uint32_t len;
    char name[];
};

struct users {
    struct htab table; /* struct client_user */
};

static void users_fini(void *part)
{
    htab_fini(&((struct users *)part)->table);
}

static struct reactor_part clients_part = REACTOR_POOL("centrifuge_client", struct client);
static struct reactor_part users_part = {.size = sizeof(struct users), .fini = users_fini};

static struct users *users(void)
{
    return reactor_part(&users_part);
}

/* A UUID of version 4 (RFC 9562 §5.4). */
static int make_id(uint8_t id[16])
{
    if (RAND_bytes(id, 16) != 1)
        return -1;
    id[6] = (uint8_t)(0x40 | (id[6] & 0x0f));
    id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
    return 0;
}

struct client *client_new(struct conn *c, enum cf_encoding e)
{
    struct client *cl = pool_get(reactor_pool(&clients_part));

    if (cl == NULL)
        return NULL;
    if (make_id(cl->id) == -1) {
        pool_put(reactor_pool(&clients_part), cl);
        return NULL;
    }
    list_init(&cl->subs);
    cl->conn = c;
    cl->encoding = (uint8_t)e;
    return cl;
}

void client_leave_count(struct client *cl)
{
    if (!cl->counted)
        return;
    cl->counted = false;
    broker_user_disconnect(reactor->broker, client_user(cl));
}

static void leave_user(struct client *cl)
{
    struct client_user *u = cl->user;

    if (u == NULL)
        return;
    cl->user = NULL;
    list_remove(&cl->by_user);
    if (!list_empty(&u->clients))
        return;
    htab_remove(&users()->table, &u->node);
    free(u);
}

void client_free(struct client **clp)
{
    struct client *cl = *clp;

    if (cl == NULL)
        return;
    *clp = NULL;
    while (!list_empty(&cl->subs))
        sub_free(cl, LIST_ENTRY(cl->subs.next, struct client_sub, link));
    client_work_free(cl);
    client_leave_count(cl);
    leave_user(cl);
    free(cl->info);
    pool_put(reactor_pool(&clients_part), cl);
}

static bool is_named(const struct htab_node *node, const void *key)
{
    const struct client_user *u = (const struct client_user *)(const void *)node;
    const struct str *name = key;

    return str_equal((struct str){u->name, u->len}, *name);
}

static struct client_user *user_find(struct str name)
{
    struct htab_node *node = htab_find(&users()->table, hash_str(name), is_named, &name);

    return node != NULL ? CONTAINER_OF(node, struct client_user, node) : NULL;
}

static struct client_user *user_get(struct str name)
{
    struct client_user *u = user_find(name);

    if (u != NULL || name.n > BROKER_USER_MAX)
        return u;
    u = malloc(sizeof(*u) + name.n);
    if (u == NULL)
        return NULL;
    *u = (struct client_user){.node = {.hash = hash_str(name)}, .len = (uint32_t)name.n};
    list_init(&u->clients);
    if (name.n > 0)
        memcpy(u->name, name.p, name.n);
    if (htab_insert(&users()->table, &u->node) == 0)
        return u;
    free(u);
    return NULL;
}

bool client_may_be(struct str user, struct str info)
{
    const struct client_info i = {
        .user = user, .client = {.p = NULL, .n = CLIENT_ID_TEXT}, .conn_info = info};

    return user.n <= BROKER_USER_MAX && client_info_fits(&i);
}

int client_identify(struct client *cl, struct str name, struct str info)
{
    struct client_text *text = NULL;
    struct client_user *u;

    if (info.n > 0) {
        text = malloc(sizeof(*text) + info.n);
        if (text == NULL)
            return -1;
        text->len = info.n;
        memcpy(text->p, info.p, info.n);
    }
    u = user_get(name);
    if (u == NULL) {
        free(text);
        return -1;
    }
    if (u != cl->user) {
        leave_user(cl);
        list_append(&u->clients, &cl->by_user);
        cl->user = u;
    }
    free(cl->info);
    cl->info = text;
    return 0;
}

struct str client_user(const struct client *cl)
{
    return cl->user != NULL ? (struct str){cl->user->name, cl->user->len} : STR_LIT("");
}

struct str client_conn_info(const struct client *cl)
{
    return cl->info != NULL ? (struct str){cl->info->p, cl->info->len} : STR_NULL;
}

void client_id_text(const struct client *cl, char out[CLIENT_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(cl->id); i++) {
        *out++ = digits[cl->id[i] >> 4];
        *out++ = digits[cl->id[i] & 15];
        if (i == 3 || i == 5 || i == 7 || i == 9)
            *out++ = '-';
    }
}

struct client *client_find(uint64_t conn_id)
{
    struct conn *c = conn_find(conn_id);

    return c != NULL && conn_ops(c)->kind == SESSION_CENTRIFUGE ? client_of(c) : NULL;
}

void client_each_of(struct str user, void (*visit)(struct client *cl, void *arg), void *arg)
{
    struct client_user *u = user_find(user);

    if (u == NULL)
        return;
    /* Who ends goes in the reaping step only. */
    for (struct list *n = u->clients.next; n != &u->clients; n = n->next)
        visit(LIST_ENTRY(n, struct client, by_user), arg);
}

/* The worker, the id of the connection, and what only this process can make of the client's. */
void client_session_text(const struct client *cl, char out[CLIENT_SESSION_TEXT + 1])
{
    const struct str id = {(const char *)cl->id, sizeof(cl->id)};

    (void)snprintf(out, CLIENT_SESSION_TEXT + 1, "%02x%016" PRIx64 "%016" PRIx64,
                   reactor->cfg.worker, cl->conn->id, hash_str(id));
}

/* Takes a number of n hexadecimal digits. -1: they are none. */
static int read_hex(struct str *text, size_t n, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";

    *out = 0;
    if (text->n < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *digit = memchr(digits, text->p[i], 16);

        if (digit == NULL)
            return -1;
        *out = *out << 4 | (uint64_t)(digit - digits);
    }
    *text = str_skip(*text, n);
    return 0;
}

int client_session_worker(struct str session, unsigned *worker)
{
    uint64_t index;

    if (session.n != CLIENT_SESSION_TEXT || read_hex(&session, 2, &index) == -1 ||
        index > UINT8_MAX)
        return -1;
    *worker = (unsigned)index;
    return 0;
}

struct client *client_of_session(struct str session)
{
    char text[CLIENT_SESSION_TEXT + 1];
    struct str rest = session;
    uint64_t worker, conn_id;
    struct client *cl;

    if (session.n != CLIENT_SESSION_TEXT || read_hex(&rest, 2, &worker) == -1 ||
        worker != reactor->cfg.worker || read_hex(&rest, 16, &conn_id) == -1)
        return NULL;
    cl = client_find(conn_id);
    if (cl == NULL)
        return NULL;
    client_session_text(cl, text);
    return str_equal(session, (struct str){text, CLIENT_SESSION_TEXT}) ? cl : NULL;
}

void client_end(struct client *cl, enum close_reason why)
{
    reply_flush(cl);
    session_end(cl->conn, why);
}

void client_end_as(struct client *cl, uint16_t code, struct str text)
{
    reply_flush(cl);
    session_end_as(cl->conn, CLOSE_CF_FORCED, code, text);
}

uint32_t client_tick_now(void)
{
    return (uint32_t)(clock_ns() / WHEEL_TICK_NS);
}

uint32_t client_tick_in(int64_t seconds)
{
    const int64_t most = INT64_C(5) * 365 * 86400; /* ticks wrap after 13 years */
    uint32_t tick;

    seconds = MIN(MAX(seconds, 0), most);
    tick = client_tick_now() + (uint32_t)((uint64_t)seconds * 1000000000 / WHEEL_TICK_NS);
    return tick == 0 ? 1 : tick;
}
