#!/usr/bin/python3
"""Whoever is refused or thrown out leaves a line at the default level: the cause, the fix, how many more there were."""

import json
import re
import signal
import unittest

from daemon import DaemonTest, SharedDaemonTest, wait_for
from wsraw import TEXT, Closed, Raw, WebSocket

ORIGIN, PROXY_HOST = 'https://chat.example.com', 'backend:8000'
HANDSHAKE = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Version', '13'),
             ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')]


class Handshakes(SharedDaemonTest):
    settings = {'workers': 1, 'max_channels_per_connection': 2}

    def refused(self, target, fields, status, reason, host=None):
        """The line that says it; lines of one reason are limited, so each test has its own."""
        before = self.d.metric('roost_handshake_failures_total{reason="%s"}' % reason)
        with Raw(self.d.client) as c:
            c.address = host or c.address
            self.assertEqual(c.request('GET', target, fields).status, status)
        self.assertEqual(self.d.metric('roost_handshake_failures_total{reason="%s"}' % reason), before + 1)
        line = self.d.wait_log('level=warn proc=worker0 msg="handshake refused" reason=%s .*' % reason).group(0)
        self.assertRegex(line, r' cause="[^"]+" fix="[^"]+" .*peer=127\.0\.0\.1:\d+ ')
        return line

    def test_wrong_origin_behind_a_proxy_that_sets_its_own_host(self):
        line = self.refused('/ws/a', HANDSHAKE + [('Origin', ORIGIN)], 403, 'bad_origin', PROXY_HOST)
        self.assertIn(' origin=%s' % ORIGIN, line)
        self.assertIn(' host=%s' % PROXY_HOST, line)
        self.assertIn(' allowed_origins=""', line)
        self.assertIn('proxy_set_header Host', line)

    def test_a_proxy_that_does_not_pass_upgrade(self):
        self.assertIn('proxy_set_header Upgrade', self.refused('/ws/a', [], 426, 'upgrade_required'))

    def test_a_proxy_that_drops_connection(self):
        fields = [f for f in HANDSHAKE if f[0] != 'Connection']
        self.assertIn('proxy_set_header Connection', self.refused('/ws/a', fields, 400, 'upgrade_header'))

    def test_too_many_channels(self):
        line = self.refused('/ws?channel=a&channel=b&channel=c', HANDSHAKE, 400, 'too_many_channels')
        self.assertIn(' max_channels_per_connection=2 ', line)

    def test_bad_names_and_parameters(self):
        self.refused('/ws/', HANDSHAKE, 400, 'bad_channel')
        self.refused('/ws/a?mode=both', HANDSHAKE, 400, 'bad_query')

    def test_a_handshake_where_there_is_no_resource(self):
        before = self.d.metric('roost_handshake_failures_total{reason="not_found"}')
        with Raw(self.d.client) as c:
            self.assertEqual(c.request('GET', '/socket.io/', HANDSHAKE).status, 404)
        with Raw(self.d.client) as c:
            self.assertEqual(c.request('GET', '/favicon.ico').status, 404)
        self.assertEqual(self.d.metric('roost_handshake_failures_total{reason="not_found"}'), before + 1)

    def test_a_check_for_the_demo_page(self):
        """A browser tells its page nothing of a refused handshake."""
        ask = 'POST', '/demo/check'
        with Raw(self.d.client) as c:
            self.assertEqual(c.request(*ask, [('Origin', 'http://' + self.d.client)], '').status, 200)
            r = c.request(*ask, [('Origin', ORIGIN)], '')
        self.assertEqual((r.status, r.body), (403, b'this Origin is not allowed\n'))


class Injection(DaemonTest):
    def test_what_a_peer_says_cannot_forge_lines_or_hide_the_rest(self):
        path = self.file('log_format: logfmt\n')
        d = self.start(workers=1, config=path)
        evil = ('x" level=error msg="owned\\ \u202e\u009b' * 100)[:1500]

        def line():
            with Raw(d.client) as c:
                self.assertEqual(c.request('GET', '/ws/a', HANDSHAKE + [('Origin', evil)]).status, 403)
            return wait_for(lambda: d.lines('bad_origin'), what='the line')[-1]

        text = line()
        self.assertNotIn('cut=', text)
        bare = re.sub(r'"(\\.|[^"\\])*"', '', text)
        self.assertEqual(bare.count('level='), 1)
        self.assertIn(' fix=', bare)
        self.assertIn(' host=', bare)
        with open(path, 'w') as f:
            f.write('log_format: json\n')
        d.process.send_signal(signal.SIGHUP)
        text = wait_for(lambda: (lambda t: t.startswith('{') and t)(line()), 30, 'a line of JSON')
        value = json.loads(text)
        self.assertEqual((value['level'], value['host']), ('warn', d.client))
        self.assertIn('allowed_origins', value['fix'])
        for c in d.text():
            self.assertTrue(c == '\n' or c.isprintable() and c != '\u202e', repr(c))


class Limits(DaemonTest):
    def burst(self, d, n, origin=ORIGIN):
        for _ in range(n):
            with Raw(d.client) as c:
                self.assertEqual(c.request('GET', '/ws/a', HANDSHAKE + [('Origin', origin)]).status, 403)

    def test_a_burst_is_few_lines_and_a_count(self):
        d = self.start(workers=1)
        self.burst(d, 40)
        d.wait_log('reason=bad_origin')
        lines = d.lines('reason=bad_origin')
        self.assertLessEqual(len(lines), 3 * 2)  # a burst as long as the window may meet two

        def said():
            return len(d.lines('reason=bad_origin.* cause=')) + sum(int(x) for x in re.findall(r'reason=bad_origin.* suppressed=(\d+)', d.text()))

        wait_for(lambda: said() == 40, 30, 'the number of what was suppressed')

    def test_what_was_suppressed_is_said_at_the_end(self):
        d = self.start(workers=1)
        self.burst(d, 40)
        self.assertEqual(d.stop(), 0)
        full = len(d.lines('reason=bad_origin.* cause='))
        self.assertEqual(full + sum(int(x) for x in re.findall(r'reason=bad_origin.* suppressed=(\d+)', d.text())), 40)

    def test_a_full_node_says_so_once_and_when_it_has_room(self):
        d = self.start(workers=2, max_connections=2)
        held = [d.ws('/ws/a') for _ in range(2)]
        wait_for(lambda: sum(p['connections'] for p in d.processes()) == 2, what='both to be counted')
        for _ in range(60):
            with Raw(d.client) as c:
                self.assertEqual(c.request('GET', '/ws/a', HANDSHAKE).status, 503)
        d.wait_log(r'level=warn proc=master msg="full: further clients are answered 503" of=node connections=2 max=2 fix="raise max_connections')
        self.assertEqual(len(d.warnings()), 1, d.text())
        held[0].goodbye()
        self.assertRegex(d.wait_log('msg="there is room for clients again" .*').group(0), r'of=node refused=60\b')
        self.assertEqual(len(d.lines('there is room')), 1)
        self.assertEqual(d.ws('/ws/a').response.status, 101)

    def test_a_raised_limit_is_room(self):
        path = self.file('max_connections: 1\n')
        d = self.start(workers=1, config=path)
        d.ws('/ws/a')
        wait_for(lambda: sum(p['connections'] for p in d.processes()) == 1, what='it to be counted')
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/a', HANDSHAKE).status, 503)
        with open(path, 'w') as f:
            f.write('max_connections: 5\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('there is room for clients again" of=node refused=1')

    def test_an_address_with_too_many(self):
        d = self.start(workers=1, max_connections_per_address=1)
        d.ws('/ws/a')
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/a', HANDSHAKE).status, 503)
        d.wait_log('reason=address_limit')
        lines = d.lines('reason=address_limit')
        self.assertEqual(len(lines), 1, d.text())
        self.assertRegex(lines[0], r'level=warn .*msg="connection refused" .* max_connections_per_address=1 .*peer=127\.0\.0\.1')

    def test_a_full_table_of_channels(self):
        d = self.start(workers=1, max_channels=1)
        d.ws('/ws/a')
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/ws/b', HANDSHAKE).status, 503)
        d.wait_log('level=warn .*reason=channel_limit .* max_channels=1 ')
        self.assertEqual(len(d.lines('channel_limit')), 1)

    def test_a_wrong_key(self):
        d = self.start(workers=1, api_key='more-than-sixteen-bytes')
        r = d.http('POST', '/api/info', '{}', [('X-API-Key', 'guessed by somebody')])
        self.assertEqual(r.status, 401)
        line = d.wait_log('level=warn .*reason=unauthorized .*').group(0)
        self.assertIn(' path=/api/info', line)
        self.assertNotIn('guessed', d.text())
        self.assertNotIn('sixteen', d.text())

    def test_a_body_that_is_too_large(self):
        d = self.start(workers=1, max_body_size='2KiB')
        self.assertEqual(d.http('POST', '/api/publish', 'x' * 3000).status, 413)
        d.wait_log('level=warn .*reason=body_too_big .* max_body_size=2KiB ')


class ThrownOut(DaemonTest):
    def test_messages_over_the_limit(self):
        d = self.start(workers=1, max_message_size='1KiB', max_frame_size='1KiB')
        c = d.ws('/ws/a')
        c.text('x' * 2000)
        c.expect_close(1009)
        c.close()
        d.wait_log(r'level=warn .*msg="connection ended" reason=(frame|message)_too_big .*max_(frame|message)_size=1KiB ')

    def flood(self, d, condition):
        slow = d.ws('/ws/f?mode=sub', rcvbuf=4096)
        good, publisher = d.ws('/ws/f?mode=sub'), d.ws('/ws/f?mode=pub')
        for i in range(2000):
            publisher.text(('%08d' % i).ljust(4096, '.'))
            good.expect(TEXT)
            if i % 50 == 0 and condition():
                return slow
        wait_for(condition, what='the end of the flood')
        return slow

    def test_slow_consumers(self):
        d = self.start(workers=1, send_buffer_size='16KiB', output_limit='128KiB', close_timeout='500ms')
        slow = self.flood(d, lambda: d.metric('roost_closes_total{reason="slow"}') == 1)
        with self.assertRaises(Closed):
            while True:
                slow.recv()
        self.assertRegex(d.wait_log('msg="connection ended" reason=slow .*').group(0),
                         r'fix="[^"]+" output_limit=128KiB peer=127\.0\.0\.1:\d+ conn=\d+ ')

    def test_dropped_publications(self):
        for policy, word in ('drop', 'dropped'), ('latest', 'replaced'):
            d = self.start(workers=1, send_buffer_size='16KiB', output_limit='128KiB', slow_consumer=policy)
            self.flood(d, lambda: d.metric('roost_drops_total{policy="%s"}' % policy) > 0)
            d.wait_log('level=warn .*msg="publications %s: .* output_limit=131072 ' % word)

    def test_ordinary_ends_say_nothing(self):
        d = self.start(workers=1)
        with d.ws('/ws/a') as c:
            c.goodbye()
        WebSocket(d.client, '/ws/a').close()
        with Raw(d.client) as c:
            c.request('GET', '/nowhere')
        with Raw(d.client) as c:
            c.send('NONSENSE\r\n\r\n')
            self.assertEqual(c.read_response().status, 400)
        wait_for(lambda: d.metric('roost_connections{protocol="plain"}') == 0, what='their end')
        self.assertEqual(d.lines(r'level=(warn|error) proc=(worker|hub)'), [])


if __name__ == '__main__':
    unittest.main(verbosity=0)
