#!/usr/bin/python3
"""Start, signals, reload, stop."""

import os
import re
import signal
import threading
import time
import unittest

from daemon import SAN, SLOW, DaemonTest, alive, at_some_pace, run_roostd, wait_for
from wsraw import CLOSE, TEXT, Closed, Raw, WebSocket, close_payload


class Start(DaemonTest):
    def test_one_worker(self):
        d = self.start(workers=1)
        self.assertEqual(len(d.children()), 2)
        with d.ws('/ws/one') as c:
            c.text('x')
            c.expect(TEXT, 'x')

    def test_128_workers(self):
        n = 24 if SAN else 128  # sanitizers need much memory for each process
        d = self.start(workers=n, ring_size='64KiB', max_message_size='4KiB')
        self.assertEqual(len(d.children()), n + 1)
        wait_for(lambda: all(p['phase'] == 'ready' for p in d.processes()), what='all processes')
        clients = [d.ws('/ws/many') for _ in range(100)]
        clients[0].text('x')
        for c in clients:
            c.expect(TEXT, 'x')
        self.assertEqual(d.stop(), 0)

    def cores(self, d):
        """A machine may have a quota, too."""
        cores, affinity, quota = map(int, re.search(r' cores=(\d+) affinity=(\d+) quota=(\d+)', d.text()).groups())
        self.assertEqual(affinity, len(os.sched_getaffinity(0)))
        self.assertEqual(cores, min(affinity, quota or affinity))
        return cores

    def test_auto_workers(self):
        d = self.start(workers='auto')
        self.assertEqual(len(d.children()), self.cores(d) + 1)

    def test_auto_workers_follow_the_affinity_mask(self):
        one = min(os.sched_getaffinity(0))
        d = self.start(workers='auto', prepare=lambda: os.sched_setaffinity(0, {one}))
        self.assertEqual(len(d.children()), 1 + 1)

    def test_few_descriptors_lower_the_capacity_and_make_no_more_workers(self):
        for nofile in (64, 350, 1024):
            d = self.start(workers='auto', nofile=nofile)
            cores = self.cores(d)
            self.assertEqual(len(d.children()), cores + 1)
            line, = d.lines('lowered')
            for word in ('level=warn', 'lowered', 'default=30000', 'nofile=%d' % nofile, 'LimitNOFILE=', 'set max_connections'):
                self.assertIn(word, line)
            capacity = int(re.search(r' max_connections=(\d+)', line).group(1))
            self.assertLess(capacity, nofile * cores)
            self.assertEqual(d.get_json('/debug/processes')['max_connections'], capacity)
            d.process.send_signal(signal.SIGHUP)
            d.wait_log('nothing has changed')
            self.assertEqual(len(d.lines('lowered')), 1)

    def test_the_lowered_capacity_is_held(self):
        d = self.start(workers=1, nofile=64)
        capacity = d.get_json('/debug/processes')['max_connections']
        clients = [d.ws('/ws/full') for _ in range(capacity)]
        with Raw(d.client) as c:
            self.assertEqual(c.request('GET', '/').status, 503)
        clients[0].text('x')
        clients[-1].expect(TEXT, 'x')

    def test_more_workers_for_max_connections_that_were_asked_for(self):
        one = min(os.sched_getaffinity(0))
        d = self.start(workers='auto', max_connections=2000, nofile=500, prepare=lambda: os.sched_setaffinity(0, {one}))
        self.assertEqual(len(d.children()), 8 + 1)  # 8 x (500 - 14 - 192) x 95 % >= 2000
        self.assertEqual(d.lines('does not fit|lowered'), [])
        self.assertIn('for_max_connections=true', d.lines('workers for the cores')[0])

    def test_descriptors_that_are_too_few_for_anything(self):
        for nofile, args, words in ((16, (), ('descriptors', '16')), (200, ('--set', 'workers=128'), ('workers: 128', '200'))):
            status, _, err = run_roostd('--set', 'listen=127.0.0.1:0', '--set', 'admin_listen=off', *args, nofile=nofile)
            self.assertEqual(status, 1)
            for word in words + ('LimitNOFILE=',):
                self.assertIn(word, err)

    def test_children_are_hub_and_workers(self):
        d = self.start(workers=2)
        names = []
        for pid in d.children():
            with open('/proc/%d/comm' % pid) as f:
                names.append(f.read().rstrip('\n'))
        self.assertEqual(sorted(names), ['roost: hub', 'roost: worker0', 'roost: worker1'])

    def test_max_connections_that_do_not_fit_are_warned_about(self):
        d = self.start(workers=1, max_connections=16000000)
        line = d.lines('max_connections does not fit')
        self.assertEqual(len(line), 1, d.text())
        for word in ('capacity=', 'nofile=', 'level=warn'):
            self.assertIn(word, line[0])

    def test_address_in_use(self):
        d = self.start()
        status, _, err = run_roostd('--set', 'listen=' + d.client, '--set', 'admin_listen=off')
        self.assertEqual(status, 1)
        self.assertIn(d.client, err)

    def test_ipv6(self):
        d = self.start(listen='[::1]:0')
        self.assertTrue(d.client.startswith('[::1]:'), d.client)

    def test_admin_off(self):
        d = self.start(admin_listen='off')
        self.assertIsNone(d.admin)
        with d.ws('/ws/x') as c:
            c.text('x')
            c.expect(TEXT, 'x')

    def test_pid_file(self):
        path = self.file('')
        os.unlink(path)
        d = self.start(pid_file=path)
        with open(path) as f:
            self.assertEqual(f.read(), '%d\n' % d.process.pid)
        self.assertEqual(d.stop(), 0)
        self.assertFalse(os.path.exists(path))
        open(path, 'w').close()  # for the clean-up

    def test_hints(self):
        d = self.start(env={'ROOST_HINTS': '1'})
        d.wait_log('Things to try')
        self.assertIn('ws://localhost:%s/ws/lobby' % d.client.split(':')[1], d.text())
        self.assertIn('http://localhost:%s/api/publish' % d.admin.split(':')[1], d.text())

    def test_no_hints_when_nobody_looks(self):
        d = self.start()
        self.assertNotIn('Things to try', d.text())


class Stop(DaemonTest):
    def test_nothing_connected(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            d = self.start(drain_time='600s')  # waits for nobody
            self.assertEqual(d.stop(sig), 0)

    def test_clients_are_closed_with_1001_spread_over_the_drain_time(self):
        at_some_pace(self.spread_over_the_drain_time)

    def spread_over_the_drain_time(self, pace):
        d = self.start(drain_time='%ds' % (2 * pace), close_timeout='%ds' % pace, workers=2)
        clients = [d.ws('/ws/drain') for _ in range(40)]
        times, started = [], time.monotonic()

        def watch(c):
            f = c.expect(CLOSE)
            times.append(time.monotonic() - started)
            assert f.code == 1001, f
            c.send_frame(CLOSE, close_payload(1001))
            c.expect_eof()

        threads = [threading.Thread(target=watch, args=(c,)) for c in clients]
        for t in threads:
            t.start()
        d.process.send_signal(signal.SIGTERM)
        for t in threads:
            t.join()
        self.assertEqual(d.process.wait(30 * SLOW), 0)
        self.assertEqual(len(times), 40)
        self.assertGreater(max(times) - min(times), 1.2 * pace)
        middle = sum(1 for t in times if 0.25 < t / max(times) < 0.75)
        self.assertGreater(middle, 8, times)

    def test_messages_flow_until_the_end_of_each(self):
        d = self.start(drain_time='1s')
        a, b = d.ws('/ws/last'), d.ws('/ws/last')
        d.process.send_signal(signal.SIGTERM)
        a.text('still talking')
        frames = []
        try:
            while True:
                frames.append(b.recv())
        except Closed:
            pass
        self.assertEqual(frames[-1].code, 1001)
        self.assertEqual(d.process.wait(30 * SLOW), 0)

    def test_readyz_while_draining(self):
        d = self.start(drain_time='5m')
        with d.ws('/ws/x'), Raw(d.admin) as admin:
            self.assertEqual(admin.request('GET', '/readyz').status, 200)
            self.assertEqual(d.metric('roost_drain_deadline_timestamp_seconds'), 0)
            before = time.time()
            d.process.send_signal(signal.SIGTERM)
            d.wait_log('stopping')
            wait_for(lambda: d.http('GET', '/readyz').status == 503, what='a node that is not ready')
            r = d.http('GET', '/readyz')
            self.assertIn(b'drain', r.body)
            self.assertEqual(d.http('GET', '/healthz').status, 200)
            m = d.metrics()
            self.assertEqual((m['roost_draining'], m['roost_ready']), (1, 0))
            self.assertGreater(m['roost_drain_deadline_timestamp_seconds'], before + 300)  # drain_time, close_timeout and some patience
            self.assertLess(m['roost_drain_deadline_timestamp_seconds'], time.time() + 360)
        self.assertEqual(d.process.wait(30 * SLOW), 0)  # who was waited for has gone

    def test_client_that_does_not_answer_the_close(self):
        d = self.start(drain_time='100ms', close_timeout='300ms')
        with d.ws('/ws/deaf') as c:
            self.assertEqual(d.stop(), 0)
            c.expect(CLOSE)

    def test_second_signal_ends_at_once(self):
        d = self.start(clean=False, drain_time='600s')
        clients = [d.ws('/ws/x') for _ in range(20)]
        pids = d.children()
        d.process.send_signal(signal.SIGTERM)
        d.wait_log('stopping')

        def refused():
            try:
                Raw(d.client).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True

        wait_for(refused, what='no new clients')
        d.process.send_signal(signal.SIGTERM)
        d.process.wait(30 * SLOW)
        wait_for(lambda: not any(alive(p) for p in pids), what='the end of all processes')
        for c in clients:
            c.close()

    def test_make_style_group_signal(self):
        """Ctrl-C in a terminal reaches all processes of the group at once: still a clean drain."""
        d = self.start(drain_time='500ms')
        with d.ws('/ws/x') as c:
            for pid in d.children() + [d.process.pid]:
                os.kill(pid, signal.SIGINT)
            c.expect(CLOSE)
            c.send_frame(CLOSE, close_payload(1001))
            self.assertEqual(d.process.wait(30 * SLOW), 0)
        self.assertNotIn('signal=', ' '.join(d.lines('msg="?killed"?')))


class Reload(DaemonTest):
    def start_from_file(self, text, **more):
        self.path = self.file(text)
        return self.start(config=self.path, **more)

    def rewrite(self, text):
        with open(self.path, 'w') as f:
            f.write(text)

    def test_good(self):
        d = self.start_from_file('max_connections: 2\ndemo_page: true\n')
        with d.ws('/ws/a') as a, d.ws('/ws/a'):
            with WebSocket(d.client, '/ws/a') as c:
                self.assertEqual(c.response.status, 503)
            self.rewrite('max_connections: 5\ndemo_page: false\n')
            d.process.send_signal(signal.SIGHUP)
            line = d.wait_log(r'.*msg="?reloaded"? .*')[0]
            self.assertIn('max_connections', line)
            self.assertIn('demo_page', line)
            d.everywhere(lambda: d.http('GET', '/', where='client').status == 404, what='the new setting')
            with d.ws('/ws/a') as c:
                c.text('x')
                a.expect(TEXT, 'x')
            d.everywhere(lambda: b'max_connections: 5' in d.http('GET', '/debug/config').body, what='the new setting')

    def test_more_connections_than_fit_are_warned_about(self):
        d = self.start_from_file('max_connections: 10\nworkers: 1\n')
        self.assertEqual(d.lines('does not fit'), [])
        self.rewrite('max_connections: 16000000\nworkers: 1\n')
        d.process.send_signal(signal.SIGHUP)
        self.assertIn('max_connections=16000000', d.wait_log(r'.*max_connections does not fit.*')[0])

    def test_bad_value_changes_nothing(self):
        d = self.start_from_file('max_connections: 10\n')
        self.rewrite('demo_page: false\nmax_connections: many\n')
        d.process.send_signal(signal.SIGHUP)
        line = d.wait_log(r'.*msg="?reload refused"?.*')[0]
        self.assertIn(os.path.basename(self.path) + ':2:', line)
        self.assertIn('max_connections', line)
        self.assertEqual(d.http('GET', '/', where='client').status, 200)

    def test_what_needs_a_restart_is_named_and_nothing_is_applied(self):
        d = self.start_from_file('demo_page: true\n')
        self.rewrite('demo_page: false\nlisten_backlog: 100\n')
        d.process.send_signal(signal.SIGHUP)
        line = d.wait_log(r'.*msg="?reload refused"?.*')[0]
        self.assertIn('listen_backlog', line)
        self.assertEqual(d.http('GET', '/', where='client').status, 200)

    def test_file_gone(self):
        d = self.start_from_file('demo_page: true\n')
        os.rename(self.path, self.path + '.away')
        try:
            d.process.send_signal(signal.SIGHUP)
            d.wait_log('reload refused')
        finally:
            os.rename(self.path + '.away', self.path)
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('nothing has changed')

    def test_a_restarted_worker_has_the_new_settings(self):
        d = self.start_from_file('demo_page: true\n', workers=1)
        self.rewrite('demo_page: false\n')
        d.process.send_signal(signal.SIGHUP)
        d.wait_log('reloaded')
        old = d.kill('worker0')
        wait_for(lambda: d.pid_of('worker0') not in (0, old), what='the new worker')
        self.assertEqual(d.http('GET', '/', where='client').status, 404)

    def test_deadlines_of_later_waits(self):
        d = self.start_from_file('ping_interval: 1h\n', workers=1)
        self.rewrite('ping_interval: 200ms\n')
        d.process.send_signal(signal.SIGHUP)
        wait_for(lambda: b'ping_interval: 200ms' in d.http('GET', '/debug/config').body, what='the new setting')
        with d.ws('/ws/x') as c:
            c.expect(9)


class Log(DaemonTest):
    def test_reopen(self):
        path = self.file('', '.log')
        d = self.start(ready=False, log_file=path)

        def text(p=path):
            with open(p) as f:
                return f.read()

        wait_for(lambda: re.search(r'msg="?ready', text()), what='readiness')
        d.admin = re.search(r'address=(\S+) for=admin', text()).group(1)
        os.rename(path, path + '.1')
        self.addCleanup(os.unlink, path + '.1')
        d.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(path) and 'log opened again' in text(), what='the new file')
        d.kill('worker0')
        wait_for(lambda: 'worker0' in text(), what='a line in the new file')
        self.assertEqual(d.text(), '')
        self.assertEqual(text(path + '.1').count('log opened again'), 0)

    def test_log_file_that_cannot_be_opened(self):
        for path, expected, why in (('/nonexistent/roost.log', 2, 'the folder /nonexistent/'), ('/proc/roost.log', 1, '/proc/roost.log')):
            status, _, err = run_roostd('--set', 'log_file=' + path, '--set', 'listen=127.0.0.1:0', '--set', 'admin_listen=off')
            self.assertEqual(status, expected)
            self.assertIn(why, err)

    def test_a_pipe_in_place_of_the_log_file_is_not_waited_for(self):
        def text(name):
            with open(name) as f:
                return f.read()

        path = self.file('', '.log')
        d = self.start(ready=False, log_file=path)
        wait_for(lambda: re.search('msg="?ready', text(path)), what='the daemon')
        admin = re.search(r'address=(\S+) for=admin', text(path)).group(1)
        os.rename(path, path + '.1')
        self.addCleanup(os.unlink, path + '.1')
        os.mkfifo(path)
        d.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: 'cannot be opened again' in text(path + '.1'), what='a line in the old file')
        d.process.send_signal(signal.SIGHUP)  # the master still listens
        wait_for(lambda: 'reloaded' in text(path + '.1'), what='a reload')
        with Raw(admin) as c:
            self.assertEqual(c.request('GET', '/readyz').status, 200)


class Descriptors(DaemonTest):
    def test_full_descriptor_table_is_survived(self):
        """Every worker stops below its RLIMIT_NOFILE: further clients are refused, none is hurt."""
        d = self.start(workers=1, max_connections=1000, nofile=200)
        self.assertEqual(len(d.lines('max_connections does not fit')), 1)
        there, refused = [], 0
        for _ in range(250):
            try:
                c = WebSocket(d.client, '/ws/crowd')
            except (Closed, OSError):
                refused += 1
                continue
            if c.response.status == 101:
                there.append(c)
            else:
                refused += 1
                c.close()
        self.assertGreater(len(there), 80)
        self.assertGreater(refused, 0)
        self.assertEqual(d.http('GET', '/readyz').status, 200)
        there[0].text('x')
        for c in there:
            c.expect(TEXT, 'x')
            c.close()
        wait_for(lambda: d.metric('roost_connections{protocol="plain"}') == 0, what='the end of the crowd')
        with d.ws('/ws/crowd') as c:
            c.text('x')
            c.expect(TEXT, 'x')


if __name__ == '__main__':
    unittest.main(verbosity=0)
