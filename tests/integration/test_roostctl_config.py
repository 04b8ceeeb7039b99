#!/usr/bin/python3
"""roostctl reload and config: what a daemon takes and why not, files, differences."""

import json
import os
import select
import signal
import socket
import subprocess
import threading
import unittest

from daemon import ROOSTCTL, SLOW, DaemonTest, run_roostctl, stand_still, wait_for
from wsraw import Raw

KEY = 'hunter2-hunter2-hunter2'


class Settings(DaemonTest):
    def setUp(self):
        self.path = self.file('')

    def write(self, text, path=None):
        with open((path or self.path) + '.new', 'w') as f:
            f.write(text)
        os.replace((path or self.path) + '.new', path or self.path)

    def ctl(self, d, *args, status=0):
        p = run_roostctl(d, '--key', KEY, *args) if d else subprocess.run(
            [ROOSTCTL, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20 * SLOW,
            env={k: v for k, v in os.environ.items() if not k.startswith('ROOST')})
        self.assertEqual(p.returncode, status, (p.stdout, p.stderr))
        return p

    def json(self, d, *args, **kw):
        return json.loads(self.ctl(d, *args, '-o', 'json', **kw).stdout)


class Reload(Settings):
    def test_it_says_what_it_has_taken(self):
        self.write('max_connections: 77\n')
        d = self.start(config=self.path)
        self.assertEqual(self.ctl(d, 'reload').stdout, 'reloaded, nothing has changed\n')
        self.write('max_connections: 78\ntrusted_proxies: [10.0.0.0/8]\n')
        self.assertEqual([line.split() for line in self.ctl(d, 'reload').stdout.splitlines()],
                         [['reloaded'], ['setting', 'before', 'now'], ['max_connections', '77', '78'], ['trusted_proxies', '-', '10.0.0.0/8']])
        wait_for(lambda: d.get_json('/debug/processes')['max_connections'] == 78, what='the workers to have taken it')
        self.write('max_connections: 79\n')
        report = self.json(d, 'reload')
        self.assertEqual((report['result'], report['changed']), ('applied', ['max_connections', 'trusted_proxies']))
        self.assertEqual(len(report['warnings']), 1)
        self.assertIn('trusted_proxies', report['warnings'][0])
        self.assertEqual(d.get_json('/debug/reload')['changed'], report['changed'])
        self.assertEqual(d.metric('roost_reloads_total{outcome="applied"}'), 2)

    def test_warnings_of_the_start_are_none_of_a_reload(self):
        self.write('token_hmac_secret_key: short\n')
        d = self.start(config=self.path)
        self.assertIn('settings that are hardly meant', d.text())
        self.assertEqual(self.json(d, 'reload')['warnings'], [])

    def test_it_says_why_not_with_the_line_and_the_fix(self):
        self.write('max_connections: 77\n')
        d = self.start(config=self.path)
        self.write('max_connections: 78\nmax_connectons: 3\n')
        p = self.ctl(d, 'reload', status=3)
        self.assertIn('%s:2:1: unknown key "max_connectons"; did you mean "max_connections"?' % self.path, p.stderr)
        self.assertIn('the old settings stay', p.stderr)
        self.assertEqual(p.stdout, '')
        self.write('max_connections: 78\nlisten_backlog: 9\nnode_name: x\n')
        p = self.ctl(d, 'reload', status=4)
        self.assertIn('needs a restart: listen_backlog\n', p.stderr)
        self.assertIn('needs a restart: node_name\n', p.stderr)
        self.assertEqual(self.json(d, 'reload', status=4)['restart'], ['listen_backlog', 'node_name'])
        self.assertEqual(d.get_json('/debug/processes')['max_connections'], 77)

    def test_it_wants_the_key(self):
        self.write('api_key: %s\n' % KEY)
        d = self.start(config=self.path)
        for path in ('/debug/reload', '/debug/config?format=json'):
            self.assertEqual(d.http('GET', path).status, 401)
            self.assertEqual(d.http('POST', path).status, 401 if 'reload' in path else 405)
            self.assertEqual(d.http('GET', path, where='client').status, 404)
        self.assertEqual(run_roostctl(d, 'reload').returncode, 1)
        self.ctl(d, 'reload')

    def test_a_master_that_does_not_move_for_long(self):
        """The daemon's word is waited for, and what was ordered comes though others look meanwhile."""
        self.write('max_connections: 77\n')
        d = self.start(config=self.path, workers=1)
        self.write('max_connections: 78\n')
        stand_still(d.process.pid)
        try:
            p = run_roostctl(d, 'reload', timeout=60)
            self.assertEqual(p.returncode, 1, p)
            self.assertIn('the reload may still come', p.stderr)
            r = d.http('POST', '/debug/reload?look=1')
            self.assertEqual((r.status, r.body), (503, b'{"error":"another reload is on its way"}\n'))
        finally:
            os.kill(d.process.pid, signal.SIGCONT)
        wait_for(lambda: 'msg="reloaded" changed=max_connections' in d.text(), what='the reload')

    def test_each_gets_the_report_on_its_own(self):
        self.write('max_connections: 77\n')
        d = self.start(config=self.path, workers=2)
        asked = [Raw(d.admin) for _ in range(16)]
        for c in asked:
            self.addCleanup(c.close)

        def send(c, query):
            c.send('POST /debug/reload%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n' % (query, d.admin))

        # Of a worker one waits, the others are refused: the two that are not are of different workers.
        stand_still(d.process.pid)
        try:
            waiting = set(asked)
            for c in asked:
                send(c, '?look=1')
            while len(waiting) > 2:
                ready = select.select([c.sock for c in waiting], [], [], 20 * SLOW)[0]
                for c in [c for c in waiting if c.sock in ready]:
                    self.assertEqual(c.read_response().status, 503)
                    waiting.remove(c)
        finally:
            os.kill(d.process.pid, signal.SIGCONT)
        for c in waiting:
            self.assertTrue(json.loads(c.read_response().body)['look'])
        looks, applies = waiting
        for i in range(3):
            self.write('max_connections: %d\n' % (78 + i))
            stand_still(d.process.pid)
            try:
                send(looks, '?look=1')
                send(applies, '')
                self.assertEqual(d.http('GET', '/debug/reload').status, 200)
            finally:
                os.kill(d.process.pid, signal.SIGCONT)
            self.assertTrue(json.loads(looks.read_response().body)['look'])
            report = json.loads(applies.read_response().body)
            self.assertEqual((report['look'], report['result']), (False, 'applied'))

    def test_no_answer_is_no_refusal(self):
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)

        def serve():
            with listener.accept()[0] as c:
                c.recv(4096)

        t = threading.Thread(target=serve)
        t.start()
        p = subprocess.run([ROOSTCTL, '--admin', 'http://127.0.0.1:%d' % listener.getsockname()[1], 'reload'], capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, timeout=20 * SLOW)
        t.join()
        self.assertEqual(p.returncode, 1)
        self.assertIn('may still come', p.stderr)

    def test_by_the_pid_file(self):
        self.write('max_connections: 77\nadmin_listen: off\npid_file: %s.pid\n' % self.path)
        d = self.start(config=self.path, admin_listen='off')
        self.write('max_connections: 78\nadmin_listen: off\npid_file: %s.pid\n' % self.path)
        p = self.ctl(None, 'reload', '--pid-file', self.path + '.pid')
        self.assertIn('SIGHUP sent to process %d; its log says' % d.process.pid, p.stdout)
        wait_for(lambda: 'msg="reloaded" changed=max_connections' in d.text(), what='the reload')
        self.assertEqual(self.json(None, 'reload', '--pid-file', self.path + '.pid'), {'result': 'signalled', 'pid': d.process.pid})
        for text, why in (('', 'holds no'), ('1\n', 'holds no'), ('-5\n', 'holds no'), ('x', 'holds no'), ('9' * 70, 'larger')):
            self.assertIn(why, self.ctl(None, 'reload', '--pid-file', self.file(text), status=1).stderr)
        self.assertIn('No such file', self.ctl(None, 'reload', '--pid-file', '/nonexistent/pid', status=1).stderr)

    def test_a_daemon_that_knows_no_reload(self):
        """The client listener, for instance."""
        d = self.start()
        p = subprocess.run([ROOSTCTL, '--admin', 'http://' + d.client, 'reload'], capture_output=True, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertIn('is not the admin listener', p.stderr)


class Diff(Settings):
    def test_what_a_reload_would_do(self):
        self.write('max_connections: 77\napi_key: %s\n' % KEY)
        d = self.start(config=self.path, log_level='info')
        p = self.ctl(d, 'config', 'diff')
        self.assertTrue(p.stdout.startswith('no setting differs\n'), p.stdout)
        self.assertRegex(p.stdout, r'(?m)^max_connections +77 +30000$')
        self.write('max_connections: 78\napi_key: %s3\n' % KEY)
        p = self.ctl(d, 'config', 'diff', status=3)
        self.assertRegex(p.stdout, r'(?m)^a reload applies:\n.*\nmax_connections +77 +78\napi_key +\(set\) +\(changed\)$')
        self.write('max_connections: 78\napi_key: %s3\nnode_name: x\n' % KEY)
        p = self.ctl(d, 'config', 'diff', status=4)
        self.assertRegex(p.stdout, r'(?m)^needs a restart:\n.*\nnode_name +- +x$')
        diff = self.json(d, 'config', 'diff', status=4)
        self.assertEqual([(c['name'], c['applies']) for c in diff['changes']],
                         [('max_connections', 'reload'), ('node_name', 'restart'), ('api_key', 'reload')])
        self.assertIn('max_connections', [s['name'] for s in diff['defaults']])
        self.assertNotIn('hunter', json.dumps(diff))
        self.write('max_connections: many\n')
        p = self.ctl(d, 'config', 'diff', status=5)
        self.assertIn('%s:1:' % self.path, p.stderr)
        # Nothing of it has been done, logged or counted.
        metrics = d.http('GET', '/metrics', fields=[('X-API-Key', KEY)]).body.decode()
        self.assertIn('roost_reloads_total{outcome="refused"} 0\n', metrics)
        self.assertNotIn('reload', d.text())

    def test_a_file_instead_of_the_daemons(self):
        d = self.start(max_connections=77, api_key=KEY)
        self.write('max_connections: 78\nworkers: 2\napi_key: another-key-of-24-bytes\nlisten: %s\nadmin_listen: %s\n' % (d.client, d.admin))
        diff = self.json(d, 'config', 'diff', self.path, status=4)
        changes = {c['name']: (c['before'], c['after'], c['applies']) for c in diff['changes']}
        self.assertEqual(changes['max_connections'], ('77', '78', 'reload'))
        self.assertNotIn('workers', changes)
        self.assertEqual(diff['not_compared'], 'api_key')
        self.assertIn('not compared: api_key', self.ctl(d, 'config', 'diff', self.path, status=4).stderr)

    def test_more_than_a_report_has_room_for(self):
        """Then it has names alone, and is not taken for one that says that nothing differs."""
        def settings(connections, letter):
            self.write('max_connections: %d\nnamespaces:\n' % connections +
                       ''.join('  - {name: n%d, channel_regex: "%s"}\n' % (i, letter * 250) for i in range(128)))
        settings(76, 'x')
        d = self.start(config=self.path)
        settings(77, 'y')
        p = self.ctl(d, 'config', 'diff', status=3)
        self.assertRegex(p.stdout, r'(?m)^max_connections +- +-$')
        self.assertIn('no room for everything', p.stderr)
        self.assertEqual(self.ctl(d, 'reload').stdout.split(), ['reloaded', 'setting', 'max_connections', 'namespaces'])

    def test_keys_in_the_settings_are_not_compared(self):
        def public():
            private = subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519'], capture_output=True, check=True).stdout
            return subprocess.run(['openssl', 'pkey', '-pubout'], input=private, capture_output=True, check=True).stdout.decode()
        first, other = public(), public()
        d = self.start(token_eddsa_public_key=first)
        self.write('listen: %s\nadmin_listen: %s\ntoken_eddsa_public_key: "%s"\n' % (d.client, d.admin, other.replace('\n', '\\n')))
        diff = json.loads(run_roostctl(d, 'config', 'diff', self.path, '-o', 'json').stdout)
        self.assertNotIn('token_eddsa_public_key', [c['name'] for c in diff['changes']])
        self.assertEqual(diff['not_compared'], 'token_eddsa_public_key')
        self.assertIn('not compared: token_eddsa_public_key', run_roostctl(d, 'config', 'diff', self.path).stderr)

    def test_two_files(self):
        secret = self.file('first-secret-first-secret-first-secret')
        other = self.file('max_connections: 5\ntoken_hmac_secret_key_file: %s\nnode_name: b\n' % secret)
        self.write('max_connections: 4\ntoken_hmac_secret_key: first-secret-first-secret-first-secre\nnode_name: b\n')
        p = self.ctl(None, 'config', 'diff', self.path, other, status=3)
        self.assertRegex(p.stdout, r'(?m)^max_connections +4 +5$')
        self.assertRegex(p.stdout, r'(?m)^token_hmac_secret_key +\(set\) +-$')
        self.assertNotIn('first-secret', p.stdout + p.stderr)
        self.ctl(None, 'config', 'diff', other, other)
        p = self.ctl(None, 'config', 'diff', other, '/nonexistent', status=1)
        self.assertIn('/nonexistent', p.stderr)


class Check(Settings):
    def check(self, text, status, *args):
        self.write(text)
        p = self.ctl(None, 'config', 'check', self.path, *args, status=status)
        result = self.json(None, 'config', 'check', self.path, *args, status=status)
        self.assertEqual(result['result'], {0: 'good', 3: 'wrong', 4: 'unusable', 5: 'doubtful'}[status])
        for line in result['errors']:
            self.assertIn(line, p.stderr)
        return p

    def test_kinds(self):
        self.assertEqual(self.check('max_connections: 4\n', 0).stdout, 'settings are good\n')
        self.assertIn(':2:1: ', self.check('max_connections: 4\nnonsense: 1\n', 3).stderr)
        self.assertIn(':1:', self.check('max_connections: [\n', 3).stderr)
        self.assertIn('metrics_key', self.check('metrics_key: a-key-of-16-bytes\n', 4).stderr)
        self.assertIn('/nonexistent', self.check('api_key_file: /nonexistent\n', 4).stderr)
        self.assertIn('/nonexistent', self.check('tls_certificate: /nonexistent\ntls_key: /nonexistent\n', 4).stderr)
        self.ctl(None, 'config', 'check', '/nonexistent', status=1)
        self.assertEqual(self.json(None, 'config', 'check', '/nonexistent', status=1)['result'], 'unreadable')
        short = 'token_hmac_secret_key: short\n'
        self.assertIn('warning: ', self.check(short, 0).stderr)
        self.assertIn('warning: ', self.check(short, 5, '--strict').stderr)

    def test_usage(self):
        for args in (('check',), ('check', 'a', 'b'), ('show',), ()):
            self.ctl(None, 'config', *args, status=2)


if __name__ == '__main__':
    unittest.main()
