"""Whom a connection belongs to when a proxy stands in front: header fields, trusted peers and others."""

import json
import re
import signal
import socket
import ssl
import struct
import tempfile
import unittest

from daemon import DaemonTest, SharedDaemonTest, run_roostd, wait_for
from pki import Pki
from wsraw import Closed, Raw

UPGRADE = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Version', '13'),
           ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')]
PROXY, STRANGER = '127.0.0.1', '127.0.0.9'


def addresses(d):
    """Of the WebSocket connections of the one worker."""
    return sorted(c['address'].rsplit(':', 1)[0] for c in d.get_json('/debug/connections?limit=1000')['connections']
                  if c['protocol'] == 'plain')


V2 = b'\r\n\r\n\0\r\nQUIT\n'


def v1(source, port=50000):
    return b'PROXY TCP4 %s 192.0.2.2 %d 443\r\n' % (source.encode(), port)


def v2(source, port=50000, tlvs=b''):
    body = socket.inet_aton(source) + socket.inet_aton('192.0.2.2') + struct.pack('>HH', port, 443) + tlvs
    return V2 + b'\x21\x11' + struct.pack('>H', len(body)) + body


LOCAL = V2 + b'\x20\0\0\0'
PROXIED = '[{address: "127.0.0.1:0", name: proxied, proxy_protocol: true}]'


def last_listener(d):
    """The address of the one in the setting `listeners`."""
    return re.findall(r'listening"? .*address=(\S+) for=clients', d.text())[-1]


class Fields(SharedDaemonTest):
    settings = dict(workers=1, trusted_proxies=PROXY, max_connections_per_address=2, log_level='debug')

    def upgrade(self, *fields, source=PROXY):
        c = Raw(self.d.client, source=source)
        self.addCleanup(c.close)
        c.response = c.request('GET', '/ws/a', [*UPGRADE, *fields])
        return c

    def test_debug_shows_the_client(self):
        self.upgrade(('X-Forwarded-For', '9.9.9.9, 203.0.113.9'))
        self.upgrade(('X-Forwarded-For', '9.9.9.9, 203.0.113.9'), source=STRANGER)
        found = addresses(self.d)
        self.assertIn('203.0.113.9', found)
        self.assertIn(STRANGER, found)
        self.assertNotIn('9.9.9.9', found)

    def test_limits_are_the_clients(self):
        # More connections of the proxy than one address may have, as they are of several clients.
        two = [self.upgrade(('X-Forwarded-For', '203.0.113.%d' % (10 + i // 2))) for i in range(8)]
        self.assertEqual([c.response.status for c in two], [101] * 8)
        third = [self.upgrade(('X-Forwarded-For', '203.0.113.%d' % (10 + i))) for i in range(4)]
        for c in third:
            self.assertEqual(c.response.status, 503)
            self.assertIn(b'too many connections from this address', c.response.body)

    def test_a_place_is_given_back(self):
        d = self.start(workers=1, trusted_proxies=PROXY, max_connections_per_address=1)
        with Raw(d.client) as kept:  # a proxy that keeps its connection for everybody's requests
            for i in range(3):
                r = kept.request('GET', '/healthz', [('X-Forwarded-For', '203.0.113.9')])
                self.assertEqual(r.status, 200)
            with Raw(d.client) as c:
                self.assertEqual(c.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '203.0.113.9')]).status, 101)
                with Raw(d.client) as other:
                    r = other.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '203.0.113.9')])
                    self.assertEqual(r.status, 503)
            self.assertEqual(kept.request('GET', '/healthz').status, 200)

            def again():
                with Raw(d.client) as c:
                    return c.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '203.0.113.9')]).status == 101
            wait_for(again, what='the place of the one that has gone')

    def test_what_strangers_say_is_counted(self):
        before = self.d.metric('roost_forwarded_ignored_total')
        c = self.upgrade(('X-Forwarded-For', '203.0.113.77'), source=STRANGER)
        self.assertEqual(c.response.status, 101)
        self.assertEqual(self.d.metric('roost_forwarded_ignored_total'), before + 1)
        self.assertNotIn('203.0.113.77', addresses(self.d))

    def test_refusals_name_the_client(self):
        with Raw(self.d.client) as c:
            c.request('GET', '/ws/a', [('X-Forwarded-For', '203.0.113.55')])
        line = self.d.wait_log(r'.*handshake refused.*reason=upgrade_required.*').group(0)
        self.assertIn('peer=203.0.113.55:0', line)


class ProxyProtocol(SharedDaemonTest):
    settings = dict(workers=1, trusted_proxies=PROXY, listeners=PROXIED, max_connections_per_address=2, log_level='debug')

    def connect(self, header, source=PROXY):
        c = Raw(last_listener(self.d), source=source)
        self.addCleanup(c.close)
        c.send(header)
        return c

    def count(self, reason):
        return self.d.metric('roost_closes_total{reason="%s"}' % reason)

    def assert_ends(self, header, reason, source=PROXY):
        before = self.count(reason)
        self.connect(header, source).expect_eof()
        wait_for(lambda: self.count(reason) == before + 1, what=reason)

    def test_the_client_is_who_the_header_says(self):
        named = self.d.metric('roost_clients_named_total{by="proxy_protocol"}')
        for header, who in (v1('203.0.113.1'), '203.0.113.1'), (v2('203.0.113.2'), '203.0.113.2'), (LOCAL, PROXY):
            c = self.connect(header)
            self.assertEqual(c.request('GET', '/ws/a', UPGRADE).status, 101)
            self.assertIn(who, addresses(self.d))
        self.assertEqual(self.d.metric('roost_clients_named_total{by="proxy_protocol"}'), named + 2)

    def test_cut_anywhere(self):
        for header in v1('203.0.113.3'), v2('203.0.113.3', tlvs=b'\x04\0\x03abc'):
            c = self.connect(b'')
            c.send(header, chop=1)
            self.assertEqual(c.request('GET', '/healthz').status, 200)

    def test_limits_are_the_clients(self):
        held = [self.connect(v2('203.0.113.4')) for _ in range(2)]
        for c in held:
            self.assertEqual(c.request('GET', '/ws/a', UPGRADE).status, 101)
        refused = self.connect(v2('203.0.113.4')).request('GET', '/ws/a', UPGRADE)
        self.assertEqual(refused.status, 503)
        self.assertIn(b'too many connections from this address', refused.body)
        self.assertEqual(self.connect(v2('203.0.113.5')).request('GET', '/ws/a', UPGRADE).status, 101)

    def test_strangers_are_not_heard(self):
        self.assert_ends(v2('203.0.113.6') + b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n', 'proxy_untrusted', STRANGER)
        self.d.wait_log(r'reason=proxy_untrusted.* peer=127\.0\.0\.9:')
        self.assertFalse(self.d.find(r'peer=203\.0\.113\.6'))

    def test_no_header(self):
        self.assert_ends(b'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n', 'proxy_missing')
        self.assert_ends(b'PROXY TCP4 one two 3 4\r\n', 'proxy_header')
        self.assert_ends(V2 + b'\x21\x11\xff\xff', 'proxy_header')

    def test_it_does_not_come_in_time(self):
        d = self.start(workers=1, trusted_proxies=PROXY, listeners=PROXIED, header_timeout='500ms')
        with Raw(last_listener(d)) as c:
            c.send(V2 + b'\x21\x11\0\x0c')
            c.expect_eof()
        wait_for(lambda: d.metric('roost_closes_total{reason="proxy_timeout"}') == 1, what='the count')

    def test_a_header_unasked(self):
        with Raw(self.d.client) as c:
            c.send(v1('203.0.113.7') + b'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
            r = c.read_response()
            self.assertEqual(r.status, 400)
            self.assertIn(b'this listener takes none', r.body)

    def test_fields_behind_a_header(self):
        # Another proxy of ours speaks by this one: it is believed; a client is not.
        c = self.connect(v2(PROXY))
        self.assertEqual(c.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '203.0.113.8')]).status, 101)
        self.assertIn('203.0.113.8', addresses(self.d))
        c = self.connect(v2('203.0.113.9'))
        self.assertEqual(c.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '9.9.9.9')]).status, 101)
        self.assertIn('203.0.113.9', addresses(self.d))
        self.assertNotIn('9.9.9.9', addresses(self.d))

    def test_tlvs_are_told(self):
        ssl = b'\x05\0\0\0\0' + b'\x21\0\x07TLSv1.3' + b'\x22\0\x05a\nb c'
        self.connect(v2('203.0.113.10', tlvs=b'\x02\0\x03a.b' + b'\x20' + struct.pack('>H', len(ssl)) + ssl))
        line = self.d.wait_log(r'.*PROXY header.*authority=a\.b.*').group(0)
        self.assertIn('tls=TLSv1.3', line)
        self.assertIn(r'tls_subject="a\u000ab c"', line)
        self.assertIn('tls_verified=true', line)


class BeforeTls(DaemonTest):
    """The header stands before the handshake, in the same segment too: not a byte more is taken than it has."""

    def setUp(self):
        super().setUp()
        self.pki = Pki().make('server')
        self.addCleanup(self.pki.close)
        self.d = self.start(workers=1, trusted_proxies=PROXY, log_level='debug', listeners=json.dumps(
            [{'address': '127.0.0.1:0', 'proxy_protocol': True, **self.pki.settings('server')}]))
        self.where = last_listener(self.d)

    def speak(self, header, chop=0):
        """The header and the handshake's first bytes go together. What an upgrade is answered with."""
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.pki.client().wrap_bio(came, goes, server_hostname='localhost')
        with Raw(self.where) as c:
            pending = header

            def step(what, *args):
                nonlocal pending
                while True:
                    try:
                        return what(*args)
                    except ssl.SSLWantReadError:
                        c.send(pending + goes.read(), chop=chop)
                        pending = b''
                        c.fill()
                        came.write(c.take(len(c.buf)))

            step(tls.do_handshake)
            tls.write(('GET /ws/a HTTP/1.1\r\nHost: a\r\n%s\r\n' % ''.join('%s: %s\r\n' % f for f in UPGRADE)).encode())
            answer = step(tls.read, 4000)
            return answer, addresses(self.d)

    def test_every_header(self):
        for header, who in ((v1('203.0.113.1'), '203.0.113.1'), (v2('203.0.113.2', tlvs=b'\x04\0\x03abc'), '203.0.113.2'),
                            (LOCAL, PROXY)):
            for chop in (0, 7):
                with self.subTest(header=header, chop=chop):
                    answer, shown = self.speak(header, chop)
                    self.assertTrue(answer.startswith(b'HTTP/1.1 101 '), answer)
                    self.assertEqual(shown, [who])
                    wait_for(lambda: addresses(self.d) == [])

    def test_no_header(self):
        with self.assertRaises(Closed):
            self.speak(b'')
        wait_for(lambda: self.d.metric('roost_closes_total{reason="proxy_missing"}') == 1)


class UnixSockets(DaemonTest):
    def begin(self, **kw):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-'))
        return self.start(workers=1, listen='unix:%s/s' % folder, **kw)

    def test_trusted_as_such(self):
        d = self.begin(trusted_proxies='unix:', max_connections_per_address=1)
        with Raw(d.client) as a, Raw(d.client) as b, Raw(d.client) as c:
            for conn, who, status in (a, '203.0.113.1', 101), (b, '203.0.113.2', 101), (c, '203.0.113.2', 503):
                self.assertEqual(conn.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', who)]).status, status)
            self.assertEqual(addresses(d), ['203.0.113.1', '203.0.113.2'])

    def test_not_trusted(self):
        d = self.begin(trusted_proxies=PROXY)
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/a', [*UPGRADE, ('X-Forwarded-For', '203.0.113.1')]).status, 101)
            self.assertEqual(addresses(d), ['unix'])

    def test_the_proxy_protocol(self):
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix='roost-'))
        where = 'unix:%s/s' % folder
        d = self.start(workers=1, trusted_proxies='unix:', listeners=json.dumps([{'address': where, 'proxy_protocol': True}]))
        with Raw(where) as c:
            c.send(v2('203.0.113.1'), chop=5)
            self.assertEqual(c.request('GET', '/ws/a', UPGRADE).status, 101)
            self.assertEqual(addresses(d), ['203.0.113.1'])


class Settings(DaemonTest):
    def test_reload(self):
        """Whom to trust is asked of each request; a header is wanted from the next connection on."""
        text = 'trusted_proxies: [%s]\nlisteners:\n- {address: "127.0.0.1:0", proxy_protocol: %s}\n'
        path = self.file(text % (STRANGER, 'false'))
        d = self.start(workers=1, config=path)

        def reload(*values):
            with open(path, 'w') as f:
                f.write(text % values)
            before = len(d.lines('msg="?reloaded'))
            d.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(d.lines('msg="?reloaded')) > before, what='the reload')

        with Raw(last_listener(d)) as kept:
            named = [('X-Forwarded-For', '203.0.113.1')]
            self.assertEqual(kept.request('GET', '/healthz', named).status, 200)
            reload(PROXY, 'true')

            def told():
                self.assertEqual(kept.request('GET', '/healthz', named).status, 200)
                return d.metric('roost_clients_named_total{by="field"}') > 0
            wait_for(told, what='the client by the field')
        with Raw(last_listener(d)) as c:
            c.send(v1('203.0.113.2'))
            self.assertEqual(c.request('GET', '/ws/a', UPGRADE).status, 101)
            self.assertEqual(addresses(d), ['203.0.113.2'])

    def test_malformed(self):
        status, _, err = run_roostd('--set', 'trusted_proxies=10.0.0.1/8', '--check')
        self.assertNotEqual(status, 0)
        self.assertIn('trusted_proxies: "10.0.0.1/8": the address has bits behind the first 8', err)

    def test_nobody_is_trusted(self):
        status, _, err = run_roostd('--set', 'listeners=' + PROXIED, '--check')
        self.assertNotEqual(status, 0)
        self.assertIn('proxy_protocol: nobody could connect: trusted_proxies has no address', err)

    def test_everybody_is_a_warning(self):
        d = self.start(workers=1, trusted_proxies='0.0.0.0/0')
        d.wait_log(r'trusted_proxies: everybody is trusted')

    def test_forwarded(self):
        d = self.start(workers=1, trusted_proxies=PROXY, trusted_proxy_header='forwarded')
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/a', [*UPGRADE, ('Forwarded', 'for="[2001:db8::9]:7"'),
                                                        ('X-Forwarded-For', '9.9.9.9')]).status, 101)
            self.assertEqual(addresses(d), ['[2001:db8::9]'])
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/healthz', [('Forwarded', 'for="x')]).status, 400)


if __name__ == '__main__':
    unittest.main()
