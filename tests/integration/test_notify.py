#!/usr/bin/python3
"""What the service manager is told by NOTIFY_SOCKET (sd_notify(3)): ready, reloading, stopping, alive, and how things are."""

import os
import signal
import socket
import tempfile
import unittest

from daemon import DaemonTest, wait_for


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind('\0' + address[1:] if address[0] == '@' else address)
        self.socket.settimeout(0.1)
        self.heard = []

    def states(self):
        try:
            while True:
                self.heard.append(dict(x.split('=', 1) for x in self.socket.recv(4096).decode().split('\n')))
        except socket.timeout:
            return self.heard

    def await_state(self, **wanted):
        """Where among all that was heard the first state stands that holds these; a value of True: any."""
        def found():
            for i, state in enumerate(self.states()):
                if all(k in state and v in (True, state[k]) for k, v in wanted.items()):
                    return i + 1
            return None
        return wait_for(found, what='%s of %s' % (wanted, self.heard)) - 1


class Notify(DaemonTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix='roost-test-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def manager(self, address):
        m = Manager(address)
        self.addCleanup(m.socket.close)
        return m

    def test_a_service_from_start_to_end(self):
        for address in (os.path.join(self.folder, 'notify'), '@roost-test-%d' % os.getpid()):
            with self.subTest(address=address):
                m = self.manager(address)
                d = self.start(workers=2, env={'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': '2000000'}, max_connections=100)
                ready = m.heard[m.await_state(READY='1')]
                self.assertEqual(ready, {'READY': '1', 'MAINPID': str(d.process.pid), 'STATUS': 'ready'})
                m.await_state(WATCHDOG='1')
                with d.ws('/ws/a'):
                    m.await_state(STATUS='1 connection, 2 workers')
                    del m.heard[:]
                    d.process.send_signal(signal.SIGHUP)
                    reloading = m.await_state(RELOADING='1')
                    self.assertRegex(m.heard[reloading]['MONOTONIC_USEC'], r'^\d+$')
                    self.assertGreater(m.await_state(READY='1', STATUS='reloaded'), reloading)
                del m.heard[:]
                self.assertEqual(d.stop(), 0, d.text())
                stopping = m.heard[m.await_state(STOPPING='1')]
                self.assertIn('to close', stopping['STATUS'])
                self.assertGreater(int(stopping['EXTEND_TIMEOUT_USEC']), 1_000_000)  # drain_time and close_timeout at least

    def test_a_refused_reload_is_ready_again_and_says_so(self):
        path = self.file('max_connections: 100\n')
        m = self.manager(os.path.join(self.folder, 'notify'))
        d = self.start(workers=1, config=path, env={'NOTIFY_SOCKET': os.path.join(self.folder, 'notify')})
        m.await_state(READY='1')
        with open(path, 'w') as f:
            f.write('max_connections: many\n')
        d.process.send_signal(signal.SIGHUP)
        m.await_state(RELOADING='1')
        m.await_state(READY='1', STATUS='reload refused, the old settings stay; the log says why')
        m.await_state(STATUS='0 connections, 1 worker; the last reload was refused')

    def test_no_watchdog_unless_it_is_for_this_process(self):
        m = self.manager(os.path.join(self.folder, 'notify'))
        d = self.start(workers=1, env={'NOTIFY_SOCKET': os.path.join(self.folder, 'notify'), 'WATCHDOG_USEC': '10000',
                                       'WATCHDOG_PID': '1'})
        m.await_state(READY='1')
        d.process.send_signal(signal.SIGHUP)
        m.await_state(READY='1', STATUS='reloaded')
        self.assertEqual([x for x in m.states() if 'WATCHDOG' in x], [])

    def test_nobody_there_stops_nothing(self):
        for value in (os.path.join(self.folder, 'nobody'), 'neither path nor name', '/' + 200 * 'x'):
            d = self.start(workers=1, env={'NOTIFY_SOCKET': value})
            self.assertTrue(d.warnings(), value)
            self.assertEqual(d.stop(), 0, d.text())

    def test_only_the_master_has_the_socket(self):
        m = self.manager(os.path.join(self.folder, 'notify'))
        d = self.start(workers=1, env={'NOTIFY_SOCKET': os.path.join(self.folder, 'notify')})
        m.await_state(READY='1')

        def datagram(pid):
            """Sockets of this process that are connected to ours."""
            with open('/proc/net/unix') as f:
                ours = {x.split()[6] for x in f if len(x.split()) >= 7 and x.split()[4] == '0002'}
            links = []
            for fd in os.listdir('/proc/%d/fd' % pid):
                try:
                    links.append(os.readlink('/proc/%d/fd/%s' % (pid, fd)))
                except FileNotFoundError:
                    pass
            return [x for x in links if x.startswith('socket:[') and x[8:-1] in ours]

        self.assertEqual(len(datagram(d.process.pid)), 1)
        for pid in d.children():
            self.assertEqual(datagram(pid), [], pid)


if __name__ == '__main__':
    unittest.main()
