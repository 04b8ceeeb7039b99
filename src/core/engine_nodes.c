/* core/engine_nodes.c - who lives: heartbeats, and what is known of the others. */
#include "engine_nodes_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/utf8.h"
#include "core/engine_shards.h"

_Static_assert(sizeof(struct nodes_header) == 16, "no holes");

enum node_field {
#define TEXT(NAME, name, size) FIELD_OF_NODE_##NAME,
#define NUMBER(NAME, name)     FIELD_OF_NODE_##NAME,
#include "tbl/nodes.def"
    NODE_FIELD_NR
};
_Static_assert(NODE_FIELD_NR <= UINT8_MAX, "a field's number is one byte");

static struct engine_node *find(const struct engine_nodes *n, uint64_t id)
{
    for (unsigned i = 0; i < n->n; i++)
        if (n->nodes[i].id == id)
            return (struct engine_node *)(uintptr_t)&n->nodes[i];
    return NULL;
}

static struct nodes_dead *find_dead(const struct engine_nodes *n, uint64_t id)
{
    for (unsigned i = 0; i < NODES_DEAD_MAX; i++)
        if (n->dead[i].id == id)
            return (struct nodes_dead *)(uintptr_t)&n->dead[i];
    return NULL;
}

/* --- what is said --- */

int nodes_begin(struct engine_nodes *n, enum nodes_kind kind)
{
    const struct nodes_header h = {
        .protocol = ENGINE_NODES_PROTOCOL, .kind = (uint8_t)kind, .from = n->s.id};

    buf_clear(&n->out);
    return buf_append(&n->out, (struct str){.p = (const char *)&h, .n = sizeof(h)});
}

static int put_field(struct buf *out, enum node_field field, const void *value, size_t bytes)
{
    const char head[2] = {(char)field, (char)bytes};

    return buf_append(out, (struct str){.p = head, .n = sizeof(head)}) ||
                   buf_append(out, (struct str){.p = value, .n = bytes})
               ? -1
               : 0;
}

static void myself(const struct engine_nodes *n, struct engine_node *out)
{
    *out = (struct engine_node){0};
    if (n->s.self != NULL)
        n->s.self(n->s.arg, out);
    out->id = n->s.id;
    out->heard_ns = clock_ns();
    out->protocol = ENGINE_NODES_PROTOCOL;
    out->agreement = n->s.agreement;
}

static int put_fields(struct buf *out, const struct engine_node *me)
{
    int rc = 0;

#define TEXT(NAME, name, size)                                                                     \
    _Static_assert((size) <= UINT8_MAX, "a field's length is one byte");                           \
    rc |= put_field(out, FIELD_OF_NODE_##NAME, me->name, strnlen(me->name, (size)-1));
#define NUMBER(NAME, name) rc |= put_field(out, FIELD_OF_NODE_##NAME, &me->name, sizeof(me->name));
#include "tbl/nodes.def"
    return rc;
}

static void say_hearts_beat(struct engine_nodes *n)
{
    struct engine_node me;

    myself(n, &me);
    if (nodes_begin(n, n->hello ? NODES_HELLO : NODES_HEARTBEAT) == -1 ||
        put_fields(&n->out, &me) == -1)
        return; /* the next one will do */
    n->hello = false;
    n->ops->send(n->engine, 0, true, buf_view(&n->out));
}

int engine_nodes_say(struct engine_nodes *n, uint64_t to, struct str bytes)
{
    if (to != 0 && !engine_nodes_alive(n, to))
        return 0;
    if (nodes_begin(n, NODES_SAID) == -1 || buf_append(&n->out, bytes) == -1)
        return -1;
    n->ops->send(n->engine, to, false, buf_view(&n->out));
    return 0;
}

void engine_nodes_set_most(struct engine_nodes *n, uint64_t bytes)
{
    n->most = bytes;
}

size_t engine_nodes_most(const struct engine_nodes *n)
{
    if (n->most == 0)
        return SIZE_MAX;
    return n->most > sizeof(struct nodes_header) ? n->most - sizeof(struct nodes_header) : 0;
}

/* --- who comes and goes --- */

static bool disagrees(const struct engine_nodes *n, const struct engine_node *other)
{
    return other->agreement != n->s.agreement || other->protocol != ENGINE_NODES_PROTOCOL;
}

static void count_nodes(struct engine_nodes *n)
{
    unsigned mismatches = 0;

    for (unsigned i = 0; i < n->n; i++)
        mismatches += disagrees(n, &n->nodes[i]);
    METRIC_ADD(node_config_mismatch, (int64_t)mismatches - (int64_t)n->mismatches);
    n->mismatches = mismatches;
    n->version++;
}

static void tell(struct engine_nodes *n, uint64_t id, bool alive)
{
    METRIC_ADD(nodes, alive ? 1 : -1);
    if (n->engine->events->node != NULL)
        n->engine->events->node(n->engine->hub, id, alive);
    if (n->ops->changed != NULL)
        n->ops->changed(n->engine, id, alive);
}

/* for_good: it has said so itself. */
static void bury(struct engine_nodes *n, struct engine_node *dead, bool for_good, const char *how)
{
    uint64_t id = dead->id;

    LOG(LOG_INFO, "a node is gone", KV_S("name", dead->name), KV_S("uid", dead->uid),
        KV_S("how", how), KV_B("tidied_up_here", engine_nodes_lowest(n)));
    *dead = n->nodes[--n->n];
    n->dead[n->next_dead++ % NODES_DEAD_MAX] = (struct nodes_dead){.id = id, .for_good = for_good};
    count_nodes(n);
    nodes_wait_no_more(n, id);
    tell(n, id, false);
}

static void welcome(struct engine_nodes *n, const struct engine_node *other)
{
    LOG(LOG_INFO, "a node has come", KV_S("name", other->name), KV_S("uid", other->uid),
        KV_S("version", other->version));
    if (other->protocol != ENGINE_NODES_PROTOCOL)
        LOG(LOG_ERROR, "a node speaks another protocol: what it sends and keeps may not be read",
            KV_S("name", other->name), KV_S("version", other->version));
    else if (disagrees(n, other))
        LOG(LOG_ERROR,
            "a node has other settings than this one: channels are not where the other looks for "
            "them; engine, engine_prefix and the list of servers must be the same everywhere",
            KV_S("name", other->name));
}

/* Texts go into JSON and into metrics, whose readers refuse a page for one bad byte. */
static void make_printable(char *s)
{
    bool valid = utf8_valid(str_from(s));

    for (; *s != '\0'; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f || (!valid && (unsigned char)*s >= 0x80))
            *s = '?';
}

static void take_text(char *out, size_t size, struct str value)
{
    if (value.n >= size || memchr(value.p, '\0', value.n) != NULL)
        return;
    memcpy(out, value.p, value.n);
    make_printable(out);
}

static void take_number(uint64_t *out, struct str value)
{
    if (value.n == sizeof(*out))
        memcpy(out, value.p, sizeof(*out));
}

/* Unknown fields are another version's. */
static void take_field(struct engine_node *out, unsigned field, struct str value)
{
    switch (field) {
#define TEXT(NAME, name, size)                                                                     \
    case FIELD_OF_NODE_##NAME:                                                                     \
        take_text(out->name, (size), value);                                                       \
        break;
#define NUMBER(NAME, name)                                                                         \
    case FIELD_OF_NODE_##NAME:                                                                     \
        take_number(&out->name, value);                                                            \
        break;
#include "tbl/nodes.def"
    default:
        break;
    }
}

/* -1: malformed. */
static int take_fields(struct str rest, struct engine_node *out)
{
    while (rest.n >= 2) {
        size_t bytes = (unsigned char)rest.p[1];

        if (bytes > rest.n - 2)
            return -1;
        take_field(out, (unsigned char)rest.p[0], (struct str){.p = rest.p + 2, .n = bytes});
        rest = str_skip(rest, 2 + bytes);
    }
    return rest.n == 0 ? 0 : -1;
}

/* A place for it. NULL: there are too many. */
static struct engine_node *make_room(struct engine_nodes *n)
{
    if (n->n < ENGINE_NODES_MAX)
        return &n->nodes[n->n++];
    if (!n->full)
        LOG(LOG_ERROR, "there are more nodes than this one can know",
            KV_U("max", ENGINE_NODES_MAX));
    n->full = true;
    return NULL;
}

/* Those who ask hear the others within a tenth of the time that it would take. */
static void answer_hello(struct engine_nodes *n)
{
    uint64_t soon = clock_ns() + engine_chance(n->s.heartbeat_ns / 10);

    n->next_ns = MIN(n->next_ns, soon);
}

static void take_heartbeat(struct engine_nodes *n, uint64_t from, struct str fields)
{
    struct nodes_dead *dead = find_dead(n, from);
    struct engine_node *known = find(n, from), other = {.id = from, .heard_ns = clock_ns()};
    bool is_new = known == NULL;

    if (dead != NULL && dead->for_good)
        return; /* it came by another way than the goodbye, and later */
    if (take_fields(fields, &other) == -1) {
        METRIC_INC(engine_malformed);
        return;
    }
    if (is_new && (known = make_room(n)) == NULL)
        return;
    *known = other;
    count_nodes(n);
    if (!is_new)
        return;
    if (dead != NULL)
        *dead = (struct nodes_dead){0};
    welcome(n, &other);
    tell(n, from, true);
}

void engine_nodes_received(struct engine_nodes *n, struct str bytes)
{
    struct nodes_header h;
    struct engine_node *known;

    if (bytes.n < sizeof(h)) {
        METRIC_INC(engine_malformed);
        return;
    }
    memcpy(&h, bytes.p, sizeof(h));
    if (h.from == n->s.id)
        return;
    bytes = str_skip(bytes, sizeof(h));
    /* Heartbeats are understood whatever the version: that is how it becomes known. */
    if (h.from == 0 || (h.protocol != ENGINE_NODES_PROTOCOL && h.kind > NODES_BYE)) {
        METRIC_INC(engine_malformed);
        return;
    }
    engine_shards_heard_others();
    switch (h.kind) {
    case NODES_HELLO:
        answer_hello(n);
        /* FALLTHROUGH */
    case NODES_HEARTBEAT:
        take_heartbeat(n, h.from, bytes);
        break;
    case NODES_BYE:
        known = find(n, h.from);
        if (known != NULL)
            bury(n, known, true, "it has stopped");
        break;
    case NODES_TAKEN:
        nodes_taken(n, h.from, bytes);
        break;
    case NODES_SAID:
        if (n->engine->events->heard != NULL)
            n->engine->events->heard(n->engine->hub, h.from, bytes);
        break;
    default:
        METRIC_INC(engine_malformed);
    }
}

/* --- as time passes --- */

void engine_nodes_up(struct engine_nodes *n, bool up)
{
    if (!up) {
        n->up_since_ns = 0;
        return;
    }
    if (n->up_since_ns == 0) /* one more server is no reason to wait for the others anew */
        n->up_since_ns = clock_ns();
    n->hello = true;
    n->next_ns = 0;
}

/* When that one is dead unless it is heard again. Not before this node could have heard it. */
static uint64_t dead_ns(const struct engine_nodes *n, const struct engine_node *other)
{
    return MAX(other->heard_ns, n->up_since_ns) + n->s.ttl_ns;
}

uint64_t engine_nodes_tick(struct engine_nodes *n, uint64_t now_ns)
{
    uint64_t next = nodes_waits_tick(n, now_ns);

    if (n->up_since_ns == 0)
        return next;
    if (now_ns >= n->next_ns && !n->left) {
        n->next_ns = now_ns + n->s.heartbeat_ns * 4 / 5 +
                     engine_chance(n->s.heartbeat_ns * 2 / 5); /* ±20 % */
        say_hearts_beat(n);
    }
    if (!n->left)
        next = MIN(next, n->next_ns);
    for (unsigned i = n->n; i > 0; i--) { /* one that goes is replaced by one that was looked at */
        struct engine_node *other = &n->nodes[i - 1];

        if (now_ns >= dead_ns(n, other))
            bury(n, other, false, "it was not heard for node_ttl");
        else
            next = MIN(next, dead_ns(n, other));
    }
    return next;
}

/* --- life --- */

struct engine_nodes *engine_nodes_new(const struct engine_nodes_settings *settings,
                                      const struct engine_nodes_ops *ops, struct engine *e)
{
    struct engine_nodes *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->s = *settings;
    n->ops = ops;
    n->engine = e;
    list_init(&n->waits);
    METRIC_ADD(nodes, 1);
    return n;
}

void engine_nodes_leave(struct engine_nodes *n)
{
    n->left = true;
    if (nodes_begin(n, NODES_BYE) == 0)
        n->ops->send(n->engine, 0, true, buf_view(&n->out));
}

void engine_nodes_free(struct engine_nodes *n)
{
    if (n == NULL)
        return;
    METRIC_ADD(nodes, -1 - (int64_t)n->n);
    METRIC_ADD(node_config_mismatch, -(int64_t)n->mismatches);
    nodes_waits_fini(n);
    buf_fini(&n->out);
    free(n);
}

/* --- what is known --- */

bool engine_nodes_settled(const struct engine_nodes *n)
{
    return n->up_since_ns != 0 && clock_ns() >= n->up_since_ns + n->s.ttl_ns;
}

bool engine_nodes_alive(const struct engine_nodes *n, uint64_t id)
{
    if (id == n->s.id || find(n, id) != NULL)
        return true;
    return find_dead(n, id) == NULL && !engine_nodes_settled(n);
}

bool engine_nodes_lowest(const struct engine_nodes *n)
{
    for (unsigned i = 0; i < n->n; i++)
        if (n->nodes[i].id < n->s.id)
            return false;
    return engine_nodes_settled(n);
}

unsigned engine_nodes_count(const struct engine_nodes *n)
{
    return n->n + 1;
}

unsigned engine_nodes_list(const struct engine_nodes *n, struct engine_node *out, unsigned max)
{
    unsigned i = 0;

    if (max == 0)
        return 0;
    myself(n, out);
    for (; i < n->n && i + 1 < max; i++)
        out[i + 1] = n->nodes[i];
    return i + 1;
}

unsigned engine_nodes_ids(const struct engine_nodes *n, uint64_t *out, unsigned max)
{
    unsigned count = 0;

    if (!engine_nodes_settled(n) || max == 0)
        return 0;
    out[count++] = n->s.id;
    for (unsigned i = 0; i < n->n && count < max; i++)
        out[count++] = n->nodes[i].id;
    return count;
}

uint64_t engine_nodes_version(const struct engine_nodes *n)
{
    return n->version;
}
