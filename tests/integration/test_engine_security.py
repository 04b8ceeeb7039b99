#!/usr/bin/python3
"""How a node and its engine's server trust each other: TLS both ways, certificates that are replaced, users and passwords. The hub is
confined, so nothing of this is a file that it opens."""

import os
import signal
import unittest

from daemon import SAN, DaemonTest, run_roostd, wait_for
from engines import Redis
from pki import Pki
from test_tls_records import find


class Security(DaemonTest):
    def setUp(self):
        super().setUp()
        self.pki = Pki()
        self.addCleanup(self.pki.close)
        self.pki.make('node', usage='clientAuth')

    def redis(self, *options, **kw):
        r = Redis(*options, **kw)
        self.addCleanup(r.stop)
        return r

    def node(self, r, up=True, **settings):
        d = self.start(workers=1, engine='redis', **{'engine_address': r.address, 'engine_timeout': '1s', 'engine_reconnect_max': '200ms',
                                                     **settings})
        if up:
            self.up(d)
        return d

    def up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1, what='the engine to be there')

    def tls(self, **settings):
        return {'engine_tls_ca': self.pki.path('ca.pem'), **settings}

    def own(self, name='node'):
        return {'engine_tls_cert': self.pki.path(name + '.pem'), 'engine_tls_key': self.pki.path(name + '.key')}

    def works(self, d):
        w = d.ws('/ws/a')
        w.text(b'hello')
        self.assertEqual(w.recv_data(), b'hello')

    def test_both_show_certificates(self):
        d = self.node(self.redis(tls=self.pki, ask_certificate=True), **self.tls(**self.own()))
        self.works(d)

    def test_a_server_that_asks_for_a_certificate_and_gets_none(self):
        d = self.node(self.redis(tls=self.pki, ask_certificate=True), up=False, **self.tls())
        d.wait_log("the engine's server is gone")
        self.assertEqual(d.metric('roost_engine_up'), 0)

    def test_a_server_that_nobody_vouches_for(self):
        self.pki.authority('other')
        r = self.redis(tls=self.pki)
        d = self.node(r, up=False, engine_tls_ca=self.pki.path('other.pem'))
        d.wait_log("the engine's server is gone.*certificate verify failed")
        self.node(r, engine_tls_verify=False)

    def test_a_server_of_another_name(self):
        d = self.node(self.redis(tls=self.pki, names=('DNS:other.example',)), up=False, **self.tls())
        d.wait_log("the engine's server is gone.*certificate verify failed")

    def test_whom_the_system_trusts(self):
        d = self.node(self.redis(tls=self.pki), env={**os.environ, 'SSL_CERT_FILE': self.pki.path('ca.pem')})
        self.works(d)

    def test_certificates_are_replaced_by_a_reload(self):
        r = self.redis(tls=self.pki, ask_certificate=True)
        d = self.node(r, **self.tls(**self.own()))
        self.pki.authority('next')
        self.pki.make('server', ca='next').make('node', ca='next', usage='clientAuth')
        os.rename(self.pki.path('next.pem'), self.pki.path('ca.pem'))
        os.kill(d.process.pid, signal.SIGHUP)
        d.wait_log("certificates for the engine's servers replaced")
        r.kill()
        r.start()  # trusts the next authority alone
        self.up(d)
        self.works(d)

    def test_a_certificate_that_does_not_fit_is_not_taken(self):
        d = self.node(self.redis(tls=self.pki, ask_certificate=True), **self.tls(**self.own()))
        self.pki.make('stranger')
        os.rename(self.pki.path('stranger.key'), self.pki.path('node.key'))
        os.kill(d.process.pid, signal.SIGHUP)
        d.wait_log("reload refused.*not the certificate's")
        d.kill('hub')  # the next one is given what is in force
        self.up(d)
        self.works(d)

    def test_files_that_are_none(self):
        args = ['--check', '--set', 'engine=redis', '--set', 'engine_address=rediss://127.0.0.1']
        code, _, err = run_roostd(*args, '--set', 'engine_tls_ca=' + self.pki.path('node.key'))
        self.assertEqual((code, err), (2, "TLS to the engine's servers: whom to trust: no certificate in PEM\n"))
        code, _, err = run_roostd(*args, '--set', 'engine_tls_ca=' + self.pki.path('nowhere'))
        self.assertEqual(code, 2)
        self.assertIn('nowhere', err)

    def test_users_and_passwords(self):
        # What a node needs, and no more: deploy/README.md has these lines.
        user = 'user roost on >pQ7-x9 resetchannels &roost:* ~roost:* -@all +hello +auth +info +select +ping +script|load +evalsha ' \
               '+publish +subscribe +unsubscribe +@read +@write -@dangerous +info'
        r = self.redis(acl=user)
        password = os.path.join(self.pki.folder.name, 'password')
        with open(password, 'w') as f:
            f.write('pQ7-x9\n')
        d = self.node(r, engine_user='roost', engine_password_file=password)
        self.works(d)
        self.assertNotIn('pQ7-x9', d.http('GET', '/debug/config').body.decode())
        wrong = self.node(r, up=False, engine_user='roost', engine_password='wrong')
        wrong.wait_log('WRONGPASS')
        self.assertEqual(wrong.metric('roost_engine_up'), 0)

    def test_passwords_are_the_hubs(self):
        # Workers read what strangers send. What they show of a password is as before, also after a reload and of successors.
        secret = 'pQ7-x9-of-nobody-else'
        r = self.redis(password=secret)
        name = os.path.join(self.pki.folder.name, 'password')
        with open(name, 'w') as f:
            f.write(secret)
        text = 'engine: redis\nengine_address: %s\n%s\nping_interval: %%s\n' % (r.address, '%s')
        for setting in ('engine_password: ' + secret, 'engine_password_file: ' + name):
            conf = self.file(text % (setting, '20s'))
            d = self.start(workers=1, config=conf)
            self.up(d)
            with open(conf, 'w') as f:
                f.write(text % (setting, '21s'))
            d.process.send_signal(signal.SIGHUP)
            d.wait_log('msg="reloaded".*ping_interval')
            for name_of in ('worker0', 'hub'):
                d.kill(name_of)
                wait_for(lambda: d.metric('roost_engine_up') == 1 and d.pid_of('worker0') and d.pid_of('hub'), what='a successor')
            self.works(d)
            if not SAN:  # which keeps for a while what the YAML library has freed
                self.assertEqual(find(d.pid_of('worker0'), secret.encode()), [])
            self.assertNotEqual(find(d.pid_of('hub'), secret.encode()), [])
            shown = d.http('GET', '/debug/config').body.decode()
            self.assertEqual("engine_password: '(hidden)'" in shown, 'file' not in setting)

    def test_a_user_without_a_password(self):
        # Not the default user: that may do other things, or be shut out one day.
        r = self.redis(acl='user roost on nopass &roost:* ~roost:* +@all\nuser other on >secret ~* &* +@all')
        self.works(self.node(r, engine_user='roost'))
        self.assertIn('user=roost ', r.say('CLIENT', 'LIST'))
        refused = self.node(r, up=False, engine_user='other')
        refused.wait_log('WRONGPASS')
        self.assertEqual(refused.metric('roost_engine_up'), 0)


if __name__ == '__main__':
    unittest.main(verbosity=0)
