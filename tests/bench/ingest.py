#!/usr/bin/python3
"""What a text frame costs on its way in, in instructions of user space: make bench-ingest.

usage: ingest.py [--build DIR] [--frames N] [--json FILE]

Two figures a row, both by callgrind, so that they do not depend on the machine's load:
  codec   ws_rx_next() alone: header, unmasking, validation of UTF-8
  worker  conn_readable() of a running daemon: the codec, and the publication into the ring to the hub
"""

import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

from bench import free_port, write_json  # noqa: E402

SIZES = (125, 1024, 16384)
SEGMENT = 1448  # what an Ethernet segment carries

# valgrind counts each byte that rep movsb moves as an instruction; vector moves are what a processor would run.
ENVIRONMENT = {**os.environ, 'GLIBC_TUNABLES': 'glibc.cpu.x86_rep_movsb_threshold=1073741824'}


def callgrind(out, toggle):
    return ['valgrind', '-q', '--tool=callgrind', '--callgrind-out-file=' + out, '--toggle-collect=' + toggle]


def instructions(path):
    """The total of a callgrind.out file."""
    with open(path) as f:
        found = re.findall(r'^(?:summary|totals): (\d+)', f.read(), re.M)
    return int(found[-1]) if found else 0


def codec(build, size, text='ascii', frames=1000, piece=65536):
    """Instructions per payload byte of ws_rx_next(). A frame comes whole, or in pieces of so many bytes."""
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, 'out')
        subprocess.run([*callgrind(out, 'ws_rx_next'), os.path.join(build, 'tests/bench/ingest'), str(size), str(frames), text,
                        str(piece)],
                       check=True, timeout=300, env=ENVIRONMENT)
        return instructions(out) / size / frames


def await_ready(admin, process):
    for _ in range(600):
        try:
            urllib.request.urlopen(f'http://127.0.0.1:{admin}/readyz', timeout=1).read()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    sys.exit('ingest: roostd under callgrind did not become ready')


def metric(admin, name):
    text = urllib.request.urlopen(f'http://127.0.0.1:{admin}/metrics', timeout=20).read().decode()
    return sum(float(v) for v in re.findall(r'^' + name + r'(?:\{[^}]*\})? (\S+)', text, re.M))


def worker(build, size):
    """Instructions per payload byte of a worker's read events, while clients publish."""
    port, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory() as tmp:
        daemon = subprocess.Popen(
            [*callgrind(os.path.join(tmp, 'out.%p'), 'conn_readable'), os.path.join(build, 'roostd'), '--set',
             f'listen=127.0.0.1:{port}', '--set', f'admin_listen=127.0.0.1:{admin}', '--set', 'workers=1', '--set', 'drain_time=0s'],
            stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        try:
            await_ready(admin, daemon)
            subprocess.run([os.path.join(build, 'roostload'), 'echo', '--plain', '--connections', '10', '--ramp', '20', '--size', str(size),
                            '--duration', '4s', '--channel', 'e{n}', '--url', f'ws://127.0.0.1:{port}/ws/{{channel}}'],
                           check=True, timeout=120, stdout=subprocess.DEVNULL)
            messages = metric(admin, 'roost_messages_in_total')
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()
        # Master and hub have no connection.
        return sum(instructions(f) for f in glob.glob(os.path.join(tmp, 'out.*'))) / size / messages


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--build', default=os.environ.get('BUILD', os.path.join(TOP, 'build', 'release')))
    ap.add_argument('--frames', type=int, default=1000, help='frames of each size for the codec (default 1000)')
    ap.add_argument('--json', help='default: build/bench/ingest.json')
    args = ap.parse_args()
    if not shutil.which('valgrind'):
        sys.exit('ingest: valgrind is not installed; make bench-ingest installs it')
    rows = []
    print('instructions per byte of payload, user space')
    print(f'{"text frames of":<24}{"codec":>8}{"worker":>8}')
    for size in SIZES:
        rows.append({'size': size, 'text': 'ascii', 'codec': codec(args.build, size, frames=args.frames), 'worker': worker(args.build, size)})
        print(f'{size:>6} B{"":<16}{rows[-1]["codec"]:>8.2f}{rows[-1]["worker"]:>8.2f}', flush=True)
    rows.append({'size': 16384, 'text': 'cyrillic', 'codec': codec(args.build, 16384, 'cyrillic', args.frames)})
    print(f'{16384:>6} B{", Cyrillic":<16}{rows[-1]["codec"]:>8.2f}', flush=True)
    for size, piece in ((16384, SEGMENT), (262144, 65536)):
        rows.append({'size': size, 'text': 'ascii', 'piece': piece,
                     'codec': codec(args.build, size, frames=max(args.frames * 16384 // size, 1), piece=piece)})
        print(f'{size:>6} B in pieces of {piece:<6}{rows[-1]["codec"]:>5.2f}', flush=True)
    write_json(args.json, 'ingest', rows)


if __name__ == '__main__':
    main()
