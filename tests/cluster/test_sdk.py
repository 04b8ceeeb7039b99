#!/usr/bin/python3
"""The npm package centrifuge, unmodified, behind HAProxy with the configuration of deploy/cluster: it recovers on the other node, again and
again, when the one it is on is killed. Every publication once, in order."""

import os
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from nodes import HERE, KEPT, Nodes, Traffic  # noqa: E402 (it finds the others)
from balancer import Balancer  # noqa: E402
from daemon import before_exec, wait_for  # noqa: E402
from engines import HOST, Redis, free_port  # noqa: E402
from proxies import answers  # noqa: E402

ROUNDS = 8
# All that is published until the end, however long the rounds take.
WHOLE = {'channel_without_namespace': {**KEPT, 'history_size': 100000}, 'recovery_max_publication_limit': 100000}
CLIENTS = ('json', 'protobuf') * 2


class Sdk(Nodes):
    def listen(self, encoding, address):
        """A running script; what it says goes to its list `said`."""
        endpoint = 'ws://%s/connection/websocket%s' % (address, '?cf_protocol=protobuf' if encoding == 'protobuf' else '')
        p = subprocess.Popen(['node', os.path.join(HERE, 'recover.mjs'), encoding, 'a', endpoint], text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=before_exec)
        p.said = []
        reader = threading.Thread(target=lambda: p.said.extend(x.rstrip('\n') for x in p.stdout), daemon=True)
        reader.start()
        for step in (p.stdout.close, reader.join, p.wait, p.kill, p.stdin.close):
            self.addCleanup(step)
        return p

    def recoveries(self, clients):
        return sum(p.said.count('subscribed RECOVERED') for p in clients)

    def held(self, d):
        return int(sum(v for k, v in d.metrics().items() if k.startswith('roost_connections{') and 'centrifuge' in k))

    def test_it_recovers_on_the_other_node(self):
        redis = self.started(Redis(tcp=True))
        places = [('%s:%d' % (HOST, free_port()), '%s:%d' % (HOST, free_port())) for _ in range(2)]
        nodes = [self.node(redis.address, clean=False, where=w, **WHOLE) for w in places]
        balancer = self.started(Balancer(places))
        clients = [self.listen(e, balancer.address) for e in CLIENTS]
        for p in clients:
            wait_for(lambda: 'subscribed FIRST' in p.said, 60, 'the client')
        traffic = Traffic(self, lambda: list(nodes), 'a', threads=2)
        self.addCleanup(traffic.stop)
        moves = 0
        for _ in range(ROUNDS):
            traffic.await_more(40)
            victim, other = sorted(nodes, key=self.held, reverse=True)
            moves += self.held(victim)
            nodes.remove(victim)
            victim.process.send_signal(signal.SIGKILL)
            wait_for(lambda: self.held(other) == len(clients), 30, 'all clients on the other node')
            wait_for(lambda: self.recoveries(clients) >= moves, 30, 'their recovery there')
            traffic.await_more(40)
            wait_for(lambda: not answers(victim.client), what='the end of its workers, which see that their master has gone')
            nodes.append(self.node(redis.address, clean=False, where=(victim.client, victim.admin), **WHOLE))
        traffic.stop()
        self.again(lambda: nodes[0], 'a', 'end')
        kept = nodes[0].api('history', channel='a', limit=100000)['result']['publications']
        want = ['pub %d %s' % (p['offset'], p['data']) for p in kept]
        self.assertEqual(kept[0]['offset'], 1)
        for p in clients:
            wait_for(lambda: p.said[-1].endswith(' end'), 30, 'the end')
            self.assertEqual([x for x in p.said if x.startswith('pub')], want)
            self.assertEqual([x for x in p.said if x.startswith('other') or x == 'subscribed LOST'], [])
        self.assertGreaterEqual(moves, ROUNDS)
        self.assertGreaterEqual(self.recoveries(clients), moves)


if __name__ == '__main__':
    unittest.main(verbosity=0)
