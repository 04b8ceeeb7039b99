#!/usr/bin/python3
"""Nodes that share NATS servers: what reaches whom in which order, what a channel may be called, and what happens when a hub, a node or a
server is killed or stands still. The engine contract (unit/core/real_engine_nats.c)."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

from centrifuge import OPEN, Client, yaml
from daemon import BUILD, DaemonTest, alive, wait_for
from engines import TOP, Nats
from links import Link
from pki import Pki

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}


class Nodes(DaemonTest):
    def server(self, **kw):
        n = Nats(**kw)
        self.addCleanup(n.stop)
        return n

    def node(self, *servers, clean=True, up=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'nats',
                    'engine_address': ','.join(s if isinstance(s, str) else s.address for s in servers),
                    'engine_probe_interval': '300ms', 'engine_timeout': '1s', 'engine_reconnect_max': '200ms',
                    'channel_without_namespace': BARE, 'namespaces': [{**BARE, 'name': 'ns'}, {**BARE, 'name': 'utf', 'channel_regex': '.*'}], **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, clean=clean, workers=2)
        if up:
            self.is_up(d)
        return d

    def is_up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def answers(self, d, channel, data, **more):
        """Status and body of a publish."""
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data, **more}))
        return r.status, json.loads(r.body)

    def published(self, d, channel, data):
        self.assertEqual(self.answers(d, channel, data), (200, {'result': {}}))


class Carried(Nodes):
    def test_publications_reach_all_in_the_order_of_their_node(self):
        s = self.server()
        nodes = [self.node(s), self.node(s), self.node(s)]
        clients = [self.client(d, 'a') for d in nodes for _ in range(2)]
        plain = [d.ws('/ws/a') for d in nodes]
        for i in range(120):
            self.published(nodes[i % 3], 'a', i)
        for c in clients:
            got = [c.data() for _ in range(120)]
            self.assertEqual(sorted(got), list(range(120)))
            for k in range(3):
                self.assertEqual([x for x in got if x % 3 == k], list(range(k, 120, 3)))
        for w in plain:
            got = [int(w.recv().payload) for _ in range(120)]
            for k in range(3):
                self.assertEqual([x for x in got if x % 3 == k], list(range(k, 120, 3)))

    def test_a_plain_client_gets_its_own_in_order(self):
        s = self.server()
        nodes = [self.node(s), self.node(s)]
        a, b = (d.ws('/ws/x') for d in nodes)
        for i in range(50):
            a.text(b'from a %d' % i)
        for w in (a, b):
            self.assertEqual([w.recv().payload for _ in range(50)], [b'from a %d' % i for i in range(50)])
        b.text(b'from b')
        self.assertEqual(a.recv().payload, b'from b')

    def test_a_name_is_a_name(self):
        """Whatever it would mean in a subject."""
        names = ['a', 'a.b', 'a.>', '>', 'a.+', 'x$SYS.>', 'ns:a', "a'b", 'a=2Eb', '=', '_INBOX.x']
        s = self.server()
        nodes = [self.node(s), self.node(s)]
        clients = {name: self.client(nodes[1], name) for name in names}
        for name in names:
            self.published(nodes[0], name, 'to ' + name)
            self.published(nodes[0], name, 'again')
        for name, c in clients.items():
            self.assertEqual([c.data(), c.data()], ['to ' + name, 'again'])
        w = nodes[1].ws('/ws/utf:caf%C3%A9.%F0%9F%90%93')
        self.published(nodes[0], 'utf:café.🐓', 1)
        self.assertEqual(w.recv().payload, b'1')
        for bad in ('a b', '*', 'a.*', 'a\r\nPUB roost.c.a 0\r\n\r\n', 'a\tb', ''):
            self.assertEqual(self.answers(nodes[0], bad, 1)[1]['error']['code'], 107, bad)
        self.assertEqual([d.metric('roost_engine_reconnects_total') for d in nodes], [0, 0])

    def test_control_messages_reach_clients_of_all_nodes(self):
        s = self.server()
        nodes = [self.node(s), self.node(s)]
        c = self.client(nodes[1], 'a')
        nodes[0].api('unsubscribe', user='', client=c.me, channel='a')
        self.assertEqual(c.push('unsubscribe')[0], 'a')

    def test_nodes_know_each_other(self):
        s = self.server()
        nodes = [self.node(s, clean=False, node_name=name, node_heartbeat='1s', node_ttl='3s') for name in 'xy']

        def names(d):
            return sorted(n['name'] for n in d.api('info')['result']['nodes'])

        for d in nodes:
            wait_for(lambda: names(d) == ['x', 'y'], what='both nodes to be known')
        self.client(nodes[1], 'far')
        wait_for(lambda: 'far' in nodes[0].api('channels')['result']['channels'], what='the other node\'s channel')
        nodes[1].process.kill()
        nodes[1].process.wait(20)
        wait_for(lambda: names(nodes[0]) == ['x'], what='the dead one to be forgotten')

    def test_as_much_as_the_server_takes(self):
        s = self.server(conf='max_payload: 65536')
        d = self.node(s, max_message_size='128KiB')
        c = self.client(d, 'a')
        self.assertIn('takes less than max_message_size', d.text())
        fits = 65536 - 72  # the envelope's header
        self.published(d, 'a', 'x' * (fits - 2))
        self.assertEqual(len(c.data()), fits - 2)
        status, body = self.answers(d, 'a', 'x' * (fits - 1))
        self.assertEqual((status, body['error']['code']), (200, 107))
        self.assertEqual(c.error(publish={'channel': 'a', 'data': 'x' * (fits - 1)}), 107)
        self.published(d, 'a', 'still there')
        self.assertEqual(c.data(), 'still there')
        self.assertEqual(d.metric('roost_engine_reconnects_total'), 0)


    def test_a_server_without_a_limit(self):
        d = self.node(self.server(conf='max_payload: -1'), max_message_size='4MiB')
        c = self.client(d, 'a')
        self.published(d, 'a', 'x' * (2 << 20))
        self.assertEqual(len(c.data()), 2 << 20)


class Refused(Nodes):
    def test_what_cannot_be_is_refused_at_the_start(self):
        for options, what in (({'history_size': 10, 'history_ttl': '1m'}, 'history_size and history_ttl'),
                              ({'presence': True}, 'presence'),
                              ({'join_leave': True}, 'join_leave')):
            with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
                f.write(yaml({'engine': 'nats', 'engine_address': 'nats://127.0.0.1', 'namespaces': [{'name': 'chat', **options}]}))
                f.flush()
                done = subprocess.run([os.path.join(BUILD, 'roostd'), '--config', f.name], stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, timeout=30)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('chat has ', done.stdout)
            self.assertIn(what, done.stdout)
            self.assertIn('use engine: redis or memory', done.stdout)

    def test_nothing_is_promised_that_is_not_kept(self):
        d = self.node(self.server())
        c = self.client(d)
        for channel in ('a', 'ns:a'):
            got = c.ask(subscribe={'channel': channel, 'recover': True, 'offset': 5, 'epoch': 'x'})['subscribe']
            self.assertFalse(got.get('recovered') or got.get('recoverable'), got)
        self.assertEqual(c.error(history={'channel': 'a', 'limit': 1}), 108)
        self.assertEqual(c.error(presence={'channel': 'a'}), 108)
        status, body = self.answers(d, 'a', 1, idempotency_key='k')
        self.assertEqual((status, body['error']['code']), (200, 108))
        self.assertEqual(d.api('history', channel='a')['error']['code'], 108)


class Failures(Nodes):
    def test_a_killed_hub_loses_nothing_that_was_answered_and_doubles_nothing(self):
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s)]
        other, own = self.client(nodes[1], 'a'), nodes[0].ws('/ws/a')
        sent = []
        for i in range(60):
            if i in (20, 40):
                # One that dies while it still gathers what is subscribed to loses what it has set aside, and says so.
                wait_for(lambda: nodes[0].metric('roost_engine_up') == 1 and len(nodes[0].lines('hub is live')) >= i // 60, what='the hub')
                wait_for(lambda: alive(nodes[0].pid_of('hub')), what='the hub')
                nodes[0].kill('hub')
            wait_for(lambda: self.answers(nodes[0], 'a', i)[0] == 200, what='publication %d' % i)
            sent.append(i)
        self.published(nodes[0], 'a', 'end')
        got = []
        while got[-1:] != ['end']:
            got.append(other.data())
        # A publication whose answer was lost was made again by this test, as by any caller: it may be there twice.
        self.assertEqual(sorted(set(got[:-1])), sent)
        self.assertEqual([x for k, x in enumerate(got[:-1]) if k == 0 or x != got[k - 1]], sent)
        del own

    def publish_and_kill(self, await_all):
        """Ninety publications of a plain client of the first node, whose hub is killed before the thirtieth and once more before the
        seventieth; what subscribers of both have, and the node. await_all: the second hub has published by the sixtieth what it had set
        aside, so it dies in the middle of ten others."""
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s)]
        a, b = (d.ws('/ws/x') for d in nodes)
        killed = 0
        for i in range(90):
            if await_all and i == 60:
                wait_for(lambda: nodes[1].metric('roost_publications_out_total') >= 60, what='all until then')
            if i in (30, 70 if await_all else 60):
                wait_for(lambda: nodes[0].pid_of('hub') not in (0, killed) and alive(nodes[0].pid_of('hub')), what='the hub')
                killed = nodes[0].kill('hub')
            a.text(b'%d' % i)
        wait_for(lambda: nodes[0].pid_of('hub') not in (0, killed), what='the last hub')
        nodes[0].publish('x', 'end')
        got = []
        for w in a, b:
            got.append([])
            while not got[-1] or got[-1][-1] != '"end"':
                got[-1].append(w.recv_data().decode())
            del got[-1][-1]
        return [[int(x) for x in g] for g in got], nodes[0]

    def test_what_plain_clients_publish_while_hubs_are_killed_comes_once(self):
        for got in self.publish_and_kill(True)[0]:
            self.assertEqual(got, list(range(90)))

    def test_what_a_hub_loses_that_is_killed_while_it_gathers_is_counted(self):
        """What it had set aside, or had handed to an engine that had not taken it yet, has no place in a ring any more."""
        (ours, theirs), d = self.publish_and_kill(False)
        lost = d.metric('roost_lost_publications_total')
        for got in ours, theirs:
            self.assertEqual(got, sorted(set(got)))
            self.assertLessEqual(90 - len(got), lost)

    def test_a_killed_node_does_not_disturb_the_others(self):
        s = self.server()
        nodes = [self.node(s, clean=False), self.node(s), self.node(s)]
        c = [self.client(d, 'a') for d in nodes]
        nodes[0].process.kill()
        nodes[0].process.wait(20)
        for i in range(20):
            self.published(nodes[1 + i % 2], 'a', i)
        for one in c[1:]:
            self.assertEqual(sorted(one.data() for _ in range(20)), list(range(20)))

    def test_a_server_that_is_killed_and_comes_back(self):
        s = self.server()
        d = self.node(s, engine_patience='300ms')
        c, w = self.client(d, 'a', 'ns:a'), d.ws('/ws/a')
        self.published(d, 'a', 1)
        self.assertEqual(c.data(), 1)
        s.kill()
        wait_for(lambda: d.metric('roost_engine_up') == 0, what='the node to notice')
        self.assertEqual(self.answers(d, 'a', 2)[1]['error']['code'], 100)
        waiting = self.client(d)
        waiting.say({'id': 77, 'subscribe': {'channel': 'new'}})
        self.assertEqual(waiting.answer(77)['error']['code'], 100)  # patience has ended; SDKs ask again
        s.start()
        self.is_up(d)
        wait_for(lambda: self.answers(d, 'a', 3)[0] == 200, what='publications to be taken again')
        self.assertEqual(c.data(), 3)
        self.assertEqual([w.recv().payload for _ in range(2)], [b'1', b'3'])
        waiting.subscribe('new')
        self.published(d, 'new', 4)
        self.assertEqual(waiting.data(), 4)

    def test_patience(self):
        """Shorter than patience lasts: publishers wait, and nothing is lost."""
        s = self.server()
        d = self.node(s, engine_patience='20s')
        w = d.ws('/ws/a')
        s.kill()
        for i in range(10):
            w.text(b'%d' % i)
        s.start()
        self.assertEqual([w.recv().payload for _ in range(10)], [b'%d' % i for i in range(10)])

    def test_a_server_that_stands_still(self):
        s = self.server()
        d = self.node(s, engine_patience='300ms')
        c = self.client(d, 'a')
        s.pause()
        wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
        self.assertEqual(self.answers(d, 'a', 0)[1]['error']['code'], 100)
        s.resume()
        wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')
        self.assertEqual(c.data(), 1)

    def test_one_direction_is_cut(self):
        s = self.server()
        for direction in ('up', 'down'):
            link = Link(s.port)
            self.addCleanup(link.stop)
            d = self.node('nats://127.0.0.1:%d' % link.port, engine_patience='300ms')
            c = self.client(d, 'a')
            link.stall(direction)
            wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
            link.heal()
            wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')
            self.assertEqual(c.data(), 1)

    def test_what_was_missed_is_counted(self):
        s = self.server()
        link = Link(s.port)
        self.addCleanup(link.stop)
        nodes = [self.node(s), self.node('nats://127.0.0.1:%d' % link.port)]
        c, w = self.client(nodes[1], 'ns:a'), nodes[1].ws('/ws/ns:a')
        self.published(nodes[0], 'ns:a', 'heard')
        self.assertEqual(c.data(), 'heard')
        link.cut()
        wait_for(lambda: nodes[1].metric('roost_engine_up') == 0, what='the node to notice')
        for i in range(3):
            self.published(nodes[0], 'ns:a', i)
        link.heal()
        self.is_up(nodes[1])
        self.published(nodes[0], 'ns:b', 'behind the subscriptions')
        self.published(nodes[0], 'ns:a', 'after')
        self.assertEqual(c.data(), 'after')
        self.assertEqual([w.recv().payload for _ in range(2)], [b'"heard"', b'"after"'])
        self.assertEqual(nodes[1].metric('roost_engine_missing_publications_total'), 3)
        self.assertEqual(nodes[1].metric('roost_engine_gaps_total{outcome="lost"}'), 1)


class Servers(Nodes):
    def test_passwords_and_tokens(self):
        by_user = self.server(user='roost', password='s3cret/%$x')
        self.node(by_user, engine_user='roost', engine_password='s3cret/%$x')
        by_token = self.server(token='t0ken')
        self.node(by_token, engine_password='t0ken')
        wrong = self.node(by_token, engine_password='another', up=False)
        wait_for(lambda: 'Authorization Violation' in wrong.text(), what='the refusal in the log')
        self.assertEqual(wrong.metric('roost_engine_up'), 0)
        self.assertNotIn('another', wrong.text())

    def test_tls(self):
        pki = Pki()
        self.addCleanup(pki.close)
        pki.authority('others')
        pki.make('node', usage='clientAuth')
        s = self.server(tls=pki, ask_certificate=True)
        shown = {'engine_tls_cert': pki.path('node.pem'), 'engine_tls_key': pki.path('node.key')}
        nodes = [self.node(s, engine_tls_ca=pki.path('ca.pem'), **shown) for _ in range(2)]
        c = self.client(nodes[1], 'a')
        self.published(nodes[0], 'a', 'in secret')
        self.assertEqual(c.data(), 'in secret')
        for address, settings, why in ((s.address, {'engine_tls_ca': pki.path('others.pem'), **shown}, 'certificate verify failed'),
                                       (s.address.replace('tls:', 'nats:'), {}, 'it wants TLS')):
            d = self.node(address, up=False, **settings)
            wait_for(lambda: why in d.text(), what='the refusal in the log')
            self.assertEqual(d.metric('roost_engine_up'), 0)

    def test_a_certificate_for_one_name(self):
        """Servers tell each other's addresses; the certificate of all is for the name that the settings have."""
        pki = Pki()
        self.addCleanup(pki.close)
        first = self.server(tls=pki, names=['DNS:localhost'])
        second = self.server(tls=pki, names=['DNS:localhost'], routes=[first])
        wait_for(lambda: len(first.ask('varz').get('connect_urls') or []) >= 2, what='a cluster of two')
        d = self.node('tls://localhost:%d' % first.port, engine_tls_ca=pki.path('ca.pem'))
        first.kill()
        wait_for(lambda: d.metric('roost_engine_reconnects_total') > 0, what='the node to notice')
        self.is_up(d)
        self.assertNotIn('certificate verify failed', d.text())
        self.assertTrue(second.alive())

    def test_permissions(self):
        conf = ('authorization { users: [ { user: "r", password: "p", permissions: { publish: { allow: ["roost.>"], deny: ["roost.c.no"] }, '
                'subscribe: { allow: ["roost.>"], deny: ["roost.c.deaf"] } } } ] }')
        d = self.node(self.server(conf=conf), engine_user='r', engine_password='p')
        c = self.client(d, 'yes')
        self.published(d, 'yes', 1)
        self.assertEqual(c.data(), 1)
        self.assertEqual(self.answers(d, 'no', 1)[1]['error']['code'], 100)
        self.assertEqual(c.ask(subscribe={'channel': 'deaf'})['error']['code'], 100)
        wait_for(lambda: 'Permissions Violation for Subscription' in d.text(), what='the refusal in the log')
        self.published(d, 'yes', 2)
        self.assertEqual(c.data(), 2)
        self.assertEqual(d.metric('roost_engine_reconnects_total'), 0)

    def test_more_subscriptions_than_the_server_takes(self):
        """It says so, does not say which, and goes on: nobody may take himself for subscribed."""
        d = self.node(self.server(conf='max_subscriptions: 9'))
        c = self.client(d)
        names = ['c%d' % i for i in range(12)]
        c.say(*[{'id': 100 + i, 'subscribe': {'channel': name}} for i, name in enumerate(names)])
        answers = [c.answer(100 + i) for i in range(12)]
        there = [name for name, answer in zip(names, answers) if 'subscribe' in answer]
        self.assertEqual(len(there), 5)  # four are the node's own
        self.assertEqual({answer['error']['code'] for answer in answers if 'error' in answer}, {100})
        for name in there:
            self.published(d, name, name)
        self.assertEqual([c.data() for _ in there], there)
        self.assertEqual(d.metric('roost_engine_reconnects_total'), 0)

    def test_another_server_of_the_cluster_serves(self):
        """One is named in the settings; the other one is what it says."""
        first = self.server()
        second = self.server(routes=[first])
        wait_for(lambda: len(first.ask('varz').get('connect_urls') or []) >= 2, what='a cluster of two')
        nodes = [self.node(first), self.node(second)]
        c = [self.client(d, 'a') for d in nodes]
        self.published(nodes[0], 'a', 1)
        self.assertEqual([x.data() for x in c], [1, 1])
        first.kill()
        wait_for(lambda: nodes[0].metric('roost_engine_reconnects_total') > 0, what='the node to notice')
        self.is_up(nodes[0])
        wait_for(lambda: self.answers(nodes[0], 'a', 2)[0] == 200, what='publications to be taken again')
        self.assertEqual([x.data() for x in c], [2, 2])

    def test_a_server_that_goes_down_says_so(self):
        first = self.server(conf='lame_duck_duration: "30s"\nlame_duck_grace_period: "10s"')
        second = self.server(routes=[first])
        wait_for(lambda: len(first.ask('varz').get('connect_urls') or []) >= 2, what='a cluster of two')
        d = self.node(first)
        c = self.client(d, 'a')
        first.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: second.ask('connz')['num_connections'] == 1, what='the node to have moved')
        self.assertIn('it is going down', d.text())
        wait_for(lambda: self.answers(d, 'a', 1)[0] == 200, what='publications to be taken again')
        self.assertEqual(c.data(), 1)


class Contract(unittest.TestCase):
    def test_the_engine_contract_with_a_real_server(self):
        done = subprocess.run([os.path.join(BUILD, 'tests/unit/core/real_engine_nats')], cwd=TOP, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('[  PASSED  ]', done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
