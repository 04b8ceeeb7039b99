#!/usr/bin/python3
"""Signals that reach every process at once, the master's sudden end, and what each process counts as its own."""

import os
import signal
import time
import unittest

from daemon import SLOW, DaemonTest, alive, wait_for
from wsraw import CLOSE, TEXT, close_payload


class Everybody(DaemonTest):
    def test_term_to_every_process_keeps_the_hub_until_the_clients_have_gone(self):
        d = self.start(workers=2, drain_time='60s', close_timeout='500ms')
        a, b = d.ws('/ws/last'), d.ws('/ws/last')
        hub = d.pid_of('hub')
        for pid in d.children() + [d.process.pid]:
            os.kill(pid, signal.SIGTERM)
        d.wait_log('stopping')
        for i in range(5):
            a.text('still talking %d' % i)
            b.expect(TEXT, 'still talking %d' % i)
            time.sleep(0.1)
        self.assertTrue(alive(hub))
        for c in (a, b):
            c.send_frame(CLOSE, close_payload(1000))
            c.close()
        self.assertEqual(d.process.wait(10 * SLOW), 0)

    def test_quit_from_a_terminal_is_a_stop_like_any_other(self):
        d = self.start(workers=2, drain_time='100ms')
        c = d.ws('/ws/x')
        for pid in d.children() + [d.process.pid]:
            os.kill(pid, signal.SIGQUIT)
        c.expect_close(1001)
        self.assertEqual(d.process.wait(10 * SLOW), 0)
        self.assertEqual(d.lines('msg="?killed'), [])

    def test_orders_to_processes_that_are_just_starting(self):
        """The default action of USR1 and HUP would end a child that has no handler yet."""
        d = self.start(workers=2)
        for _ in range(5):
            killed = [d.kill(name) for name in ('worker0', 'worker1', 'hub')]
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                for pid in d.children():
                    if pid not in killed:
                        os.kill(pid, signal.SIGUSR1)
                        os.kill(pid, signal.SIGUSR1 if pid % 2 else signal.SIGHUP)
            wait_for(lambda: all(p['phase'] == 'ready' for p in d.processes()), 20, what='all processes')
        ends = d.lines('msg="?killed')
        self.assertEqual([x for x in ends if 'signal=9 ' not in x], [])


class Master(DaemonTest):
    def test_clients_are_told_when_the_master_is_killed(self):
        d = self.start(clean=False, workers=2)
        clients = [d.ws('/ws/x') for _ in range(10)]
        pids = d.children()
        d.process.kill()
        for c in clients:
            c.expect_close(1001)
        wait_for(lambda: not any(alive(p) for p in pids), 10, 'the end of all processes')

    def test_a_client_that_does_not_answer_keeps_nothing_running(self):
        d = self.start(clean=False, close_timeout='300ms')
        d.ws('/ws/deaf')
        pids = d.children()
        d.process.kill()
        wait_for(lambda: not any(alive(p) for p in pids), 10, 'the end of all processes')


class Descriptors(DaemonTest):
    def test_connections_are_among_the_open_fds(self):
        d = self.start(workers=1)
        name = 'roost_process_open_fds{process="worker0"}'
        before = d.metric(name)
        clients = [d.ws('/ws/x') for _ in range(25)]
        self.assertEqual(d.metric(name) - before, len(clients))
        self.assertAlmostEqual(d.metric(name), len(os.listdir('/proc/%d/fd' % d.pid_of('worker0'))), delta=2)


if __name__ == '__main__':
    unittest.main()
