#!/usr/bin/python3
"""What a node does when the engine's server is away, slow, full, or another one than before: who is told what, and that everybody stays."""

import json
import signal
import tempfile
import unittest

from centrifuge import OPEN, Client, yaml
from daemon import DaemonTest, wait_for
from engines import Redis

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}
KEPT = {**{k: v for k, v in OPEN.items() if 'presence' not in k}, 'force_positioning': True}


class Away(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def node(self, up=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'redis',
                    'engine_address': 'unix:' + self.redis.path, 'engine_probe_interval': '300ms', 'engine_timeout': '1s',
                    'engine_patience': '300ms', 'engine_reconnect_max': '200ms', 'channel_without_namespace': KEPT,
                    'namespaces': [{**BARE, 'name': 'bare'}], **settings}
        with tempfile.NamedTemporaryFile('w', suffix='.yaml', prefix='roost-test-') as f:
            f.write(yaml(settings))
            f.flush()
            d = self.start(config=f.name, workers=2)
        if up:
            self.up(d)
        return d

    def up(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 1 and 'up for' in self.ready(d)[1], what='the engine to be there')

    def down(self, d):
        wait_for(lambda: d.metric('roost_engine_up') == 0, what='the node to notice')

    def client(self, d, *channels):
        c = Client(d.client)
        self.addCleanup(c.close)
        c.connect()
        for channel in channels:
            c.subscribe(channel)
        return c

    def ready(self, d):
        r = d.http('GET', '/readyz')
        return r.status, r.body.decode()

    def publish(self, d, channel, data):
        r = d.http('POST', '/api/publish', json.dumps({'channel': channel, 'data': data}))
        return r.status, json.loads(r.body)


class Readiness(Away):
    def test_it_is_not_ready_before_it_has_reached_a_server(self):
        self.redis.kill()
        d = self.node(up=False)
        wait_for(lambda: self.ready(d)[1].startswith("not ready: the engine's servers are away\n"), what='the node to say so')
        self.assertIn('engine unix:%s: down for' % self.redis.path, self.ready(d)[1])
        self.assertEqual(self.ready(d)[0], 503)
        self.assertEqual(d.http('GET', '/healthz').status, 200)
        self.assertEqual(d.metric('roost_ready'), 0)
        self.redis.start()
        wait_for(lambda: self.ready(d)[0] == 200, what='the node to be ready')
        self.assertEqual(d.metric('roost_ready'), 1)

    def test_nodes_that_are_all_cut_off_stay(self):
        nodes = [self.node(engine_unready_after='0s'), self.node(engine_unready_after='0s', engine_readiness='connected')]
        c = self.client(nodes[0], 'a')
        self.redis.kill()
        for d in nodes:
            self.down(d)
            self.assertIn(': down for', self.ready(d)[1])
        self.assertEqual(self.ready(nodes[0])[0], 200)
        wait_for(lambda: self.ready(nodes[1])[0] == 503, what='the one that wants a server to say so')
        self.redis.start()
        for d in nodes:
            wait_for(lambda: self.ready(d)[0] == 200 and ': up for' in self.ready(d)[1], what='the node to be ready')
            shard = '{shard="unix:%s"}' % self.redis.path
            self.assertEqual(d.metric('roost_engine_up' + shard), 1)
            wait_for(lambda: 0 <= d.metric('roost_engine_probe_age_seconds' + shard) < 60, what='the probe')
            self.assertGreaterEqual(d.metric('roost_engine_state_seconds' + shard[:-1] + ',state="up"}'), 0)
            self.assertGreater(d.metric('roost_engine_reconnects_total{reason="closed"}'), 0)
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)  # the server has forgotten; the client stays

    def test_the_reasons_of_a_connections_end_are_counted(self):
        d = self.node(engine_probe_interval='10s')
        self.redis.kill(signal.SIGSTOP)
        self.publish(d, 'a', 1)
        wait_for(lambda: d.metric('roost_engine_reconnects_total{reason="timeout"}') > 0, what='the node to notice')
        self.redis.kill(signal.SIGCONT)
        self.up(d)
        self.redis.say('CONFIG', 'SET', 'requirepass', 'secret')
        self.redis.say('-a', 'secret', 'CLIENT', 'KILL', 'TYPE', 'pubsub')
        wait_for(lambda: d.metric('roost_engine_reconnects_total{reason="refused"}') > 0, what='the node to be refused')
        self.assertIn('NOAUTH', self.ready(d)[1])


if __name__ == '__main__':
    unittest.main(verbosity=0)
