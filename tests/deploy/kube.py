"""Objects of Kubernetes as helm and kubectl render them: what must be true of them, and the container of a Deployment run here as it says."""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile

import yaml

from prometheus import TOP

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import ROOSTD, Daemon, wait_for  # noqa: E402

HERE = os.path.join(TOP, 'tests/deploy')
NAMES = {53, 5353}  # ports of name servers, as policies see them: OpenShift's are on the second one
SECRETS = {'api-key': 'the-key-of-publishers', 'metrics-key': 'the-key-of-scrapers', 'hmac': 'a-secret-of-enough-characters',
           'password': 'the-password-of-redis'}  # of those that are not rendered


def run(*argv, status=0, **kw):
    p = subprocess.run(argv, capture_output=True, text=True, cwd=TOP, timeout=3000, **kw)
    assert p.returncode == status, (argv, p.returncode, p.stdout[-2000:], p.stderr[-2000:])
    return p


def helm(*args, **kw):
    return run(os.path.join(TOP, 'build/tools/helm'), *args, **kw)


def kubectl(*args, **kw):
    return run(os.path.join(TOP, 'build/tools/kubectl'), *args, **kw)


def objects(text):
    return [o for o in yaml.safe_load_all(text) if o]


def complaints(some):
    """What the models say of them, unknown fields included."""
    return json.loads(run('node', os.path.join(HERE, 'validate.mjs'), input=json.dumps(some)).stdout)


def pick(some, kind, name=None):
    found = [o for o in some if o['kind'] == kind and (name is None or o['metadata']['name'] == name)]
    assert len(found) == 1, (kind, name, [o['metadata']['name'] for o in found])
    return found[0]


def container(deployment):
    one, = deployment['spec']['template']['spec']['containers']
    return one


def seconds(text):
    number, unit = re.fullmatch(r"'?(\d+)(ms|s|m|h)'?", text).groups()
    return int(number) * {'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}[unit]


class Pod:
    """The container of the Deployment: its files in a folder, its environment, its settings. replace: settings for this machine."""

    def __init__(self, some, **replace):
        self.objects, self.deployment = some, pick(some, 'Deployment')
        self.spec = self.deployment['spec']['template']['spec']
        self.container = container(self.deployment)
        self.folder = tempfile.TemporaryDirectory(prefix='roost-pod-')
        self.secrets, self.daemon = {}, None
        self._mount()
        self.env = {e['name']: self._value(e) for e in self.container['env']}
        if replace:
            self._replace(replace)

    def _replace(self, settings):
        with open(self.env['ROOST_CONFIG']) as f:
            config = yaml.safe_load(f)
        with open(self.env['ROOST_CONFIG'], 'w') as f:
            yaml.safe_dump({**config, **settings}, f)

    def _value(self, entry):
        if 'valueFrom' in entry:
            assert entry['valueFrom'] == {'fieldRef': {'fieldPath': 'metadata.name'}}, entry
            return 'pod-1'
        for mount in self.container['volumeMounts']:
            if entry['value'].startswith(mount['mountPath'] + '/'):
                path = self.folder.name + entry['value']
                assert os.path.exists(path), '%s is not mounted' % entry['value']
                return path
        return entry['value']

    def _secret(self, name, key):
        """The value, from the objects or made up; who holds which is remembered."""
        rendered = [o for o in self.objects if o['kind'] == 'Secret' and o['metadata']['name'] == name]
        value = base64.b64decode(rendered[0]['data'][key]).decode() if rendered else SECRETS[key]
        self.secrets[name, key] = value
        return value

    def _files(self, volume):
        if 'configMap' in volume:
            return pick(self.objects, 'ConfigMap', volume['configMap']['name'])['data']
        if 'emptyDir' in volume:
            return {}
        if 'secret' in volume:
            return {i['path']: self._secret(volume['secret']['secretName'], i['key']) for i in volume['secret']['items']}
        return {i['path']: self._secret(s['secret']['name'], i['key']) for s in volume['projected']['sources'] for i in s['secret']['items']}

    def _mount(self):
        volumes = {v['name']: v for v in self.spec['volumes']}
        for mount in self.container['volumeMounts']:
            assert mount['readOnly'], mount
            where = self.folder.name + mount['mountPath']
            os.makedirs(where)
            for name, text in self._files(volumes[mount['name']]).items():
                with open(os.path.join(where, name), 'w') as f:
                    f.write(text)

    def roostd(self, *args):
        return subprocess.run([ROOSTD, *args], capture_output=True, text=True, env={**os.environ, **self.env}, timeout=300)

    def settings(self):
        return dict(re.findall(r"^(\w+): (.*?)(?: # \d+)?$", self.roostd('--print-config').stdout, re.M))

    def start(self):
        """On ports of its own. Whoever is connected when it ends is waited for, so the tests' clients leave first."""
        self.daemon = Daemon(env=self.env, drain_time=None, close_timeout=None, hang_timeout=None)
        return self.daemon

    def probe(self, name):
        """As kubelet does: a GET, without a key."""
        get = self.container[name]['httpGet']
        return self.daemon.http('GET', get['path'], where={'admin': 'admin', 'clients': 'client'}[get['port']]).status

    def close(self):
        if self.daemon:
            for c in self.daemon.clients:
                c.close()
            self.daemon.stop(seconds=60)
        self.folder.cleanup()


class Held:
    """What holds of each rendering; mixed into a unittest.TestCase."""

    def hold(self, some):
        self.assertEqual(complaints(some), [])
        self.hold_confined(some)
        self.hold_selected(some)
        self.hold_timed(some)
        self.hold_watched(some)

    def hold_confined(self, some):
        """The restricted profile of Kubernetes' pod security, and more."""
        for pod in [o['spec']['template']['spec'] for o in some if o['kind'] == 'Deployment'] + [o['spec'] for o in some if o['kind'] == 'Pod']:
            self.assertTrue(pod['securityContext']['runAsNonRoot'])
            self.assertEqual(pod['securityContext']['seccompProfile'], {'type': 'RuntimeDefault'})
            self.assertIs(pod['automountServiceAccountToken'], False)
            self.assertIs(pod['enableServiceLinks'], False)
            for v in pod.get('volumes', []):
                self.assertTrue(v.keys() & {'configMap', 'secret', 'projected'}, v)
            for c in pod['containers']:
                self.assertEqual(c['securityContext'], {'allowPrivilegeEscalation': False, 'readOnlyRootFilesystem': True,
                                                        'capabilities': {'drop': ['ALL']}})
        self.assertIn('memory', container(pick(some, 'Deployment'))['resources']['limits'])
        policy = pick(some, 'NetworkPolicy')['spec']
        self.assertEqual(policy['policyTypes'], ['Ingress', 'Egress'])
        for rule in policy['ingress']:  # everybody may come to clients' port, and to no other
            self.assertTrue('from' in rule or [p['port'] for p in rule['ports']] == ['clients'], rule)
        for rule in policy['egress']:
            self.assertTrue(rule['ports'], rule)
        out = {(p['port'], p['protocol']) for rule in policy['egress'] for p in rule['ports']}
        self.assertLessEqual({(port, protocol) for port in NAMES for protocol in ('UDP', 'TCP')}, out)

    def hold_selected(self, some):
        """Whoever selects pods selects ours, by labels that say whose they are; ports by names that the container has."""
        deployment = pick(some, 'Deployment')
        labels = deployment['spec']['template']['metadata']['labels']
        ports = {p['name'] for p in container(deployment)['ports']}
        selectors = [deployment['spec']['selector']['matchLabels'], pick(some, 'NetworkPolicy')['spec']['podSelector']['matchLabels']]
        selectors += [o['spec']['selector']['matchLabels'] for o in some if o['kind'] == 'PodDisruptionBudget']
        selectors += [o['spec']['selector'] for o in some if o['kind'] == 'Service']
        selectors += [t['labelSelector']['matchLabels'] for t in deployment['spec']['template']['spec']['topologySpreadConstraints']]
        for s in selectors:
            self.assertEqual(set(s), {'app.kubernetes.io/name', 'app.kubernetes.io/instance'})
            self.assertLessEqual(s.items(), labels.items())
        for pod in (o for o in some if o['kind'] == 'Pod'):  # that of helm's test is no node: no traffic for it, no limits on its way out
            for s in selectors:
                self.assertFalse(s.items() <= pod['metadata']['labels'].items(), (s, pod['metadata']))
        services = {o['metadata']['name']: o for o in some if o['kind'] == 'Service'}
        for s in services.values():
            self.assertLessEqual({p['targetPort'] for p in s['spec']['ports']}, ports)
        for i in (o for o in some if o['kind'] == 'Ingress'):
            backend = i['spec']['rules'][0]['http']['paths'][0]['backend']['service']
            self.assertIn(backend['port']['name'], {p['name'] for p in services[backend['name']]['spec']['ports']})
        for h in (o for o in some if o['kind'] == 'HorizontalPodAutoscaler'):
            self.assertEqual(h['spec']['scaleTargetRef'], {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': deployment['metadata']['name']})
            self.assertIsNone(deployment['spec'].get('replicas'))

    def hold_timed(self, some):
        """A pod has time for all that it does when it goes."""
        pod = Pod(some)
        self.addCleanup(pod.close)
        check = pod.roostd('--check')
        self.assertEqual(check.returncode, 0, check.stderr)
        settings = pod.settings()
        needed = pod.container['lifecycle']['preStop']['sleep']['seconds'] + seconds(settings['drain_time']) + seconds(settings['close_timeout'])
        self.assertGreaterEqual(pod.spec['terminationGracePeriodSeconds'], needed + 10)
        for h in (o for o in some if o['kind'] == 'HorizontalPodAutoscaler'):
            self.assertLessEqual(int(h['spec']['metrics'][0]['pods']['target']['averageValue']), int(settings['max_connections']))
        if settings['engine'] == 'memory':
            self.assertEqual((pod.deployment['spec']['replicas'], pod.deployment['spec']['strategy']['type']), (1, 'Recreate'))
        else:
            self.assertEqual(pod.deployment['spec']['strategy']['rollingUpdate']['maxUnavailable'], 0)
            # The next one begins to go when the new one has been ready for so long: not before the one before has gone.
            self.assertGreaterEqual(pod.deployment['spec']['minReadySeconds'], needed)
            self.assertGreater(pod.deployment['spec'].get('progressDeadlineSeconds', 600), pod.deployment['spec']['minReadySeconds'])

    def hold_watched(self, some):
        """The scraper finds the admin service, with the key that opens nothing but /metrics."""
        for m in (o for o in some if o['kind'] == 'ServiceMonitor'):
            endpoint, = m['spec']['endpoints']
            self.assertEqual((endpoint['authorization']['type'], endpoint['authorization']['credentials']['key']), ('apikey', 'metrics-key'))
            found = [s for s in some if s['kind'] == 'Service' and m['spec']['selector']['matchLabels'].items() <= s['metadata']['labels'].items()]
            self.assertEqual(len(found), 1)
            self.assertIn(endpoint['port'], {p['name'] for p in found[0]['spec']['ports']})

    def runs(self, some, **replace):
        """The container starts, its probes say so, Prometheus' key opens /metrics, and it ends as a pod does: not ready, then gone, in time."""
        pod = Pod(some, **{'max_connections': 1000, 'workers': 2, **replace})
        self.addCleanup(pod.close)
        d = pod.start()
        for name in 'startupProbe', 'livenessProbe':
            self.assertEqual(pod.probe(name), 200)
        wait_for(lambda: pod.probe('readinessProbe') == 200, what='readiness')
        key = {k: v for (_, k), v in pod.secrets.items()}
        self.assertEqual(d.http('GET', '/metrics', fields=[('Authorization', 'apikey ' + key['metrics-key'])]).status, 200)
        self.assertEqual(d.http('POST', '/api/info', '{}', [('X-API-Key', key['metrics-key'])]).status, 401)
        self.assertEqual(d.http('POST', '/api/info', '{}', [('X-API-Key', key['api-key'])]).status, 200)
        return pod
