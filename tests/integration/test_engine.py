#!/usr/bin/python3
"""Two nodes that share a Redis server: one order, one history, recovery on either, and what happens when a hub or the server is
killed."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

from centrifuge import OPEN, Client, yaml
from daemon import BUILD, DaemonTest, wait_for
from engines import TOP, Redis
from links import Link

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}
KEPT = {**{k: v for k, v in OPEN.items() if 'presence' not in k}, 'force_positioning': True}


class Engine(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def node(self, clean=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'redis',
                    'engine_address': 'unix:' + self.redis.path, 'engine_probe_interval': '300ms', 'engine_timeout': '4s',
                    'channel_without_namespace': KEPT, 'namespaces': [{**BARE, 'name': 'bare'}], **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')
        return d

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def answers(self, d, channel, data):
        """Status and body of a publish."""
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data}))
        return r.status, json.loads(r.body)

    def published(self, d, channel, data):
        return d.api('publish', channel=channel, data=data)['result']

    def test_one_order_and_one_history(self):
        nodes = [self.node(), self.node()]
        clients = [self.client(d, 'a') for d in nodes for _ in range(3)]
        for i in range(200):
            nodes[i % 2].api('publish', channel='a', data=i)
        seen = []
        for c in clients:
            got = [c.push()[1] for _ in range(200)]
            self.assertEqual([p['offset'] for p in got], list(range(1, 201)))
            seen.append([p['data'] for p in got])
        self.assertEqual(sorted(seen[0]), list(range(200)))
        self.assertTrue(all(s == seen[0] for s in seen))
        for d in nodes:
            kept = d.api('history', channel='a', limit=1000)['result']
            self.assertEqual([p['data'] for p in kept['publications']], seen[0][-100:])
            self.assertEqual(kept['offset'], 200)

    def test_what_a_nodes_rings_cannot_hold_is_lost_there_and_told(self):
        large, small = self.node(max_message_size='4MiB'), self.node(clean=False, max_message_size='64KiB', ring_size='64KiB')
        there, here = self.client(large, 'a'), self.client(small, 'a', 'bare:b')
        self.assertEqual(self.published(large, 'a', 'x' * 1000000)['offset'], 1)
        self.assertEqual(len(there.push()[1]['data']), 1000000)
        self.assertEqual(here.push('unsubscribe'), ('a', {'code': 2500, 'reason': 'insufficient state'}))
        for d in (large, small):  # and the way to the worker is free
            self.published(d, 'bare:b', 1)
            self.assertEqual(here.push()[:2], ('bare:b', {'data': 1}))
        got = here.subscribe('a', recover=True, offset=0, epoch='')
        self.assertFalse(got.get('recovered', False))
        self.published(large, 'a', 2)
        self.assertEqual(here.push()[1]['data'], 2)
        self.assertIsNotNone(small.find('larger than the rings of this node'))
        r = small.http('POST', '/api/history', json.dumps({'channel': 'a', 'limit': 10}))
        self.assertEqual(json.loads(r.body)['error']['code'], 108)

    def test_what_one_publishes_to_several_channels_at_once_comes(self):
        # Publications of a channel travel together, so channels overtake one another.
        d = self.node()
        channels = ['a', 'b', 'bare:a', 'bare:b']
        c, publisher = self.client(d, *channels), self.client(d)
        publisher.say(*[{'id': 100 + i, 'publish': {'channel': channels[i % 4], 'data': i}} for i in range(80)])
        came = {channel: [] for channel in channels}
        for _ in range(80):
            channel, p = c.push()
            came[channel].append(p['data'])
        self.assertEqual(came, {channel: list(range(i, 80, 4)) for i, channel in enumerate(channels)})

    def test_a_client_recovers_on_the_other_node(self):
        nodes = [self.node(), self.node()]
        at = self.published(nodes[0], 'a', 'first')
        for i in range(5):
            self.published(nodes[i % 2], 'a', i)
        c = self.client(nodes[1])
        got = c.ask(subscribe={'channel': 'a', 'recover': True, 'offset': at['offset'], 'epoch': at['epoch']})['subscribe']
        self.assertTrue(got['recovered'])
        self.assertEqual([p['data'] for p in got['publications']], list(range(5)))

    def test_a_long_history_comes_in_one_answer(self):
        """Piece after piece, each as soon as the server has answered the one before."""
        d = self.node(namespaces=[{**KEPT, 'name': 'long', 'history_size': 2000}], recovery_max_publication_limit=2000)
        at = self.published(d, 'long:a', 'first')
        w = d.ws('/ws/long:a')
        for i in range(1600):
            w.text(b'%d' % i)
        for i in range(1600):
            self.assertEqual(w.recv_data(), b'%d' % i)
        kept = d.api('history', channel='long:a', limit=2000)['result']['publications']
        self.assertEqual([p['data'] for p in kept], ['first', *map(str, range(1600))])
        got = self.client(d).ask(subscribe={'channel': 'long:a', 'recover': True, **at})['subscribe']
        self.assertTrue(got['recovered'])
        self.assertEqual(len(got['publications']), 1600)

    def test_plain_clients_and_channels_without_history(self):
        nodes = [self.node(), self.node()]
        a, b = (d.ws('/ws/bare:x') for d in nodes)
        for i in range(20):
            a.text(b'from a %d' % i)
        for w in (a, b):
            self.assertEqual([w.recv_data() for _ in range(20)], [b'from a %d' % i for i in range(20)])
        b.text(b'from b')
        self.assertEqual(a.recv_data(), b'from b')

    def test_a_key_and_a_version_hold_on_all_nodes(self):
        nodes = [self.node(), self.node()]
        c = self.client(nodes[0], 'a')
        one = [d.api('publish', channel='a', data='once', idempotency_key='k')['result'] for d in nodes]
        self.assertEqual(one[0], one[1])
        nodes[1].api('publish', channel='a', data='v2', version=2)
        nodes[0].api('publish', channel='a', data='v1', version=1)
        nodes[0].api('publish', channel='a', data='v3', version=3)
        self.assertEqual([c.data() for _ in range(3)], ['once', 'v2', 'v3'])

    def test_control_messages_reach_clients_of_all_nodes(self):
        nodes = [self.node(), self.node()]
        c = self.client(nodes[1], 'a')
        nodes[0].api('unsubscribe', user='', client=c.me, channel='a')
        self.assertEqual(c.push('unsubscribe')[0], 'a')

    def test_a_killed_hub_loses_nothing_and_doubles_nothing(self):
        nodes = [self.node(clean=False), self.node()]
        c = [self.client(d, 'a') for d in nodes]
        for i in range(60):
            if i in (20, 40):
                nodes[0].kill('hub')
            body = json.dumps({'channel': 'a', 'data': i, 'idempotency_key': 'k%d' % i})
            wait_for(lambda: nodes[0].http('POST', '/api/publish', body).status == 200, what='publication %d' % i)
        for one in c:
            data, lost = [], False
            while len(data) < 60 and not lost:
                push = one.next()['push']
                if 'pub' in push:
                    data.append(push['pub']['data'])
                else:
                    lost = 'unsubscribe' in push  # told, so it would recover
            self.assertEqual(data, list(range(len(data))))
        kept = nodes[1].api('history', channel='a', limit=100)['result']['publications']
        self.assertEqual([p['data'] for p in kept], list(range(60)))
        self.assertEqual([p['offset'] for p in kept], list(range(1, 61)))

    def test_a_server_that_is_away(self):
        d = self.node(engine_patience='300ms')
        c, w = self.client(d, 'a', 'bare:a'), d.ws('/ws/a')
        self.published(d, 'a', 1)
        self.assertEqual(c.data(), 1)
        self.redis.kill()
        wait_for(lambda: d.metric('roost_engine_up') == 0, what='the node to notice')
        status, body = self.answers(d, 'a', 2)
        self.assertEqual((status, body['error']['code']), (503, 100))
        other, waiting = self.client(d), self.client(d)
        self.assertEqual(waiting.error(subscribe={'channel': 'new'}), 100)
        self.assertEqual(other.error(history={'channel': 'a', 'limit': 1}), 100)
        self.redis.start()
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the node to connect again')
        # Everything is gone from the server: another epoch, of which positioned clients are told; all stay connected.
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)
        self.published(d, 'a', 3)
        self.published(d, 'bare:a', 4)
        self.assertEqual(c.data(), 4)
        got = [w.recv_data() for _ in range(2)]
        self.assertEqual(got, [b'1', b'3'])
        self.assertTrue(waiting.subscribe('new')['recoverable'])

    def test_databases_are_worlds_of_their_own(self):
        # To what is published all databases of a server are one: what one database's nodes say must not reach the other's.
        r = Redis(tcp=True)
        self.addCleanup(r.stop)
        one, two = (self.node(engine_address='%s/%d' % (r.address, i), node_heartbeat='100ms') for i in (0, 1))
        also = self.node(engine_address=r.address + '/1', node_heartbeat='100ms')
        clients = [self.client(d, 'a', 'bare:a') for d in (one, two, also)]
        for channel in ('a', 'bare:a'):
            self.published(one, channel, 'one')
            self.published(also, channel, 'two')
        for c, said in zip(clients, ('one', 'two', 'two')):
            self.assertEqual(sorted((channel, p['data']) for channel, p in (c.push(), c.push())), [('a', said), ('bare:a', said)])
        one.api('unsubscribe', user='', channel='bare:a')
        two.api('publish', channel='bare:a', data='still there')
        self.assertEqual([c.data() for c in clients[1:]], ['still there'] * 2)
        wait_for(lambda: two.metric('roost_nodes') == also.metric('roost_nodes') == 2, what='nodes that know one another')
        self.assertEqual(one.metric('roost_nodes'), 1)

    def test_more_is_kept_than_the_server_holds_for_a_reader(self):
        # Redis ends the connection of a subscriber who has too much to read. What was asked for comes in pieces that are not.
        r = Redis(tcp=True)
        self.addCleanup(r.stop)
        r.say('CONFIG', 'SET', 'client-output-buffer-limit', 'pubsub 1048576 0 0')
        link = Link(r.port)
        self.addCleanup(link.stop)
        one, two = self.node(engine_address=r.address), self.node(engine_address='redis://127.0.0.1:%d' % link.port)
        c = self.client(two, 'a')
        self.published(one, 'a', 'heard')
        self.assertEqual(c.data(), 'heard')
        link.cut()
        wait_for(lambda: two.metric('roost_engine_up') == 0, what='the node to notice')
        texts = ['%02d' % i + 'x' * 50000 for i in range(60)]
        for text in texts:
            self.published(one, 'a', text)
        link.heal()
        self.assertEqual([c.data() for _ in texts], texts)  # as the gap is not longer than what is healed
        kept = one.api('history', channel='a', limit=100)['result']['publications']
        self.assertEqual([p['data'] for p in kept], ['heard', *texts])
        self.assertEqual(one.metric('roost_engine_reconnects_total{reason="closed"}'), 0)

    def test_a_server_that_stands_still(self):
        d = self.node(engine_patience='300ms', engine_timeout='1s')
        self.redis.kill(signal.SIGSTOP)
        wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
        self.redis.kill(signal.SIGCONT)
        wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')


class Contract(unittest.TestCase):
    def test_the_engine_contract_with_a_real_server(self):
        done = subprocess.run([os.path.join(BUILD, 'tests/unit/core/real_engine_redis')], cwd=TOP, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('[  PASSED  ]', done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
