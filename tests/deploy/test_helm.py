#!/usr/bin/python3
"""The chart of deploy/helm: helm itself lints and renders it; what comes out is what Kubernetes knows, and runs."""

import json
import os
import re
import sys
import tempfile
import unittest

import yaml

from kube import NAMES, SECRETS, Held, complaints, container, helm, objects, pick
from prometheus import TOP, read

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from engines import Redis  # noqa: E402

CHART = 'deploy/helm/roost'
EVERYTHING = {
    'config': {'engine': 'redis', 'engine_address': ['redis://redis.redis.svc:6379'], 'max_connections': 2000000, 'allowed_origins': ['https://*.example.com'],
               'token_jwks_url': 'https://example.com/keys', 'channel_without_namespace': {'allow_subscribe_for_client': True}},
    'secretFiles': {'engine_password_file': {'secret': 'redis', 'key': 'password'},
                    'token_hmac_secret_key_file': {'secret': 'tokens', 'key': 'hmac'}},
    'keys': {'existingSecret': 'own-keys'}, 'drainSeconds': 120, 'preStopSeconds': 10,
    'autoscaling': {'enabled': True}, 'ingress': {'enabled': True, 'tlsSecret': 'roost-tls'},
    'serviceMonitor': {'enabled': True, 'labels': {'release': 'monitoring'}}, 'prometheusRule': {'enabled': True}, 'dashboard': {'enabled': True},
    'imagePullSecrets': [{'name': 'registry'}], 'nodeSelector': {'kubernetes.io/os': 'linux'}, 'podAnnotations': {'a': 'b'}, 'podLabels': {'c': 'd'},
    'tolerations': [{'key': 'x', 'operator': 'Exists'}], 'affinity': {'podAntiAffinity': {}},
    'networkPolicy': {'extraEgress': [{'ports': [{'port': 8080, 'protocol': 'TCP'}]}]},
}


class Chart(Held, unittest.TestCase):
    def values(self, values):
        f = self.enterContext(tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-values-'))
        yaml.safe_dump(values, f)
        f.flush()
        return f.name

    def render(self, values=None, *args):
        p = helm('template', 'gateway', CHART, '--namespace', 'edge', '--values', self.values(values or {}), *args)
        return objects(p.stdout)

    def refused(self, values):
        return helm('template', 'gateway', CHART, '--values', self.values(values), status=1).stderr

    def test_lint(self):
        for values in {}, EVERYTHING:
            out = helm('lint', '--strict', CHART, '--values', self.values(values)).stdout
            self.assertIn('0 chart(s) failed', out)

    def test_defaults(self):
        some = self.render()
        self.hold(some)
        keys = pick(some, 'Secret', 'gateway-roost-keys')['data']
        self.assertEqual({k: len(v) for k, v in keys.items()}, {'api-key': 44, 'metrics-key': 44})
        self.assertNotEqual(keys['api-key'], keys['metrics-key'])
        self.runs(some)

    def test_everything(self):
        redis = Redis(password=SECRETS['password'])
        self.addCleanup(redis.stop)
        some = self.render(EVERYTHING)
        here = {'engine_address': ['unix:' + redis.path]}
        self.hold(some)
        self.assertEqual([o for o in some if o['kind'] == 'Secret'], [])
        for kind in 'HorizontalPodAutoscaler', 'Ingress', 'ServiceMonitor', 'PrometheusRule', 'PodDisruptionBudget':
            pick(some, kind)
        self.assertEqual(pick(some, 'PrometheusRule')['spec'], yaml.safe_load(read('deploy/prometheus/roost-rules.yml')))
        self.assertEqual(json.loads(pick(some, 'ConfigMap', 'gateway-roost-dashboard')['data']['roost-dashboard.json']),
                         json.loads(read('deploy/grafana/roost-dashboard.json')))
        self.assertEqual(pick(some, 'Deployment')['spec']['template']['spec']['terminationGracePeriodSeconds'], 10 + 120 + 5 + 10)
        self.assertEqual(pick(some, 'Deployment')['spec']['minReadySeconds'], 10 + 120 + 5)
        self.assertNotIn('minReadySeconds', pick(self.render(), 'Deployment')['spec'])  # the only pod is not waited for
        egress = {p['port'] for r in pick(some, 'NetworkPolicy')['spec']['egress'] for p in r['ports']}
        self.assertEqual(egress, NAMES | {6379, 443, 8080})
        # A large number is still one: YAML's reader makes floats of them.
        self.assertEqual(yaml.safe_load(pick(some, 'ConfigMap', 'gateway-roost')['data']['roost.yaml'])['max_connections'], 2000000)
        self.runs(some, token_jwks_url=None, **here)

    def test_the_test_of_helm(self):
        """helm test asks the admin service, without a key."""
        some = self.render()
        pod = pick(some, 'Pod')
        self.assertEqual(pod['metadata']['annotations']['helm.sh/hook'], 'test')
        one, = pod['spec']['containers']
        self.assertEqual(one['command'], ['/usr/local/bin/roostctl', 'ready'])
        service = pick(some, 'Service', 'gateway-roost-admin')
        self.assertEqual(one['env'], [{'name': 'ROOSTCTL_ADMIN', 'value': 'http://gateway-roost-admin:%d' % service['spec']['ports'][0]['port']}])
        self.assertEqual(one['image'], container(pick(some, 'Deployment'))['image'])
        values = {'imagePullSecrets': [{'name': 'registry'}], 'image': {'pullPolicy': 'Always'}, 'nodeSelector': {'a': 'b'}, 'tolerations': [{'operator': 'Exists'}]}
        pod = pick(self.render(values), 'Pod')['spec']  # it comes to the same image, on the same machines
        self.assertEqual({k: pod[k] for k in values if k != 'image'}, {k: v for k, v in values.items() if k != 'image'})
        self.assertEqual(pod['containers'][0]['imagePullPolicy'], 'Always')

    def test_the_way_out_is_open_for_what_the_settings_name(self):
        for config, ports in (
                ({}, set()),
                ({'engine_address': ['redis://other:1']}, set()),  # without an engine
                ({'engine': 'redis', 'engine_address': ['redis://a', 'rediss://b:6380/3', 'unix:/run/redis.sock']}, {6379, 6380}),
                ({'engine': 'redis', 'engine_address': 'redis://a:1, redis://[2001:db8::1]:2,redis://[2001:db8::2]'}, {1, 2, 6379}),
                ({'engine': 'redis'}, {6379}),  # the address may come from extraEnv
                ({'engine': 'redis', 'engine_address': ['redis+sentinel://s1:26380,s2,s3/0?master=m']}, {26380, 26379, 6379}),
                ({'engine': 'redis', 'engine_address': ['rediss+cluster://a:7000']}, {7000}),
                ({'engine': 'nats', 'engine_address': ['nats://a', 'tls://b:4223']}, {4222, 4223}),
                ({'token_jwks_url': 'https://a.example/keys', 'subscription_token_jwks_url': 'https://b.example:8443/k?a=1:9'}, {443, 8443})):
            with self.subTest(config):
                rules = pick(self.render({'config': config}), 'NetworkPolicy')['spec']['egress']
                self.assertEqual({p['port'] for r in rules for p in r['ports']}, ports | NAMES)

    def test_what_a_cluster_adds(self):
        """Variables, files, an account, numbers of the platform's: what comes out is known to Kubernetes, and runs."""
        account = {'create': False, 'name': 'mine'}
        some = self.render({
            'extraEnv': [{'name': 'ROOST_LOG_LEVEL', 'value': 'debug'}], 'extraEnvFrom': [{'configMapRef': {'name': 'proxy'}}],
            'extraVolumes': [{'name': 'more', 'emptyDir': {}}], 'extraVolumeMounts': [{'name': 'more', 'mountPath': '/more', 'readOnly': True}],
            'serviceAccount': account, 'priorityClassName': 'high', 'image': {'digest': 'sha256:' + 64 * 'a'},
            'podSecurityContext': {'runAsUser': None, 'runAsGroup': None, 'fsGroup': None}, 'ingress': {'enabled': True, 'className': ''},
            'service': {'type': 'LoadBalancer', 'nodePort': 30080, 'externalTrafficPolicy': 'Local', 'loadBalancerClass': 'a/b', 'loadBalancerSourceRanges': ['10.0.0.0/8']}})
        self.assertEqual(complaints(some), [])
        spec = pick(some, 'Deployment')['spec']['template']['spec']
        self.assertEqual((spec['serviceAccountName'], spec['priorityClassName']), ('mine', 'high'))
        self.assertEqual([o for o in some if o['kind'] == 'ServiceAccount'], [])
        self.assertEqual(spec['securityContext'], {'runAsNonRoot': True, 'seccompProfile': {'type': 'RuntimeDefault'}})
        one = container(pick(some, 'Deployment'))
        self.assertEqual(one['image'], 'roost@sha256:' + 64 * 'a')
        self.assertEqual(one['envFrom'], [{'configMapRef': {'name': 'proxy'}}])
        self.assertNotIn('ingressClassName', pick(some, 'Ingress')['spec'])
        service = pick(some, 'Service', 'gateway-roost')['spec']
        self.assertEqual((service['externalTrafficPolicy'], service['loadBalancerClass'], service['loadBalancerSourceRanges'], service['ports'][0]['nodePort']),
                         ('Local', 'a/b', ['10.0.0.0/8'], 30080))
        pod = self.runs([o for o in some if o['kind'] != 'Pod'])
        self.assertEqual(pod.settings()['log_level'], 'debug')
        pick(self.render({'serviceAccount': {'annotations': {'a': 'b'}}}), 'ServiceAccount', 'gateway-roost')
        # A number of more than six digits is no float.
        some = self.render({'config': {'engine': 'redis', 'engine_address': ['redis://a'], 'max_connections': 3000000},
                            'autoscaling': {'enabled': True, 'connectionsPerPod': 2000000}})
        self.assertEqual(pick(some, 'HorizontalPodAutoscaler')['spec']['metrics'][0]['pods']['target']['averageValue'], '2000000')

    def test_no_secret_stands_in_a_config_map(self):
        """Of all settings that are secrets; and each can be given otherwise."""
        names = re.findall(r'^X\((\w+), SECRET,', read('include/tbl/config.def'), re.M)
        self.assertGreater(len(names), 8)
        for name in names:
            with self.subTest(name):
                self.assertIn('config.' + name + ' is ', self.refused({'config': {name: 'a-secret-of-enough-characters'}}))
        self.assertIn('engine_password_file, not engine_password', self.refused({'secretFiles': {'engine_password': {'secret': 'a', 'key': 'b'}}}))

    def test_what_cannot_be_is_refused(self):
        for values, why in (
                ({'replicas': 2}, 'islands'),
                ({'autoscaling': {'enabled': True}}, 'islands'),
                ({'config': {'listen': ':80'}}, "config.listen is the chart's"),
                ({'config': {'drain_time': '1h'}}, "config.drain_time is the chart's"),
                ({'config': {'api_key': 'hunter2'}}, "config.api_key is the chart's"),
                ({'config': {'engine_password_file': '/x'}, 'secretFiles': {'engine_password_file': {'secret': 'a', 'key': 'b'}}}, 'in config and in secretFiles'),
                ({'config': {'engine': 'redis', 'max_connections': 100}, 'autoscaling': {'enabled': True}}, 'no pod would ever have so many'),
                ({'config': {'admin_tls_certificate': '/x'}}, 'by plain HTTP'),
                ({'secretFiles': {'admin_tls_certificate': {'secret': 'a', 'key': 'tls.crt'}}}, 'by plain HTTP'),
                ({'replica': 2}, 'replica'),
                ({'config': None}, "missing property 'config'"),
                ({'fullnameOverride': 'Web_socket'}, 'fullnameOverride'),
                ({'image': {'digest': 'latest'}}, 'digest'),
                ({'extraEnv': [{'name': 'ROOST_LISTEN', 'value': ':80'}]}, "ROOST_LISTEN, which is the chart's"),
                ({'drainSeconds': '30s'}, 'drainSeconds'),
                ({'secretFiles': {'x': {'secret': 'a'}}}, 'key')):
            with self.subTest(values):
                self.assertIn(why, self.refused(values))

    def test_scaled_to_nothing(self):
        """For the time of a maintenance; what is left out would be one."""
        some = self.render({'replicas': 0})
        self.assertEqual(complaints(some), [])
        self.assertEqual(pick(some, 'Deployment')['spec']['replicas'], 0)

    def test_a_changed_setting_rolls_the_pods(self):
        def annotations(values):
            return pick(self.render(values), 'Deployment')['spec']['template']['metadata']['annotations']

        self.assertNotEqual(annotations({}), annotations({'config': {'max_connections': 10}}))
        self.assertEqual(annotations({}), annotations({'service': {'port': 81}}))

    def test_names(self):
        for args, name in ((('--set', 'fullnameOverride=gate'), 'gate'), (('--set', 'nameOverride=ws'), 'gateway-ws')):
            some = self.render({}, *args)
            self.assertEqual(complaints(some), [])
            pick(some, 'Deployment', name)


if __name__ == '__main__':
    unittest.main()
