#!/usr/bin/python3
"""Redis Cluster: one order while slots move, primaries that die and are replaced, part of the channels that is away."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Journey  # noqa: E402 (it finds the others)
from daemon import wait_for  # noqa: E402
from engines import Cluster  # noqa: E402
from pki import Pki  # noqa: E402

SETTINGS = {'engine_timeout': '1s', 'engine_patience': '15s', 'engine_reconnect_max': '500ms'}
MOVES = 8


def slot_of(cluster, channel):
    """Where its position and history are. It has been published to."""
    for r in cluster.redis:
        if r.alive() and r.role() == 'master':
            for key in r.say('KEYS', 'roost*').split('\n'):
                if key.endswith(':' + channel) or key.endswith(channel):
                    return cluster.slot(key)
    raise AssertionError('no key of channel %s' % channel)


class Failures(Journey):
    def cluster(self, replicas, tls=None, **settings):
        cluster = self.started(Cluster(3, replicas, tls=tls))
        self.begin(cluster.address, count=2, up=3, **{**SETTINGS, **settings})
        return cluster, cluster.owner(slot_of(cluster, 'a'))

    def redirects(self):
        return sum(v for d in self.nodes for k, v in d.metrics().items() if k.startswith('roost_engine_redirects_total'))

    def test_slots_move_under_traffic(self):
        """A channel's slot moves on and on, and is on its way for a while each time; its new server is another one, so clients are told."""
        cluster, old = self.cluster(replicas=0)
        slot = slot_of(cluster, 'a')
        for _ in range(MOVES):
            new = cluster.primaries[(cluster.primaries.index(old) + 1) % 3]
            before = self.redirects()
            cluster.begin_migration(slot, new)
            wait_for(lambda: self.redirects() > before, what='a call that meets it')
            cluster.end_migration(slot, old, new)
            self.traffic.await_more(20)
            old = new
        self.end(whole=False)
        self.assertEqual([w.ends for w in self.witnesses], [[]] * len(self.witnesses))

    def test_tls(self):
        """All over TLS: who has which slots, a slot that moves, a primary that dies."""
        pki = Pki()
        self.addCleanup(pki.close)
        cluster, old = self.cluster(replicas=1, tls=pki, engine_tls_ca=pki.path('ca.pem'))
        new = cluster.primaries[(cluster.primaries.index(old) + 1) % 3]
        before = self.redirects()
        slot = slot_of(cluster, 'a')
        cluster.begin_migration(slot, new)
        wait_for(lambda: self.redirects() > before, what='a call that meets it')
        cluster.end_migration(slot, old, new)
        self.traffic.await_more(20)
        new.kill()
        self.traffic.await_more(60, 90)
        self.end(whole=False)

    def test_a_primary_is_killed_and_replaced(self):
        cluster, old = self.cluster(replicas=1)
        old.kill()
        self.traffic.await_more(60, 90)
        old.start()
        cluster.await_ok()
        self.traffic.await_more(40, 60)
        self.end(whole=False)
        for w in self.witnesses:  # the replica is another server
            self.assertGreaterEqual(len(w.pieces), 2)

    def test_a_replica_takes_over_on_purpose(self):
        cluster, old = self.cluster(replicas=1)
        mine = cluster.id(old)
        new = next(r for r in cluster.redis if cluster.nodes(r)[cluster.id(r)][3] == mine)
        self.assertEqual(new.say('CLUSTER', 'FAILOVER'), 'OK')
        wait_for(lambda: new.role() == 'master' and old.role() == 'slave', 30, 'the failover')
        self.traffic.await_more(60, 60)
        self.end(whole=False)

    def test_a_part_of_the_channels_is_away(self):
        """A worker's answers keep their order, so those of other channels are late by up to engine_patience; no longer."""
        cluster, old = self.cluster(replicas=0, engine_patience='2s')
        d = self.nodes[0]
        elsewhere = next(c for c in ('b%d' % i for i in range(100)) if self.published(d, c, 1) and cluster.owner(slot_of(cluster, c)) is not old)
        old.kill()
        for i in range(20):
            self.published(d, elsewhere, i)
        wait_for(lambda: self.answer(d, 'a', 'no')[0] == 503, 60, 'publications of the others to be refused')
        self.published(d, elsewhere, 'still')
        old.start()
        cluster.await_ok()
        self.traffic.await_more(30, 60)
        self.end(whole=False)


if __name__ == '__main__':
    unittest.main(verbosity=0)
