/* proc/trace_reference.c - deploy/TRACING.md, from the table. */
#include "base/trace.h"
#include "proc/debug.h"

static const struct {
    const char *what, *program;
} one_liners[] = {
    {"Who is thrown out, and why", "close { @[str(arg1)] = count(); }"},
    {"Publications a second, by channel",
     "publish { @[str(arg1)] = count(); } interval:s:1 { print(@); clear(@); }"},
    {"Microseconds from the publisher's socket to the first subscriber's, by worker",
     "fanout { @us[pid] = hist(arg5 / 1000); }"},
    {"Microseconds that publications wait for the hub", "take { @us = hist(arg4 / 1000); }"},
    {"Microseconds that the engine takes (Redis, NATS: the server's answer)",
     "take { @t[arg2] = nsecs; } PROBE:done /@t[arg2]/ { @us = hist((nsecs - @t[arg2]) / 1000); "
     "delete(@t[arg2]); }"},
    {"What the engine did not take, by how (enum of include/tbl/engine.def)",
     "done /arg4 != 0/ { @[str(arg1), arg4] = count(); }"},
    {"Bytes queued in the hub, by the worker that does not keep up",
     "send /arg4 > 0/ { @[arg3] = max(arg4); }"},
    {"Channels whose fan-out takes longest, in microseconds",
     "fanned { @us[str(arg1)] = max(arg4 / 1000); }"},
    {"Slow consumers: connection, what was done, bytes queued",
     "slow { printf(\"%d:%lu %s %lu\\n\", pid, arg0, str(arg1), arg2); }"},
    {"Why connections are not read", "hold { @[str(arg1)] = count(); }"},
    {"Sizes of messages that come", "message { @bytes = hist(arg2); }"},
    {"Errors that Centrifuge clients are answered with", "error { @[arg2, str(arg1)] = count(); }"},
    {"One connection, everything that its process does with it (here 805306377)",
     "deliver,PROBE:stall,PROBE:sent,PROBE:close /arg0 == 805306377/ { printf(\"%s %lu\\n\", "
     "probe, "
     "arg2); }"},
};

/* PROBE: stands for the program's name in further probes. */
static int put_program(const char *text, struct buf *out)
{
    static const char probe[] = "usdt:/usr/bin/roostd:roost:";
    struct str rest = str_from(text);
    int rc = buf_append(out, str_from(probe));

    for (size_t i = 0; i < rest.n; i++) {
        struct str here = str_skip(rest, i);

        if (str_starts_with(here, STR_LIT("PROBE:"))) {
            rc |= buf_append(out, str_from(probe));
            i += strlen("PROBE:") - 1;
        } else {
            rc |= buf_append_char(out, rest.p[i]);
        }
    }
    return rc;
}

static int put_one_liners(struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(one_liners); i++) {
        rc |= buf_printf(out, "\n# %s\nbpftrace --usdt-file-activation -e '", one_liners[i].what);
        rc |= put_program(one_liners[i].program, out);
        rc |= buf_append_lit(out, "'\n");
    }
    return rc;
}

static int put_rows(struct buf *out)
{
    int rc = 0;

    for (unsigned e = 0; e < TRACE_EVENT_NR; e++) {
        const struct trace_row *row = trace_row((enum trace_event)e);

        rc |= buf_printf(out, "| `%s` |", row->name);
        rc |= str_equal(str_from(row->text), STR_LIT("NONE")) ? buf_append_lit(out, " |")
                                                              : buf_printf(out, " %s |", row->text);
        for (unsigned i = 0; i < TRACE_FIELDS; i++)
            rc |= str_equal(str_from(row->fields[i]), STR_LIT("NONE"))
                      ? buf_append_lit(out, " |")
                      : buf_printf(out, " %s |", row->fields[i]);
        rc |= buf_printf(out, " %s |\n", row->help);
    }
    return rc;
}

int trace_reference(struct buf *out)
{
    int rc = buf_printf(
        out,
        "# Tracing\n\n"
        "`roostctl trace` shows what happens to one connection, to the clients of an address, or "
        "to the "
        "publications of a channel,\nwhile it happens; the same places are probes for bpftrace. "
        "This "
        "page is written by `roostd --reference=trace`.\n\n"
        "```sh\n"
        "roostctl trace --conn 0:805306377   # one client gets nothing: its id is in roostctl "
        "conns, "
        "/debug/connections and the log\n"
        "roostctl trace --channel news       # one channel is slow: each publication from its "
        "publisher "
        "to delivery, with times\n"
        "roostctl trace --address 192.0.2.7  # a client that does not even get in; also "
        "192.0.2.0/24\n"
        "```\n\n"
        "What a trace costs: nothing while nobody asks but a comparison with a word of memory at "
        "each "
        "of these places. While somebody does,\nevery event is compared with what is asked for (at "
        "most %d traces of a worker, %d of the node), and those that match are written\ninto a "
        "ring "
        "of %d records for each process, 128 bytes each. Nobody waits for who reads: what is "
        "overwritten "
        "is counted and told. A trace\nends a few seconds after its last reader. It says sizes, "
        "never "
        "payloads, tokens or keys, and of paths only the resource's. In the\ntrace of a channel "
        "the "
        "first %d deliveries of each fan-out are told, and how many subscribers there were.\n"
        "\"One client gets nothing\": is there a `subscribed` for its channel, a `deliver` behind "
        "each "
        "publication, a `stall` (it does not read)\nor a `hold` (we do not read it)? \"One channel "
        "is slow\": `waited_ns` of `take` is the hub's queue, `take` to `done` the engine, "
        "`since_ns` of\n"
        "`fanout` the way so far, `took_ns` of `fanned` the subscribers.\n\n"
        "## Events and probes\n\n"
        "Each is a probe `usdt:/usr/bin/roostd:roost:EVENT`, with the same arguments in all: "
        "`arg0` "
        "the connection's id (0: none; of a\npublication: its publisher's, when that is a client "
        "of a worker), "
        "`arg1` the text (ended by a zero), `arg2` to `arg5` the numbers.\nA publication "
        "is known by its "
        "worker (bits 48 and up) and its place in that worker's ring to the hub; "
        "`roostctl trace` writes WORKER/PLACE.\nWhat ends in `_ns` is in nanoseconds. Text of a "
        "trace is cut at %d bytes.\n\n"
        "| event | text: `arg1` | `arg2` | `arg3` | `arg4` | `arg5` | |\n"
        "|---|---|---|---|---|---|---|\n",
        TRACE_REQUESTS, TRACE_FILTERS, TRACE_RECORDS, TRACE_DELIVERIES, TRACE_TEXT_MAX);

    rc |= put_rows(out);
    rc |= buf_append_lit(
        out, "\n## bpftrace\n\nAs root. A probe is off until somebody attaches to it: "
             "`--usdt-file-activation` finds every process of the program, `-p PID` instead one "
             "(`/debug/processes`\nsays which is which). Where the program is elsewhere (a "
             "container: `/proc/PID/root/usr/local/bin/roostd`), "
             "name it so.\n\n```sh");
    rc |= put_one_liners(out);
    return rc | buf_append_lit(out, "```\n");
}
