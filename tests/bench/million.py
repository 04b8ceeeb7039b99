#!/usr/bin/python3
"""So many connections on one machine, both ends of them: make bench-million.

usage: million.py [--connections N] [--ramp RATE] [--storm N] [--workers N] [--ping-interval D] [--json FILE]

One run: ramp · a publication to all, quiet, and the same again · a storm, in which --storm connections drop and come back at
once. Meanwhile a bystander in another channel pings. The ramp ends early, with the figures so far, when the machine's
available memory falls below 1.5 GiB.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import bench
from bystander import Bystander

KERNEL_BYTES = 10400     # of both ends, measured
USER_BYTES = 250 + 260   # gateway and load generator
FLOOR_BYTES = 1536 << 20
WORKER_CONNECTIONS = 15500  # below 16,384 descriptors libev's table wastes least
WORKER_RESERVE = 192  # descriptors a worker keeps (net/reactor.c)
RUN_SECONDS, STORM_AT, PERIOD = 75, 53, 38
PHASES = f"after the ramp: publications at 0 and {PERIOD} s, a storm at {STORM_AT} s, {RUN_SECONDS} s in all"


def available():
    with open("/proc/meminfo") as f:
        return int(re.search(r"MemAvailable:\s+(\d+)", f.read()).group(1)) * 1024


def descriptor_limit():
    with open("/proc/self/limits") as f:
        return int(f.read().split("Max open files")[1].split()[1])


def check(n):
    """Refuses what cannot work, with the arithmetic."""
    each = KERNEL_BYTES + USER_BYTES
    need, have = n * each + FLOOR_BYTES, available()
    print(f"memory: {n} connections x {each} B (kernel {KERNEL_BYTES} for both ends, user {USER_BYTES}) + {FLOOR_BYTES >> 20} MiB kept free "
          f"= {need / 2**30:.1f} GiB; available {have / 2**30:.1f} GiB")
    if need > have:
        sys.exit(f"million: that does not fit; --connections {max((have - FLOOR_BYTES) // each, 0) // 1000 * 1000} does")
    limit = descriptor_limit()
    workers = min(128, max(-(-n // min(WORKER_CONNECTIONS, int((limit - WORKER_RESERVE) * 0.93))), os.cpu_count() or 1))
    room = int(workers * (limit - WORKER_RESERVE) * 0.95)
    print(f"descriptors: {workers} workers x ({limit} - {WORKER_RESERVE}), less 5 % for uneven spread = {room}")
    if room < n:
        sys.exit(f"million: RLIMIT_NOFILE is too low for {n} connections on at most 128 workers; raise it (ulimit -Hn) or take "
                 f"--connections {room}")
    return workers


class Memory(threading.Thread):
    """Interrupts the load when memory runs low."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.lowest, self.interrupted = process, available(), False
        self.start()

    def run(self):
        while self.process.poll() is None:
            now = available()
            self.lowest = min(self.lowest, now)
            if now < FLOOR_BYTES and not self.interrupted:
                self.interrupted = True
                print(f"million: only {now / 2**30:.2f} GiB of memory are available: ending with what there is", flush=True)
                self.process.send_signal(signal.SIGINT)
            time.sleep(0.5)


def buckets(gateway):
    """All workers' turns so far: {upper bound: count}."""
    text = gateway.get("/metrics")
    return {float(le): float(v) for le, v in re.findall(r'^roost_turn_duration_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.M)}


def turn_quantile(before, after, q):
    """The bucket's bound below which the share q of the turns between two scrapes lies."""
    total = after[float("inf")] - before[float("inf")]
    for bound in sorted(after):
        if after[bound] - before.get(bound, 0) >= q * total:
            return bound
    return float("inf")


def run_load(gateway, args, path):
    command = [bench.program("roostload"), "broadcast", "--plain", "--json", path, "--pid", str(gateway.pid), "--url",
               f"ws://127.0.0.1:{gateway.port}/ws/m", "--connections", str(args.connections), "--ramp", str(args.ramp), "--rate",
               str(1 / PERIOD), "--size", "72", "--duration", f"{RUN_SECONDS}s", "--connect-timeout", "60s", "--storm-after",
               f"{STORM_AT}s", "--storm-share", str(100 * args.storm / args.connections)]
    return subprocess.Popen(command)


def scrape_in_run(gateway, process, path):
    """Turn histograms at the run's start and when the publications are through: waits for the ramp by the gateway's own count."""
    scrapes = {}
    while process.poll() is None and "start" not in scrapes:
        time.sleep(1)
        if float(re.search(r"^roost_publications_ordered_total (\S+)", gateway.get("/metrics"), re.M).group(1)) > 0:
            scrapes["start"] = buckets(gateway)
    begun = time.time()
    while process.poll() is None and time.time() - begun < STORM_AT - 3:
        time.sleep(0.5)
    if "start" in scrapes:
        scrapes["end"] = buckets(gateway)
    return scrapes


def quiet_cpu(seconds):
    """Share of a core while nothing is sent and nobody connects; the median second."""
    values = sorted(s["cpu"] for s in seconds if s["messages_in"] == 0 and s["connects"] == 0 and s["connecting"] == 0 and s["ready"] > 0)
    return values[len(values) // 2] if values else None


def pings_between(pings, seconds, t0, busy):
    spans = [t0 + s["at"] for s in seconds if (s["messages_in"] > 0) == busy and s["connects"] == 0 and s["connecting"] == 0]
    chosen = [took for at, took in pings if any(end - 1 <= at < end for end in spans)]
    return {k: v * 1e3 for k, v in bench.quantiles(chosen).items()}


def first_arrival(latency):
    return latency["buckets"][0][0] if latency["buckets"] else None


def figures(r, args, workers, pings, scrapes, memory):
    start, ramped = r["server"]["start"], r["server"]["ramped"]
    ready, delivery, seconds = r["ready_max"], r["latencies"]["delivery_uncorrected"], r["seconds"]
    run_begin = r["ramp_seconds"]
    in_run = [s for s in seconds if s["at"] > run_begin + 1]
    row = {"what": f"{args.connections} connections", "ready": ready, "workers": workers, "load_processes": r["processes"],
           "ramp_seconds": r["ramp_seconds"], "given_up": r["given_up"], "interrupted_by_memory": memory.interrupted,
           "lowest_available_gib": memory.lowest / 2**30}
    if r["run_seconds"] > 0:
        row.update({
            "user_bytes": (ramped["private"] - start["private"]) / ready, "kernel_bytes_both_ends": (ramped["slab"] - start["slab"]) / ready,
            "idle_cpu_share": quiet_cpu(in_run), "deliveries": r["counters"]["messages_in"],
            "lost_duplicated_reordered": [r["counters"][k] for k in ("gaps", "duplicates", "reordered")],
            "delivery_seconds": {"first": first_arrival(delivery), **{k: delivery[k] for k in ("p50", "p99", "max")}},
            "bystander_ms": {"quiet": pings_between(pings, in_run, r["started_at"], False),
                             "broadcast": pings_between(pings, in_run, r["started_at"], True)},
            "storm": args.storm, "storm_recovery_seconds": r["storm_recovery_seconds"],
            "storm_failures": sum(s["failures"] for s in in_run)})
    if "end" in scrapes:
        row["turn_seconds_in_broadcasts"] = {q: turn_quantile(scrapes["start"], scrapes["end"], p)
                                             for q, p in (("p50", .5), ("p99", .99), ("max", 1))}
    return row


def show(row):
    def line(what, text):
        print(f"  {what:<58} {text}")

    def times(d, unit):
        return ", ".join(f"{k} {v:.2f} {unit}" for k, v in d.items()) or "none"

    print(row["what"])
    line("ready at once (one of them publishes)", row["ready"])
    line("workers, load processes", f"{row['workers']}, {row['load_processes']}")
    line("ramp", f"{row['ramp_seconds']:.0f} s, {row['given_up']} given up")
    if "user_bytes" in row:
        line("user memory of the gateway, each", f"{row['user_bytes']:.0f} B")
        line("kernel memory, both ends, each", f"{row['kernel_bytes_both_ends']:.0f} B")
        if row["idle_cpu_share"] is not None:
            line("CPU of the gateway when idle (no pings)", f"{row['idle_cpu_share'] * 100:.1f} % of a core")
        line("a publication to all, after it was sent", times(row["delivery_seconds"], "s"))
        line("deliveries; lost, duplicated, out of order", f"{row['deliveries']}; {row['lost_duplicated_reordered']}")
        line("a bystander's ping, quiet", times(row["bystander_ms"]["quiet"], "ms"))
        line("a bystander's ping, while all are sent to", times(row["bystander_ms"]["broadcast"], "ms"))
        line(f"storm of {row['storm']}: everybody back after", f"{row['storm_recovery_seconds']:.1f} s, {row['storm_failures']} failed attempts")
    if "turn_seconds_in_broadcasts" in row:
        line("turns of all workers meanwhile, up to", times(row["turn_seconds_in_broadcasts"], "s"))
    line("lowest available memory", f"{row['lowest_available_gib']:.1f} GiB")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--connections", type=int, default=1000000)
    ap.add_argument("--ramp", type=int, default=12000, help="connections a second (default 12000)")
    ap.add_argument("--storm", type=int, help="connections that drop at once (default 100000, or a tenth)")
    ap.add_argument("--workers", type=int, help="of the gateway (default: as many as descriptors need)")
    ap.add_argument("--ping-interval", default="1h", help="of the gateway; the default keeps the idle figure free of pings")
    ap.add_argument("--json", help="default: build/bench/million.json")
    args = ap.parse_args()
    args.storm = min(args.storm or 100000, args.connections) if args.connections >= 1000000 or args.storm else args.connections // 10
    workers = check(args.connections)
    workers = args.workers or workers
    print(PHASES, flush=True)
    gateway = bench.Gateway(workers, ping_interval=args.ping_interval, output_limit="64KiB")
    out = tempfile.NamedTemporaryFile(suffix=".json", delete=False)
    out.close()
    try:
        bystander = Bystander(gateway.port)
        load = run_load(gateway, args, out.name)
        memory = Memory(load)
        scrapes = scrape_in_run(gateway, load, out.name)
        status = load.wait()
        if status not in (0, 3):
            sys.exit(f"million: roostload ended with status {status}")
        pings = bystander.stop()
        with open(out.name) as f:
            row = figures(json.load(f), args, workers, pings, scrapes, memory)
    finally:
        gateway.stop()
        os.unlink(out.name)
    show(row)
    bench.write_json(args.json, "million", [row])


if __name__ == "__main__":
    main()
