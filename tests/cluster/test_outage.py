#!/usr/bin/python3
"""The server is away for a minute under 20,000 idle clients: none is disconnected, nothing storms, and then all hear again."""

import json
import os
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import HERE, Nodes  # noqa: E402 (it finds the others)
from crowd import channel  # noqa: E402
from daemon import SLOW, before_exec, wait_for  # noqa: E402
from engines import Redis  # noqa: E402

CLIENTS, CROWDS, AWAY = 20000, 4, 60
AT_A_TIME = 500  # channels of one request


def cpu(daemons):
    """Seconds of all their processes."""
    ticks = 0
    for d in daemons:
        for pid in [d.process.pid] + d.children():
            with open('/proc/%d/stat' % pid) as f:
                ticks += sum(int(x) for x in f.read().rsplit(')', 1)[1].split()[11:13])
    return ticks / os.sysconf('SC_CLK_TCK')


class Outage(Nodes):
    def crowd(self, d, first, count):
        p = subprocess.Popen([sys.executable, os.path.join(HERE, 'crowd.py'), d.client, str(first), str(count)], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=before_exec)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(p.stdin.close)
        return p

    def counts(self):
        """There, reached, messages: of all."""
        for p in self.crowds:
            p.stdin.write('\n')
            p.stdin.flush()
        return [sum(x) for x in zip(*(map(int, p.stdout.readline().split()) for p in self.crowds))]

    def publish_to_all(self):
        for first in range(0, CLIENTS, AT_A_TIME):
            body = json.dumps({'channels': [channel(i) for i in range(first, first + AT_A_TIME)], 'data': 'x'})
            r = self.nodes[first // AT_A_TIME % 2].http('POST', '/api/broadcast', body)
            self.assertEqual(r.status, 200, r)
            answers = json.loads(r.body)['result']['responses']
            self.assertEqual([a for a in answers if 'error' in a], [])

    def down_long_enough(self):
        """Whether both nodes have said so long that the engine is away; meanwhile they refuse publications, at once."""
        for d in self.nodes:
            self.assertEqual(self.answer(d, '1', 'no')[0], 503)
        return all(v >= AWAY for d in self.nodes for k, v in d.metrics().items()
                   if k.startswith('roost_engine_state_seconds{') and 'state="down"' in k)

    def test_nobody_is_disconnected(self):
        redis = self.started(Redis(tcp=True))
        self.nodes = [self.node(redis.address) for _ in range(2)]
        each = CLIENTS // CROWDS
        self.crowds = [self.crowd(self.nodes[i % 2], i * each, each) for i in range(CROWDS)]
        for p in self.crowds:
            self.assertEqual(p.stdout.readline().split(), [str(each), '0', '0'])
        for d in self.nodes:
            wait_for(lambda: d.metric('roost_engine_subscriptions') == CLIENTS / 2, what='the subscriptions')
        self.publish_to_all()
        wait_for(lambda: self.counts() == [CLIENTS, CLIENTS, CLIENTS], 60, 'a message for everybody')

        redis.kill()
        began, before = time.monotonic(), cpu(self.nodes)
        attempts = [d.metric('roost_engine_reconnects_total') for d in self.nodes]
        for d in self.nodes:
            wait_for(lambda: self.answer(d, '1', 'no')[0] == 503, what='a publication to be refused')
        wait_for(self.down_long_enough, 3 * AWAY, 'the outage to last', every=1)
        used, lasted = cpu(self.nodes) - before, time.monotonic() - began
        self.assertEqual(self.counts(), [CLIENTS, CLIENTS, CLIENTS])
        self.assertLess(used, 0.25 * lasted * SLOW, 'CPU seconds of two nodes in %.0f s' % lasted)
        for d, n in zip(self.nodes, attempts):
            self.assertLess(d.metric('roost_engine_reconnects_total') - n, lasted + 20)

        redis.start()
        for d in self.nodes:
            wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')
            wait_for(lambda: int(redis.info('pubsub_channels') or 0) >= CLIENTS, 60, 'everybody to be subscribed again')
        self.publish_to_all()
        wait_for(lambda: self.counts() == [CLIENTS, CLIENTS, 2 * CLIENTS], 60, 'a message for everybody')
        for d in self.nodes:
            self.assertEqual(d.metric('roost_engine_subscriptions'), CLIENTS / 2)


if __name__ == '__main__':
    unittest.main(verbosity=0)
