#!/usr/bin/python3
"""roostctl import centrifugo: configurations of Centrifugo 6 and 5 become ours, what cannot is told, and the daemon starts with it."""

import json
import subprocess
import unittest

from daemon import ROOSTCTL, SLOW, DaemonTest, run_roostd
from wsraw import WebSocket

FOSSIL = {'allowed_delta_types': ['fossil'], 'delta_publish': True}
RECOVERY = {'history_size': 100, 'history_ttl': '300s', 'force_recovery': True}
SMALL = {**RECOVERY, 'name': 'smallhistory', 'history_size': 2}
OPEN = {'allow_subscribe_for_client': True, 'allow_subscribe_for_anonymous': True, 'allow_publish_for_subscriber': True,
        'allow_publish_for_anonymous': True, 'allow_presence_for_client': True, 'allow_presence_for_anonymous': True}
SECRET = {'hmac_secret_key': 'secret'}
LOOPBACK = {'address': '127.0.0.1', 'port': 8000}

# What the suites of existing clients expect; name -> (configuration of version 6, exit status).
SUITES = {
    'JavaScript': ({
        'client': {'allow_anonymous_connect_without_token': True, 'token': SECRET}, 'http_stream': {'enabled': True},
        'sse': {'enabled': True}, 'http_api': {'key': 'test-api-key'},
        'channel': {'without_namespace': {'presence': True, **RECOVERY, **FOSSIL, **OPEN},
                    'namespaces': [{'name': 'delta', **RECOVERY, **FOSSIL}, {'name': 'recovery', **RECOVERY}, SMALL]}}, 0),
    'JavaScript, insecure': ({
        'client': {'insecure': True, 'concurrency': 8, 'token': SECRET}, 'http_stream': {'enabled': True},
        'sse': {'enabled': True}, 'http_api': {'key': 'test-api-key'}, 'shared_poll': {'hmac_secret_key': 'test-poll-secret'},
        'channel': {'without_namespace': {'presence': True, **RECOVERY, **FOSSIL},
                    'namespaces': [{'name': 'delta', **RECOVERY, **FOSSIL}, {'name': 'recovery', **RECOVERY}, SMALL,
                                   {'name': 'streamless', 'subscription_type': 'map', 'map': {'mode': 'streamless', 'key_ttl': '60s'},
                                    'client_publish_debounce_interval': '10ms'}]}}, 0),
    'Python': ({
        'client': {'token': SECRET, 'subscribe_to_user_personal_channel': {'enabled': True}},
        'channel': {'without_namespace': {
            'presence': True, 'join_leave': True, 'force_push_join_leave': True, **RECOVERY, **FOSSIL,
            'allow_publish_for_subscriber': True, 'allow_presence_for_subscriber': True, 'allow_history_for_subscriber': True},
            'namespaces': [SMALL]}}, 0),
    'Go': ({'client': {'insecure': True}, 'channel': {'without_namespace': {**RECOVERY, **FOSSIL}, 'namespaces': [SMALL]}}, 0),
    'Java and C#': ({
        'http_server': LOOPBACK, 'client': {'insecure': True, 'concurrency': 8, 'token': SECRET}, 'http_stream': {'enabled': True},
        'http_api': {'insecure': True},
        'channel': {'without_namespace': {'presence': True, 'force_positioning': True, 'history_size': 10, 'history_ttl': '60s',
                                          'join_leave': True, 'force_push_join_leave': True, **FOSSIL},
                    'namespaces': [{'name': 'recovery', **RECOVERY}, SMALL]}}, 0),
    'Java and C#, everywhere': ({'client': {'insecure': True}, 'http_api': {'insecure': True},
                                 'channel': {'without_namespace': {'presence': True}}}, 3),
    'Swift and Dart': ({'client': {'insecure': True}, 'channel': {'without_namespace': RECOVERY, 'namespaces': [SMALL]}}, 0),
    'API libraries': ({'http_api': {'key': 'api_key'},
                       'channel': {'without_namespace': {'presence': True, 'history_size': 100, 'history_ttl': '300s'}}}, 0),
    'others': ({
        'client': {'ping_interval': '3s', 'pong_timeout': '1s', 'stale_close_delay': '2s', 'expired_close_delay': '1s',
                   'expired_sub_close_delay': '1s', 'channel_limit': 12, 'user_connection_limit': 4,
                   'history_max_publication_limit': 20, 'recovery_max_publication_limit': 100, 'presence_update_interval': '2s',
                   'token': SECRET},
        'http_stream': {'enabled': True}, 'sse': {'enabled': True}, 'uni_websocket': {'enabled': True},
        'uni_sse': {'enabled': True}, 'uni_http_stream': {'enabled': True},
        'channel': {'namespaces': [{'name': 'ns%d' % i, **RECOVERY} for i in range(11)]}}, 0),
}


def flat(config):
    """The same for version 5."""
    renamed = {'http_server.address': 'address', 'http_server.port': 'port', 'http_api.key': 'api_key', 'http_api.insecure': 'api_insecure',
               'client.subscribe_to_user_personal_channel.enabled': 'user_subscribe_to_personal',
               'client.allow_anonymous_connect_without_token': 'allow_anonymous_connect_without_token',
               'client.ping_interval': 'ping_interval', 'client.pong_timeout': 'pong_timeout',
               'client.token.hmac_secret_key': 'token_hmac_secret_key', 'channel.namespaces': 'namespaces'}
    out = {}

    def walk(value, path):
        if isinstance(value, dict):
            for k, v in value.items():
                walk(v, path + [k])
            return
        name = '.'.join(path)
        if name.startswith('channel.without_namespace.'):
            out[path[2]] = value
        elif path[-1] == 'enabled' and name not in renamed:
            out[path[0]] = value
        else:
            out[renamed.get(name, '_'.join(path))] = value

    walk({k: v for k, v in config.items() if k != 'shared_poll'}, [])
    return out


class Import(DaemonTest):
    def run_import(self, text, suffix='.json', stdin=None):
        path = '-' if stdin else self.file(text if isinstance(text, str) else json.dumps(text, indent=2), suffix)
        p = subprocess.run([ROOSTCTL, 'import', 'centrifugo', path], capture_output=True, text=True, timeout=20 * SLOW,
                           **({'input': stdin} if stdin else {'stdin': subprocess.DEVNULL}))
        return p.returncode, p.stdout, p.stderr

    def settings(self, config, status=0):
        got, out, err = self.run_import(config)
        self.assertEqual(got, status, err)
        return [x for x in out.split('\n') if x and not x.startswith('#')], err

    def test_the_suites_of_clients(self):
        for name, (config, status) in SUITES.items():
            for version, c in ((6, config), (5, flat(config))):
                with self.subTest(name, version=version):
                    got, out, err = self.run_import(c)
                    self.assertEqual(got, status, err)
                    code, said, refused = run_roostd('--check', '--config', self.file(out))
                    self.assertEqual(code, 0, refused)
                    d = self.start(config=self.file(out))
                    with WebSocket(d.client, '/ws/x') as c5:
                        self.assertEqual(c5.response.status, 404)  # plain is off

    def test_both_versions_are_the_same(self):
        for name, (config, status) in SUITES.items():
            with self.subTest(name):
                a, b = self.settings(config, status)[0], self.settings(flat(config), status)[0]
                self.assertEqual([x for x in a if 'map' not in x], b)

    def test_what_comes_out(self):
        out, err = self.settings(SUITES['others'][0])
        for line in ('ping_interval: 3s', 'pong_timeout: 1s', 'stale_close_delay: 2s', 'channel_limit: 12', 'user_connection_limit: 4',
                     'history_max_publication_limit: 20', 'uni_sse: true', 'plain: false', 'api_error_mode: centrifugo',
                     'namespaces:', '- name: "ns10"', '  history_size: 100', '  history_ttl: 300s', '  force_recovery: true'):
            self.assertIn(line, out)
        self.assertNotIn('api_on_client_listener: true', out)  # nobody could ask it
        self.assertEqual(err, '')

    def test_listeners(self):
        for server, api, want in (
                ({}, {}, []),
                ({'port': 9000}, {'key': 'k'}, ['listen: ":9000"', 'api_on_client_listener: true']),
                ({'address': '127.0.0.1'}, {'key': 'k'}, ['listen: "127.0.0.1:8000"', 'api_on_client_listener: true']),
                ({'address': '::1', 'port': '81'}, {}, ['listen: "[::1]:81"']),
                ({'internal_port': '9001'}, {'key': 'k'}, ['admin_listen: ":9001"']),
                ({'internal_port': '9001', 'internal_address': '127.0.0.1'}, {}, ['admin_listen: "127.0.0.1:9001"']),
                ({'internal_port': '9001'}, {}, ['admin_listen: "127.0.0.1:9001"']),
                ({'internal_port': '9001'}, {'key': 'k', 'external': True}, ['admin_listen: ":9001"', 'api_on_client_listener: true']),
                ({}, {'key': 'k', 'disabled': True}, []),
                (LOOPBACK, {'insecure': True}, ['listen: "127.0.0.1:8000"', 'api_insecure: true', 'api_on_client_listener: true'])):
            with self.subTest(server=server, api=api):
                out, _ = self.settings({'http_server': server, 'http_api': api})
                self.assertEqual(sorted(x for x in out if x.split(':')[0] in ('listen', 'admin_listen', 'api_insecure', 'api_on_client_listener')),
                                 sorted(want))

    def test_an_open_api_is_not_carried_beyond_this_machine(self):
        out, err = self.settings({'http_api': {'insecure': True}}, status=3)
        self.assertNotIn('api_insecure', ' '.join(out))
        self.assertIn('http_api.insecure: not carried over, and it protects: ', err)

    def test_error_mode(self):
        self.assertIn('api_error_mode: transport', self.settings({'http_api': {'error_mode': 'transport'}})[0])
        self.assertIn('api_error_mode: centrifugo', self.settings({'api_error_mode': ''})[0])

    def test_what_is_told(self):
        for config, status, said in (
                ({'admin': {'enabled': True, 'password': 'x'}}, 0, 'admin.enabled: not carried over: the admin page is at /admin of the admin listener'),
                ({'admin': False}, 0, ''),
                ({'engine': {'type': 'redis', 'redis': {'address': 'redis://x:6379?y=z'}}}, 0,
                 'engine.redis.address: not carried over: there is no such form'),
                ({'engine': {'type': 'redis', 'redis': {'address': ['redis://:a@x', 'redis://:b@y']}}}, 0, 'different users or passwords'),
                ({'engine': {'type': 'redis', 'redis': {'tls': {'enabled': True, 'server_ca_pem': '-----BEGIN CERTIFICATE-----\nx'}}}}, 3,
                 'engine.redis.tls.server_ca_pem: not carried over, and it protects: it is PEM'),
                ({'engine': 'redis', 'redis_tls': True, 'redis_tls_root_ca_pem': 'x'}, 3,
                 'redis_tls_root_ca_pem: not carried over, and it protects: it is in a file here'),
                ({'engine': 'tarantool'}, 0, 'engine.type: not carried over: memory, redis and nats'),
                ({'engine': 'memory'}, 0, ''),
                ({'websocket': {'compression': True}}, 0, ''),
                ({'http_server': {'tls': {'enabled': True, 'cert_pem': 'x'}}}, 3,
                 'http_server.tls: not carried over, and it protects: without files of a certificate and its key'),
                ({'http_server': {'tls': {'enabled': True, 'cert_pem': 'LS0tLS1CRUdJTg==', 'key_pem': 'k'}}}, 3,
                 'http_server.tls.cert_pem: not carried over, and it protects: it is PEM'),
                ({'http_server': {'tls': {'enabled': True, 'cert_pem': 'c', 'key_pem': 'k', 'client_ca_pem': 'x'}}}, 3,
                 'http_server.tls.client_ca_pem: not carried over, and it protects'),
                ({'http_server': {'tls_autocert': {'enabled': True}}}, 3, 'http_server.tls_autocert.enabled: not carried over, and it protects'),
                ({'tls': True}, 3, 'http_server.tls: not carried over, and it protects: without files'),
                ({'client': {'proxy': {'connect': {'enabled': True}}}}, 3, 'client.proxy.connect.enabled: not carried over, and it protects'),
                ({'proxy_connect_endpoint': 'http://x'}, 3, 'proxy_connect_endpoint: not carried over, and it protects'),
                ({'namespaces': [{'name': 'chat', 'proxy_subscribe': True}]}, 3,
                 'namespace chat: proxy_subscribe: not carried over, and it protects'),
                ({'channel': {'private_prefix': '_'}}, 3, 'channel.private_prefix: not carried over, and it protects'),
                ({'channel_private_prefix': '$'}, 0, ''),
                ({'client': {'allowed_origins': ['not an origin']}}, 3, 'client.allowed_origins: not carried over, and it protects'),
                ({'client': {'token': {'jwks_public_endpoint': 'https://example.com/keys'}}}, 0, ''),
                ({'client': {'token': {'jwks_public_endpoint': 'http://example.com/keys'}}}, 3,
                 'client.token.jwks_public_endpoint: not carried over, and it protects: the address is neither https'),
                ({'client': {'token': {'jwks_public_endpoint': 'https://example.com/{{realm}}/keys'}}}, 3, 'has a template'),
                ({'client': {'token': {'hmac_secret_key': 'with blanks'}}}, 3, 'client.token.hmac_secret_key: not carried over, and it protects'),
                                ({'client': {'token': {'hmac_secret': 'typo'}}}, 3, 'client.token.hmac_secret: not carried over, and it protects: it is no option'),
                ({'channel': {'without_namespace': {'channel_regex': 'a[b'}}}, 3, '')):
            with self.subTest(config):
                got, out, err = self.run_import(config)
                if 'channel_regex' in str(config):  # what roostd would refuse
                    self.assertEqual(got, 1, err)
                    self.assertIn('channel_regex: missing terminating ]', err)
                    continue
                self.assertEqual(got, status, err)
                self.assertIn(said, err)
                self.assertEqual(bool(said), bool(err))

    def certificate(self):
        cert, key = self.file('', '.pem'), self.file('', '.pem')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost',
                        '-keyout', key, '-out', cert], check=True, capture_output=True)
        return cert, key

    def test_engines(self):
        """Version 6, version 5, and what both become; roostd takes it."""
        ca, _ = self.certificate()
        for v6, v5, want in (
                ({'engine': {'type': 'redis', 'redis': {'address': ['redis://r1:6379/2', 'r2:6380'], 'user': 'ann', 'password': 'pw', 'prefix': 'app'}}},
                 {'engine': 'redis', 'redis_address': 'redis://r1:6379/2,r2:6380', 'redis_user': 'ann', 'redis_password': 'pw', 'redis_prefix': 'app'},
                 ['engine: redis', 'engine_address: ["redis://r1:6379/2", "redis://r2:6380"]', 'engine_user: "ann"', 'engine_password: "pw"',
                  'engine_prefix: "app"']),
                ({'engine': {'type': 'redis', 'redis': {'sentinel_address': ['s1:26379', 's2'], 'sentinel_master_name': 'main', 'db': 3,
                                                        'sentinel_user': 'eve', 'sentinel_password': 'sp'}}},
                 {'engine': 'redis', 'redis_sentinel_address': 's1:26379,s2', 'redis_sentinel_master_name': 'main', 'redis_db': 3,
                  'redis_sentinel_user': 'eve', 'redis_sentinel_password': 'sp'},
                 ['engine: redis', 'engine_address: ["redis+sentinel://s1:26379/3?master=main", "redis+sentinel://s2:26379/3?master=main"]',
                  'engine_sentinel_user: "eve"', 'engine_sentinel_password: "sp"']),
                ({'engine': {'type': 'redis', 'redis': {'cluster_address': ['c1:7000,c2:7001'], 'tls': {'enabled': True, 'server_ca_pem': ca}}}},
                 {'engine': 'redis', 'redis_cluster_address': ['c1:7000,c2:7001'], 'redis_tls': True, 'redis_tls_root_ca': ca},
                 ['engine: redis', 'engine_address: ["rediss+cluster://c1:7000", "rediss+cluster://c2:7001"]', 'engine_tls_ca: "%s"' % ca]),
                ({'engine': {'type': 'redis', 'redis': {'address': 'r:1', 'tls': {'enabled': True, 'insecure_skip_verify': True}}}},
                 {'engine': 'redis', 'redis_address': 'r:1', 'redis_tls': True, 'redis_tls_insecure_skip_verify': True},
                 ['engine: redis', 'engine_address: ["rediss://r:1"]', 'engine_tls_verify: false']),
                ({'broker': {'enabled': True, 'type': 'nats', 'nats': {'url': 'nats://ann:pw@n1:4222,n2', 'prefix': 'app'}}},
                 {'broker': 'nats', 'nats_url': 'nats://ann:pw@n1:4222,n2', 'nats_prefix': 'app'},
                 ['engine: nats', 'engine_address: ["nats://n1:4222", "nats://n2:4222"]', 'engine_user: "ann"', 'engine_password: "pw"',
                  'engine_prefix: "app"'])):
            for config in (v6, v5):
                with self.subTest(config):
                    out, err = self.settings(config)
                    self.assertEqual(err, '')
                    self.assertEqual([x for x in out if x.startswith('engine')], want)
                    code, _, refused = run_roostd('--check', '--config', self.file('\n'.join(out)))
                    self.assertEqual(code, 0, refused)

    def test_what_nats_does_not_keep_is_refused(self):
        got, _, err = self.run_import({'broker': 'nats', 'presence': True})
        self.assertEqual(got, 1)
        self.assertIn('channel_without_namespace has presence, which engine: nats cannot do', err)

    def test_tls(self):
        cert, key = '/etc/c.pem', '/etc/k k.pem'
        ours, admin = (['%stls_certificate: ["%s"]' % (p, cert), '%stls_key: ["%s"]' % (p, key)] for p in ('', 'admin_'))
        pair = {'enabled': True, 'cert_pem': cert, 'key_pem': key}
        for config, want in (
                ({'http_server': {'tls': pair}}, ours), ({'tls': True, 'tls_cert': cert, 'tls_key': key}, ours),
                ({'http_server': {'tls': {'enabled': True, 'cert_pem_file': cert, 'key_pem_file': key}}}, ours),
                ({'http_server': {'tls': pair, 'internal_port': 9000, 'internal_address': '127.0.0.1'}}, ours + admin),
                ({'http_server': {'tls': pair, 'tls_external': True, 'internal_port': 9000, 'internal_address': '127.0.0.1'}}, ours),
                ({'http_server': {'internal_tls': pair, 'internal_port': 9000, 'internal_address': '127.0.0.1'}}, admin),
                ({'http_server': {'tls': {**pair, 'enabled': False}}}, []), ({'tls_cert': cert, 'tls_key': key}, [])):
            with self.subTest(config):
                out, err = self.settings(config)
                self.assertEqual(err, '')
                self.assertEqual([x for x in out if 'tls' in x], want)

    def test_certificates_are_found(self):
        cert, key = self.certificate()
        out, _ = self.settings({'tls': True, 'tls_cert': cert, 'tls_key': key})
        code, _, refused = run_roostd('--check', '--config', self.file('\n'.join(out)))
        self.assertEqual(code, 0, refused)

    def test_compression(self):
        for config in ({'websocket': {'compression': True, 'compression_min_size': 100, 'compression_level': 2}},
                       {'websocket_compression': True, 'websocket_compression_min_size': 100, 'websocket_compression_level': 2}):
            out, err = self.settings(config)
            self.assertEqual(err, '')
            self.assertEqual([x for x in out if x.startswith('compression')], ['compression: true', 'compression_min_size: 100', 'compression_level: 2'])

    def test_a_secret_is_in_no_message(self):
        for address in ('redis://:hunter2@h?x', 'redis://:hunter2/@h', 'redis+x://hunter2'):
            _, out, err = self.run_import({'engine': 'redis', 'redis_address': address})
            self.assertNotIn('hunter2', out + err)
        _, out, err = self.run_import({'client': {'token': {'hmac_secret_key': 'hunter2 hunter2'}}})
        self.assertNotIn('hunter2', out + err)

    def test_yaml(self):
        got, out, err = self.run_import('client:\n  allowed_origins:\n    - https://*.example.com\n  token:\n    hmac_secret_key: s3cret\n'
                                        'log:\n  level: trace\nchannel:\n  namespaces:\n    - presence: true\n      name: chat\n', '.yaml')
        self.assertEqual((got, err), (0, ''))
        for line in ('allowed_origins: ["https://*.example.com"]', 'token_hmac_secret_key: "s3cret"', 'log_level: debug',
                     '- name: "chat"', '  presence: true'):
            self.assertIn(line, out.split('\n'))

    def test_key_in_pem(self):
        pem = subprocess.run(['openssl', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'], capture_output=True, text=True).stdout
        public = subprocess.run(['openssl', 'pkey', '-pubout'], input=pem, capture_output=True, text=True).stdout
        out, _ = self.settings({'client': {'token': {'rsa_public_key': public}}})
        code, _, refused = run_roostd('--check', '--config', self.file('\n'.join(out)))
        self.assertEqual(code, 0, refused)

    def test_no_configuration(self):
        for text, suffix, said in (('[http_server]\nport = 8000\n', '.toml', 'this is TOML; convert it first: python3 -c'),
                                   ('port = 8000\n', '.conf', 'this is TOML'),
                                   ('{"a": [', '.json', ':2: did not find'), ('', '.json', 'expected options'), ('[1]', '.json', 'expected options'),
                                   ('a: &a [*a]\n', '.yaml', '')):
            with self.subTest(text):
                got, out, err = self.run_import(text, suffix)
                if said:
                    self.assertEqual((got, out), (1, ''), err)
                self.assertIn(said, err)

    def test_the_toml_command(self):
        """What the message names, run."""
        _, _, err = self.run_import('[http_server]\nport = 9000\n', '.toml')
        command = err.split('convert it first: ')[1].strip()
        with open(self.file(''), 'w') as f:
            f.write('[http_server]\nport = 9000\n')
            f.flush()
            p = subprocess.run(['sh', '-c', command.replace('config.toml', f.name).replace('> config.json', '')], capture_output=True, text=True)
        self.assertEqual(json.loads(p.stdout), {'http_server': {'port': 9000}}, p.stderr)

    def test_from_standard_input(self):
        got, out, err = self.run_import(None, stdin='{"port": 9000}')
        self.assertEqual((got, err), (0, ''))
        self.assertIn('listen: ":9000"', out)

    def test_usage(self):
        for args in (['import'], ['import', 'centrifugo'], ['import', 'mosquitto', 'x']):
            self.assertEqual(subprocess.run([ROOSTCTL, *args], capture_output=True).returncode, 2)


if __name__ == '__main__':
    unittest.main(verbosity=0)
