#!/usr/bin/python3
"""roostload against the daemon, and against servers that misbehave on purpose."""

import asyncio
import http
import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import websockets

from daemon import BUILD, SLOW, SharedDaemonTest

ROOSTLOAD = os.path.join(BUILD, 'roostload')
COUNTERS = ('connects_started', 'connects_done', 'connect_failed', 'upgrade_refused', 'protocol_errors', 'messages_out',
            'messages_in', 'gaps', 'duplicates', 'reordered', 'closed', 'server_closed', 'connection_lost')


def run(*args, timeout=60):
    return subprocess.run([ROOSTLOAD, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout * SLOW)


def run_json(*args, status=0):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, 'r.json')
        p = run(*args, '--plain', '--json', path)
        assert p.returncode == status, (p.returncode, p.stdout, p.stderr)
        with open(path) as f:
            return json.load(f), p.stdout


class Server:
    """A WebSocket server of which `relay(n)` says how often the n-th publication is delivered to each client, and
    which may hold one back behind the next (swap)."""

    def __init__(self, relay=lambda n: 1, swap=None, refuse=False, **options):
        self.relay, self.swap, self.options = relay, swap, options
        if refuse:
            self.options['process_request'] = self.deny
        self.clients, self.seen, self.kept = set(), 0, None
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(started,), daemon=True)
        self.thread.start()
        started.wait(10)

    def serve(self, started):
        asyncio.set_event_loop(self.loop)

        async def begin():
            self.server = await websockets.serve(self.client, '127.0.0.1', 0, ping_interval=None, **self.options)
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        self.loop.run_until_complete(begin())
        self.loop.run_forever()

    async def deny(self, path, headers):
        return http.HTTPStatus.SERVICE_UNAVAILABLE, [], b'no\n'

    async def client(self, c, path=None):
        self.clients.add(c)
        try:
            async for message in c:
                self.seen += 1
                batch = [message] * self.relay(self.seen)
                if self.swap == self.seen:
                    self.kept, batch = batch, []
                elif self.kept:
                    batch, self.kept = batch + self.kept, None
                for m in batch:
                    for other in list(self.clients):
                        await other.send(m)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)

    def __enter__(self):
        return self

    def drop(self):
        """Resets every connection."""
        for c in list(self.clients):
            c.transport.abort()

    def __exit__(self, *_):
        async def end():
            self.server.close()
            await self.server.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class NatsInPieces(Server):
    """Speaks the NATS protocol; what it sends is cut into frames of `step` bytes, without regard to its messages."""

    def __init__(self, step):
        self.step = step
        super().__init__()

    async def send(self, c, data):
        for i in range(0, len(data), self.step):
            await c.send(data[i:i + self.step])

    async def client(self, c, path=None):
        data = b''
        self.clients.add(c)
        try:
            await self.send(c, b'INFO {"server_id":"x"}\r\nPING\r\n')
            async for message in c:
                data += message
                while b'\r\n' in data:
                    line, _, data = data.partition(b'\r\n')
                    if line == b'PING':
                        await self.send(c, b'PONG\r\nPING\r\n')
                    elif line.startswith(b'PUB '):
                        n = int(line.split()[-1])
                        while len(data) < n + 2:
                            data += await c.recv()
                        body, data = data[:n + 2], data[n + 2:]
                        for other in list(self.clients):
                            await self.send(other, b'MSG load-0 1 %d\r\n%s' % (n, body) + b'PING\r\n' * (self.step > 64))
                    else:
                        self.seen += line == b'PONG'
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(c)


def broadcast(port, *more, status=0):
    return run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % port, '--connections', '3', '--rate', '20', '--duration',
                    '1500ms', *more, status=status)


class Misbehaving(unittest.TestCase):
    def test_a_correct_server_has_no_finding(self):
        with Server() as s:
            r, _ = broadcast(s.port)
        self.assertEqual([r['counters'][k] for k in ('gaps', 'duplicates', 'reordered', 'protocol_errors')], [0, 0, 0, 0])
        self.assertEqual(r['counters']['messages_in'], 4 * r['counters']['messages_out'])

    def test_a_lost_message_is_a_gap_for_each_subscriber(self):
        with Server(relay=lambda n: 0 if n == 5 else 1) as s:
            r, _ = broadcast(s.port)
        self.assertEqual(r['counters']['gaps'], 3)

    def test_messages_lost_at_the_end_are_found(self):
        with Server(relay=lambda n: 1 if n < 10 else 0) as s:
            r, _ = broadcast(s.port)
        self.assertEqual(r['counters']['gaps'], 3 * (r['counters']['messages_out'] - 9))

    def test_a_duplicate_is_counted(self):
        with Server(relay=lambda n: 2 if n == 7 else 1) as s:
            r, _ = broadcast(s.port)
        self.assertEqual((r['counters']['duplicates'], r['counters']['gaps']), (3, 0))

    def test_a_swap_is_a_gap_and_out_of_order(self):
        with Server(swap=4) as s:
            r, _ = broadcast(s.port)
        self.assertEqual((r['counters']['reordered'], r['counters']['gaps']), (3, 3))

    def test_refusals_are_counted_and_end_the_run(self):
        with Server(refuse=True) as s:
            r, out = run_json('hold', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '5', '--duration', '1s',
                              status=1)
        self.assertEqual(r['counters']['upgrade_refused'], 15)  # three attempts each
        self.assertEqual(r['given_up'], 5)
        self.assertIn('HTTP status 503', out)

    def test_messages_in_several_frames_and_several_in_one(self):
        for step in (1, 7, 10000):
            with self.subTest(step=step), NatsInPieces(step) as s:
                r, _ = broadcast(s.port, '--adapter', 'nats')
                c = r['counters']
                self.assertEqual(c['connects_done'], 4)
                self.assertEqual(c['messages_in'], c['messages_out'] * 4)
                self.assertEqual([c[k] for k in ('gaps', 'duplicates', 'reordered', 'protocol_errors', 'foreign_in')], [0] * 5)
                self.assertGreater(s.seen, c['messages_in'] if step == 10000 else 3)
                self.assertGreater(c['frames_in'], c['messages_in'] * (100 // step))

    def test_nobody_listens(self):
        r, _ = run_json('hold', '--url', 'ws://127.0.0.1:1/x', '--connections', '3', '--duration', '1s', status=1)
        self.assertEqual(r['counters']['connect_failed'], 9)


class AgainstTheDaemon(SharedDaemonTest):
    def url(self):
        return 'ws://' + self.d.client + '/ws/{channel}'

    def load(self, *args, status=0):
        return run_json(*args, '--url', self.url(), status=status)

    def assert_clean(self, r):
        for k in ('gaps', 'duplicates', 'reordered', 'protocol_errors', 'connect_failed', 'connection_lost', 'server_closed'):
            self.assertEqual(r['counters'][k], 0, k)

    def test_hold(self):
        r, _ = self.load('hold', '--connections', '200', '--duration', '1s', '--ping-interval', '200ms')
        self.assert_clean(r)
        self.assertEqual(r['ready_max'], 200)
        self.assertGreater(r['latencies']['pong']['count'], 200)
        self.assertEqual(r['latencies']['ready']['count'], 200)

    def test_broadcast_with_several_publishers_and_channels(self):
        r, _ = self.load('broadcast', '--connections', '60', '--channels', '4', '--publishers', '4', '--rate', '100',
                         '--burst', '3', '--duration', '1s')
        self.assert_clean(r)
        self.assertGreater(r['counters']['messages_out'], 200)
        self.assertEqual(r['counters']['messages_in'], 16 * r['counters']['messages_out'])  # 15 subscribers and the publisher

    def test_echo(self):
        r, _ = self.load('echo', '--connections', '20', '--depth', '3', '--duration', '1s', '--channel', 'echo-{n}')
        self.assert_clean(r)
        self.assertEqual(r['latencies']['echo']['count'], r['counters']['messages_in'])
        self.assertGreater(r['counters']['messages_in'], 100)

    def test_echo_at_a_rate_is_corrected(self):
        r, _ = self.load('echo', '--connections', '10', '--rate', '200', '--duration', '1s', '--channel', 'echo-{n}')
        self.assertGreaterEqual(r['latencies']['echo']['p50'], r['latencies']['echo_uncorrected']['p50'])

    def test_churn(self):
        r, _ = self.load('churn', '--connections', '50', '--churn-rate', '100', '--duration', '1s')
        self.assertGreater(r['counters']['closed'], 50)
        self.assertGreater(r['counters']['connects_done'], 100)

    def test_storm(self):
        r, _ = self.load('storm', '--connections', '100', '--duration', '4s')
        self.assertEqual(r['counters']['connects_done'], 200)
        self.assertGreaterEqual(r['storm_recovery_seconds'], 0)
        self.assertEqual(r['counters']['closed'], 100)

    def test_a_storm_that_would_not_come(self):
        for args in (('storm', '--duration', '2s'), ('hold', '--duration', '3s', '--storm-after', '3s')):
            p = run(*args, '--connections', '1')
            self.assertEqual(p.returncode, 2)
            self.assertIn('--storm-after', p.stderr)

    def test_storm_of_a_share_while_something_else_goes_on(self):
        r, _ = self.load('broadcast', '--connections', '200', '--duration', '4s', '--rate', '5', '--storm-after', '1500ms',
                         '--storm-share', '25')
        self.assertGreaterEqual(r['storm_recovery_seconds'], 0)
        self.assertIn(r['counters']['closed'], (50, 51))  # of 200 subscribers and a publisher
        self.assertEqual(r['counters']['connects_done'], 201 + r['counters']['closed'])
        self.assertEqual(r['ready_max'], 201)
        self.assertEqual(r['counters']['duplicates'] + r['counters']['reordered'], 0)

    def test_chat(self):
        r, _ = self.load('chat', '--connections', '60', '--room', '6', '--rate', '200', '--churn-rate', '20', '--duration', '1s')
        for k in ('gaps', 'duplicates', 'reordered', 'protocol_errors'):
            self.assertEqual(r['counters'][k], 0, k)
        self.assertGreater(r['counters']['messages_in'], 500)

    def test_slow(self):
        r, _ = self.load('slow', '--connections', '40', '--stall', '50', '--rate', '50', '--duration', '1s')
        self.assertEqual((r['counters']['gaps'], r['counters']['duplicates']), (0, 0))

    def test_server_is_sampled(self):
        r, _ = self.load('hold', '--connections', '100', '--duration', '1s', '--pid', str(self.d.process.pid))
        self.assertGreaterEqual(r['server']['ramped']['processes'], 3)
        self.assertGreater(r['server']['ramped']['private'], 0)
        r, _ = self.load('hold', '--connections', '10', '--duration', '1s', '--metrics', 'http://%s/metrics' % self.d.admin)
        self.assertGreater(r['server']['end']['rss'], 0)

    def test_thresholds_decide_the_exit_status(self):
        args = ('hold', '--connections', '10', '--duration', '500ms', '--url', self.url(), '--plain')
        p = run(*args, '--fail-if', 'p99>1h', '--fail-if', 'connect_failed>0')
        self.assertEqual(p.returncode, 0, p.stdout)
        p = run(*args, '--fail-if', 'ready.p50>1ns')
        self.assertEqual(p.returncode, 3, p.stdout)
        self.assertIn('FAILED: ready.p50>1ns', p.stdout)
        p = run(*args, '--fail-if', 'nonsense')
        self.assertEqual(p.returncode, 3, p.stdout)

    def test_json_says_what_was_asked(self):
        r, _ = self.load('hold', '--connections', '7', '--duration', '1s')
        self.assertEqual((r['schema'], r['program'], r['scenario'], r['users']), (1, 'roostload', 'hold', 7))
        self.assertEqual(r['options']['connections'], '7')
        for k in COUNTERS:
            self.assertIsInstance(r['counters'][k], int)
        for name, h in r['latencies'].items():
            self.assertEqual(h['count'], sum(n for _, n in h['buckets']), name)
            self.assertLessEqual(h['p50'], h['p99'])
            self.assertLessEqual(h['p99'], h['max'] or 0)
        for s in r['seconds']:
            self.assertEqual(set(s) >= {'at', 'ready', 'messages_in', 'p50', 'p99.9', 'cpu'}, True)

    def test_html_is_one_page_with_the_data(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, 'r.html')
            p = run('hold', '--connections', '5', '--duration', '1s', '--url', self.url(), '--plain', '--html', path)
            self.assertEqual(p.returncode, 0, p.stderr)
            with open(path) as f:
                page = f.read()
        data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S).group(1)
        self.assertEqual(json.loads(data)['ready_max'], 5)
        self.assertEqual(re.findall(r'(?:src|href)=', page), [])  # nothing from elsewhere

    def test_ctrl_c_ends_with_the_summary_so_far(self):
        p = subprocess.Popen([ROOSTLOAD, 'hold', '--connections', '50', '--duration', '10m', '--url', self.url(), '--plain'],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5 * SLOW)
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=20 * SLOW)
        self.assertEqual(p.returncode, 0, out)
        self.assertIn('(interrupted)', out)
        self.assertRegex(out, r'connects done +50')

    def test_live_view_on_a_terminal(self):
        master, slave = pty.openpty()
        p = subprocess.Popen([ROOSTLOAD, 'hold', '--connections', '30', '--duration', '2s', '--url', self.url()], stdout=slave,
                             stderr=slave, stdin=slave)
        os.close(slave)
        shown, end = b'', time.monotonic() + 20 * SLOW
        while time.monotonic() < end:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        p.wait(10)
        os.close(master)
        text = shown.decode()
        self.assertIn('30 / 30', text)
        self.assertIn('█', text)
        self.assertIn('\x1b[?25h', text)  # the cursor is back


class Refusals(unittest.TestCase):
    def refuse(self, *args, status=2):
        p = run(*args)
        self.assertEqual(p.returncode, status, p.stdout)
        return p.stderr

    def test_targets_elsewhere(self):
        self.assertIn('--i-own-the-target', self.refuse('hold', '--url', 'ws://192.0.2.1:80/x'))

    def test_too_many_connections_for_the_processes(self):
        err = self.refuse('hold', '--connections', '4000000', '--processes', '1')
        self.assertRegex(err, r'4000000 connections need \d+ processes of \d+ descriptors')

    def test_too_few_ports(self):
        self.assertIn('local ports', self.refuse('hold', '--connections', '200000', '--source', '127.0.0.1'))

    def test_usage(self):
        self.assertIn('which scenario', self.refuse())
        self.assertIn('unknown option "nope"', self.refuse('hold', '--nope', '1'))
        self.assertIn('expected a whole number from 1', self.refuse('hold', '--connections', '0'))
        self.assertIn('expected hold, broadcast', self.refuse('dance'))
        self.assertIn('needs a value', self.refuse('hold', '--connections'))
        self.assertIn('expected raw, centrifuge, mqtt or nats', self.refuse('hold', '--adapter', 'x'))
        self.assertIn('multiple of --room', self.refuse('chat', '--connections', '11', '--room', '10'))
        self.assertIn('ws://', self.refuse('hold', '--url', 'http://127.0.0.1/'))

    def test_help_and_version(self):
        p = run('--help')
        self.assertEqual(p.returncode, 0)
        for word in ('hold', 'storm', '--fail-if', '--html', 'Exit status'):
            self.assertIn(word, p.stdout)
        self.assertRegex(run('--version').stdout, r'^roostload \d')

    def test_scenario_file_below_the_command_line(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write('scenario: hold\nconnections: 3\nduration: 500ms\nurl:\n  - ws://127.0.0.1:1/a\n  - ws://127.0.0.1:1/b\n')
            f.flush()
            r, _ = run_json('--config', f.name, '--connections', '2', status=1)
        self.assertEqual((r['users'], r['options']['duration']), (2, '500ms'))
        self.assertEqual(r['options']['url'], 'ws://127.0.0.1:1/a\nws://127.0.0.1:1/b')

    def test_scenario_file_errors_have_a_place(self):
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as f:
            f.write('scenario: hold\nconections: 3\n')
            f.flush()
            self.assertIn('%s:2:13: unknown option "conections"' % f.name, self.refuse('--config', f.name))


if __name__ == '__main__':
    unittest.main()
