#!/usr/bin/python3
"""TLS on the daemon's own listeners: certificates and their choice, clients' certificates, sessions, replacement, refusals."""

import asyncio
import os
import signal
import ssl
import subprocess
import unittest

import websockets

from centrifuge import Client
from daemon import ROOSTCTL, SLOW, DaemonTest, run_roostd, wait_for
from pki import Pki, openssl
from wsraw import TEXT, Closed, Raw

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class TlsTest(DaemonTest):
    @classmethod
    def setUpClass(cls):
        cls.pki = Pki().make('server')

    @classmethod
    def tearDownClass(cls):
        cls.pki.close()

    def serve(self, *names, **kw):
        return self.start(**{**self.pki.settings(*names or ('server',)), **kw})

    def reload(self, d, want):
        before = len(d.lines(want))
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(d.lines(want)) > before, what='the reload to say /%s/' % want)

    def shown(self, address, name='localhost', **kw):
        """The certificate that the listener shows, in DER."""
        with Raw(address, tls=self.pki.client(**kw), name=name) as c:
            return c.sock.getpeercert(True)

    def der(self, name):
        with open(self.pki.path(name + '.one')) as f:
            return ssl.PEM_cert_to_DER_cert(f.read())


class Listeners(TlsTest):
    def test_messages(self):
        d = self.serve(workers=2)
        for version in VERSIONS:
            tls = self.pki.client(version=version)
            with d.ws('/ws/x', tls=tls) as a, d.ws('/ws/x', tls=tls) as b:
                self.assertEqual(a.sock.version(), {VERSIONS[0]: 'TLSv1.2', VERSIONS[1]: 'TLSv1.3'}[version])
                for size in (1, 1000, 20000, 200000):
                    a.text('x' * size)
                    for c in (a, b):
                        c.expect(TEXT, 'x' * size)
                for chop in (1, 100):
                    b.text('y' * 300, chop=chop)
                    for c in (a, b):
                        c.expect(TEXT, 'y' * 300)
                a.goodbye()
        with Raw(d.client, tls=self.pki.client()) as c:
            for _ in range(3):
                self.assertEqual(c.request('GET', '/healthz').status, 200)
        self.assertEqual(d.metric('roost_tls_handshakes_total{resumed="false"}'), 5)

    def test_admin_listener(self):
        d = self.start(**self.pki.settings('server', prefix='admin_'))
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/healthz').status, 200)
        with Raw(d.admin, tls=self.pki.client()) as c:
            self.assertEqual(c.request('GET', '/readyz').status, 200)
            self.assertIn('roost_tls_handshakes_total', c.request('GET', '/metrics').body.decode())

    def test_old_versions_and_other_protocols(self):
        d = self.serve()
        old = self.pki.client()
        old.set_ciphers('ALL:@SECLEVEL=0')
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        h2 = self.pki.client()
        h2.set_alpn_protocols(['h2'])
        both = self.pki.client()
        both.set_alpn_protocols(['h2', 'http/1.1'])
        for context in (old, h2):
            with self.assertRaises(ssl.SSLError):
                Raw(d.client, tls=context)
        with Raw(d.client, tls=both) as c:
            self.assertEqual(c.sock.selected_alpn_protocol(), 'http/1.1')
        for reason in ('version', 'alpn'):  # counted behind the alert
            wait_for(lambda: d.metric('roost_tls_handshake_failures_total{reason="%s"}' % reason) == 1, what=reason)

    def test_deadline(self):
        d = self.serve(tls_handshake_timeout='300ms')
        with Raw(d.client) as c:
            c.send(b'\x16\x03\x01\x02\x00\x01')
            c.expect_eof()
        for name in ('roost_tls_handshake_failures_total{reason="timeout"}', 'roost_closes_total{reason="tls_timeout"}'):
            wait_for(lambda: d.metric(name) == 1, what=name)

    def test_the_wrong_protocol_is_told(self):
        d = self.serve()
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/').status, 400)
        d.wait_log('level=warn .*reason=plain_on_tls')
        with self.assertRaises(ssl.SSLError):
            Raw(d.admin, tls=self.pki.client())
        d.wait_log('level=warn .*reason=tls_on_plain')


class Names(TlsTest):
    def test_names_and_kinds_of_keys(self):
        for name, names, kind in (('a', ('DNS:a.test',), 'P-256'), ('a-rsa', ('DNS:a.test',), 'RSA'), ('b', ('DNS:*.b.test',), 'ED25519')):
            self.pki.make(name, names, kind)
        d = self.serve('a', 'a-rsa', 'b')
        self.assertEqual(self.shown(d.client, 'a.test'), self.der('a'))
        self.assertEqual(self.shown(d.client, 'x.b.test'), self.der('b'))
        rsa = self.pki.client(version=ssl.TLSVersion.TLSv1_2)
        rsa.set_ciphers('ECDHE-RSA-AES128-GCM-SHA256')
        with Raw(d.client, tls=rsa, name='a.test') as c:
            self.assertEqual(c.sock.getpeercert(True), self.der('a-rsa'))


class Replacement(TlsTest):
    def test_a_new_certificate(self):
        self.pki.make('changing')
        d = self.serve('changing', workers=2)
        first = self.der('changing')
        with d.ws('/ws/x', tls=self.pki.client()) as c:
            self.pki.make('changing')
            self.reload(d, 'certificates replaced')
            wait_for(lambda: all(self.shown(d.client) == self.der('changing') for _ in range(8)), what='all workers')
            self.assertNotEqual(self.der('changing'), first)
            c.text('still here')
            c.expect(TEXT, 'still here')
            d.kill('worker1')
            wait_for(lambda: d.find('msg="?started"? process=worker1 .*generation=2'))
            wait_for(lambda: self.shown(d.client) == self.der('changing'))

    def test_what_cannot_be_used_is_not(self):
        self.pki.make('kept').make('other')
        d = self.serve('kept')
        old = self.der('kept')
        key = self.pki.path('kept.key')
        os.rename(key, key + '.away')
        self.reload(d, 'old ones stay.*No such file')
        os.rename(self.pki.path('other.key'), key)
        self.reload(d, "old ones stay.*the key is not the certificate's")
        with open(self.pki.path('kept.pem'), 'w') as f:
            f.write('rubbish')
        self.reload(d, 'old ones stay.*no certificate in PEM')
        self.assertEqual(self.shown(d.client), old)
        self.assertEqual(d.metric('roost_last_reload_certificates_kept'), 1)
        self.assertEqual(d.lines('certificates replaced'), [])
        self.pki.make('kept')
        self.reload(d, 'certificates replaced')
        wait_for(lambda: self.shown(d.client) == self.der('kept'))
        self.assertEqual(d.metric('roost_last_reload_certificates_kept'), 0)

    def test_other_settings_are_applied_meanwhile(self):
        self.pki.make('locked')
        text = ''.join('%s: %s\n' % x for x in self.pki.settings('locked').items())
        path = self.file(text)
        d = self.start(config=path)
        os.remove(self.pki.path('locked.key'))
        with open(path, 'w') as f:
            f.write(text + 'echo: true\n')
        self.reload(d, 'reloaded.*changed=echo')
        self.assertTrue(d.find('certificates are not replaced, the old ones stay'))
        # Other files than before are another thing: nothing is applied.
        with open(path, 'w') as f:
            f.write(text.replace('locked', 'nowhere') + 'echo: false\n')
        self.reload(d, 'reload refused')
        self.assertEqual(self.shown(d.client), self.der('locked'))

    def test_plain_becomes_tls(self):
        path = self.file('echo: true\n')
        d = self.start(config=path)
        with d.ws('/echo') as c:
            with open(path, 'w') as f:
                f.write('echo: true\n' + ''.join('%s: %s\n' % x for x in self.pki.settings('server').items()))
            self.reload(d, 'msg="?reloaded"? changed=')
            wait_for(lambda: self.serves_tls(d), what='TLS')
            c.text('plain still')
            c.expect(TEXT, 'plain still')

    def serves_tls(self, d):
        try:
            return self.shown(d.client) == self.der('server')
        except (ssl.SSLError, Closed):
            return False

    def test_a_bad_start(self):
        self.pki.make('one').make('two')
        settings = {'tls_certificate': self.pki.path('one.pem'), 'tls_key': self.pki.path('two.key')}
        args = [x for s in settings.items() for x in ('--set', '%s=%s' % s)]
        for more in ([], ['--check']):
            status, _, err = run_roostd(*args, *more, '--set', 'listen=127.0.0.1:0', '--set', 'admin_listen=127.0.0.1:0')
            self.assertNotEqual(status, 0)
            self.assertIn("one.pem: the key is not the certificate's", err)
        locked = self.pki.path('two.key')
        openssl('pkey', '-in', locked, '-aes256', '-passout', 'pass:x', '-out', locked + '.locked')
        _, _, err = run_roostd('--set', 'tls_certificate=' + self.pki.path('two.pem'), '--set', 'tls_key=' + locked + '.locked', '--check')
        self.assertIn('encrypted', err)


class Sessions(TlsTest):
    """A ticket of one worker is good at the others."""

    def test_another_worker_takes_them(self):
        d = self.serve(workers=3)
        for version in VERSIONS:
            tls, session, at = self.pki.client(version=version), None, set()
            while len(at) < 3:
                with Raw(d.client, tls=tls, session=session) as c:
                    self.assertEqual(c.sock.session_reused, session is not None)
                    c.send('GET /ws/x HTTP/1.1\r\n')
                    at |= {w['name'] for w in self.where(d)}
                    c.send('Host: x\r\n\r\n')
                    self.assertEqual(c.read_response().status, 426)
                    session = c.sock.session

    def where(self, d):
        return [w for w in d.get_json('/debug/processes')['processes'] if w.get('connections')]

    def test_tickets_outlive_workers(self):
        d = self.serve(workers=1)
        for version in VERSIONS:
            tls = self.pki.client(version=version)
            with Raw(d.client, tls=tls) as c:
                self.assertEqual(c.request('GET', '/healthz').status, 200)
                session = c.sock.session
            started = len(d.lines('msg="?started"? process=worker0'))
            d.kill('worker0')
            wait_for(lambda: len(d.lines('msg="?started"? process=worker0')) > started)
            with Raw(d.client, tls=tls, session=session) as c:
                self.assertTrue(c.sock.session_reused)
                self.assertEqual(c.request('GET', '/healthz').status, 200)
        self.assertEqual(d.metric('roost_tls_handshakes_total{resumed="true"}'), 2)

    def test_tickets_end_with_their_keys(self):
        d = self.serve(workers=1, tls_ticket_rotation='2s')
        tls = self.pki.client(version=ssl.TLSVersion.TLSv1_2)
        with Raw(d.client, tls=tls) as c:
            session = c.sock.session

        def forgotten():
            with Raw(d.client, tls=tls, session=session) as c:
                return not c.sock.session_reused
        wait_for(forgotten, 20, 'the key to be gone')


class Clients(TlsTest):
    def listener(self, how):
        return {'listen': None, 'listeners': '[{name: strict, address: "127.0.0.1:0", tls_certificate: %s, tls_key: %s, '
                'tls_client_certificates: %s, tls_client_ca: %s}]' % (self.pki.path('server.pem'), self.pki.path('server.key'), how,
                                                                      self.pki.path('ca.pem'))}

    def test_clients_show_certificates(self):
        self.pki.make('alice', None, subject='/O=Tests/CN=alice', usage='clientAuth')
        self.pki.authority('others')
        self.pki.make('mallory', None, ca='others', usage='clientAuth')
        for how in ('optional', 'required'):
            d = self.start(workers=1, **self.listener(how))
            with d.ws('/ws/x', tls=self.pki.client('alice')) as c:
                c.text('hello')
                c.expect(TEXT, 'hello')
                mine = [x for x in d.get_json('/debug/connections')['connections'] if x['listener'] == 'client']
                self.assertEqual([x.get('certificate') for x in mine], ['CN=alice,O=Tests'])
            with self.assertRaises((ssl.SSLError, Closed, ConnectionError)):
                Raw(d.client, tls=self.pki.client('mallory')).request('GET', '/healthz')
            wait_for(lambda: d.metric('roost_tls_handshake_failures_total{reason="certificate"}') == 1)
            if how == 'required':
                with self.assertRaises((ssl.SSLError, Closed, ConnectionError)):
                    Raw(d.client, tls=self.pki.client()).request('GET', '/healthz')
                wait_for(lambda: d.metric('roost_tls_handshake_failures_total{reason="no_certificate"}') == 1)
            else:
                with Raw(d.client, tls=self.pki.client()) as c:
                    self.assertEqual(c.request('GET', '/healthz').status, 200)


    def test_users_by_their_certificates(self):
        self.pki.make('ann', None, subject='/O=Tests/CN=ann', usage='clientAuth')
        self.pki.make('nameless', None, subject='/O=Tests', usage='clientAuth')
        for what, user in (('common_name', 'ann'), ('subject', 'CN=ann,O=Tests')):
            d = self.start(workers=1, user_id_client_certificate=what, channel_without_namespace='{allow_subscribe_for_client: true, '
                           'allow_publish_for_client: true, presence: true, allow_presence_for_client: true}', **self.listener('optional'))
            with Client(d.client, tls=self.pki.client('ann')) as c:
                c.connect()
                c.subscribe('x')
                c.publish('x', 1)
                self.assertEqual(c.push()[1]['info']['user'], user)
            for who in ('nameless', None) if what == 'common_name' else (None,):
                with Client(d.client, tls=self.pki.client(who)) as c:
                    c.say({'id': 1, 'connect': {}})
                    self.assertEqual(c.ends()[0], 3501)


class Expiry(TlsTest):
    def test_warnings_and_metric(self):
        for name, days in (('long', 22), ('soon', 15), ('sooner', 5), ('now', 1)):
            self.pki.make(name, days=days)
        d = self.serve('long', 'soon', 'sooner', 'now')
        for name, days in (('soon', '1[45]'), ('sooner', '[45]'), ('now', '[01]')):
            d.wait_log('level=warn .*a certificate expires soon.*file=%s days=%s\\b' % (self.pki.path(name + '.pem'), days))
        self.assertEqual(d.lines('expires soon.*long.pem'), [])
        for name in ('long', 'now'):
            end = openssl('x509', '-in', self.pki.path(name + '.one'), '-noout', '-enddate').stdout.decode().strip().split('=')[1]
            self.assertEqual(d.metric('roost_tls_certificate_expiry_timestamp_seconds{listener="listen",file="%s"}'
                                      % self.pki.path(name + '.pem')), ssl.cert_time_to_seconds(end))


class Tools(TlsTest):
    def test_curl_and_s_client(self):
        d = self.serve()
        port = d.client.rsplit(':', 1)[1]
        r = subprocess.run(['curl', '-sS', '--cacert', self.pki.path('ca.pem'), 'https://localhost:%s/healthz' % port], capture_output=True)
        self.assertEqual((r.returncode, r.stdout), (0, b'ok\n'))
        for version in ('-tls1_2', '-tls1_3'):
            r = subprocess.run(['openssl', 's_client', '-connect', d.client, '-CAfile', self.pki.path('ca.pem'), '-verify_return_error',
                                '-servername', 'localhost', '-quiet', version], input=b'GET /healthz HTTP/1.1\r\nHost: x\r\n'
                               b'Connection: close\r\n\r\n', capture_output=True, timeout=60 * SLOW)
            self.assertIn(b'HTTP/1.1 200 OK', r.stdout, r.stderr)


    def test_python_websockets(self):
        d = self.serve(workers=2)

        async def run():
            url = 'wss://localhost:%s/ws/asyncio' % d.client.rsplit(':', 1)[1]
            how = {'ssl': self.pki.client(), 'compression': None, 'open_timeout': None, 'ping_interval': None}
            async with websockets.connect(url, **how) as a, websockets.connect(url, **how) as b:
                big = 'ü' * 400000
                await a.send(['frag', 'ments ', big])
                self.assertEqual(await b.recv(), 'fragments ' + big)
                await (await a.ping(b'are you there'))
                await a.close(4001, 'done')
                self.assertEqual(a.close_code, 4001)
        asyncio.run(asyncio.wait_for(run(), 60 * SLOW))


class Roostctl(TlsTest):
    def ctl(self, *args, **env):
        return subprocess.run([ROOSTCTL, *args], capture_output=True, text=True, timeout=60 * SLOW, env={**os.environ, **env})

    def test_https(self):
        d = self.start(**self.pki.settings('server', prefix='admin_'))
        url, ca = 'https://localhost:' + d.admin.rsplit(':', 1)[1], self.pki.path('ca.pem')
        r = self.ctl('--admin', url, '--ca', ca, 'status')
        self.assertEqual((r.returncode, r.stderr), (0, ''), r.stdout)
        r = self.ctl('get', '/metrics', ROOSTCTL_ADMIN=url, ROOSTCTL_CA=ca)
        self.assertIn('roost_tls_handshakes_total', r.stdout)
        tail = subprocess.Popen([ROOSTCTL, '--admin', url, '--ca', ca, 'tail', 'news'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)
        try:
            tail.stderr.readline()
            long = 'x' * 30000
            for text in ('first', long):
                r = self.ctl('--admin', url, '--ca', ca, 'publish', 'news', text)
                self.assertEqual(r.returncode, 0, r.stderr)
                self.assertEqual('news  %s\n' % text, tail.stdout.readline())
        finally:
            tail.terminate()
            tail.communicate()
        self.pki.authority('others')
        for args, why in ((['--ca', self.pki.path('others.pem')], 'certificate verify failed'), ([], 'certificate verify failed'),
                          (['--ca', '/nonexistent'], 'No such file')):
            r = self.ctl('--admin', url, *args, 'health')
            self.assertEqual(r.returncode, 1)
            self.assertIn(why.lower(), r.stderr.lower())
        r = self.ctl('--admin', 'https://' + d.client, '--ca', ca, 'health')
        self.assertEqual(r.returncode, 1)
        self.assertIn('no TLS with https://', r.stderr)
        r = self.ctl('--admin', 'http://' + d.admin, 'health')
        self.assertEqual(r.returncode, 1)

    def test_by_the_daemons_own_settings(self):
        """The certificate that they name is whom to trust, whatever its name."""
        self.pki.make('elsewhere', ('DNS:gateway.example',)).make('elsewhere-rsa', ('DNS:gateway.example',), 'RSA')
        settings = self.pki.settings('elsewhere-rsa', 'elsewhere', prefix='admin_')
        d = self.start(**settings)
        env = {'ROOST_' + k.upper(): v for k, v in settings.items()}
        r = self.ctl('health', ROOST_ADMIN_LISTEN=d.admin, **env)
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        r = self.ctl('health', ROOST_ADMIN_LISTEN=d.admin, **{**env, **{
            'ROOST_' + k.upper(): v for k, v in self.pki.settings('server', prefix='admin_').items()}})
        self.assertEqual(r.returncode, 1)


if __name__ == '__main__':
    unittest.main(verbosity=0)
