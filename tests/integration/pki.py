"""Certificates for tests of TLS, made by openssl: an authority and what it has signed, in a folder."""

import os
import ssl
import subprocess
import tempfile


def openssl(*args, **kw):
    return subprocess.run(['openssl', *args], check=True, capture_output=True, **kw)


class Pki:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix='roost-pki-')
        self.authority('ca')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def authority(self, name):
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj',
                '/CN=%s of tests' % name, '-keyout', self.path(name + '.key'), '-out', self.path(name + '.pem'))

    def make(self, name, names=('DNS:localhost', 'IP:127.0.0.1'), kind='P-256', days=90, ca='ca', subject=None, usage='serverAuth'):
        """A key and a certificate with its chain: NAME.key, NAME.pem."""
        key = ('rsa:2048',) if kind == 'RSA' else ('ed25519',) if kind == 'ED25519' else ('ec', '-pkeyopt', 'ec_paramgen_curve:' + kind)
        openssl('req', '-newkey', *key, '-nodes', '-subj', subject or '/CN=' + name, '-keyout', self.path(name + '.key'),
                '-out', self.path(name + '.csr'))
        with open(self.path(name + '.ext'), 'w') as f:
            f.write('extendedKeyUsage=%s\n' % usage + ('subjectAltName=%s\n' % ','.join(names) if names else ''))
        openssl('x509', '-req', '-in', self.path(name + '.csr'), '-CA', self.path(ca + '.pem'), '-CAkey', self.path(ca + '.key'),
                '-days', str(days), '-extfile', self.path(name + '.ext'), '-out', self.path(name + '.one'))
        with open(self.path(name + '.pem.new'), 'w') as out:
            for part in (name + '.one', ca + '.pem'):
                with open(self.path(part)) as f:
                    out.write(f.read())
        os.rename(self.path(name + '.pem.new'), self.path(name + '.pem'))
        return self

    def settings(self, *names, prefix=''):
        """Settings of a listener with these certificates, which are made if they are not there."""
        for name in names:
            if not os.path.exists(self.path(name + '.pem')):
                self.make(name)
        return {prefix + 'tls_certificate': ','.join(self.path(n + '.pem') for n in names),
                prefix + 'tls_key': ','.join(self.path(n + '.key') for n in names)}

    def client(self, certificate=None, version=None, ca='ca'):
        """A context that trusts the authority; certificate: what it shows."""
        context = ssl.create_default_context(cafile=self.path(ca + '.pem'))
        if certificate:
            context.load_cert_chain(self.path(certificate + '.pem'), self.path(certificate + '.key'))
        if version:
            context.minimum_version = context.maximum_version = version
        return context
