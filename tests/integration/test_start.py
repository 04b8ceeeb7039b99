#!/usr/bin/python3
"""What the parent leaves behind, orders in the first milliseconds, one daemon per pid file."""

import itertools
import json
import os
import signal
import subprocess
import tempfile
import unittest

import daemon
from daemon import ROOSTCTL, SLOW, DaemonTest, alive, before_exec, run_roostd, stand_still, wait_for
from wsraw import TEXT

ROOSTLOAD = os.path.join(daemon.BUILD, 'roostload')
ALL = [s for s in range(1, signal.NSIG) if s not in (signal.SIGKILL, signal.SIGSTOP)]
HUP_BIT = 1 << (signal.SIGHUP - 1)


def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)


def ignore():
    for s in ALL:
        try:
            signal.signal(s, signal.SIG_IGN)
        except OSError:
            pass  # libc's own


def both():
    block()
    ignore()


def closing(fds):
    def close():
        for fd in fds:
            os.close(fd)
    return close


COMBINATIONS = [c for n in (1, 2, 3) for c in itertools.combinations((0, 1, 2), n)]


def status_of(pid):
    with open('/proc/%d/status' % pid) as f:
        return dict(x.rstrip('\n').split(':\t', 1) for x in f if ':\t' in x)


def open_files(pid):
    found = []
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found.append(os.readlink('/proc/%d/fd/%s' % (pid, fd)))
        except FileNotFoundError:  # closed meanwhile
            pass
    return found


def chats(d):
    with d.ws('/ws/start') as a, d.ws('/ws/start') as b:
        a.text('hello')
        b.expect(TEXT, 'hello')


class Signals(DaemonTest):
    def test_blocked_and_ignored_by_the_parent(self):
        for before in (block, ignore, both):
            with self.subTest(before.__name__):
                d = self.start(workers=2, prepare=before)
                chats(d)
                old = d.kill('worker0')
                wait_for(lambda: d.pid_of('worker0') not in (0, old), what='the new worker')
                d.process.send_signal(signal.SIGHUP)
                d.wait_log('nothing has changed')
                d.process.send_signal(signal.SIGUSR1)
                d.wait_log('log opened again')
                self.assertEqual(d.stop(signal.SIGTERM), 0)

    def test_interrupted_although_started_in_the_background(self):
        """A shell's `roostd &` without job control ignores INT and QUIT."""
        for sig in (signal.SIGINT, signal.SIGQUIT):
            d = self.start(prepare=ignore)
            self.assertEqual(d.stop(sig), 0)

    def started(self, d):
        """As soon as main has been reached; what comes before is the kernel's and the linker's."""
        while d.process.poll() is None:
            try:
                s = status_of(d.process.pid)
            except (FileNotFoundError, ProcessLookupError):
                return
            held = int(s['SigBlk'], 16) | int(s['SigCgt'], 16)
            if s['Name'].startswith('roost') and held & HUP_BIT:
                return

    def test_orders_in_the_first_milliseconds(self):
        for i in range(25):
            d = self.start(ready=False)
            self.started(d)
            while not d.find('msg="?ready') and d.process.poll() is None:
                d.process.send_signal(signal.SIGHUP)
                d.process.send_signal(signal.SIGUSR1)
            self.assertIsNone(d.process.poll(), d.text())
            d.wait_log('nothing has changed')
            self.assertEqual(d.stop(signal.SIGTERM), 0, d.text())

    def test_stop_in_the_first_milliseconds(self):
        for i in range(25):
            d = self.start(ready=False)
            self.started(d)
            while d.process.poll() is None:
                d.process.send_signal(signal.SIGTERM)
            self.assertEqual(d.process.returncode, 0, d.text())

    def test_orders_from_before_it_had_begun(self):
        """The parent's mask holds them from the fork on: not one is lost, and none kills."""
        for _ in range(5):
            d = self.start(ready=False, prepare=block)
            d.process.send_signal(signal.SIGHUP)
            d.process.send_signal(signal.SIGUSR1)
            d.wait_log('nothing has changed')
            d.wait_log('log opened again')
            self.assertEqual(d.stop(signal.SIGTERM), 0)
            d = self.start(ready=False, prepare=block)
            d.process.send_signal(signal.SIGTERM)
            self.assertEqual(d.process.wait(20 * SLOW), 0)
            d.wait_log('stopping')


class Descriptors(DaemonTest):
    def test_closed_in_every_combination(self):
        for fds in COMBINATIONS:
            with self.subTest(closed=fds), tempfile.NamedTemporaryFile(suffix='.log') as log:
                d = self.start(ready=False, prepare=closing(fds), log_file=log.name)

                def line(what):
                    with open(log.name) as f:
                        return [x for x in f if what in x]

                wait_for(lambda: line('msg="ready"') or line('msg=ready') or d.process.poll() is not None,
                         what='readiness')
                self.assertIsNone(d.process.poll(), d.text())
                d.client = line('for=clients')[0].split('address=')[1].split()[0]
                d.admin = line('for=admin')[0].split('address=')[1].split()[0]
                chats(d)
                for pid in [d.process.pid] + d.children():
                    for fd in fds:
                        self.assertEqual(os.readlink('/proc/%d/fd/%d' % (pid, fd)), '/dev/null')
                self.assertEqual(d.stop(), 0)

    def test_the_log_of_a_daemon_without_standard_error(self):
        """Lines must not land in whatever has got the number 2."""
        with tempfile.NamedTemporaryFile(suffix='.pid') as f:
            os.unlink(f.name)
            d = self.start(ready=False, prepare=closing((0, 1, 2)), pid_file=f.name)
            wait_for(lambda: len(d.children()) == 3, what='hub and workers')
            old = d.children()
            os.kill(old[0], signal.SIGKILL)
            wait_for(lambda: len(d.children()) == 3 and old[0] not in d.children(), what='its successor')
            self.assertEqual(d.stop(), 0)
            open(f.name, 'w').close()

    def test_roostctl_and_roostload(self):
        d = self.start()
        url = 'http://' + d.admin
        for fds in COMBINATIONS:
            with self.subTest(closed=fds), tempfile.NamedTemporaryFile(suffix='.json') as f:
                for argv in ([ROOSTCTL, '--admin', url, 'status'], [ROOSTCTL, '--admin', url, 'publish', 'c', 'text'],
                             [ROOSTLOAD, 'hold', '--connections', '3', '--duration', '200ms', '--json', f.name,
                              '--url', 'ws://%s/ws/c' % d.client]):
                    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       preexec_fn=closing(fds), timeout=60 * SLOW)
                    self.assertEqual(p.returncode, 0, (argv, p.stdout, p.stderr))
                self.assertEqual(json.load(f)['ready_max'], 3)


class Tools(DaemonTest):
    def load(self, d, *args, before=None):
        p = subprocess.Popen([ROOSTLOAD, 'hold', '--connections', '3', '--duration', '10m', '--plain', *args, '--url', 'ws://%s/ws/c' % d.client],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: before_exec(prepare=before))
        self.addCleanup(self.reap, p)
        return p

    @staticmethod
    def reap(p):
        if p.poll() is None:
            p.kill()
        p.communicate()

    def connected(self, d, n=3):
        wait_for(lambda: sum(x['connections'] for x in d.processes() if x['name'].startswith('worker')) == n,
                 what='%d connections' % n)

    def test_roostload_stops_although_its_parent_blocked_and_ignored(self):
        d = self.start()
        for before in (block, ignore, both):
            for sig in (signal.SIGINT, signal.SIGTERM):
                p = self.load(d, before=before)
                self.connected(d)
                p.send_signal(sig)
                out, _ = p.communicate(timeout=30 * SLOW)
                self.assertEqual(p.returncode, 0, out)
                self.connected(d, 0)

    def test_roostload_under_nohup_outlives_the_terminal(self):
        d = self.start()
        p = self.load(d, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.connected(d)
        ignored = int(status_of(p.pid)['SigIgn'], 16)
        self.assertTrue(ignored & HUP_BIT)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(30 * SLOW), 0)

    def test_roostload_takes_no_other_child_for_its_own(self):
        """A shell's background job is a child of what the shell becomes by exec."""
        d = self.start()
        with tempfile.NamedTemporaryFile(suffix='.json') as f:
            p = subprocess.run(['sh', '-c', 'true & sleep 0.3 2>/dev/null & sleep 600 </dev/null >/dev/null 2>&1 & echo $! >&2; exec "$0" "$@"', ROOSTLOAD, 'hold', '--connections', '3',
                                '--duration', '1s', '--json', f.name, '--url', 'ws://%s/ws/c' % d.client],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               timeout=60 * SLOW)
            os.kill(int(p.stderr.split()[0]), signal.SIGKILL)
            self.assertEqual(p.returncode, 0, p.stderr)
            self.assertEqual(json.load(f)['ready_max'], 3)

    def test_roostload_as_process_1(self):
        """As in a container: its processes must not take a parent 1 for the sign that it is gone."""
        d = self.start()
        user = [] if os.getuid() == 0 else ['--user', '--map-root-user']
        # Looking for leaks stops all threads by their ids, which are others in this namespace.
        env = dict(os.environ, ASAN_OPTIONS=os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0')
        with tempfile.NamedTemporaryFile(suffix='.json') as f:
            p = subprocess.run(['unshare', *user, '--pid', '--fork', '--kill-child', ROOSTLOAD, 'hold', '--connections', '3',
                                '--duration', '200ms', '--json', f.name, '--url', 'ws://%s/ws/c' % d.client],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * SLOW, env=env)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)
            self.assertEqual(json.load(f)['ready_max'], 3)

    def test_roostctl_ends_when_it_is_told(self):
        d = self.start()
        for before in (block, ignore, both):
            p = subprocess.Popen([ROOSTCTL, '--admin', 'http://' + d.admin, 'tail', 'told'], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 preexec_fn=lambda: before_exec(prepare=before))
            self.addCleanup(self.reap, p)
            wait_for(lambda: 'told' in d.api('channels')['result']['channels'], what='the subscription')
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(20 * SLOW), 0)
            wait_for(lambda: 'told' not in d.api('channels')['result']['channels'], what='its end')


class PidFile(DaemonTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='roost-test-')
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'roost.pid')

    def written(self):
        with open(self.path) as f:
            return f.read()

    def second(self, *more):
        return run_roostd('--set', 'listen=127.0.0.1:0', '--set', 'admin_listen=off', '--set', 'pid_file=' + self.path,
                          *more)

    def test_a_second_daemon_is_refused(self):
        d = self.start(pid_file=self.path)
        pid = d.process.pid
        for _ in range(3):
            status, _, err = self.second()
            self.assertEqual(status, 1)
            self.assertIn('pid_file %s: process %d has it' % (self.path, pid), err)
            self.assertEqual(self.written(), '%d\n' % pid)
        self.assertEqual(d.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_children_do_not_keep_it(self):
        d = self.start(clean=False, pid_file=self.path, close_timeout='1h')
        d.ws('/ws/deaf')
        self.assertNotIn(self.path, [x for p in d.children() for x in open_files(p)])
        pids = d.children()
        for pid in pids:
            stand_still(pid)
        try:
            d.process.kill()
            d.process.wait(20 * SLOW)
            e = self.start(pid_file=self.path)
            self.assertEqual(self.written(), '%d\n' % e.process.pid)
        finally:
            for pid in pids:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)

    def test_what_a_killed_daemon_left_is_taken_over(self):
        with open(self.path, 'w') as f:
            f.write('999999999 and more that is longer than what comes\n')
        d = self.start(pid_file=self.path)
        self.assertEqual(self.written(), '%d\n' % d.process.pid)

    def test_one_of_many_starts_wins(self):
        many = [self.start(clean=False, ready=False, pid_file=self.path) for _ in range(6)]
        wait_for(lambda: sum(d.process.poll() is not None for d in many) == 5, what='five refusals')
        winner, = [d for d in many if d.process.poll() is None]
        self.assertTrue(all(d.process.returncode == 1 for d in many if d is not winner))
        self.assertEqual(self.written(), '%d\n' % winner.process.pid)
        winner.wait_log('msg="?ready')
        self.assertEqual(winner.stop(), 0)

    def test_a_start_that_fails_leaves_none(self):
        d = self.start()
        status, _, err = run_roostd('--set', 'listen=' + d.client, '--set', 'admin_listen=off',
                                    '--set', 'pid_file=' + self.path)
        self.assertEqual(status, 1, err)
        self.assertFalse(os.path.exists(self.path))

    def test_what_is_in_its_place_is_not_removed(self):
        d = self.start(pid_file=self.path)
        os.unlink(self.path)
        e = self.start(pid_file=self.path)
        self.assertEqual(d.stop(), 0)
        self.assertEqual(self.written(), '%d\n' % e.process.pid)
        self.assertEqual(e.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_no_regular_file(self):
        os.mkfifo(self.path)
        status, _, err = self.second()
        self.assertEqual(status, 1)
        self.assertIn('no regular file', err)


if __name__ == '__main__':
    unittest.main()
