#!/usr/bin/python3
"""The k-th allocation fails, in every unit suite: whatever the test says of it, the code must not crash or hang.

usage: faults.py --build DIR [--seconds N] [SUITE...]

Each suite is run once to learn its places: each way of calls by which memory is asked for, at its first time. Then it is
run once for each of them, with that allocation failing, until the test that was running ends. A test may fail
then (it expected success), and its own code may stumble over what it did not get; what is counted are crashes,
failed assertions and sanitizers' reports in code that is not a test's, and runs that do not end. Under a sanitizer
(make check-faults SAN=address,undefined) more is seen. The last line is the totals: suites, and faults.
"""

import argparse
import concurrent.futures
import glob
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENDS = re.compile(rb'^(?:not )?ok \d|^\[ +(?:OK|FAILED|ERROR) +\]', re.M)
FRAME = re.compile(r'\(\+(0x[0-9a-f]+)\)')
LONGEST = 120           # of one run


def environment(**extra):
    env = {k: v for k, v in os.environ.items() if not k.startswith(('ROOST', 'FAULT'))}
    env.update(CMOCKA_MESSAGE_OUTPUT='TAP', **extra)
    env['ASAN_OPTIONS'] = 'detect_leaks=0:handle_segv=2:handle_abort=2:allocator_may_return_null=1:exitcode=97'
    env['UBSAN_OPTIONS'] = 'print_stacktrace=1:exitcode=97'
    return env


def short(path):
    return re.sub(r'^.*/((?:src|tests|include|cmd)/)', r'\1', path)


def ours(frames):
    return [x for x in frames if re.match(r'(src|cmd|tests)/|include/(?!x86)', x[1]) and 'tests/lib/fault.c' not in x[1]]


def called_by_test(frames):
    """What the test called, and where."""
    return next(((inner[0], outer[1]) for inner, outer in zip(frames, frames[1:]) if outer[1].startswith('tests/')), None)


class Suite:
    def __init__(self, build, path):
        self.name = os.path.relpath(path, os.path.join(build, 'tests'))
        self.path, self.faults, self.ran = path, {}, 0  # faults: what -> the allocations that showed it

    def places(self, folder):
        """Numbers of allocations, one for each place."""
        to = os.path.join(folder, 'places')
        subprocess.run([self.path], env=environment(FAULT_PLACES=to), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=300)
        try:
            with open(to) as f:
                return [int(x) for x in f]
        except FileNotFoundError:
            return []

    def lines_of(self, text):
        """Functions, files and lines of the frames of the program itself, the innermost first."""
        addresses = FRAME.findall(text)
        if not addresses:
            return []
        out = subprocess.run(['addr2line', '-f', '-e', self.path, *('%#x' % (int(a, 16) - 1) for a in addresses)], capture_output=True,
                             text=True).stdout
        lines = out.split('\n')
        return [(name, short(at.split(' ')[0])) for name, at in zip(lines[0::2], lines[1::2])]

    def run(self, k):
        """Fails the k-th; what was found, or None."""
        with subprocess.Popen([self.path], env=environment(FAULT_AT=str(k)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as p:
            timer = threading.Timer(LONGEST, p.kill)
            timer.start()
            out, failed = b'', None
            while True:
                data = os.read(p.stdout.fileno(), 65536)
                if not data:
                    break
                out += data
                if failed is None and b'fault: that was all' in out:
                    failed = out.index(b'fault: that was all')
                if failed is not None and ENDS.search(out, failed):
                    p.kill()
                    break
            status = p.wait()
            hung = not timer.is_alive()
            timer.cancel()
        text = out.decode('utf-8', 'replace')
        if hung:
            return 'it does not end'
        if failed is None or 'fault: ' not in text[failed + 20:] and status != 97:
            return None
        return self.judge(text[:failed], text[failed:], status)

    def judge(self, before, after, status):
        asked = ours(self.lines_of(before))
        where = next((at for _, at in asked if at.startswith(('src/', 'cmd/'))), '?')
        if status == 97:  # a sanitizer's report has names in it
            frames = [(name, short(at)) for name, at in re.findall(r' in (\S+) (/\S+:\d+)', after)]
        else:
            frames = self.lines_of(after)
        frames = ours(frames)
        if not frames or frames[0][1].startswith('tests/'):
            return None
        # It called with what another call, which had no memory, did not give it.
        if called_by_test(frames) not in (None, called_by_test(asked)) and frames[1:] and frames[1][1].startswith('tests/'):
            return None
        what = re.search(r'fault: (?!that)(.*)|(ERROR: \w+: \S+|runtime error: .*)', after)
        return '%s: %s at %s' % (where, what.group(0) if what else 'crash', ' < '.join(at for _, at in frames[:4]))


def sweep(suite, seconds):
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='roost-faults-') as folder:
        try:
            places = suite.places(folder)
        except OSError as e:
            places = []
            suite.faults[e.strerror] = [0]
        except subprocess.TimeoutExpired:
            places = []
            suite.faults['it does not end'] = [0]
    all_of_them = len(places)
    if all_of_them > 1:  # when the time does not suffice for all, it is spread
        random.Random(1).shuffle(places)
    for k in places:
        if time.monotonic() - started > seconds:
            break
        found = suite.run(k)
        suite.ran += 1
        if found:
            suite.faults.setdefault(found, []).append(k)
    print('  %-4s %-46s %4d of %4d places  %6.1f s' % ('FAIL' if suite.faults else 'ok', suite.name, suite.ran, all_of_them,
                                                     time.monotonic() - started), flush=True)
    for what, allocations in suite.faults.items():
        print('       FAULT_AT=%d%s: %s' % (min(allocations), ' and %d more' % (len(allocations) - 1) if allocations[1:] else '', what), flush=True)
    return suite


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--build', required=True)
    ap.add_argument('--seconds', type=float, default=60, help='for one suite')
    ap.add_argument('suites', nargs='*', help='such as core/test_hub; default: all')
    args = ap.parse_args()
    os.chdir(TOP)
    build = os.path.abspath(args.build)
    names = args.suites or [p[len('tests/unit/'):-2] for p in sorted(glob.glob('tests/unit/**/test_*.c', recursive=True))]
    suites = [Suite(build, os.path.join(build, 'tests/unit', n)) for n in names]
    with concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        done = list(pool.map(lambda s: sweep(s, args.seconds), suites))
    bad = sum(len(s.faults) for s in done)
    print('%d places in %d suites' % (sum(s.ran for s in done), len(done)))
    print('%d passed, %d failed' % (sum(not s.faults for s in done), bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
