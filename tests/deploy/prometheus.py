"""Prometheus as an operator runs it, on a port of its own, and what it answers."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import before_exec, wait_for  # noqa: E402
from engines import free_port  # noqa: E402

PROGRAM = os.path.join(TOP, 'build/tools/prometheus')
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read(path):
    with open(os.path.join(TOP, path)) as f:
        return f.read()


class Prometheus:
    """config: the text of a configuration."""

    def __init__(self, config):
        self.folder = tempfile.TemporaryDirectory(prefix='roost-prometheus-')
        path = os.path.join(self.folder.name, 'prometheus.yml')
        with open(path, 'w') as f:
            f.write(config)
        self.address = '127.0.0.1:%d' % free_port()
        self.log = open(os.path.join(self.folder.name, 'log'), 'w+')
        self.process = subprocess.Popen(
            [PROGRAM, '--config.file', path, '--storage.tsdb.path', os.path.join(self.folder.name, 'data'), '--web.listen-address', self.address],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=before_exec)
        try:
            wait_for(self._ready, 30, 'Prometheus')
        except BaseException:
            self.log.seek(0)
            print(self.log.read())
            self.stop()
            raise

    def _ready(self):
        assert self.process.poll() is None, 'Prometheus ended'
        try:
            with LOOPBACK.open('http://%s/-/ready' % self.address, timeout=20) as r:
                return r.status == 200
        except OSError:
            return False

    def ask(self, path, **query):
        """The data of an answer of its API; AssertionError with what it says otherwise."""
        url = 'http://%s/api/v1/%s?%s' % (self.address, path, urllib.parse.urlencode(query, doseq=True))
        try:
            with LOOPBACK.open(url, timeout=120) as r:
                answer = json.load(r)
        except urllib.error.HTTPError as e:
            raise AssertionError('%s: %s' % (query, e.read().decode())) from None
        assert answer['status'] == 'success' and not answer.get('warnings'), answer
        return answer['data']

    def targets(self):
        """address -> health"""
        return {t['labels']['instance']: t['health'] for t in self.ask('targets')['activeTargets']}

    def series(self, expr, start, end, step=1):
        """[(labels, [finite values])] over a time."""
        found = self.ask('query_range', query=expr, start=start, end=end, step=step)['result']
        return [(s['metric'], [v for v in (float(x) for _, x in s['values']) if math.isfinite(v)]) for s in found]

    def value(self, expr):
        """[(labels, value)] of now."""
        return [(s['metric'], float(s['value'][1])) for s in self.ask('query', query=expr)['result']]

    def rules(self):
        return [r for g in self.ask('rules')['groups'] for r in g['rules']]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        self.folder.cleanup()
