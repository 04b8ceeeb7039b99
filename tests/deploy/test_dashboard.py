#!/usr/bin/python3
"""The Grafana dashboard: its form, and each of its queries against a real Prometheus that scrapes two nodes under load and one that
drains, with the configuration and the rules that deploy/compose.yaml gives it."""

import contextlib
import glob
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

import yaml

from prometheus import TOP, Prometheus, read

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD, Daemon, before_exec, wait_for  # noqa: E402
from engines import Redis  # noqa: E402
from pki import Pki  # noqa: E402
from wsraw import Closed, Raw, WebSocket  # noqa: E402

DASHBOARD = json.loads(read('deploy/grafana/roost-dashboard.json'))
PANELS = [p for p in DASHBOARD['panels'] if p['type'] != 'row']
TARGETS = [(p['title'], t) for p in PANELS for t in p['targets']]
KEY, SCRAPERS, TOKENS = 'the-key-of-publishers', 'the-key-of-scrapers', 'a-secret-of-enough-characters'
CHANNELS = {'allow_subscribe_for_client': True, 'allow_subscribe_for_anonymous': True, 'allow_publish_for_client': True,
            'allow_publish_for_anonymous': True, 'history_size': 500, 'history_ttl': '1s', 'force_recovery': True}
LAST_RELOAD, TURNS = 18, 21  # of a scrape each, or of several where the machine is slow: also when the load has ended meanwhile
# What may stay 0 on nodes that are well, whatever the load.
MAY_BE_ZERO = set("""process_up hang_kills_total listen_overflows_total accept_stops_total hub_push_backs_total ring_stalls_total ring_full_total
lost_publications_total history_evicted_total hub_queue_bytes ring_to_hub_bytes ring_to_worker_bytes partial_bytes tokens_waiting
connections_closing last_reload_certificates_kept engine_epoch_changes_total engine_malformed_total engine_gaps_total
engine_reconnects_total engine_probes_missed_total node_config_mismatch engine_redirects_total
presence_rewritten_total presence_tidied_total presence_lost_total drain_state""".split())


def expand(expr, interval='10s'):
    """As Grafana does with its variables, all nodes chosen."""
    expr = expr.replace('$__rate_interval', interval).replace('$job', 'roost').replace('$instance', '.*')
    assert '$' not in expr, expr
    return expr


class Form(unittest.TestCase):
    def test_panels_do_not_overlap(self):
        taken = {}
        for p in DASHBOARD['panels']:
            g = p['gridPos']
            self.assertLessEqual(g['x'] + g['w'], 24, p['title'])
            for x in range(g['x'], g['x'] + g['w']):
                for y in range(g['y'], g['y'] + g['h']):
                    self.assertNotIn((x, y), taken, p['title'])
                    taken[x, y] = p['title']
        self.assertEqual(len({p['id'] for p in DASHBOARD['panels']}), len(DASHBOARD['panels']))

    def test_each_panel_says_what_it_shows(self):
        for p in PANELS:
            self.assertTrue(p['title'] and p['description'] and p['fieldConfig']['defaults']['unit'], p)
            self.assertEqual(p['datasource'], {'type': 'prometheus', 'uid': '${datasource}'}, p['title'])
            for t in p['targets']:
                self.assertIn('$instance', t['expr'] + ('$instance' if 'ALERTS' in t['expr'] else ''), p['title'])
        self.assertEqual(len({p['title'] for p in PANELS}), len(PANELS))

    def test_its_rows_are_an_operators_questions(self):
        rows = [p['title'] for p in DASHBOARD['panels'] if p['type'] == 'row']
        for question in 'Is it healthy?', 'How full is it?', 'Who is slow?', 'What changed?':
            self.assertIn(question, rows)

    def test_metrics_are_those_of_the_reference(self):
        known = set(re.findall(r'^\| `(roost_\w+)` \|', read('deploy/METRICS.md'), re.M))
        for title, t in TARGETS + [('annotation', a) for a in DASHBOARD['annotations']['list']]:
            for name in re.findall(r'\broost_\w+', t['expr']):
                self.assertIn(re.sub(r'_(bucket|sum|count)$', '', name), known, title)

    def test_grafana_finds_it(self):
        """The provider looks where compose mounts the file, and the datasource is the Prometheus of compose."""
        compose = yaml.safe_load(read('deploy/compose.yaml'))
        mounts = [v.rsplit(':', 2)[:2] for v in compose['services']['grafana']['volumes'] if v.startswith('./')]
        for source, _ in mounts:
            self.assertTrue(os.path.exists(os.path.join(TOP, 'deploy', source)), source)
        provider, = yaml.safe_load(read('deploy/grafana/provisioning/dashboards/roost.yml'))['providers']
        where = dict((os.path.basename(s), t) for s, t in mounts)['roost-dashboard.json']
        self.assertEqual(provider['options']['path'], os.path.dirname(where))
        self.assertEqual(compose['services']['grafana']['environment']['GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH'], where)
        source, = yaml.safe_load(read('deploy/grafana/provisioning/datasources/prometheus.yml'))['datasources']
        self.assertEqual((source['type'], source['url']), ('prometheus', 'http://prometheus:9090'))


class Load:
    """Two nodes with everything switched on, clients that do all that a panel shows, and a node that drains."""

    def __init__(self):
        self.programs, self.folder = [], tempfile.TemporaryDirectory(prefix='roost-dashboard-')
        self.pki, self.redis = Pki().make('server'), Redis()
        self.settings = self.file('roost.yaml', yaml.safe_dump({
            'token_hmac_secret_key': TOKENS, 'plain': True, 'allow_anonymous_connect_without_token': True, 'history_memory': '64MiB',
            'max_connections': 2000, 'channel_without_namespace': {**CHANNELS, 'presence': True}, 'listeners': [
                {'address': '127.0.0.1:0', 'name': 'public', 'tls_certificate': self.pki.path('server.pem'), 'tls_key': self.pki.path('server.key')}]}))
        common = {'api_key': KEY, 'metrics_key': SCRAPERS, 'output_limit': '64KiB', 'output_grace': '100ms', 'send_buffer_size': '8KiB', 'workers': 2}
        self.a = Daemon(config=self.settings, **common)
        self.b = Daemon(config=self.file('b.yaml', yaml.safe_dump({
            'plain': True, 'allow_anonymous_connect_without_token': True, 'channel_without_namespace': CHANNELS, 'engine': 'redis',
            'engine_address': 'unix:' + self.redis.path})), slow_consumer='drop', **common)
        self.leaving = Daemon(drain_time='600s', **common)  # a second SIGTERM ends it
        self.tls = self.a.find(r'msg="?listening"? address=(\S+) for=clients .*name=public').group(1)
        self.context, self.session = self.pki.client(), None
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2  # of which a session is known before the first answer

    def file(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def roostload(self, *args):
        self.programs.append(subprocess.Popen([os.path.join(BUILD, 'roostload'), *args, '--plain', '--ramp', '200'], stdin=subprocess.DEVNULL,
                                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=before_exec))

    def begin(self, seconds):
        for _ in range(20):
            self.leaving.ws('/ws/a')
        self.leaving.process.send_signal(signal.SIGTERM)
        duration = ('--duration', '%ds' % seconds)
        centrifuge = ('--adapter', 'centrifuge', '--url', 'ws://' + self.a.client, '--token-key', TOKENS)
        self.roostload('broadcast', '--url', 'ws://%s/ws/{channel}' % self.a.client, '--connections', '50', '--rate', '40', '--size', '900',
                       '--compression', *duration)
        self.roostload('storm', *centrifuge, '--recover', '--connections', '40', '--rate', '20', '--storm-after', '5s', '--channel', 'storm-{c}',
                       *duration)
        self.roostload('slow', '--url', 'ws://%s/ws/{channel}' % self.b.client, '--connections', '20', '--stall', '50', '--rate', '100', '--size',
                       '4000', *duration)
        self.roostload('hold', '--url', 'wss://%s/ws/{channel}' % self.tls, '--ca', self.pki.path('ca.pem'), '--connections', '20', *duration)

    def call(self, d, method, target, body=None, key=KEY):
        with Raw(d.admin) as c:
            return c.request(method, target, [('X-API-Key', key)], body)

    def turn(self):
        """What roostload does not do: calls of the server API, mistakes, refusals."""
        for d in self.a, self.b:
            for body in '{"channel":"load-0","data":{"text":"hello"}}', '{"channel":""}':
                self.call(d, 'POST', '/api/publish', body)
            self.call(d, 'POST', '/api/info', '{}')
            self.call(d, 'POST', '/api/publish', '{}', key='a-wrong-key')
            with WebSocket(d.client, '/ws/a', [('Origin', 'http://elsewhere.example')]) as c:
                assert c.response.status == 403, c.response
        with WebSocket(self.a.client, '/connection/websocket') as c:
            c.text('{"id":1,"connect":{}}\n{"id":2,"presence":{"channel":"nowhere"}}')
            while b'"error"' not in c.recv_data():
                pass
        with Raw(self.tls) as c:  # plain HTTP where TLS is spoken
            c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            with contextlib.suppress(Closed):
                while True:
                    c.fill()
        with Raw(self.tls, tls=self.context, session=self.session) as c:
            c.request('GET', '/healthz')
            self.session = c.sock.session

    def stop(self):
        for p in self.programs:
            p.kill()
            p.wait()
        for d in self.a, self.b, self.leaving:
            d.stop()
        self.redis.stop()
        self.pki.close()
        self.folder.cleanup()


class Live(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.load = Load()
        cls.addClassCleanup(cls.load.stop)
        key = cls.load.file('metrics-key', SCRAPERS)
        nodes = [d.admin for d in (cls.load.a, cls.load.b, cls.load.leaving)]
        config = read('deploy/prometheus/compose.yml')
        for old, new in (('/run/secrets/metrics_key', key), ('/etc/prometheus/roost-rules.yml', os.path.join(TOP, 'deploy/prometheus/roost-rules.yml')),
                         ('["roost:8001"]', json.dumps(nodes)), ('scrape_interval: 5s', 'scrape_interval: 1s'),
                         ('evaluation_interval: 5s', 'evaluation_interval: 1s')):
            assert old in config, old
            config = config.replace(old, new)
        cls.prometheus = Prometheus(config)
        cls.addClassCleanup(cls.prometheus.stop)
        wait_for(lambda: cls.prometheus.targets() == {n: 'up' for n in nodes}, 20, 'the first scrapes')
        cls.began = time.time()
        cls.load.begin(25)
        cls.happen()
        wait_for(lambda: any(v for _, v in cls.prometheus.value('rate(roost_history_expired_total[5s])')), 30, 'the end of what histories had')
        cls.ended = time.time() + 1  # steps are of a second: the last one sees what has just been scraped

    @classmethod
    def scraped(cls):
        return cls.prometheus.value('max(timestamp(up))')[0][1]

    @classmethod
    def happen(cls):
        a, turns, settings = cls.load.a, 0, read(cls.load.settings)
        while turns < TURNS or any(p.poll() is None for p in cls.load.programs):
            cls.load.turn()
            turns += 1
            if turns == 5:
                a.process.send_signal(signal.SIGHUP)
                pids = [p['pid'] for p in json.loads(cls.load.call(a, 'GET', '/debug/processes').body)['processes'] if p['name'] == 'worker1']
                os.kill(pids[0], signal.SIGKILL)
            if turns in (10, LAST_RELOAD):
                cls.load.file('roost.yaml', settings + 'ping_interval: %s\n' % ('soon' if turns == 10 else '20s'))
                a.process.send_signal(signal.SIGHUP)
            seen = cls.scraped()
            wait_for(lambda: cls.scraped() > seen, 20, 'the next scrape')

    def test_every_panel_has_data(self):
        empty, zero = [], []
        for title, t in TARGETS:
            found = self.prometheus.series(expand(t['expr']), self.began, self.ended)
            values = [v for _, vs in found for v in vs]
            if not values:
                empty.append((title, t['expr']))
            elif not any(values) and not MAY_BE_ZERO & set(re.findall(r'\broost_(\w+)', t['expr'])):
                zero.append((title, t['expr']))
        self.assertEqual(empty, [])
        self.assertEqual(zero, [])

    def test_annotations_have_something_to_tell(self):
        for a in DASHBOARD['annotations']['list']:
            found = self.prometheus.series(expand(a['expr']), self.began, self.ended)
            self.assertTrue([v for _, vs in found for v in vs], a)

    def test_variables_have_values(self):
        for v in DASHBOARD['templating']['list']:
            if v['type'] == 'query':
                match, label = re.fullmatch(r'label_values\((.*), (\w+)\)', v['definition']).groups()
                self.assertTrue(self.prometheus.ask('label/%s/values' % label, **{'match[]': expand(match)}), v)

    def test_the_rules_work(self):
        rules = self.prometheus.rules()
        self.assertGreater(len(rules), 40)
        for r in rules:
            self.assertEqual((r['health'], r.get('lastError')), ('ok', None), r)
            if r['type'] == 'recording' and 'p99' not in r['name']:
                self.assertTrue(self.prometheus.series(r['name'], self.began, self.ended), r['name'])
        firing = {(m['alertname'], m['instance'], m.get('process')) for m, _ in self.prometheus.value('ALERTS{alertstate="firing"}')}
        self.assertIn(('RoostProcessRestarted', self.load.a.admin, 'worker1'), firing)
        self.assertNotIn('RoostDown', {name for name, _, _ in firing})

    def test_the_cases_of_the_rules_are_of_real_series(self):
        """Their metrics have the labels that a node gives them; else a rule could pass its case and never fire."""
        real = {}
        for labels in self.prometheus.ask('series', **{'match[]': '{job="roost"}'}):
            real.setdefault(labels.pop('__name__'), set()).add(frozenset(labels))
        for path in glob.glob(os.path.join(TOP, 'tests/deploy/rules/*.yml')):
            for case in yaml.safe_load(read(path))['tests']:
                for s in case['input_series']:
                    name, labels = re.fullmatch(r'(\w+)\{(.*)\}', s['series']).groups()
                    if name != 'up' or 'job="roost"' in labels:
                        self.assertIn(frozenset(re.findall(r'(\w+)="', labels)), real.get(name, ()), s)

    def test_the_scraper_cannot_publish(self):
        self.assertEqual(self.load.call(self.load.a, 'GET', '/metrics', key=SCRAPERS).status, 200)
        self.assertEqual(self.load.call(self.load.a, 'POST', '/api/publish', '{"channel":"a","data":1}', key=SCRAPERS).status, 401)


if __name__ == '__main__':
    unittest.main()
