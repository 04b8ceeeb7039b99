#!/usr/bin/python3
"""The npm package centrifuge, unmodified, against several workers: JSON and Protobuf, over each transport."""

import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../integration'))

from daemon import DaemonTest  # noqa: E402

CHECKS = 16


class Centrifuge(DaemonTest):
    def client(self, encoding, transport):
        d = self.start(workers=3, config=os.path.join(HERE, 'centrifuge.yaml'))
        p = subprocess.run(['node', os.path.join(HERE, 'centrifuge.mjs'), encoding, transport, d.client, d.admin],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
        self.assertEqual(len(re.findall(r'^ok ', p.stdout, re.M)), CHECKS, p.stdout)  # none was forgotten

    def test_json_over_websocket(self):
        self.client('json', 'websocket')

    def test_protobuf_over_websocket(self):
        self.client('protobuf', 'websocket')

    def test_json_over_http_stream(self):
        self.client('json', 'http_stream')

    def test_protobuf_over_http_stream(self):
        self.client('protobuf', 'http_stream')

    def test_json_over_sse(self):
        self.client('json', 'sse')

    def test_the_client_in_the_readme(self):
        d = self.start(workers=3, config=os.path.join(HERE, '../../deploy/demo.yaml'))
        with open(os.path.join(HERE, '../../README.md'), encoding='utf-8') as f:
            source = re.search(r'^```js\n(.*?)^```$', f.read(), re.M | re.S).group(1)
        self.assertEqual(source.count('localhost:8000'), 1)
        p = subprocess.Popen(['node', '--input-type=module', '-e', source.replace('localhost:8000', d.client)], cwd=HERE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        said = {p.stdout.readline(), p.stdout.readline()}
        self.assertEqual(said, {'1 here\n', 'client.mjs: hello\n'})
        self.assertIn('result', d.api('publish', channel='lobby', data={'user': 'server', 'text': 'welcome'}))
        self.assertEqual(p.stdout.readline(), 'server: welcome\n')


if __name__ == '__main__':
    unittest.main(verbosity=0)
