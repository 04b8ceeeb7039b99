#!/usr/bin/python3
"""Every reason of include/tbl/close.def that has a close code or a status is met on the wire, with its text."""

import json
import os
import re
import signal
import unittest
import zlib

from daemon import DaemonTest, stand_still, wait_for
from engines import Redis
from pki import Pki
from wsraw import BINARY, CLOSE, CONT, PONG, TEXT, Raw, WebSocket, close_payload, frame

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
ROW = re.compile(r'^X\((\w+), (\d+), (\d+), "(\w+)", \w+,\s*"((?:[^"\\]|\\.)*)"', re.M)
UPGRADE = {'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
           'Sec-WebSocket-Version': '13'}

# Who expects one of these on the wire looks in vain.
NEVER = {
    'normal': "the load generator's own end; the daemon's ends have other reasons",
    'frame_masked': 'a violation by a server, which the load generator sees',
    'no_memory': 'memory that the system refuses, which no input makes it do',
    'internal': 'a fault of the daemon: no input leads to it',
}

# Bytes behind the handshake of /ws/x.
FRAMES = {
    'frame_rsv': frame(TEXT, 'x', rsv=4),
    'frame_opcode': frame(3),
    'frame_unmasked': frame(TEXT, 'x', mask=False),
    'frame_length': frame(TEXT, 'x', form=16),
    'frame_control': frame(9, 'x' * 126),
    'frame_continuation': frame(CONT, 'x'),
    'close_payload': frame(CLOSE, b'\x03'),
    'bad_utf8': frame(TEXT, b'\xff'),
    'frame_too_big': frame(BINARY, b'x', length=1 << 40),
    'message_too_big': frame(BINARY, b'x' * 60000, fin=False) + frame(CONT, b'x' * 60000),
    'peer_closed': frame(CLOSE, close_payload(1000)),
}

# The same where compression has been agreed on.
DEFLATED = {
    'bad_deflate': frame(TEXT, b'\x07', rsv=4),
    'inflate_ratio': frame(BINARY, zlib.compress(bytes(2 << 20), 9)[2:-5], rsv=4),
}

# A head, by listener.
HEADS = {
    'bad_request_line': ('client', 'GET / HTTP/1.1 \r\n\r\n'),
    'proxy_unexpected': ('client', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    'tls_on_plain': ('client', '\x16\x03\x01\x00\x04'),
    'bad_target': ('client', 'GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n'),
    'bad_header': ('client', 'GET / HTTP/1.1\r\nHost: x\r\nA b\r\n\r\n'),
    'bad_host': ('client', 'GET / HTTP/1.1\r\n\r\n'),
    'bad_length': ('client', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'),
    'bad_chunk': ('admin', 'POST /api/publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n'),
    'bad_expect': ('client', 'GET / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\n\r\n'),
    'bad_transfer': ('client', 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'),
    'bad_version': ('client', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n'),
    'uri_too_long': ('client', 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' % ('a' * 70000)),
    'header_too_big': ('client', 'GET / HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n' % ('a' * 70000)),
    'body_too_big': ('admin', 'POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n'),
    'bad_method': ('client', 'POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n'),
    'not_found': ('client', 'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n'),
    'admin_host': ('admin', 'GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n'),
    'admin_origin': ('admin', 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n'),
}


def upgrade(path='/ws/x', host='x', **fields):
    """A handshake, with some fields changed; None: left out."""
    merged = {**UPGRADE, **{k.replace('_', '-'): v for k, v in fields.items()}}
    return 'GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n' % (
        path, host, ''.join('%s: %s\r\n' % f for f in merged.items() if f[1] is not None))


HANDSHAKES = {
    'upgrade_required': upgrade(Upgrade=None, Connection=None),
    'upgrade_version': upgrade(Sec_WebSocket_Version='12'),
    'upgrade_key': upgrade(Sec_WebSocket_Key='short'),
    'upgrade_header': upgrade(Connection='keep-alive'),
    'bad_origin': upgrade(Origin='http://evil.example'),
    'bad_channel': upgrade('/ws/a*b'),
    'bad_connect': upgrade('/connection/uni_websocket?cf_connect=x'),
    'bad_query': upgrade('/ws/x?mode=loud'),
    'too_many_channels': upgrade('/ws?' + '&'.join('channel=%d' % i for i in range(129))),
}


class Endings(DaemonTest):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(TOP, 'include/tbl/close.def')) as f:
            text = f.read()
        cls.rows = {label: (int(code), int(status), text) for _, code, status, label, text in ROW.findall(text)}
        assert len(cls.rows) == len(re.findall(r'^X\(', text, re.M)), 'a row is not understood'

    def setUp(self):
        self.met = set()

    # what has come

    def answered(self, c, label):
        r = c.read_response()
        self.assertEqual((r.status, r.body.decode()), (self.rows[label][1], self.rows[label][2] + '\n'), label)
        self.met.add((label, 'status'))

    def closed(self, c, label):
        f = c.recv()
        while f.opcode != CLOSE:
            f = c.recv()
        text = '' if label == 'peer_closed' else self.rows[label][2]
        self.assertEqual((f.code, f.payload[2:].decode()), (self.rows[label][0], text), label)
        self.met.add((label, 'code'))
        c.close()

    def ask(self, address, text, label):
        with Raw(address) as c:
            c.send(text)
            self.answered(c, label)

    def until(self, address, text, label):
        """Asks until it is refused so: a second's end may come between."""
        for _ in range(20):
            with Raw(address) as c:
                c.send(text)
                r = c.read_response()
                if r.status == self.rows[label][1]:
                    break
        self.assertEqual((r.status, r.body.decode()), (self.rows[label][1], self.rows[label][2] + '\n'), label)
        self.met.add((label, 'status'))

    # how it comes about

    def frames(self):
        d = self.start(workers=1, max_frame_size='64KiB', max_message_size='100KiB', max_header_size='8KiB',
                       uni_websocket=True)
        for label, data in FRAMES.items():
            with d.ws('/ws/x') as c:
                c.send(data)
                self.closed(c, label)
        larger = self.start(workers=1, max_message_size='4MiB')
        for label, data in DEFLATED.items():
            with larger.ws('/ws/x', fields=[('Sec-WebSocket-Extensions', 'permessage-deflate')]) as c:
                c.send(data)
                self.closed(c, label)
        with d.ws('/ws/x?mode=sub') as c:
            c.text('x')
            self.closed(c, 'not_permitted')
        d2 = self.start(workers=1, glitch_limit=100, glitch_cpu=0)
        with d2.ws('/ws/x') as c:
            c.send(frame(PONG) * 200)
            self.closed(c, 'glitches')
        self.heads(d)

    def heads(self, d):
        for label, (where, text) in HEADS.items():
            self.ask(d.client if where == 'client' else d.admin, text, label)
        for label, text in HANDSHAKES.items():
            self.ask(d.client, text, label)

    def limits(self):
        d = self.start(workers=1, api_key='a-key-that-is-long-enough', max_channels=1)
        self.ask(d.admin, 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n', 'unauthorized')
        with d.ws('/ws/x'):
            self.ask(d.client, upgrade('/ws/y'), 'channel_limit')
        d = self.start(workers=1, plain='true', namespaces='[{name: closed}]')
        self.ask(d.client, upgrade('/ws/nowhere:x'), 'channel_unknown')
        self.ask(d.client, upgrade('/ws/closed:x'), 'channel_denied')
        d = self.start(workers=1, max_connections=1)
        with d.ws('/ws/x'):
            self.ask(d.client, upgrade(), 'full')
        d = self.start(workers=1, listen=None, listeners='[{address: "127.0.0.1:0", max_connections: 1}]')
        with d.ws('/ws/x'):
            self.ask(d.client, upgrade(), 'listener_full')
        d = self.start(workers=1, max_connections_per_address=1)
        with d.ws('/ws/x'):
            self.ask(d.client, upgrade(), 'address_limit')
        d = self.start(workers=1, connection_rate_per_address=1)
        with d.ws('/ws/x'):
            self.until(d.client, upgrade(), 'address_rate')
        d = self.start(workers=1, trusted_proxies='127.0.0.1', trusted_proxy_header='forwarded')
        self.ask(d.client, 'GET / HTTP/1.1\r\nHost: x\r\nForwarded: for="x\r\n\r\n', 'bad_forwarded')
        with Pki() as pki:
            d = self.start(workers=1, **pki.settings('server'))
            self.ask(d.client, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'plain_on_tls')
        d = self.start(workers=1, max_partial_bytes='64KiB')
        with d.ws('/ws/x') as c:
            c.send_frame(BINARY, b'x' * 100000, fin=False)
            self.closed(c, 'partial')
        self.ask(d.client, 'GET / HTTP/1.1\r\nHost: x\r\nA: ' + 'a' * 100000, 'partial')

    def deadlines(self):
        d = self.start(workers=1, header_timeout='1s', body_timeout='1s', message_timeout='1s')
        self.ask(d.client, 'GET / HTTP/1.1\r\n', 'header_timeout')
        self.ask(d.admin, 'POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{', 'body_timeout')
        with d.ws('/ws/x') as c:
            c.send_frame(TEXT, 'begun', fin=False)
            self.closed(c, 'message_timeout')
        d = self.start(workers=1, ping_interval='100ms', pong_timeout='100ms')
        with d.ws('/ws/x') as c:
            self.closed(c, 'no_pong')

    def slow(self):
        d = self.start(workers=1, output_limit='16KiB', send_buffer_size='4KiB', close_timeout='60s')
        with WebSocket(d.client, '/ws/x?mode=sub', rcvbuf=4096) as c:
            while d.metric('roost_connections_closing') == 0:
                d.publish('x', 'x' * 10000)
            self.closed(c, 'slow')

    def overload(self):
        d = self.start(workers=1, worker_memory='2MiB', output_limit='64MiB', send_buffer_size='4KiB', close_timeout='60s')
        with WebSocket(d.client, '/ws/x?mode=sub', rcvbuf=4096) as c:
            while d.metric('roost_connections_closing') == 0:
                d.publish('x', 'x' * 10000)
            self.closed(c, 'overload')

    def hub(self):
        d = self.start(workers=1, hub_timeout='300ms')
        hub = d.pid_of('hub')
        stand_still(hub)
        try:
            self.ask(d.client, upgrade('/ws/new'), 'hub_timeout')
        finally:
            os.kill(hub, signal.SIGCONT)

    def operator(self):
        """One is disconnected; more questions than a worker may put to another, which does not answer."""
        d = self.start(workers=2)
        with d.ws('/ws/x') as c:
            there = wait_for(lambda: d.get_json('/debug/connections?protocol=plain')['connections'], what='it to be listed')
            d.http('POST', '/debug/disconnect?id=' + there[0]['id'])
            self.closed(c, 'operator')
        asking = {0: [], 1: []}
        while max(len(x) for x in asking.values()) < 16:
            c = Raw(d.admin)
            self.addCleanup(c.close)
            asking[json.loads(c.request('GET', '/debug/connections').body)['worker']].append(c)
        one = 0 if len(asking[0]) == 16 else 1
        stopped = d.pid_of('worker%d' % (1 - one))
        stand_still(stopped)
        try:
            for c in asking[one]:
                c.send('GET /debug/connections?worker=all HTTP/1.1\r\nHost: localhost\r\n\r\n')
            answers = [c.read_response() for c in asking[one]]
        finally:
            os.kill(stopped, signal.SIGCONT)
        self.assertIn((503, self.rows['busy'][2] + '\n'), {(r.status, r.body.decode()) for r in answers if r.status != 200})
        self.met.add(('busy', 'status'))

    def engine(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        d = self.start(workers=1, engine='redis', engine_address='unix:' + redis.path, engine_timeout='500ms', engine_patience='100ms')
        wait_for(lambda: d.http('GET', '/readyz').status == 200, what='the engine to be there')
        publish = 'POST', '/api/publish', '{"channel": "x", "data": 1}'

        def silent():
            """Who is late finds it given up already."""
            redis.kill(signal.SIGSTOP)
            r = d.http(*publish)
            if r.status == 504:
                return r
            redis.kill(signal.SIGCONT)
            wait_for(lambda: d.http(*publish).status == 200, what='the engine to be there again')
            return None

        r = wait_for(silent, what='a call that the engine does not answer')
        self.assertEqual((r.status, json.loads(r.body)['error']['message']), (504, 'outcome unknown: ' + self.rows['engine_silent'][2]))
        self.met.add(('engine_silent', 'status'))  # the server API alone says so
        wait_for(lambda: d.http(*publish).status == 503, what='the engine to be given up')
        self.ask(d.client, upgrade('/ws/new'), 'engine_away')

    def drain(self):
        d = self.start(workers=1, drain_time='0s', hub_timeout='60s')
        open_one, waiting = d.ws('/ws/x'), Raw(d.client)
        hub = d.pid_of('hub')
        stand_still(hub)
        try:
            waiting.send(upgrade('/ws/new'))
            wait_for(lambda: any(c['state'] == 'subscribing' for c in d.get_json('/debug/connections')['connections']),
                     what='the handshake to wait')
            d.process.send_signal(signal.SIGTERM)
            self.answered(waiting, 'drain')
            self.closed(open_one, 'drain')
            waiting.close()
        finally:
            os.kill(hub, signal.SIGCONT)

    def lost(self):
        """Nothing is taken by one of two workers while much is published: what it misses is said."""
        d = self.start(workers=2, ring_size='64KiB', hub_queue='64KiB', max_message_size='4KiB', max_frame_size='4KiB',
                       output_limit='64MiB')
        there = d.spread('/ws/x')
        at = {x['address'].rsplit(':', 1)[1]: x['id'].split(':')[0]
              for x in d.get_json('/debug/connections?protocol=plain&worker=all&limit=1000')['connections']}
        running = [c for c in there if at[str(c.sock.getsockname()[1])] == '0']
        stopped = d.pid_of('worker1')
        stand_still(stopped)
        try:
            for _ in range(500):
                for c in running:
                    c.send_frame(BINARY, b'x' * 4000)
                for c in running:
                    for _ in running:
                        c.expect(BINARY)
        finally:
            os.kill(stopped, signal.SIGCONT)
        self.closed(next(c for c in there if c not in running), 'lost_position')

    def test_every_reason(self):
        want = {(label, kind) for label, (code, status, _) in self.rows.items() if label not in NEVER
                if not label.startswith('cf_')  # test_centrifuge.py
                for kind, value in (('code', code), ('status', status)) if value}
        for scenario in (self.frames, self.limits, self.deadlines, self.slow, self.overload, self.hub, self.operator, self.engine, self.drain,
                         self.lost):
            with self.subTest(scenario.__name__):
                scenario()
        self.assertEqual(self.met, want, 'a row without a scenario here, or the other way round')
        self.assertLessEqual(set(NEVER), set(self.rows))


if __name__ == '__main__':
    unittest.main(verbosity=0)
