#!/usr/bin/python3
"""slowhttptest (Debian) against a client listener with fewer places than it asks for: who is honest is served meanwhile."""

import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))

from daemon import DaemonTest, before_exec  # noqa: E402
from wsraw import TEXT  # noqa: E402

PLACES, ATTACKERS, RATE, SECONDS = 1500, 3000, 500, 12


class SlowHttp(DaemonTest):
    def attack(self, *mode, path='/ws/a', **settings):
        """Honest clients come one after another for as long as it lasts; each is served."""
        d = self.start(workers=2, max_connections=PLACES, **settings)
        p = subprocess.Popen(['slowhttptest', *mode, '-c', str(ATTACKERS), '-r', str(RATE), '-l', str(SECONDS), '-i', '2', '-p', '5',
                              '-u', 'http://%s%s' % (d.client, path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             preexec_fn=lambda: before_exec(nofile=2 * ATTACKERS))
        served = 0
        try:
            with self.subTest('honest clients'):
                while p.poll() is None:
                    with d.ws('/ws/honest') as c:
                        self.assertEqual(c.response.status, 101)
                        c.text('x')
                        c.expect(TEXT, 'x')
                        c.goodbye()
                    served += 1
            text = re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', p.communicate()[0])
        finally:
            if p.poll() is None:
                p.kill()
                p.communicate()
        self.assertEqual(p.returncode, 0, text[-2000:])
        verdicts = re.findall(r'service available:\s*(\w+)', text)
        self.assertNotEqual(verdicts, [], text[-2000:])
        self.assertEqual(set(verdicts), {'YES'})
        self.assertGreater(served, SECONDS)
        return d

    def test_slow_heads(self):
        d = self.attack('-H')
        self.assertGreater(d.metric('roost_closes_total{reason="crowded_out"}'), 0)

    def test_slow_bodies(self):
        self.attack('-B', path='/emulation', http_stream=True)

    def test_slow_readers(self):
        """Of a page, asked for several times on one connection."""
        self.attack('-X', '-k', '5', '-w', '10', '-y', '20', '-n', '5', '-z', '32', path='/')

    def test_ranges(self):
        self.attack('-R', path='/')


if __name__ == '__main__':
    unittest.main(verbosity=0)
