#!/usr/bin/python3
"""Sending clients away while the node stays: POST /debug/drain and roostctl drain."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

from centrifuge import Client
from daemon import ROOSTCTL, SLOW, DaemonTest, run_roostctl, stand_still, wait_for
from wsraw import CLOSE, TEXT, Closed, Raw, WebSocket


def answering(clients):
    """Reads of each, and answers its close; the list of codes grows."""
    codes = []

    def read(c):
        try:
            while True:
                f = c.recv()
                if f.opcode == CLOSE:
                    codes.append(f.code)
                    c.send_frame(CLOSE, f.payload)
        except (Closed, OSError):
            pass

    threads = [threading.Thread(target=read, args=(c,), daemon=True) for c in clients]
    for t in threads:
        t.start()
    return codes


class Drain(DaemonTest):
    def order(self, d, query='', status=200):
        r = d.http('POST', '/debug/drain' + ('?' + query if query else ''))
        self.assertEqual(r.status, status, r.body)
        return json.loads(r.body) if r.get('content-type') == 'application/json' else None

    def state(self, d):
        return d.get_json('/debug/drain')

    def drained(self, d):
        return wait_for(lambda: (lambda s: s if s['state'] == 'drained' else None)(self.state(d)), what='the drain')

    def connections(self, d, n):
        wait_for(lambda: self.state(d)['connections'] == n, what='%d connections' % n)

    def is_taken(self, d):
        with WebSocket(d.client, '/ws/a') as c:
            return c.response.status == 101

    def test_down_to_a_number_over_all_workers(self):
        d = self.start(workers=3)
        clients = [d.ws('/ws/here') for _ in range(60)]
        codes = answering(clients)
        self.assertEqual(self.state(d), {'state': 'none', 'connections': 60})
        s = self.order(d, 'leave=17&time=0s')
        self.assertEqual((s['leave'], s['from'], s['stop']), (17, 60, False))
        s = self.drained(d)
        self.assertEqual((s['connections'], s['left'], s['closing']), (17, 0, 0))
        wait_for(lambda: len(codes) == 43, what='all of them to have read it')
        self.assertEqual(codes, [1001] * 43)
        self.assertEqual(sum(p['connections'] for p in d.processes()), 17)
        # Those that stay are served.
        d.publish('here', 'still')
        self.assertEqual(d.metric('roost_subscriptions'), 17)

    def test_who_comes_is_sent_elsewhere_until_it_is_taken_back(self):
        d = self.start(workers=2)
        with Raw(d.client) as kept, d.ws('/ws/a') as stays:
            self.assertEqual(kept.request('GET', '/healthz').status, 200)
            self.assertEqual(d.http('GET', '/readyz').status, 200)
            self.order(d, 'leave=2')
            self.drained(d)
            r = d.http('GET', '/readyz')
            self.assertEqual(r.status, 503)
            self.assertIn(b'roostctl drain --cancel', r.body)
            for path in ('/ws/a', '/connection/websocket'):
                with WebSocket(d.client, path) as c:
                    self.assertEqual(c.response.status, 503)
                    self.assertTrue(c.response.get('retry-after'))
            self.assertEqual(d.http('GET', '/healthz', where='client').status, 200)
            # A connection that was there may not become a client either.
            r = kept.request('GET', '/ws/a', [('Connection', 'Upgrade'), ('Upgrade', 'websocket'), ('Sec-WebSocket-Version', '13'),
                                              ('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==')])
            self.assertEqual(r.status, 503)
            # Operators are served as ever.
            with WebSocket(d.admin, '/ws/a') as operator:
                self.assertEqual(operator.response.status, 101)
                stays.text('x')
                operator.expect(TEXT, 'x')
            self.assertEqual(self.order(d, 'cancel=1')['state'], 'none')
            self.assertEqual(d.http('GET', '/readyz').status, 200)
            wait_for(lambda: self.is_taken(d), what='a client that is taken')

    def test_the_rate_and_a_second_order(self):
        d = self.start(workers=2)
        clients = [d.ws('/ws/r') for _ in range(30)]
        codes = answering(clients)
        s = self.order(d, 'rate=1')
        self.assertEqual((s['state'], s['rate'], s['time']), ('draining', 1, 30))
        self.assertGreater(s['eta'], 20)
        s = self.order(d, 'leave=20&time=1h')
        self.assertEqual((s['state'], s['leave'], s['time']), ('draining', 20, 3600))
        s = self.order(d, 'leave=10&rate=1000')
        self.assertEqual((s['leave']), 10)
        self.drained(d)
        self.connections(d, 10)
        wait_for(lambda: len(codes) == 20, what='20 closes')
        self.order(d, 'leave=5&time=0s')
        self.drained(d)
        self.connections(d, 5)
        # More may stay than are here: nobody goes.
        self.order(d, 'leave=100&time=0s')
        self.assertEqual(self.drained(d)['connections'], 5)

    def test_one_that_is_cancelled_on_its_way_lets_the_others_be(self):
        d = self.start(workers=2)
        clients = [d.ws('/ws/r') for _ in range(10)]
        codes = answering(clients)
        self.order(d, 'time=1h')
        self.order(d, 'cancel=1')
        self.assertEqual(self.state(d)['state'], 'none')
        wait_for(lambda: self.state(d)['connections'] + len(codes) == 10, what='those that were sent away already to have read it')

    def test_the_order_outlives_workers_and_hub(self):
        d = self.start(workers=2)
        clients = d.spread('/ws/k', per_worker=2)
        answering(clients)
        self.order(d, 'leave=1000&time=0s')
        self.drained(d)
        for name in ('worker0', 'worker1', 'hub'):
            pid = d.kill(name)
            wait_for(lambda: d.pid_of(name) not in (0, pid), what='another ' + name)
            wait_for(lambda: all(p['phase'] == 'ready' for p in d.processes()), what='all processes')
            self.assertEqual(d.http('GET', '/readyz').status, 503)
            for _ in range(8):
                with WebSocket(d.client, '/ws/k') as c:
                    self.assertEqual(c.response.status, 503)
        self.assertEqual(self.state(d)['state'], 'drained')
        self.order(d, 'cancel=1')
        with d.ws('/ws/k'):
            pass

    def test_a_worker_that_dies_on_the_way(self):
        d = self.start(workers=2)
        clients = d.spread('/ws/k', per_worker=5)
        answering(clients)
        self.order(d, 'leave=2&time=2s')
        d.kill('worker1')
        s = self.drained(d)
        self.assertLessEqual(s['connections'], 2)

    def test_to_the_end(self):
        """The node stops when it is done, and not before."""
        d = self.start(workers=2)
        codes = answering([d.ws('/ws/s') for _ in range(10)])
        self.order(d, 'stop=1&time=100ms')
        self.assertEqual(d.process.wait(30 * SLOW), 0)
        wait_for(lambda: len(codes) == 10, what='all of them to have read it')
        self.assertTrue(d.find('msg="?drained"? .*leave=0'))

    def test_what_the_metrics_say(self):
        d = self.start(workers=2)
        names = ('roost_drain_state', 'roost_drain_target_connections', 'roost_drain_left_connections')
        answering([d.ws('/ws/m') for _ in range(8)])
        self.assertEqual([d.metric(n) for n in names], [0, 0, 0])
        self.order(d, 'leave=3&time=1h')
        m = d.metrics()
        self.assertEqual([m[n] for n in names[:2]], [1, 3])
        self.assertEqual(m['roost_drain_left_connections'], 5)
        self.assertGreater(m['roost_drain_deadline_timestamp_seconds'], 0)
        self.assertEqual((m['roost_ready'], m['roost_draining']), (0, 0))
        self.order(d, 'leave=3&time=0s')
        self.drained(d)
        m = d.metrics()
        self.assertEqual([m[n] for n in names], [2, 3, 0])
        self.assertEqual(m['roost_drain_deadline_timestamp_seconds'], 0)
        d.wait_metric('roost_closes_total{reason="drain"}', 5)
        self.assertTrue(d.get_json('/debug/nodes')['nodes'][0]['draining'])
        self.order(d, 'cancel=1')
        self.assertEqual([d.metric(n) for n in names], [0, 0, 0])

    def test_what_is_no_order(self):
        d = self.start(workers=1)
        for query in ('leave=-1', 'leave=x', 'leave=', 'rate=0', 'time=soon', 'rate=1&time=1s', 'stop=yes', 'what=1',
                      'leave=99999999999', 'time=-1s', 'time=300h'):
            with self.subTest(query=query):
                self.order(d, query, status=400)
        self.assertEqual(self.state(d)['state'], 'none')
        self.assertEqual(d.http('POST', '/debug/drain', where='client').status, 404)

    def test_only_with_the_key(self):
        d = self.start(workers=1, api_key='secret')
        for method in ('GET', 'POST'):
            self.assertEqual(d.http(method, '/debug/drain').status, 401)
        self.assertEqual(d.http('POST', '/debug/drain', fields=[('X-API-Key', 'secret')]).status, 200)

    def test_a_master_that_does_not_move(self):
        d = self.start(workers=1, hub_timeout='%ds' % (2 * SLOW))
        stand_still(d.process.pid)
        try:
            r = d.http('POST', '/debug/drain')
            self.assertEqual(r.status, 503)
            self.assertIn(b'the order is withdrawn', r.body)
        finally:
            os.kill(d.process.pid, signal.SIGCONT)
        for _ in range(2):  # behind them the master has seen whatever was left for it
            self.assertEqual(d.http('POST', '/debug/reload?look=1').status, 200)
        self.assertEqual(self.state(d)['state'], 'none')
        self.assertNotIn('draining as ordered', d.text())
        s = self.order(d, 'leave=7&time=0s')
        self.assertEqual((s['leave'], s['order']), (7, 1))

    def test_the_end_in_the_midst_of_it(self):
        d = self.start(workers=2)
        answering([d.ws('/ws/e') for _ in range(6)])
        self.order(d, 'time=1h')
        self.assertEqual(d.stop(), 0)


class Command(DaemonTest):
    """roostctl drain."""

    def test_it_waits_until_it_is_done(self):
        d = self.start(workers=2)
        codes = answering([d.ws('/ws/c') for _ in range(12)])
        r = run_roostctl(d, 'drain', '--leave', '4', '--rate', '20')
        self.assertEqual((r.returncode, r.stderr), (0, ''), r)
        lines = r.stdout.split('\n')
        self.assertRegex(lines[0], r'^draining  \[=* *\]  \d to go, \d+ here, 4 may stay, 0s$')
        go, here = map(int, re.findall(r'(\d+) (?:to go|here)', lines[0]))  # some may be gone when it is answered
        self.assertTrue(here - go == 4 and go <= 8, lines[0])
        self.assertRegex(lines[-2], '^drained: 4 clients, 4 may stay; .*--cancel$')
        wait_for(lambda: len(codes) == 8, what='all of them to have read it')
        r = run_roostctl(d, 'drain', '--show', '-o', 'json')
        self.assertEqual(json.loads(r.stdout)['state'], 'drained')
        r = run_roostctl(d, 'drain', '--cancel')
        self.assertEqual((r.returncode, r.stdout), (0, 'no drain: 4 clients are here, new ones are welcome\n'))
        r = run_roostctl(d, 'drain', '--show')
        self.assertEqual((r.returncode, r.stdout), (0, 'no drain: 4 clients are here, new ones are welcome\n'))

    def test_json(self):
        d = self.start(workers=2)
        answering([d.ws('/ws/c') for _ in range(5)])
        r = run_roostctl(d, 'drain', '--time', '2s', '-o', 'json')
        states = [json.loads(x) for x in r.stdout.split('\n') if x]
        self.assertEqual((r.returncode, states[0]['state'], states[-1]['state']), (0, 'draining', 'drained'))
        self.assertEqual((states[0]['from'], states[-1]['connections']), (5, 0))

    def test_on_a_terminal_one_line_is_drawn_anew(self):
        d = self.start(workers=1)
        answering([d.ws('/ws/c') for _ in range(5)])
        r = subprocess.run(['script', '-qec', '%s --admin http://%s drain --time 1s' % (ROOSTCTL, d.admin), '/dev/null'],
                           capture_output=True, stdin=subprocess.DEVNULL, timeout=20 * SLOW)
        self.assertEqual(r.returncode, 0, r)
        self.assertEqual(r.stdout.count(b'\n'), 1, r.stdout)
        self.assertIn(b'\rdrained: 0 clients', r.stdout)

    def test_to_the_end_of_the_node(self):
        d = self.start(workers=2)
        answering([d.ws('/ws/c') for _ in range(5)])
        r = run_roostctl(d, 'drain', '--stop', '--time', '0s')
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        self.assertEqual(r.stdout.split('\n')[-2], 'stopped')
        self.assertEqual(d.process.wait(30 * SLOW), 0)

    def test_a_node_that_is_killed_on_the_way_has_not_stopped(self):
        d = self.start(workers=1, clean=False)
        answering([d.ws('/ws/c') for _ in range(5)])
        p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + d.admin, 'drain', '--stop', '--time', '1h'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        self.assertTrue(p.stdout.readline().startswith('draining'))
        d.process.kill()
        out, err = p.communicate(timeout=20 * SLOW)
        self.assertEqual(p.returncode, 1, out)
        self.assertNotIn('stopped', out)
        self.assertIn('is not known', err)

    def against(self, *answers, stays=False):
        """roostctl drain --stop, of a daemon that answers so and is gone then, unless it stays; None: it closes without a word."""
        listener = socket.create_server(('127.0.0.1', 0))

        def serve():
            left = list(answers)
            while left:
                with listener.accept()[0] as c:
                    got = b''
                    while (more := c.recv(4096)):
                        got += more
                        if got.endswith(b'\r\n\r\n'):
                            break
                    if not got:  # only whether anybody is there
                        continue
                    answer = left.pop(0)
                    if answer is not None:
                        status, state = answer
                        body = json.dumps(state)
                        c.sendall(b'HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s'
                                  % (status, len(body), body.encode()))
            if not stays:
                listener.close()

        t = threading.Thread(target=serve)
        t.start()
        p = subprocess.run([ROOSTCTL, '--admin', 'http://127.0.0.1:%d' % listener.getsockname()[1], 'drain', '--stop'],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30 * SLOW)
        t.join()
        listener.close()
        return p

    def test_one_look_without_an_answer_is_not_the_end(self):
        going = {'state': 'draining', 'connections': 9, 'left': 9, 'from': 9, 'leave': 0, 'eta': 3600, 'order': 1}
        busy, nothing = (503, {'error': 'busy'}), None
        p = self.against((200, going), busy, nothing, (200, dict(going, left=5)), nothing, (200, {'state': 'stopping'}), busy, nothing)
        self.assertEqual((p.returncode, p.stderr), (0, ''), p)
        self.assertEqual([line.split()[0] for line in p.stdout.splitlines()], ['draining', 'draining', 'the', 'stopped'])
        self.assertIn('5 to go', p.stdout)
        p = self.against((200, going), busy, nothing)
        self.assertEqual(p.returncode, 1, p)
        self.assertNotIn('stopped', p.stdout)
        p = self.against((200, {'state': 'stopping'}), busy, busy, nothing, busy, busy, stays=True)  # it is there, but says nothing
        self.assertEqual(p.returncode, 1, p)

    def test_cancelled_and_ordered_otherwise_meanwhile(self):
        d = self.start(workers=2)
        answering([d.ws('/ws/c') for _ in range(5)])
        for args, words in ((['--cancel'], 'it was cancelled meanwhile'),
                            (['--leave', '3', '--time', '2h', '--no-wait'], 'another order has taken its place meanwhile'),
                            (['--time', '1h', '--no-wait'], 'another order has taken its place meanwhile')):
            p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + d.admin, 'drain', '--time', '1h'], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
            self.assertTrue(p.stdout.readline().startswith('draining'))
            self.assertEqual(run_roostctl(d, 'drain', *args).returncode, 0)
            out, err = p.communicate(timeout=20 * SLOW)
            self.assertEqual(p.returncode, 1)
            self.assertIn(words, err)

    def test_what_is_refused(self):
        d = self.start(workers=1)
        for args, status, words in ((['--leave', 'few'], 2, '--leave: expected a whole number'), (['--rate', '1', '--time', '1s'], 2, '--rate does not go with --time'),
                                    (['--leave', '1&stop=1'], 2, '--leave'), (['--time', '1 s'], 2, '--time')):
            with self.subTest(args=args):
                r = run_roostctl(d, 'drain', *args)
                self.assertEqual(r.returncode, status, r)
                self.assertIn(words, r.stderr)
        for query in 'leave=few', 'rate=1&time=1s', 'rate=0', 'time=8d', 'time=-1s', 'stop=yes':  # by whoever asks otherwise
            self.assertEqual(d.http('POST', '/debug/drain?' + query).status, 400, query)
        self.assertEqual(d.get_json('/debug/drain')['state'], 'none')


class Centrifuge(DaemonTest):
    def test_clients_are_told_to_come_again(self):
        """3001 is below 3500: clients connect again by themselves."""
        d = self.start(workers=1, allow_anonymous_connect_without_token=True, sse=True)
        with Client(d.client) as c, Raw(d.client) as events:
            c.connect()
            events.send('GET /connection/sse?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D HTTP/1.1\r\nHost: a\r\n\r\n')
            while b'"client"' not in events.buf:
                events.fill()
            self.assertEqual(d.http('POST', '/debug/drain?time=0s').status, 200)
            self.assertEqual(c.ends(), (3001, 'shutdown'))
            with self.assertRaises(Closed):
                while True:
                    events.fill()
            self.assertIn(b'"disconnect":{"code":3001', events.buf)
            self.assertRegex(events.buf, rb'\nretry: [1-5][0-9]{3}\n')


if __name__ == '__main__':
    unittest.main()
