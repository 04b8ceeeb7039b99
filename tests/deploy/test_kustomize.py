#!/usr/bin/python3
"""deploy/kustomize: what kubectl renders is what Kubernetes knows, holds what a careful operator wants, and runs."""

import copy
import os
import sys
import unittest

import yaml

from kube import SECRETS, Held, Pod, complaints, kubectl, objects, pick
from prometheus import TOP, Prometheus, read

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import wait_for  # noqa: E402
from engines import Redis  # noqa: E402


def render(name):
    p = kubectl('kustomize', os.path.join('deploy/kustomize', name))
    assert p.stderr == '', p.stderr  # nothing that is about to go
    return objects(p.stdout)


class Kustomize(Held, unittest.TestCase):
    def test_base(self):
        some = render('base')
        self.hold(some)
        self.assertEqual([o for o in some if o['kind'] == 'Secret'], [])  # nobody's keys are the same as anybody else's
        self.runs(some)

    def test_dev(self):
        some = render('overlays/dev')
        self.hold(some)
        self.assertEqual(pick(some, 'Namespace')['metadata']['labels'], {'pod-security.kubernetes.io/enforce': 'restricted'})
        self.assertEqual({o['metadata'].get('namespace', 'roost-dev') for o in some}, {'roost-dev'})
        pod = self.runs(some)
        with pod.daemon.ws('/ws/lobby') as c:
            c.text('hello')
            self.assertEqual(c.recv_data(), b'hello')

    def test_production(self):
        some = render('overlays/production')
        redis = Redis(password=SECRETS['password'])
        self.addCleanup(redis.stop)
        self.hold(some)
        self.assertEqual([o for o in some if o['kind'] == 'Secret'], [])
        for kind in 'HorizontalPodAutoscaler', 'Ingress', 'ServiceMonitor', 'PrometheusRule', 'PodDisruptionBudget':
            pick(some, kind)
        pod = self.runs(some, engine_address=['unix:' + redis.path], log_format='logfmt')  # which the tests read
        self.assertEqual(pod.daemon.http('POST', '/api/publish', '{"channel":"a","data":1}', [('X-API-Key', SECRETS['api-key'])]).status, 200)

    def test_a_pod_goes_as_its_manifest_says(self):
        """SIGTERM: not ready at once, alive until its clients are gone, the end is clean."""
        pod = Pod(render('overlays/dev'))
        self.addCleanup(pod.close)
        pod.env['ROOST_DRAIN_TIME'] = '2s'
        d = pod.start()
        clients = [d.ws('/ws/a') for _ in range(10)]
        d.process.terminate()
        d.wait_log('stopping')
        wait_for(lambda: pod.probe('readinessProbe') == 503, what='a node that is not ready')
        self.assertEqual(pod.probe('livenessProbe'), 200)
        for c in clients:
            self.assertEqual(c.recv().code, 1001)
            c.close()
        self.assertEqual(d.process.wait(120), 0)

    def test_the_rules_are_those_of_prometheus(self):
        self.assertEqual(pick(render('overlays/production'), 'PrometheusRule')['spec'], yaml.safe_load(read('deploy/prometheus/roost-rules.yml')))


class Models(unittest.TestCase):
    def test_they_do_complain(self):
        """Of types, of what is missing, and of fields that do not exist, at any depth."""
        good = pick(render('base'), 'Deployment')
        slips = [(('spec', 'replicas'), 'two', '/spec/replicas type'), (('spec', 'selector'), None, 'selector'),
                 (('spec', 'replica'), 2, '/spec/replica is no field'), (('metadata', 'label'), {}, '/metadata/label is no field'),
                 (('spec', 'template', 'spec', 'enableServiceLink'), False, 'enableServiceLink is no field'),
                 (('spec', 'template', 'spec', 'containers', 0, 'securityContext', 'readonly'), True, 'readonly is no field')]
        bad = []
        for path, value, _ in slips:
            bad.append(copy.deepcopy(good))
            at = bad[-1]
            for p in path[:-1]:
                at = at[p]
            at[path[-1]] = value
        found = complaints([good, *bad])
        self.assertEqual(len(found), len(slips), found)
        for line, (_, _, what) in zip(found, slips):
            self.assertIn(what, line)


class Adapter(unittest.TestCase):
    """The autoscaler's metric: prometheus-adapter's query, with what it fills in, on a real Prometheus."""

    def test_connections_of_pods(self):
        rule, = yaml.safe_load(read('deploy/prometheus/adapter.yml'))
        pod = Pod(render('overlays/dev'))
        self.addCleanup(pod.close)
        d = pod.start()
        for _ in range(7):
            d.ws('/ws/a')
        key = pod.folder.name + '/scraper'
        with open(key, 'w') as f:
            f.write(next(v for (_, k), v in pod.secrets.items() if k == 'metrics-key'))
        prometheus = Prometheus(yaml.safe_dump({'global': {'scrape_interval': '1s'}, 'scrape_configs': [
            {'job_name': 'roost', 'authorization': {'type': 'apikey', 'credentials_file': key}, 'static_configs': [
                {'targets': [d.admin], 'labels': {'namespace': 'roost', 'pod': 'roost-1'}}]}]}))
        self.addCleanup(prometheus.stop)
        query = rule['metricsQuery'].replace('<<.Series>>', rule['name']['as']).replace('<<.LabelMatchers>>', 'namespace="roost",pod=~"roost-1|roost-2"')
        query = query.replace('<<.GroupBy>>', 'pod')
        wait_for(lambda: prometheus.value(query) == [({'pod': 'roost-1'}, 7)], 30, 'the connections of the pod')
        self.assertTrue(prometheus.value(rule['seriesQuery']))
        metric = pick(render('overlays/production'), 'HorizontalPodAutoscaler')['spec']['metrics'][0]['pods']['metric']['name']
        self.assertEqual(metric, rule['name']['as'])


if __name__ == '__main__':
    unittest.main()
