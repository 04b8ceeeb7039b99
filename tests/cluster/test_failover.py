#!/usr/bin/python3
"""A server fails over to a copy that lacks what was acknowledged: offsets are given a second time, and whoever has the first ones is told."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes  # noqa: E402 (it finds the others)
from centrifuge import Client  # noqa: E402
from daemon import wait_for  # noqa: E402
from engines import Redis  # noqa: E402
from links import Link  # noqa: E402


class Failover(Nodes):
    """Nodes reach the master by one link, its replica by another one."""

    def setUp(self):
        super().setUp()
        self.master = self.started(Redis(tcp=True))
        self.road, self.copying = self.started(Link(self.master.port)), self.started(Link(self.master.port))
        self.replica = self.started(Redis(tcp=True, replica_of=('127.0.0.1', self.copying.port)))
        self.master.await_replicas()

    def three(self, d, *data):
        return [self.published(d, 'a', x) for x in data]

    def fall(self, guarded):
        """The master dies; nodes are led to the replica. Not guarded: the channel looks as if its epoch had been made on that one."""
        self.master.kill()
        self.assertEqual(self.replica.say('REPLICAOF', 'NO', 'ONE'), 'OK')
        if not guarded:
            it = '%s:%.16s' % (self.replica.info('run_id'), self.replica.info('master_replid'))
            self.assertEqual(self.replica.say('HSET', 'roost:m:a', 'r', it), '0')  # it was there
        self.road.target = ('127.0.0.1', self.replica.port)

    def scene(self, guarded=True):
        """What a client is told that has 4 to 6 of the master, when the replica has given 4 to 6 to others; with what it was told before."""
        nodes = [self.node('redis://127.0.0.1:%d' % self.road.port) for _ in range(2)]
        stays, leaves = self.client(nodes[0], 'a'), self.client(nodes[1], 'a')
        self.three(nodes[0], 1, 2, 3)
        wait_for(lambda: self.replica.say('HGET', 'roost:m:a', 'o') == self.master.say('HGET', 'roost:m:a', 'o'), what='the copy')
        self.copying.cut()
        first = self.three(nodes[1], 'lost 4', 'lost 5', 'lost 6')
        for c in (stays, leaves):
            self.assertEqual([c.data() for _ in range(6)], [1, 2, 3, 'lost 4', 'lost 5', 'lost 6'])
        leaves.close()
        self.fall(guarded)
        for d in nodes:
            wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0 and d.metric('roost_engine_up') == 1, what='the nodes to be back')
        second = [self.again(lambda: nodes[1], 'a', x) for x in ('new 4', 'new 5', 'new 6')]
        self.assertEqual([p['offset'] for p in first], [4, 5, 6])
        self.assertEqual([p['offset'] for p in second], [4, 5, 6])  # that is the hole
        back = Client(nodes[0].client)
        self.addCleanup(back.close)
        back.connect()
        at = {'offset': first[-1]['offset'], 'epoch': first[-1]['epoch']}
        return stays, back.ask(subscribe={'channel': 'a', 'recover': True, **at})['subscribe']

    def test_acknowledged_and_lost_is_told(self):
        stays, got = self.scene()
        self.assertFalse(got.get('recovered', False), got)
        self.assertEqual(stays.push('unsubscribe')[1]['code'], 2500)  # also who was there all the time

    def test_who_had_less_than_was_acknowledged_is_told(self):
        """What a node's subscriber has got ends where the copy ends: what was acknowledged behind that is missing all the same."""
        late = self.started(Link(self.master.port))
        nodes = [self.node('redis://127.0.0.1:%d' % link.port) for link in (late, self.road)]
        lags = self.client(nodes[0], 'a')
        self.three(nodes[1], 1, 2, 3)
        self.assertEqual([lags.data() for _ in range(3)], [1, 2, 3])
        wait_for(lambda: self.replica.say('HGET', 'roost:m:a', 'o') == self.master.say('HGET', 'roost:m:a', 'o'), what='the copy')
        self.copying.cut()
        late.cut()
        self.three(nodes[1], 'lost 4', 'lost 5', 'lost 6')
        self.fall(guarded=True)
        self.again(lambda: nodes[1], 'a', 'new 4')  # its epoch follows the one before, at 3
        late.target = self.road.target
        late.heal()
        self.assertEqual(lags.push('unsubscribe')[1]['code'], 2500)
        self.assertGreater(nodes[0].metric('roost_engine_gaps_total{outcome="lost"}'), 0)  # the engine says so, nobody had to find it out

    def test_a_master_that_comes_back_has_what_the_other_one_had(self):
        """It was a replica meanwhile, in the same process, and nobody has used the channel elsewhere."""
        d = self.node(self.master.address)
        self.three(d, 1, 2, 3)
        wait_for(lambda: self.replica.say('HGET', 'roost:m:a', 'o') == '3', what='the copy')
        self.copying.cut()
        first = self.three(d, 'lost 4', 'lost 5', 'lost 6')
        self.assertEqual(self.replica.say('REPLICAOF', 'NO', 'ONE'), 'OK')
        self.assertEqual(self.master.say('REPLICAOF', '127.0.0.1', self.replica.port), 'OK')
        self.replica.await_replicas()
        self.assertEqual(self.master.say('REPLICAOF', 'NO', 'ONE'), 'OK')
        back = self.node(self.master.address)
        second = [self.again(lambda: back, 'a', x) for x in ('new 4', 'new 5', 'new 6')]
        self.assertEqual([[p['offset'] for p in x] for x in (first, second)], [[4, 5, 6], [4, 5, 6]])
        c = self.client(back)
        at = {'offset': first[-1]['offset'], 'epoch': first[-1]['epoch']}
        got = c.ask(subscribe={'channel': 'a', 'recover': True, **at})['subscribe']
        self.assertFalse(got.get('recovered', False), got)

    def test_a_master_that_has_had_no_replica_for_long_is_the_same(self):
        """Then Redis changes by what it tells its reigns from each other; nodes hear of it one after the other."""
        self.master.kill()
        self.assertEqual(self.replica.say('REPLICAOF', 'NO', 'ONE'), 'OK')
        nodes = [self.node(self.replica.address)]
        first = self.published(nodes[0], 'a', 1)
        self.assertEqual(self.replica.say('CONFIG', 'SET', 'repl-backlog-ttl', 1), 'OK')
        wait_for(lambda: set(self.replica.info('master_replid2')) == {'0'}, what='another replication id')
        nodes.append(self.node(self.replica.address))
        for i in range(4):
            at = self.published(nodes[(i + 1) % 2], 'a', i)
            self.assertEqual((at['epoch'], at['offset']), (first['epoch'], i + 2))

    def test_without_the_guard_nobody_is_told(self):
        """The scene has the hole that the guard closes: else the test above would show nothing."""
        _, got = self.scene(guarded=False)
        self.assertTrue(got['recovered'])
        self.assertEqual(got.get('publications', []), [])  # 'new 4' to 'new 6' are missing, silently


if __name__ == '__main__':
    unittest.main(verbosity=0)
