#!/usr/bin/python3
"""Nodes that share a Redis server: who is in a channel of all of them, who is told, and what is left when a worker, a hub, a node
or the server is killed."""

import os
import signal
import subprocess
import unittest

from daemon import BUILD, wait_for
from engines import TOP, Redis
from members import MembersTest


class Presence(MembersTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)
        self.address = 'unix:' + self.redis.path

    def test_one_list_for_all_nodes(self):
        nodes = [self.node(clean=True) for _ in range(3)]
        here = self.client(nodes[0], 'ann')
        self.heard(here, 'join', [here])  # its own, too
        there = self.client(nodes[1], 'ann')
        self.heard(here, 'join', [there])
        self.heard(there, 'join', [there])
        third = self.client(nodes[2], 'bob')
        for c in (here, there):
            self.heard(c, 'join', [third])
        self.heard(third, 'join', [third])
        self.are(nodes, [here, there, third], 'all to be listed')
        for d in nodes:
            self.assertEqual(self.counts(d), (3, 2))
        got = here.ask(presence={'channel': 'x'})['presence']['presence']
        self.assertEqual({v['user'] for v in got.values()}, {'ann', 'bob'})
        self.assertEqual(here.ask(presence_stats={'channel': 'x'})['presence_stats'], {'num_clients': 3, 'num_users': 2})
        third.close()
        for c in (here, there):
            self.heard(c, 'leave', [third])
        self.are(nodes, [here, there], 'who has gone not to be listed')
        self.assertEqual(self.counts(nodes[2]), (2, 1))
        self.quiet([here, there])

    def test_a_killed_worker(self):
        nodes = [self.node(), self.node()]
        clients = self.both(nodes[0], 3)
        away = self.client(nodes[1])
        wait_for(lambda: self.members(nodes[1]) == {c.me for c in [*clients, away]}, what='all to be listed')
        self.settle([*clients, away])
        gone, left = ([c for c in clients if c.worker == w] for w in (0, 1))
        nodes[0].kill('worker0')
        for c in [away, *left]:
            self.heard(c, 'leave', gone)
        self.are(nodes, [away, *left], 'those of the killed worker to go')
        self.quiet([away, *left])

    def test_a_killed_hub(self):
        nodes = [self.node(), self.node()]
        clients = [*self.both(nodes[0], 2), self.client(nodes[1])]
        self.are(nodes, clients, 'all to be listed')
        self.settle(clients)
        pid = nodes[0].pid_of('hub')
        nodes[0].kill('hub')
        wait_for(lambda: nodes[0].pid_of('hub') not in (0, pid), what='a new hub')
        self.are(nodes, clients, 'the new hub to know who is there')
        self.quiet(clients)

    def test_a_hub_and_a_worker_killed_together(self):
        nodes = [self.node(), self.node()]
        clients = self.both(nodes[0], 2)
        away = self.client(nodes[1])
        self.are(nodes, [*clients, away], 'all to be listed')
        self.settle([*clients, away])
        gone, left = ([c for c in clients if c.worker == w] for w in (0, 1))
        nodes[0].kill('worker0')
        nodes[0].kill('hub')
        self.are(nodes, [away, *left], 'those of the killed worker to go')
        self.heard(away, 'leave', gone)
        self.quiet([away])

    def test_a_killed_node(self):
        nodes = [self.node() for _ in range(3)]
        left = [self.client(nodes[0]), self.client(nodes[1])]
        gone = [self.client(nodes[2]) for _ in range(3)]
        self.are(nodes, [*left, *gone], 'all to be listed')
        self.settle([*left, *gone])
        nodes[2].process.send_signal(signal.SIGKILL)
        for c in left:
            self.heard(c, 'leave', gone)
        self.are(nodes[:2], left, 'those of the killed node to go')
        self.quiet(left)

    def test_a_user_of_the_servers_with_few_rights(self):
        with open(os.path.join(TOP, 'deploy/README.md')) as f:
            line = next(x for x in f if x.startswith('user roost on'))
        r = Redis(acl=line.replace('PASSWORD', 'pQ7-x9').strip())
        self.addCleanup(r.stop)
        self.address = r.address
        nodes = [self.node(engine_user='roost', engine_password='pQ7-x9') for _ in range(2)]
        left, gone = (self.client(d) for d in nodes)
        self.are(nodes, [left, gone], 'both to be listed')
        nodes[1].process.send_signal(signal.SIGKILL)
        self.are(nodes[:1], [left], 'one to be listed')
        self.assertEqual(nodes[0].lines('the engine.s server refuses a call'), [])

    def test_channels_on_several_servers(self):
        other = Redis()
        self.addCleanup(other.stop)
        address = {'engine_address': 'unix:%s,unix:%s' % (self.redis.path, other.path)}
        nodes = [self.node(up=2, **address), self.node(up=2, **address)]
        here, there = (self.client(d, channel=None) for d in nodes)
        channels = ['c%d' % i for i in range(12)]
        for c in (here, there):
            for channel in channels:
                c.subscribe(channel)
        for channel in channels:
            wait_for(lambda: self.members(nodes[0], channel) == {here.me, there.me}, what='both in ' + channel)
        for server in (self.redis, other):
            self.assertIn('roost:p:c', server.say('KEYS', 'roost:p:*'))
        nodes[1].process.send_signal(signal.SIGKILL)
        for channel in channels:
            wait_for(lambda: self.members(nodes[0], channel) == {here.me}, 30, what='one in ' + channel)
            wait_for(lambda: self.counts(nodes[0], channel) == (1, 1), 30, what='one in ' + channel)

    def test_a_node_that_ends(self):
        nodes = [self.node(clean=True), self.node(clean=True, node_ttl='10m')]
        left, gone = self.client(nodes[1]), self.client(nodes[0])
        self.heard(left, 'join', [left, gone])
        nodes[0].process.send_signal(signal.SIGTERM)
        self.heard(left, 'leave', [gone])
        self.are(nodes[1:], [left], 'who was there to go')

    def test_a_server_that_was_killed(self):
        nodes = [self.node(), self.node()]
        clients = [self.client(d) for d in nodes for _ in range(3)]
        self.are(nodes, clients, 'all to be listed')
        self.settle(clients)
        self.redis.kill()
        self.redis.start()
        self.are(nodes, clients, 'all to be listed again')
        self.quiet(clients)

    def test_a_server_that_is_away(self):
        nodes = [self.node(engine_patience='300ms'), self.node(engine_patience='300ms')]
        c, gone = self.client(nodes[0]), self.client(nodes[1])
        self.are(nodes, [c, gone], 'both to be listed')
        self.heard(c, 'join', [c, gone])
        self.redis.kill()
        wait_for(lambda: c.ask(presence={'channel': 'x'}).get('error', {}).get('code') == 100, what='error 100')
        gone.close()
        wait_for(lambda: nodes[1].metric('roost_presence_members') == 0, what='the node to know')
        self.redis.start()
        self.are(nodes, [c], 'who has gone not to be listed')


class Engines(unittest.TestCase):
    def test_members_over_nodes_with_a_real_server(self):
        done = subprocess.run([os.path.join(BUILD, 'tests/unit/core/real_engine_redis_nodes')], cwd=TOP, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('[  PASSED  ]', done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
