#!/usr/bin/python3
"""roostload against servers that misbehave on purpose."""

import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from daemon import SLOW
from loadtest import ROOSTLOAD, ByHand, NatsInPieces, Server, SlowMetrics, TcpServer, broadcast, run_json, upgrade


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

    def test_a_swap_is_out_of_order_and_nothing_is_lost(self):
        with Server(swap=4) as s:
            r, _ = broadcast(s.port)
        self.assertEqual([r['counters'][k] for k in ('reordered', 'gaps', 'duplicates')], [3, 0, 0])

    def test_an_echo_that_never_comes_is_lost(self):
        with Server(relay=lambda n: int(n <= 5)) as s:
            r, _ = run_json('echo', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '1', '--depth', '2', '--duration', '500ms')
        self.assertEqual((r['counters']['messages_in'], r['counters']['gaps']), (5, 2))

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
        r, out = run_json('hold', '--url', 'ws://127.0.0.1:1/x', '--connections', '3', '--duration', '1s', status=1)
        self.assertEqual(r['counters']['connect_failed'], 9)
        self.assertIsNone(r['server']['ramped']['at'])
        self.assertIn('nobody answers at 127.0.0.1:1:', out)

    def test_localhost_is_where_the_server_listens(self):
        with Server() as s:  # on 127.0.0.1 only
            r, _ = run_json('hold', '--url', 'ws://localhost:%d/x' % s.port, '--connections', '3', '--duration', '200ms')
        self.assertEqual((r['ready_max'], r['counters']['connect_failed']), (3, 0))


class Slow(unittest.TestCase):
    def test_a_server_that_does_not_read_delays_and_loses_nothing(self):
        """Messages that could not be sent in time are sent later, and the wait is in their latency."""
        paused = threading.Event()

        def read(n):
            if n == 3:
                time.sleep(1.5)  # the whole server: nobody's message is read meanwhile
                paused.set()
            return 1

        with Server(relay=read, max_size=2 ** 24, compression=None) as s:
            r, out = run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '1', '--rate', '20',
                              '--size', '400KiB', '--duration', '6s')
        c, late = r['counters'], r['latencies']['delivery']['max']
        self.assertTrue(paused.is_set())
        self.assertGreater(c['send_delayed'], 0)
        self.assertEqual((c['gaps'], c['duplicates'], c['reordered']), (0, 0, 0))
        self.assertEqual(c['messages_out'] + c['not_sent'], 120)
        self.assertGreater(late, 1.2)
        self.assertGreater(late, r['latencies']['delivery_uncorrected']['max'])

    def test_what_never_could_be_sent_is_said(self):
        with Server(relay=lambda n: time.sleep(2) or 0 if n == 2 else 1, max_size=2 ** 24, compression=None) as s:
            r, out = run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '1', '--rate', '100',
                              '--size', '400KiB', '--duration', '1s')
        self.assertGreater(r['counters']['not_sent'], 0)
        self.assertEqual(r['counters']['messages_out'] + r['counters']['not_sent'], 100)
        self.assertIn('never sent', out)


class End(ByHand):
    def test_a_server_that_never_stops_sending(self):
        """What is not ours does not keep the end waiting."""
        def chatter(s):
            if upgrade(s):
                for _ in range(600):
                    s.sendall(b'\x81\x04news')
                    time.sleep(0.05)
                said_all.append(s)

        said_all = []
        c, r, _ = self.outcome(chatter, status=0)
        self.assertGreater(c['foreign_in'], 0)
        self.assertEqual(said_all, [])

    def test_a_signal_ends_the_grace(self):
        """A server that repeats our own messages for ever."""
        def repeat(s):
            if not upgrade(s):
                return
            head = s.recv(2, socket.MSG_WAITALL)
            rest = s.recv(2 + 4 + 128, socket.MSG_WAITALL)  # extended length, mask, payload
            mask, data = rest[2:6], rest[6:]
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
            for _ in range(600):
                s.sendall(head[:1] + b'\x7e\x00\x80' + data)
                time.sleep(0.05)

        server = TcpServer(lambda s: threading.Thread(target=self.serve, args=(repeat, s), daemon=True).start())
        try:
            p = subprocess.Popen([ROOSTLOAD, 'echo', '--url', 'ws://127.0.0.1:%d/' % server.port, '--connections', '1', '--duration',
                                  '1s', '--plain'], stdout=subprocess.PIPE, text=True)
            for line in p.stdout:
                if ' grace ' in line:
                    break
            p.send_signal(signal.SIGTERM)
            out, _ = p.communicate(timeout=30 * SLOW)
        finally:
            server.stop()
        self.assertIn('echo (interrupted)', out)

    def test_nothing_is_waited_for_where_nothing_was_sent(self):
        """The longest handshake says nothing about messages, and there are none."""
        def late(s):
            time.sleep(2)
            upgrade(s)

        _, r, out = self.outcome(late, '--connect-timeout', '30s', status=0)
        self.assertEqual((r['ready_max'], r['counters']['messages_out']), (2, 0))
        self.assertEqual([row for row in r['seconds'] if row['phase'] == 'grace' and row['length'] >= 1], [], out)

    def test_nobody_ever_answers(self):
        r, out = run_json('hold', '--url', 'ws://127.0.0.1:1/', '--connections', '5000', status=1)
        self.assertLess(r['counters']['connects_started'], 3 * 5000)
        self.assertIn('no more were made', out)
        self.assertIn('nobody answers at 127.0.0.1:1:', out)


class Watching(unittest.TestCase):
    def run_with_late_pages(self):
        metrics = SlowMetrics(0.2)  # roostload waits for half a second
        try:
            with Server() as s:
                return run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '2', '--rate', '300', '--duration',
                                '1s', '--metrics', 'http://127.0.0.1:%d/metrics' % metrics.port)[0]
        finally:
            metrics.stop()

    def test_a_page_that_answers_late_does_not_lengthen_the_run(self):
        """While it was waited for, load went on that belonged to no time."""
        for _ in range(10):
            r = self.run_with_late_pages()
            if all(row['rss'] == 1000 for row in r['seconds']) and all(r['server'][k]['processes'] for k in ('start', 'ramped', 'end')):
                break  # else the machine was slow, and a page came later than roostload waits
        self.assertEqual(r['run_messages_out'] + r['counters']['not_sent'], 300)
        server, run = r['server'], (r['ramp_seconds'], r['ramp_seconds'] + r['run_seconds'])
        self.assertLessEqual(server['start']['at'], 0)
        self.assertGreaterEqual(server['ramped']['at'], run[0])
        self.assertGreaterEqual(server['end']['at'], run[1])
        self.assertEqual([server[k]['processes'] for k in ('start', 'ramped', 'end')], [1, 1, 1])
        self.assertLessEqual(r['seconds'][0]['sampled'], r['seconds'][0]['at'])
        self.assertEqual([row['rss'] for row in r['seconds']], [1000] * len(r['seconds']))


class Processes(unittest.TestCase):
    def await_all(self, p):
        for line in p.stdout:
            if 'ready 20/20' in line:
                return
        self.fail('not all were connected')

    def test_a_signal_to_all_of_them(self):
        """As timeout(1) and a terminal send it."""
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(sig=sig), Server() as s:
                p = subprocess.Popen([ROOSTLOAD, 'hold', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '20', '--processes', '2',
                                      '--duration', '60s', '--plain'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     start_new_session=True)
                self.await_all(p)
                os.killpg(p.pid, sig)
                out, err = p.communicate(timeout=30 * SLOW)
                self.assertEqual((p.returncode, err), (0, ''))
                self.assertIn('hold (interrupted): 20 of 20', out)

    def children(self, pid):
        with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]

    def test_a_load_process_that_is_killed_ends_the_run_with_a_reason(self):
        with Server() as s:
            p = subprocess.Popen([ROOSTLOAD, 'hold', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '20', '--processes', '2',
                                  '--duration', '60s', '--plain'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.await_all(p)
            pids = self.children(p.pid)
            self.assertEqual(len(pids), 2)
            os.kill(pids[1], signal.SIGKILL)
            out, err = p.communicate(timeout=30 * SLOW)
        self.assertEqual(p.returncode, 1)
        self.assertIn('load process %d ended early (signal 9)' % pids[1], err)
        self.assertIn('hold: ', out)
        self.assertFalse(os.path.exists('/proc/%d' % pids[0]))


if __name__ == '__main__':
    unittest.main()
