#!/usr/bin/python3
"""Other people's clients: libwebsockets, curl. (Python's is in test_chat, npm's and Chromium in tests/e2e.)"""

import re
import subprocess
import tempfile
import unittest

from daemon import SLOW, SharedDaemonTest, wait_for


class Libwebsockets(SharedDaemonTest):
    # Its client (4.1.6) loops for ever at the second message that a server sends uncompressed once compression was agreed on,
    # with other servers too.
    settings = {'workers': 2, 'subprotocols': 'dumb-increment-protocol,lws-mirror-protocol', 'compression': 'false'}

    def test_mirror_and_dumb_increment(self):
        """Its test client opens two connections: one draws circles and hears the other's, one listens."""
        with self.d.ws('/ws/lws') as us, tempfile.NamedTemporaryFile('w') as log:
            p = subprocess.Popen(['libwebsockets-test-client', '-d', '15', 'ws://%s/ws/lws' % self.d.client],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            try:
                for _ in range(20):
                    self.assertRegex(us.recv_data(), rb'^c #[0-9A-F]{6} \d+ \d+ \d+;$')
                wait_for(lambda: self.d.api('channels')['result']['channels']['lws']['num_clients'] == 3, what='both connections')
                us.text('hello lws')
                self.d.publish('lws', 12345678)

                def heard():
                    with open(log.name, errors='replace') as f:  # not by seek(): the position is shared
                        text = f.read()
                    self.assertIsNone(p.poll(), text[-4000:])
                    return text if "'hello lws'" in text and "'12345678'" in text else None

                try:
                    text = wait_for(heard, what='our message in its log')
                except AssertionError as e:
                    with open(log.name, errors='replace') as f:
                        self.fail('%s\nthe end of its log:\n%s\nthe channels: %s' % (e, f.read()[-4000:], self.d.api('channels')))
                self.assertGreaterEqual(len(re.findall(r"rx \d+ '.*hello lws'", text)), 1)
                self.assertNotRegex(text, r'(?i)invalid|illegal|protocol error')
            finally:
                p.terminate()
                p.wait(30)
        wait_for(lambda: self.d.api('channels') == {'result': {'channels': {}}}, what='its end')


class Curl(SharedDaemonTest):
    def curl(self, *args):
        p = subprocess.run(['curl', '-sS', *args], capture_output=True, text=True, timeout=30 * SLOW)
        self.assertEqual(p.returncode, 0, p.stderr)
        return p.stdout

    def test_the_readme_command(self):
        with self.d.ws('/ws/lobby') as c:
            out = self.curl('-d', '{"channel":"lobby","data":{"text":"hi"}}', 'http://%s/api/publish' % self.d.admin)
            self.assertEqual(out, '{"result":{}}')
            self.assertEqual(c.recv_data(), b'{"text":"hi"}')

    def test_large_body_with_expect(self):
        """curl sends Expect: 100-continue by itself from 1 MB on."""
        body = '{"channel":"big","data":"%s"}' % ('x' * 1000000)
        with tempfile.NamedTemporaryFile('w') as f, self.d.ws('/ws/big') as c:
            f.write(body)
            f.flush()
            out = self.curl('-d', '@' + f.name, '-H', 'Expect: 100-continue', 'http://%s/api/publish' % self.d.admin)
            self.assertEqual(out, '{"result":{}}')
            self.assertEqual(len(c.recv_data()), 1000002)

    def test_chunked_upload(self):
        with self.d.ws('/ws/chunks') as c:
            p = subprocess.run(['curl', '-sS', '-H', 'Transfer-Encoding: chunked', '-d', '@-', 'http://%s/api/publish' % self.d.admin],
                               input='{"channel":"chunks","data":[1]}', capture_output=True, text=True, timeout=30 * SLOW)
            self.assertEqual(p.stdout, '{"result":{}}')
            self.assertEqual(c.recv_data(), b'[1]')

    def test_metrics_and_head(self):
        self.assertIn('roost_', self.curl('http://%s/metrics' % self.d.admin))
        self.assertIn('200 OK', self.curl('-I', 'http://%s/healthz' % self.d.client))
        self.assertEqual(self.curl('-0', 'http://%s/healthz' % self.d.client), 'ok\n')


if __name__ == '__main__':
    unittest.main(verbosity=0)
