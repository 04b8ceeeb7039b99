#!/usr/bin/python3
"""Who may ask on the admin listener: web pages without a key, callers with one."""

import json
import signal
import unittest

from daemon import DaemonTest, SharedDaemonTest, wait_for
from wsraw import Raw, WebSocket

RESOURCES = [('POST', '/api/publish'), ('POST', '/api/broadcast'), ('POST', '/api/channels'), ('POST', '/api/info'),
             ('GET', '/metrics'), ('GET', '/healthz'), ('GET', '/readyz'), ('GET', '/debug'), ('GET', '/debug/processes'),
             ('GET', '/debug/connections'), ('GET', '/debug/closes'), ('GET', '/debug/channels'), ('GET', '/ws?channel=a'), ('GET', '/ws/a')]
REFUSED = RESOURCES + [('POST', '/debug/disconnect?id=0:1')]
HANDSHAKE = ('Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
             'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n')


class Pages(SharedDaemonTest):
    """Without a key: what a browser sends for a page that is not ours is refused, on every resource."""

    settings = {'admin_hosts': 'roost.internal'}

    def ask(self, method, path, host, fields='', body=True):
        """Status and text of the answer to a request whose body does not come unless body says so."""
        text = '{"channel":"a","channels":["a"],"data":1}' if method == 'POST' else ''
        with Raw(self.d.admin) as c:
            c.send('%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n%s' % (
                method, path, host, fields, HANDSHAKE if path.startswith('/ws') else '',
                'Content-Length: %d\r\n' % len(text) if text else '', text if body else ''))
            r = c.read_response()
            return r.status, r.body.decode()

    def test_rebinding(self):
        for method, path in REFUSED:
            for host in ('evil.example:8001', 'localhost.evil.example'):
                status, text = self.ask(method, path, host, body=False)
                self.assertEqual(status, 403, path)
                self.assertIn('admin_hosts', text)

    def test_pages_of_other_origins(self):
        for method, path in REFUSED:
            for fields in ('Origin: http://evil.example\r\n', 'Origin: null\r\n', 'Sec-Fetch-Site: cross-site\r\n',
                           'Sec-Fetch-Site: same-site\r\n'):
                status, text = self.ask(method, path, self.d.admin, fields + 'Content-Type: text/plain\r\n', body=False)
                self.assertEqual(status, 403, (path, fields))
                self.assertIn('origin', text)

    def test_nothing_is_published(self):
        c = self.d.ws('/ws/c')
        for fields in ([('Origin', 'http://evil.example')], [('Sec-Fetch-Site', 'cross-site')]):
            r = self.d.http('POST', '/api/publish', '{"channel":"c","data":1}', fields + [('Content-Type', 'text/plain')])
            self.assertEqual(r.status, 403)
        self.d.publish('c', 2)
        self.assertEqual(c.recv_data(), b'2')  # it is the first

    def test_who_is_served(self):
        for method, path in RESOURCES:
            for host in (self.d.admin, 'localhost:8001', 'LOCALHOST', '[::1]:8001', 'roost.internal'):
                status, text = self.ask(method, path, host, 'Sec-Fetch-Site: none\r\n')
                self.assertIn(status, (200, 101), (path, host, text))
        self.assertEqual(self.ask('GET', '/metrics', 'a:1', 'Origin: http://a:1\r\n')[0], 403)
        self.assertEqual(self.ask('GET', '/metrics', 'localhost:1', 'Origin: http://localhost:1\r\n')[0], 200)

    def test_a_line_says_why(self):
        self.ask('GET', '/metrics', 'seen.example')
        self.d.wait_log(r'level=warn .*reason=admin_host .*fix="[^"]*admin_hosts.* host=seen.example')

    def test_the_client_listener_serves_every_host(self):
        with Raw(self.d.client) as c:
            c.send('GET /healthz HTTP/1.1\r\nHost: chat.example\r\nSec-Fetch-Site: cross-site\r\n\r\n')
            self.assertEqual(c.read_response().status, 200)


class Settings(DaemonTest):
    def status(self, d, host, key=None):
        with Raw(d.admin) as c:
            c.send('GET /metrics HTTP/1.1\r\nHost: %s\r\n%s\r\n' % (host, 'X-API-Key: %s\r\n' % key if key else ''))
            return c.read_response().status

    def test_with_a_key_the_key_counts(self):
        d = self.start(api_key='a-key-of-some-length')
        self.assertEqual(self.status(d, 'evil.example'), 401)
        self.assertEqual(self.status(d, 'evil.example', 'a-key-of-some-length'), 200)

    def test_reload(self):
        path = self.file('admin_hosts: []\n')
        d = self.start(config=path)
        self.assertEqual(self.status(d, 'box'), 403)
        with open(path, 'w') as f:
            f.write('admin_hosts: ["b?x"]\n')
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.status(d, 'box') == 200, what='the new name')


class Keys(DaemonTest):
    def test_api_key(self):
        d = self.start(api_key='s3cret/key')
        body = json.dumps({'channel': 'c', 'data': 1})

        def status(target='/api/publish', fields=(), method='POST'):
            return d.http(method, target, body if method == 'POST' else None, fields).status

        self.assertEqual(status(), 401)
        self.assertEqual(status(fields=[('X-API-Key', 'wrong')]), 401)
        self.assertEqual(status(fields=[('X-API-Key', 's3cret/ke')]), 401)
        self.assertEqual(status(fields=[('X-API-Key', '')]), 401)
        self.assertEqual(status('/api/publish?api_key='), 401)
        self.assertEqual(status(fields=[('X-API-Key', 's3cret/key')]), 200)
        self.assertEqual(status(fields=[('Authorization', 'apikey s3cret/key')]), 200)
        self.assertEqual(status(fields=[('Authorization', 'Bearer s3cret/key')]), 401)
        self.assertEqual(status('/api/publish?api_key=s3cret%2Fkey'), 200)
        self.assertEqual(status('/metrics', method='GET'), 401)
        self.assertEqual(status('/debug/processes', method='GET'), 401)
        self.assertEqual(status('/healthz', method='GET'), 200)
        self.assertEqual(status('/readyz', method='GET'), 200)
        with WebSocket(d.client, '/ws/c') as c:  # clients need none
            self.assertEqual(c.response.status, 101)
        with WebSocket(d.admin, '/ws/c') as c:  # on the admin listener they do
            self.assertEqual(c.response.status, 401)
        with WebSocket(d.admin, '/ws/c', [('X-API-Key', 's3cret/key')]) as c:
            self.assertEqual(c.response.status, 101)
        self.assertNotIn('s3cret', d.text())

    def test_the_key_before_is_good_until_it_is_removed(self):
        path = self.file('api_key: the-new-key-of-callers\napi_key_old: the-old-key-of-callers\n')
        d = self.start(config=path)

        def status(key):
            return d.http('POST', '/api/info', '{}', [('X-API-Key', key)]).status

        self.assertEqual([status(k) for k in ('the-new-key-of-callers', 'the-old-key-of-callers', 'another', '')], [200, 200, 401, 401])
        with open(path, 'w') as f:
            f.write('api_key: the-new-key-of-callers\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('msg="reloaded" changed=api_key_old')
        d.everywhere(lambda: status('the-old-key-of-callers') == 401, what='the end of the old key')
        self.assertEqual(status('the-new-key-of-callers'), 200)
        self.assertNotIn('of-callers', d.text())

    def test_the_key_for_metrics_opens_nothing_else(self):
        path = self.file('the-key-of-the-scraper\n')
        d = self.start(api_key='the-key-of-publishers', metrics_key_file=path)

        def status(method, target, key, body=None, scheme='apikey'):
            return d.http(method, target, body, [('Authorization', scheme + ' ' + key)]).status

        for key in 'the-key-of-the-scraper', 'the-key-of-publishers':
            self.assertEqual(status('GET', '/metrics', key), 200)
            self.assertEqual(status('HEAD', '/metrics', key), 200)
            self.assertEqual(status('GET', '/metrics', key, scheme='Bearer'), 200)  # as Prometheus says it by default
        for scheme in 'apikey', 'Bearer':
            self.assertEqual(status('GET', '/metrics', 'the-key-of-nobody', scheme=scheme), 401)
        self.assertEqual(d.http('GET', '/metrics?api_key=the-key-of-the-scraper').status, 200)
        index = json.loads(d.http('GET', '/api/openapi.json', fields=[('X-API-Key', 'the-key-of-publishers')]).body)
        targets = [('POST', p) for p in index['paths']] + [('GET', '/debug'), ('GET', '/debug/config'), ('GET', '/debug/processes'),
                                                           ('GET', '/api/openapi.json'), ('GET', '/metrics/')]
        self.assertGreater(len(targets), 15)
        for method, target in targets:
            for scheme, key in (('apikey', 'the-key-of-the-scraper'), ('Bearer', 'the-key-of-the-scraper'), ('Bearer', 'the-key-of-publishers')):
                self.assertIn(status(method, target, key, '{}' if method == 'POST' else None, scheme), (401, 404), (scheme, target))
        self.assertEqual(status('POST', '/api/publish', 'the-key-of-the-scraper', '{"channel":"c","data":1}'), 401)
        with WebSocket(d.admin, '/ws/c', [('X-API-Key', 'the-key-of-the-scraper')]) as c:
            self.assertEqual(c.response.status, 401)
        with open(path, 'w') as f:
            f.write('the-next-key-of-scrapers')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('msg="reloaded"')
        d.everywhere(lambda: status('GET', '/metrics', 'the-key-of-the-scraper') == 401, what='the end of the key')
        self.assertEqual(status('GET', '/metrics', 'the-next-key-of-scrapers'), 200)
        self.assertNotIn('of-the-scraper', d.text())
        self.assertNotIn('of-scrapers', d.text() + d.http('GET', '/debug/config', fields=[('X-API-Key', 'the-key-of-publishers')]).body.decode())

    def test_guesses_are_counted_and_end_the_connection(self):
        d = self.start(api_key='a-key-of-some-length', workers=1)
        key = [('X-API-Key', 'a-key-of-some-length')]

        def count():
            text = d.http('GET', '/metrics', fields=key).body.decode()
            return int(float(text.split('\nroost_api_key_failures_total ')[1].split('\n')[0]))

        before = count()
        with Raw(d.admin) as c:
            c.send('GET /metrics HTTP/1.1\r\nHost: x\r\nX-API-Key: guess\r\n\r\n' * 1000)  # pipelined
            answers = [c.read_response() for _ in range(3)]
            self.assertEqual([(r.status, r.get('connection')) for r in answers], [(401, None), (401, None), (401, 'close')])
            c.expect_eof()
        self.assertEqual(count(), before + 3)
        with Raw(d.admin) as c:  # who has the key begins anew
            for _ in range(3):
                self.assertEqual(c.request('GET', '/metrics').status, 401)
                self.assertEqual(c.request('GET', '/metrics').status, 401)
                self.assertEqual(c.request('GET', '/metrics', key).status, 200)


class AdminPage(DaemonTest):
    """What a browser does with it: e2e/test_admin_page.py."""

    PARTS = {'/admin': 'text/html', '/admin/app.js': 'text/javascript', '/admin/style.css': 'text/css', '/admin/icon.svg': 'image/svg+xml'}

    def test_needs_no_key_and_allows_nothing_but_its_own(self):
        d = self.start(api_key='the-key-of-ops')
        for path, kind in self.PARTS.items():
            r = d.http('GET', path)
            self.assertEqual((r.status, r.get('content-type').split(';')[0]), (200, kind), path)
            self.assertEqual(r.get('cache-control'), 'no-store')
            policy = r.get('content-security-policy')
            self.assertIn("default-src 'none'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn('unsafe', policy)
            self.assertNotIn(b'the-key-of-ops', r.body)
            self.assertEqual(d.http('GET', path, where='client').status, 404, path)
        self.assertIn(b'data-key="needed"', d.http('GET', '/admin').body)
        for path, to in (('/', 'admin'), ('/admin/', '../admin')):
            r = d.http('GET', path)
            self.assertEqual((r.status, r.get('location')), (302, to))

    def test_off_by_a_setting(self):
        path = self.file('admin_page: true\n')
        d = self.start(config=path)
        self.assertIn(b'data-key="none"', d.http('GET', '/admin').body)
        with open(path, 'w') as f:
            f.write('admin_page: false\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('msg="reloaded"')
        for path in (*self.PARTS, '/', '/admin/'):
            wait_for(lambda path=path: d.http('GET', path).status == 404, what='the end of ' + path)


if __name__ == '__main__':
    unittest.main(verbosity=0)
