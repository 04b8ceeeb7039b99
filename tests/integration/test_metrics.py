#!/usr/bin/python3
"""/metrics as Prometheus reads it, the health pages, /debug."""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from daemon import DaemonTest, SharedDaemonTest, wait_for
from wsraw import TEXT

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..')
PROMTOOL = shutil.which('promtool') or os.path.join(TOP, 'build/tools/promtool')
OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8'
ISSUE = """connections accepts handshake_failures closes frames_in frames_out read_bytes written_bytes publications_in deliveries
drops fanout_subscribers publish_to_write_seconds ring_to_hub_bytes ring_stalls turn_duration_seconds pool_bytes
frame_slots_in_use process_cpu_seconds process_resident_memory_bytes process_open_fds process_max_fds limit_
process_start_time_seconds process_restarts""".split()


class Metrics(SharedDaemonTest):
    settings = {'workers': 2, 'max_connections_per_address': 1000}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.d.ws('/ws/m') as c:
            c.text('x')
            c.expect(TEXT, 'x')
            c.send_frame(3)
            c.expect_close(1002)
        cls.d.http('GET', '/ws/m', where='client')

    def scrape(self, accept=None):
        r = self.d.http('GET', '/metrics', fields=[('Accept', accept)] if accept else [])
        self.assertEqual(r.status, 200)
        return r

    def test_promtool_has_no_complaint(self):
        text = self.scrape().body
        p = subprocess.run([PROMTOOL, 'check', 'metrics'], input=text, capture_output=True)
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, b'', b''))

    def test_promtool_does_complain(self):
        """The tool is really asked."""
        p = subprocess.run([PROMTOOL, 'check', 'metrics'], input=b'# TYPE a_total gauge\na_total 1\n', capture_output=True)
        self.assertNotEqual((p.returncode, p.stderr), (0, b''))

    def test_prometheus_scrape_example(self):
        p = subprocess.run([PROMTOOL, 'check', 'config', os.path.join(TOP, 'deploy/prometheus.yml')], capture_output=True)
        self.assertEqual(p.returncode, 0, p.stderr + p.stdout)

    def test_formats(self):
        r = self.scrape()
        self.assertEqual(r.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
        self.assertNotIn(b'# EOF', r.body)
        for accept in (OPENMETRICS, 'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,'
                       'text/plain;version=0.0.4;q=0.5,*/*;q=0.1'):
            r = self.scrape(accept)
            self.assertTrue(r.get('content-type').startswith('application/openmetrics-text; version=1.0.0'))
            self.assertTrue(r.body.endswith(b'\n# EOF\n'))
        for accept in (OPENMETRICS + ';q=0', OPENMETRICS + ';q=0.4,text/plain;q=0.5', OPENMETRICS + ';version=0.0.1'):
            self.assertTrue(self.scrape(accept).get('content-type').startswith('text/plain'), accept)
        r = self.d.http('GET', '/metrics', fields=[('Accept', 'text/plain;q=0.5'), ('Accept', OPENMETRICS)])
        self.assertTrue(r.get('content-type').startswith(OPENMETRICS))
        self.assertEqual(self.scrape('text/plain').get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
        self.assertEqual(self.scrape('*/*').get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')

    def test_openmetrics_names(self):
        """Families of counters are named without _total, their samples with it."""
        text = self.scrape(OPENMETRICS).body.decode()
        types = dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.M))
        for name, kind in types.items():
            if kind == 'counter':
                self.assertFalse(name.endswith('_total'), name)
                self.assertRegex(text, r'(?m)^%s_total(\{[^}]*\})? ' % name)
            elif kind == 'histogram':
                self.assertRegex(text, r'(?m)^%s_bucket\{(\w+="\w+",)?le="\+Inf"\} ' % name)
        samples = set(re.findall(r'^([a-z_]+)', text, re.M))
        for s in samples:
            base = re.sub(r'_(total|bucket|sum|count|info)$', '', s)
            self.assertTrue(s in types or base in types or base + '_info' in types, s)

    def test_histograms_are_cumulative(self):
        m = self.d.metrics()
        series = {}
        for k, v in m.items():
            found = re.fullmatch(r'(\w+)_bucket\{(.*?),?le="([^"]+)"\}', k)
            if found:
                series.setdefault(found.group(1, 2), []).append((float(found.group(3)), v))
        self.assertIn(('roost_api_duration_seconds', 'method="publish"'), series)
        for (name, labels), buckets in series.items():
            buckets.sort()
            self.assertEqual([v for _, v in buckets], sorted(v for _, v in buckets), name)
            self.assertEqual(buckets[-1][1], m[name + '_count' + (labels and '{%s}' % labels)], name)
            self.assertEqual(buckets[-1][0], float('inf'))

    def test_what_the_manual_promises(self):
        text = self.scrape().body.decode()
        for word in ISSUE:
            self.assertRegex(text, r'(?m)^roost_%s' % word)

    def test_the_reference_has_them_all(self):
        with open(os.path.join(TOP, 'deploy/METRICS.md')) as f:
            listed = set(re.findall(r'^\| `(roost_\w+)` \|', f.read(), re.M))
        self.assertEqual(listed, set(re.findall(r'^# TYPE (\S+) ', self.scrape().body.decode(), re.M)))

    def test_no_series_for_what_cannot_occur(self):
        m = self.d.metrics()
        self.assertIn('roost_handshake_failures_total{reason="bad_origin"}', m)
        self.assertNotIn('roost_handshake_failures_total{reason="frame_rsv"}', m)
        self.assertIn('roost_closes_total{reason="frame_rsv"}', m)
        for metric in 'handshake_failures', 'closes':
            self.assertNotIn('roost_%s_total{reason="none"}' % metric, m)
            self.assertNotIn('roost_%s_total{reason="frame_masked"}' % metric, m)

    def test_counts_are_right(self):
        before = self.d.metrics()
        clients = [self.d.ws('/ws/count') for _ in range(4)]
        for i in range(5):
            clients[0].text('12345')
            for c in clients:
                c.expect(TEXT, '12345')
        m = {}

        def grew(name):
            return m[name] - before[name]

        def delivered():  # a worker counts a delivery behind its send(), so a client may have it first
            m.update(self.d.metrics())
            return grew('roost_deliveries_total') == 20 and m['roost_hub_channels'] == 1 and m['roost_connections{protocol="plain"}'] == 4

        wait_for(delivered, what='the count of deliveries, and the end of those of other tests')
        self.assertEqual(grew('roost_upgrades_total'), 4)
        self.assertEqual(grew('roost_messages_in_total'), 5)
        self.assertEqual(grew('roost_messages_in_bytes_total'), 25)
        self.assertEqual(grew('roost_publications_in_total'), 5)
        self.assertEqual(grew('roost_publications_ordered_total'), 5)
        self.assertEqual(grew('roost_delivery_bytes_total'), 20 * 7)
        self.assertEqual(m['roost_connections{protocol="plain"}'], 4)
        self.assertEqual(m['roost_subscriptions'], 4)
        self.assertEqual(m['roost_hub_channels'], 1)
        clients[0].goodbye()
        clients[1].close()
        wait_for(lambda: self.d.metric('roost_connections{protocol="plain"}') == 2, what='the count of connections')

        def closed():  # counted when the socket is closed, behind the handshake's end
            m.update(self.d.metrics())
            return sum(v - before[k] for k, v in m.items() if k.startswith('roost_closes_total{reason="peer_')) == 2

        wait_for(closed, what='both ends')
        self.assertEqual(grew('roost_closes_total{reason="peer_closed"}'), 1)
        self.assertEqual(grew('roost_closes_total{reason="peer_gone"}'), 1)
        for c in clients[2:]:
            c.close()
        wait_for(lambda: self.d.metric('roost_hub_channels') == 0, what='the end of the channel')
        self.assertEqual(self.d.metric('roost_subscriptions'), 0)

    def test_gzip(self):
        plain = self.scrape()
        self.assertIsNone(plain.get('content-encoding'))
        for accept in (None, OPENMETRICS):
            fields = [('Accept-Encoding', 'br, gzip;q=0.5')] + ([('Accept', accept)] if accept else [])
            r = self.d.http('GET', '/metrics', fields=fields)
            self.assertEqual((r.status, r.get('content-encoding')), (200, 'gzip'))
            self.assertIn('Accept-Encoding', r.get('vary'))
            text = gzip.decompress(r.body).decode()
            self.assertIn('# TYPE roost_accepts', text)
            self.assertEqual(text.endswith('# EOF\n'), accept is not None)
            self.assertLess(len(r.body) * 4, len(text))
        for refused in ('gzip;q=0', 'identity', 'identity;q=1, gzip;q=0.5', ''):
            r = self.d.http('GET', '/metrics', fields=[('Accept-Encoding', refused)])
            self.assertIsNone(r.get('content-encoding'), refused)
        r = self.d.http('HEAD', '/metrics', fields=[('Accept-Encoding', 'gzip')])
        self.assertEqual((r.status, r.get('content-encoding'), r.body), (200, 'gzip', b''))

    def test_api_outcome_and_latency(self):
        before = self.d.metrics()

        def grew(name):
            return self.d.metric(name) - before[name]

        def outcome(word):
            return grew('roost_api_requests_total{outcome="%s"}' % word)

        self.d.publish('m', 1)
        self.d.api('info')
        self.assertEqual(self.d.http('POST', '/api/publish', 'no json').status, 400)
        self.assertIn('error', self.d.api('publish', channel='a b', data=1))
        self.assertEqual(outcome('ok'), 2)
        self.assertEqual(outcome('refused'), 2)
        self.assertEqual(outcome('failed') + outcome('unknown') + outcome('abandoned'), 0)
        self.assertEqual(grew('roost_api_duration_seconds_count{method="publish"}'), 3)
        self.assertEqual(grew('roost_api_duration_seconds_count{method="info"}'), 1)
        self.assertEqual(grew('roost_api_duration_seconds_count{method="channels"}'), 0)
        self.assertGreater(grew('roost_api_duration_seconds_sum{method="publish"}'), 0)

    def test_state_of_the_node(self):
        m = self.d.metrics()
        self.assertEqual((m['roost_ready'], m['roost_draining']), (1, 0))
        clients = self.d.spread('/ws/w', per_worker=1)
        wait_for(lambda: sum(v for k, v in self.d.metrics().items() if k.startswith('roost_worker_connections{')) == len(clients),
                 what='each worker\'s connections')
        m = self.d.metrics()
        for w in 'worker0', 'worker1':
            self.assertGreaterEqual(m['roost_worker_connections{process="%s"}' % w], 1)
        self.assertNotIn('roost_worker_connections{process="master"}', m)
        for c in clients:
            c.close()

    def test_overflows_of_accept_queues(self):
        def kernel():
            with open('/proc/net/netstat') as f:
                names, values = [x.split() for x in f if x.startswith('TcpExt:')]
            return int(values[names.index('ListenOverflows')])

        before = kernel()  # of the whole machine, on which other tests may make some
        wait_for(lambda: self.d.metric('roost_listen_overflows_total') >= before, what='a look at them')
        self.assertLessEqual(self.d.metric('roost_listen_overflows_total'), kernel())

    def test_rings(self):
        """What lies in the rings is told also while the hub does not move; what was read, by kind."""
        with self.d.ws('/ws/rings') as c:
            hub = self.d.kill('hub', signal.SIGSTOP)
            try:
                c.text('y' * 1000)
                wait_for(lambda: self.d.metric('roost_ring_to_hub_bytes') > 1000, what='the publication in the ring')
            finally:
                os.kill(hub, signal.SIGCONT)
            c.expect(TEXT, 'y' * 1000)
            wait_for(lambda: self.d.metric('roost_ring_to_hub_bytes') == 0, what='the hub to have read everything')
        for kind in ('hello', 'subscribe', 'publish', 'subscribed', 'publication'):
            self.assertGreater(self.d.metric('roost_ring_records_total{kind="%s"}' % kind), 0, kind)

    def test_health(self):
        self.assertEqual(self.d.http('GET', '/healthz').body, b'ok\n')
        self.assertEqual(self.d.http('GET', '/healthz', where='client').body, b'ok\n')
        self.assertEqual((self.d.http('GET', '/readyz').status, self.d.http('GET', '/readyz').body), (200, b'ready\n'))

    def test_debug(self):
        with self.d.ws('/ws/debugged?echo=0') as c, self.d.ws('/ws?channel=a&channel=b'):
            c.text('x')
            for page in ('processes', 'connections', 'pools', 'rings', 'turns'):
                r = self.d.http('GET', '/debug/' + page)
                self.assertEqual((r.status, r.get('content-type')), (200, 'application/json'), page)
                json.loads(r.body)

            def find(channel):  # the kernel picks the worker that answers
                page = self.d.get_json('/debug/connections')
                return [x for x in page['connections'] if channel in json.dumps(x)]

            # Nothing says when the frame has been read.
            entry = wait_for(lambda: [x for x in find('"debugged"') if x['frames_in'] > 0], what='the connection in the listing')[0]
            self.assertEqual((entry['state'], entry['protocol'], entry['frames_in']), ('open', 'plain', 1))
            full = wait_for(lambda: [r for r in [self.d.http('GET', '/debug/connection?id=' + entry['id'])] if r.status == 200],
                            what='the connection in full')[0]
            self.assertEqual(json.loads(full.body)['connection']['id'], entry['id'])
            self.assertEqual(json.loads(full.body)['connection']['transport'], 'tcp')
            self.assertIn('counted', json.loads(full.body)['connection']['flags'])
            self.assertEqual(self.d.http('GET', '/debug/connection?id=1').status, 404)
            self.assertEqual(self.d.http('GET', '/debug/connection').status, 400)
            self.assertEqual(self.d.http('GET', '/debug/connection?id=x').status, 400)

    def test_debug_pages(self):
        clients = [self.d.ws('/ws/paged') for _ in range(60)]
        wait_for(lambda: sum(p['connections'] for p in self.d.processes()) == 60, what='the end of those of other tests')
        seen, worker, after = set(), None, ''
        for _ in range(2000):
            page = self.d.get_json('/debug/connections?limit=7' + after)
            if worker not in (None, page['worker']):
                continue
            worker = page['worker']
            self.assertLessEqual(len(page['connections']), 7)
            ids = {x['id'] for x in page['connections'] if x['protocol'] == 'plain'}
            self.assertFalse(ids & seen)
            seen |= ids
            if 'after' not in page:
                break
            after = '&after=' + page['after']
        processes = {p['name']: p['connections'] for p in self.d.processes()}
        self.assertEqual(len(seen), processes['worker%d' % worker])
        for c in clients:
            c.close()


class Node(DaemonTest):
    def test_name(self):
        d = self.start(workers=1, node_name='a "name" \\ of ours')
        text = d.http('GET', '/metrics').body.decode()
        self.assertRegex(text, r'(?m)^roost_node_info\{name="a \\"name\\" \\\\ of ours",uid="[0-9a-f]+"\} 1$')
        self.assertEqual(d.api('info')['result']['nodes'][0]['name'], 'a "name" \\ of ours')
        p = subprocess.run([PROMTOOL, 'check', 'metrics'], input=text.encode(), capture_output=True)
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, b'', b''))

    def test_default_name(self):
        d = self.start(workers=1)
        self.assertIn('roost_node_info{name="%s",' % socket.gethostname(), d.http('GET', '/metrics').body.decode())

    def test_reloads(self):
        path = self.file('ping_interval: 5s\n')
        d = self.start(workers=1, config=path)

        def reload(text, outcome, n=1):
            with open(path, 'w') as f:
                f.write(text)
            d.process.send_signal(signal.SIGHUP)
            wait_for(lambda: d.metric('roost_reloads_total{outcome="%s"}' % outcome) == n, what=outcome)
            return d.metric('roost_last_reload_refused')

        self.assertEqual(reload('ping_interval: 6s\n', 'applied'), 0)
        self.assertEqual(reload('ping_interval: fast\n', 'refused'), 1)
        self.assertEqual(reload('ping_interval: 6s\nworkers: 2\nring_size: 8MiB\n', 'refused', 2), 1)
        self.assertEqual(reload('ping_interval: 6s\n', 'unchanged'), 0)

    def test_draining(self):
        d = self.start(workers=1, drain_time='20s')
        c = d.ws('/ws/a')
        d.process.send_signal(signal.SIGTERM)
        wait_for(lambda: d.metric('roost_draining') == 1, what='the drain to be seen')
        self.assertEqual(d.metric('roost_ready'), 0)
        c.close()


if __name__ == '__main__':
    unittest.main(verbosity=0)
