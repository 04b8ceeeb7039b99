/* base/trace.c - see trace.h. */
#include "base/trace.h"

#define COPY_TRIES 3 /* of a request that changes meanwhile: prolonged, as a rule */

struct filter { /* a request, as this process has heard it */
    struct trace_request request;
    unsigned deliveries; /* of a channel: that may still be told of */
};

static struct {
    struct trace_area *own;
    char *areas;
    size_t stride;
    unsigned n;
    uint16_t worker;
    struct filter filters[TRACE_FILTERS];
    unsigned nfilters;
} t;

uint64_t trace_look_at_ns = UINT64_MAX;
const uint8_t *(*trace_address)(uint64_t conn);

static const struct trace_row rows[] = {
#define X(name, text, a, b, c, d, help) {#name, #text, {#a, #b, #c, #d}, help},
#include "tbl/trace.def"
};

static union trace_gate *const gates[] = {
#define X(name, ...) &roost_##name##_semaphore,
#include "tbl/trace.def"
};

const struct trace_row *trace_row(enum trace_event e)
{
    return &rows[e];
}

/* --- requests --- */

static struct trace_area *area(unsigned i)
{
    return (struct trace_area *)(void *)(t.areas + i * t.stride);
}

static void set_gates(bool wanted)
{
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        gates[i]->wanted = wanted;
}

void trace_open(struct trace_area *own, struct trace_area *first, size_t stride, unsigned n,
                unsigned worker)
{
    t.own = own;
    t.areas = (char *)first;
    t.stride = stride;
    t.n = n;
    t.worker = (uint16_t)worker;
    t.nfilters = 0;
    set_gates(false);
    /* What the life before has asked for is nobody's now. */
    for (unsigned i = 0; own != NULL && i < TRACE_REQUESTS; i++)
        atomic_store(&own->places[i].until_ns, 0);
    trace_look_at_ns = own != NULL ? 0 : UINT64_MAX;
}

/* Whoever writes the place may be a process that was taken over. A place that changes meanwhile may have become
 * another request's, with a later end: what was copied might be of both. */
static bool copy_request(const struct trace_place *p, uint64_t now_ns, struct trace_request *out)
{
    for (unsigned tries = 0; tries < COPY_TRIES; tries++) {
        uint64_t until = atomic_load_explicit(&p->until_ns, memory_order_acquire);

        if (until == 0 || until < now_ns)
            return false;
        memcpy(out, &p->request, sizeof(*out));
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&p->until_ns) != until)
            continue;
        out->len = MIN(out->len, (uint8_t)TRACE_NAME_MAX);
        out->network.bits = MIN(out->network.bits, (uint8_t)128);
        return out->id != 0;
    }
    return false;
}

/* How many deliveries the filter of before had left. */
static unsigned left_of(const struct filter *old, unsigned n, uint32_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (old[i].request.id == id)
            return old[i].deliveries;
    return 0;
}

static bool heard(uint32_t id)
{
    for (unsigned i = 0; i < t.nfilters; i++)
        if (t.filters[i].request.id == id)
            return true;
    return false;
}

void trace_look_now(uint64_t now_ns)
{
    struct filter old[TRACE_FILTERS];
    unsigned before = t.nfilters;

    memcpy(old, t.filters, before * sizeof(old[0]));
    t.nfilters = 0;
    for (unsigned i = 0; i < t.n * TRACE_REQUESTS && t.nfilters < TRACE_FILTERS; i++) {
        struct filter *f = &t.filters[t.nfilters];

        if (!copy_request(&area(i / TRACE_REQUESTS)->places[i % TRACE_REQUESTS], now_ns,
                          &f->request) ||
            heard(f->request.id))
            continue;
        f->deliveries = left_of(old, before, f->request.id);
        t.nfilters++;
    }
    if ((before > 0) != (t.nfilters > 0))
        set_gates(t.nfilters > 0);
    trace_look_at_ns = now_ns + TRACE_LOOK_NS;
    atomic_store_explicit(&t.own->looked_ns, now_ns, memory_order_release);
}

/* As many others as a process hears of are asked for: a further one would be heard by nobody. */
static bool others_are_enough(uint32_t id, uint64_t now_ns)
{
    uint32_t ids[TRACE_FILTERS];
    struct trace_request r;
    unsigned n = 0, k;

    for (unsigned i = 0; i < t.n * TRACE_REQUESTS && n < TRACE_FILTERS; i++) {
        if (!copy_request(&area(i / TRACE_REQUESTS)->places[i % TRACE_REQUESTS], now_ns, &r) ||
            r.id == id)
            continue;
        for (k = 0; k < n && ids[k] != r.id; k++) {
        }
        if (k == n)
            ids[n++] = r.id;
    }
    return n == TRACE_FILTERS;
}

int trace_ask(const struct trace_request *r, uint64_t until_ns, uint64_t *began_ns)
{
    struct trace_place *free_place = NULL;
    uint64_t now = clock_precise_ns();

    for (unsigned i = 0; t.own != NULL && i < TRACE_REQUESTS; i++) {
        struct trace_place *p = &t.own->places[i];
        uint64_t until = atomic_load(&p->until_ns);

        if (until >= now && p->request.id == r->id) {
            *began_ns = p->began_ns;
            atomic_store_explicit(&p->until_ns, MAX(until, until_ns), memory_order_release);
            return 0;
        }
        if (until < now && free_place == NULL)
            free_place = p;
    }
    if (free_place == NULL || others_are_enough(r->id, now))
        return -1;
    atomic_store(&free_place->until_ns, 0);
    atomic_thread_fence(memory_order_release);
    free_place->request = *r;
    atomic_store(&free_place->until_ns, until_ns);
    /* Behind that: whoever looks later than this has seen it. */
    free_place->began_ns = *began_ns = clock_precise_ns();
    return 0;
}

/* --- records --- */

static bool is_channel(enum trace_event e)
{
    return str_equal(str_from(rows[e].text), STR_LIT("channel"));
}

/* A channel's fan-out may have as many deliveries as the ring has places: some are enough. */
static bool spare(struct filter *f, enum trace_event e)
{
    if (e == TRACE_fanout)
        f->deliveries = TRACE_DELIVERIES;
    if (e != TRACE_deliver)
        return false;
    return f->deliveries == 0 || f->deliveries-- == 0;
}

static bool matches(struct filter *f, enum trace_event e, unsigned worker, uint64_t conn,
                    struct str text)
{
    const struct trace_request *r = &f->request;
    const uint8_t *address;

    switch ((enum trace_of)r->of) {
    case TRACE_OF_CONN: /* asked for without a worker: of whichever has such a number */
        return conn != 0 && conn == r->conn && worker != TRACE_NOBODY &&
               (worker == r->worker || r->worker == TRACE_NOBODY);
    case TRACE_OF_CHANNEL:
        return is_channel(e) && str_equal(text, (struct str){r->channel, r->len}) && !spare(f, e);
    case TRACE_OF_NETWORK: /* the hub's connections are no clients */
        if (conn == 0 || worker != t.worker || worker == TRACE_NOBODY || trace_address == NULL)
            return false;
        address = trace_address(conn);
        return address != NULL && network_has(&r->network, address);
    }
    return false;
}

static void record(uint32_t request, enum trace_event e, unsigned worker, uint64_t conn,
                   struct str text, const uint64_t field[TRACE_FIELDS])
{
    uint64_t n = atomic_load_explicit(&t.own->written, memory_order_relaxed);
    struct trace_record *r = &t.own->records[n % TRACE_RECORDS];

    atomic_store_explicit(&r->number, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    r->time_ns = clock_precise_ns();
    r->conn = conn;
    memcpy(r->field, field, sizeof(r->field));
    r->request = request;
    r->worker = (uint16_t)worker;
    r->event = (uint8_t)e;
    r->len = (uint8_t)MIN(text.n, (size_t)TRACE_TEXT_MAX);
    if (r->len > 0)
        memcpy(r->text, text.p, r->len);
    atomic_store_explicit(&r->number, n + 1, memory_order_release);
    atomic_store_explicit(&t.own->written, n + 1, memory_order_release);
}

void trace_tell(enum trace_event e, unsigned worker, uint64_t conn, struct str text, uint64_t a,
                uint64_t b, uint64_t c, uint64_t d)
{
    const uint64_t field[TRACE_FIELDS] = {a, b, c, d};

    if (worker == TRACE_MINE)
        worker = t.worker;
    if (gates[e]->probes != 0)
        trace_probe(e, conn, text, field);
    for (unsigned i = 0; i < t.nfilters; i++)
        if (matches(&t.filters[i], e, worker, conn, text))
            record(t.filters[i].request.id, e, worker, conn, text, field);
}

bool trace_read(const struct trace_area *a, uint64_t number, struct trace_record *out)
{
    const struct trace_record *r = &a->records[(number - 1) % TRACE_RECORDS];

    if (atomic_load_explicit(&r->number, memory_order_acquire) != number)
        return false;
    memcpy(out, r, sizeof(*out));
    atomic_thread_fence(memory_order_acquire);
    out->len = MIN(out->len, (uint8_t)TRACE_TEXT_MAX);
    return atomic_load_explicit(&r->number, memory_order_relaxed) == number &&
           out->event < TRACE_EVENT_NR;
}

uint64_t trace_since(uint64_t ns)
{
    uint64_t now = clock_precise_ns();

    return ns != 0 && now > ns ? now - ns : 0;
}

uint64_t trace_conn_of(unsigned kind, uint64_t token)
{
    enum {
        NO_SESSION = 0,
#define SESSION(NAME, name, label) KIND_##NAME,
#include "tbl/protocols.def"
    };

    switch (kind) {
#define WS_SESSION(NAME, name, label) case KIND_##NAME:
#include "tbl/protocols.def"
        return token;
    default:
        return 0;
    }
}
