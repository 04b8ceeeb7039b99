/* proc/debug_trace.c - /debug/trace: what happens to one connection, one network's or one channel's (base/trace.h).
 *
 * 1. The first GET asks: its request stands in this worker's area for TRACE_KEEP_NS · 2. every process hears of it
 * ("armed") and writes what it sees · 3. a GET with the trace's id and `after`, from any worker, goes on asking and
 * answers what all of them have written since. Nothing waits here: whoever reads comes again as often as he likes.
 * Can fail: too many requests (503); a process that does not move hears nothing and is named in "missing"; what was
 * overwritten before it was read is counted in "lost". */
#include <time.h>

#include "base/trace.h"
#include "codec/json.h"
#include "core/engine.h"
#include "core/epoch.h"
#include "debug_internal.h"
#include "proc/debug.h"
#include "proc/shm.h"
#include "proto/http.h"

#define TRACE_KEEP_NS (5 * NS_PER_SEC) /* without anybody who reads */
/* A process that has heard nothing for so long does not move. One that sleeps wakes twice a second. */
#define TRACE_ARM_NS (2 * NS_PER_SEC)
/* How old an event has to be, so that what other processes wrote at the same time comes in its order. */
#define TRACE_SETTLE_NS (20 * NS_PER_MS)
#define TRACE_PAGE      500 /* events of one answer, unless fewer are asked for */
#define TRACE_PAGE_MAX  2000
#define TRACE_SCAN_MAX  32768 /* records looked at for one answer: some milliseconds */
#define TRACE_RINGS_MAX (1 + HUB_WORKERS_MAX)

struct ring_reader { /* of one process */
    const struct trace_area *area;
    uint64_t next; /* number of the record to read */
    uint64_t end;  /* behind the last one there is now */
    bool has;      /* record is one for the asker */
    struct trace_record record;
};

struct trace_page {
    struct trace_request request;
    uint64_t limit, began_ns, until_ns, lost;
    unsigned scanned;
    bool more;
    unsigned n;
    struct ring_reader rings[TRACE_RINGS_MAX];
};

static unsigned slot_of(unsigned ring)
{
    return ring == 0 ? (unsigned)SHM_HUB : SHM_WORKER + ring - 1;
}

/* --- what is asked --- */

/* "W:ID", or "ID" as it stands in the log: then of whichever worker. */
static int read_conn(struct str value, struct trace_request *r)
{
    struct str rest = value, worker;
    uint64_t w = TRACE_NOBODY;

    r->of = TRACE_OF_CONN;
    if (str_cut(&rest, ':', &worker) && rest.p != NULL) {
        value = rest;
        if (str_to_u64(worker, &w) == -1 || w >= shm->workers)
            return -1;
    }
    r->worker = (uint16_t)w;
    return str_to_u64(value, &r->conn) == -1 || r->conn == 0 ? -1 : 0;
}

static int read_channel(struct str value, struct trace_request *r)
{
    if (value.n == 0 || value.n > sizeof(r->channel))
        return -1;
    memcpy(r->channel, value.p, value.n);
    r->len = (uint8_t)value.n;
    r->of = TRACE_OF_CHANNEL;
    return 0;
}

static int read_network(struct str value, struct trace_request *r)
{
    char err[128];

    r->of = TRACE_OF_NETWORK;
    return network_parse(value, &r->network, err, sizeof(err));
}

/* Hexadecimal, as put_after() and the id are written. */
static int read_hex(struct str value, uint64_t *out)
{
    *out = 0;
    if (value.n == 0 || value.n > 16)
        return -1;
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;

        if (digit == 16)
            return -1;
        *out = *out << 4 | digit;
    }
    return 0;
}

static int read_id(struct str value, struct trace_request *r)
{
    uint64_t id;

    if (read_hex(value, &id) == -1 || id == 0 || id > UINT32_MAX)
        return -1;
    r->id = (uint32_t)id;
    return 0;
}

/* One number for each ring, with points between. */
static int read_after(struct str value, struct trace_page *p)
{
    struct str one;
    unsigned i = 0;

    for (; i < p->n && str_cut(&value, '.', &one); i++)
        if (read_hex(one, &p->rings[i].next) == -1 || p->rings[i].next == 0)
            return -1;
    return i == p->n && value.p == NULL ? 0 : -1;
}

static int read_parameter(struct str key, struct str value, struct trace_page *p, bool *after)
{
    if (str_equal(key, STR_LIT("conn")) && p->request.of == 0)
        return read_conn(value, &p->request);
    if (str_equal(key, STR_LIT("channel")) && p->request.of == 0)
        return read_channel(value, &p->request);
    if (str_equal(key, STR_LIT("address")) && p->request.of == 0)
        return read_network(value, &p->request);
    if (str_equal(key, STR_LIT("trace")))
        return read_id(value, &p->request);
    if (str_equal(key, STR_LIT("limit")))
        return str_to_u64(value, &p->limit);
    if (str_equal(key, STR_LIT("after"))) {
        *after = true;
        return read_after(value, p);
    }
    return str_equal(key, STR_LIT("api_key")) ? 0 : -1;
}

/* -1: it is not said what to trace, or not understood. */
static int read_query(const struct http_request *r, struct trace_page *p)
{
    char text[(TRACE_RINGS_MAX + 1) * 17];
    struct str rest = r->query, key, value;
    bool after = false;
    size_t n;

    while (rest.p != NULL && http_query_next(&rest, &key, &value))
        if (http_percent_decode(value, text, sizeof(text), &n) == -1 ||
            read_parameter(key, (struct str){text, n}, p, &after) == -1)
            return -1;
    return p->request.of != 0 && after == (p->request.id != 0) ? 0 : -1;
}

/* --- what was written --- */

/* The next record that is for the asker and old enough. */
static void advance(struct trace_page *p, struct ring_reader *r)
{
    r->has = false;
    while (!r->has && r->next < r->end) {
        if (p->scanned++ >= TRACE_SCAN_MAX) {
            p->more = true;
            return;
        }
        if (!trace_read(r->area, r->next, &r->record))
            p->lost++;
        else if (r->record.time_ns > p->until_ns)
            return;
        else
            r->has = r->record.request == p->request.id;
        r->next += !r->has;
    }
}

/* Where the rings are read; what has been overwritten meanwhile is lost. */
static void open_rings(struct trace_page *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        struct ring_reader *r = &p->rings[i];
        uint64_t first;

        r->area = shm_trace_area(slot_of(i));
        r->end = atomic_load_explicit(&r->area->written, memory_order_acquire) + 1;
        if (r->next == 0 || r->next > r->end) /* from here on */
            r->next = r->end;
        first = r->end > TRACE_RECORDS ? r->end - TRACE_RECORDS : 1;
        if (r->next < first) {
            p->lost += first - r->next;
            r->next = first;
        }
        advance(p, r);
    }
}

static struct ring_reader *oldest(struct trace_page *p)
{
    struct ring_reader *best = NULL;

    for (unsigned i = 0; i < p->n; i++)
        if (p->rings[i].has && (best == NULL || p->rings[i].record.time_ns < best->record.time_ns))
            best = &p->rings[i];
    return best;
}

static int put_time(uint64_t time_ns, struct buf *out)
{
    uint64_t wall = clock_wall_ns() - (clock_ns() - time_ns);
    time_t seconds = (time_t)(wall / NS_PER_SEC);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return buf_printf(out, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06uZ\"", tm.tm_year + 1900,
                      tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                      (unsigned)(wall % NS_PER_SEC / 1000));
}

static int put_field(const char *name, uint64_t value, struct buf *out)
{
    struct str n = str_from(name);
    uint64_t worker = value >> 48;

    if (str_equal(n, STR_LIT("NONE")))
        return 0;
    if (str_equal(n, STR_LIT("publication"))) {
        if (worker >= TRACE_WORKERS)
            return buf_append_lit(out, ",\"publication\":\"another node's\"");
        return buf_printf(out, ",\"publication\":\"%llu/%llu\"", (unsigned long long)worker,
                          (unsigned long long)(value & 0xffffffffffff));
    }
    if (str_equal(n, STR_LIT("engine_status")))
        return buf_printf(out, ",\"engine_status\":\"%s\"",
                          value < ENGINE_STATUS_NR ? engine_status_name((enum engine_status)value)
                                                   : "");
    return buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static int put_event(const struct trace_page *p, const struct ring_reader *r, struct buf *out)
{
    const struct trace_record *e = &r->record;
    const struct trace_row *row = trace_row((enum trace_event)e->event);
    char name[32];
    int rc = put_time(e->time_ns, out);

    rc |=
        buf_printf(out, ",\"process\":\"%s\",\"event\":\"%s\"",
                   shm_slot_name(slot_of((unsigned)(r - p->rings)), name, sizeof(name)), row->name);
    if (e->conn != 0 && e->worker != TRACE_NOBODY)
        rc |= buf_printf(out, ",\"conn\":\"%u:%llu\"", e->worker, (unsigned long long)e->conn);
    if (e->len > 0) {
        rc |= buf_printf(out, ",\"%s\":", row->text);
        rc |= json_append_string(out, (struct str){e->text, e->len});
    }
    for (unsigned i = 0; i < TRACE_FIELDS; i++)
        rc |= put_field(row->fields[i], e->field[i], out);
    return rc | buf_append_char(out, '}');
}

static int put_events(struct trace_page *p, struct buf *out)
{
    int rc = buf_append_lit(out, ",\"events\":[");

    for (uint64_t n = 0; rc == 0; n++) {
        struct ring_reader *r = oldest(p);

        p->more |= r != NULL && n >= p->limit;
        if (r == NULL || n >= p->limit)
            break;
        rc |= buf_append_lit(out, n == 0 ? "\n" : ",\n");
        rc |= put_event(p, r, out);
        r->next++;
        advance(p, r);
    }
    return rc | buf_append_lit(out, "]");
}

/* --- the answer --- */

/* Has every process heard of it, or has it had its time? */
static int put_armed(const struct trace_page *p, struct buf *out)
{
    bool late = clock_precise_ns() - p->began_ns > TRACE_ARM_NS, armed = true;
    const char *sep = "";
    int rc = buf_append_lit(out, ",\"missing\":[");

    for (unsigned i = 0; i < p->n; i++) {
        char name[32];

        if (atomic_load(&shm->slots[slot_of(i)].pid) != 0 &&
            atomic_load_explicit(&p->rings[i].area->looked_ns, memory_order_acquire) >= p->began_ns)
            continue;
        if (!late) {
            armed = false;
            continue;
        }
        rc |= buf_printf(out, "%s\"%s\"", sep, shm_slot_name(slot_of(i), name, sizeof(name)));
        sep = ",";
    }
    return rc | buf_printf(out, "],\"armed\":%s", armed ? "true" : "false");
}

static int put_after(const struct trace_page *p, struct buf *out)
{
    int rc = buf_append_lit(out, ",\"after\":\"");

    for (unsigned i = 0; i < p->n; i++)
        rc |= buf_printf(out, "%s%llx", i == 0 ? "" : ".", (unsigned long long)p->rings[i].next);
    return rc | buf_append_char(out, '"');
}

static int put_page(struct trace_page *p, struct buf *out)
{
    int rc = buf_printf(out, "{\"trace\":\"%08x\"", p->request.id);

    rc |= put_armed(p, out);
    rc |= put_events(p, out);
    rc |= put_after(p, out);
    return rc | buf_printf(out, ",\"lost\":%llu,\"more\":%s}\n", (unsigned long long)p->lost,
                           p->more ? "true" : "false");
}

static void handle_trace(struct http_exchange *x)
{
    static struct trace_page p; /* not for the stack; valid in here only */
    struct buf out = {0};

    memset(&p, 0, sizeof(p));
    p.n = 1 + shm->workers;
    p.limit = TRACE_PAGE;
    if (read_query(x->request, &p) == -1) {
        debug_refuse_query(x);
        return;
    }
    p.limit = MIN(p.limit, (uint64_t)TRACE_PAGE_MAX);
    while (p.request.id == 0)
        p.request.id = (uint32_t)epoch_new();
    p.until_ns = clock_precise_ns() - TRACE_SETTLE_NS;
    open_rings(&p);
    if (trace_ask(&p.request, clock_precise_ns() + TRACE_KEEP_NS, &p.began_ns) == -1)
        http_respond(x, 503, "text/plain; charset=utf-8", STR_LIT("Retry-After: 5\r\n"),
                     STR_LIT("as many traces as may be are under way; one ends a few seconds after "
                             "its last reader\n"));
    else if (put_page(&p, &out) == -1)
        http_refuse(x, CLOSE_NO_MEMORY);
    else
        http_respond(x, 200, "application/json", STR_LIT(""), buf_view(&out));
    buf_fini(&out);
}

void debug_trace_init(void)
{
    static const struct http_resource table[] = {
        {.path = "/debug/trace",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_trace},
    };

    http_register(table, ARRAY_LEN(table));
}
