#!/usr/bin/python3
"""What a node does when the engine's server is away, slow, full, or another one than before: who is told what, and that everybody stays."""

import json
import signal
import subprocess
import tempfile
import unittest

from centrifuge import OPEN, Client, yaml
from daemon import DaemonTest, wait_for
from engines import Redis, environment
from wsraw import WebSocket

BARE = {k: v for k, v in OPEN.items() if 'presence' not in k and 'history_' not in k and 'force' not in k}
KEPT = {**{k: v for k, v in OPEN.items() if 'presence' not in k}, 'force_positioning': True}


class Away(DaemonTest):
    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def node(self, up=True, **settings):
        settings = {'allow_anonymous_connect_without_token': True, 'plain': True, 'engine': 'redis',
                    'engine_address': 'unix:' + self.redis.path, 'engine_probe_interval': '2s', 'engine_timeout': '4s',
                    'engine_patience': '500ms', 'engine_reconnect_max': '200ms', 'channel_without_namespace': KEPT,
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


class Busy(Away):
    def test_somebody_elses_script_runs_for_long(self):
        # The server answers everything with BUSY meanwhile: patience is for that, too.
        self.redis.say('CONFIG', 'SET', 'busy-reply-threshold', '50')
        d = self.node(engine_patience='20s', hub_timeout='20s', engine_probe_interval='20s')
        c, publisher, w = self.client(d, 'a', 'bare:a'), self.client(d), d.ws('/ws/bare:a')
        with subprocess.Popen([*self.redis.cli(), 'EVAL', 'while true do end', '0'], env=environment(), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL):
            wait_for(lambda: self.redis.say('PING').startswith('BUSY'), what='the script to be noticed')
            publisher.say(*[{'id': 100 + i, 'publish': {'channel': channel, 'data': channel}} for i, channel in enumerate(('a', 'bare:a'))])
            w.text(b'plain')
            self.down(d)
            self.redis.say('SCRIPT', 'KILL')
        for i in range(2):
            self.assertIn('publish', publisher.answer(100 + i))
        got = [c.push() for _ in range(3)]
        self.assertEqual(sorted(str(p['data']) for _, p in got), ['a', 'bare:a', 'plain'])


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
        d = self.node(engine_probe_interval='10s', engine_timeout='2s')
        self.redis.kill(signal.SIGSTOP)
        self.publish(d, 'a', 1)
        wait_for(lambda: d.metric('roost_engine_reconnects_total{reason="timeout"}') > 0, what='the node to notice')
        self.redis.kill(signal.SIGCONT)
        self.up(d)
        self.redis.say('CONFIG', 'SET', 'requirepass', 'secret')
        self.redis.say('-a', 'secret', 'CLIENT', 'KILL', 'TYPE', 'pubsub')
        wait_for(lambda: d.metric('roost_engine_reconnects_total{reason="refused"}') > 0, what='the node to be refused')
        wait_for(lambda: 'NOAUTH' in self.ready(d)[1], what='the reason')


class WhoIsTold(Away):
    def away(self, **settings):
        """A node, a client of a and bare:a and a plain one of bare:a; then the server is killed and given up."""
        d = self.node(**settings)
        c, w = self.client(d, 'a', 'bare:a'), d.ws('/ws/bare:a')
        self.assertEqual(self.publish(d, 'bare:a', 0)[0], 200)
        self.assertEqual((c.data(), w.recv_data()), (0, b'0'))
        self.redis.kill()
        self.down(d)
        wait_for(lambda: self.publish(d, 'a', 'no')[0] == 503, what='the server to be given up')
        return d, c, w

    def back(self, d):
        self.redis.start()
        self.up(d)

    def test_subscribing_fails_for_the_time_being(self):
        d, c, w = self.away()
        other = self.client(d)
        for channel in ('new', 'bare:new'):
            self.assertEqual(other.error(subscribe={'channel': channel}), 100)
        for request in ({'publish': {'channel': 'a', 'data': 1}}, {'history': {'channel': 'a', 'limit': 1}}):
            self.assertEqual(c.error(**request), 100)
        status, body = self.publish(d, 'a', 1)
        self.assertEqual((status, body['error']['code']), (503, 100))
        self.assertIn("the engine's server is away", body['error']['message'])
        self.assertEqual(d.http('POST', '/api/history', '{"channel":"a","limit":1}').status, 503)
        self.back(d)
        for channel in ('new', 'bare:new'):  # the same connection, as an SDK does
            other.subscribe(channel)
        self.assertEqual(self.publish(d, 'new', 'x')[0], 200)
        self.assertEqual(other.data(), 'x')
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)
        self.assertEqual(self.publish(d, 'bare:a', 'y')[0], 200)
        self.assertEqual((c.data(), w.recv_data()), ('y', b'"y"'))

    def test_plain_clients_stay_and_new_ones_come_later(self):
        d, c, w = self.away()
        new = WebSocket(d.client, '/ws/new')
        self.addCleanup(new.close)
        self.assertEqual(new.response.status, 503)
        self.back(d)
        new = d.ws('/ws/new')
        self.assertEqual(self.publish(d, 'new', 'x')[0], 200)
        self.assertEqual(new.recv_data(), b'"x"')
        self.assertEqual(self.publish(d, 'bare:a', 'y')[0], 200)
        self.assertEqual(w.recv_data(), b'"y"')

    def test_recovering_fails_for_the_time_being(self):
        nodes = [self.node(engine_timeout='2s') for _ in range(2)]
        c = self.client(nodes[0], 'a')
        at = [self.publish(nodes[0], 'a', i)[1]['result'] for i in range(3)]
        self.assertEqual([c.data() for _ in range(3)], [0, 1, 2])
        self.redis.kill(signal.SIGSTOP)
        self.down(nodes[0])
        wait_for(lambda: self.publish(nodes[0], 'a', 'no')[0] == 503, what='the server to be given up')
        since = {'channel': 'a', 'recover': True, 'offset': at[0]['offset'], 'epoch': at[0]['epoch']}
        d = self.client(nodes[0])
        self.assertEqual(d.error(subscribe=since), 100)
        self.redis.kill(signal.SIGCONT)
        self.up(nodes[0])
        got = d.subscribe(**since)
        self.assertTrue(got['recovered'])
        self.assertEqual([p['data'] for p in got['publications']][:2], [1, 2])

    def test_a_connect_with_subscriptions_fails_for_the_time_being(self):
        d, c, w = self.away()
        one = Client(d.client)
        self.addCleanup(one.close)
        self.assertEqual(one.error(connect={'subs': {'new': {}}}), 100)
        self.back(d)
        two = Client(d.client)
        self.addCleanup(two.close)
        self.assertIn('new', two.connect(subs={'new': {}})['subs'])

    def test_a_hub_that_dies_meanwhile_sends_nobody_away(self):
        d, c, w = self.away()
        d.kill('hub')
        wait_for(lambda: self.publish(d, 'a', 'no')[0] == 503, what='the new hub to give the server up')
        self.back(d)
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)
        wait_for(lambda: self.publish(d, 'bare:a', 'y')[0] == 200, what='publications to be taken')
        self.assertEqual((c.data(), w.recv_data()), ('y', b'"y"'))

    def test_what_nobody_can_be_told_of_is_counted_and_said_once(self):
        d = self.node()
        w = d.ws('/ws/a')
        self.redis.kill()
        self.down(d)
        wait_for(lambda: self.publish(d, 'a', 'no')[0] == 503, what='the server to be given up')
        for i in range(30):
            w.text(b'%d' % i)
        wait_for(lambda: d.metric('roost_engine_dropped_total{reason="unavailable"}') == 30, what='the losses to be counted')
        self.assertEqual(len(d.lines('publications whose publishers cannot be told are lost')), 1)
        self.back(d)
        w.text(b'again')
        self.assertEqual(w.recv_data(), b'again')

    def test_channels_without_history_may_go_on_alone(self):
        d, c, w = self.away(engine_local_fallback=True)
        self.assertEqual(self.publish(d, 'bare:a', 1)[0], 200)
        self.assertEqual((c.data(), w.recv_data()), (1, b'1'))
        self.assertEqual(self.publish(d, 'a', 1)[0], 503)
        other = self.client(d, 'bare:new')
        self.assertEqual(self.publish(d, 'bare:new', 2)[0], 200)
        self.assertEqual(other.data(), 2)
        self.assertEqual(d.metric('roost_engine_local_publications_total'), 2)
        self.back(d)
        self.assertEqual(c.push('unsubscribe')[1]['code'], 2500)
        self.assertEqual(self.publish(d, 'bare:a', 3)[0], 200)
        self.assertEqual((c.data(), w.recv_data()), (3, b'3'))


class Full(Away):
    def test_a_full_server_delivers_what_it_need_not_keep(self):
        nodes = [self.node(), self.node()]
        c = self.client(nodes[1], 'a', 'bare:a')
        self.assertEqual(self.publish(nodes[0], 'a', 1)[0], 200)
        self.redis.say('CONFIG', 'SET', 'maxmemory', '1')
        self.assertEqual(self.publish(nodes[0], 'a', 2)[0], 503)
        self.assertEqual(self.publish(nodes[0], 'bare:a', 3)[0], 200)
        self.assertEqual([c.data() for _ in range(2)], [1, 3])
        self.assertIn(': degraded for', self.ready(nodes[0])[1])
        self.assertIn('OOM', self.ready(nodes[0])[1])
        self.assertEqual(self.ready(nodes[0])[0], 200)
        self.assertEqual(nodes[0].metric('roost_engine_up'), 1)
        self.redis.say('CONFIG', 'SET', 'maxmemory', '1gb')
        self.assertEqual(self.publish(nodes[0], 'a', 4)[0], 200)
        self.assertEqual(c.data(), 4)
        self.assertIn(': up for', self.ready(nodes[0])[1])
        self.assertEqual(nodes[0].metric('roost_engine_reconnects_total'), 0)

    def test_calls_and_queues_can_be_seen(self):
        d = self.node()
        c = self.client(d, 'a')
        self.assertEqual(self.publish(d, 'a', 1)[0], 200)
        self.assertEqual(c.data(), 1)
        d.api('history', channel='a', limit=1)
        for name in ('call_seconds_count{call="publish"}', 'call_seconds_count{call="history"}', 'call_seconds_count{call="subscribe"}',
                     'delivery_lag_seconds_count'):
            self.assertGreater(d.metric('roost_engine_' + name), 0, name)
        wait_for(lambda: d.metric('roost_engine_pending_calls') == 0 == d.metric('roost_engine_queue_bytes'), what='nothing to wait')


if __name__ == '__main__':
    unittest.main(verbosity=0)
