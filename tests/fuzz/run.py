#!/usr/bin/python3
"""Runs fuzz targets one after the other, or several at a time, and reports what each has done, now and in all runs.

usage: run.py --build DIR --seconds N [--jobs N] TARGET...

The sum of all runs is kept in DIR/report.json; new inputs under DIR/found/, what was found under DIR. The exit status is 1 when there
was a finding.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def fuzz(build, target, seconds):
    """(seconds, executions, findings)"""
    found = os.path.join(build, 'found', target)
    os.makedirs(found, exist_ok=True)
    prefix = os.path.join(build, target + '-')
    before, started = set(glob.glob(prefix + '*')), time.monotonic()
    argv = [os.path.join(build, 'fuzz_' + target), '-max_total_time=%d' % seconds, '-timeout=10', '-print_final_stats=1',
            '-artifact_prefix=' + prefix, found, 'tests/fuzz/corpus/' + target]
    with open(os.path.join(build, target + '.log'), 'wb') as log:
        status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    with open(log.name, errors='replace') as f:
        text = f.read()
    n = re.search(r'stat::number_of_executed_units: (\d+)', text) or re.search(r'.*^#(\d+)\s', text, re.M | re.S)
    new = sorted(set(glob.glob(prefix + '*')) - before)
    for path in new:
        print('found: %s (%s.log says what)' % (os.path.relpath(path, TOP), os.path.relpath(prefix[:-1], TOP)), flush=True)
    return time.monotonic() - started, int(n.group(1)) if n else 0, max(len(new), int(status != 0))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--build', required=True)
    ap.add_argument('--seconds', type=int, default=60)
    ap.add_argument('--jobs', type=int, default=1)
    ap.add_argument('targets', nargs='+')
    args = ap.parse_args()
    os.chdir(TOP)
    build = os.path.abspath(args.build)
    kept = os.path.join(build, 'report.json')
    sums = {}
    if os.path.exists(kept):
        with open(kept) as f:
            sums = json.load(f)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        done = dict(zip(args.targets, pool.map(lambda t: fuzz(build, t, args.seconds), args.targets)))
    print('%-16s %8s %14s %9s   %8s %16s %9s' % ('target', 'hours', 'executions', 'findings', 'in all', 'executions', 'findings'))
    for target, now in done.items():
        total = sums[target] = [a + b for a, b in zip(sums.get(target, (0, 0, 0)), now)]
        print('%-16s %8.3f %14d %9d   %8.3f %16d %9d' % (target, now[0] / 3600, *now[1:], total[0] / 3600, *total[1:]))
    with open(kept + '.new', 'w') as f:
        json.dump(sums, f)
    os.rename(kept + '.new', kept)
    return 1 if any(n[2] for n in done.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
