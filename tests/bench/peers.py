#!/usr/bin/python3
"""The gateway and what Debian and npm have for the same, under the same load.

usage: peers.py [--rounds N] [--connections N] [--only NAMES] [--json FILE]

Each peer is started here on free ports of 127.0.0.1 with a configuration in a temporary directory, by an unprivileged user where
possible, and ended here. Every round runs every scenario against every peer and against ours; a row is the median of the rounds'
ratios peer / ours, so above 1 ours needed less. `make bench-peers` fetches the peers into build/tools/peers without installing them;
one that is not there is reported and the others go on.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bench

TOOLS = os.path.join(bench.TOP, "build", "tools", "peers")
NOBODY = 65534


class NotAvailable(Exception):
    pass


def find(name):
    """A program that was fetched, else an installed one."""
    for folder in ("usr/sbin", "usr/bin"):
        path = os.path.join(TOOLS, folder, name)
        if os.path.exists(path):
            return path
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise NotAvailable(f"{name} is not there; make bench-peers fetches it")
    return path


def environment(**more):
    libraries = glob.glob(os.path.join(TOOLS, "usr/lib/*-linux-*"))
    return dict(os.environ, LD_LIBRARY_PATH=":".join(libraries), **more)


def anybody_can_reach(path):
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & 1:
            return False
    return True


class Peer:
    """A server of somebody else: a command, one port to connect to, how roostload talks to it."""
    name = adapter = url = version = ""
    options = {}

    def __init__(self):
        self.port, self.spare = bench.free_port(), bench.free_port()
        self.dir = tempfile.mkdtemp(prefix="roost-peer-")
        os.chmod(self.dir, 0o777)
        self.process = None
        try:
            self.start(self.command())
        except BaseException:
            self.stop()
            raise

    def command(self):
        raise NotImplementedError

    def path(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w" if isinstance(text, str) else "wb") as f:
            f.write(text)
        return path

    def start(self, command):
        become = ["setpriv", "--no-new-privs", "--pdeathsig", "TERM"]  # and ends when this program does
        if os.geteuid() == 0 and all(anybody_can_reach(p) for p in command if p.startswith("/")):
            become += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        with open(os.path.join(self.dir, "log"), "wb") as log:
            self.process = subprocess.Popen(become + command, cwd=self.dir, env=environment(**self.options),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid
        for _ in range(100):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        with open(os.path.join(self.dir, "log"), errors="replace") as log:
            raise NotAvailable("did not start: " + (log.read().strip().splitlines() or ["no reason given"])[-1])

    def target(self):
        return f"ws://127.0.0.1:{self.port}{self.url}"

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    @classmethod
    def say_version(cls, command, pattern):
        out = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        found = re.search(pattern, out)
        return found.group(1) if found else "?"


class Nchan(Peer):
    """nginx with one worker; no message is stored, as ours stores none."""
    name, adapter, url = "nchan", "raw", "/ws/{channel}"

    def command(self):
        nginx = find("nginx")
        modules = [p for p in (os.path.join(top, "usr/lib/nginx/modules/ngx_nchan_module.so") for top in (TOOLS, "/"))
                   if os.path.exists(p)]
        if not modules:
            raise NotAvailable("libnginx-mod-nchan is not there; make bench-peers fetches it")
        # The module brings the package's /var/lib/nginx with it, whatever the configuration says: our copy has the
        # working directory in its place, a name of the same length.
        with open(modules[0], "rb") as f:
            module = self.path("nchan.so", f.read().replace(b"/var/lib/nginx/", b"./" + b"/" * 13))
        temp = " ".join(f"{t}_temp_path {self.dir}/{t};" for t in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return [nginx, "-p", self.dir, "-c", self.path("nginx.conf", f"""
load_module {module};
user nobody nogroup;
daemon off; worker_processes 1; pid {self.dir}/pid; error_log stderr crit;
events {{ worker_connections {min(descriptors(), 30000) - 200}; }}
http {{
    access_log off; {temp}
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{self.port};
        location ~ ^/ws/(.+)$ {{
            nchan_pubsub websocket; nchan_channel_id $1;
            nchan_store_messages off; nchan_subscriber_first_message newest;
        }}
    }}
}}
""")]

    @classmethod
    def versions(cls):
        return "nginx " + cls.say_version([find("nginx"), "-v"], r"nginx/(\S+)") + ", nchan " + package("libnginx-mod-nchan")


class Ws(Peer):
    """peer_ws.mjs"""
    name, adapter, url = "ws", "raw", "/ws/{channel}"

    def command(self):
        if not os.path.exists(os.path.join(bench.TOP, "tests/e2e/node_modules/ws/package.json")):
            raise NotAvailable("npm's ws is not installed under tests/e2e")
        return [find("node"), os.path.join(bench.TOP, "tests/bench/peer_ws.mjs"), str(self.port)]

    @classmethod
    def versions(cls):
        with open(os.path.join(bench.TOP, "tests/e2e/node_modules/ws/package.json")) as f:
            return "ws " + json.load(f)["version"] + ", node " + cls.say_version([find("node"), "--version"], r"v(\S+)")


class Mosquitto(Peer):
    """MQTT 3.1.1, QoS 0. This version wants a listener without WebSocket too."""
    name, adapter, url = "mosquitto", "mqtt", "/mqtt"

    def command(self):
        return [find("mosquitto"), "-c", self.path("mosquitto.conf", f"""
listener {self.spare} 127.0.0.1
socket_domain ipv4
listener {self.port} 127.0.0.1
socket_domain ipv4
protocol websockets
allow_anonymous true
persistence false
log_dest stderr
log_type error
connection_messages false
set_tcp_nodelay true
""")]

    @classmethod
    def versions(cls):
        return "mosquitto " + cls.say_version([find("mosquitto"), "-h"], r"version (\S+)")


class Nats(Peer):
    name, adapter, url = "nats", "nats", "/"

    def command(self):
        return [find("nats-server"), "-c", self.path("nats.conf", f"""
host: 127.0.0.1
port: {self.spare}
max_connections: 1000000
websocket {{ host: 127.0.0.1, port: {self.port}, no_tls: true, compression: false }}
""")]

    @classmethod
    def versions(cls):
        return "nats-server " + cls.say_version([find("nats-server"), "--version"], r"v(\d\S+)")


class NatsOneProc(Nats):
    """The same with GOMAXPROCS=1, as ours has one worker."""
    name, options = "nats-1", {"GOMAXPROCS": "1"}


class Ours:
    name, adapter = "ours", "raw"

    def __init__(self):
        self.gateway = bench.Gateway(1)
        self.pid = self.gateway.pid

    def target(self):
        return f"ws://127.0.0.1:{self.gateway.port}/ws/{{channel}}"

    def stop(self):
        self.gateway.stop()


PEERS = [Nchan, Ws, Mosquitto, Nats, NatsOneProc]


def package(name):
    """The version of a package that was fetched or is installed."""
    try:
        with open(os.path.join(TOOLS, "." + name)) as f:
            return f.read().strip()
    except OSError:
        return subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True).stdout or "?"


def descriptors():
    with open("/proc/self/limits") as f:
        return int(f.read().split("Max open files")[1].split()[0])


# ---- scenarios ------------------------------------------------------------------------------------

def memory(server, args):
    r = load(server, "hold", connections=args.connections, ramp=2000, duration="2s", channel="m")
    gained = r["server"]["end"]["private"] - r["server"]["start"]["private"]
    return gained / max(r["ready_max"], 1), r


def broadcast(server, _):
    r = load(server, "broadcast", connections=1000, ramp=2000, rate=50, size=72, duration="3s", channel="b")
    expected = r["counters"]["messages_out"] * 1001  # the publisher is subscribed as well
    if r["counters"]["messages_in"] != expected:
        r["odd"].append(f"{r['counters']['messages_in']} deliveries instead of {expected}")
    return bench.cpu_per_message(r) * 1e6, r


def echo(server, _):
    r = load(server, "echo", connections=100, ramp=2000, size=125, duration="2s", depth=1, channel="e{n}")
    if r["counters"]["messages_in"] != r["counters"]["messages_out"]:
        r["odd"].append(f"{r['counters']['messages_out']} sent, {r['counters']['messages_in']} came back")
    return bench.cpu_per_message(r) * 1e6, r


def connect(server, _):
    r = load(server, "hold", connections=5000, ramp=2000, duration="100ms", channel="c")
    spent = r["server"]["ramped"]["cpu_seconds"] - r["server"]["start"]["cpu_seconds"]
    return spent / max(r["counters"]["connects_done"], 1) * 1e6, r


SCENARIOS = [("memory", "private memory of an idle subscriber", "B", memory),
             ("broadcast", "CPU of a delivery, 72 B to 1,000", "us", broadcast),
             ("echo", "CPU of a publication to oneself, 125 B", "us", echo),
             ("connect", "CPU of connect, upgrade, subscribe", "us", connect)]


def load(server, scenario, **options):
    """Runs roostload; what should not have happened stands in result["odd"]."""
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "r.json")
        args = [bench.program("roostload"), scenario, "--plain", "--json", out, "--pid", str(server.pid), "--url",
                server.target(), "--adapter", server.adapter, "--processes", "1"]
        for name, value in options.items():
            args += ["--" + name.replace("_", "-"), *([] if value is True else [str(value)])]
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if not os.path.exists(out):
            sys.exit(f"peers: {' '.join(args)}\n{done.stdout}")
        with open(out) as f:
            result = json.load(f)
    c = result["counters"]
    result["odd"] = [f"{name} {c[name]}" for name in
                     ("gaps", "duplicates", "reordered", "foreign_in", "connection_lost", "server_closed", "connect_failed",
                      "connect_timeout", "upgrade_refused", "protocol_errors") if c[name]]
    result["frames_each"] = c["frames_in"] / c["messages_in"] if c["messages_in"] else 0
    result["per_second"] = result["run_messages_in"] / max(result["run_seconds"], 0.1)
    return result


def measure(make, scenario, args):
    server = make()
    try:
        return scenario(server, args)
    finally:
        server.stop()


def rounds(peers, missing, args):
    """results[scenario][server]: one per round; interleaved, so that what else the machine does meets all alike. A peer
    that does not start any more leaves `peers`."""
    results, odd = {s[0]: {} for s in SCENARIOS}, []
    for n in range(args.rounds):
        for key, _, unit, scenario in SCENARIOS:
            for make in [Ours] + peers:
                try:
                    value, r = measure(make, scenario, args)
                except NotAvailable as why:
                    missing[make.name] = str(why)
                    peers.remove(make)
                    continue
                results[key].setdefault(make.name, []).append({"value": value, "per_second": r["per_second"],
                                                               "frames_each": r["frames_each"]})
                odd += [f"round {n + 1}, {key}, {make.name}: {what}" for what in r["odd"]]
                traffic = f"{r['per_second']:10.0f} msg/s {r['frames_each']:6.2f} frames each" if r["per_second"] else ""
                print(f"round {n + 1}  {key:<10} {make.name:<10} {value:10.2f} {unit:<2} {traffic}"
                      f"{'  ODD: ' + '; '.join(r['odd']) if r['odd'] else ''}", flush=True)
    return results, odd


def row_of(key, unit, name, theirs, ours):
    def median(of, what):
        return statistics.median(r[what] for r in of)

    ratios = [t["value"] / o["value"] for t, o in zip(theirs, ours)]
    return {"scenario": key, "unit": unit, "peer": name, "ours": median(ours, "value"), "theirs": median(theirs, "value"),
            "ratio": statistics.median(ratios), "ratios": [round(r, 3) for r in ratios],
            "messages_per_second": {"ours": median(ours, "per_second"), "theirs": median(theirs, "per_second")},
            "frames_per_message": {"ours": median(ours, "frames_each"), "theirs": median(theirs, "frames_each")}}


def table(results, peers):
    rows = []
    print(f"\n{'':<42}{'median':>12}  peer / ours (rounds)")
    for key, title, unit, _ in SCENARIOS:
        ours = results[key]["ours"]
        print(f"{title:<42}{statistics.median(r['value'] for r in ours):>9.2f} {unit:<2}")
        for peer in peers:
            row = row_of(key, unit, peer.name, results[key][peer.name], ours)
            rows.append(row)
            print(f"    {row['peer']:<38}{row['theirs']:>9.2f} {unit:<2}  {row['ratio']:.2f}  "
                  f"({', '.join(f'{r:.2f}' for r in row['ratios'])})")
    return rows


def available(names):
    peers, missing = [], {}
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        try:
            peer().stop()
            peer.version = peer.versions()
            peers.append(peer)
            print(f"{peer.name}: {peer.version}", flush=True)
        except NotAvailable as why:
            missing[peer.name] = str(why)
            print(f"{peer.name}: not available: {why}", flush=True)
    return peers, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=5000, help="idle ones, for the memory")
    parser.add_argument("--only", default="", help="comma-separated: " + ",".join(p.name for p in PEERS))
    parser.add_argument("--json", help="default: build/bench/peers.json")
    args = parser.parse_args()
    names = [n for n in args.only.split(",") if n]
    unknown = set(names) - {p.name for p in PEERS}
    if unknown or args.rounds < 1:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}" if unknown else "--rounds: at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    peers, missing = available(names)
    if not peers:
        return 1
    results, odd = rounds(peers, missing, args)
    rows = table(results, peers)
    for name, why in missing.items():
        print(f"{name}: not available: {why}")
    print("\nodd: " + ("; ".join(odd) if odd else "nothing: every publication was delivered to all, once and in order"))
    bench.write_json(args.json, "peers", rows, rounds=args.rounds, connections=args.connections,
                     versions={p.name: p.version for p in peers}, not_available=missing, odd=odd)
    return 0


if __name__ == "__main__":
    sys.exit(main())
