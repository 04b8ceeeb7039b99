"""Behind Debian's nginx and HAProxy, as deploy/nginx.conf and deploy/haproxy.cfg set them up."""

import unittest

from daemon import Daemon, wait_for
from proxies import HAProxy, Nginx
from test_proxies import PROXIED, PROXY, UPGRADE, addresses, last_listener
from wsraw import TEXT, Raw, WebSocket, frame

CLIENT = '127.0.0.7'  # the proxy asks from 127.0.0.1


class Behind(unittest.TestCase):
    """What holds behind every proxy."""

    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(workers=1, trusted_proxies=PROXY, listeners=PROXIED,
                       max_connections_per_address=3, **cls.settings)
        cls.addClassCleanup(cls.end_daemon)
        cls.proxy = cls.make()
        cls.addClassCleanup(cls.proxy.stop)
        cls.where = cls.entry(cls.proxy)

    @classmethod
    def end_daemon(cls):
        status = cls.d.stop()
        assert status == 0, cls.d.text()

    @classmethod
    def entry(cls, proxy):
        return proxy.address

    def ws(self, path='/ws/a', source=CLIENT, where=None, **kw):
        c = WebSocket(where or self.where, path, source=source, **kw)
        self.addCleanup(c.close)
        self.assertEqual(c.response.status, 101, c.response)
        return c

    def test_messages_both_ways(self):
        a, b = self.ws('/ws/room'), self.ws('/ws/room')
        a.text('hello')
        self.assertEqual([c.recv_data() for c in (a, b)], [b'hello'] * 2)
        a.text('x' * 300000)
        self.assertEqual(len(b.recv_data()), 300000)
        b.goodbye()

    def test_early_frames_and_origins(self):
        c = self.ws('/ws/early', early=frame(TEXT, 'at once'), fields=[('Origin', 'http://' + self.where)])
        self.assertEqual(c.recv_data(), b'at once')
        with Raw(self.where) as foreign:
            r = foreign.request('GET', '/ws/a', [*UPGRADE, ('Origin', 'http://evil.example')])
            self.assertEqual(r.status, 403)

    def test_the_client_is_known(self):
        self.ws(fields=[('X-Forwarded-For', '9.9.9.9'), ('Forwarded', 'for=9.9.9.8')])
        self.assertIn(CLIENT, addresses(self.d))
        self.assertFalse({'9.9.9.9', '9.9.9.8'} & set(addresses(self.d)))

    def test_limits_are_the_clients(self):
        wait_for(lambda: '127.0.0.21' not in addresses(self.d))
        for source in ('127.0.0.21', '127.0.0.22'):
            for _ in range(3):
                self.ws(source=source)
        with Raw(self.where, source='127.0.0.21') as c:
            self.assertEqual(c.request('GET', '/ws/a', UPGRADE).status, 503)

    def test_http_and_kept_connections(self):
        with Raw(self.where) as c:
            for _ in range(5):
                self.assertEqual(c.request('GET', '/healthz').status, 200)
            self.assertEqual(c.request('HEAD', '/healthz').status, 200)
            self.assertEqual(c.request('GET', '/nothing').status, 404)
        self.assertNotIn('127.0.0.1', addresses(self.d))

    def test_reload(self):
        old = self.ws('/ws/reload')
        self.proxy.reload()
        new = self.ws('/ws/reload')
        old.text('from before')
        self.assertEqual([old.recv_data(), new.recv_data()], [b'from before'] * 2)
        new.text('from behind')
        self.assertEqual([old.recv_data(), new.recv_data()], [b'from behind'] * 2)


class BehindNginx(Behind):
    @classmethod
    def make(cls):
        return Nginx(cls.d.client)

    def test_beside_another_site(self):
        """Debian's nginx has a site of its own, which is the default of port 80: ours is found by its name."""
        proxy = Nginx(self.d.client, beside='server { listen %s default_server; server_name _; return 410; }')
        self.addCleanup(proxy.stop)
        for host, status in ('gateway.example.com', 200), ('another.example.com', 410):
            with Raw(proxy.address, source=CLIENT) as c:
                c.send('GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n' % host)
                self.assertEqual(c.read_response().status, status, host)


class BehindHAProxy(Behind):
    @classmethod
    def make(cls):
        return HAProxy(cls.d.client, last_listener(cls.d))


class BehindStreams(BehindHAProxy):
    """HAProxy passes bytes on, and says who it is by the PROXY protocol (version 2 with a checksum)."""

    @classmethod
    def entry(cls, proxy):
        return proxy.streams

    def test_a_stranger_goes_round_the_proxy(self):
        with Raw(last_listener(self.d), source=CLIENT) as c:
            c.send('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
            c.expect_eof()


del Behind

if __name__ == '__main__':
    unittest.main()
