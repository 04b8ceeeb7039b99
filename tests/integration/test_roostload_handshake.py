#!/usr/bin/python3
"""roostload's opening handshake, and what it makes of frames that break the protocol."""

import base64
import re
import socket
import threading
import time
import unittest

from daemon import SLOW
from loadtest import ByHand, TcpServer, run, upgrade


class Handshakes(ByHand):
    def test_a_right_one(self):
        c, r, _ = self.outcome(lambda s: upgrade(s), status=0)
        self.assertEqual(c, {'connects_done': 2})
        c, r, _ = self.outcome(lambda s: upgrade(s, Sec_WebSocket_Protocol='b'), '--subprotocol', 'a, b', status=0)
        self.assertEqual(c, {'connects_done': 2})

    def test_wrong_ones(self):
        for fields in ({'Upgrade': None}, {'Upgrade': 'h2c'}, {'Connection': 'close'}, {'accept': 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='},
                       {'Sec_WebSocket_Extensions': 'permessage-deflate'}, {'Sec_WebSocket_Protocol': 'not-offered'}):
            with self.subTest(fields=fields):
                c, r, out = self.outcome(lambda s: upgrade(s, **fields))
                self.assertEqual(c, {'protocol_errors': 6})
                self.assertEqual(r['given_up'], 2)
                self.assertIn('the first broken protocol: ', out)

    def test_compression_that_is_not_had(self):
        for answer in (None, 'permessage-deflate', 'permessage-deflate; server_no_context_takeover; client_max_window_bits=9'):
            fields = {'Sec_WebSocket_Extensions': answer} if answer else {}
            c, r, out = self.outcome(lambda s: upgrade(s, **fields), '--compression')
            self.assertEqual((c, r['given_up']), ({'protocol_errors': 6}, 2))
            self.assertIn('not offered' if answer else 'permessage-deflate was declined', out)

    def test_no_answer(self):
        c, r, _ = self.outcome(lambda s: None, '--connect-timeout', '1s')
        self.assertEqual((c, r['given_up']), ({'connect_timeout': 6}, 2))

    def test_half_an_answer(self):
        c, r, _ = self.outcome(lambda s: s.sendall(b'HTTP/1.1 101 Switching'), '--connect-timeout', '1s')
        self.assertEqual((c, r['given_up']), ({'connect_timeout': 6}, 2))

    def test_an_answer_without_end(self):
        def forever(s):
            s.sendall(b'HTTP/1.1 101 Switching Protocols\r\n')
            for _ in range(10000):
                s.sendall(b'X: ' + b'y' * 100 + b'\r\n')

        c, r, _ = self.outcome(forever)
        self.assertEqual((c, r['given_up']), ({'protocol_errors': 6}, 2))

    def test_closed_before_subscribed(self):
        def turn_away(s):
            if upgrade(s):
                s.recv(4096)  # the adapter's CONNECT
                s.sendall(b'\x88\x02\x03\xf0')
                s.close()

        c, r, out = self.outcome(turn_away, '--adapter', 'centrifuge')
        self.assertEqual((c, r['given_up']), ({'turned_away': 6}, 2))
        self.assertIn('turned away', out)

    def test_connections_that_do_not_last(self):
        """No better than refused: given up after three of them, a second apart, and the exit status says it."""
        def flap(s):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # the end comes with the answer: nobody is seen as connected
            if upgrade(s):
                s.close()

        c, r, out = self.outcome(flap)
        self.assertEqual((c, r['given_up']), ({'connects_done': 6, 'connection_lost': 6}, 2))

        def break_it(s):
            if upgrade(s, behind=b'\x83\x00'):
                s.recv(4096)

        c, r, out = self.outcome(break_it)
        self.assertEqual((c['protocol_errors'], c.get('connection_lost'), r['given_up']), (6, None, 2))
        self.assertIn('reserved opcode', out)

    def test_a_ramp_that_stands_still(self):
        """Never all at once: the run begins without the rest after a while."""
        def drop(s):
            if upgrade(s):
                time.sleep(1.9)  # longer than the ramp needs for the next: somebody is always there
                s.close()

        c, r, out = self.outcome(drop, '--connections', '5', '--ramp', '1', '--connect-timeout', '300ms', status=0)
        self.assertGreater(r['ramp_stalled_seconds'], 5)
        self.assertGreater(c['connection_lost'], 3)
        self.assertIn('the ramp stood still', out)

    def test_ended_before_the_answer(self):
        c, r, out = self.outcome(lambda s: s.close())
        self.assertEqual((c, r['given_up']), ({'not_answered': 6}, 2))
        self.assertNotIn('nobody answers', out)

    def test_every_key_is_another(self):
        keys = []

        def note(s):
            head = s.recv(4096)
            keys.extend(re.findall(rb'Sec-WebSocket-Key: (\S+)', head))
            s.close()

        self.outcome(note, '--connections', '20')
        self.assertEqual(len(set(keys)), 60)
        for k in keys:
            self.assertEqual(len(base64.b64decode(k, validate=True)), 16)

    def test_a_given_key_is_everybodys(self):
        """For servers that know one answer only."""
        keys, given = [], 'cm9vc3Rsb2FkLWtleS0wMQ=='

        def answer(s):
            head = s.recv(4096)
            keys.append(re.findall(rb'Sec-WebSocket-Key: *(\S+)', head))
            s.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                      b'Sec-WebSocket-Accept: k0BN+ttWp9L65ma6o6Kze4ubywE=\r\n\r\n')

        c, _, _ = self.outcome(answer, '--header', 'Sec-WebSocket-Key:  ' + given, status=0)
        self.assertEqual((c, keys), ({'connects_done': 2}, [[given.encode()]] * 2))

    def test_a_channel_of_any_name(self):
        seen = []

        def note(s):
            head = s.recv(4096)
            if head.startswith(b'GET '):
                seen.append(head.split()[1])
            s.close()

        server = TcpServer(lambda s: self.serve(note, s))
        try:
            run('hold', '--url', 'ws://127.0.0.1:%d/{channel}/{n}?c={c}' % server.port, '--connections', '1', '--channel', 'a b%ü/{c}')
        finally:
            server.stop()
        self.assertEqual(seen, [b'/a%20b%25%C3%BC/0/0?c=0'] * 3)


    def test_interim_answers_before_the_last(self):
        """RFC 9110 section 15.2: whole, byte by byte, and more of them than anybody should send."""
        def answer(step, interim):
            def with_it(s):
                whole = []
                upgrade(type('Collects', (), {'recv': s.recv, 'sendall': staticmethod(whole.append)}))
                data = interim + whole[0]
                for i in range(0, len(data), step):
                    s.sendall(data[i:i + step])
            return with_it

        early = b'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n'
        for step in (1, 7, 10000):
            with self.subTest(step=step):
                self.assertEqual(self.outcome(answer(step, early), status=0)[0], {'connects_done': 2})
        self.assertEqual(self.outcome(answer(10000, b'HTTP/1.1 100 Continue\r\n\r\n' * 1000))[0], {'protocol_errors': 6})

    def test_many_fields(self):
        many = {'X_%d' % i: 'y' for i in range(150)}
        self.assertEqual(self.outcome(lambda s: upgrade(s, **many), status=0)[0], {'connects_done': 2})

    def test_headers_are_filled_as_the_url_is(self):
        seen = []

        def note(s):
            fields = sorted(re.findall(rb'X[12]: .*', s.recv(4096)))
            if fields:
                seen.append(fields)
            s.close()

        self.outcome(note, '--header', 'X1: {n}/{c}', '--header', 'X2: {"ch":"{channel}"}', '--channel', 'a b')
        self.assertEqual(set(map(tuple, seen)), {(b'X1: %d/0\r' % n, b'X2: {"ch":"a%20b"}\r') for n in (0, 1)})

    def test_http_to_a_port_that_speaks_tls(self):
        """Some answer with an alert, some with a page, most not at all: those are asked."""
        def silent(s):
            if s.recv(4096)[:1] == b'\x16':
                s.sendall(b'\x15\x03\x03\x00\x02\x02\x28')
            s.close()

        page = b'<html>The plain HTTP request was sent to HTTPS port</html>'
        for with_it in (lambda s: s.sendall(b'\x15\x03\x01\x00\x02\x02\x46'), silent,
                        lambda s: s.sendall(b'HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s' % (len(page), page))):
            out = self.outcome(with_it)[2]
            self.assertIn('the server speaks TLS there: use wss://', out)
        self.assertNotIn('TLS', self.outcome(lambda s: s.close())[2])


class End(ByHand):
    """How roostload says goodbye: a close frame with 1000 (RFC 6455 section 7.1.1)."""

    def ends(self, with_it, *args, whole=True):
        """What with_it gives for each connection, all of them unless whole is False."""
        last = []

        def serve(s):
            if upgrade(s):
                last.append(with_it(s))

        c, _, _ = self.outcome(serve, '--connections', '20', '--processes', '2', *args, status=0,
                               settled=lambda: not whole or len(last) == 20)
        self.assertEqual(c, {'connects_done': 20})
        return last

    @staticmethod
    def read_all(s):
        data = b''
        while True:
            piece = s.recv(4096)
            if not piece:
                return data
            data += piece
            if len(data) == 8:  # a masked close frame of two bytes
                s.sendall(b'\x88\x02\x03\xe8')

    def test_with_close_frames(self):
        frames = self.ends(self.read_all)
        self.assertEqual(len(frames), 20)
        for f in frames:
            code = bytes(b ^ f[2 + i] for i, b in enumerate(f[6:8]))
            self.assertEqual((f[:2], len(f), code), (b'\x88\x82', 8, b'\x03\xe8'))

    def test_within_a_bound(self):
        """Servers that do not answer it, or do not even read, cannot keep it; nor is any of that a finding."""
        done = threading.Event()
        self.ends(lambda s: done.wait(60), whole=False)
        done.set()


class Frames(ByHand):
    def test_what_breaks_the_protocol_ends_the_connection(self):
        for data in (b'\x83\x00', b'\x81\x80abcd', b'\xc1\x00', b'\x89\x7e\x00\x80', b'\x80\x00', b'\x81\x7f' + b'\xff' * 8,
                     b'\x81\x02\xff\xff', b'\x88\x01x', b'\x01\x00\x81\x00'):
            def send(s, data=data):
                if upgrade(s):
                    time.sleep(0.1)
                    s.sendall(data)
                    s.recv(1 << 20)

            with self.subTest(data=data):
                c, r, _ = self.outcome(send, '--duration', '%dms' % (1000 * SLOW), '--ramp', '20', status=0)
                self.assertGreaterEqual(c['protocol_errors'], 2)


if __name__ == '__main__':
    unittest.main()
