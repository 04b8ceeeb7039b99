#!/usr/bin/python3
"""roostload against the daemon: scenarios, the server's figures, thresholds, reports, signals, the live view."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unittest

from daemon import SLOW, SharedDaemonTest
from loadtest import ROOSTLOAD, VALIDATOR, run, run_json

COUNTERS = ('connects_started', 'connects_done', 'connect_failed', 'upgrade_refused', 'protocol_errors', 'messages_out',
            'messages_in', 'gaps', 'duplicates', 'reordered', 'closed', 'server_closed', 'connection_lost')


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
        self.assertTrue(0 < r['latencies']['pong']['count'] <= r['counters']['pings_out'])
        self.assertEqual(r['latencies']['ready']['count'], 200)

    def test_broadcast_with_several_publishers_and_channels(self):
        r, _ = self.load('broadcast', '--connections', '60', '--channels', '4', '--publishers', '4', '--rate', '100',
                         '--burst', '3', '--duration', '1s')
        self.assert_clean(r)
        self.assertEqual(r['counters']['messages_out'] + r['counters']['not_sent'], 300)
        self.assertEqual(r['counters']['messages_in'], 16 * r['counters']['messages_out'])  # 15 subscribers and the publisher

    def test_compression(self):
        before = self.d.metrics()
        r, _ = self.load('broadcast', '--connections', '40', '--size', '2KiB', '--rate', '50', '--compression', '--duration', '1s')
        self.assert_clean(r)
        sent = r['counters']['messages_out']
        self.assertEqual(r['counters']['messages_in'], 41 * sent)  # and the publisher

        def grown(name):
            return self.d.metrics()[name] - before.get(name, 0)

        self.assertEqual(grown('roost_inflated_messages_total'), sent)
        self.assertEqual(grown('roost_inflated_to_bytes_total'), 2048 * sent)
        self.assertLess(grown('roost_inflated_from_bytes_total'), 1024 * sent)
        self.assertLess(grown('roost_delivery_bytes_total'), 1024 * 41 * sent)

    def test_echo(self):
        r, _ = self.load('echo', '--connections', '20', '--depth', '3', '--duration', '1s', '--channel', 'echo-{n}')
        self.assert_clean(r)
        self.assertEqual(r['latencies']['echo']['count'], r['counters']['messages_in'])
        self.assertEqual(r['counters']['messages_in'], r['counters']['messages_out'])
        self.assertGreater(r['counters']['messages_in'], 0)

    def test_echo_with_many_in_flight(self):
        r, _ = self.load('echo', '--connections', '3', '--depth', '400', '--duration', '1s', '--channel', 'echo-{n}')
        self.assert_clean(r)
        self.assertEqual(r['counters']['messages_in'], r['counters']['messages_out'])

    def test_echo_at_a_rate_is_corrected(self):
        r, _ = self.load('echo', '--connections', '10', '--rate', '200', '--duration', '1s', '--channel', 'echo-{n}')
        self.assertGreaterEqual(r['latencies']['echo']['p50'], r['latencies']['echo_uncorrected']['p50'])

    def test_churn(self):
        r, _ = self.load('churn', '--connections', '50', '--churn-rate', '100', '--duration', '1s')
        self.assertGreater(r['counters']['closed'], 0)
        self.assertGreaterEqual(r['counters']['connects_done'], r['counters']['closed'])

    def test_churn_faster_than_the_ramp(self):
        """Whoever was sent away comes back at the rate of the churn."""
        r, _ = self.load('churn', '--connections', '100', '--ramp', '50', '--churn-rate', '400', '--duration', '4s')
        self.assertGreater(r['counters']['closed'], 100 + 50 * r['run_seconds'])  # no more are there to leave when 50 a second come back

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
        self.assertEqual(sum(r['counters'][k] for k in ('messages_out', 'missed', 'not_sent')), 200)
        self.assertGreater(r['counters']['messages_in'], 0)

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
        self.assertRegex(p.stdout, r'FAILED: ready.p50>1ns \([\d.]+[mu]?s\)')
        p = run(*args, '--fail-if', 'pong.p99>1s')  # without --ping-interval
        self.assertEqual(p.returncode, 3, p.stdout)
        self.assertIn('FAILED: pong.p99>1s (no samples)', p.stdout)

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
        self.assertGreater(len(r['seconds']), 0)
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

    def test_json_on_standard_output(self):
        for report in ('--json', '--html'):
            p = run('hold', '--connections', '5', '--duration', '300ms', '--url', self.url(), report, '-', '--fail-if', 'lost>0')
            self.assertEqual(p.returncode, 0)
            self.assertIn('hold: 5 of 5', p.stderr)
            self.assertIn('ok: lost>0', p.stderr)
            if report == '--json':
                r = json.loads(p.stdout)
                VALIDATOR.validate(r)
                self.assertEqual((r['ready_max'], r['verdict']), (5, 'passed'))
            else:
                self.assertTrue(p.stdout.startswith('<!doctype html>'))
        self.assertFalse(os.path.exists('-'))

    def test_a_full_disk_is_an_error(self):
        load = ('hold', '--connections', '2', '--duration', '200ms', '--url', self.url())
        for args in (('--help',), ('--version',), load, (*load, '--plain'), (*load, '--json', '-'), (*load, '--html', '-')):
            with open('/dev/full', 'w') as full:
                p = subprocess.run([ROOSTLOAD, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60 * SLOW)
            self.assertEqual((p.returncode, p.stderr.splitlines()[-1]), (1, 'roostload: standard output: No space left on device'), args)

    def test_rows_end_with_the_run(self):
        """A row has a part of the run and nothing else, and its rates are those of its length."""
        r, _ = self.load('broadcast', '--connections', '3', '--rate', '100', '--duration', '1500ms')
        rows = r['seconds']
        self.assertEqual([row['phase'] for row in rows], sorted((row['phase'] for row in rows), key=['ramp', 'run', 'grace'].index))
        run = [row for row in rows if row['phase'] == 'run']
        self.assertAlmostEqual(sum(row['length'] for row in run), r['run_seconds'], delta=0.05 * 2)
        self.assertEqual(sum(row['counts'].get('messages_out', 0) for row in rows), r['counters']['messages_out'])
        for row in rows:
            self.assertAlmostEqual(row['messages_out'], row['counts'].get('messages_out', 0) / row['length'], delta=row['messages_out'] / 100 + 0.1)

    def test_when_the_storm_came(self):
        r, _ = self.load('storm', '--connections', '20', '--storm-after', '500ms', '--duration', '1500ms')
        self.assertGreaterEqual(r['storm_at'], 0.5)
        self.assertEqual(self.load('hold', '--connections', '2', '--duration', '200ms')[0]['storm_at'], None)

    def test_verdict(self):
        load = ('hold', '--connections', '2', '--duration', '200ms')
        self.assertEqual(self.load(*load)[0]['verdict'], 'not judged')
        self.assertEqual(self.load(*load, '--fail-if', 'lost>0')[0]['verdict'], 'passed')
        self.assertEqual(self.load(*load, '--fail-if', 'lost>0', '--fail-if', 'connects_done>0', status=3)[0]['verdict'], 'failed')
        self.assertEqual(run_json(*load, '--url', 'ws://127.0.0.1:1/', status=1)[0]['verdict'], 'not run')

    def test_schemes_are_case_insensitive(self):
        r, _ = run_json('hold', '--connections', '2', '--duration', '200ms', '--url', self.url().replace('ws://', 'WS://'), '--metrics',
                        'HTTP://%s/metrics' % self.d.admin)
        self.assertEqual(r['ready_max'], 2)

    def test_ctrl_c_ends_with_the_summary_so_far(self):
        p = subprocess.Popen([ROOSTLOAD, 'hold', '--connections', '50', '--duration', '10m', '--url', self.url(), '--plain'],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in p.stdout:
            if 'ready 50/50' in line:
                break
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
        p.wait(30 * SLOW)
        os.close(master)
        text = shown.decode()
        self.assertIn('30 / 30', text)
        self.assertIn('█', text)
        self.assertIn('\x1b[?25h', text)  # the cursor is back


if __name__ == '__main__':
    unittest.main()
