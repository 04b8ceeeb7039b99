#!/usr/bin/python3
"""egress: key sets fetched over https, refreshed, refused, kept; the process itself."""

import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import unittest

from centrifuge import Client, b64url
from daemon import ROOSTD, DaemonTest, descriptors, wait_for
from wsraw import Closed

X = '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'


def key_set(*kids):
    return json.dumps({'keys': [{'kid': k, 'kty': 'OKP', 'crv': 'Ed25519', 'x': X} for k in kids]}).encode()


class Keys(http.server.ThreadingHTTPServer):
    """Serves `answer` (status, body, fields), once it speaks; counts the requests."""
    daemon_threads = True

    def __init__(self, answer, tls=None):
        self.answer, self.requests, self.speaks = answer, 0, threading.Event()
        self.speaks.set()
        super().__init__(('127.0.0.1', 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = 'http%s://127.0.0.1:%d/keys' % ('s' if tls else '', self.server_address[1])
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # clients that do not like the certificate

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests += 1
        self.server.speaks.wait(8)  # egress waits for ten
        status, body, fields = self.server.answer
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def make_certificate(path, name='IP:127.0.0.1'):
    """A certificate and its key, both in one file."""
    key = subprocess.run(['openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'], check=True,
                         capture_output=True).stdout
    with open(path, 'wb') as f:
        f.write(key)
    cert = subprocess.run(['openssl', 'req', '-x509', '-key', path, '-days', '2', '-subj', '/CN=keys', '-addext',
                           'subjectAltName=' + name], check=True, capture_output=True).stdout
    with open(path, 'ab') as f:
        f.write(cert)


class Signer:
    """An Ed25519 key that signs tokens under a kid."""

    def __init__(self, test, kid):
        self.test, self.kid, self.path = test, kid, test.file('')
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', self.path], check=True, capture_output=True)
        der = subprocess.run(['openssl', 'pkey', '-in', self.path, '-pubout', '-outform', 'DER'], check=True, capture_output=True).stdout
        self.jwk = {'kid': kid, 'kty': 'OKP', 'crv': 'Ed25519', 'x': b64url(der[-32:])}

    def token(self, **claims):
        text = '%s.%s' % (b64url(json.dumps({'alg': 'EdDSA', 'kid': self.kid}).encode()), b64url(json.dumps(claims).encode()))
        message = self.test.file(text)
        signature = subprocess.run(['openssl', 'pkeyutl', '-sign', '-inkey', self.path, '-rawin', '-in', message], check=True,
                                   capture_output=True).stdout
        return text + '.' + b64url(signature)


class Egress(DaemonTest):
    def server(self, body=key_set('1'), status=200, fields=None, tls=None):
        s = Keys((status, body, fields or {}), tls)
        self.addCleanup(s.close)
        return s

    def certificate(self, name='IP:127.0.0.1'):
        path = self.file('')
        make_certificate(path, name)
        return path

    def kids(self, d):
        return [k['kid'] for k in json.loads(d.http('GET', '/debug/tokens').body)['connection']['keys']]

    def wait_kids(self, d, *kids):
        wait_for(lambda: self.kids(d) == list(kids), what='keys %s' % (kids,))

    def fetches(self, d, result):
        return int(d.metric('roost_key_fetches_total{result="%s"}' % result))

    def said(self, d, pattern):
        wait_for(lambda: re.search(pattern, d.text()), what='/%s/ in the log' % pattern)

    def egress(self, d):
        return [p for p in d.processes() if p['name'] == 'egress']

    def test_https(self):
        cert = self.certificate()
        s = self.server(tls=cert)
        d = self.start(workers=2, token_jwks_url=s.url, token_fetch_ca_file=cert)
        self.wait_kids(d, '1')
        wait_for(lambda: self.fetches(d, 'new') == 1, what='the count')
        self.assertEqual(d.http('GET', '/readyz').status, 200)

    def test_a_certificate_that_is_not_good(self):
        cert, other, wrong = self.certificate(), self.certificate(), self.certificate('DNS:elsewhere.example')
        for server, ca in ((cert, other), (wrong, wrong), (cert, '')):
            s = self.server(tls=server)
            d = self.start(workers=1, token_jwks_url=s.url, token_fetch_ca_file=ca)
            self.said(d, 'keys cannot be fetched.*(certificate|SSL|subject)')
            self.assertEqual((self.kids(d), s.requests), ([], 0))
            d.stop()

    def test_answers_that_are_not_taken(self):
        other = self.server()
        for why, answer in (('status is 404', {'status': 404}), ('status is 302', {'status': 302, 'fields': {'Location': other.url}}),
                            ('no JSON object', {'body': b'<html>'}), ('no key in it', {'body': b'{"keys":[]}'}),
                            ('no kind that verifies', {'body': b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'}),
                            ('more than 65536 bytes|file size exceeded|Maximum file size', {'body': b' ' * 70000 + key_set('1')})):
            s = self.server(**answer)
            d = self.start(workers=1, token_jwks_url=s.url)
            self.said(d, 'keys cannot be fetched.*(%s)' % why)
            self.assertEqual(self.kids(d), [])
            wait_for(lambda: self.fetches(d, 'failed') >= 1, what='the count')
            d.stop()
        self.assertEqual(other.requests, 0)

    def test_tried_again_and_kept(self):
        s = self.server(status=500)
        d = self.start(workers=1, token_jwks_url=s.url)
        self.said(d, 'keys cannot be fetched')
        s.answer = (200, key_set('1', '2'), {})
        self.wait_kids(d, '1', '2')
        self.said(d, 'keys can be fetched again')
        s.answer = (500, b'', {})
        os.kill(self.egress(d)[0]['pid'], signal.SIGKILL)  # a new one has them still
        wait_for(lambda: self.egress(d) and self.egress(d)[0]['generation'] == 2 and self.egress(d)[0]['phase'] == 'ready', what='a new egress')
        os.kill([p for p in d.processes() if p['name'] == 'worker0'][0]['pid'], signal.SIGKILL)
        wait_for(lambda: any(p['name'] == 'worker0' and p['generation'] == 2 and p['phase'] == 'ready' for p in d.processes()),
                 what='a new worker')
        self.wait_kids(d, '1', '2')

    def test_rotation_by_a_reload(self):
        s, other = self.server(), self.server(body=key_set('b'))
        path = self.file('token_jwks_url: %s\n' % s.url)
        d = self.start(workers=1, config=path)
        self.wait_kids(d, '1')
        for text, kids, there in (('token_jwks_url: %s\n' % other.url, ['b'], 1), ('echo: false\n', [], 0),
                                  ('token_jwks_url: %s\n' % s.url, ['1'], 1)):
            with open(path + '.new', 'w', encoding='ascii') as f:
                f.write(text)
            os.replace(path + '.new', path)
            os.kill(d.process.pid, signal.SIGHUP)
            self.wait_kids(d, *kids)
            wait_for(lambda: len(self.egress(d)) == there, what='egress there or not')

    def test_a_reload_while_the_node_stops_starts_none(self):
        """It would be told to end by nobody, and the hub would wait for it."""
        path = self.file('echo: false\n')
        d = self.start(workers=1, config=path, drain_time='60s')
        c = d.ws('/ws/x')
        d.process.send_signal(signal.SIGTERM)
        d.wait_log('stopping: no new clients')
        with open(path, 'w', encoding='ascii') as f:
            f.write('token_jwks_url: %s\n' % self.server().url)
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('msg="?reloaded')
        c.close()
        wait_for(lambda: d.process.poll() is not None, 20, 'the end of the daemon')
        self.assertEqual(d.lines('process=egress|did not stop in time'), [])

    def test_clients_over_a_rotation(self):
        """Before the keys are there: come again. A key nobody has: come again, then never. A new one: it comes."""
        old, new, foreign = (Signer(self, kid) for kid in ('old', 'new', 'foreign'))
        s = self.server(status=503)
        d = self.start(workers=1, token_jwks_url=s.url)

        def connect(token):
            """What a client is told: its user's channel, an error's code, or a close code."""
            with Client(d.client) as c:
                c.say({'id': 1, 'connect': {'token': token}})
                try:
                    m = c.next()
                except Closed as e:
                    return int(str(e).split()[1])
                return 'connected' if 'connect' in m else m['error']['code']

        self.assertEqual(connect(old.token(sub='1')), 100)
        s.answer = (200, json.dumps({'keys': [old.jwk]}).encode(), {})
        self.wait_kids(d, 'old')
        self.assertEqual(connect(old.token(sub='1')), 'connected')
        s.answer = (200, json.dumps({'keys': [old.jwk, new.jwk]}).encode(), {})
        asked = s.requests
        tokens = [x.token(sub='1') for x in (foreign, foreign, new)]
        s.speaks.clear()
        self.assertEqual([connect(x) for x in tokens], [100, 100, 100])
        s.speaks.set()
        self.wait_kids(d, 'old', 'new')
        self.assertEqual(s.requests, asked + 1)
        self.assertEqual([connect(x.token(sub='1')) for x in (old, new, foreign)], ['connected', 'connected', 3500])

    def test_none_without_a_url(self):
        d = self.start(workers=1)
        self.assertEqual(self.egress(d), [])
        self.assertNotIn('process="egress"', d.http('GET', '/metrics').body.decode())

    def test_what_the_process_holds(self):
        s = self.server()
        d = self.start(workers=2, token_jwks_url=s.url)
        self.wait_kids(d, '1')
        pid = self.egress(d)[0]['pid']
        self.assertIn('roost_process_up{process="egress"} 1', d.http('GET', '/metrics').body.decode())
        links = descriptors(pid)
        sockets = {re.search(r'\d+', x).group() for x in links if x.startswith('socket')}
        with open('/proc/%d/net/tcp' % pid, encoding='ascii') as f:
            listening = {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == '0A'}
        self.assertFalse(sockets & listening)
        self.assertFalse([x for x in links if 'memfd' in x])

    def test_addresses_that_are_refused(self):
        for url in ('http://example.com/keys', 'https://u:p@example.com/', 'https://example.com/{{iss}}', 'nowhere'):
            p = subprocess.run([ROOSTD, '--set', 'token_jwks_url=' + url, '--set', 'listen=127.0.0.1:0'], capture_output=True,
                               text=True, timeout=60)
            self.assertNotEqual(p.returncode, 0)
            self.assertIn('token_jwks_url: the address ', p.stderr)


if __name__ == '__main__':
    unittest.main()
