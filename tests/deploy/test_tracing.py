#!/usr/bin/python3
"""The one-liners of deploy/TRACING.md: bpftrace finds each probe in the program and makes code of each (it attaches nothing). Needs root."""

import os
import re
import subprocess
import unittest

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
ROOSTD = os.path.realpath(os.path.join(os.environ.get('TEST_BUILD') or os.path.join(TOP, 'build/release'), 'roostd'))
INSTALLED = '/usr/bin/roostd'


def bpftrace(*args):
    p = subprocess.run(['bpftrace', *args], capture_output=True, text=True, timeout=600)
    return p.returncode, p.stdout + p.stderr


def one_liners():
    with open(os.path.join(TOP, 'deploy/TRACING.md')) as f:
        return re.findall(r"(?m)^bpftrace --usdt-file-activation -e '(.*)'$", f.read())


class OneLiners(unittest.TestCase):
    def test_each(self):
        programs = one_liners()
        self.assertGreaterEqual(len(programs), 10)
        for program in programs:
            status, out = bpftrace('-d', '-e', program.replace(INSTALLED, ROOSTD))
            self.assertEqual(status, 0, (program, out[-2000:]))
            # It does not look whether the probe is there.
            for probe in re.findall(r'usdt:\S+?:roost:\w+', program.replace(INSTALLED, ROOSTD)):
                self.assertEqual(bpftrace('-l', probe)[1].strip(), probe)

    def test_what_is_wrong_is_seen(self):
        for program in ('usdt:%s:roost:close { @[arg9] = count(); }', 'usdt:%s:roost:close { @[str(arg1)] = nothing(); }'):
            status, _ = bpftrace('-d', '-e', program % ROOSTD)
            self.assertNotEqual(status, 0, program)

    def test_its_list_is_ours(self):
        status, out = bpftrace('-l', 'usdt:%s:*' % ROOSTD)
        self.assertEqual(status, 0, out)
        with open(os.path.join(TOP, 'deploy/TRACING.md')) as f:
            events = re.findall(r'(?m)^\| `(\w+)` \|', f.read())
        self.assertEqual(sorted(x.rsplit(':', 1)[1] for x in out.split()), sorted(events))


if __name__ == '__main__':
    unittest.main()
