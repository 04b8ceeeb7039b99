#!/usr/bin/python3
"""What a delivery, an echo and a connection cost a worker, and a publication the hub, in instructions of user space: make bench-cost.

usage: cost.py [--build DIR] [--against DIR] [--rounds N] [--json FILE]

By callgrind, everything in lockstep: the next publication, echo or connection begins when the last one has
arrived. What is left to the machine's load is how many turns the worker needs, so the least of some rounds counts. --against
measures another build as well, in alternating rounds, and fails when any figure of ours is more than 1.02 of theirs.

  delivery  a publication of 72 B to 200 subscribers, by a publisher of another channel's
  json, protobuf   the same to Centrifuge clients
  echo      125 B to its sender, alone in its channel
  connect   accept, upgrade, subscribe, close by the client, the end
  hub       the hub's share of a publication of 72 B to subscribers of two workers, alone in its round
  hub_many  the same, of 50 that come at once
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(HERE, '../integration'), HERE]

from bench import free_port, write_json  # noqa: E402
from ingest import ENVIRONMENT, await_ready, instructions  # noqa: E402
from wsraw import BINARY, TEXT, WebSocket, frame  # noqa: E402

SUBSCRIBERS = 200
LIMIT = 1.02


class Gateway:
    """roostd under callgrind."""

    def __init__(self, build, tmp, workers):
        port, admin = free_port(), free_port()
        self.client, self.tmp = f'127.0.0.1:{port}', tmp
        self.process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'TERM', 'valgrind', '-q', '--tool=callgrind', '--callgrind-out-file=' + os.path.join(tmp, 'out.%p'),
             os.path.join(build, 'roostd'), '--set', 'listen=' + self.client, '--set', f'admin_listen=127.0.0.1:{admin}',
             '--set', f'workers={workers}', '--set', 'drain_time=0s', '--set', 'turn_budget=100ms',
             '--set', 'insecure=true', '--set', 'ping_interval=1h'], stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        await_ready(admin, self.process)
        with urllib.request.urlopen(f'http://127.0.0.1:{admin}/debug/processes', timeout=20) as answer:
            self.pids = {p['name']: p['pid'] for p in json.load(answer)['processes']}

    def stop(self, process):
        """The instructions of a process, from its start to its end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit('cost: roostd under callgrind did not end')
        return instructions(os.path.join(self.tmp, f'out.{self.pids[process]}'))


def deliveries(address, count):
    subscribers = [WebSocket(address, '/ws/wide') for _ in range(SUBSCRIBERS)]
    with WebSocket(address, '/ws/wide?echo=0') as publisher:
        for _ in range(count):
            publisher.text('x' * 72)
            for s in subscribers:
                s.recv()
    for s in subscribers:
        s.close()


def centrifuge_deliveries(address, count, protobuf=False):
    subscribers = [WebSocket(address, '/connection/websocket' + ('?format=protobuf' if protobuf else '')) for _ in range(SUBSCRIBERS)]
    for s in subscribers:
        if protobuf:  # the length of each command, its id, connect {} and subscribe {channel}
            s.send_frame(BINARY, b'\x04\x08\x01\x22\x00' + b'\x0a\x08\x02\x2a\x06\x0a\x04wide')
        else:
            s.text('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"wide"}}')
        answer = b''
        while (b'\x08\x02\x32' if protobuf else b'"id":2') not in answer:
            answer += s.recv().payload
    with WebSocket(address, '/ws/wide?echo=0') as publisher:
        for _ in range(count):
            publisher.text('x' * 72)
            for s in subscribers:
                s.recv()
    for s in subscribers:
        s.close()


def protobuf_deliveries(address, count):
    centrifuge_deliveries(address, count, True)


def echoes(address, count):
    with WebSocket(address, '/ws/alone') as client:
        for _ in range(count):
            client.text('x' * 125)
            client.recv()


def connects(address, count):
    for _ in range(count):
        WebSocket(address, '/ws/often').goodbye()


def publications(address, count, at_once=1):
    # The kernel spreads them: all at one worker once in half a million runs.
    subscribers = [WebSocket(address, '/ws/both') for _ in range(20)]
    with WebSocket(address, '/ws/both?echo=0') as publisher:
        for _ in range(count):
            publisher.send(frame(TEXT, b'x' * 72) * at_once)
            for s in subscribers:
                for _ in range(at_once):
                    s.recv()
    for s in subscribers:
        s.close()


def many_publications(address, count):
    publications(address, count, 50)


def run(build, work, count, process):
    with tempfile.TemporaryDirectory() as tmp:
        g = Gateway(build, tmp, 2 if process == 'hub' else 1)
        try:
            work(g.client, count)
        finally:
            total = g.stop(process)
        return total


def cost(build, work, count, each, process):
    """What does not depend on the count (start and end, the first use of each path) falls out of the difference."""
    return (run(build, work, 3 * count, process) - run(build, work, count, process)) / (2 * count * each)


WORK = {
    'delivery': (deliveries, 30, SUBSCRIBERS, 'worker0'),
    'json': (centrifuge_deliveries, 30, SUBSCRIBERS, 'worker0'),
    'protobuf': (protobuf_deliveries, 30, SUBSCRIBERS, 'worker0'),
    'echo': (echoes, 1000, 1, 'worker0'),
    'connect': (connects, 150, 1, 'worker0'),
    'hub': (publications, 200, 1, 'hub'),
    'hub_many': (many_publications, 20, 50, 'hub'),
}


def measure(builds, rounds):
    """The least of the rounds, by build and work."""
    found = {b: {} for b in builds}
    for _ in range(rounds):
        for build in builds:
            for what, row in WORK.items():
                n = cost(build, *row)
                found[build][what] = min(n, found[build].get(what, n))
    return found


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--build', default=os.environ.get('BUILD', os.path.join(TOP, 'build', 'release')))
    ap.add_argument('--against', help='the build folder of another state of the sources')
    ap.add_argument('--rounds', type=int, default=3)
    ap.add_argument('--json', help='default: build/bench/cost.json')
    args = ap.parse_args()
    if not shutil.which('valgrind'):
        sys.exit('cost: valgrind is not installed; make bench-cost installs it')
    found = measure([b for b in (args.build, args.against) if b], args.rounds)
    ours, theirs = found[args.build], found.get(args.against, {})
    rows = [{'what': what, 'instructions': n, 'against': theirs.get(what)} for what, n in ours.items()]
    print('instructions, user space')
    for r in rows:
        print(f'  {r["what"]:<10}{r["instructions"]:>10.0f}' +
              (f'{r["against"]:>10.0f} against   {r["instructions"] / r["against"]:.3f}' if r['against'] else ''))
    write_json(args.json, 'cost', rows)
    return any(r['against'] and r['instructions'] > LIMIT * r['against'] for r in rows)


if __name__ == '__main__':
    sys.exit(main())
