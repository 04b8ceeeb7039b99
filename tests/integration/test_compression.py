#!/usr/bin/python3
"""permessage-deflate (RFC 7692): what is agreed on, both directions, limits, and those who have not agreed."""

import asyncio
import itertools
import json
import os
import signal
import unittest
import zlib

import websockets

from daemon import DaemonTest, SharedDaemonTest, wait_for
from wsraw import BINARY, CLOSE, CONT, TEXT, WebSocket, frame

NOTHING_KEPT = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'
TAIL = b'\x00\x00\xff\xff'
PROSE = json.dumps([{'id': i, 'name': 'item %d' % (i * i), 'tags': ['red', 'green', 'blue']} for i in range(700)]).encode()


def deflate(data, level=6, bits=15):
    c = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (c.compress(data) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(data, bits=15):
    """A byte at a time comes out, so that everything that is pointed back to must be in the window."""
    d, out, rest = zlib.decompressobj(-bits), [], data + TAIL
    while True:
        byte = d.decompress(rest, 1 if bits < 15 else 0)
        rest = d.unconsumed_tail
        out.append(byte)
        if not byte or bits == 15:
            return b''.join(out)


class Deflated(WebSocket):
    reserved = (0, 4)
    bits = 15

    def __init__(self, address, path, params='', **kw):
        super().__init__(address, path, fields=[('Sec-WebSocket-Extensions', 'permessage-deflate' + params)], **kw)
        assert self.response.status == 101, self.response
        self.agreed = self.response.get('sec-websocket-extensions')

    def send_deflated(self, data, opcode=TEXT, **kw):
        self.send_frame(opcode, deflate(data), rsv=4, **kw)

    def message(self):
        """The next message: whether it was compressed, and its bytes."""
        f = self.recv()
        assert f.opcode in (TEXT, BINARY), f
        return (True, inflate(f.payload, self.bits)) if f.rsv else (False, f.payload)


class Compression(SharedDaemonTest):
    settings = {'workers': 2, 'echo': 'true', 'insecure': 'true'}

    def open(self, path='/echo', params='', **kw):
        c = Deflated(self.d.client, path, params, **kw)
        self.addCleanup(c.close)
        return c

    def test_every_combination_is_answered(self):
        for server, client, window, own in itertools.product(
                ('', '; server_no_context_takeover'), ('', '; client_no_context_takeover'), (None, 8, 9, 12, 15),
                ('', '; client_max_window_bits', '; client_max_window_bits=8', '; client_max_window_bits="15"')):
            asked = '' if window is None else '; server_max_window_bits=%d' % window
            with Deflated(self.d.client, '/echo', server + own + asked + client) as c:
                self.assertEqual(c.agreed, NOTHING_KEPT + asked)

    def test_what_is_declined(self):
        for params in ('; server_max_window_bits', '; server_max_window_bits=16', '; unknown', '; client_max_window_bits=7',
                       '; server_no_context_takeover=1', '; client_no_context_takeover; client_no_context_takeover'):
            with Deflated(self.d.client, '/echo', params) as c:
                self.assertIsNone(c.agreed)
                c.text('as it is')
                c.expect(TEXT, 'as it is')

    def test_replies_keep_to_the_window(self):
        for bits in range(8, 16):
            c = self.open(params='; server_max_window_bits=%d' % bits)
            c.bits = bits
            for data in (PROSE[:600], PROSE[:5000], PROSE):
                c.send_deflated(data)
                self.assertEqual(c.message(), (True, data))

    def test_both_kinds_and_fragments(self):
        c = self.open()
        c.send_deflated(b'Hello')
        self.assertEqual(c.message(), (False, b'Hello'))  # too small to gain
        whole = deflate(PROSE)
        c.send_frame(BINARY, whole[:100], fin=False, rsv=4)
        c.send_frame(9, b'ping')
        c.send_frame(CONT, whole[100:])
        c.expect(10, b'ping')
        f = c.recv()
        self.assertEqual((f.opcode, f.rsv, inflate(f.payload)), (BINARY, 4, PROSE))
        c.send_frame(BINARY, PROSE)  # one that is not compressed, between others
        self.assertEqual(c.message(), (True, PROSE))
        for i in range(3):
            c.send(frame(TEXT, deflate(b'%d' % i), rsv=4), chop=1)
            self.assertEqual(c.message(), (False, b'%d' % i))

    def test_a_client_that_has_not_agreed(self):
        with WebSocket(self.d.client, '/echo') as c:
            self.assertIsNone(c.response.get('sec-websocket-extensions'))
            c.send_frame(BINARY, PROSE)
            c.expect(BINARY, PROSE)
            c.send_frame(TEXT, deflate(b'Hello'), rsv=4)
            c.expect_close(1002)

    def test_a_client_that_keeps_its_context_all_the_same(self):
        c, z = self.open(), zlib.compressobj(9, zlib.DEFLATED, -15)
        for i in range(2):
            data = (z.compress(PROSE) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]
            c.send_frame(TEXT, data, rsv=4)
        self.assertEqual(c.message(), (True, PROSE))
        c.expect_close(1007)

    def test_bombs(self):
        for size, code in (((1 << 20) + 1, 1009), (1 << 30, 1009)):
            c = self.open()
            z = zlib.compressobj(9, zlib.DEFLATED, -15)
            data = b''.join(z.compress(bytes(65536)) for _ in range(size // 65536)) + z.compress(bytes(size % 65536))
            c.send_frame(BINARY, (data + z.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv=4)
            c.expect_close(code)
        c = self.open()  # people do send such
        c.send_deflated(b'x' * 1000000, BINARY)
        self.assertEqual(c.message()[1], b'x' * 1000000)
        c = self.open()  # within the ratio, but larger than max_message_size
        c.send_deflated(b'%s' % (PROSE * 30), BINARY)
        c.expect_close(1009)

    def test_text_is_utf8(self):
        c = self.open()
        c.send_deflated(b'\xff\xfe', BINARY)
        self.assertEqual(c.message(), (False, b'\xff\xfe'))
        c.send_deflated(b'\xff\xfe')
        c.expect_close(1007)
        for _ in range(8):  # who comes next, on either worker, has its own alone
            c = self.open()
            c.send_deflated(b'its own', BINARY)
            self.assertEqual(c.message(), (False, b'its own'))

    def test_published_and_received(self):
        publisher = self.open('/ws/mixed?mode=pub')
        clients = [self.open('/ws/mixed'), self.open('/ws/mixed', '; server_max_window_bits=10')]
        clients[1].bits = 10
        other = self.d.ws('/ws/mixed')
        self.addCleanup(other.close)
        for data in (PROSE, b'small', PROSE[:3000]):
            publisher.send_deflated(data)
            for c in clients:
                self.assertEqual(c.message(), (len(data) >= 512, data))
            other.expect(TEXT, data)

    def test_a_publication_is_compressed_once(self):
        """By each worker that has such subscribers, however many."""
        clients = [self.open('/ws/once') for _ in range(20)] + [self.open('/ws/once', '; server_max_window_bits=12')]
        before = self.d.metrics()['roost_deflated_messages_total']
        clients[0].text(PROSE[:3500])
        for c in clients:
            self.assertEqual(c.message(), (True, PROSE[:3500]))
        self.assertLessEqual(self.d.metrics()['roost_deflated_messages_total'] - before, 2)

    def test_who_does_not_get_its_own(self):
        """In runs between a client's own ones, in the compressed form, too."""
        a, b = self.open('/ws/runs?echo=0'), self.open('/ws/runs')
        for i in range(100):
            a.text(b'a%d ' % i * 200)
            b.text(b'b%d ' % i * 200)
        self.assertEqual([a.message() for _ in range(100)], [(True, b'b%d ' % i * 200) for i in range(100)])
        got = [b.message() for _ in range(200)]
        self.assertEqual([m for m in got if m[1][:1] == b'a'], [(True, b'a%d ' % i * 200) for i in range(100)])

    def test_several_channels(self):
        c, other = self.open('/ws?channel=one&channel=two'), self.d.ws('/ws/two')
        self.addCleanup(other.close)
        other.text(PROSE)
        compressed, data = c.message()
        self.assertTrue(compressed)
        self.assertEqual(json.loads(data), {'channel': 'two', 'data': json.loads(PROSE)})
        other.text('short')
        self.assertEqual(c.message(), (False, b'{"channel":"two","data":"short"}'))

    def test_it_is_counted(self):
        before = self.d.metrics()
        c = self.open()
        c.send_deflated(PROSE)
        self.assertEqual(c.message(), (True, PROSE))
        c.goodbye()

        def grown(name):
            return self.d.metrics()[name] - before.get(name, 0)

        wait_for(lambda: grown('roost_upgrades_compressed_total') >= 1)
        self.assertGreaterEqual(grown('roost_inflated_messages_total'), 1)
        self.assertGreaterEqual(grown('roost_inflated_from_bytes_total'), len(deflate(PROSE)))
        self.assertGreaterEqual(grown('roost_inflated_to_bytes_total'), len(PROSE))
        self.assertGreaterEqual(grown('roost_deflated_messages_total'), 1)
        self.assertGreaterEqual(grown('roost_deflated_from_bytes_total'), len(PROSE))
        self.assertGreater(grown('roost_deflated_to_bytes_total'), 0)


    def test_python3_websockets(self):
        """Its defaults: it keeps its own context unless told not to."""
        async def talk():
            url = 'ws://%s' % self.d.client
            async with websockets.connect(url + '/echo') as c, websockets.connect(url + '/ws/py') as one, \
                    websockets.connect(url + '/ws/py') as two:
                self.assertEqual(c.response_headers['Sec-WebSocket-Extensions'], NOTHING_KEPT)
                for data in (PROSE.decode(), 'short', PROSE[:3000], PROSE.decode()):
                    await c.send(data)
                    self.assertEqual(await c.recv(), data)
                    await one.send(data)
                    self.assertEqual([await one.recv(), await two.recv()], [data, data])

        asyncio.run(asyncio.wait_for(talk(), 60))

    def test_centrifuge_clients(self):
        """Replies and publications, in both forms; recovery brings what was missed in one compressed form, too."""
        text = json.dumps({'text': 'compress me ' * 100})
        extension = [('Sec-WebSocket-Extensions', 'permessage-deflate')]
        c = Deflated(self.d.client, '/connection/websocket')
        self.addCleanup(c.close)
        c.text('{"id":1,"connect":{}}')
        self.assertIn(b'"connect"', c.message()[1])
        c.text('{"id":2,"subscribe":{"channel":"news"}}')
        self.assertIn(b'"subscribe"', c.message()[1])
        self.assertEqual(self.d.http('POST', '/api/publish', '{"channel":"news","data":%s}' % text).status, 200)
        compressed, push = c.message()
        self.assertTrue(compressed)
        self.assertEqual(json.loads(push)['push']['pub']['data'], json.loads(text))
        with WebSocket(self.d.client, '/connection/websocket?format=protobuf', extension) as other:
            self.assertEqual(other.response.get('sec-websocket-extensions'), NOTHING_KEPT)


class Settings(DaemonTest):
    def test_off(self):
        d = self.start(compression='false', echo='true')
        c = Deflated(d.client, '/echo')
        self.addCleanup(c.close)
        self.assertIsNone(c.agreed)
        c.send_deflated(b'Hello')
        c.expect_close(1002)

    def test_sizes_and_reload(self):
        path = self.file('echo: true\ncompression_min_size: 100\n')
        d = self.start(config=path, workers=1)
        c = Deflated(d.client, '/echo')
        self.addCleanup(c.close)
        for size in (99, 100):
            c.send_frame(BINARY, bytes(size))
            self.assertEqual(c.message(), (size == 100, bytes(size)))
        fast = self.length(c)
        with open(path, 'w') as f:
            f.write('echo: true\ncompression: false\ncompression_min_size: 1000\ncompression_level: 9\n')
        os.kill(d.process.pid, signal.SIGHUP)
        d.wait_log('reloaded.*compression')
        wait_for(lambda: self.agreed(d) is None)
        c.send_frame(BINARY, bytes(999))  # who has agreed keeps it, by what is set now
        self.assertEqual(c.message(), (False, bytes(999)))
        self.assertLess(self.length(c), fast)

    @staticmethod
    def agreed(d):
        with Deflated(d.client, '/echo') as c:
            return c.agreed

    @staticmethod
    def length(c):
        c.send_frame(BINARY, PROSE)
        f = c.recv()
        assert f.rsv == 4 and inflate(f.payload) == PROSE
        return len(f.payload)

    def test_a_flood_waits_for_room(self):
        """Small frames that stand for far more than the ring to the hub holds: all arrive, in order."""
        d = self.start(max_message_size='64KiB', ring_size='256KiB', output_limit='64MiB')
        listener = d.ws('/ws/flood?mode=sub')
        self.addCleanup(listener.close)
        c = Deflated(d.client, '/ws/flood?mode=pub')
        self.addCleanup(c.close)
        messages = [(b'%d ' % i) * 9000 for i in range(300)]
        hub = d.kill('hub', signal.SIGSTOP)  # else it may be fast enough to have room at any time
        try:
            c.send(b''.join(frame(TEXT, deflate(m), rsv=4) for m in messages) + frame(CLOSE, b'\x03\xe8'))
            wait_for(lambda: d.metric('roost_ring_stalls_total') > 0, what='a flood that waits')
        finally:
            os.kill(hub, signal.SIGCONT)
        for m in messages:
            self.assertEqual(listener.recv_data(), m)
        c.expect(CLOSE)


if __name__ == '__main__':
    unittest.main()
