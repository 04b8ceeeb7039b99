#!/usr/bin/python3
"""deploy/compose.yaml, as far as no container engine is needed: what it mounts and names is there, and the programs take what it gives them."""

import os
import re
import subprocess
import sys
import unittest

import yaml

from prometheus import TOP, read

sys.path.insert(0, os.path.join(TOP, 'tests/integration'))

from daemon import BUILD, DaemonTest, run_roostd, wait_for  # noqa: E402

COMPOSE = yaml.safe_load(read('deploy/compose.yaml'))
SERVICES = COMPOSE['services']
KEYS = {'ROOST_API_KEY': 'the-key-of-publishers', 'ROOST_METRICS_KEY': 'the-key-of-scrapers'}


def seconds(text):
    number, unit = re.fullmatch(r'(\d+)(ms|s|m|h)', text).groups()
    return int(number) * {'ms': 0.001, 's': 1, 'm': 60, 'h': 3600}[unit]


class Compose(DaemonTest):
    @classmethod
    def setUpClass(cls):
        print('not run: the containers of deploy/compose.yaml, which take a container engine and images from a registry', flush=True)

    def environment(self):
        """That of the gateway, with the shell's variables filled in; none of them may be forgotten."""
        return {k: re.sub(r'^\$\{(\w+):\?is not set\}$', lambda m: KEYS[m.group(1)], v) for k, v in SERVICES['roost']['environment'].items()}

    def test_what_it_names_is_there(self):
        for name, s in SERVICES.items():
            for mount in s.get('volumes', []):
                source = mount.split(':')[0]
                if source.startswith('.'):
                    self.assertTrue(os.path.exists(os.path.join(TOP, 'deploy', source)), mount)
                    self.assertTrue(mount.endswith(':ro'), mount)
                else:
                    self.assertIn(source, COMPOSE['volumes'])
            self.assertLessEqual(set(s.get('secrets', [])), set(COMPOSE['secrets']), name)
            self.assertLessEqual(set(s.get('depends_on', [])), set(SERVICES), name)
            self.assertTrue(s['image'] == 'roost:latest' or re.search(r':v?\d+\.\d+\.\d+$', s['image']), name)
            if s.get('read_only'):  # compose: "cannot create secret in read-only service: `file` is the sole supported option"
                copied = [x for kind in ('secrets', 'configs') for x in s.get(kind, []) if 'file' not in COMPOSE[kind][x]]
                self.assertEqual(copied, [], name)
            self.assertLessEqual(s.get('ulimits', {}).get('nofile', 0), 524288, name)  # or engines without root do not start it
            for port in s.get('ports', []):
                self.assertTrue(port.startswith('127.0.0.1:'), port)
        self.assertTrue(os.path.exists(os.path.join(TOP, 'deploy', SERVICES['roost']['build']['context'], 'Dockerfile')))
        self.assertEqual(SERVICES['load']['profiles'], ['load'])

    def test_the_scraper_holds_the_key_for_metrics_only(self):
        self.assertEqual(SERVICES['prometheus']['secrets'], ['metrics_key'])
        self.assertEqual(COMPOSE['secrets'], {'metrics_key': {'environment': 'ROOST_METRICS_KEY'}})
        job, = yaml.safe_load(read('deploy/prometheus/compose.yml'))['scrape_configs']
        self.assertEqual(job['authorization'], {'type': 'apikey', 'credentials_file': '/run/secrets/metrics_key'})
        self.assertEqual(job['static_configs'], [{'targets': ['roost:8001']}])

    def test_the_gateway_takes_its_environment(self):
        env = self.environment()
        status, out, err = run_roostd('--check', env=env)
        self.assertEqual((status, err), (0, ''), out)
        shown = dict(re.findall(r"^(\w+): '?(\S+?)'?$", run_roostd('--print-config', env=env)[1], re.M))
        self.assertEqual(shown['admin_listen'], '0.0.0.0:8001')
        self.assertGreater(seconds(SERVICES['roost']['stop_grace_period']), seconds(shown['drain_time']) + seconds(shown['close_timeout']) + 5)

    def test_it_runs_with_load(self):
        """On other ports; the load's command finds its options and its way."""
        d = self.start(env={k: v for k, v in self.environment().items() if k != 'ROOST_ADMIN_LISTEN'})
        self.assertEqual(d.http('GET', '/metrics', fields=[('Authorization', 'apikey ' + KEYS['ROOST_METRICS_KEY'])]).status, 200)
        self.assertEqual(d.http('GET', '/metrics').status, 401)
        command = [x.replace('ws://roost:8000', 'ws://' + d.client) for x in SERVICES['load']['command']]
        self.assertIn('ws://%s/ws/{channel}' % d.client, '\n'.join(command))
        load = subprocess.Popen([os.path.join(BUILD, os.path.basename(SERVICES['load']['entrypoint'][0])), *command, '--connections=50', '--rate=20'],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(load.stderr.close)
        self.addCleanup(load.wait)
        self.addCleanup(load.kill)

        def delivered():
            if load.poll() is not None:
                self.fail(load.stderr.read())
            text = d.http('GET', '/metrics', fields=[('X-API-Key', KEYS['ROOST_METRICS_KEY'])]).body.decode()
            return float(re.search(r'^roost_deliveries_total (\S+)', text, re.M).group(1)) > 100

        wait_for(delivered, 30, 'deliveries')


if __name__ == '__main__':
    unittest.main()
