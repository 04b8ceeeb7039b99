#!/usr/bin/python3
"""npm's ws, and the demo page in headless Chromium, against a daemon of several workers."""

import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))

from daemon import DaemonTest  # noqa: E402


class Clients(DaemonTest):
    def node(self, script, wanted):
        d = self.start(workers=3)
        p = subprocess.run(['node', os.path.join(HERE, script), d.client, d.admin, *filter(None, [os.environ.get('SCREENSHOTS')])],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        done = re.findall(r'^ok (.*)$', p.stdout, re.M)
        self.assertEqual(len(done), wanted, p.stdout)  # none was forgotten
        return d

    def test_npm_ws(self):
        self.node('ws.mjs', 11)

    def test_demo_page_in_chromium(self):
        self.node('demo.mjs', 7)


if __name__ == '__main__':
    unittest.main(verbosity=0)
