#!/usr/bin/python3
"""Redis Sentinel: the master is found, and found again when it dies, is demoted, or takes a Sentinel with it."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes  # noqa: E402 (it finds the others)
from daemon import wait_for  # noqa: E402
import engines  # noqa: E402
from engines import HOST, Redis, Sentinels  # noqa: E402


class Sentinel(Nodes):
    def sentinels(self, **options):
        return self.started(Sentinels(**options))

    def node_of(self, address, **settings):
        return self.node(address, engine_probe_interval='300ms', engine_timeout='1s', **settings)

    def up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1, 30, what='the engine to be there')

    def taken(self, d, data):
        """Published, as soon as somebody takes it; the answer."""
        def once():
            status, body = self.answer(d, 'a', data, idempotency_key='k%s' % data)
            return status == 200 and body['result']

        return wait_for(once, 30, what='publication %s to be taken' % data)

    def connected(self, r):
        """Is a node, at that server?"""
        return r.say('PUBSUB', 'CHANNELS', 'roost:*') != ''

    def test_the_master_dies(self):
        s = self.sentinels()
        d = self.node_of(s.address)
        c = self.client(d, 'a')
        first = self.taken(d, 1)
        self.assertEqual(c.data(), 1)
        old, new = s.failover()
        self.up(d)
        after = self.taken(d, 2)
        # Another server answers: what it knows may lack what was acknowledged, so a new epoch begins and clients are told.
        self.assertNotEqual(after['epoch'], first['epoch'])
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)
        wait_for(lambda: self.connected(new), what='a connection to the new master')

    def test_the_master_takes_its_sentinel_with_it(self):
        s = self.sentinels(sentinels=3)
        d = self.node_of(s.address)
        s.sentinels[0].kill()  # the one that is asked first
        s.failover()
        self.up(d)
        self.taken(d, 1)

    def test_a_demoted_master_that_stays_reachable_is_left(self):
        s = self.sentinels(down_after=60000)  # a pause of the machine is not a death, which would lead back
        d = self.node_of(s.address)
        old = s.master()
        self.assertEqual(s.sentinels[0].say('SENTINEL', 'FAILOVER', s.name), 'OK')
        new = wait_for(lambda: s.master() is not old and s.master(), 30, 'another master')
        self.up(d)
        c = self.client(d, 'a')
        self.taken(d, 1)
        self.assertEqual(c.data(), 1)
        wait_for(lambda: self.connected(new), what='a connection to the new master')
        wait_for(lambda: not self.connected(old), what='the end of the connection to the old one')

    def test_nobody_says_that_a_master_was_demoted(self):
        """Neither the server nor Sentinel: the node looks for itself."""
        r = self.started(Redis(tcp=True))
        d = self.node_of(r.address)
        other = self.started(Redis(tcp=True))
        r.say('REPLICAOF', HOST, other.port)
        # It asks every five seconds; a write may tell it before.
        d.wait_log("the engine's server is gone.*(it is a replica|READONLY|MASTERDOWN|LOADING)", 30)
        wait_for(lambda: d.metric('roost_engine_up') == 0, what='the node to leave')
        r.say('REPLICAOF', 'NO', 'ONE')
        self.up(d)

    def test_a_sentinel_that_lies(self):
        """It names a replica: that is no master, and the others are asked."""
        s = self.sentinels()
        liar = self.sentinels(replicas=0)
        liar.redis[0].say('REPLICAOF', HOST, s.redis[0].port)
        d = self.start(workers=1, engine='redis', engine_timeout='1s', engine_address=liar.address)
        d.wait_log('it is a replica', 30)
        liar.redis[0].say('REPLICAOF', 'NO', 'ONE')
        self.up(d)

    def test_a_sentinel_that_is_cut_off_from_the_others(self):
        """It has not heard of a failover, answers, and names a master that is dead for good."""
        s = self.sentinels(replicas=0)
        outdated = self.started(engines.Sentinel(s.name, engines.free_port()))
        d = self.node_of('redis+sentinel://%s:%d,%s:%d/0?master=%s' % (HOST, outdated.port, HOST, s.sentinels[0].port, s.name))
        self.taken(d, 1)
        d.wait_log('what a Sentinel names cannot be used')

    def test_each_sentinel_an_entry_and_some_that_are_away(self):
        s = self.sentinels()
        away = 'redis+sentinel://127.0.0.9:1/0?master=' + s.name
        d = self.node_of(away + ',' + s.address)
        self.taken(d, 1)

    def test_a_name_that_sentinels_do_not_know(self):
        s = self.sentinels(replicas=0)
        d = self.start(workers=1, engine='redis', engine_address=s.address.replace('master=', 'master=x'))
        d.wait_log('a Sentinel is of no use.*does not know a master of that name')
        self.assertEqual(d.metric('roost_engine_up'), 0)
        self.assertIn('it does not know a master of that name', d.http('GET', '/readyz').body.decode())

    def test_passwords_of_both(self):
        s = self.sentinels(password='of-redis', extra='sentinel auth-pass roost of-redis')
        for sentinel in s.sentinels:
            sentinel.say('CONFIG', 'GET', 'requirepass')
            sentinel.say('ACL', 'SETUSER', 'default', 'on', '>of-sentinel')
        wrong = self.start(workers=1, engine='redis', engine_address=s.address, engine_password='of-redis')
        wrong.wait_log('a Sentinel is of no use.*NOAUTH')
        d = self.node_of(s.address, engine_password='of-redis', engine_sentinel_password='of-sentinel')
        self.taken(d, 1)


if __name__ == '__main__':
    unittest.main(verbosity=0)
