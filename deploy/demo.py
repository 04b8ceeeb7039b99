#!/usr/bin/python3
"""A scene of a gateway under load, in a terminal: make demo.

usage: demo.py [--connections N] [--ramp RATE] [--report FILE] [--plain]

roostd, Prometheus with the alerting rules of deploy/prometheus, and roostload on this machine, in five acts: clients come, all
of them get messages, a worker is killed, clients are sent away, the node stops. It ends by itself within two minutes, leaves a
report page and nothing that runs. Without a terminal, or with --plain, it is told in lines. Exit status: 0, or 1 with what
went wrong.
"""
import argparse
import collections
import ctypes
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build/release"))
PER_WORKER = 15000  # clients, so that an uneven spread fits 20,000 descriptors
RESERVED = 500      # descriptors of a process that are no clients
BROADCASTS, RECOVERY, PATIENCE, DRAIN = 12, 12, 25, 8  # seconds of the acts behind the ramp
DELIVERIES = 25000  # a second, at the most: two cores have both ends to do
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ACTS = (("Clients come", "roostload opens WebSocket connections, each subscribed to one channel."),
        ("Everybody gets the message", "Publications, each of them delivered to every client."),
        ("A worker is killed", "kill -9. Its clients come back, by the others or the one that replaces it."),
        ("Clients are sent away", "roostctl drain: down to a fifth, at an even pace; /readyz says 503."),
        ("The node stops", "SIGTERM: those that are left are closed, the exit status is 0."))


class Failed(Exception):
    pass


def with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the demo
    os.setpgid(0, 0)  # a terminal's Ctrl-C is for the demo, which ends them in their order


def get(url, timeout=5):
    with LOOPBACK.open(url, timeout=timeout) as r:
        return r.read().decode()


def amount(n):
    return f"{n:,.0f}"


class Program:
    """A process whose lines are read; the last word of each is kept."""

    def __init__(self, name, *argv):
        self.name, self.lines = name, collections.deque(maxlen=400)
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, errors="replace", preexec_fn=with_parent)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def find(self, pattern):
        for line in list(self.lines):
            found = re.search(pattern, line)
            if found:
                return found
        return None

    def await_line(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while not self.find(pattern):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{self.name} did not start:\n" + "\n".join(self.lines))
            time.sleep(0.05)
        return self.find(pattern)

    def end(self, seconds=20):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(5)
        return self.process.returncode


class Scene:
    def __init__(self, args):
        self.args, self.programs = args, []
        self.folder = tempfile.TemporaryDirectory(prefix="roost-demo-")
        self.began, self.act, self.events = time.monotonic(), 0, []
        self.processes, self.rates, self.alerts = [], collections.deque(maxlen=48), set()
        self.connections = self.deliveries = self.resident = self.empty = 0
        self.seen = None  # (time, deliveries) of the look before
        self.drain = {}

    # -- what runs

    def start(self, name, *argv):
        program = Program(name, *argv)
        self.programs.append(program)
        return program

    def start_gateway(self):
        workers = min(128, max(3, math.ceil(self.args.connections / PER_WORKER)))
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        room = workers * (limit - RESERVED) * 0.9 if limit != resource.RLIM_INFINITY else math.inf
        if self.args.connections > room:
            raise Failed(f"{limit} descriptors a process (ulimit -Hn) are too few for {self.args.connections} clients on {workers} workers: "
                         f"make demo CONNECTIONS={int(room) // 1000 * 1000}")
        self.gateway = self.start("roostd", os.path.join(BUILD, "roostd"), "--set", "listen=127.0.0.1:0", "--set",
                                  "admin_listen=127.0.0.1:0", "--set", f"workers={workers}", "--set", "drain_time=2s", "--set",
                                  f"max_connections={self.args.connections + 1000}")
        self.client = self.gateway.await_line(r"listening\"? address=(\S+) for=clients").group(1)
        self.admin = "http://" + self.gateway.await_line(r"listening\"? address=(\S+) for=admin").group(1)
        self.gateway.await_line(r'msg="?ready')
        self.say(f"roostd is ready, {workers} workers, admin page at {self.admin}")

    def start_prometheus(self):
        self.prometheus = None
        program = shutil.which("prometheus", path=os.path.join(TOP, "build/tools") + os.pathsep + os.environ["PATH"])
        if program is None:
            self.say("no Prometheus here: the scene goes on without it")
            return
        config = os.path.join(self.folder.name, "prometheus.yml")
        with open(config, "w") as f:
            json.dump({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                       "rule_files": [os.path.join(TOP, "deploy/prometheus/roost-rules.yml")],
                       "scrape_configs": [{"job_name": "roost", "static_configs": [{"targets": [self.admin[7:]]}]}]}, f)
        prometheus = self.start("prometheus", program, "--config.file", config, "--storage.tsdb.path",
                                os.path.join(self.folder.name, "data"), "--web.listen-address", "127.0.0.1:0")
        found = prometheus.await_line(r'msg="Listening on" address=(\S+)')
        self.prometheus = "http://" + found.group(1)
        self.say(f"Prometheus watches it, with our rules: {self.prometheus}")

    def start_load(self):
        rate = min(0.5, DELIVERIES / self.args.connections)
        self.load = self.start("roostload", os.path.join(BUILD, "roostload"), "broadcast", "--plain", "--connections", str(self.args.connections),
                               "--ramp", str(self.args.ramp), "--rate", f"{rate:.3f}", "--duration", "10m", "--connect-timeout", "30s",
                               "--url", f"ws://{self.client}/ws/demo", "--html", self.args.report, "--pid", str(self.gateway.process.pid))

    # -- what is seen

    def say(self, text):
        self.events.append((time.monotonic() - self.began, text))
        if self.args.plain:
            print(f"{self.clock()}  {text}", flush=True)

    def clock(self):
        seconds = int(time.monotonic() - self.began)
        return f"{seconds // 60:02d}:{seconds % 60:02d}"

    def look(self):
        """At the gateway and at what Prometheus makes of it."""
        try:
            node = json.loads(get(self.admin + "/debug/processes"))
            page = get(self.admin + "/metrics")
            self.drain = json.loads(get(self.admin + "/debug/drain"))
        except (OSError, ValueError):
            return
        self.processes, self.connections = node["processes"], node["connections"]
        self.resident = sum(p["rss_bytes"] for p in self.processes)
        total = float(re.search(r"^roost_deliveries_total (\S+)", page, re.M).group(1))
        now = time.monotonic()
        if self.seen:
            self.rates.append(max(0, total - self.seen[1]) / (now - self.seen[0]))
        self.seen, self.deliveries = (now, total), total
        self.look_at_alerts()

    def look_at_alerts(self):
        if self.prometheus is None:
            return
        try:
            query = urllib.parse.urlencode({"query": 'ALERTS{alertstate="firing"}'})
            result = json.loads(get(f"{self.prometheus}/api/v1/query?{query}"))["data"]["result"]
        except (OSError, ValueError, KeyError):
            return
        for name in sorted({r["metric"]["alertname"] for r in result} - self.alerts):
            self.alerts.add(name)
            self.say(f"Prometheus fires {name}")

    def latency(self):
        found = [re.search(r"p50 (\S+) p99 (\S+)", x) for x in list(self.load.lines)[-4:]]
        found = [f for f in found if f and f.group(1) != "-"]
        return f"{found[-1].group(1)} / {found[-1].group(2)}" if found else "-"

    def phase(self):
        found = [re.match(r"\s*\d+s (\w+) +ready (\d+)/", x) for x in list(self.load.lines)[-3:]]
        found = [f for f in found if f]
        return (found[-1].group(1), int(found[-1].group(2))) if found else ("", 0)

    # -- the acts

    def until(self, condition, seconds, what):
        """Looks and draws until it is true. Failed when it does not come."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            self.draw()
            if condition():
                return
            if self.gateway.process.poll() is not None:
                raise Failed("roostd has ended:\n" + "\n".join(list(self.gateway.lines)[-5:]))
            if time.monotonic() > end:
                raise Failed(f"{what}: not within {seconds} s")
            time.sleep(0.5)

    def rest_of(self, seconds):
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 30, "a pause")

    def next_act(self, n):
        self.act = n
        if self.args.plain:
            print(f"\n{self.clock()}  Act {n} of {len(ACTS)}: {ACTS[n - 1][0]}. {ACTS[n - 1][1]}", flush=True)

    def clients_come(self):
        self.next_act(1)
        self.look()
        self.empty = self.resident
        self.start_load()
        self.until(lambda: self.phase()[0] == "run" or self.load.process.poll() is not None,
                   self.args.connections / self.args.ramp * 3 + 30, "the ramp")
        if self.load.process.poll() is not None:
            raise Failed("roostload has ended:\n" + "\n".join(list(self.load.lines)[-5:]))
        self.look()
        each = (self.resident - self.empty) / max(1, self.connections)
        self.say(f"{amount(self.connections)} clients are here; roostd takes {self.resident / 2**20:.0f} MiB, {each:,.0f} B each")

    def everybody_gets_the_message(self):
        self.next_act(2)
        before = self.deliveries
        self.rest_of(BROADCASTS)
        self.say(f"{amount(self.deliveries - before)} deliveries in {BROADCASTS} s; p50 / p99 {self.latency()}")

    def a_worker_is_killed(self):
        self.next_act(3)
        end = time.monotonic() + RECOVERY
        victim = next(p for p in self.processes if p["name"] == "worker1")
        whole = self.connections
        os.kill(victim["pid"], signal.SIGKILL)
        killed = time.monotonic()
        self.say(f"{victim['name']} (process {victim['pid']}) is killed, with {amount(victim['connections'])} clients")
        self.until(lambda: any(p["name"] == "worker1" and p["restarts"] > victim["restarts"] and p["phase"] == "ready"
                               for p in self.processes), 20, "another worker1")
        self.until(lambda: self.connections >= whole or time.monotonic() > killed + PATIENCE, PATIENCE + 10, "the clients")
        took, back = time.monotonic() - killed, min(0, self.connections - whole)
        self.say(f"all are back after {took:.1f} s; the others noticed nothing" if back == 0 else
                 f"after {took:.0f} s {amount(-back)} are not back yet: this machine has other things to do")
        self.rest_of(max(1, end - time.monotonic()))

    def clients_are_sent_away(self):
        self.next_act(4)
        leave = self.args.connections // 5
        command = [os.path.join(BUILD, "roostctl"), "--admin", self.admin, "drain", "--leave", str(leave), "--time", f"{DRAIN}s"]
        self.say("$ " + " ".join(["roostctl"] + command[3:]))
        ctl = self.start("roostctl", *command)
        self.until(lambda: ctl.process.poll() is not None, DRAIN + 60, "the drain")
        if ctl.process.returncode != 0:
            raise Failed("roostctl drain: " + "\n".join(ctl.lines))
        self.look()
        self.say(f"drained: {amount(self.connections)} clients stay; who comes back is told 503, Retry-After")
        self.rest_of(3)
        self.load.process.send_signal(signal.SIGTERM)
        self.until(lambda: self.load.process.poll() is not None, 60, "roostload's end")
        if not os.path.exists(self.args.report):
            raise Failed("roostload left no report:\n" + "\n".join(list(self.load.lines)[-5:]))

    def the_node_stops(self):
        self.next_act(5)
        self.draw()
        status = self.gateway.end()
        self.say(f"roostd has stopped, exit status {status}")
        self.draw()
        if status != 0:
            raise Failed("roostd:\n" + "\n".join(list(self.gateway.lines)[-5:]))

    def play(self):
        self.start_gateway()
        self.start_prometheus()
        self.clients_come()
        self.everybody_gets_the_message()
        self.a_worker_is_killed()
        self.clients_are_sent_away()
        self.the_node_stops()

    def clean_up(self):
        for p in reversed(self.programs):
            p.end(5)
        self.folder.cleanup()
        if self.programs:
            with open(os.path.splitext(self.args.report)[0] + ".log", "w") as f:
                f.writelines(line + "\n" for line in self.programs[0].lines)

    # -- the screen

    def bar(self, share, width=40):
        full = int(max(0, min(1, share)) * width + 0.5)
        return "█" * full + "·" * (width - full)

    def spark(self):
        top = max(self.rates, default=0)
        return "".join("▁▂▃▄▅▆▇█"[int(r / top * 7)] if top else "▁" for r in self.rates)

    def screen(self):
        title, text = ACTS[self.act - 1] if self.act else ("The stage is set", "")
        n = self.args.connections
        state = self.drain.get("state", "none")
        yield f"\033[1m Roost\033[0m  {amount(n)} clients on this machine{'':24}{self.clock()}"
        yield ""
        yield f" \033[1;36mAct {self.act} of {len(ACTS)}: {title}\033[0m"
        yield f" {text}"
        yield ""
        yield f" clients      {amount(self.connections):>9}  {self.bar(self.connections / n)}"
        workers = [p for p in self.processes if p["name"].startswith("worker")]
        for p in workers[:6]:
            colour = "\033[31m" if p["phase"] != "ready" else "\033[33m" if p["restarts"] else ""
            yield (f"   {colour}{p['name']:<10} {amount(p['connections']):>8}  {self.bar(p['connections'] * len(workers) / n / 1.5, 24)}"
                   f"  {'process ' + str(p['pid']) if p['pid'] else p['phase']}\033[0m")
        yield f" deliveries/s {amount(self.rates[-1] if self.rates else 0):>9}  {self.spark()}"
        yield f" p50 / p99    {self.latency() if self.act else '-':>9}   memory {self.resident / 2**20:.0f} MiB"
        yield f" drain        {state:>9}" + (f"   {amount(self.drain['left'])} to go, {amount(self.drain['leave'])} may stay" if "leave" in self.drain else "")
        yield f" Prometheus   {', '.join(sorted(self.alerts)) or 'no alerts'}"
        yield ""
        for at, event in self.events[-8:]:
            yield f" \033[2m{int(at) // 60:02d}:{int(at) % 60:02d}\033[0m  {event}"

    def draw(self):
        if self.args.plain:
            return
        columns, rows = shutil.get_terminal_size()
        lines = list(self.screen())[:rows - 1]
        sys.stdout.write("\033[H" + "".join(cut(x, columns) + "\033[0m\033[K\n" for x in lines) + "\033[J")
        sys.stdout.flush()


def cut(line, columns):
    """To so many characters, those that move nothing not counted."""
    out, shown = [], 0
    for piece in re.split(r"(\033\[[0-9;]*m)", line):
        if piece.startswith("\033"):
            out.append(piece)
        else:
            out.append(piece[:max(0, columns - shown)])
            shown += len(piece)
    return "".join(out)


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--connections", type=int, default=50000)
    ap.add_argument("--ramp", type=int, default=0, help="clients that come a second (default: all within 20 s)")
    ap.add_argument("--report", default=os.path.join(TOP, "build/demo/report.html"), help="default: build/demo/report.html")
    ap.add_argument("--plain", action="store_true", help="lines instead of a screen, also on a terminal")
    args = ap.parse_args()
    args.ramp = args.ramp or max(100, args.connections // 20)
    args.plain = args.plain or not sys.stdout.isatty()
    if args.connections < 100:
        ap.error("--connections: at least 100")
    if os.path.exists(args.report):
        os.unlink(args.report)
    os.makedirs(os.path.dirname(os.path.abspath(args.report)), exist_ok=True)
    return args


def main():
    args = arguments()
    scene = Scene(args)
    failure = None
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(1))
    if not args.plain:
        sys.stdout.write("\033[?1049h\033[?25l\033[2J")
    try:
        scene.play()
    except (Failed, OSError) as e:
        failure = str(e)
    except KeyboardInterrupt:
        failure = "interrupted"
    finally:
        scene.clean_up()
        if not args.plain:
            sys.stdout.write("\033[?25h\033[?1049l")
            for at, event in scene.events:
                print(f"{int(at) // 60:02d}:{int(at) % 60:02d}  {event}")
    if failure:
        sys.exit("demo: " + failure)
    print(f"\nThe report of it all: {args.report} (and the log of roostd, .log)")


if __name__ == "__main__":
    main()
