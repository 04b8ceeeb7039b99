#!/usr/bin/python3
"""Nodes that share a Redis Cluster: the contract, channels on all primaries, slots that move under load, a primary that dies."""

import json
import os
import subprocess
import tempfile
import unittest

from centrifuge import Client, yaml
from daemon import BUILD, DaemonTest, wait_for
from engines import HOST, TOP, Cluster
from test_engine import BARE, KEPT


class ClusterTest(DaemonTest):
    REPLICAS = 0
    TIMEOUT = 15000  # milliseconds until a primary that says nothing is taken for dead

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = Cluster(replicas=cls.REPLICAS, timeout=cls.TIMEOUT)
        cls.addClassCleanup(cls.cluster.stop)

    def setUp(self):
        super().setUp()
        for r in self.cluster.primaries:
            r.say('FLUSHALL')

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
                              stderr=subprocess.STDOUT, text=True, timeout=280)
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

    def slot_of(self, name):
        """Of the channel's keys, and a primary that does not have it."""
        keys = [k for r in self.cluster.primaries for k in r.say('KEYS', 'roost:m:*}' + name).split('\n') if k]
        self.assertEqual(len(keys), 1, keys)
        slot = self.cluster.slot(keys[0])
        return slot, next(r for r in self.cluster.primaries if r is not self.cluster.owner(slot))

    def publish(self, d, channel, data):
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data}))
        self.assertEqual((r.status, 'error' in json.loads(r.body)), (200, False), r.body)

    def test_slots_move_under_load(self):
        nodes = [self.node(), self.node()]
        listeners = [d.ws('/ws/a') for d in nodes]
        other = [d.ws('/ws/b') for d in nodes]
        n = 0

        def some(count):
            nonlocal n
            for _ in range(count):
                self.publish(nodes[n % 2], 'a', n)
                self.publish(nodes[n % 2], 'b', n)
                n += 1

        some(20)
        for _ in range(2):
            slot, to = self.slot_of('a')
            old = self.cluster.begin_migration(slot, to)
            some(20)  # its keys are where they were
            keys = [k for k in old.say('CLUSTER', 'GETKEYSINSLOT', slot, 100).split('\n') if k]
            old.say('MIGRATE', HOST, to.port, '', 0, 5000, 'KEYS', *keys)
            some(20)  # they are at the new one, which has not got the slot yet
            self.cluster.end_migration(slot, old, to)
            some(20)
        for ws in listeners + other:
            self.assertEqual([ws.recv_data() for _ in range(n)], [b'%d' % i for i in range(n)])
        for d in nodes:
            self.assertGreater(d.metric('roost_engine_redirects_total{kind="ask"}'), 0)
            self.assertEqual(d.metric('roost_engine_reconnects_total{reason="timeout"}'), 0)
            kept = d.api('history', channel='a', limit=1000)['result']
            self.assertEqual([p['data'] for p in kept['publications']], list(range(n))[-100:])

    def test_calls_wait_for_a_key_that_is_on_its_way(self):
        d = self.node(engine_patience='20s', hub_timeout='20s')
        self.publish(d, 'a', 0)
        slot, to = self.slot_of('a')
        old = self.cluster.begin_migration(slot, to)
        keys = [k for k in old.say('CLUSTER', 'GETKEYSINSLOT', slot, 100).split('\n') if k]
        old.say('MIGRATE', HOST, to.port, '', 0, 5000, 'KEYS', next(k for k in keys if k.startswith('roost:m:')))
        publisher, c = self.client(d), self.client(d, 'other')
        publisher.say(*[{'id': 10 + i, 'publish': {'channel': 'a', 'data': i}} for i in range(1, 30)])
        wait_for(lambda: d.metric('roost_engine_redirects_total{kind="tryagain"}') > 0, what='a call to be turned away')
        self.client(d).say({'id': 9, 'publish': {'channel': 'other', 'data': 'x'}})
        self.assertEqual(c.data(), 'x')  # others flow
        self.cluster.end_migration(slot, old, to)
        for i in range(1, 30):
            self.assertIn('publish', publisher.answer(10 + i))
        kept = d.api('history', channel='a', limit=1000)['result']
        self.assertEqual([p['data'] for p in kept['publications']], list(range(30)))

    def test_scripts_that_are_gone(self):
        d = self.node()
        c = self.client(d, 'a')
        publisher = self.client(d)
        self.publish(d, 'a', 0)
        for r in self.cluster.primaries:
            r.say('SCRIPT', 'FLUSH')
        publisher.say(*[{'id': 10 + i, 'publish': {'channel': 'a', 'data': i}} for i in range(1, 100)])
        for i in range(1, 100):
            self.assertIn('publish', publisher.answer(10 + i))
        self.assertEqual([c.data() for _ in range(100)], list(range(100)))
        self.assertGreater(d.metric('roost_engine_redirects_total{kind="noscript"}'), 0)
        self.assertEqual(d.metric('roost_engine_up'), 3)

    def test_slots_that_nobody_has(self):
        # With cluster-require-full-coverage no the rest is served, and a node hears itself at each primary.
        first = self.cluster.primaries[0]
        gap = 0, 1999

        def known(here):
            wait_for(lambda: all((self.cluster.owner(0, r) is first) == here for r in self.cluster.primaries), what='slots')
            self.cluster.await_ok()

        def give_back():
            first.say('CLUSTER', 'ADDSLOTSRANGE', *gap)
            known(True)

        for r in self.cluster.primaries:
            r.say('CLUSTER', 'DELSLOTSRANGE', *gap)
        self.addCleanup(give_back)
        known(False)
        d = self.node(engine_patience='300ms', engine_probe_interval='1s')
        for r in self.cluster.primaries:
            self.assertIn('roost:probe:', r.say('PUBSUB', 'SHARDCHANNELS'))
        names = ['c%d' % i for i in range(40)]
        c = self.client(d)
        c.say(*[{'id': 100 + i, 'publish': {'channel': name, 'data': 1}} for i, name in enumerate(names)])
        missing = [name for i, name in enumerate(names) if c.answer(100 + i).get('error', {}).get('code') == 100]
        self.assertTrue(0 < len(missing) < 20, missing)
        give_back()
        for name in missing:
            wait_for(lambda: 'error' not in d.api('publish', channel=name, data=2), what=name)
        self.assertEqual(d.metric('roost_engine_reconnects_total'), 0)


class Replicas(ClusterTest):
    REPLICAS = 1
    TIMEOUT = 3000

    def test_a_primary_dies(self):
        nodes = [self.node(engine_patience='20s', hub_timeout='20s') for _ in range(2)]
        names = ['c%d' % i for i in range(12)]
        listeners = {name: [d.ws('/ws/' + name) for d in nodes] for name in names}
        for name in names:
            nodes[0].api('publish', channel=name, data=0)
        keys = [k for k in self.cluster.primaries[0].say('KEYS', 'roost:m:*').split('\n') if k]
        self.assertTrue(keys)
        self.cluster.primaries[0].await_replicas(1)
        self.cluster.primaries[0].kill()
        publisher = self.client(nodes[1])
        publisher.say(*[{'id': 10 + i, 'publish': {'channel': name, 'data': 1}} for i, name in enumerate(names)])
        for i in range(len(names)):  # those of the dead one wait for its replica
            self.assertIn('publish', publisher.answer(10 + i))
        for d in nodes:
            wait_for(lambda d=d: d.metric('roost_engine_up') == 3, 30, 'the replica in the place of its primary')
        for name in names:
            nodes[0].api('publish', channel=name, data=2)
            for ws in listeners[name]:
                self.assertEqual([ws.recv_data() for _ in range(3)], [b'0', b'1', b'2'])


if __name__ == '__main__':
    unittest.main()
