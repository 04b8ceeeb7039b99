#!/usr/bin/python3
"""Tokens: roostctl token, key files at the start and at a reload, secrets that stay hidden."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import unittest

from daemon import ROOSTCTL, ROOSTD, DaemonTest, wait_for

SECRET = 'hunter2-hunter2-hunter2'


def token(*args, env=None, **kw):
    clean = {k: v for k, v in os.environ.items() if not k.startswith('ROOST')}
    return subprocess.run([ROOSTCTL, 'token', *args], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**clean, **(env or {})}, timeout=60, **kw)


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def sign(claims, secret=SECRET):
    text = '%s.%s' % (encode(b'{"alg":"HS256"}'), encode(json.dumps(claims).encode()))
    return text + '.' + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


class Roostctl(DaemonTest):
    ENV = {'ROOST_TOKEN_HMAC_SECRET_KEY': SECRET}

    def made(self, *args, env=ENV):
        p = token(*args, env=env)
        self.assertEqual((p.returncode, p.stderr), (0, ''))
        return p.stdout.strip()

    def checked(self, text, status=0, env=ENV):
        p = token('--check', text, env=env)
        self.assertEqual(p.returncode, status, (p.stdout, p.stderr))
        return p.stdout if status == 0 else p.stderr

    def test_claims(self):
        header, claims, signature = self.made('--user', '42', '--expire', '1h', '--info', '{"a": 1.0}').split('.')
        self.assertEqual(decode(header)['alg'], 'HS256')
        made = decode(claims)
        self.assertEqual(made['exp'] - made['iat'], 3600)
        self.assertEqual((made['sub'], made['info']), ('42', {'a': 1.0}))
        self.assertNotIn('channel', made)
        self.assertEqual(signature, encode(hmac.new(SECRET.encode(), ('%s.%s' % (header, claims)).encode(), hashlib.sha256).digest()))
        made = decode(self.made('--channel', 'chat:"1"', '--expire', '0').split('.')[1])
        self.assertEqual(made['channel'], 'chat:"1"')
        self.assertNotIn('exp', made)
        self.assertNotIn('sub', made)

    def test_check(self):
        out = self.checked(self.made('--user', 'ann', '--info', '7'))
        self.assertRegex(out, r'^kind      connection\nuser      ann\nexpires   20\d\d-\d\d-\d\dT\S+Z\ninfo      7\nchannels  -\n$')
        out = self.checked(self.made('--channel', 'chat:1', '--expire', '0'))
        self.assertEqual(out, 'kind     subscription\nchannel  chat:1\nuser     -\nexpires  never\n')
        out = self.checked(sign({'sub': '1', 'channels': ['a', 'b'], 'meta': {}}))
        self.assertIn('\nmeta      {}\nchannels  a, b\n', out)
        p = token('--check', sign({'sub': '1', 'channels': ['a', 'b'], 'meta': {}}), '-o', 'json', env=self.ENV)
        self.assertEqual(json.loads(p.stdout), {'kind': 'connection', 'user': '1', 'expires': 'never', 'meta': {}, 'channels': ['a', 'b']})
        p = token('--user', '1', '-o', 'json', env=self.ENV)
        self.assertIn('\nuser      1\n', self.checked(json.loads(p.stdout)['token']))

    def test_check_says_why(self):
        self.assertIn('it has expired (exp)', self.checked(sign({'exp': 5}), 1))
        self.assertIn('its signature is wrong', self.checked(sign({}, 'another'), 1))
        self.assertIn('three parts', self.checked('hello', 1))
        self.assertIn('its alg is none', self.checked('eyJhbGciOiJub25lIn0.e30.', 1))
        self.assertIn('iss', self.checked(sign({'iss': 'you'}), 1, {**self.ENV, 'ROOST_TOKEN_ISSUER': 'me'}))

    def test_no_key(self):
        for args in ((), ('--user', '42'), ('--check', sign({}))):
            p = token(*args)
            self.assertEqual((p.returncode, p.stdout), (2, ''), args)
            self.assertIn('ROOST_TOKEN_HMAC_SECRET_KEY', p.stderr)

    def test_wrong_usage(self):
        for args in (('--info', '{'), ('--expire', 'soon'), ('--expire', '5'), ('--expire', '1ms'), ('--check',),
                     ('--check', 'x', '--user', '1'), ('more',), ('--nonsense',)):
            p = token(*args, env=self.ENV)
            self.assertEqual((p.returncode, p.stdout), (2, ''), args)
            self.assertIn('roostctl: ', p.stderr)

    def test_settings_of_the_daemon(self):
        path = self.file('token_hmac_secret_key: %s\nsubscription_token_enabled: true\n'
                         'subscription_token_hmac_secret_key: another\n' % SECRET)
        made = self.made('--user', '1', '--config', path, env={})
        self.checked(made)
        self.checked(made, env={'ROOST_CONFIG': path})
        made = self.made('--channel', 'c', '--config', path, env={})
        self.checked(made, env={'ROOST_TOKEN_HMAC_SECRET_KEY': 'another'})
        self.assertIn('its signature is wrong', self.checked(made, 1))
        p = token('--config', self.file('no_such_setting: 1\n'))
        self.assertEqual(p.returncode, 2)
        self.assertIn('no_such_setting', p.stderr)

    def test_only_public_keys(self):
        key = self.file('')
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', key], check=True, capture_output=True)
        pem = subprocess.run(['openssl', 'pkey', '-in', key, '-pubout'], check=True, capture_output=True, text=True).stdout
        p = token('--user', '1', env={'ROOST_TOKEN_EDDSA_PUBLIC_KEY': pem})
        self.assertEqual(p.returncode, 2)
        self.assertIn('no secret to sign one', p.stderr)
        text = '%s.%s' % (encode(b'{"alg":"EdDSA"}'), encode(b'{"sub":"7"}'))
        message = self.file(text)
        signature = subprocess.run(['openssl', 'pkeyutl', '-sign', '-inkey', key, '-rawin', '-in', message], check=True,
                                   capture_output=True).stdout
        self.assertIn('\nuser      7\n', self.checked(text + '.' + encode(signature), env={'ROOST_TOKEN_EDDSA_PUBLIC_KEY': pem}))


class KeyFiles(DaemonTest):
    def reload(self, d, pattern):
        before = len(d.text())
        os.kill(d.process.pid, signal.SIGHUP)
        wait_for(lambda: re.search(pattern, d.text()[before:]), what='/%s/ in the log' % pattern)
        return d.text()[before:]

    def write(self, path, text):
        with open(path + '.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(path + '.new', path)

    def test_read_again(self):
        jwk = {'kty': 'OKP', 'crv': 'Ed25519', 'x': '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', 'kid': '1'}
        path = self.file(json.dumps({'keys': [jwk]}))
        d = self.start(workers=2, token_jwks_file=path)
        for wrong in ('', '{}', '{"keys":[]}', json.dumps({'keys': [{**jwk, 'x': 'AA'}]})):
            self.write(path, wrong)
            self.assertIn('token_jwks_file', self.reload(d, 'reload refused'))
        self.write(path, json.dumps({'keys': [{**jwk, 'kid': '2'}]}))
        self.reload(d, 'reloaded.*changed=token_jwks_file')
        self.reload(d, 'nothing has changed')

    def test_a_start_without_a_good_key_is_refused(self):
        p = subprocess.run([ROOSTD, '--set', 'token_rsa_public_key=/nowhere', '--set', 'listen=127.0.0.1:0'],
                           capture_output=True, text=True, timeout=60)
        self.assertNotEqual(p.returncode, 0)
        self.assertIn('token_rsa_public_key: /nowhere: No such file', p.stderr)

    def test_secrets_stay_hidden(self):
        d = self.start(token_hmac_secret_key=SECRET, log_level='debug')
        page = d.http('GET', '/debug/config').body.decode()
        self.assertIn("token_hmac_secret_key: '(hidden)'", page)
        for text in (page, d.text()):
            self.assertNotIn(SECRET, text)
        printed = subprocess.run([ROOSTD, '--print-config', '--set', 'token_hmac_secret_key=' + SECRET],
                                 capture_output=True, text=True, timeout=60)
        self.assertEqual(printed.returncode, 0)
        self.assertIn('token_hmac_secret_key', printed.stdout)
        self.assertNotIn(SECRET, printed.stdout + printed.stderr)


if __name__ == '__main__':
    unittest.main()
