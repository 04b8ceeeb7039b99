"""Whom a connection belongs to when a proxy stands in front: header fields, trusted peers and others."""

import unittest

from daemon import DaemonTest, SharedDaemonTest, run_roostd, wait_for
from wsraw import Raw

UPGRADE = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Version', '13'),
           ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')]
PROXY, STRANGER = '127.0.0.1', '127.0.0.9'


def addresses(d):
    """Of the WebSocket connections of the one worker."""
    return sorted(c['address'].rsplit(':', 1)[0] for c in d.get_json('/debug/connections?limit=1000')['connections']
                  if c['protocol'] == 'plain')


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


class Settings(DaemonTest):
    def test_malformed(self):
        status, _, err = run_roostd('--set', 'trusted_proxies=10.0.0.1/8', '--check')
        self.assertNotEqual(status, 0)
        self.assertIn('trusted_proxies: "10.0.0.1/8": the address has bits behind the first 8', err)

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
