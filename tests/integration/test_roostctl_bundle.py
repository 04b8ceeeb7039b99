#!/usr/bin/python3
"""roostctl bundle: what is in it, that no secret is, what it says of what it lacks."""

import json
import os
import subprocess
import tarfile
import tempfile
import unittest

from daemon import ROOSTCTL, SLOW, DaemonTest
from stand_in import StandIn

# Of every kind that a daemon without an engine's server takes; the engine's are held by unit tests.
SECRETS = {name: 'hunter2-%s-0123456789-0123456789' % name.replace('_', '-')[:60] for name in (
    'api_key', 'api_key_old', 'metrics_key', 'token_hmac_secret_key', 'token_hmac_previous_secret_key',
    'subscription_token_hmac_secret_key', 'subscription_token_hmac_previous_secret_key')}


class Bundle(DaemonTest):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix='roost-bundle-')
        self.addCleanup(self.folder.cleanup)

    def bundle(self, *args, status=0, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith('ROOST')}
        p = subprocess.run([os.path.abspath(ROOSTCTL), 'bundle', *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                           cwd=self.folder.name, timeout=60 * SLOW, env={**clean, **env})
        self.assertEqual(p.returncode, status, (p.stdout, p.stderr))
        return p

    def content(self, path):
        """name -> bytes, without the folder that all are in."""
        with tarfile.open(path) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        self.assertEqual(len({name.split('/')[0] for name in files}), 1)
        return {name.split('/', 1)[1]: data for name, data in files.items()}

    def test_everything_without_a_secret(self):
        log = os.path.join(self.folder.name, 'roost.log')
        config = self.file(''.join('%s: %s\n' % s for s in SECRETS.items()) +
                           'subscription_token_enabled: true\nlog_file: %s\ntoken_jwks_url: "http://127.0.0.1:1/keys?secret=hunter2-in-a-query"\n' % log)
        d = self.start(config=config, ready=False)
        text = self.ready(log)
        admin = text.split('for=admin')[0].rsplit('address=', 1)[1].split()[0]
        # What is not known here as a secret cannot be taken out of a log.
        p = self.bundle('--admin', 'http://' + admin, '--key', SECRETS['api_key'], '--file', 'a.tar.gz')
        self.assertIn('the log is left out: the daemon has some that are not set here: api_key_old, metrics_key, ', p.stderr)
        files = self.content(os.path.join(self.folder.name, 'a.tar.gz'))
        self.assertNotIn('log', files)
        self.assertRegex(files['MANIFEST'], rb'(?m)^# not all secrets are known: .*\bmetrics_key\b.*\n')
        self.assertRegex(files['MANIFEST'], rb'(?m)^log +missing: secrets that may be in it are not known')
        p = self.bundle('--admin', 'http://' + admin, '--file', 'b.tar.gz', '-o', 'json', '--key', SECRETS['api_key'], ROOST_CONFIG=config)
        self.assertEqual(p.stderr, '')
        said = json.loads(p.stdout)
        path = os.path.join(self.folder.name, 'b.tar.gz')
        self.assertEqual((said['file'], said['bytes']), ('b.tar.gz', os.path.getsize(path)))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        files = self.content(path)
        for name, data in files.items():
            self.assertNotIn(b'hunter2', data, name)
        self.assertIn(b'msg="ready"', files['log'])
        self.assertIn(b'max_connections: 30000', files['config.yaml'])
        self.assertIn(b'roost_upgrades_total', files['metrics.txt'])
        self.assertIn(b'worker0', files['status.txt'])
        self.assertIn(b'http://127.0.0.1:1/keys?(removed)', files['config.yaml'])
        self.assertIn(b'Max open files', files['process/worker0/limits'])
        for name in ('processes', 'connections', 'pools', 'rings', 'turns', 'listeners', 'nodes', 'tokens', 'reload'):
            json.loads(files['debug/%s.json' % name])
        for name in ('roostctl.txt', 'healthz.txt', 'readyz.txt', 'config.json', 'doctor.txt', 'system/uname', 'system/proc/meminfo'):
            self.assertTrue(files[name], name)
        manifest = files['MANIFEST'].decode()
        for name in files:
            if name != 'MANIFEST':
                self.assertIn('\n%s ' % name, '\n' + manifest)
        self.assertEqual(manifest.count(' missing: '), said['missing'])
        self.assertEqual(said['files'], len(files) - 1)
        self.assertIn('secrets of the settings in %s and the environment' % config, manifest)
        self.assertNotIn('not all secrets', manifest)
        # What is there is not overwritten.
        p = self.bundle('--admin', 'http://' + admin, '--file', 'b.tar.gz', status=1)
        self.assertIn('File exists', p.stderr)
        del d

    def ready(self, log):
        from daemon import wait_for
        def read():
            if not os.path.exists(log):
                return None
            with open(log) as f:
                text = f.read()
            return text if 'msg="ready"' in text else None
        return wait_for(read, what='the daemon')

    def test_without_a_key_or_a_daemon(self):
        d = self.start(api_key=SECRETS['api_key'])
        p = self.bundle('--admin', 'http://' + d.admin)
        name = p.stdout.split(':')[0]
        self.assertRegex(name, r'^roost-\d+T\d+Z\.tar\.gz$')
        files = self.content(os.path.join(self.folder.name, name))
        self.assertIn(b'missing: status 401, the key is wrong or missing: --key', files['MANIFEST'])
        self.assertIn(b'ok', files['healthz.txt'])
        self.bundle('--admin', 'http://127.0.0.1:1', '--file', 'none.tar.gz')
        files = self.content(os.path.join(self.folder.name, 'none.tar.gz'))
        self.assertRegex(files['MANIFEST'], rb'(?m)^metrics.txt +missing: no answer from http://127.0.0.1:1$')
        self.assertIn(b'journalctl', files['MANIFEST'])
        self.bundle('--file', 'off.tar.gz', ROOST_ADMIN_LISTEN='off')
        self.assertIn('MANIFEST', self.content(os.path.join(self.folder.name, 'off.tar.gz')))

    def test_secrets_of_the_environment_are_taken_out_of_a_log(self):
        log = self.file('line 1\nsomebody wrote env-secret-0123456789 here\n', suffix='.log')
        p = self.bundle('--admin', 'http://127.0.0.1:1', '--log', log, '--file', 'l.tar.gz',
                        ROOST_TOKEN_HMAC_SECRET_KEY='env-secret-0123456789')
        self.assertTrue(p.stdout)
        files = self.content(os.path.join(self.folder.name, 'l.tar.gz'))
        self.assertEqual(files['log'], b'line 1\nsomebody wrote (removed) here\n')
        p = self.bundle('--admin', 'http://127.0.0.1:1', '--log', '/nonexistent/log', '--file', 'm.tar.gz', ROOST_WORKERS='1')
        self.assertIn(b'/nonexistent/log: No such file', self.content(os.path.join(self.folder.name, 'm.tar.gz'))['MANIFEST'])

    def test_settings_that_are_not_named_or_no_good(self):
        log = self.file('line 1\n', suffix='.log')
        for why, env in (('no settings are named here', {}), ('no good settings', {'ROOST_WORKERS': 'many'})):
            name = '%d.tar.gz' % len(env)
            p = self.bundle('--admin', 'http://127.0.0.1:1', '--log', log, '--file', name, **env)
            self.assertIn(why, p.stderr)
            files = self.content(os.path.join(self.folder.name, name))
            self.assertNotIn('log', files)
            self.assertIn(why.encode(), files['MANIFEST'])

    def test_the_end_of_a_log_begins_with_a_line(self):
        line, size = 'a env-secret-0123456789 and some words\n', 1024 * 1024
        lines = size // len(line) + 100
        self.assertIn((len(line) * lines - size) % len(line), range(3, 20))  # it would begin within the secret
        log = self.file(line * lines, suffix='.log')
        self.bundle('--admin', 'http://127.0.0.1:1', '--log', log, '--file', 'l.tar.gz', ROOST_TOKEN_HMAC_SECRET_KEY='env-secret-0123456789')
        text = self.content(os.path.join(self.folder.name, 'l.tar.gz'))['log'].decode()
        self.assertEqual(text, 'a (removed) and some words\n' * (size // len(line)))

    def test_what_a_node_says_that_is_not_well(self):
        node = StandIn()
        self.addCleanup(node.server_close)
        self.addCleanup(node.shutdown)
        node.answers.update({'/healthz': (500, 'worker 1 does not move\n'), '/readyz': (503, 'draining\n'), '/metrics': (503, 'no\n')})
        self.bundle('--admin', 'http://' + node.admin, '--file', 'n.tar.gz')
        files = self.content(os.path.join(self.folder.name, 'n.tar.gz'))
        self.assertEqual(files['healthz.txt'], b'status 500\nworker 1 does not move\n')
        self.assertEqual(files['readyz.txt'], b'status 503\ndraining\n')
        self.assertRegex(files['MANIFEST'], rb'(?m)^metrics.txt +missing: status 503$')


if __name__ == '__main__':
    unittest.main()
