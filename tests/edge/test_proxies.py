"""nginx and HAProxy at their edges: silence, restarts, and requests that two readers could read differently."""

import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))

from daemon import DaemonTest, wait_for  # noqa: E402
from pki import Pki  # noqa: E402
from proxies import HAProxy, Nginx  # noqa: E402
from test_proxies import PROXIED, PROXY, UPGRADE, last_listener  # noqa: E402
from test_proxy_programs import BehindStreams  # noqa: E402
from wsraw import CLOSE, PING, PONG, TEXT, Closed, Raw, WebSocket, frame  # noqa: E402


class Version1(BehindStreams):
    """HAProxy's first version of the PROXY protocol."""

    @classmethod
    def make(cls):
        return HAProxy(cls.d.client, last_listener(cls.d), [('send-proxy-v2 proxy-v2-options crc32c', 'send-proxy')])


del BehindStreams


class ProxiedDaemon(DaemonTest):
    def begin(self, **settings):
        self.d = self.start(workers=2, trusted_proxies=PROXY, listeners=PROXIED, **settings)

    def nginx(self, *replace, **kw):
        p = Nginx(self.d.client, replace, **kw)
        self.addCleanup(p.stop)
        return p

    def haproxy(self, *replace):
        p = HAProxy(self.d.client, last_listener(self.d), replace)
        self.addCleanup(p.stop)
        return p

    def ws(self, where, path='/ws/a'):
        c = WebSocket(where, path)
        self.addCleanup(c.close)
        self.assertEqual(c.response.status, 101)
        return c


class Sockets(ProxiedDaemon):
    def test_nginx_by_a_unix_socket(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-'))
        os.chmod(folder, 0o755)
        self.d = self.start(workers=2, trusted_proxies='unix:', listen='unix:%s/s' % folder)
        where = self.nginx().address
        a = WebSocket(where, '/ws/a', source='127.0.0.7')
        self.addCleanup(a.close)
        a.text('hello')
        self.assertEqual(a.recv_data(), b'hello')
        shown = wait_for(lambda: [c['address'] for _ in range(2) for c in self.d.get_json('/debug/connections')['connections']
                                  if c['protocol'] == 'plain'])
        self.assertEqual(shown[0].rsplit(':', 1)[0], '127.0.0.7')

    def test_haproxy_passes_tls_on(self):
        with Pki().make('server') as pki:
            self.d = self.start(workers=2, trusted_proxies=PROXY, listeners=json.dumps(
                [{'address': '127.0.0.1:0', 'proxy_protocol': True, **pki.settings('server')}]))
            h = HAProxy(self.d.client, last_listener(self.d), [
                ('server roost1 127.0.0.1:8002 send-proxy-v2'.replace('127.0.0.1:8002', last_listener(self.d)),
                 'server roost1 %s check-ssl verify none send-proxy-v2' % last_listener(self.d))])
            self.addCleanup(h.stop)
            for _ in range(3):
                with WebSocket(h.streams, '/ws/a', tls=pki.client()) as c:
                    c.text('x' * 100000)
                    self.assertEqual(len(c.recv_data()), 100000)
            self.assertEqual(self.d.metric('roost_tls_handshakes_total{resumed="false"}') > 0, True)
            self.assertGreaterEqual(self.d.metric('roost_clients_named_total{by="proxy_protocol"}'), 3)


class Silence(ProxiedDaemon):
    def each_way(self, seconds):
        limit = '%ds' % seconds
        h = self.haproxy(('timeout tunnel 60s', 'timeout tunnel ' + limit), ('timeout client 60s', 'timeout client ' + limit),
                         ('timeout server 60s', 'timeout server ' + limit))
        return self.nginx(('proxy_read_timeout 60s', 'proxy_read_timeout ' + limit)).address, h.address, h.streams

    def test_pings_keep_the_silent(self):
        self.begin(ping_interval='1s', pong_timeout='60s')
        clients = [self.ws(where, '/ws/%d' % i) for i, where in enumerate(self.each_way(10))]
        for _ in range(13):
            for c in clients:
                self.assertEqual(c.recv().opcode, PING)
            for c in clients:
                c.send_frame(PONG)
        for c in clients:
            c.text('still here')
            self.assertEqual(c.recv_data(), b'still here')
            c.goodbye()

    def test_the_proxy_ends_the_silent(self):
        """A ping_interval longer than the proxy's patience: the client sees the end, and so does the daemon."""
        self.begin(ping_interval='10m')
        clients = [self.ws(where) for where in self.each_way(3)]
        for c in clients:
            with self.assertRaises(Closed):
                c.recv()
        wait_for(lambda: self.d.metric('roost_connections{protocol="plain"}') == 0, what='the end of all')


class Restarts(ProxiedDaemon):
    def test_workers_of_nginx_that_must_end(self):
        self.begin()
        p = self.nginx(worker_shutdown='1s')
        old = self.ws(p.address)
        p.reload()
        with self.assertRaises(Closed):
            old.recv()
        wait_for(lambda: self.d.metric('roost_connections{protocol="plain"}') == 0)
        self.ws(p.address)

    def test_the_proxy_dies(self):
        self.begin()
        for p in self.nginx(), self.haproxy():
            self.ws(p.address)
            wait_for(lambda: self.d.metric('roost_connections{protocol="plain"}') == 1)
            p.stop()
            wait_for(lambda: self.d.metric('roost_connections{protocol="plain"}') == 0)

    def test_a_drain_reaches_clients(self):
        self.begin(drain_time='200ms')
        h, n = self.haproxy(), self.nginx()
        clients = [self.ws(where) for where in (n.address, h.address, h.streams)]
        self.d.process.terminate()
        for c in clients:
            f = c.recv()
            self.assertEqual((f.opcode, f.code), (CLOSE, 1001))
            c.send_frame(CLOSE, f.payload)
        self.d.process.wait(60)
        with Raw(n.address) as c:
            self.assertEqual(c.request('GET', '/healthz').status, 502)


KEY = '0123456789abcdef'
STOLEN = '{"channel":"hidden","data":"deceived"}'
HIDDEN = 'POST /api/publish?api_key=%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s' % (KEY, len(STOLEN), STOLEN)
POST = 'POST /healthz HTTP/1.1\r\nHost: a\r\n'
CHUNK = '%x\r\n%s\r\n0\r\n\r\n' % (len(HIDDEN), HIDDEN)
SHAKE = ''.join('%s: %s\r\n' % f for f in UPGRADE)
BAD_SHAKE = SHAKE.replace('13', '12')
# Each has a request of the server API within what is a body to one of two readers. A proxy forbids that API, so if it is served,
# the two have read differently.
SMUGGLED = {
    'length and chunked': POST + 'Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' % (5 + len(HIDDEN)) + HIDDEN,
    'chunked and length': POST + 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n' + CHUNK,
    'two lengths': POST + 'Content-Length: 0\r\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a list of lengths': POST + 'Content-Length: 0, %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a signed length': POST + 'Content-Length: +%d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a length with a blank in it': POST + 'Content-Length: 0 %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'blank before the colon': POST + 'Content-Length : %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'folded': POST + 'X: y\r\n Content-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'folded chunked': POST + 'Transfer-Encoding:\r\n chunked\r\n\r\n' + CHUNK,
    'tab chunked': POST + 'Transfer-Encoding:\tchunked\r\n\r\n' + CHUNK,
    'vertical tab chunked': POST + 'Transfer-Encoding: \x0bchunked\r\n\r\n' + CHUNK,
    'quoted chunked': POST + 'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNK,
    'chunked twice': POST + 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n' + CHUNK,
    'identity, chunked': POST + 'Transfer-Encoding: identity, chunked\r\n\r\n' + CHUNK,
    'chunked, identity': POST + 'Transfer-Encoding: chunked, identity\r\n\r\n' + CHUNK,
    'xchunked': POST + 'Transfer-Encoding: xchunked\r\n\r\n' + CHUNK,
    'underscore': POST + 'Transfer_Encoding: chunked\r\n\r\n' + CHUNK,
    'HTTP/1.0 chunked': POST.replace('1.1', '1.0') + 'Transfer-Encoding: chunked\r\n\r\n' + CHUNK,
    'bare LF': POST + 'X: y\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'bare CR': POST + 'X: y\rContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'NUL': POST + 'X: \0\r\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a chunk size that wraps': POST + 'Transfer-Encoding: chunked\r\n\r\n%x\r\n' % ((1 << 64) + 5) + '0\r\n\r\n' + HIDDEN,
    'a chunk size with 0x': POST + 'Transfer-Encoding: chunked\r\n\r\n0x%x\r\n%s\r\n0\r\n\r\n' % (len(HIDDEN), HIDDEN),
    'a chunk extension with a line end': POST + 'Transfer-Encoding: chunked\r\n\r\n%x;a=\n\r\n%s\r\n0\r\n\r\n' % (len(HIDDEN), HIDDEN),
    'a chunk that ends in LF': POST + 'Transfer-Encoding: chunked\r\n\r\n%x\n%s\n0\n\n' % (len(HIDDEN), HIDDEN),
    'a GET with a body': 'GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a HEAD with a body': 'HEAD /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a handshake with a body': 'GET /ws/a HTTP/1.1\r\nHost: a\r\n' + SHAKE + 'Content-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'a handshake with chunks': 'GET /ws/a HTTP/1.1\r\nHost: a\r\n' + SHAKE + 'Transfer-Encoding: chunked\r\n\r\n' + CHUNK,
    'a refused handshake with a body': 'GET /ws/a HTTP/1.1\r\nHost: a\r\n' + BAD_SHAKE
                                       + 'Content-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'expectation and length': POST + 'Expect: 100-continue\r\nContent-Length: %d\r\n\r\n' % len(HIDDEN) + HIDDEN,
    'frames that are requests': 'GET /ws/a HTTP/1.1\r\nHost: a\r\n' + SHAKE + '\r\n' + HIDDEN,
}


class Smuggling(ProxiedDaemon):
    """A request that is a body's text is never served, nor does an answer go to the wrong request."""

    NGINX = ('    location / {', '    location /api { return 403; }\n    location / {')
    HAPROXY = ('    default_backend roost\n', '    http-request deny if { path_beg /api }\n    default_backend roost\n')

    def begin(self, **settings):
        super().begin(api_on_client_listener='true', api_key=KEY, **settings)
        self.victim = self.ws(self.d.client, '/ws/hidden')

    def api(self, channel, data):
        text = '{"channel":"%s","data":"%s"}' % (channel, data)
        r = self.d.http('POST', '/api/publish', text, [('X-API-Key', KEY)])
        self.assertEqual(r.status, 200)

    def assert_nobody_deceived(self, note):
        """What was smuggled in would stand before the mark."""
        self.api('hidden', 'mark')
        self.assertIn(b'mark', self.victim.recv_data(), note)

    def send(self, where, text):
        """All that is answered, until the end or what the next request brings. The latter has an answer of its own."""
        with Raw(where) as c:
            c.send(text.encode('latin-1'))
            c.send('GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
            answers = []
            try:
                while True:
                    r = c.read_response(head=text.startswith('HEAD') and not answers)
                    if r.status == 100:
                        continue
                    answers.append(r)
                    if r.status == 101:
                        break
            except (Closed, OSError, ValueError):
                pass
            return answers

    def check(self, where):
        for name, text in SMUGGLED.items():
            with self.subTest(name=name):
                answers = self.send(where, text)
                self.assertLessEqual(len(answers), 3, answers)
                self.assert_nobody_deceived(answers)
                # The connections that the proxy keeps are in step.
                for _ in range(4):
                    with Raw(where) as c:
                        self.assertEqual([c.request('GET', '/healthz').status for _ in range(2)], [200, 200])

    def test_the_trap_works(self):
        self.begin()
        self.send(self.d.client, HIDDEN)
        self.assertIn(b'deceived', self.victim.recv_data())
        for p in self.nginx(self.NGINX), self.haproxy(self.HAPROXY):
            self.assertEqual(self.send(p.address, HIDDEN)[0].status, 403)

    def test_directly(self):
        self.begin()
        self.check(self.d.client)

    def test_behind_nginx(self):
        self.begin()
        self.check(self.nginx(self.NGINX).address)

    def test_behind_haproxy(self):
        self.begin()
        self.check(self.haproxy(self.HAPROXY).address)

    def test_behind_streams(self):
        self.begin()
        self.check(self.haproxy().streams)

    def test_what_the_proxy_forbids(self):
        """A refused handshake makes no tunnel past the proxy's rules, neither here nor at a proxy that does not look."""
        self.begin()
        n, h = self.nginx(self.NGINX), self.haproxy(self.HAPROXY)
        for where, behind in (n.address, True), (h.address, True), (self.d.client, False):
            for target, fields in ('/ws/a', BAD_SHAKE), ('/healthz', SHAKE), ('/ws/a', SHAKE.replace('websocket', 'h2c')):
                with Raw(where) as c:
                    c.send('GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n' % (target, fields) + HIDDEN)
                    self.assertIn(c.read_response().status, (200, 426))
                    if behind:
                        try:
                            self.assertEqual(c.read_response().status, 403)
                        except Closed:
                            pass
                    else:
                        c.expect_eof()
        self.assert_nobody_deceived('')

    def test_targets(self):
        """Other spellings of a path are other paths: what a proxy forbids has one name here."""
        self.begin()
        for where in self.d.client, self.nginx().address, self.haproxy().address:
            for target in ('//api/info', '/%61pi/info', '/api%2finfo', '/x/..%2fapi/info', '/api/./info', '/API/info', '/api/info/',
                           '/api;/info', '/api/info%00', '/api\\info'):
                with Raw(where) as c:
                    status = c.request('POST', target, [('X-API-Key', KEY)], '{}').status
                    # nginx passes the target on as it came, where proxy_pass has no path.
                    self.assertIn(status, (400, 404), (where, target))
            with Raw(where) as c:
                c.send('POST http://other.example/api/info HTTP/1.1\r\nHost: other.example\r\nX-API-Key: %s\r\n'
                       'Content-Length: 2\r\n\r\n{}' % KEY)
                r = c.read_response()
                self.assertEqual(r.status, 200, (where, r))


class Frames(ProxiedDaemon):
    def test_fragments_and_controls(self):
        self.begin()
        h, n = self.haproxy(), self.nginx()
        for where in n.address, h.address, h.streams:
            c = self.ws(where, '/ws/frames')
            c.send(frame(TEXT, 'a', fin=False) + frame(PING, 'p') + frame(0, 'b'), chop=1)
            c.expect(PONG, b'p')
            self.assertEqual(c.recv_data(), b'ab')
            c.send(frame(3))
            c.expect_close(1002)


if __name__ == '__main__':
    unittest.main()
