#!/usr/bin/python3
"""The admin page in headless Chromium, of a daemon with a key and of one without."""

import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))

from centrifuge import OPEN, SECRET, yaml  # noqa: E402
from daemon import DaemonTest  # noqa: E402

CHANNELS = {'channel_without_namespace': {**OPEN, 'channel_regex': '.', 'join_leave': True, 'allow_publish_for_subscriber': True},
            'namespaces': [{'name': 'bare', 'allow_subscribe_for_client': True}],
            'token_hmac_secret_key': SECRET, 'plain': True, 'output_limit': '64MiB', 'output_timeout': '60s'}


class AdminPage(DaemonTest):
    def drive(self, script, wanted, d, *args):
        p = subprocess.run(['node', os.path.join(HERE, script), d.client, d.admin, *args, *filter(None, [os.environ.get('SCREENSHOTS')])],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        done = re.findall(r'^ok (.*)$', p.stdout, re.M)
        self.assertEqual(len(done), wanted, p.stdout)  # none was forgotten

    def test_with_a_key(self):
        path = self.file(yaml({'api_key': 'the+key/of=ops', 'metrics_key': 'the-key-of-the-scraper', **CHANNELS}))
        d = self.start(workers=2, config=path)
        self.drive('admin.mjs', 25, d, path, SECRET)
        self.assertNotIn('of=ops', d.text())

    def test_without_a_key(self):
        d = self.start(workers=1)
        self.drive('admin_open.mjs', 4, d)


if __name__ == '__main__':
    unittest.main(verbosity=0)
