#!/usr/bin/python3
"""Several plans, one after the other; the last line is the sum of their totals.

usage: check.py [SEED...]
"""

import os
import re
import subprocess
import sys

SECONDS, LONGEST = 45, 1800
SEEDS = (2, 3, 4)
CHAOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'chaos.py')


def main():
    good = bad = 0
    for seed in sys.argv[1:] or SEEDS:
        argv = ['/usr/bin/python3', CHAOS, '--seed', str(seed), '--duration', str(SECONDS)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            try:
                out = p.communicate(timeout=LONGEST)[0]
            except subprocess.TimeoutExpired:
                p.kill()
                out = p.communicate()[0] + 'chaos: seed %s took more than %d s\n' % (seed, LONGEST)
        print(out, end='')
        found = re.search(r'^(\d+) passed, (\d+) failed\n\Z', out, re.M)
        good, bad = good + (int(found.group(1)) if found else 0), bad + (int(found.group(2)) if found else 1)
    print('%d passed, %d failed' % (good, bad))
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
