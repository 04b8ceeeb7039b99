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


# Its s_client ends at once, before a ticket of TLS 1.3 has come when the machine is busy; then there is nothing to resume with.
NOT_TRIED = ('sessionresumption_ticket', 'check failed because of connect problem')


class Testssl(DaemonTest):
    def scan(self, *checks):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'findings.json')
            r = subprocess.run(['testssl', '--quiet', '--color', '0', '--warnings', 'batch', '--fast', '--add-ca', self.pki.path('ca.pem'),
                                *checks, '--jsonfile', path, 'localhost:' + self.d.client.rsplit(':', 1)[1]],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3000)
            with open(path) as f:
                return json.load(f), r.stdout

    def test_default_listener(self):
        self.pki = self.enterContext(Pki())
        self.pki.make('rsa', kind='RSA')
        self.d = self.start(workers=1, **self.pki.settings('server', 'rsa'))
        # Protocols, suites, forward secrecy, order, what the server shows, known attacks.
        findings, text = self.scan('-p', '-s', '-f', '-P', '-S', '-U')
        seen = {x['id'] for x in findings}
        self.assertIn('TLS1_3', seen, text)
        self.assertIn('LUCKY13', seen, text)  # the last of the attacks but one: the scan has come to its end
        for _ in range(5):
            if NOT_TRIED in [(x['id'], x['finding']) for x in findings]:
                again = [x for x in self.scan('-S')[0] if x['id'] == NOT_TRIED[0]]
                self.assertTrue(again)
                findings = [x for x in findings if x['id'] != NOT_TRIED[0]] + again
        bad = [(x['severity'], x['id'], x['finding']) for x in findings
               if x['severity'] not in GOOD and x['id'] not in OURS and not x['id'].startswith(PRIVATE)
               and 'local OpenSSL' not in x['finding']]
        self.assertEqual(bad, [])


if __name__ == '__main__':
    unittest.main(verbosity=0)
