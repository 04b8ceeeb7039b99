#!/usr/bin/python3
"""roostload against servers that misbehave on purpose."""

import os
import signal
import subprocess
import threading
import time
import unittest

from loadtest import ROOSTLOAD, NatsInPieces, Server, TcpServer, broadcast, run_json, upgrade


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
        self.assertIn('nobody answers at 127.0.0.1:1:', out)

    def test_localhost_is_where_the_server_listens(self):
        with Server() as s:  # on 127.0.0.1 only
            r, _ = run_json('hold', '--url', 'ws://localhost:%d/x' % s.port, '--connections', '3', '--duration', '200ms')
        self.assertEqual((r['ready_max'], r['counters']['connect_failed']), (3, 0))


class ByHand(unittest.TestCase):
    def outcome(self, with_it, *args, status=1):
        server = TcpServer(lambda s: threading.Thread(target=self.serve, args=(with_it, s), daemon=True).start())
        try:
            r, out = run_json('hold', '--url', 'ws://127.0.0.1:%d/x' % server.port, '--connections', '2', '--duration', '300ms',
                              '--connect-timeout', '1s', *args, status=status)
        finally:
            server.stop()
        return {k: v for k, v in r['counters'].items() if v > 0 and k != 'connects_started'}, r, out

    def serve(self, with_it, s):
        try:
            with_it(s)
        except OSError:
            pass


class Handshakes(ByHand):
    def test_a_right_one(self):
        c, r, _ = self.outcome(lambda s: upgrade(s), status=0)
        self.assertEqual(c, {'connects_done': 2})
        c, r, _ = self.outcome(lambda s: upgrade(s, Sec_WebSocket_Protocol='b'), '--subprotocol', 'a, b', status=0)
        self.assertEqual(c, {'connects_done': 2})

    def test_wrong_ones(self):
        for fields in ({'Upgrade': None}, {'Upgrade': 'h2c'}, {'Connection': 'close'}, {'accept': 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='},
                       {'Sec_WebSocket_Extensions': 'permessage-deflate'}, {'Sec_WebSocket_Protocol': 'not-offered'}):
            with self.subTest(fields=fields):
                c, r, _ = self.outcome(lambda s: upgrade(s, **fields))
                self.assertEqual(c, {'protocol_errors': 6})
                self.assertEqual(r['given_up'], 2)

    def test_no_answer(self):
        c, r, _ = self.outcome(lambda s: None)
        self.assertEqual((c, r['given_up']), ({'connect_timeout': 6}, 2))

    def test_half_an_answer(self):
        c, r, _ = self.outcome(lambda s: s.sendall(b'HTTP/1.1 101 Switching'))
        self.assertEqual((c, r['given_up']), ({'connect_timeout': 6}, 2))

    def test_an_answer_without_end(self):
        def forever(s):
            s.sendall(b'HTTP/1.1 101 Switching Protocols\r\n')
            for _ in range(10000):
                s.sendall(b'X: ' + b'y' * 100 + b'\r\n')

        c, r, _ = self.outcome(forever)
        self.assertEqual((c, r['given_up']), ({'protocol_errors': 6}, 2))

    def test_closed_before_subscribed(self):
        def turn_away(s):
            if upgrade(s):
                s.recv(4096)  # the adapter's CONNECT
                s.sendall(b'\x88\x02\x03\xf0')
                s.close()

        c, r, out = self.outcome(turn_away, '--adapter', 'centrifuge')
        self.assertEqual((c, r['given_up']), ({'turned_away': 6}, 2))
        self.assertIn('turned away', out)

    def test_connections_that_do_not_last(self):
        """The ramp is given up after a while: the test ends."""
        def flap(s):
            if upgrade(s):
                s.close()

        c, r, out = self.outcome(flap, '--connect-timeout', '100ms', '--ramp', '50', status=0)
        self.assertGreater(r['ramp_stalled_seconds'], 5)
        self.assertGreater(c['connection_lost'], 10)
        self.assertIn('the ramp stood still', out)


class Frames(ByHand):
    def test_what_breaks_the_protocol_ends_the_connection(self):
        for data in (b'\x83\x00', b'\x81\x80abcd', b'\xc1\x00', b'\x89\x7e\x00\x80', b'\x80\x00', b'\x81\x7f' + b'\xff' * 8,
                     b'\x81\x02\xff\xff', b'\x88\x01x', b'\x01\x00\x81\x00'):
            def send(s, data=data):
                if upgrade(s):
                    time.sleep(0.1)
                    s.sendall(data)
                    s.recv(1 << 20)

            with self.subTest(data=data):
                c, r, _ = self.outcome(send, '--duration', '500ms', '--ramp', '20', status=0)
                self.assertGreaterEqual(c['protocol_errors'], 2)


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
            r, out = run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '1', '--rate', '30',
                              '--size', '400KiB', '--duration', '4s')
        c, late = r['counters'], r['latencies']['delivery']['max']
        self.assertTrue(paused.is_set())
        self.assertGreater(c['send_delayed'], 0)
        self.assertEqual((c['gaps'], c['duplicates'], c['reordered'], c.get('not_sent')), (0, 0, 0, 0))
        self.assertGreaterEqual(c['messages_out'], 118)
        self.assertGreater(late, 1.2)
        self.assertGreater(late, r['latencies']['delivery_uncorrected']['max'])

    def test_what_never_could_be_sent_is_said(self):
        with Server(relay=lambda n: time.sleep(2) or 0 if n == 2 else 1, max_size=2 ** 24, compression=None) as s:
            r, out = run_json('broadcast', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '1', '--rate', '100',
                              '--size', '400KiB', '--duration', '1s')
        self.assertGreater(r['counters']['not_sent'], 10)
        self.assertIn('never sent', out)


class Processes(unittest.TestCase):
    def children(self, pid):
        with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
            return [int(x) for x in f.read().split()]

    def test_a_load_process_that_is_killed_ends_the_run_with_a_reason(self):
        with Server() as s:
            p = subprocess.Popen([ROOSTLOAD, 'hold', '--url', 'ws://127.0.0.1:%d/x' % s.port, '--connections', '20', '--processes', '2',
                                  '--duration', '60s', '--plain'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            p.stdout.readline()
            pids = self.children(p.pid)
            self.assertEqual(len(pids), 2)
            os.kill(pids[1], signal.SIGKILL)
            out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 1)
        self.assertIn('load process %d ended early (signal 9)' % pids[1], err)
        self.assertIn('hold: ', out)
        self.assertFalse(os.path.exists('/proc/%d' % pids[0]))


if __name__ == '__main__':
    unittest.main()
