/* base/trace.h - what happens to one connection, or to the publications of one channel, while somebody asks.
 *
 * Each process writes what is asked for into a ring of fixed records in shared memory, which any worker may
 * read; nobody waits for a reader, and what is overwritten before it was read is counted by whoever reads. Who asks
 * writes a request into the area of the worker that serves him; every process looks at all areas every TRACE_LOOK_NS,
 * before it handles what has come. A request ends by itself, so nothing goes on when its asker has gone.
 *
 * Off, a place that could be told of is one comparison with a word in memory, in which the kernel counts those who
 * have put a probe on it (USDT, deploy/TRACING.md): either makes it tell.
 *
 * trace.c has requests and records · trace_probe.c the probes · proc/debug_trace.c the page. */
#ifndef ROOST_BASE_TRACE_H
#define ROOST_BASE_TRACE_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/network.h"

enum trace_event {
#define X(name, ...) TRACE_##name,
#include "tbl/trace.def"
    TRACE_EVENT_NR
};
_Static_assert(TRACE_EVENT_NR <= UINT8_MAX, "struct trace_record has a byte for it");

#define TRACE_FIELDS 4
struct trace_row {
    const char *name, *text; /* text: "NONE" when it has none */
    const char *fields[TRACE_FIELDS];
    const char *help;
};
const struct trace_row *trace_row(enum trace_event e);

/* One for each event. `probes` is the kernel's: it counts who has a probe there. */
union trace_gate {
    struct {
        unsigned short probes, wanted;
    };
    uint32_t any;
};
#define X(name, ...) extern union trace_gate roost_##name##_semaphore;
#include "tbl/trace.def"

#define TRACE_TEXT_MAX   64   /* what is longer is cut */
#define TRACE_RECORDS    8192 /* of a process */
#define TRACE_REQUESTS   4    /* of a worker */
#define TRACE_FILTERS    16   /* of the node, at a time; further ones are not heard */
#define TRACE_DELIVERIES 16   /* in the trace of a channel, of one fan-out in a worker */
#define TRACE_NAME_MAX   255  /* of a channel */
#define TRACE_WORKERS    128  /* of a node */
#define TRACE_NOBODY     UINT16_MAX
#define TRACE_LOOK_NS    (10 * NS_PER_MS)

struct trace_record {
    _Atomic uint64_t number; /* from 1; 0: it is being written */
    uint64_t time_ns;        /* clock_precise_ns() */
    uint64_t conn;           /* id of a connection of `worker`; 0: none */
    uint64_t field[TRACE_FIELDS];
    uint32_t request; /* for which it was written */
    uint16_t worker;  /* or TRACE_NOBODY */
    uint8_t event;
    uint8_t len; /* of text */
    char text[TRACE_TEXT_MAX];
};
_Static_assert(sizeof(struct trace_record) == 128, "two lines of a cache");

enum trace_of { TRACE_OF_CONN = 1, TRACE_OF_CHANNEL, TRACE_OF_NETWORK };

struct trace_request {
    uint32_t id; /* chosen by chance; not 0 */
    uint8_t of;  /* enum trace_of */
    uint8_t len; /* of channel */
    uint16_t worker;
    uint64_t conn;
    struct network network;
    char channel[TRACE_NAME_MAX];
};

struct trace_place { /* written by its worker, with until_ns 0 while it is */
    _Atomic uint64_t until_ns;
    uint64_t began_ns;
    struct trace_request request;
};

struct trace_area {             /* of one process, which alone writes it */
    _Atomic uint64_t looked_ns; /* when it last looked for requests */
    _Atomic uint64_t written;   /* records, ever; goes on in the next life of the process */
    struct trace_place places[TRACE_REQUESTS];
    struct trace_record records[TRACE_RECORDS];
};

/* This process's area and all there are, stride bytes apart; worker: whose connections it has, or TRACE_NOBODY.
 * Without it nothing is ever asked for. */
void trace_open(struct trace_area *own, struct trace_area *first, size_t stride, unsigned n,
                unsigned worker);
/* Where the address of a connection is (16 bytes), NULL: it is none that may be traced. NULL: no request by network is
 * served. */
extern const uint8_t *(*trace_address)(uint64_t conn);

/* Once a turn, before anything is handled. */
extern uint64_t trace_look_at_ns;
void trace_look_now(uint64_t now_ns);
static inline void trace_look(uint64_t now_ns)
{
    if (UNLIKELY(now_ns >= trace_look_at_ns))
        trace_look_now(now_ns);
}

/* Asks, or goes on asking, until then. -1: there are TRACE_REQUESTS others. *began_ns: since when. */
int trace_ask(const struct trace_request *r, uint64_t until_ns, uint64_t *began_ns) MUST_CHECK;

/* Copies record `number` (from 1) of a process. False: it is not there any more, or not yet. */
bool trace_read(const struct trace_area *a, uint64_t number, struct trace_record *out);

/* Is anybody there who wants to know? */
#define TRACE_WANTED(name) UNLIKELY(roost_##name##_semaphore.any != 0)

#define TRACE_PUBLICATION(worker, position) ((uint64_t)(worker) << 48 | ((position)&0xffffffffffff))

/* Tells of an event of a connection of this worker's (0: of none). The numbers that the row has. The
 * place itself only has the comparison: nothing of it is to need a stack frame, or a guard of one. */
#define TRACE(name, conn, text, ...) TRACE_FOR(name, TRACE_MINE, conn, text, ##__VA_ARGS__)
/* The same, of another worker's connection. */
#define TRACE_FOR(name, worker, conn, text, ...)                                                   \
    do {                                                                                           \
        if (TRACE_WANTED(name))                                                                    \
            TRACE_TELL(TRACE_##name, worker, conn, text, ##__VA_ARGS__, 0, 0, 0, 0);               \
    } while (0)
#define TRACE_TELL(e, worker, conn, text, a, b, c, d, ...)                                         \
    trace_tell(e, worker, conn, text, a, b, c, d)
#define TRACE_MINE (UINT16_MAX - 1)
void trace_tell(enum trace_event e, unsigned worker, uint64_t conn, struct str text, uint64_t a,
                uint64_t b, uint64_t c, uint64_t d) __attribute__((cold, noinline));
/* trace_probe.c: for those who have a probe there. */
void trace_probe(enum trace_event e, uint64_t conn, struct str text,
                 const uint64_t field[TRACE_FIELDS]);

/* From one clock_ns() until now; 0: it was never taken. */
uint64_t trace_since(uint64_t ns);
/* The worker that a publication is from; that of another node is nobody's. */
static inline unsigned trace_worker(unsigned source)
{
    return source < TRACE_WORKERS ? source : TRACE_NOBODY;
}

/* An asker's connection: 0 when what asks (enum session_kind) has none. */
uint64_t trace_conn_of(unsigned kind, uint64_t token);

#endif
