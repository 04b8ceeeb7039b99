#!/usr/bin/python3
"""Processes that are there and do not move, and processes that cannot be started: what is open is served by the others."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from daemon import ROOSTD, SLOW, DaemonTest, alive, run_roostctl, stand_still, wait_for
from wsraw import PING, PONG, TEXT, Raw

SHARE = 20  # connections, of which the kernel gives any one of two workers some: 1 in 10^6 times it does not
REQUEST = 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'
NOBODY = 65534
SHORT = '%ds' % (3 * SLOW)  # a hang_timeout


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


class Serving(DaemonTest):
    def stop_process(self, d, name):
        """SIGSTOP; its pid. Nothing of the test leaves it stopped."""
        pid = d.kill(name, signal.SIGSTOP)
        self.addCleanup(lambda: alive(pid) and os.kill(pid, signal.SIGCONT))
        return pid

    def up(self, d, name):
        return d.metrics().get('roost_process_up{process="%s"}' % name)

    def answers(self, where, path, n=SHARE, status=200):
        """n connections at once, all of which are answered."""
        waiting = [Raw(where) for _ in range(n)]
        for c in waiting:
            c.send(REQUEST % path)
        statuses = [c.read_response().status for c in waiting]
        for c in waiting:
            c.close()
        self.assertEqual(statuses, [status] * n)

    def all_is_served(self, d):
        clients = [d.ws('/ws/share') for _ in range(SHARE)]
        clients[0].text('to all')
        for c in clients:
            c.expect(TEXT, 'to all')
        for c in clients:
            c.close()
        for where, path in ((d.client, '/healthz'), (d.admin, '/healthz'), (d.admin, '/readyz'), (d.admin, '/metrics')):
            self.answers(where, path)

    def lines_about(self, d, name):
        return [re.search(r'msg="([^"]*)"', x).group(1) for x in
                d.lines(r'msg="(does not serve|serves again)" process=%s ' % name)]


class Hung(Serving):
    def test_others_accept_what_a_hung_worker_does_not(self):
        d = self.start(workers=2, hang_timeout='0')
        with d.ws('/ws/old') as there:
            mine = [p['name'] for p in d.processes() if p['connections'] == 1]
            other = {'worker0': 'worker1', 'worker1': 'worker0'}[mine[0]]
            self.stop_process(d, other)
            self.all_is_served(d)  # from the first moment on: who waits in its queue is served, not reset
            there.text('x')
            there.expect(TEXT, 'x')

    def test_it_is_told_once_and_ends(self):
        d = self.start(workers=3, hang_timeout='0')
        pid = self.stop_process(d, 'worker1')
        wait_for(lambda: self.lines_about(d, 'worker1'), what='the line')
        self.assertEqual(self.up(d, 'worker1'), 0)
        wait_for(lambda: self.up(d, 'worker0') == 1, what='the other, which moves')
        self.assertGreater(d.metric('roost_process_heartbeat_age_seconds{process="worker1"}'), 1)
        wait_for(lambda: d.http('GET', '/readyz').body == b'ready\nworker1 does not serve: others accept its connections\n',
                 what='the readiness, with its name')
        self.assertEqual(d.http('GET', '/readyz').status, 200)
        self.assertRegex(run_roostctl(d, 'status').stdout, r'(?m)^worker1 +%d +hung ' % pid)
        self.all_is_served(d)
        self.assertGreater(d.metric('roost_accepts_stand_in_total'), 0)
        self.assertEqual(self.lines_about(d, 'worker1'), ['does not serve'])
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: self.lines_about(d, 'worker1')[1:], what='its return')
        self.assertEqual(self.lines_about(d, 'worker1')[1], 'serves again')
        wait_for(lambda: self.up(d, 'worker1') == 1, what='the metric')
        wait_for(lambda: d.http('GET', '/readyz').body == b'ready\n', what='plain readiness')
        self.assertEqual(d.pid_of('worker1'), pid)
        d.spread('/ws/again', per_worker=2)  # it takes its own share

    def test_its_connections_go_on_when_it_does(self):
        d = self.start(workers=2, hang_timeout='0')
        clients = d.spread('/ws/wait', per_worker=1)
        pid = self.stop_process(d, 'worker0')
        wait_for(lambda: self.up(d, 'worker0') == 0, what='the metric')
        os.kill(pid, signal.SIGCONT)
        clients[0].text('x')
        for c in clients:
            c.expect(TEXT, 'x')

    def test_its_time_does_not_count_against_its_clients(self):
        """Their pongs wait in its sockets while it stands still: it reads them before it calls anybody silent."""
        d = self.start(workers=1, hang_timeout='0', ping_interval='1s', pong_timeout='4s')
        clients = [d.ws('/ws/paused') for _ in range(SHARE)]
        for c in clients:
            c.expect(PING)
        pid = self.stop_process(d, 'worker0')
        for c in clients:
            c.send_frame(PONG, b'')
        time.sleep(6)
        os.kill(pid, signal.SIGCONT)
        clients[0].text('to all')
        for c in clients:
            c.expect(TEXT, 'to all')
        d.wait_log('this process stood still')
        self.assertEqual(d.metric('roost_closes_total{reason="no_pong"}'), 0)

    def test_all_but_one(self):
        d = self.start(workers=7, hang_timeout='0')
        for i in (0, 1, 2, 4, 5, 6):
            self.stop_process(d, 'worker%d' % i)
        self.all_is_served(d)
        wait_for(lambda: len(d.http('GET', '/readyz').body.splitlines()) == 7, what='the six names')

    def test_who_stands_in_may_hang_too(self):
        d = self.start(workers=3, hang_timeout='0')
        for name in ('worker1', 'worker2'):
            self.stop_process(d, name)
            self.all_is_served(d)

    def test_the_master_does_not_matter(self):
        d = self.start(workers=2, hang_timeout=None)
        stand_still(d.process.pid)
        try:
            wait_for(lambda: self.up(d, 'master') == 0, what='the metric')
            self.assertIn(b'master does not move\n', d.http('GET', '/readyz').body)
            d.kill('worker0')  # nobody starts it again, nobody even buries it
            self.all_is_served(d)
            wait_for(lambda: self.up(d, 'worker0') == 0, what='its metric')
        finally:
            os.kill(d.process.pid, signal.SIGCONT)
        wait_for(lambda: self.up(d, 'worker0') == 1, what='its successor')
        wait_for(lambda: d.http('GET', '/readyz').body == b'ready\n', what='plain readiness')


class Killed(Serving):
    def test_hung_worker(self):
        d = self.start(workers=2, hang_timeout=SHORT)
        pid = self.stop_process(d, 'worker0')
        wait_for(lambda: d.pid_of('worker0') not in (0, pid), what='its successor')
        self.assertTrue(d.find(r'msg="has not moved for hang_timeout and is killed" process=worker0 pid=%d ' % pid))
        wait_for(lambda: self.up(d, 'worker0') == 1, what='the metric')
        wait_for(lambda: self.lines_about(d, 'worker0')[:2] == ['does not serve', 'serves again'], what='the lines')
        self.assertGreaterEqual(d.metric('roost_hang_kills_total'), 1)
        self.all_is_served(d)

    def test_the_only_worker(self):
        d = self.start(workers=1, hang_timeout=SHORT)
        self.stop_process(d, 'worker0')
        self.answers(d.client, '/healthz')  # by its successor
        self.assertGreaterEqual(d.metric('roost_hang_kills_total'), 1)

    def test_hung_hub(self):
        d = self.start(workers=2, hang_timeout=SHORT)
        with d.ws('/ws/hub') as c:
            pid = self.stop_process(d, 'hub')
            c.text('kept')
            self.assertEqual(c.recv_data(), b'kept')  # by its successor
        self.assertNotEqual(d.pid_of('hub'), pid)
        self.assertGreaterEqual(d.metric('roost_hang_kills_total'), 1)
        wait_for(lambda: self.lines_about(d, 'hub')[:2] == ['does not serve', 'serves again'], what='the lines')
        wait_for(lambda: d.http('GET', '/readyz').status == 200, what='readiness')

    def test_a_long_pause_is_no_hang(self):
        d = self.start(workers=2, hang_timeout=None)  # the default
        pid = self.stop_process(d, 'worker0')
        wait_for(lambda: self.up(d, 'worker0') == 0, what='the metric')
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: self.up(d, 'worker0') == 1, what='its return')
        self.assertEqual(d.pid_of('worker0'), pid)
        self.assertEqual(d.metric('roost_hang_kills_total'), 0)

    def test_a_reload_changes_the_patience(self):
        path = self.file('hang_timeout: 0\n')
        d = self.start(workers=2, config=path, hang_timeout=None)
        pid = self.stop_process(d, 'worker0')
        wait_for(lambda: self.lines_about(d, 'worker0'), what='the line')
        with open(path, 'w') as f:
            f.write('hang_timeout: %s\n' % SHORT)
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: d.pid_of('worker0') not in (0, pid), what='its successor')

    def test_hung_worker_during_a_drain(self):
        d = self.start(workers=2, hang_timeout='%ds' % (6 * SLOW), drain_time='0s', close_timeout='%ds' % (6 * SLOW))
        d.spread('/ws/drain', per_worker=1)
        self.stop_process(d, 'worker0')
        d.process.send_signal(signal.SIGTERM)
        d.wait_log('msg="draining"')
        for _ in range(SHARE):  # refused rather than left waiting in a queue that nobody looks at
            with self.assertRaises(ConnectionRefusedError):
                Raw(d.client)
        self.answers(d.admin, '/readyz', status=503)
        self.assertEqual(d.process.wait(30 * SLOW), 0)
        self.assertTrue(d.find(r'msg="has not moved for hang_timeout and is killed" process=worker0 '))
        self.assertEqual(d.lines('did not stop in time'), [])


class NotStarted(Serving):
    def start_limited(self, **kw):
        """A daemon whose forks can be made to fail: the limit on processes does not bind root."""
        if os.getuid() != 0:
            return self.start(**kw)
        folder = tempfile.mkdtemp(prefix='roost-test-')
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        program = shutil.copy(ROOSTD, folder)
        return self.start(program=program, prepare=become_nobody, **kw)

    def may_fork(self, d, may):
        """Set by a process of the daemon's user, who may do that without any right."""
        code = ('import resource as r, sys; pid, may = map(int, sys.argv[1:]); hard = r.prlimit(pid, r.RLIMIT_NPROC)[1]; '
                'r.prlimit(pid, r.RLIMIT_NPROC, (hard if may else 1, hard))')
        subprocess.run(['/usr/bin/python3', '-c', code, str(d.process.pid), str(int(may))], check=True,
                       **({} if os.getuid() else {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}))

    def test_others_accept_while_fork_fails(self):
        d = self.start_limited(workers=2)
        self.may_fork(d, False)
        d.kill('worker1')
        d.wait_log('msg="fork failed" process=worker1')
        self.all_is_served(d)
        wait_for(lambda: self.lines_about(d, 'worker1'), what='the line')
        self.assertEqual(self.up(d, 'worker1'), 0)
        self.assertIn(b'worker1 does not serve', d.http('GET', '/readyz').body)
        self.assertRegex(run_roostctl(d, 'status').stdout, r'(?m)^worker1 +0 +down ')
        self.may_fork(d, True)
        wait_for(lambda: self.up(d, 'worker1') == 1, 45, 'the worker')
        wait_for(lambda: self.lines_about(d, 'worker1')[:2] == ['does not serve', 'serves again'], what='the lines')
        wait_for(lambda: d.http('GET', '/readyz').body == b'ready\n', what='plain readiness')


if __name__ == '__main__':
    unittest.main(verbosity=0)
