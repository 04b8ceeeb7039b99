#!/usr/bin/python3
"""deploy/cluster/compose.yaml, as far as no container engine is needed: its files are there, the programs take what it gives them, and two
nodes, Redis and HAProxy started as it says carry messages and outlive a node."""

import json
import os
import re
import signal
import sys
import unittest

import yaml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import Nodes  # noqa: E402 (it finds the others)
from balancer import Balancer  # noqa: E402
from daemon import run_roostd, wait_for  # noqa: E402
from engines import HOST, TOP, Redis, free_port  # noqa: E402
from proxies import answers  # noqa: E402
from wsraw import WebSocket  # noqa: E402

FOLDER = os.path.join(TOP, 'deploy/cluster')
KEY = 'the-key-of-publishers'


def read(name):
    with open(os.path.join(FOLDER, name)) as f:
        return f.read()


COMPOSE = yaml.safe_load(read('compose.yaml'))
SERVICES = COMPOSE['services']
NODES = [SERVICES['node1'], SERVICES['node2']]


class Compose(Nodes):
    def test_what_it_names_is_there(self):
        for name, s in SERVICES.items():
            self.assertLessEqual(s.get('ulimits', {}).get('nofile', 0), 524288, name)  # or engines without root do not start it
            for mount in s.get('volumes', []):
                self.assertTrue(os.path.exists(os.path.join(FOLDER, mount.split(':')[0])) and mount.endswith(':ro'), mount)
            for kind in 'secrets', 'configs':  # compose can copy none into a read-only container, only mount files
                copied = [x for x in s.get(kind, []) if 'file' not in COMPOSE[kind][x]]
                self.assertFalse(s.get('read_only') and copied, (name, copied))
            self.assertLessEqual(set(s.get('depends_on', [])), set(SERVICES), name)
            self.assertEqual(s['networks'], list(COMPOSE['networks']), name)
            self.assertTrue(s['image'] == 'roost:latest' or re.search(r':\d+\.\d+\.\d+$', s['image']), name)
            for port in s.get('ports', []):
                self.assertTrue(port.startswith('127.0.0.1:'), port)
        self.assertTrue(os.path.exists(os.path.join(FOLDER, NODES[0]['build']['context'], 'Dockerfile')))
        subnet = COMPOSE['networks']['inside']['ipam']['config'][0]['subnet']
        self.assertEqual(yaml.safe_load(read('roost.yaml'))['trusted_proxies'], [subnet])
        names = [n['environment']['ROOST_NODE_NAME'] for n in NODES]
        self.assertEqual(sorted(names), ['node1', 'node2'])
        for name in names:  # and HAProxy knows them
            self.assertEqual(read('haproxy.cfg').count('server %s %s:8000 check port 8001' % (name, name)), 1)

    def environment(self, service):
        """Of a node, with the shell's variable filled in."""
        self.assertEqual(service['environment']['ROOST_API_KEY'], '${ROOST_API_KEY:?is not set}')
        return {**service['environment'], 'ROOST_API_KEY': KEY}

    def test_nodes_take_their_settings(self):
        for service in NODES:
            status, out, err = run_roostd('--check', '--config', os.path.join(FOLDER, 'roost.yaml'), env=self.environment(service))
            self.assertEqual(status, 0, out + err)
            self.assertRegex(err, r'\Awarning: allow_anonymous_connect_without_token: .*\n\Z')  # it is for trying

    def test_it_runs(self):
        """With its files; other addresses, since there is no network of containers here."""
        command = SERVICES['redis']['command'][1:]
        redis = self.started(Redis(*command, tcp=True))
        self.assertEqual(redis.say('CONFIG', 'GET', 'maxmemory-policy').split('\n')[1], 'noeviction')
        text = read('roost.yaml').replace('redis://redis:6379', redis.address).replace('172.30.8.0/24', '127.0.0.1')
        places = [('%s:%d' % (HOST, free_port()), '%s:%d' % (HOST, free_port())) for _ in NODES]
        nodes = [self.start(config=self.file(text), clean=False, env=self.environment(s), listen=client, admin_listen=admin)
                 for s, (client, admin) in zip(NODES, places)]
        balancer = self.started(Balancer(places))
        clients = [WebSocket(balancer.address, '/ws/a') for _ in range(6)]
        for c in clients:
            self.addCleanup(c.close)
            self.assertEqual(c.response.status, 101)
        wait_for(lambda: all(sum(p['connections'] for p in self.asked(d)['processes'] if p['name'].startswith('worker')) for d in nodes),
                 what='clients on both nodes, as the balancer spreads')
        clients[0].text('hello')
        for c in clients:
            self.assertEqual(c.recv_data(), b'hello')
        nodes[0].process.send_signal(signal.SIGKILL)
        wait_for(lambda: not answers(nodes[0].client), what='the end of its workers, which see that their master has gone')
        again = WebSocket(balancer.address, '/ws/a')
        self.addCleanup(again.close)
        self.assertEqual(again.response.status, 101)
        again.text('still here')
        self.assertEqual(again.recv_data(), b'still here')

    def asked(self, d):
        return json.loads(d.http('GET', '/debug/processes', fields=[('X-API-Key', KEY)]).body)


if __name__ == '__main__':
    print('not run: the containers of deploy/cluster/compose.yaml, which take a container engine and images from a registry', flush=True)
    unittest.main(verbosity=0)
