#!/usr/bin/python3
"""kill -9 of workers, hubs, nodes and servers in the middle of traffic: nothing is lost silently, nothing comes twice."""

import os
import random
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Journey  # noqa: E402 (it finds the others)
from engines import Redis  # noqa: E402


class Kill(Journey):
    def another(self, redis, times):
        """The next server in its place, in which each witness has been."""
        redis.kill()
        redis.start()
        self.traffic.await_more(random.randrange(5, 40))
        self.all_told(times)

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
        for times in range(1, 4):
            self.another(redis, times)
        self.end(whole=False)
        for w in self.witnesses:  # each was told, each time
            self.assertGreaterEqual(len(w.pieces), 4)

    def test_a_server_that_remembers(self):
        """Even one that has lost nothing is another one: it cannot know that it has lost nothing."""
        redis = self.started(Redis('--appendonly', 'yes', '--appendfsync', 'always', tcp=True))
        self.begin(redis.address)
        for times in range(1, 4):
            self.another(redis, times)
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
