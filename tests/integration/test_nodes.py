#!/usr/bin/python3
"""Nodes that share an engine know each other: who lives, what they hold, listings and control messages over all of them."""

import http.client
import json
import os
import signal
import tempfile
import threading
import unittest
import urllib.parse

from centrifuge import OPEN, SECRET, Client, one_stays, token, yaml
from daemon import DaemonTest, run_roostctl, stand_still, wait_for
from engines import Nats, Redis
from links import Link
from test_centrifuge_streams import CONNECT, Stream, commands
from wsraw import Closed

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}


# Where somebody is to be found dead; everybody else has time, as a slow machine does not let each speak five times a second.
SOON = '1500ms'


class Nodes(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def node(self, name, address=None, clean=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'redis',
                    'engine_address': address or 'unix:' + self.redis.path, 'engine_probe_interval': '300ms', 'engine_timeout': '1s',
                    'node_name': name, 'node_heartbeat': '200ms', 'node_ttl': '30s', 'channel_without_namespace': BARE, **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        wait_for(lambda: d.metric('roost_engine_up') > 0, what='the engine to be there')
        return d

    def names(self, d):
        return [n['name'] for n in d.api('info')['result']['nodes']]

    def knows(self, d, *names):
        """Itself first."""
        wait_for(lambda: self.names(d)[0] == names[0] and sorted(self.names(d)) == sorted(names), what='%s to know %s' % (names[0], names[1:]))
        wait_for(lambda: d.metric('roost_nodes') == len(names), what='the metric')

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def test_all_know_all(self):
        a, b, c = nodes = [self.node(n) for n in 'abc']
        self.client(b, 'x', 'y')
        for d, order in zip(nodes, ('abc', 'bac', 'cab')):
            self.knows(d, *order)
        wait_for(lambda: [(n['num_clients'], n['num_channels'], n['num_subs']) for n in a.api('info')['result']['nodes']
                          if n['name'] == 'b'] == [(1, 2, 2)], what='what b holds')
        info = {n['name']: n for n in c.api('info')['result']['nodes']}
        self.assertEqual(len({n['uid'] for n in info.values()}), 3)
        self.assertEqual(len({n['version'] for n in info.values()}), 1)
        self.assertGreater(info['a']['process']['rss'], 0)
        table = run_roostctl(a, 'nodes').stdout.splitlines()
        self.assertEqual([line.split()[0] for line in table[:2]], ['node', 'a'])
        self.assertRegex(run_roostctl(a, 'nodes').stdout, r'(?m)^b +\S+ +up +\S+ +\d+s +1 ')
        listed = json.loads(run_roostctl(a, 'nodes', '-o', 'json').stdout)['nodes']
        self.assertEqual([n['self'] for n in listed], [True, False, False])
        self.assertTrue(all(n['agrees'] and n['heard_ago'] < 60 for n in listed))

    def test_who_stops_is_gone_at_once_and_who_is_killed_after_its_time(self):
        a, b, c = self.node('a'), self.node('b'), self.node('c', clean=False)
        self.knows(a, 'a', 'b', 'c')
        self.knows(c, 'c', 'a', 'b')
        b.stop()
        self.knows(a, 'a', 'c')  # long before its time
        self.knows(c, 'c', 'a')
        d = self.node('d', node_ttl=SOON)
        self.knows(d, 'd', 'a', 'c')
        c.process.kill()
        self.knows(d, 'd', 'a')

    def test_a_killed_hub_is_the_same_node(self):
        a, b = self.node('a', clean=False), self.node('b')
        self.knows(b, 'b', 'a')
        before = [n['id'] for n in b.get_json('/debug/nodes')['nodes']]
        pid = a.kill('hub')
        wait_for(lambda: a.pid_of('hub') not in (0, pid), what='another hub')
        wait_for(lambda: a.metric('roost_engine_up') == 1, what='the hub to be back')
        self.knows(a, 'a', 'b')
        self.assertEqual([n['id'] for n in b.get_json('/debug/nodes')['nodes']], before)

    def test_one_that_was_cut_off_buries_nobody(self):
        redis = Redis(tcp=True)
        self.addCleanup(redis.stop)
        link = Link(redis.port)
        self.addCleanup(link.stop)
        a, b = (self.node(n, address=where, node_ttl=SOON) for n, where in
                (('a', 'redis://127.0.0.1:%d' % link.port), ('b', redis.address)))
        self.knows(a, 'a', 'b')
        link.cut()
        self.knows(b, 'b')
        self.assertEqual(self.names(a), ['a', 'b'])
        link.heal()
        self.knows(b, 'b', 'a')
        self.assertEqual(self.names(a), ['a', 'b'])
        self.assertFalse(a.find('a node is gone'))

    def test_channels_of_all_nodes(self):
        a, b, c = nodes = [self.node(n, hub_timeout='4s', hang_timeout='60s') for n in 'abc']
        self.knows(a, 'a', 'b', 'c')
        for i, d in enumerate(nodes):
            self.client(d, 'all', 'only%d' % i, *('p%02d' % n for n in range(i, 12, 3)))
        want = {**{'only%d' % i: 1 for i in range(3)}, **{'p%02d' % n: 1 for n in range(12)}, 'all': 3}

        def channels(d, **params):
            return d.api('channels', **params)['result']

        wait_for(lambda: len(channels(b)['channels']) == len(want), what='every channel')
        got = channels(b)
        self.assertEqual({k: v['num_clients'] for k, v in got['channels'].items()}, want)
        self.assertEqual((got['nodes_asked'], got['nodes_answered']), (3, 3))
        self.assertNotIn('partial', got)
        pages, cursor = [], ''
        while cursor is not None:
            got = channels(c, pattern='p*', limit=5, cursor=cursor)
            pages.append(list(got['channels']))
            cursor = got.get('cursor')
        self.assertEqual([len(p) for p in pages], [5, 5, 2])
        self.assertEqual(sum(pages, []), ['p%02d' % n for n in range(12)])
        self.assertEqual(run_roostctl(a, 'channels', 'all').stdout.split(), ['subscribers', 'channel', '3', 'all'])
        # One that is silent and counts as alive: no error, but what there is.
        hub = b.pid_of('hub')
        stand_still(hub)
        try:
            got = channels(a)
            self.assertEqual(got['partial'], True)
            self.assertEqual((got['nodes_asked'], got['nodes_answered']), (3, 2))
            self.assertIn('only2', got['channels'])
            self.assertNotIn('only1', got['channels'])
            self.assertEqual(got['channels']['all'], {'num_clients': 2})
            self.assertEqual(a.metric('roost_survey_partial_total'), 1)
            for command in ('channels', 'channel'):
                p = run_roostctl(a, command, 'all')
                self.assertEqual(p.returncode, 1)
                self.assertRegex(p.stderr, r'^roostctl: .*a node that did not answer')
                self.assertRegex(p.stdout, r'(?m)^(subscribers +2| *2 +all)$')
        finally:
            os.kill(hub, signal.SIGCONT)

    def test_control_messages_say_who_has_them(self):
        a, b = (self.node(n, hang_timeout='60s') for n in 'ab')
        self.knows(a, 'a', 'b')
        c = self.client(b, 'x')
        self.assertEqual(a.api('unsubscribe', user='', client=c.me, channel='x')['result'], {'nodes_asked': 2, 'nodes_answered': 2})
        self.assertEqual(c.push('unsubscribe')[0], 'x')
        hub = b.pid_of('hub')
        stand_still(hub)
        try:
            self.assertEqual(a.api('disconnect', user='', client=c.me)['result'], {'nodes_asked': 2, 'nodes_answered': 1})
        finally:
            os.kill(hub, signal.SIGCONT)
        self.assertEqual(c.ends()[0], 3503)  # it comes late, but it comes

    def test_what_is_said_while_a_hub_is_dead_is_heard(self):
        redis = Redis(tcp=True)
        self.addCleanup(redis.stop)
        link = Link(redis.port)
        self.addCleanup(link.stop)
        patient = {'hang_timeout': '60s'}
        a = self.node('a', address='redis://127.0.0.1:%d' % link.port, clean=False, **patient)
        b = self.node('b', address=redis.address, **patient)
        self.knows(a, 'a', 'b')
        self.knows(b, 'b', 'a')
        c, stays = self.client(a, 'x'), self.client(a, 'x')
        link.cut()
        pid = a.kill('hub')
        wait_for(lambda: a.pid_of('hub') not in (0, pid), what='another hub')
        self.assertEqual(b.api('disconnect', user='', client=c.me)['result'], {'nodes_asked': 2, 'nodes_answered': 1})
        link.heal()
        self.assertEqual(c.ends()[0], 3503)
        self.assertEqual(a.metric('roost_control_replayed_total'), 1)
        self.assertEqual(b.api('unsubscribe', user='', client=stays.me, channel='x')['result'], {'nodes_asked': 2, 'nodes_answered': 2})
        self.assertEqual(stays.push('unsubscribe')[0], 'x')

    def test_connections_of_a_user_are_counted_over_all_nodes(self):
        limits = {'user_connection_limit': 2, 'user_connection_limit_scope': 'all_nodes', 'node_ttl': '3s', 'token_hmac_secret_key': SECRET}
        a, b = self.node('a', **limits), self.node('b', clean=False, **limits)
        self.knows(a, 'a', 'b')

        def connect(d):
            """A client, or None where it is one too many."""
            c = Client(d.client)
            self.addCleanup(c.close)
            try:
                c.connect(token=token(sub='ann'))
            except Closed as e:
                self.assertIn('close 3504', str(e))
                return None
            return c

        mine, other = connect(a), connect(b)
        self.assertTrue(mine and other)
        self.assertIsNone(connect(a))
        self.assertIsNone(connect(b))
        mine.close()
        mine = wait_for(lambda: connect(b), what='room')
        self.assertIsNone(connect(a))
        b.process.kill()  # what it had is nobody's after node_ttl
        wait_for(lambda: connect(a), what='room that the dead node has left')
        self.redis.kill()
        wait_for(lambda: connect(a), what='to be let in without the server')  # the second here, by this node's count
        self.assertIsNone(connect(a))
        self.assertGreaterEqual(a.metric('roost_user_limits_unsure_total'), 1)

    def test_the_same_over_nats(self):
        nats = Nats()
        self.addCleanup(nats.stop)
        a, b, c = [self.node(n, engine='nats', address=nats.address) for n in 'abc']
        self.knows(a, 'a', 'b', 'c')
        client = self.client(b, 'x', 'y')
        self.client(c, 'x')
        wait_for(lambda: a.api('channels')['result']['channels'] == {'x': {'num_clients': 2}, 'y': {'num_clients': 1}}, what='both')
        self.assertEqual(a.api('unsubscribe', user='', client=client.me, channel='x')['result'], {'nodes_asked': 3, 'nodes_answered': 3})
        self.assertEqual(client.push('unsubscribe')[0], 'x')
        b.stop()
        self.knows(a, 'a', 'c')  # at once

    def an_order_is_overtaken(self, server, **settings):
        """The engine has an order to all workers for a while, in which they go on to say something to each other."""
        d = self.node('a', token_hmac_secret_key=SECRET, engine_timeout='60s', hub_timeout='60s', **settings)
        for _ in range(3):
            clients = [Client(d.client) for _ in range(8)]
            for c in clients:
                self.addCleanup(c.close)
                c.connect(token=token(sub='42'))
            asked = d.metric('roost_ring_records_total{kind="control"}')
            server.pause()
            answers = []
            order = threading.Thread(target=lambda: answers.append(d.api('disconnect', user='42')['result']))
            order.start()
            wait_for(lambda: d.metric('roost_ring_records_total{kind="control"}') > asked, what='the hub to have the order')
            for _ in range(8):  # whichever worker is asked asks the other
                self.assertEqual(d.http('GET', '/debug/connections?worker=all').status, 200)
            self.assertEqual(answers, [])
            server.resume()
            order.join()
            self.assertEqual([c.ends()[0] for c in clients], [3503] * len(clients))

    def test_an_order_is_overtaken(self):
        self.an_order_is_overtaken(self.redis)

    def test_an_order_is_overtaken_over_nats(self):
        nats = Nats()
        self.addCleanup(nats.stop)
        self.an_order_is_overtaken(nats, engine='nats', address=nats.address)

    def one_connection_at_a_time(self, **settings):
        """Of a user's connections the last one stays; one, too, of those that come to two nodes at the same time."""
        a, b = (self.node(n, token_hmac_secret_key=SECRET, subscribe_to_user_personal_channel=True,
                          personal_channel_single_connection=True, **settings) for n in 'ab')
        self.knows(a, 'a', 'b')
        self.knows(b, 'b', 'a')

        def client(d):
            c = Client(d.client)
            self.addCleanup(c.close)
            c.say({'id': 1, 'connect': {'token': token(sub='42')}})
            return c

        for _ in range(5):
            hubs = [d.kill('hub', signal.SIGSTOP) for d in (a, b)]
            clients = [client(d) for _ in range(3) for d in (a, b)]
            for pid in hubs:
                os.kill(pid, signal.SIGCONT)
            last, = one_stays(clients, (a, b))
            for d in (a, b, a):
                c = client(d)
                self.assertIn('connect', c.next())
                self.assertEqual(last.ends(), (3504, 'connection limit'))
                last = c
            self.assertEqual(last.error(rpc={}), 108)

    def test_one_connection_of_a_user(self):
        self.one_connection_at_a_time()

    def test_one_connection_of_a_user_over_nats(self):
        nats = Nats()
        self.addCleanup(nats.stop)
        self.one_connection_at_a_time(engine='nats', address=nats.address)

    def emulate(self, connection, stream, *said, node=None):
        body = {'session': stream.connected['session'], 'node': node or stream.connected['node'], 'data': commands(*said)}
        connection.request('POST', '/emulation', json.dumps(body))
        response = connection.getresponse()
        response.read()
        return response.status

    def check_emulation(self, **settings):
        a, b = (self.node(n, http_stream=True, sse=True, clean=n != 'a', node_ttl='4s', **settings) for n in 'ab')
        self.knows(a, 'a', 'b')
        self.knows(b, 'b', 'a')
        uids = {n['name']: n['uid'] for n in b.api('info')['result']['nodes']}
        for kind in ('http_stream', 'sse') * 2:  # by whichever worker takes it
            s = Stream(a.client, '/connection/http_stream', commands(CONNECT)) if kind == 'http_stream' else \
                Stream(a.client, '/connection/sse?cf_connect=' + urllib.parse.quote(commands(CONNECT)), events=True)
            self.addCleanup(s.close)
            s.connected = s.next()['connect']
            self.assertEqual(s.connected['node'], uids['a'])
            beside = http.client.HTTPConnection(b.client)
            self.addCleanup(beside.close)
            wait_for(lambda s=s, c=beside: self.emulate(c, s, {'id': 2, 'rpc': {}}) == 204, what="b's workers to know a")
            self.assertEqual(s.next()['id'], 2)
            for i in range(3, 40):
                self.assertEqual(self.emulate(beside, s, {'id': i, 'rpc': {}}, {'id': 1000 + i, 'publish': {'channel': 'x', 'data': 'y' * 2000}}), 204)
            self.assertEqual([s.next()['id'] for _ in range(3, 40) for _ in 'ab'], [i for n in range(3, 40) for i in (n, 1000 + n)])
            self.assertEqual(self.emulate(beside, s, {'id': 1, 'rpc': {}}, node='x'), 404)
        a.process.kill()
        wait_for(lambda: self.emulate(beside, s, {'id': 1, 'rpc': {}}) == 404, what='a to be dead')

    def test_emulation_comes_to_another_node(self):
        self.check_emulation()

    def test_emulation_comes_to_another_node_over_nats(self):
        nats = Nats()
        self.addCleanup(nats.stop)
        self.check_emulation(engine='nats', address=nats.address)

    def test_settings_that_differ_are_told(self):
        other = Redis()
        self.addCleanup(other.stop)
        a = self.node('a')
        b = self.node('b', address='unix:%s,unix:%s' % (self.redis.path, other.path))
        self.knows(a, 'a', 'b')
        for d, name in ((a, 'b'), (b, 'a')):
            wait_for(lambda d=d: d.metric('roost_node_config_mismatch') == 1, what='the difference to be told')
            d.wait_log('a node has other settings than this one.*name=%s' % name)
        self.assertRegex(run_roostctl(a, 'nodes').stdout, r'(?m)^b +\S+ +differs ')


if __name__ == '__main__':
    unittest.main()
