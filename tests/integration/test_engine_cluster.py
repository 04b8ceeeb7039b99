#!/usr/bin/python3
"""Nodes that share a Redis Cluster: the contract, channels on all primaries, slots that move under load, a primary that dies."""

import os
import subprocess
import tempfile
import unittest

from centrifuge import Client, yaml
from daemon import BUILD, DaemonTest, wait_for
from engines import TOP, Cluster
from test_engine import BARE, KEPT


class ClusterTest(DaemonTest):
    REPLICAS = 0

    def setUp(self):
        super().setUp()
        self.cluster = Cluster(replicas=self.REPLICAS)
        self.addCleanup(self.cluster.stop)

    def node(self, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'redis',
                    'engine_address': self.cluster.address, 'channel_without_namespace': KEPT,
                    'namespaces': [{**BARE, 'name': 'bare'}], **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, workers=2)
        wait_for(lambda: d.metric('roost_engine_up') == 3, what='all primaries to be there')
        return d

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c


class Whole(ClusterTest):
    def test_the_contract_is_kept(self):
        done = subprocess.run([os.path.join(BUILD, 'tests/unit/core/real_engine_redis'),
                               *[str(r.port) for r in self.cluster.redis]], cwd=TOP, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_channels_of_all_primaries(self):
        nodes = [self.node(), self.node()]
        names = ['c%d' % i for i in range(12)]
        clients = [self.client(d, *names) for d in nodes]
        for i in range(5):
            for name in names:
                nodes[i % 2].api('publish', channel=name, data=i)
        for c in clients:
            came = {name: [] for name in names}
            for _ in range(5 * len(names)):
                name, p = c.push()
                came[name].append((p['offset'], p['data']))
            self.assertEqual(came, {name: [(i + 1, i) for i in range(5)] for name in names})
        keys = [int(r.say('DBSIZE')) for r in self.cluster.primaries]
        self.assertTrue(all(keys), keys)


if __name__ == '__main__':
    unittest.main()
