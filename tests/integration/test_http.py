#!/usr/bin/python3
"""The HTTP/1.1 server, strictly: RFC 9110, RFC 9112, and the WebSocket handshake of RFC 6455 §4."""

import json
import time
from email.utils import format_datetime, parsedate_to_datetime
import unittest

from daemon import DaemonTest, SharedDaemonTest, wait_for
from wsraw import BINARY, TEXT, Raw, WebSocket

KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
UPGRADE = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Key', KEY),
           ('Sec-WebSocket-Version', '13')]


def without(name, *more):
    return [f for f in UPGRADE if f[0] != name] + list(more)


class Heads(SharedDaemonTest):
    """Request heads sent as they are; each also byte by byte."""

    settings = {'max_header_size': '8KiB', 'header_timeout': '1m'}  # byte by byte takes its time

    def answer(self, text, where='client', chop=0, head=False):
        with Raw(self.d.client if where == 'client' else self.d.admin) as c:
            c.send(text.replace('\n', '\r\n') if '\r' not in text else text, chop)
            return c.read_response(head)

    def refused(self, status, text, where='client'):
        for chop in (0, 1):
            with Raw(self.d.client if where == 'client' else self.d.admin) as c:
                c.send(text if isinstance(text, bytes) or '\r' in text else text.replace('\n', '\r\n'), chop)
                r = c.read_response()
                self.assertEqual(r.status, status, (text, r))
                self.assertEqual(r.get('connection'), 'close', r)
                c.expect_eof()

    def test_simple(self):
        for chop in (0, 1):
            r = self.answer('GET /healthz HTTP/1.1\nHost: x\n\n', chop=chop)
            self.assertEqual((r.status, r.body), (200, b'ok\n'))

    def test_date(self):
        """RFC 9110 §6.6.1, in every response."""
        before = time.time()
        answers = [self.answer(text) for text in ('GET /healthz HTTP/1.1\nHost: x\n\n', 'GET /nothing HTTP/1.1\nHost: x\n\n',
                                                  'G@T\n\n', 'GET /ws/x HTTP/1.1\nHost: x\n\n')]
        with WebSocket(self.d.client, '/ws/x') as c:
            answers.append(c.response)
        for r in answers:
            date = parsedate_to_datetime(r.get('date'))
            self.assertTrue(before - 2 <= date.timestamp() <= time.time() + 1, r)
            self.assertEqual(format_datetime(date, usegmt=True), r.get('date'))

    def test_http_1_0_closes_and_needs_no_host(self):
        with Raw(self.d.client) as c:
            c.send('GET /healthz HTTP/1.0\r\n\r\n')
            r = c.read_response()
            self.assertEqual((r.status, r.get('connection')), (200, 'close'))
            c.expect_eof()

    def test_http_1_0_keep_alive(self):
        with Raw(self.d.client) as c:
            for _ in range(2):
                c.send('GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
                self.assertEqual(c.read_response().get('connection'), 'keep-alive')

    def test_connection_close(self):
        with Raw(self.d.client) as c:
            c.send('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            self.assertEqual(c.read_response().get('connection'), 'close')
            c.expect_eof()

    def test_request_lines(self):
        for line in ('GET', 'GET ', 'GET /', 'GET  / HTTP/1.1', 'GET / HTTP/1.1 ', ' GET / HTTP/1.1', 'GET / http/1.1',
                     'GET / HTTP/1', 'GET / HTTP/1.1x', 'GET / HTTPS/1.1', 'G@T / HTTP/1.1', 'GET\t/ HTTP/1.1',
                     'GET / HTTP/11.1'):
            self.refused(400, line + '\nHost: x\n\n')
        self.refused(505, 'GET / HTTP/2.0\nHost: x\n\n')
        for minor in '23456789':
            self.assertEqual(self.answer('GET /healthz HTTP/1.%s\nHost: x\n\n' % minor).status, 200)
        self.refused(505, 'GET / HTTP/0.9\nHost: x\n\n')

    def test_targets(self):
        for target in ('healthz', '/a#b', '/\x7f', 'ftp://x/', 'http:///x', '*'):
            r = self.answer('GET %s HTTP/1.1\r\nHost: x\r\n\r\n' % target)
            self.assertIn(r.status, (400, 405), target)
        self.refused(400, b'GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n')
        for target in ('http://x', 'http://y', 'http://x:80', 'ws://x', 'WSS://x:443', 'https://x', 'http://[v1.x]'):
            self.assertEqual(self.answer('GET %s/healthz HTTP/1.1\r\nHost: x\r\n\r\n' % target).status, 200, target)
        self.assertEqual(self.answer('GET http://x/healthz HTTP/1.1\r\nHost: x y\r\n\r\n').status, 400)
        self.assertEqual(self.answer('GET /healthz HTTP/1.1\r\nHost: [v1.x]:8000\r\n\r\n').status, 200)

    def test_host(self):
        self.refused(400, 'GET /healthz HTTP/1.1\n\n')
        self.refused(400, 'GET /healthz HTTP/1.1\nHost: a\nHost: a\n\n')
        self.refused(400, 'GET /healthz HTTP/1.1\nHost: a b\n\n')
        self.refused(400, 'GET /healthz HTTP/1.1\nHost: user@x\n\n')

    def test_fields(self):
        for field in ('Name : value', ' Name: value', ': value', 'Name', 'Na(me: x', 'X: a\x00b', 'X: a\x0bb'):
            self.refused(400, 'GET /healthz HTTP/1.1\nHost: x\n%s\n\n' % field)
        self.refused(400, 'GET /healthz HTTP/1.1\nHost: x\nA: b\n folded\n\n')
        self.refused(400, 'GET /healthz HTTP/1.1\r\nHost: x\nA: b\r\n\r\n')  # a bare LF
        self.refused(400, 'GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n')  # a bare CR

    def test_sizes(self):
        self.refused(431, 'GET /healthz HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n' % ('a' * 9000))
        self.refused(431, 'GET /healthz HTTP/1.1\r\nHost: x\r\n' + 'A: b\r\n' * 2000 + '\r\n')
        r = self.answer('GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' % ('a' * 9000))
        self.assertEqual(r.status, 414)
        self.refused(414, 'GET /' + 'a' * 20000)
        self.refused(431, 'GET /healthz HTTP/1.1\r\nHost: x\r\nA: ' + 'a' * 20000)

    def test_not_http_at_all(self):
        self.refused(400, b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')  # a TLS hello
        self.refused(400, b'\x00' * 40)
        self.refused(400, b'SSH-2.0-OpenSSH_9.2\r\n')

    def test_methods(self):
        r = self.answer('DELETE /healthz HTTP/1.1\nHost: x\n\n')
        self.assertEqual((r.status, r.get('allow')), (405, 'GET, HEAD'))
        r = self.answer('GET /api/publish HTTP/1.1\nHost: localhost\n\n', where='admin')
        self.assertEqual((r.status, r.get('allow')), (405, 'POST'))
        r = self.answer('BREW /healthz HTTP/1.1\nHost: x\n\n')
        self.assertEqual(r.status, 405)
        r = self.answer('POST /ws/x HTTP/1.1\nHost: x\nContent-Length: 0\n\n')
        self.assertEqual((r.status, r.get('allow')), (405, 'GET'))

    def test_not_found(self):
        for path in ('/nothing', '/healthz/', '/HEALTHZ', '/metrics', '/api/publish', '/debug/processes', '/readyz', '/%68ealthz'):
            self.assertEqual(self.answer('GET %s HTTP/1.1\nHost: x\n\n' % path).status, 404, path)
        for path in ('/nothing', '/admin/nothing', '/api/', '/api/nothing', '/debug/nothing'):
            self.assertEqual(self.answer('GET %s HTTP/1.1\nHost: localhost\n\n' % path, 'admin').status, 404, path)

    def test_head(self):
        with Raw(self.d.client) as c:
            r = c.request('HEAD', '/healthz')
            self.assertEqual((r.status, r.get('content-length'), r.body), (200, '3', b''))
            self.assertTrue(c.silent(0.05))
            self.assertEqual(c.request('GET', '/healthz').body, b'ok\n')

    def test_pipelining(self):
        with Raw(self.d.admin) as c:
            body = '{"channel":"p","data":%d}'
            texts = []
            for i in range(40):
                texts.append('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
                b = body % i
                texts.append('POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s' % (len(b), b))
            c.send(''.join(texts))
            for i in range(40):
                self.assertEqual(c.read_response().body, b'ok\n')
                self.assertEqual(c.read_response().body, b'{"result":{}}')

    def test_empty_line_before_a_request(self):
        with Raw(self.d.client) as c:
            c.send('\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertEqual(c.read_response().status, 200)

    def test_security_of_the_demo_page(self):
        r = self.answer('GET / HTTP/1.1\nHost: x\n\n')
        self.assertEqual((r.status, r.get('content-type')), (200, 'text/html; charset=utf-8'))
        self.assertIn("default-src 'none'", r.get('content-security-policy'))
        self.assertNotIn(b'http://cdn', r.body)


class Bodies(SharedDaemonTest):
    settings = {'max_body_size': 4096, 'max_message_size': 2048}

    def post(self, fields, body, chop=0):
        c = Raw(self.d.admin)
        self.addCleanup(c.close)
        c.send(b'POST /api/publish HTTP/1.1\r\nHost: localhost\r\n' + fields.encode() + b'\r\n' + body, chop)
        return c

    def chunked(self, body, chop=0):
        return self.post('Transfer-Encoding: chunked\r\n', body, chop)

    BODY = b'{"channel":"c","data":{"a":1}}'

    def good(self, c):
        r = c.read_response()
        self.assertEqual((r.status, r.body), (200, b'{"result":{}}'))
        self.assertEqual(c.request('GET', '/healthz').status, 200)  # the connection is in step

    def refused(self, c, status):
        r = c.read_response()
        self.assertEqual((r.status, r.get('connection')), (status, 'close'))
        c.expect_eof()

    def test_what_cannot_be_published_names_the_reason(self):
        for text, status, reason in ((b'[' * 70 + b']' * 70, 400, b'JSON nested deeper than 64 levels (byte 64)'),
                                     (b'{"channel":"c","data":' + b'[' * 64 + b']' * 64 + b'}', 400, b'nested deeper'),
                                     (b'{"channel":"c"', 400, b'not JSON'), (b'[]', 400, b'not a JSON object'),
                                     (b'{"channel":"c","data":1,"channel":"d"}', 200, b'"code":107,"message":"bad request: channel is repeated"'),
                                     (b'{"channel":"c","data":"' + b'x' * 2100 + b'"}', 200, b'max_message_size'),
                                     (b'{"channel":"c","data":"' + b'x' * 4100 + b'"}', 413, b'max_body_size')):
            r = self.d.http('POST', '/api/publish', text)
            self.assertEqual(r.status, status, text)
            self.assertIn(reason, r.body)

    def test_an_empty_binary_publication(self):
        c = self.d.ws('/ws/empty')
        self.d.api('publish', channel='empty', b64data='')
        self.assertEqual((c.expect(BINARY).payload, self.d.api('publish', channel='empty', data=1, b64data='')), (b'', {'result': {}}))
        c.expect(TEXT, '1')

    def test_content_length(self):
        for chop in (0, 1):
            self.good(self.post('Content-Length: %d\r\n' % len(self.BODY), self.BODY, chop))

    def test_chunked(self):
        half = len(self.BODY) // 2
        text = (b'%x\r\n' % half + self.BODY[:half] + b'\r\n%X;ext=1;q="a;b"\r\n' % (len(self.BODY) - half)
                + self.BODY[half:] + b'\r\n000\r\nTrailer: x\r\n\r\n')
        for chop in (0, 1):
            self.good(self.chunked(text, chop))
        singles = b''.join(b'1\r\n' + self.BODY[i:i + 1] + b'\r\n' for i in range(len(self.BODY))) + b'0\r\n\r\n'
        self.good(self.chunked(singles))

    def test_bad_chunks(self):
        for text in (b'x\r\n', b'-1\r\n', b'0x5\r\n', b'\r\n', b' 5\r\nhello\r\n', b'5\nhello\r\n', b'5\r\nhelloX\r\n',
                     b'5\r\nhello\n', b'11111111111111111\r\n', b'0\r\nbad trailer\r\n\r\n', b'5;a=\x00\r\n'):
            for chop in (0, 1):
                self.refused(self.chunked(text, chop), 400)

    def test_conflicting_lengths(self):
        for fields in ('Content-Length: 5\r\nContent-Length: 5\r\n', 'Content-Length: 5\r\nContent-Length: 6\r\n',
                       'Content-Length: 5, 5\r\n', 'Content-Length: +5\r\n', 'Content-Length: -5\r\n', 'Content-Length: 5x\r\n',
                       'Content-Length:\r\n', 'Content-Length: 0x5\r\n', 'Content-Length: 99999999999999999999\r\n',
                       'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
                       'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'):
            self.refused(self.post(fields, b'hello'), 400)

    def test_transfer_codings(self):
        for coding in ('gzip', 'gzip, chunked', 'chunked, chunked', 'identity', 'xchunked'):
            self.refused(self.post('Transfer-Encoding: %s\r\n' % coding, b'hello'), 501)

    def test_too_big(self):
        self.refused(self.post('Content-Length: 4097\r\n', b''), 413)
        self.refused(self.chunked(b'1001\r\n'), 413)
        self.refused(self.chunked(b'800\r\n' + b'x' * 2048 + b'\r\n801\r\n'), 413)

    def test_expect(self):
        c = self.post('Expect: 100-continue\r\nContent-Length: %d\r\n' % len(self.BODY), b'')
        self.assertEqual(c.read_response().status, 100)
        c.send(self.BODY)
        self.good(c)
        self.good(self.post('Expect: 100-continue\r\nContent-Length: %d\r\n' % len(self.BODY), self.BODY))
        self.refused(self.post('Expect: a-miracle\r\nContent-Length: 2\r\n', b'{}'), 417)
        # nobody is asked for a body that will be refused
        self.refused(self.post('Expect: 100-continue\r\nContent-Length: 999999\r\n', b''), 413)


class Handshakes(SharedDaemonTest):
    settings = {'subprotocols': 'roost-plain,other'}

    def upgrade(self, fields, path='/ws/x', version='1.1'):
        with Raw(self.d.client) as c:
            return c.request('GET', path, fields, version=version)

    def test_good(self):
        for fields in (UPGRADE, [(k.lower(), v) for k, v in UPGRADE],
                       without('Upgrade', ('Upgrade', 'WebSocket')), without('Connection', ('Connection', 'keep-alive, Upgrade')),
                       without('Connection', ('Connection', 'keep-alive'), ('Connection', 'upgrade'))):
            r = self.upgrade(fields)
            self.assertEqual(r.status, 101, fields)
            self.assertEqual(r.get('sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
            self.assertEqual((r.get('upgrade').lower(), r.get('connection').lower()), ('websocket', 'upgrade'))
            self.assertIsNone(r.get('sec-websocket-extensions'))
            self.assertIsNone(r.get('sec-websocket-protocol'))

    def test_426(self):
        for fields in ([], without('Upgrade'), without('Upgrade', ('Upgrade', 'h2c')), without('Sec-WebSocket-Version'),
                       without('Sec-WebSocket-Version', ('Sec-WebSocket-Version', '8')),
                       without('Sec-WebSocket-Version', ('Sec-WebSocket-Version', '13, 8'))):
            r = self.upgrade(fields)
            self.assertEqual((r.status, r.get('sec-websocket-version')), (426, '13'), fields)
            self.assertEqual(r.get('upgrade'), 'websocket')
        self.assertEqual(self.upgrade(UPGRADE, version='1.0').status, 426)

    def test_400(self):
        for key in ('', 'short', KEY + 'x', KEY[:-1], '*' * 24, 'dGhlIHNhbXBsZSBub25jZQ'):
            self.assertEqual(self.upgrade(without('Sec-WebSocket-Key', ('Sec-WebSocket-Key', key))).status, 400, key)
        self.assertEqual(self.upgrade(without('Sec-WebSocket-Key')).status, 400)
        self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Key', KEY)]).status, 400)
        self.assertEqual(self.upgrade(without('Connection')).status, 400)
        self.assertEqual(self.upgrade(without('Connection', ('Connection', 'close'))).status, 400)
        for value in ('a b', ',', 'a, b, a'):
            self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Protocol', value)]).status, 400, value)
        self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Protocol', 'a'), ('Sec-WebSocket-Protocol', 'a')]).status, 400)
        self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Protocol', '')]).status, 101)  # nothing is offered
        for value in ('', ',', 'a b', 'a;', 'a;b=', 'a;b="c d"', 'permessage-deflate; client_max_window_bits="1', 'a=b'):
            self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Extensions', value)]).status, 400, value)
        self.assertEqual(self.upgrade(UPGRADE + [('Sec-WebSocket-Extensions', 'x;a="b", y; c, permessage-deflate')]).status, 101)

    def test_subprotocols(self):
        for offer, chosen in (('roost-plain', 'roost-plain'), ('x, other, roost-plain', 'other'), ('x,y', None),
                              ('ROOST-PLAIN', None), (',roost-plain,', 'roost-plain')):
            r = self.upgrade(UPGRADE + [('Sec-WebSocket-Protocol', offer)])
            self.assertEqual((r.status, r.get('sec-websocket-protocol')), (101, chosen), offer)
        r = self.upgrade(UPGRADE + [('Sec-WebSocket-Protocol', 'x'), ('Sec-WebSocket-Protocol', 'other')])
        self.assertEqual(r.get('sec-websocket-protocol'), 'other')

    def test_origin_of_the_same_host(self):
        for origin, status in (('http://' + self.d.client, 101), ('https://' + self.d.client, 101), ('null', 403),
                               ('http://evil.example', 403), ('http://%s.evil.example' % self.d.client, 403), ('', 403)):
            self.assertEqual(self.upgrade(UPGRADE + [('Origin', origin)]).status, status, origin)
        self.assertEqual(self.upgrade(UPGRADE + [('Origin', 'http://' + self.d.client)] * 2).status, 403)

    def test_refusal_keeps_the_connection(self):
        with Raw(self.d.client) as c:
            self.assertEqual(c.request('GET', '/ws/x').status, 426)
            self.assertEqual(c.request('GET', '/ws/x', UPGRADE).status, 101)

    def test_failures_are_counted_by_reason(self):
        name = 'roost_handshake_failures_total{reason="upgrade_key"}'
        before = self.d.metric(name)
        self.upgrade(without('Sec-WebSocket-Key'))
        wait_for(lambda: self.d.metric(name) == before + 1, what='the count')  # counted behind the answer, elsewhere


class Limits(DaemonTest):
    def test_longest_names_in_one_query(self):
        """As many channels as one connection may have, as long as names may be, every byte escaped: by default."""
        d = self.start()
        names = ['%s%s' % (chr(97 + i // 16) + chr(97 + i % 16), 'x' * 253) for i in range(128)]
        query = '&'.join('channel=' + ''.join('%%%02x' % ord(c) for c in n) for n in names)
        c = d.ws('/ws?' + query)
        d.publish(names[127], 1)
        self.assertEqual(json.loads(c.recv_data()), {'channel': names[127], 'data': 1})
        c = WebSocket(d.client, '/ws?' + query + '&channel=one-more')
        self.assertEqual((c.response.status, c.response.body), (400, b'too many channels for one connection\n'))
        c.close()

    def test_header_fields(self):
        d = self.start(max_header_fields=20)
        for more, status in ((17, 200), (18, 431)):
            r = d.http('GET', '/healthz', fields=[('X-%d' % i, '1') for i in range(2 + more)], where='client')
            self.assertEqual(r.status, status)
        self.assertIn(b'max_header_fields', r.body)

    def test_allowed_origins(self):
        d = self.start(config=self.file('allowed_origins: [ "https://*.example.com", "http://localhost:3000" ]\n'))
        for origin, status in (('https://a.example.com', 101), ('http://localhost:3000', 101), ('https://example.com', 403),
                               ('http://a.example.com', 403), ('https://a.example.com.evil.org', 403), (None, 101)):
            c = WebSocket(d.client, '/ws/x', [('Origin', origin)] if origin else [])
            self.assertEqual(c.response.status, status, origin)
            c.close()

    def test_header_timeout(self):
        d = self.start(header_timeout='1s', body_timeout='1s', keepalive_timeout='1s')
        with Raw(d.client) as c:
            c.send('GET /healthz HT')
            started = time.monotonic()
            r = c.read_response()
            self.assertEqual((r.status, r.get('connection')), (408, 'close'))
            self.assertLess(time.monotonic() - started, 5)
            c.expect_eof()
        with Raw(d.client) as c:  # a trickle does not help
            try:
                for b in 'GET /healthz HTTP/1.1\r\nHost: x\r\nX: ' + 'a' * 100:
                    c.sock.sendall(b.encode())
                    time.sleep(0.02)
            except OSError:
                pass
            try:
                status = c.read_response().status
            except Exception:
                status = 408  # reset behind the answer, because more was sent
            self.assertEqual(status, 408)
        with Raw(d.admin) as c:
            c.send('POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{')
            self.assertEqual(c.read_response().status, 408)
        with Raw(d.client) as c:  # idle connections just end
            self.assertEqual(c.request('GET', '/healthz').status, 200)
            c.expect_eof()
        with Raw(d.client) as c:
            c.expect_eof()

    def test_full(self):
        d = self.start(max_connections=10)
        clients = [d.ws('/ws/full') for _ in range(10)]
        for _ in range(3):
            with WebSocket(d.client, '/ws/full') as c:
                self.assertEqual(c.response.status, 503)
                self.assertIsNotNone(c.response.get('retry-after'))
                c.expect_eof()
        with Raw(d.client) as c:  # a load balancer still sees that it lives
            self.assertEqual(c.request('GET', '/healthz').status, 200)
        self.assertEqual(d.http('GET', '/readyz').status, 200)  # the admin listener is not counted
        clients.pop().goodbye()

        def taken():
            with WebSocket(d.client, '/ws/full') as c:
                return c.response.status == 101

        wait_for(taken, what='the place to be free again')
        wait_for(lambda: d.metric('roost_handshake_failures_total{reason="full"}') >= 3, what='the count of the refused')
        for c in clients:
            c.close()

    def test_address_limit(self):
        d = self.start(workers=1, max_connections_per_address=3)
        clients = [d.ws('/ws/a') for _ in range(3)]
        with WebSocket(d.client, '/ws/a') as c:
            self.assertEqual(c.response.status, 503)
        d.wait_metric('roost_handshake_failures_total{reason="address_limit"}', 1)
        for c in clients:
            c.close()

    def test_channel_limit(self):
        d = self.start(workers=1, max_channels=2)
        clients = [d.ws('/ws/a'), d.ws('/ws/b'), d.ws('/ws/a')]
        with WebSocket(d.client, '/ws/c') as c:
            self.assertEqual(c.response.status, 503)
        for c in clients:
            c.close()

    def test_demo_page_off(self):
        d = self.start(demo_page='false')
        self.assertEqual(d.http('GET', '/', where='client').status, 404)


if __name__ == '__main__':
    unittest.main(verbosity=0)
