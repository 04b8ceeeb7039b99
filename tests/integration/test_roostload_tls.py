#!/usr/bin/python3
"""roostload over TLS, against a server nobody here wrote (python3-websockets on OpenSSL)."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

from daemon import SLOW, wait_for
from loadtest import Server, TcpServer, run, run_json, upgrade


def make_certificate(folder, name, subject):
    """A self-signed certificate; returns the paths of certificate and key."""
    cert, key = os.path.join(folder, name + '.pem'), os.path.join(folder, name + '.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
                    '/CN=test', '-addext', 'subjectAltName=' + subject, '-keyout', key, '-out', cert],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


class TlsServer(Server):
    """Relays every message to every client, its sender too."""

    def __init__(self, cert, key, tls12=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(ssl=context, max_size=2 ** 24, compression=None)


class TlsPipe:
    """TLS on the socket s; what is sent leaves with flush()."""

    def __init__(self, s, context):
        self.socket, self.incoming, self.outgoing = s, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.until_done(self.tls.do_handshake)
        self.sendall = self.tls.write

    def until_done(self, step, *args):
        while True:
            try:
                return step(*args)
            except ssl.SSLWantReadError:
                self.flush()
                data = self.socket.recv(65536)
                if not data:
                    raise ConnectionResetError
                self.incoming.write(data)

    def recv(self, n):
        return self.until_done(self.tls.read, n)

    def close_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:  # the answer is not awaited
            pass

    def flush(self):
        self.socket.sendall(self.outgoing.read())


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.cert, cls.key = make_certificate(cls.folder, 'good', 'IP:127.0.0.1,DNS:localhost')

    def serve(self, cert=None, key=None, **how):
        s = self.enterContext(TlsServer(cert or self.cert, key or self.key, **how))
        return f'wss://127.0.0.1:{s.port}/x'

    def tcp(self, with_it):
        s = TcpServer(with_it)
        self.addCleanup(s.stop)
        return f'wss://127.0.0.1:{s.port}/x'

    def trusting(self, *args, status=0):
        return run_json(*args, '--ca', self.cert, status=status)

    def refused(self, url, *args):
        """Nobody gets in: the counters and what is printed."""
        r, out = run_json('hold', '--url', url, '--connections', '2', '--duration', '500ms', *args, status=1)
        self.assertEqual(r['ready_max'], 0)
        return r['counters'], out

    # what works

    def test_hold(self):
        r, out = self.trusting('hold', '--url', self.serve(), '--connections', '50', '--duration', '1s', '--ping-interval', '200ms')
        self.assertEqual(r['ready_max'], 50)
        self.assertEqual(r['latencies']['tls']['count'], 50)
        self.assertGreater(r['latencies']['tls']['p50'], 0)
        self.assertGreaterEqual(r['latencies']['upgrade']['p50'], r['latencies']['tls']['p50'])
        self.assertGreater(r['latencies']['pong']['count'], 0)
        self.assertIn('tls handshake', out)
        for name in ('tls_failed', 'connect_failed', 'protocol_errors', 'connection_lost'):
            self.assertEqual(r['counters'][name], 0, name)

    def test_echo_of_every_size(self):
        for size in (125, 4096, 65536, 1000000):
            for tls12 in (False, True):
                with self.subTest(size=size, tls12=tls12):
                    r, _ = self.trusting('echo', '--url', self.serve(tls12=tls12), '--connections', '1', '--size', str(size), '--duration', '700ms')
                    c = r['counters']
                    self.assertGreater(c['messages_in'], 0)
                    self.assertEqual((c['messages_in'], c['bytes_in']), (c['messages_out'], c['bytes_out']))
                    self.assertEqual(c['foreign_in'] + c['protocol_errors'] + c['connection_lost'], 0)

    def test_many_in_flight(self):
        """More than one read brings, in both directions at once."""
        r, _ = self.trusting('echo', '--url', self.serve(), '--connections', '1', '--depth', '64', '--size', '20000', '--duration', '1s')
        self.assertGreaterEqual(r['counters']['messages_in'], 64)
        self.assertEqual(r['counters']['messages_in'], r['counters']['messages_out'])

    def test_broadcast(self):
        r, _ = self.trusting('broadcast', '--url', self.serve(), '--connections', '20', '--rate', '50', '--duration', '1s')
        self.assertEqual(r['counters']['messages_out'] + r['counters']['not_sent'], 50)
        self.assertGreaterEqual(r['counters']['messages_in'], 20 * r['counters']['messages_out'])
        for name in ('gaps', 'duplicates', 'reordered', 'connection_lost'):
            self.assertEqual(r['counters'][name], 0, name)

    def test_a_name(self):
        r, _ = self.trusting('hold', '--url', self.serve().replace('127.0.0.1', 'localhost'), '--connections', '2', '--duration', '300ms')
        self.assertEqual(r['ready_max'], 2)

    # who is trusted

    def test_nobody_unknown(self):
        counters, out = self.refused(self.serve())
        self.assertEqual(counters['tls_failed'], 6)  # three attempts each
        self.assertIn('certificate verify failed: self-signed certificate', out)
        self.assertIn('--ca FILE', out)

    def test_nobody_with_another_name(self):
        cert, key = make_certificate(self.folder, 'other', 'DNS:elsewhere.test')
        counters, out = self.refused(self.serve(cert, key), '--ca', cert)
        self.assertEqual(counters['tls_failed'], 6)
        self.assertIn('mismatch', out)

    def test_anybody_with_insecure(self):
        r, _ = run_json('hold', '--url', self.serve(), '--connections', '2', '--duration', '300ms', '--insecure')
        self.assertEqual(r['ready_max'], 2)

    def test_a_file_that_is_no_certificate(self):
        for path in (__file__, '/nonexistent/ca.pem'):
            p = run('hold', '--url', self.serve(), '--ca', path)
            self.assertEqual(p.returncode, 2)
            self.assertIn('--ca ' + path + ': ', p.stderr)

    # what goes wrong

    def test_a_server_without_tls(self):
        counters, out = self.refused(self.tcp(lambda s: s.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')), '--ca', self.cert)
        self.assertEqual(counters['tls_failed'], 6)
        self.assertIn('the server does not speak TLS there: use ws://', out)

    def test_a_url_without_tls(self):
        p = run('hold', '--url', self.serve().replace('wss://', 'ws://'), '--connections', '1', '--duration', '200ms')
        self.assertEqual(p.returncode, 1)
        self.assertIn('the server speaks TLS there: use wss://', p.stdout)

    def test_a_server_that_hangs_up(self):
        counters, out = self.refused(self.tcp(lambda s: (s.recv(10), s.close())), '--ca', self.cert)
        self.assertEqual(counters['tls_failed'], 6)
        self.assertIn('the first TLS failure: ', out)

    def test_a_server_that_does_not_answer(self):
        counters, _ = self.refused(self.tcp(lambda s: None), '--ca', self.cert, '--connect-timeout', '300ms')
        self.assertEqual(counters['connect_timeout'], 6)

    def test_nobody_there(self):
        with socket.create_server(('127.0.0.1', 0)) as s:
            port = s.getsockname()[1]
        counters, _ = self.refused(f'wss://127.0.0.1:{port}/', '--ca', self.cert)
        self.assertEqual((counters['connect_failed'], counters['tls_failed']), (6, 0))

    def test_a_server_that_says_goodbye_with_its_last_bytes(self):
        """The close_notify comes with the 101; TCP stays open, so no event tells of the end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)

        def leave(s):
            try:
                pipe = TlsPipe(s, context)
                upgrade(pipe)
                pipe.close_notify()
                pipe.flush()
            except OSError:  # the run has ended
                pass

        r, _ = self.trusting('hold', '--url', self.tcp(leave), '--connections', '1', '--duration', '1s', status=1)
        self.assertEqual(r['counters']['connection_lost'], 3)  # the three attempts that a user has

    def test_a_server_that_is_killed(self):
        server = self.enterContext(TlsServer(self.cert, self.key))
        url = f'wss://127.0.0.1:{server.port}/x'

        def kill():
            wait_for(lambda: len(server.clients) == 5, what='the five')
            server.loop.call_soon_threadsafe(server.drop)

        threading.Thread(target=kill, daemon=True).start()
        r, _ = self.trusting('hold', '--url', url, '--connections', '5', '--duration', '%ds' % (2 * SLOW))
        self.assertEqual(r['counters']['connection_lost'], 5)
        self.assertEqual(r['counters']['connects_done'], 10)  # and they come back


if __name__ == '__main__':
    unittest.main(verbosity=0)
