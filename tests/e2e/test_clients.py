#!/usr/bin/python3
"""npm's ws, also compressed, and two pages in headless Chromium: the demo of a daemon of several workers, and roostload's report of one."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, '../../deploy/demo.yaml')
sys.path.insert(0, os.path.join(HERE, '../integration'))

from daemon import DaemonTest  # noqa: E402
from loadtest import run  # noqa: E402
from pki import Pki  # noqa: E402


class Clients(DaemonTest):
    def node(self, script, wanted, *args, **env):
        p = subprocess.run(['node', os.path.join(HERE, script), *args, *filter(None, [os.environ.get('SCREENSHOTS')])],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
                           env={**os.environ, **env})
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        done = re.findall(r'^ok (.*)$', p.stdout, re.M)
        self.assertEqual(len(done), wanted, p.stdout)  # none was forgotten

    def test_npm_ws(self):
        d = self.start(workers=3)
        self.node('ws.mjs', 11, d.client, d.admin)

    def test_compression(self):
        d = self.start(workers=2, echo='true', allowed_origins='*')
        self.node('compression.mjs', 4, d.client)
        self.assertGreater(d.metrics()['roost_deflated_messages_total'], 0)

    def test_demo_page_in_chromium(self):
        d = self.start(workers=3, config=DEMO)
        self.node('demo.mjs', 10, d.client, d.admin, 'centrifuge')

    def test_npm_ws_by_tls(self):
        with Pki() as pki:
            d = self.start(workers=3, **pki.settings('server'))
            self.node('ws.mjs', 11, d.client.replace('127.0.0.1', 'localhost'), d.admin, TLS_CA=pki.path('ca.pem'))

    def test_demo_page_by_tls_with_a_private_authority(self):
        """Chromium trusts what its user has said: the database of a home of its own."""
        with Pki() as pki:
            home = pki.path('home')
            database = os.path.join(home, '.pki/nssdb')
            os.makedirs(database)
            for args in (['-N', '--empty-password'], ['-A', '-t', 'C,,', '-n', 'ca', '-i', pki.path('ca.pem')]):
                subprocess.run(['certutil', '-d', 'sql:' + database, *args], check=True, capture_output=True)
            d = self.start(workers=3, config=DEMO, **pki.settings('server'))
            address = d.client.replace('127.0.0.1', 'localhost')
            self.node('demo.mjs', 10, address, d.admin, 'centrifuge', TLS_CA=pki.path('ca.pem'), HOME=home)
            self.assertGreater(d.metric('roost_tls_handshakes_total{resumed="false"}') +
                               d.metric('roost_tls_handshakes_total{resumed="true"}'), 3)

    def test_demo_page_where_anonymous_clients_have_the_plain_protocol_alone(self):
        d = self.start(workers=3)
        self.node('demo.mjs', 6, d.client, d.admin, 'plain')

    def test_demo_page_that_is_refused(self):
        d = self.start(workers=1, allowed_origins='https://elsewhere.example')
        self.node('refused.mjs', 3, d.client)
        d.wait_log('reason=bad_origin .* origin=http://%s' % d.client)

    def test_foreign_pages_in_chromium(self):
        d = self.start()
        self.node('foreign.mjs', 4, d.client, d.admin)

    def test_report_of_roostload_in_chromium(self):
        d = self.start(workers=3)
        with tempfile.TemporaryDirectory() as folder:
            page, document = os.path.join(folder, 'r.html'), os.path.join(folder, 'r.json')
            p = run('broadcast', '--url', 'ws://%s/ws/{channel}' % d.client, '--connections', '100', '--rate', '40', '--duration', '4s',
                    '--plain', '--pid', str(d.process.pid), '--channel', '</script><b/id=injected>&amp;{c}', '--html', page,
                    '--json', document, '--fail-if', 'lost>0', '--fail-if', 'p50>1ns',
                    '--storm-after', '1500ms', '--storm-share', '10')
            self.assertEqual(p.returncode, 3, p.stdout + p.stderr)
            self.node('report.mjs', 16, page, document)


if __name__ == '__main__':
    unittest.main(verbosity=0)
