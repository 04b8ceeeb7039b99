#!/usr/bin/python3
"""What one party takes does not cost the others: memory for incomplete input, and places."""

import json
import unittest

from centrifuge import OPEN, SECRET, Client, token, yaml
from daemon import DaemonTest, wait_for
from wsraw import TEXT, Raw, WebSocket, frame

MIB = 1024 * 1024


class PartialMessages(DaemonTest):
    def ws_from(self, d, source, path):
        c = WebSocket(d.client, path, source=source)
        self.addCleanup(c.close)
        self.assertEqual(c.response.status, 101)
        return c

    def leave_short(self, d, source, number, path='/ws/attack'):
        """Connections that each leave a frame of 1 MiB 100 bytes short."""
        short = frame(2, b'x' * MIB)[:-100]
        clients = []
        for _ in range(number):
            c = self.ws_from(d, source, path)
            c.send(short)
            clients.append(c)
        return clients

    def in_two_segments(self, c, text):
        data = frame(TEXT, text)
        c.send(data[:10])
        self.assertTrue(c.silent(0.05))
        c.send(data[10:])
        c.expect(TEXT, text)

    def test_an_innocent_client_and_the_api_get_on(self):
        """64 clients at one address take what they get; nobody else notices."""
        d = self.start(workers=1)
        innocent = self.ws_from(d, '127.0.0.3', '/ws/innocent')
        big = self.ws_from(d, '127.0.0.3', '/ws/big')
        text = 'y' * 500000
        whole = frame(TEXT, text)
        big.send(whole[:400000])
        self.leave_short(d, '127.0.0.2', 64)
        wait_for(lambda: d.metric('roost_partial_ends_total') > 0, what='an attacker to be ended')
        self.in_two_segments(innocent, 'hello')
        big.send(whole[400000:])
        big.expect(TEXT, text)
        with Raw(d.admin) as c:
            r = c.request('POST', '/api/publish', body=json.dumps({'channel': 'innocent', 'data': 'z' * 500000}))
            self.assertEqual((r.status, r.body), (200, b'{"result":{}}'))
        innocent.expect(TEXT, '"%s"' % ('z' * 500000))
        d.wait_log('incomplete input takes more than its share.* peer=127.0.0.2:[0-9]+ share_of=address')
        self.assertFalse(d.find('incomplete input.* peer=127.0.0.3'))
        wait_for(lambda: d.metric('roost_closes_total{reason="partial"}') > 0, what='the count of ends')

    def test_who_is_ended_is_told(self):
        d = self.start(workers=1, max_partial_bytes='1MiB')
        clients = self.leave_short(d, '127.0.0.2', 2)
        codes = []

        def closed():
            for c in clients:
                c.sock.settimeout(0.05)
                try:
                    codes.append(c.recv().code)
                except TimeoutError:
                    pass
            return codes

        self.assertEqual(set(wait_for(closed, what='a close frame')), {1013})

    def test_a_begun_frame_costs_what_it_holds(self):
        d = self.start(workers=1, max_partial_bytes='512KiB', max_message_size='64KiB', max_frame_size='64KiB')
        clients = [self.ws_from(d, '127.0.0.2', '/ws/begun') for _ in range(400)]
        for c in clients:
            c.send(frame(2, b'x' * 1000)[:9])
        wait_for(lambda: d.metric('roost_frame_slots_in_use') == len(clients), what='all frames to have begun')
        self.assertLess(d.metric('roost_partial_bytes') / len(clients), 600)
        self.assertEqual(d.metric('roost_partial_ends_total'), 0)
        for c in clients:
            self.assertTrue(c.silent(0.001))

    def test_half_heads_are_bounded_too(self):
        """Request heads that are never completed take from the same shares."""
        d = self.start(workers=1, max_partial_bytes='64KiB')
        clients = []
        for _ in range(64):
            c = Raw(d.client, source='127.0.0.2')
            self.addCleanup(c.close)
            c.send('GET / HTTP/1.1\r\nHost: x\r\nX: ' + 'x' * 4000)
            clients.append(c)
        wait_for(lambda: d.metric('roost_partial_ends_total') > 0, what='somebody to be ended')
        self.assertLessEqual(d.metric('roost_partial_bytes'), 65536)
        with Raw(d.client, source='127.0.0.3') as c:
            c.send('GET /healthz HTTP/1.1\r\nHost: x\r\n')
            self.assertTrue(c.silent(0.05))
            c.send('\r\n')
            self.assertEqual(c.read_response().status, 200)


class Places(DaemonTest):
    def test_half_heads_on_the_admin_listener_take_nobodys_place(self):
        d = self.start(workers=1, nofile=700)
        scraper = Raw(d.admin)
        self.addCleanup(scraper.close)
        self.assertEqual(scraper.request('GET', '/metrics').status, 200)
        halves = []
        for _ in range(600):
            c = Raw(d.admin)
            self.addCleanup(c.close)
            c.send('GET /metrics HTTP/1.1\r\n')
            halves.append(c)
        for c in [d.ws('/ws/place%d' % i) for i in range(200)]:  # clients get in
            c.text('x')
            c.expect(TEXT, 'x')
        self.assertEqual(d.http('GET', '/readyz').status, 200)  # and so do probes and scrapes
        self.assertGreater(d.metric('roost_closes_total{reason="crowded_out"}'), 500)
        self.assertEqual(d.metric('roost_accept_errors_total'), 0)
        self.assertEqual(scraper.request('GET', '/metrics').status, 200)  # who had an answer goes last
        d.wait_log('all places of the admin listener are taken.* one_made_room=true')

    def test_clients_do_not_take_the_admin_listeners_places(self):
        d = self.start(workers=1, nofile=400, max_connections=10000)
        clients = []
        for _ in range(380):
            c = Raw(d.client)
            self.addCleanup(c.close)
            c.send('GET / HTTP/1.1\r\n')
            clients.append(c)
        for _ in range(30):
            self.assertEqual(d.http('GET', '/metrics').status, 200)
        self.assertEqual(d.http('GET', '/readyz').status, 200)


class Rings(DaemonTest):
    def test_a_publication_that_no_ring_holds_keeps_nobody_waiting(self):
        settings = {'token_hmac_secret_key': SECRET, 'plain': True, 'channel_without_namespace': OPEN}
        d = self.start(config=self.file(yaml(settings)), workers=1, max_message_size='16000', ring_size='64KiB')
        c, big = Client(d.client), {'x': 'x' * 9800}
        self.addCleanup(c.close)
        c.connect(token=token(sub='42', info=big))
        c.subscribe('x', token=token(sub='42', channel='x', info=big))
        for _ in range(8):  # wherever in the ring it would be
            self.assertEqual(c.error(publish={'channel': 'x', 'data': 'z' * 15000}), 106)
            c.publish('x', 'z' * 4000)
        r = d.http('POST', '/api/publish', json.dumps({'channel': 'x', 'data': 'z' * 15000, 'tags': {'t': 'x' * 20000}}))
        self.assertEqual((r.status, json.loads(r.body)['error']['code']), (200, 107))
        bulk = d.ws('/ws/y')
        for _ in range(4):
            bulk.text('b' * 8000)
            bulk.expect(TEXT, 'b' * 8000)


if __name__ == '__main__':
    unittest.main(verbosity=0)
