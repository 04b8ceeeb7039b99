#!/usr/bin/python3
"""testssl.sh, of Debian, against a listener with the default settings: nothing that it calls worse than low."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../integration'))

from daemon import DaemonTest  # noqa: E402
from pki import Pki  # noqa: E402

# About the machine that looks, not about what it sees.
OURS = {'engine_problem', 'scanTime'}
# About a certificate of a private authority.
PRIVATE = ('cert_chain_of_trust', 'cert_revocation', 'OCSP_stapling', 'cert_ocspURL', 'cert_crlDistributionPoints',
           'DNS_CAArecord', 'certificate_transparency', 'cert_trust', 'cert_validityPeriod', 'cert_expirationStatus')
GOOD = ('OK', 'INFO', 'LOW', 'DEBUG')


class Testssl(DaemonTest):
    def test_default_listener(self):
        with Pki() as pki, tempfile.TemporaryDirectory() as folder:
            pki.make('rsa', kind='RSA')
            d = self.start(workers=1, **pki.settings('server', 'rsa'))
            path = os.path.join(folder, 'findings.json')
            # Protocols, suites, forward secrecy, order, what the server shows, known attacks.
            r = subprocess.run(['testssl', '--quiet', '--color', '0', '--warnings', 'batch', '--fast', '--add-ca', pki.path('ca.pem'),
                                '-p', '-s', '-f', '-P', '-S', '-U', '--jsonfile', path, 'localhost:' + d.client.rsplit(':', 1)[1]],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500)
            with open(path) as f:
                findings = json.load(f)
        seen = {x['id']: x for x in findings}
        self.assertIn('TLS1_3', seen, r.stdout)
        self.assertIn('LUCKY13', seen, r.stdout)  # the last of the attacks but one: the scan has come to its end
        bad = [(x['severity'], x['id'], x['finding']) for x in findings
               if x['severity'] not in GOOD and x['id'] not in OURS and not x['id'].startswith(PRIVATE)
               and 'local OpenSSL' not in x['finding']]
        self.assertEqual(bad, [])


if __name__ == '__main__':
    unittest.main(verbosity=0)
