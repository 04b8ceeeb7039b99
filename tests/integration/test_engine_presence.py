#!/usr/bin/python3
"""Nodes that share a Redis server: who is in a channel of all of them, who is told, and what is left when a worker, a hub, a node
or the server is killed."""

import os
import signal
import subprocess
import tempfile
import unittest

from centrifuge import OPEN, SECRET, Client, token, yaml
from daemon import BUILD, DaemonTest, wait_for
from engines import TOP, Redis

JOINS = {**OPEN, 'force_recovery': False, 'join_leave': True, 'force_push_join_leave': True}
TTL = 4


class Presence(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def node(self, clean=False, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'token_hmac_secret_key': SECRET, 'engine': 'redis',
                    'engine_address': 'unix:' + self.redis.path, 'node_heartbeat': '1s', 'node_ttl': '%ds' % TTL,
                    'channel_without_namespace': JOINS, **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')
        return d

    def client(self, d, user=None, channel='x'):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect(**({'token': token(sub=user)} if user else {}))
        if channel:
            c.subscribe(channel)
        c.worker = wait_for(lambda: [x['worker'] for x in [d.get_json('/debug/connections')]
                                     if any(y.get('client') == c.me for y in x['connections'])], what='its worker')[0]
        return c

    def both(self, d, n, **kw):
        """Clients of which at least n are on each worker."""
        clients = []
        while min(sum(c.worker == w for c in clients) for w in (0, 1)) < n:
            clients.append(self.client(d, **kw))
        return clients

    def members(self, d, channel='x'):
        return set(d.api('presence', channel=channel)['result']['presence'])

    def counts(self, d, channel='x'):
        got = d.api('presence_stats', channel=channel)['result']
        return got['num_clients'], got['num_users']

    def are(self, nodes, clients, what):
        """Every node says that these are there, and nobody else."""
        want = {c.me for c in clients}
        for d in nodes:
            wait_for(lambda: self.members(d) == want, 30, what)
            wait_for(lambda: self.counts(d)[0] == len(want), 30, what)

    def heard(self, c, kind, clients):
        """Nobody else, nobody twice."""
        want = sorted(x.me for x in clients)
        got = []
        while len(got) < len(want):
            got.append(c.push(kind)[1]['info']['client'])
        self.assertEqual(sorted(got), want)

    def quiet(self, clients):
        """Nobody was told anything more: a publication comes next."""
        clients[0].publish('x', 'the end')
        for c in clients:
            self.assertEqual(c.data(), 'the end')

    def test_one_list_for_all_nodes(self):
        nodes = [self.node(clean=True) for _ in range(3)]
        here, there = self.client(nodes[0], 'ann'), self.client(nodes[1], 'ann')
        self.heard(here, 'join', [here, there])  # its own, too
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
        for c in [*clients, away]:  # all that came after it
            while c.messages or self.pending(c):
                c.next()
        gone, left = ([c for c in clients if c.worker == w] for w in (0, 1))
        nodes[0].kill('worker0')
        for c in [away, *left]:
            self.heard(c, 'leave', gone)
        self.are(nodes, [away, *left], 'those of the killed worker to go')
        self.quiet([away, *left])

    def pending(self, c):
        """Does something come before an answer that is asked for now?"""
        c.messages = [c.ask(presence_stats={'channel': 'x'}), *c.messages]
        c.messages.pop(0)
        return bool(c.messages)

    def test_a_killed_hub(self):
        nodes = [self.node(), self.node()]
        clients = [*self.both(nodes[0], 2), self.client(nodes[1])]
        self.are(nodes, clients, 'all to be listed')
        for c in clients:
            while self.pending(c):
                c.messages = []
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
        while self.pending(away):
            away.messages = []
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
        for c in left:
            while self.pending(c):
                c.messages = []
        nodes[2].process.send_signal(signal.SIGKILL)
        for c in left:
            self.heard(c, 'leave', gone)
        self.are(nodes[:2], left, 'those of the killed node to go')
        self.quiet(left)

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
        for c in clients:
            while self.pending(c):
                c.messages = []
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
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('[  PASSED  ]', done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
