#!/usr/bin/python3
"""Members of channels over nodes, while what they are kept in moves, fails over, and nodes die."""

import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))

from daemon import wait_for  # noqa: E402
from engines import HOST, Cluster, Sentinels  # noqa: E402
from members import MembersTest  # noqa: E402

CHANNELS = ['c%d' % i for i in range(24)]


class Presence(MembersTest):
    def begin(self, server, nodes, **settings):
        self.addCleanup(server.stop)
        self.address = server.address
        return [self.node(**settings) for _ in range(nodes)]

    def members_of(self, d):
        """One client in all channels, once it is listed in each."""
        c = self.client(d, channel=None)
        for channel in CHANNELS:
            c.subscribe(channel)
        return c

    def are_in(self, nodes, clients):
        want = {c.me for c in clients}
        for d in nodes:
            for channel in CHANNELS:
                wait_for(lambda: self.members(d, channel) == want, 40, 'those of ' + channel)
                wait_for(lambda: self.counts(d, channel)[0] == len(want), 40, 'as many of ' + channel)

    def test_a_cluster_whose_slots_move(self):
        cluster = Cluster(primaries=3)
        nodes = self.begin(cluster, 2, engine_partitions=16)
        clients = [self.members_of(d) for d in nodes]
        self.are_in(nodes, clients)
        holders = [r for r in cluster.redis if 'roost:p:' in r.say('KEYS', 'roost:p:*')]
        self.assertEqual(len(holders), 3)
        slots = {cluster.slot(k) for k in holders[0].say('KEYS', 'roost:*').split()}
        for slot in slots:
            cluster.migrate(slot, cluster.redis[(cluster.redis.index(holders[0]) + 1) % 3])
        self.are_in(nodes, clients)
        gone = clients.pop()
        gone.close()
        self.are_in(nodes, clients)
        clients.append(self.members_of(nodes[1]))
        self.are_in(nodes, clients)
        nodes[1].process.send_signal(signal.SIGKILL)
        self.are_in(nodes[:1], clients[:1])

    def test_who_comes_while_a_slot_moves(self):
        cluster = Cluster(primaries=2)
        nodes = self.begin(cluster, 2, engine_partitions=4)
        there = [self.client(d) for d in nodes]
        self.are(nodes, there, 'both to be listed')
        self.settle(there)
        key = next(k for r in cluster.redis for k in r.say('KEYS', 'roost:p:*x').split())
        slot = cluster.slot(key)
        old, to = cluster.owner(slot), next(r for r in cluster.redis if r is not cluster.owner(slot))
        cluster.begin_migration(slot, to)
        keys = old.say('CLUSTER', 'GETKEYSINSLOT', slot, 100).split()
        old.say('MIGRATE', HOST, to.port, '', 0, 5000, 'KEYS', *keys)
        third = self.client(nodes[0])
        for c in there:
            self.heard(c, 'join', [third])
        third.close()
        for c in there:
            self.heard(c, 'leave', [third])
        cluster.end_migration(slot, old, to)
        self.are(nodes, there, 'both to be listed')
        self.quiet(there)

    def test_a_cluster_whose_primary_is_killed(self):
        cluster = Cluster(primaries=3, replicas=1)
        nodes = self.begin(cluster, 2, engine_partitions=16)
        clients = [self.members_of(d) for d in nodes]
        self.are_in(nodes, clients)
        cluster.primaries[0].kill()
        cluster.await_ok()
        self.are_in(nodes, clients)
        nodes[1].process.send_signal(signal.SIGKILL)
        self.are_in(nodes[:1], clients[:1])

    def test_a_failover(self):
        sentinels = Sentinels()
        nodes = self.begin(sentinels, 2)
        clients = [self.members_of(d) for d in nodes]
        self.are_in(nodes, clients)
        sentinels.failover()
        self.are_in(nodes, clients)
        gone = clients.pop()
        gone.close()
        self.are_in(nodes, clients)


if __name__ == '__main__':
    unittest.main(verbosity=0)
