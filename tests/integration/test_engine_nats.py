#!/usr/bin/python3
"""Nodes that share NATS servers: what reaches whom in which order, what a channel may be called, passwords, TLS, permissions, other
servers of a cluster. The engine contract (unit/core/real_engine_nats.c)."""

import os
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from centrifuge import yaml
from daemon import BUILD, wait_for
from engines import HOST, TOP
from nats_nodes import Nodes
from pki import Pki


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
            got = [int(w.recv_data()) for _ in range(120)]
            for k in range(3):
                self.assertEqual([x for x in got if x % 3 == k], list(range(k, 120, 3)))

    def test_a_plain_client_gets_its_own_in_order(self):
        s = self.server()
        nodes = [self.node(s), self.node(s)]
        a, b = (d.ws('/ws/x') for d in nodes)
        for i in range(50):
            a.text(b'from a %d' % i)
        for w in (a, b):
            self.assertEqual([w.recv_data() for _ in range(50)], [b'from a %d' % i for i in range(50)])
        b.text(b'from b')
        self.assertEqual(a.recv_data(), b'from b')

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
        self.assertEqual(w.recv_data(), b'1')
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
                                      stderr=subprocess.STDOUT, text=True, timeout=60)
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


class Front:
    """TLS from the first byte on, in front of a server that speaks none: as one that has handshake_first, which nats-server has since 2.10."""

    def __init__(self, pki, port):
        pki.make('front')
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki.path('front.pem'), pki.path('front.key'))
        self.target = (HOST, port)
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(accepted,), daemon=True).start()

    def _carry(self, accepted):
        try:
            with self.context.wrap_socket(accepted, server_side=True) as near, socket.create_connection(self.target) as far:
                while True:
                    for s in [near] if near.pending() else select.select([near, far], [], [])[0]:
                        data = s.recv(65536)
                        if not data:
                            return
                        (far if s is near else near).sendall(data)
        except OSError:
            accepted.close()


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

    def test_tls_before_anything_is_said(self):
        pki = Pki()
        self.addCleanup(pki.close)
        front = Front(pki, self.server().port)
        self.addCleanup(front.stop)
        address = 'tls://%s:%d' % (HOST, front.port)
        d = self.node(address + '?handshake_first=true', engine_tls_ca=pki.path('ca.pem'))
        c = self.client(d, 'a')
        self.published(d, 'a', 'in secret')
        self.assertEqual(c.data(), 'in secret')
        waits = self.node(address, up=False, engine_tls_ca=pki.path('ca.pem'))
        wait_for(lambda: 'needs ?handshake_first=true in engine_address' in waits.text(), what='what to do in the log')

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
                              stderr=subprocess.STDOUT, text=True, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('[  PASSED  ]', done.stdout)


if __name__ == '__main__':
    unittest.main(verbosity=0)
