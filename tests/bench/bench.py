#!/usr/bin/python3
"""Benchmarks of the gateway against what this machine can do at all (tests/bench/floor.c).

usage: bench.py fanout|batch|echo|connect|idle|bystander [--rounds N] [--connections N] [--seconds S] [--protocol P] [--tls] [--json FILE]

Ours and the yardstick run interleaved, several rounds; the median ratio is reported. roostload drives both. CPU is that of the
watched processes, read from the scheduler. Every run ends by itself. The figures go to build/bench/<name>.json too. fanout ends
with batch, which is to be had alone too.
"""
import argparse
import atexit
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The yardstick knows the answer to one key. Ours is sent the same.
KEY = "Sec-WebSocket-Key: cm9vc3Rsb2FkLWtleS0wMQ=="
FAILURES = ("connect_failed", "connect_timeout", "not_answered", "upgrade_refused", "turned_away", "tls_failed", "protocol_errors",
            "connection_lost", "server_closed", "gaps")
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build", "release"))


TLS = ()  # certificate and key: both servers speak it


def certificate():
    """(certificate, key): files with a self-signed one for 127.0.0.1, which end with this program."""
    where = tempfile.TemporaryDirectory(prefix="roost-bench-")
    atexit.register(where.cleanup)
    files = os.path.join(where.name, "certificate.pem"), os.path.join(where.name, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]], check=True, stderr=subprocess.DEVNULL)
    return files


def program(name):
    for path in (os.path.join(BUILD, name), os.path.join(BUILD, "tests", "bench", name)):
        if os.path.exists(path):
            return path
    sys.exit(f"bench: {name} is not built in {BUILD}; run make first")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gateway:
    """roostd with a number of workers."""

    def __init__(self, workers=1, **settings):
        self.port, self.admin = free_port(), free_port()
        # It ends when this program does, whatever ended that.
        args = ["setpriv", "--pdeathsig", "TERM", program("roostd"), "--set", f"listen=127.0.0.1:{self.port}", "--set",
                f"admin_listen=127.0.0.1:{self.admin}", "--set", f"workers={workers}", "--set", "drain_time=0s",
                "--set", "max_connections=16000000"]
        if TLS:
            settings.update(zip(("tls_certificate", "tls_key"), TLS))
        for name, value in settings.items():
            args += ["--set", f"{name}={value}"]
        self.process = subprocess.Popen(args, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=1).read()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("bench: roostd did not become ready")

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10).read().decode()

    def processes(self):
        return json.loads(self.get("/debug/processes"))["processes"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Floor:
    """The yardstick."""

    def __init__(self, mode, *more):
        self.port = free_port()
        more = [*map(str, more), *["0"] * (1 - len(more)), *TLS] if TLS else map(str, more)
        self.process = subprocess.Popen([program("floor"), mode, str(self.port), "600", *more])
        self.pid = self.process.pid
        time.sleep(0.3)

    def stop(self):
        self.process.kill()
        self.process.wait()


def load(server, scenario, **options):
    out = tempfile.NamedTemporaryFile(suffix=".json", delete=False)
    out.close()
    args = [program("roostload"), scenario, "--plain", "--json", out.name, "--pid", str(server.pid), "--url",
            f"{'wss' if TLS else 'ws'}://127.0.0.1:{server.port}" + options.pop("url", "/ws/") + options.pop("path", "{channel}"), "--header", KEY]
    if TLS:
        args.append("--insecure")
    for name, value in options.items():
        args += ["--" + name.replace("_", "-"), *([] if value is True else [str(value)])]
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(args)}\n{done.stdout}")
    with open(out.name) as f:
        result = json.load(f)
    os.unlink(out.name)
    odd = {name: result["counters"][name] for name in FAILURES if result["counters"][name]}
    if odd:
        sys.exit(f"bench: {' '.join(args)}\nwhat must not be: {odd}")
    return result


def run_cpu(result):
    return result["server"]["end"]["cpu_seconds"] - result["server"]["ramped"]["cpu_seconds"]


def cpu_per_message(result):
    return run_cpu(result) / max(result["run_messages_in"], 1)


def compare(title, ours, floor, measure, rounds):
    """Interleaved rounds; ratio > 1 means ours is cheaper than the yardstick."""
    ratios, our_values, floor_values = [], [], []
    for _ in range(rounds):
        floor_values.append(measure(floor()))
        our_values.append(measure(ours()))
        ratios.append(floor_values[-1] / our_values[-1])
    row = {"what": title, "ours_us": statistics.median(our_values) * 1e6, "floor_us": statistics.median(floor_values) * 1e6,
           "ratio": statistics.median(ratios), "ratios": [round(r, 3) for r in ratios]}
    print(f"{title:<44} ours {row['ours_us']:8.2f} us  bare {row['floor_us']:8.2f} us  bare/ours {row['ratio']:.2f}  "
          f"{row['ratios']}", flush=True)
    return row


def with_server(make, run):
    server = make()
    try:
        return run(server)
    finally:
        server.stop()


def bench_fanout(args):
    rows = []
    most = args.connections or (3000 if args.tls else 19000)
    for n in sorted({min(1000, most), most}):
        for size in (72, 1024):
            options = dict(connections=n, ramp=150 if args.tls else 8000, rate=min(max(100000 / n, 2), 100), size=size, duration=f"{args.seconds or 5}s", processes=1 if n < 19000 else 2,
                           path="b")
            rows.append(compare(f"fan-out to {n}, {size} B, CPU per delivery",
                                lambda: with_server(lambda: Gateway(1), lambda s: load(s, "broadcast", **options)),
                                lambda: with_server(lambda: Floor("fanout"), lambda s: load(s, "broadcast", **options)),
                                cpu_per_message, args.rounds))
    return rows + bench_batch(args)


def bench_batch(args):
    rows = []
    n = args.connections or 5000
    for k in (1, 4, 16, 64):
        rates = []
        for _ in range(args.rounds):
            r = with_server(lambda: Gateway(1), lambda s: load(s, "broadcast", connections=n, ramp=150 if args.tls else 8000, rate=4, burst=k, size=72,
                                                              duration=f"{args.seconds or 5}s", path="b"))
            rates.append(r["run_messages_in"] / run_cpu(r))
        rows.append({"what": f"{k} publications per turn to {n}", "deliveries_per_cpu_second": statistics.median(rates)})
        print(f"{rows[-1]['what']:<44} {rows[-1]['deliveries_per_cpu_second']:12.0f} deliveries per CPU-second "
              f"({rows[-1]['deliveries_per_cpu_second'] / rows[0]['deliveries_per_cpu_second']:.1f}x)", flush=True)
    return rows


def bench_echo(args):
    rows = []
    for size in (125, 1024, 16384):
        options = dict(connections=args.connections or 100, ramp=2000, size=size, duration=f"{args.seconds or 4}s", depth=1, channel="e{n}")
        rows.append(compare(f"echo of {size} B, CPU per message (worker and hub)",
                            lambda: with_server(lambda: Gateway(1), lambda s: load(s, "echo", **options)),
                            lambda: with_server(lambda: Floor("echo"), lambda s: load(s, "echo", **options)),
                            cpu_per_message, args.rounds))
        alone = dict(options, url="/echo", path="")
        rows.append(compare(f"echo of {size} B on /echo, without the hub",
                            lambda: with_server(lambda: Gateway(1, echo="true"), lambda s: load(s, "echo", **alone)),
                            lambda: with_server(lambda: Floor("echo"), lambda s: load(s, "echo", **options)),
                            cpu_per_message, args.rounds))
    return rows


def bench_connect(args):
    n = args.connections or (1500 if args.tls else 15000)

    def cpu_per_connect(result):
        return ((result["server"]["ramped"]["cpu_seconds"] - result["server"]["start"]["cpu_seconds"]) /
                result["counters"]["connects_done"])

    options = dict(connections=n, ramp=150 if args.tls else 5000, duration="100ms", path="c")
    return [compare(f"connect, upgrade, subscribe: {n}, CPU each",
                    lambda: with_server(lambda: Gateway(1), lambda s: load(s, "hold", **options)),
                    lambda: with_server(lambda: Floor("echo"), lambda s: load(s, "hold", **options)),
                    cpu_per_connect, args.rounds)]


def bench_idle(args):
    """Pings at 25 s are too few to be measured in a short run; the cost of one does not depend on the interval. The bare ones are
    WebSocket's; Centrifuge's are messages, of which nobody counts those that came: each client gets one in an interval."""
    n, interval = args.connections or 19000, min(args.seconds or 5, 5)
    options = dict(connections=n, ramp=5000, duration=f"{4 * interval}s", path="i", processes=1 if n < 19000 else 2)
    settings, ours = {"ping_interval": f"{interval}s"}, dict(options)
    if args.protocol == "centrifuge":
        settings.update(allow_anonymous_connect_without_token="true", channel_without_namespace="{allow_subscribe_for_client: true, "
                        "allow_subscribe_for_anonymous: true}")
        ours.update(url="/connection/", path="websocket", adapter="centrifuge")

    def cpu_per_ping(result):
        return run_cpu(result) / max(result["run_pings_in"] or n * result["run_seconds"] / interval, 1)

    row = compare(f"{n} idle connections, CPU per ping and pong",
                  lambda: with_server(lambda: Gateway(1, **settings), lambda s: load(s, "hold", **ours)),
                  lambda: with_server(lambda: Floor("idle", interval * 1000), lambda s: load(s, "hold", **options)),
                  cpu_per_ping, args.rounds)
    row["ours_over_floor"] = 1 / row["ratio"]
    row["core_share_at_25_s"] = row["ours_us"] * 1e-6 * n / 25
    print(f"{'':<44} ours/bare {row['ours_over_floor']:.2f}; pinged every 25 s they cost {row['core_share_at_25_s'] * 100:.2f} % of a core",
          flush=True)
    more = (row["ours_us"] - row["floor_us"]) * 1e-6 * 200000 / 25
    row["more_than_bare_at_200000"] = more
    print(f"{'':<44} 200,000 of them cost {more * 100:.1f} % of a core more than the bare sends and receives", flush=True)
    return [row]


def quantiles(values):
    values = sorted(values)
    return {q: values[min(int(len(values) * p), len(values) - 1)] for q, p in (("p50", .5), ("p99", .99), ("max", 1))} if values else {}


def bench_bystander(args):
    """Pings of a connection in another channel, while everybody else is being sent a publication."""
    from bystander import Bystander
    rows, n, slice_ms = [], args.connections or 19000, 2
    for size in (72, 1024):
        gateway = Gateway(1, ping_interval="1h", turn_budget=f"{slice_ms}ms")
        try:
            watcher = Bystander(gateway.port)
            r = load(gateway, "broadcast", connections=n - 2, ramp=6000, rate=2, size=size, duration=f"{args.seconds or 8}s", path="b", processes=2)
            pings = watcher.stop()
            walk = json.loads(gateway.get("/debug/turns"))["workers"][0]["batch_seconds"]
        finally:
            gateway.stop()
        began = r["started_at"] + r["ramp_seconds"]
        run = began + min(1, r["run_seconds"] / 2), began + r["run_seconds"]  # not how it begins
        rows.append({"what": f"a broadcast of {size} B to {n} takes {walk['mean'] * 1e3:.0f} ms",
                     "walk_seconds": walk["mean"], "slice_ms": slice_ms,
                     "ping_ms": {k: v * 1e3 for k, v in quantiles([p for at, p in pings if run[0] < at < run[1]]).items()}})
        ms = rows[-1]["ping_ms"]
        print(f"{rows[-1]['what']:<44} meanwhile a ping takes p50 {ms['p50']:.2f} ms, p99 {ms['p99']:.2f} ms, max {ms['max']:.2f} ms "
              f"(slices of {slice_ms} ms: p99 {ms['p99'] / slice_ms:.1f})", flush=True)
    return rows


def write_json(path, name, rows, **more):
    """path None: build/bench/<name>.json."""
    path = path or os.path.join(TOP, "build", "bench", name + ".json")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as f:
        json.dump({"bench": name, "date": time.strftime("%Y-%m-%d"), **more, "rows": rows}, f, indent=1)
    print(f"written: {path}")


def arguments(argv=None):
    """Of this program; tests give theirs, so that every option has its default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=["fanout", "batch", "echo", "connect", "idle", "bystander"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0, help="of each run; default: 4 to 20")
    parser.add_argument("--protocol", choices=["plain", "centrifuge"], default="plain", help="idle: what the clients speak")
    parser.add_argument("--tls", action="store_true", help="all of it over TLS 1.3, the yardstick by OpenSSL's own calls")
    parser.add_argument("--json", help="default: build/bench/<name>.json")
    return parser.parse_args(argv)


def main():
    global TLS
    args = arguments()
    if args.tls:
        TLS = certificate()
    write_json(args.json, args.bench + ("_tls" if args.tls else ""), globals()["bench_" + args.bench](args))


if __name__ == "__main__":
    main()
