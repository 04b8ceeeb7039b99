#!/usr/bin/python3
"""Settings: where they come from, how they are refused, how they are shown."""

import json
import os
import re
import subprocess
import tempfile
import time
import unittest

from daemon import ROOSTD, DaemonTest, run_roostd, wait_for

ADMIN_OFF = ('--set', 'admin_listen=off')


class Refused(DaemonTest):
    def refused(self, *args, env=None):
        status, out, err = run_roostd('--check', *args, env=env)
        self.assertEqual((status, out), (2, ''), err)
        return err

    def from_file(self, text, *more):
        path = self.file(text)
        return self.refused('--config', path, *more).replace(path, 'FILE')

    def test_unknown_key(self):
        err = self.from_file('# a comment\nlisten: 127.0.0.1:0\nmax_conections: 5\n')
        self.assertIn('FILE:3:1: unknown key "max_conections"; did you mean "max_connections"?', err)

    def test_wrong_type(self):
        self.assertRegex(self.from_file('ping_interval: fast\n'), r'^FILE:1:16: ping_interval: .*duration.*10s.*"fast"')
        self.assertRegex(self.from_file('\n\n  workers: two\n'), r'^FILE:3:12: workers: .*"two"')
        self.assertRegex(self.from_file('demo_page: perhaps\n'), r'^FILE:1:12: demo_page: .*true')
        self.assertRegex(self.from_file('max_message_size: 1 banana\n'), r'^FILE:1:19: max_message_size')
        self.assertRegex(self.from_file('slow_consumer: shout\n'), r'^FILE:1:16: slow_consumer: .*disconnect.*drop.*latest')
        self.assertRegex(self.from_file('max_connections: [1]\n'), r'^FILE:1:18: ')
        self.assertRegex(self.from_file('max_connections: {a: 1}\n'), r'^FILE:1:18: ')

    def test_out_of_range(self):
        for text in ('workers: 129', 'workers: 0', 'workers: -1', 'max_connections: 0', 'drain_time: 2h', 'max_message_size: 17MiB',
                     'max_message_size: 99999999999999999999', 'listen_backlog: 70000', 'read_budget: 1', 'ring_size: 1KiB'):
            self.assertRegex(self.from_file(text + '\n'), r'^FILE:1:\d+: ' + text.split(':')[0], text)

    def test_addresses(self):
        for value in ('nonsense', '1.2.3.4', '1.2.3.4:', '1.2.3.4:70000', '1.2.3.4:x', '[::1]', 'a b:1', '[::1:80'):
            err = self.refused('--set', 'listen=' + value, *ADMIN_OFF)
            self.assertIn('listen', err, value)

    def test_all_errors_at_once(self):
        err = self.from_file('workers: x\nnope: 1\ndemo_page: 2\n')
        self.assertEqual(len(err.strip().split('\n')), 3, err)

    def test_broken_yaml(self):
        for text in ('a: [1\n', 'a: "x\n', '- 1\n- 2\n', 'just text\n', 'a:\n\t- b\n', '%YAML 9\n', 'workers: 1\nworkers: 2\n', '\x00', 'workers: *x\n'):
            self.assertRegex(self.from_file(text), r'^FILE:\d+:\d+: .+', text)

    def test_missing_file(self):
        err = self.refused('--config', '/nonexistent.yaml')
        self.assertIn('/nonexistent.yaml', err)

    def test_environment(self):
        self.assertIn('environment ROOST_WORKERS: ', self.refused(env={'ROOST_WORKERS': '0'}))
        self.assertIn('did you mean "workers"', self.refused(env={'ROOST_WORKER': '1'}))

    def test_sets(self):
        self.assertIn('did you mean "workers"', self.refused('--set', 'worker=1'))
        self.refused('--set', 'workers')
        self.refused('--set', '=1')

    def test_admin_off_loopback_needs_a_key(self):
        for value in ('0.0.0.0:8001', '10.0.0.1:8001', '[::]:8001'):
            err = self.refused('--set', 'admin_listen=' + value)
            self.assertIn('api_key', err)
            self.assertIn('ROOST_API_KEY', err)
            status, _, err = run_roostd('--set', 'listen=127.0.0.1:0', '--set', 'admin_listen=' + value)
            self.assertEqual(status, 2, err)  # it does not start, either
        for args in (('--set', 'admin_listen=0.0.0.0:8001', '--set', 'api_key=k'), ('--set', 'admin_listen=127.0.0.9:1'),
                     ('--set', 'admin_listen=[::1]:8001'), ADMIN_OFF):
            self.assertEqual(run_roostd('--check', *args)[0], 0, args)

    def test_what_no_machine_can_do(self):
        for args, why in ((['listen=127.0.0.1:8001'], 'admin_listen: .*port of listen'), (['listen=:8001'], 'admin_listen: .*port of listen'),
                          (['pid_file=/nonexistent/pid'], 'pid_file: the folder /nonexistent/ does not exist'),
                          (['log_file=/nonexistent/log'], 'log_file: the folder'), (['log_file=/tmp'], 'log_file: /tmp is a folder'),
                          (['subprotocols=a b'], 'token'), (['allowed_origins=https://a.example/path'], 'without a path'),
                          (['allowed_origins=example.com'], 'https://example.com')):
            self.assertRegex(self.refused(*sum((['--set', a] for a in args), [])), why)

    def test_secrets_are_in_no_message(self):
        for secret in ('hunter2\n\n', 'hunter2 x', 'hunter2' * 50, 'hunter2\u00e4'):
            self.assertNotIn('hunter', self.refused(env={'ROOST_API_KEY': secret}))
            self.assertNotIn('hunter', self.refused('--set', 'api_key=' + secret))
            self.assertNotIn('hunter', self.from_file('api_key: %s\n' % json.dumps(secret)))
        for arg in ('api_key:hunter2', 'api_key hunter2', 'api_key hunter2=1'):
            self.assertNotIn('hunter', self.refused('--set', arg))
        for text in ('api_key=hunter2: 1\n', 'api_key: [hunter2]\n', 'api_key: hunter2: x\n', '"api_key hunter2"\n', 'api_key: {hunter2: 1}\n'):
            self.assertNotIn('hunter', self.from_file(text))

    def test_key_files(self):
        key = self.file('hunter2\n')
        self.assertEqual(run_roostd('--check', env={'ROOST_API_KEY_FILE': key})[0], 0)
        self.assertIn('api_key is set as well', self.refused('--set', 'api_key=k', env={'ROOST_API_KEY_FILE': key}))
        self.assertIn('empty', self.refused('--set', 'api_key_file=' + self.file('')))
        self.assertIn('No such file', self.refused('--set', 'api_key_file=/nonexistent'))
        self.assertNotIn('hunter', self.refused('--set', 'api_key_file=' + self.file('hunter2 \n')))

    def test_a_printed_secret_is_not_taken_for_one(self):
        text = run_roostd('--print-config', env={'ROOST_API_KEY': 'hunter2'})[1]
        self.assertNotIn('hunter', text)
        self.assertIn("\napi_key: '(hidden)'\n", text)
        self.assertIn('write the secret', self.from_file(text))

    def test_usage(self):
        for args in (('--nonsense',), ('extra',), ('--config',)):
            status, _, err = run_roostd(*args)
            self.assertEqual(status, 2)
            self.assertIn('--help', err)


class Shown(DaemonTest):
    def settings(self, *args, env=None):
        status, out, err = run_roostd('--print-config', *args, env=env)
        self.assertEqual((status, err), (0, ''))
        return out

    def values(self, text):
        return dict(re.findall(r'^(\w+):(?: (.*))?$', text, re.M))

    def test_round_trip_of_the_defaults(self):
        text = self.settings()
        self.assertEqual(self.settings('--config', self.file(text)), text)
        self.assertEqual(run_roostd('--check', '--config', self.file(text))[0], 0)

    def test_round_trip_of_other_values(self):
        sets = []
        for s in ('listen=[::1]:9000', 'workers=7', 'max_message_size=2097152', 'ping_interval=1500ms', 'demo_page=false',
                  'node_name=ä: "ö#\'', 'slow_consumer=latest', 'log_format=json', 'drain_time=0s',
                  'subprotocols=a,b', 'max_connections_per_address=5'):
            sets += ['--set', s]
        text = self.settings(*sets)
        again = self.settings('--config', self.file(text))
        self.assertEqual(again, text)
        v = self.values(text)
        self.assertEqual((v['workers'], v['ping_interval'], v['max_message_size'], v['slow_consumer']), ('7', '1500ms', '2MiB', 'latest'))

    def test_it_is_annotated_and_complete(self):
        text, (status, reference, _) = self.settings(), run_roostd('--reference')
        self.assertEqual(status, 0)
        names = set(self.values(text))
        self.assertGreater(len(names), 35)
        for name in names:
            self.assertIn('\n## %s\n' % name, reference)
        self.assertGreater(len(re.findall(r'^# ', text, re.M)), len(names))

    def test_precedence(self):
        path = self.file('workers: 3\nmax_connections: 33\nlisten_backlog: 333\n')
        v = self.values(self.settings('--config', path, '--set', 'workers=5', '--set', 'workers=6',
                                      env={'ROOST_WORKERS': '4', 'ROOST_MAX_CONNECTIONS': '44'}))
        self.assertEqual((v['workers'], v['max_connections'], v['listen_backlog']), ('6', '44', '333'))

    def test_config_from_the_environment(self):
        path = self.file('workers: 3\n')
        self.assertEqual(self.values(self.settings(env={'ROOST_CONFIG': path}))['workers'], '3')

    def test_units(self):
        for given, shown in (('1s', '1s'), ('1000ms', '1s'), ('90s', '90s'), ('60s', '1m'), ('3600s', '1h'), ('250ms', '250ms')):
            self.assertEqual(self.values(self.settings('--set', 'header_timeout=' + given))['header_timeout'], shown)
        for given, shown in (('1048576', '1MiB'), ('1024KiB', '1MiB'), ('1000', '1000')):
            self.assertEqual(self.values(self.settings('--set', 'max_frame_size=' + given))['max_frame_size'], shown)

    def test_lists(self):
        path = self.file('allowed_origins:\n  - https://a.example\n  - "https://*.b.example"\nsubprotocols: [x, y]\n')
        text = self.settings('--config', path)
        self.assertEqual(self.settings('--config', self.file(text)), text)
        self.assertIn('https://*.b.example', text)

    def test_spellings(self):
        for given, name, shown in (('0.5s', 'header_timeout', '500ms'), ('1m30s', 'header_timeout', '90s'), ('1MB', 'max_message_size', '1000000'),
                                   ('yes', 'demo_page', 'true'), ('off', 'demo_page', 'false'), ('warning', 'log_level', 'warn'),
                                   ('["a", "b"]', 'subprotocols', "['a', 'b']"), ('a, b', 'subprotocols', "['a', 'b']"),
                                   ('["HTTPS://A.example:443/"]', 'allowed_origins', "['https://a.example']")):
            self.assertEqual(self.values(self.settings('--set', '%s=%s' % (name, given)))[name], shown)
            self.assertEqual(self.values(self.settings(env={'ROOST_' + name.upper(): given}))[name], shown)

    def test_null_is_not_set(self):
        for text in ('null', '~', '', 'Null'):
            path = self.file('api_key: %s\nworkers: %s\nallowed_origins: %s\n' % (text, text, text))
            self.assertEqual(self.settings('--config', path), self.settings())
            self.assertEqual(self.settings(env={'ROOST_API_KEY': text, 'ROOST_WORKERS': text}), self.settings())

    def test_kubernetes_variables_are_ignored(self):
        env = {'ROOST_PORT': 'tcp://10.0.0.1:80', 'ROOST_SERVICE_HOST': '10.0.0.1', 'ROOST_SERVICE_PORT_HTTP': '80',
               'ROOST_PORT_80_TCP_ADDR': '10.0.0.1', 'ROOST_REDIS_PORT_6379_TCP': 'tcp://10.0.0.2:6379'}
        self.assertEqual(self.settings(env=env), self.settings())
        for name in ('ROOST_PORT', 'ROOST_SERVICE', 'ROOST_PORT_80'):
            self.assertEqual(run_roostd('--check', env={name: '8000'})[0], 2)

    def test_a_pipe_at_the_start(self):
        def read(text):
            r, w = os.pipe()
            os.write(w, text)
            os.close(w)
            try:
                p = subprocess.run([ROOSTD, '--print-config', '--config', '/dev/fd/%d' % r], capture_output=True, text=True, pass_fds=[r])
            finally:
                os.close(r)
            return p
        self.assertEqual(self.values(read(b'workers: 3\n').stdout)['workers'], '3')
        self.assertIn('without a setting', read(b'').stderr)

    def test_limits_follow_each_other(self):
        v = self.values(self.settings('--set', 'max_message_size=4MiB'))
        self.assertEqual(v['max_frame_size'], 'auto # 4194304')
        self.assertGreater(int(v['max_body_size'].split('# ')[1]), 4194304 * 4 // 3)
        for name in ('max_frame_size', 'max_body_size'):
            status, out, err = run_roostd('--check', '--set', 'max_message_size=4MiB', '--set', name + '=1MiB')
            self.assertEqual((status, out), (0, 'settings are good\n'))
            self.assertIn('warning: %s: ' % name, err)

    def test_empty_files(self):
        for text in ('', '# only a comment\n', '---\n', '{}\n'):
            self.assertEqual(self.settings('--config', self.file(text)), self.settings())

    def test_version_and_help(self):
        status, out, _ = run_roostd('--version')
        self.assertEqual(status, 0)
        self.assertRegex(out, r'^roostd \d+\.\d+\.\d+ \(\w+\)\n')
        self.assertIn('libev', out)
        status, out, _ = run_roostd('--help')
        self.assertEqual(status, 0)
        for option in ('--config', '--set', '--check', '--print-config', '--version', 'HUP', 'USR1'):
            self.assertIn(option, out)

    def test_key_is_not_shown_by_the_running_daemon(self):
        d = self.start(api_key='very-secret')
        r = d.http('GET', '/debug/config', fields=[('X-API-Key', 'very-secret')])
        self.assertEqual(r.status, 200)
        self.assertNotIn(b'very-secret', r.body)
        self.assertNotIn('very-secret', d.text())


class Logs(DaemonTest):
    ATTACK = 'GET /\x1b]0;x\x07 HTTP/1.1\r\n\r\n'

    def provoke(self, d):
        from wsraw import Raw, WebSocket
        for data in (b'GET /\x1b[31m\x07%0a%0d%00 HTTP/1.1\r\nHost: x\r\n\r\n', b'\x00\x01\x02\xff\r\n\r\n',
                     b'GET /ws/%1b%0alevel=error HTTP/1.1\r\nHost: x\r\nX-API-Key: leaked-token\r\n\r\n'):
            with Raw(d.client) as c:
                c.send(data)
                try:
                    c.read_response()
                except Exception:
                    pass
        with d.ws('/ws/x?api_key=leaked-token') as c:
            c.text('secret payload')
            c.recv()
            c.send_frame(3, 'secret payload')
            c.expect_close(1002)
        with WebSocket(d.client, '/ws/x', [('Origin', 'http://\u001b[2Jevil\x07')]) as c:
            self.assertIn(c.response.status, (400, 403))
        d.kill('worker0')
        wait_for(lambda: d.lines('killed.*worker0|worker0.*killed'), what='its end in the log')
        d.stop()

    def check(self, text):
        for ch in text:
            self.assertTrue(ch == '\n' or (ch >= ' ' and not 0x7f <= ord(ch) < 0xa0), repr(ch))
        self.assertNotIn('secret payload', text)
        self.assertNotIn('leaked-token', text)

    def test_logfmt(self):
        d = self.start(log_level='debug')
        self.provoke(d)
        self.check(d.text())
        for line in d.text().strip().split('\n'):
            self.assertRegex(line, r'^ts=\S+Z level=(debug|info|warn|error) proc=\w+ (conn=\S+ )?msg=("([^"\\]|\\.)*"|\S+)( [\w.]+=("([^"\\]|\\.)*"|[^\s"]*))*$')

    def test_json(self):
        d = self.start(ready=False, log_level='debug', log_format='json')
        d.wait_log('"ready"')
        lines = [json.loads(x) for x in d.text().split('\n')]
        d.client, d.admin = [next(x['address'] for x in lines if x.get('for') == w) for w in ('clients', 'admin')]
        self.provoke(d)
        self.check(d.text())
        for line in d.text().strip().split('\n'):
            entry = json.loads(line)
            self.assertTrue({'ts', 'level', 'proc', 'msg'} <= set(entry), entry)

    def test_level(self):
        with tempfile.TemporaryDirectory(prefix='roost-test-') as folder:
            path = os.path.join(folder, 'admin')
            d = self.start(ready=False, log_level='error', workers=1, admin_listen='unix:' + path)
            d.admin = 'unix:' + path
            wait_for(lambda: os.path.exists(path) and d.http('GET', '/readyz').status == 200, what='readiness')
            self.assertEqual(d.stop(), 0)
            self.assertEqual(d.text(), '')

    def test_traffic_is_not_logged_and_refusals_are_limited(self):
        from wsraw import Raw
        d = self.start()
        before = len(d.text())
        with d.ws('/ws/x') as c:
            for _ in range(100):
                c.text('x')
                c.recv()
        self.assertLess(len(d.text()) - before, 1000)
        crowd = [self.enterContext(Raw(d.client)) for _ in range(300)]  # all at once: it is so many lines in a second
        started = time.monotonic()
        for c in crowd:
            c.send('nonsense\r\n\r\n')
        for c in crowd:
            c.read_response()
        self.assertLess(len(d.text()) - before, 20000 * (1 + time.monotonic() - started))


if __name__ == '__main__':
    unittest.main(verbosity=0)
