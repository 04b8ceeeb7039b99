#!/usr/bin/python3
"""kill -9 of workers, hubs, nodes and servers in the middle of traffic: nothing is lost silently, nothing comes twice."""

import os
import random
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes, Traffic, Witness, judge  # noqa: E402 (it finds the others)
from daemon import wait_for  # noqa: E402
from engines import Redis  # noqa: E402

SEED = int(os.environ.get('SEED') or random.randrange(1 << 30))
WITNESSES = 6


class Kill(Nodes):
    channel = 'a'

    def setUp(self):
        super().setUp()
        random.seed(SEED)
        self.nodes = []

    def begin(self, address, count=3, **settings):
        self.nodes = [self.node(address, clean=False, **settings) for _ in range(count)]
        self.witnesses = []
        for _ in range(WITNESSES):
            w = Witness(lambda: [d.client for d in self.nodes], self.channel)
            self.addCleanup(w.stop)
            self.witnesses.append(w)
        wait_for(lambda: all(w.pieces for w in self.witnesses), what='the subscribers')
        self.traffic = Traffic(self, lambda: list(self.nodes), self.channel)
        self.addCleanup(self.traffic.stop)
        self.traffic.await_more(30)

    def end(self, whole):
        self.traffic.await_more(30)
        self.traffic.stop()
        self.again(lambda: random.choice(self.nodes), self.channel, 'end')
        try:
            wait_for(lambda: all(w.faults or w.last() == 'end' for w in self.witnesses), 30, 'the end of everybody')
            judge(self, self.traffic, self.witnesses, whole)
        except AssertionError as e:
            raise AssertionError('%s\nSEED=%d; subscribers at %r, ends %r' % (e, SEED, [w.last() for w in self.witnesses],
                                                                           [w.ends[-3:] for w in self.witnesses])) from None

    def test_workers_and_hubs(self):
        redis = self.started(Redis(tcp=True))
        self.begin(redis.address)
        for i in range(18):
            self.strike(self.nodes[i % 3], random.choice(['worker0', 'worker1', 'hub']))
            self.traffic.await_more(random.randrange(5, 40))
        self.end(whole=True)
        self.assertGreater(sum(w.recovered for w in self.witnesses), 0)

    def test_nodes(self):
        redis = self.started(Redis(tcp=True))
        self.begin(redis.address)
        for i in range(6):
            d = self.nodes.pop(random.randrange(3))
            d.process.send_signal(signal.SIGKILL)
            self.traffic.await_more(random.randrange(5, 40))
            self.nodes.append(self.node(redis.address, clean=False))
            self.traffic.await_more(random.randrange(5, 40))
        self.end(whole=True)
        self.assertGreater(sum(w.recovered for w in self.witnesses), 0)

    def test_a_server_that_forgets(self):
        redis = self.started(Redis(tcp=True))
        self.begin(redis.address)
        for _ in range(3):
            redis.kill()
            redis.start()
            self.traffic.await_more(random.randrange(5, 40))
        self.end(whole=False)
        for w in self.witnesses:  # each was told, each time
            self.assertGreaterEqual(len(w.pieces), 4)

    def test_a_server_that_remembers(self):
        """Even one that has lost nothing is another one: it cannot know that it has lost nothing."""
        redis = self.started(Redis('--appendonly', 'yes', '--appendfsync', 'always', tcp=True))
        self.begin(redis.address)
        for _ in range(3):
            redis.kill()
            redis.start()
            self.traffic.await_more(random.randrange(5, 40))
        self.end(whole=False)
        offsets = {}
        for w in self.witnesses:
            self.assertGreaterEqual(len(w.pieces), 4)
            for _, piece in w.pieces:
                for offset, data in piece:  # the count goes on
                    self.assertEqual(offsets.setdefault(offset, data), data)

    def test_everything(self):
        redis = self.started(Redis('--appendonly', 'yes', tcp=True))
        self.begin(redis.address)
        for _ in range(20):
            what = random.choice(['worker0', 'worker1', 'hub', 'hub', 'node', 'server'])
            if what == 'server':
                redis.kill()
                redis.start()
            elif what == 'node':
                self.nodes.pop(random.randrange(3)).process.send_signal(signal.SIGKILL)
                self.nodes.append(self.node(redis.address, clean=False, up=0))
            else:
                self.strike(random.choice(self.nodes), what)
            self.traffic.await_more(random.randrange(0, 30))
        self.end(whole=False)


if __name__ == '__main__':
    unittest.main(verbosity=0)
