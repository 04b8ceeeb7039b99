#!/usr/bin/python3
"""roostctl against a running daemon."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import unittest

from daemon import ROOSTCTL, ROOSTD, SLOW, DaemonTest, SharedDaemonTest, run_roostctl, wait_for
from wsraw import BINARY, TEXT


class Tail:
    """A roostctl tail that runs until the block ends."""

    def __init__(self, d, *args):
        self.p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + d.admin, 'tail', *args], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.errors = [], []
        self.threads = [threading.Thread(target=self.read, args=(s, o), daemon=True)
                        for s, o in ((self.p.stdout, self.lines), (self.p.stderr, self.errors))]
        for t in self.threads:
            t.start()

    @staticmethod
    def read(stream, out):
        for line in stream:
            out.append(line.rstrip('\n'))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGINT)
        self.status = self.p.wait(30 * SLOW)
        for t in self.threads:
            t.join(5)
        self.p.stdout.close()
        self.p.stderr.close()


class Roostctl(SharedDaemonTest):
    settings = {'workers': 2}

    def run_ctl(self, *args, status=0, **kw):
        p = run_roostctl(self.d, *args, **kw)
        self.assertEqual(p.returncode, status, (p.stdout, p.stderr))
        return p.stdout if status == 0 else p.stderr

    def test_status(self):
        with self.d.ws('/ws/s'):  # those of other tests may still be there
            wait_for(lambda: re.search(r'connections\s+1 of 30000', self.run_ctl('status')), what='the number of connections')
            out = self.run_ctl('status')
        for name in ('master', 'hub', 'worker0', 'worker1'):
            self.assertRegex(out, r'(?m)^%s\s+\d+ ready' % name)

    def test_publish_text_is_that_text(self):
        with self.d.ws('/ws/p') as c:
            for text in ('hello', 'ä "quoted" \\ text', '{"a":1}', ''):
                self.run_ctl('publish', 'p', text)
                c.expect(TEXT, text)

    def test_publish_json(self):
        with self.d.ws('/ws/p') as c:
            self.run_ctl('publish', '--json', 'p', '{"text": "hi"}')
            c.expect(TEXT, '{"text": "hi"}')
            self.run_ctl('publish', '--json', 'p', '{broken', status=1)

    def test_publish_standard_input(self):
        with self.d.ws('/ws/p') as c:
            self.run_ctl('publish', 'p', '-', input='from a pipe')
            c.expect(TEXT, 'from a pipe')

    def test_publish_a_large_text(self):
        with self.d.ws('/ws/p') as c:
            self.run_ctl('publish', 'p', '-', input='x' * 1000000)
            c.expect(TEXT, 'x' * 1000000)
            self.run_ctl('publish', 'p', '-', input='x' * 1100000, status=1)

    def test_publish_refused(self):
        self.assertTrue(self.run_ctl('publish', 'bad name', 'x', status=1))
        self.assertTrue(self.run_ctl('publish', '--json', 'bad name', '1', status=1))
        self.run_ctl('publish', 'p', status=2)

    def test_publish_says_why_it_was_refused(self):
        long = '"%s"' % ('x' * 1100000)
        for args, text, why in ((('bad name',), 'x', 'channel name'), (('--json', 'bad name'), '1', 'channel name'),
                                (('p',), long, 'larger than'), (('--json', 'p'), long, 'larger than max_'),
                                (('--json', 'p'), '[' * 65 + ']' * 65, 'nested deeper than 64'), (('--json', 'p'), '{x', 'not JSON')):
            self.assertIn(why, self.run_ctl('publish', *args, '-', input=text, status=1), args)

    def test_tail(self):
        with Tail(self.d, '-o', 'json', 'one', 'two/ä') as t, Tail(self.d, 'one', 'two/ä') as people:
            wait_for(lambda: t.errors and people.errors, what='the subscriptions')
            wait_for(lambda: len(self.d.api('channels')['result']['channels']) == 2, what='the subscription')
            self.d.publish('one', {'n': 1})
            self.d.publish('two/ä', 'text')
            wait_for(lambda: len(t.lines) == 2 and len(people.lines) == 2, what='two lines')
        self.assertEqual(people.lines, ['one  {"n": 1}', 'two/ä  text'])
        self.assertEqual(t.lines, ['{"channel":"one","data":{"n": 1}}', '{"channel":"two/ä","data":"text"}'])
        self.assertEqual(t.errors, ['roostctl: subscribed to one two/ä'])
        self.assertEqual(t.status, 0)

    def test_tail_raw(self):
        with Tail(self.d, '--raw', 'raw') as t, self.d.ws('/ws/raw') as c:
            wait_for(lambda: self.d.api('channels')['result']['channels'].get('raw', {}).get('num_clients') == 2, what='the subscription')
            wait_for(lambda: t.errors, what='it to say so')
            c.text('as it is')
            c.send_frame(BINARY, b'\x00\x01')
            wait_for(lambda: len(t.lines) == 2, what='two lines')
        self.assertEqual(t.lines, ['as it is', '(2 bytes, binary)'])

    def test_tail_prints_no_control_characters(self):
        """What somebody publishes must not take over the terminal of whoever looks on."""
        with Tail(self.d, 'evil') as t, self.d.ws('/ws/evil') as c:
            wait_for(lambda: self.d.api('channels')['result']['channels'].get('evil', {}).get('num_clients') == 2, what='the subscription')
            c.text('\x1b[2Jcleared\x07')
            wait_for(lambda: t.lines, what='a line')
        self.assertNotIn('\x1b', t.lines[0])

    def test_channels(self):
        with self.d.ws('/ws/list/a'), self.d.ws('/ws/list/a'), self.d.ws('/ws/other'):
            self.assertEqual(self.run_ctl('channels', 'list/*'), 'subscribers  channel\n          2  list/a\n')
            self.assertIn('other', self.run_ctl('channels'))
            self.assertEqual(self.json('channels', 'list/*'), {'channels': {'list/a': {'num_clients': 2}}})

    def json(self, *args, **kw):
        """What it prints with -o json: one document, a line end behind it."""
        out = self.run_ctl(*args, '-o', 'json', **kw)
        self.assertTrue(out.endswith('\n'), out)
        return json.loads(out)

    def test_json_of_what_is_going_on(self):
        status = self.json('status')
        self.assertEqual([p['name'] for p in status['processes']], ['master', 'hub', 'worker0', 'worker1'])
        self.assertEqual(status['max_connections'], 30000)
        self.assertEqual(set(status['totals']), {'connects', 'publications', 'deliveries', 'in_bytes', 'out_bytes', 'cpu_seconds'})
        self.assertEqual(set(self.json('top', '--once')['per_second']), set(status['totals']))
        self.assertEqual([n['self'] for n in self.json('nodes')['nodes']], [True])
        self.assertEqual(self.json('health'), {'healthy': True, 'status': 200, 'text': 'ok'})
        self.assertEqual(self.json('ready'), {'ready': True, 'status': 200, 'text': 'ready'})
        self.assertEqual(self.run_ctl('version').splitlines()[0], 'roostctl %(version)s (%(revision)s)' % self.json('version'))

    def test_an_object_a_line_of_what_goes_on(self):
        p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + self.d.admin, '-o', 'json', 'top'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True)
        for _ in range(2):
            self.assertIn('per_second', json.loads(p.stdout.readline()))
        p.send_signal(signal.SIGINT)
        p.stdout.close()
        self.assertEqual(p.wait(20 * SLOW), 0)

    def test_json_without_an_answer(self):
        p = subprocess.run([ROOSTCTL, '--admin', 'http://127.0.0.1:1', '-o', 'json', 'ready'], capture_output=True, text=True)
        self.assertEqual((p.returncode, json.loads(p.stdout)), (1, {'ready': False, 'status': 0, 'text': ''}))
        self.assertTrue(p.stderr)

    def test_forms(self):
        self.assertEqual(self.run_ctl('-o', 'table', 'channels', 'no*'), self.run_ctl('channels', 'no*'))
        self.assertIn('expected json or table, got "yaml"', self.run_ctl('status', '-o', 'yaml', status=2))
        self.assertIn('a form of its own', self.run_ctl('get', '/metrics', '-o', 'json', status=2))

    def test_top_once(self):
        out = self.run_ctl('top', '--once')
        self.assertIn('per second', out)
        self.assertNotIn('\x1b', out)

    def top_live(self, rows):
        """What top writes to a terminal of so many rows until q is pressed at its second drawing."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', rows, 80, 0, 0))
        p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + self.d.admin, 'top'], stdin=slave, stdout=slave, stderr=slave, close_fds=True)
        os.close(slave)
        text, end = b'', time.monotonic() + 30 * SLOW
        pressed = False
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    text += os.read(master, 65536)
                except OSError:
                    break
            if not pressed and text.count(b'\x1b[J') >= 2:
                os.write(master, b'q')
                pressed = True
        self.assertEqual(p.wait(30 * SLOW), 0)
        os.close(master)
        self.assertTrue(pressed, text)
        return text.decode()

    def test_top_live(self):
        """On a terminal: a screen of its own, drawn again, left in order by q."""
        text = self.top_live(24)
        self.assertGreaterEqual(text.count('per second'), 2)
        self.assertIn('worker1', text)
        self.assertIn('\x1b[?1049h', text)
        self.assertTrue(text.rstrip().endswith('\x1b[?1049l'), text[-100:])

    def test_top_fits_the_terminal(self):
        """No line is wrapped, nothing scrolls away: what does not fit is counted in the last row."""
        for rows in (24, 9, 3, 1):
            for screen in self.top_live(rows).split('\x1b[H')[1:]:
                lines = screen.split('\x1b[J')[0].split('\r\n')
                self.assertLessEqual(len(lines), rows)
                for line in lines:
                    self.assertLessEqual(len(line.replace('\x1b[K', '')), 79, line)
                self.assertTrue(lines[-1].startswith('q quits'), lines)
                self.assertEqual('do not fit' in lines[-1], rows < 24, lines)

    def test_status_fits_a_terminal(self):
        out = self.run_ctl('status')
        self.assertLessEqual(max(map(len, out.split('\n'))), 79, out)
        self.assertLess(out.count('\n'), 24, out)

    def test_get(self):
        self.assertIn('roost_upgrades_total', self.run_ctl('get', '/metrics'))
        self.run_ctl('get', '/nothing', status=1)
        self.run_ctl('get', status=2)

    def test_health(self):
        self.run_ctl('health')
        p = subprocess.run([ROOSTCTL, '--admin', 'http://127.0.0.1:1', 'health'], capture_output=True, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertTrue(p.stderr)

    def test_usage(self):
        for args in ((), ('nonsense',), ('tail',), ('--nonsense', 'x'), ('publish',), ('status', 'x'), ('health', '--raw'),
                     ('top', '--onec'), ('tail', '--raw', 'a', 'b'), ('get', 'metrics'), ('help', 'nonsense')):
            p = run_roostctl(self.d, *args)
            self.assertEqual((p.returncode, p.stdout), (2, ''), args)
            self.assertTrue(p.stderr.startswith('roostctl: '), p.stderr)
        for args in (('--help',), ('help',), ('-h',)):
            p = subprocess.run([ROOSTCTL, *args], capture_output=True, text=True)
            self.assertEqual((p.returncode, p.stderr), (0, ''))
            for word in ('status', 'tail', 'publish', 'top', 'health', 'help', 'version'):
                self.assertIn('\n  %s ' % word, p.stdout)

    def test_values_that_cannot_be(self):
        """Wrong usage is told by the option's name, and with exit status 2, whoever would have been asked."""
        for word, *args in (('--sort', 'conns', '--sort', 'foo'), ('--limit', 'conns', '--limit', '-1'), ('--address', 'conns', '--address', '10.0.0.0/99'),
                            ('--protocol', 'conns', '--protocol', 'nope'), ('--state', 'conns', '--state', 'nope'), ('--min-queue', 'conns', '--min-queue', '1k'),
                            ('--worker', 'conns', '--worker', 'x'), ('such as slow', 'closes', '--reason', 'slo'), ('W:ID', 'conn', '0:abc'),
                            ('--conn', 'trace', '--conn', 'x'), ('--address', 'trace', '--address', 'foo'), ('--rate', 'drain', '--rate', '0'),
                            ('--leave', 'drain', '--leave', '-1'), ('--time', 'drain', '--time', '8d'), ('--rate does not go with --time', 'drain', '--rate', '5', '--time', '5s'),
                            ('--cancel does not go with --stop', 'drain', '--cancel', '--stop'), ('--show does not go with --cancel', 'drain', '--show', '--cancel'),
                            ('--conn', 'disconnect', '--conn', '7'), ('--code', 'disconnect', '--user', 'x', '--code', 'abc'), ('--user', 'disconnect', '--user', '')):
            p = run_roostctl(self.d, *args)
            self.assertEqual((p.returncode, p.stdout), (2, ''), args)
            self.assertIn(word, p.stderr, args)
        for args in (('conns', '--sort', 'age', '--limit', '0', '--address', '10.', '--protocol', 'plain', '--state', 'open', '--min-queue', '0', '--worker', '0'),
                     ('closes', '--reason', 'slow'), ('drain', '--show'), ('trace', '--conn', '1', '--for', '100ms')):
            self.run_ctl(*args)

    def test_usage_of_a_command(self):
        for args in (('publish', '--help'), ('--help', 'publish'), ('help', 'publish'), ('publish', 'a', '-h')):
            out = self.run_ctl(*args)
            self.assertTrue(out.startswith('usage: roostctl publish [--json] CHANNEL DATA|-\n'), out)
            self.assertRegex(out, r'(?m)^  1  refused')

    def test_version(self):
        self.assertEqual(self.run_ctl('version'), self.run_ctl('--version'))
        self.assertRegex(self.run_ctl('version'), r'^roostctl \d')

    def test_options_behind_the_command(self):
        nobody, right = 'http://127.0.0.1:1', 'http://' + self.d.admin
        for args in (('health',), ('status',), ('publish', 'p', 'x'), ('channels', 'x*'), ('top', '--once'), ('get', '/metrics')):
            self.run_ctl(*args, '--admin', nobody, status=1)
            p = subprocess.run([ROOSTCTL, *args, '--admin=' + right], capture_output=True, text=True, env={**os.environ, 'ROOSTCTL_ADMIN': nobody})
            self.assertEqual(p.returncode, 0, (args, p.stderr))

    def test_a_full_disk_is_an_error(self):
        with self.d.ws('/ws/full'), open('/dev/full', 'w') as full:
            for args in (('status',), ('top', '--once'), ('top',), ('channels',), ('get', '/metrics'), ('get', '/debug/turns'), ('--help',),
                         ('help',), ('version',), ('--version',), ('tail', '--help')):
                p = subprocess.run([ROOSTCTL, '--admin', 'http://' + self.d.admin, *args], stdin=subprocess.DEVNULL, stdout=full,
                                   stderr=subprocess.PIPE, text=True, timeout=20 * SLOW)
                self.assertEqual((p.returncode, p.stderr), (1, 'roostctl: standard output: No space left on device\n'), args)
            for args in (('--help',), ('--version',), ('--check',), ('--print-config',), ('--reference',)):
                p = subprocess.run([ROOSTD, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20 * SLOW)
                self.assertEqual((p.returncode, p.stderr), (1, 'roostd: standard output: No space left on device\n'), args)

    def test_a_tail_into_a_full_disk(self):
        with open('/dev/full', 'w') as full:
            p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + self.d.admin, 'tail', 'disk'], stdin=subprocess.DEVNULL, stdout=full,
                                 stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.stderr.readline(), 'roostctl: subscribed to disk\n')
        self.d.publish('disk', 1)
        self.assertIn('No space left', p.communicate(timeout=20 * SLOW)[1])
        self.assertEqual(p.returncode, 1)

    def test_a_reader_that_has_gone_is_no_error(self):
        """Nobody reads the pipe any more: the end, without a word; tail and top notice by themselves."""
        with self.d.ws('/ws/gone'):
            for args in (('status',), ('top',), ('channels',), ('get', '/metrics'), ('--help',), ('version',)):
                r, w = os.pipe()
                os.close(r)
                p = subprocess.run([ROOSTCTL, '--admin', 'http://' + self.d.admin, *args], stdin=subprocess.DEVNULL, stdout=w,
                                   stderr=subprocess.PIPE, text=True, timeout=20 * SLOW)
                os.close(w)
                self.assertEqual((p.returncode, p.stderr), (0, ''), args)
        p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + self.d.admin, 'tail', 'gone'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(p.stderr.readline(), 'roostctl: subscribed to gone\n')
        p.stdout.close()
        self.assertEqual(p.stderr.read(), '')
        self.assertEqual(p.wait(20 * SLOW), 0)
        p.stderr.close()

    def test_the_wrong_listener(self):
        for args in (('status',), ('top',), ('top', '--once'), ('channels',), ('publish', '--json', 'a', '1')):
            p = subprocess.run([ROOSTCTL, '--admin', 'http://' + self.d.client, *args], capture_output=True, text=True, timeout=20 * SLOW)
            self.assertEqual((p.returncode, p.stdout), (1, ''), args)
            self.assertRegex(p.stderr, r'^roostctl: http://%s answers, but is not the admin listener' % re.escape(self.d.client))

    def test_nobody_there(self):
        p = subprocess.run([ROOSTCTL, '--admin', 'http://127.0.0.1:1', 'status'], capture_output=True, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertRegex(p.stderr, r'http://127\.0\.0\.1:1: ')

    def test_addresses(self):
        for url in ('http://[::1]:1', '[::1]:1', 'http://[::1]:1/'):
            p = subprocess.run([ROOSTCTL, '--admin', url, 'status'], capture_output=True, text=True)
            self.assertEqual(p.returncode, 1)
            self.assertIn('http://[::1]:1: ', p.stderr)
        for url in ('', 'http://', 'http://localhost', 'http://::1:8001', 'http://[::1]', 'a:0', 'a:65536', 'a:x', ':1', 'ftp://a:1'):
            p = subprocess.run([ROOSTCTL, '--admin', url, 'status'], capture_output=True, text=True)
            self.assertEqual(p.returncode, 2, url)
            self.assertIn('expected http://HOST:PORT', p.stderr)
        for url in ('unix:', 'unix:a', 'unix:/', 'unix:/' + 'a' * 107):
            p = subprocess.run([ROOSTCTL, '--admin', url, 'status'], capture_output=True, text=True)
            self.assertEqual(p.returncode, 2, url)
            self.assertIn('path', p.stderr)


class Restart(DaemonTest):
    def test_tail_survives_a_restarted_worker(self):
        d = self.start()
        with Tail(d, 'again') as t:
            # As tail itself knows it: what it cannot open the first time, it gives up.
            wait_for(lambda: t.errors, what='the subscription')
            for p in d.processes():
                if p['name'].startswith('worker'):
                    os.kill(p['pid'], signal.SIGKILL)
            wait_for(lambda: len(t.errors) > 1, what='the notice')
            self.assertRegex(t.errors[1], 'connection lost')

            def seen():
                try:
                    d.publish('again', 1)
                except Exception:
                    return False
                return t.lines

            wait_for(seen, 20, 'a line after the reconnect', every=0.2)


class OnIpv6(DaemonTest):
    def test_every_command(self):
        d = self.start(admin_listen='[::1]:0')
        for args in (('status',), ('channels',), ('publish', 'a', 'b'), ('publish', '--json', 'a', '1'), ('health',), ('get', '/metrics')):
            p = run_roostctl(d, *args)
            self.assertEqual(p.returncode, 0, (args, p.stderr))
        with Tail(d, 'six') as t:
            wait_for(lambda: t.errors, what='the subscription')
            run_roostctl(d, 'publish', 'six', '6')
            wait_for(lambda: t.lines, what='a line')


class WithAKey(DaemonTest):
    def test_key(self):
        d = self.start(api_key='k3y')
        for key, why in (((), 'the server wants its API key'), (('--key', ''), 'the server wants its API key'), (('--key', 'other'), 'does not take this key')):
            for what in (('status',), ('tail', 'a')):  # by HTTP, and by a WebSocket
                p = run_roostctl(d, *key, *what)
                self.assertEqual((p.returncode, p.stdout), (1, ''))
                self.assertIn(why, p.stderr)
        self.assertEqual(run_roostctl(d, '--key', 'k3y', 'status').returncode, 0)
        env = {**os.environ, 'ROOSTCTL_KEY': 'k3y'}
        self.assertEqual(run_roostctl(d, 'publish', 'a', 'b', env=env).returncode, 0)
        for text in ('k3y', 'k3y\n', 'k3y\r\n'):
            self.assertEqual(run_roostctl(d, 'status', env={**os.environ, 'ROOST_API_KEY_FILE': self.file(text)}).returncode, 0)
        p = run_roostctl(d, 'status', env={**os.environ, 'ROOST_API_KEY_FILE': '/nonexistent'})
        self.assertEqual(p.returncode, 2)
        self.assertIn('/nonexistent', p.stderr)
        self.assertEqual(run_roostctl(d, 'publish', '--json', 'a', '1', env=env).returncode, 0)
        self.assertEqual(run_roostctl(d, 'health').returncode, 0)


if __name__ == '__main__':
    unittest.main(verbosity=0)
