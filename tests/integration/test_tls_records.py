#!/usr/bin/python3
"""TLS 1.3 records of our own (tls_records): interoperation, where secrets are, what is answered to faults."""

import os
import re
import signal
import ssl
import subprocess
import unittest

from daemon import SLOW, wait_for
from test_tls import TlsTest
from wsraw import TEXT, Raw


def regions(pid):
    """(from, to, whether core dumps have it) of a process's writable memory that has ever been written to."""
    found, at = [], None
    with open('/proc/%d/smaps' % pid) as f:
        for line in f:
            m = re.match('([0-9a-f]+)-([0-9a-f]+) rw', line)
            if m:
                at, held = (int(m[1], 16), int(m[2], 16)), False
            elif re.match('[0-9a-f]+-[0-9a-f]+ ', line):
                at = None
            elif re.match('(Rss|Swap): +[1-9]', line):
                held = True
            elif line.startswith('VmFlags:') and at and held:
                found.append((*at, ' dd' not in line))
    return found


SHADOW = 1 << 32  # no mapping of ours is as large; a sanitizer's own is, and holds no bytes of ours


def find(pid, secret):
    """Whether core dumps have the place, for each place in a process's memory where the secret is."""
    places = []
    with open('/proc/%d/mem' % pid, 'rb') as memory:
        for start, end, dumped in regions(pid):
            if end - start > SHADOW:
                continue
            try:
                memory.seek(start)
                text = memory.read(end - start)
            except OSError:
                continue
            places += [dumped] * text.count(secret)
    return places


class Records(TlsTest):
    def transports(self, d):
        return [d.get_json('/debug/connection?id=%s' % c['id'])['connection']['transport']
                for c in d.get_json('/debug/connections')['connections'] if c['listener'] == 'client']

    def test_who_makes_them(self):
        d = self.serve(workers=1)
        new, old = (self.pki.client(version=v) for v in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2))
        with d.ws('/ws/x', tls=new) as a, d.ws('/ws/x', tls=old) as b:
            self.assertEqual(sorted(t.endswith(' compact') for t in self.transports(d)), [False, True])
            for c in (a, b):
                c.text('x' * 100000)
                for to in (a, b):
                    to.expect(TEXT, 'x' * 100000)
        d.stop()
        d = self.serve(workers=1, tls_records='openssl')
        with d.ws('/ws/x', tls=new) as a:
            self.assertRegex(self.transports(d)[0], '^tls TLSv1.3 TLS_[A-Z0-9_]+$')
            a.goodbye()

    def test_a_reload_is_for_new_ones(self):
        with open(self.pki.path('records.yaml'), 'w') as f:
            f.write('tls_records: compact\n')
        d = self.serve(workers=1, config=f.name)
        tls = self.pki.client(version=ssl.TLSVersion.TLSv1_3)
        with d.ws('/ws/x', tls=tls) as a:
            with open(f.name, 'w') as again:
                again.write('tls_records: openssl\n')
            self.reload(d, 'configuration reloaded|settings reloaded|reload')
            wait_for(lambda: 'openssl' in d.http('GET', '/debug/config').body.decode())
            with d.ws('/ws/x', tls=tls) as b:
                self.assertEqual(sorted(t.endswith(' compact') for t in self.transports(d)), [False, True])
                b.text('to both')
                for c in (a, b):
                    c.expect(TEXT, 'to both')

    def test_key_updates(self):
        """OpenSSL's client asks for them, of both kinds and several times."""
        d = self.serve()
        p = subprocess.Popen(['openssl', 's_client', '-connect', d.client, '-CAfile', self.pki.path('ca.pem'), '-servername', 'localhost', '-tls1_3'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = b''

        def hear(what):
            nonlocal said
            while what not in said:
                more = os.read(p.stdout.fileno(), 65536)
                self.assertTrue(more, said)
                said += more
            said = said.split(what, 1)[1]

        try:
            hear(b'Verify return code')
            for kind in b'K', b'k', b'K', b'K':
                p.stdin.write(kind + b'\n')
                p.stdin.flush()
                hear(b'KEYUPDATE')
                p.stdin.write(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
                p.stdin.flush()
                hear(b'\r\n\r\nok\n')
        finally:
            p.stdin.close()
            p.wait(30 * SLOW)
            p.stdout.close()

    def test_plain_text_behind_the_handshake(self):
        """The alert arrives, although more is said behind what it is about."""
        d = self.serve(workers=1)
        tls = self.pki.client(version=ssl.TLSVersion.TLSv1_3)
        with Raw(d.client, tls=tls) as c:
            self.assertEqual(c.request('GET', '/healthz').status, 200)
            os.write(c.sock.fileno(), b'GET / HTTP/1.1\r\n\r\n' * 100)
            with self.assertRaisesRegex(ssl.SSLError, 'UNEXPECTED_MESSAGE'):
                c.sock.recv(1000)
        wait_for(lambda: d.metric('roost_closes_total{reason="tls_broken"}') == 1)
        self.assertEqual(d.metric('roost_tls_alerts_total{direction="sent"}'), 1)

    def test_where_secrets_are(self):
        """While a connection is open: where no core dump has them. Afterwards: nowhere. Never in the log."""
        d = self.serve(workers=1, log_level='debug', ping_interval='10m')  # looking takes its time
        keys = self.pki.path('keys')
        tls = self.pki.client(version=ssl.TLSVersion.TLSv1_3)
        tls.keylog_filename = keys
        worker = next(p['pid'] for p in d.processes() if p['name'] == 'worker0')
        with d.ws('/ws/x', tls=tls) as c:
            c.text('hello')
            c.expect(TEXT, 'hello')
            with open(keys) as f:
                secrets = [line.split()[2] for line in f if 'TRAFFIC_SECRET' in line]
                f.seek(0)
                traffic = [line.split()[2] for line in f if re.match('(CLIENT|SERVER)_TRAFFIC_SECRET_0', line)]
            self.assertEqual((len(secrets), len(traffic)), (4, 2))
            for secret in traffic:
                self.assertEqual(find(worker, bytes.fromhex(secret)), [False])
            for secret in secrets:
                self.assertEqual(find(worker, secret.encode()), [], 'as text')
            c.goodbye()
        wait_for(lambda: not self.transports(d))
        for secret in secrets:
            self.assertEqual(find(worker, bytes.fromhex(secret)), [])
        self.assertEqual([line for line in d.log if any(s in line for s in secrets)], [])


if __name__ == '__main__':
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    unittest.main(verbosity=0)
