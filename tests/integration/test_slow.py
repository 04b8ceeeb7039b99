#!/usr/bin/python3
"""Who reads too slowly is told so: whole frames, then Close 1008; a reset only when that is not read either."""

import os
import socket
import struct
import unittest

from daemon import DaemonTest, wait_for
from wsraw import CLOSE, TEXT, TIMEOUT, Closed, close_payload

LONG = '60s'  # longer than the test, on any machine
SMALL = {'send_buffer_size': '16KiB', 'output_limit': '64KiB', 'output_grace': LONG, 'close_timeout': LONG}


def rest(c):
    """Everything that comes: data frames' payloads, the close frame, and whether the end is a reset."""
    got = []
    try:
        while True:
            f = c.recv()
            if f.opcode == CLOSE:
                c.send_frame(CLOSE, close_payload(f.code))
                c.expect_eof()
                c.close()
                return got, f.code, f.payload[2:]
            got.append(f.payload)
    except Closed:
        return got, None, c.buf


def kernel_sockets(address, peer):
    """The states of the daemon's socket of a connection, if the kernel still has it."""
    want = [':%04X' % int(address.rsplit(':', 1)[1]), ':%04X' % peer]
    with open('/proc/net/tcp') as f:
        rows = [x.split() for x in f][1:]
    return [r[3] for r in rows if r[1].endswith(want[0]) and r[2].endswith(want[1])]


class Slow(DaemonTest):
    def reader(self, d, path):
        """Reads when it is asked to. Closed before the daemon is stopped."""
        c = d.ws(path, rcvbuf=4096)
        self.addCleanup(c.close)
        return c

    def closed(self, d, n=1):
        wait_for(lambda: d.metric('roost_connections_closing') == n, what='the slow one to be told')

    def flood(self, d, channel='flood', n=100, size=20000):
        """More than four times the limit, at once; another subscriber has all of it."""
        with d.ws('/ws/%s' % channel) as p:
            for i in range(n):
                p.text(('%08d' % i).ljust(size, '.'))
                p.expect(TEXT)
            p.goodbye()

    def check(self, got, size=20000):
        """Whole messages from the first on."""
        self.assertEqual([len(x) for x in got], [size] * len(got))
        self.assertEqual([int(x[:8]) for x in got], list(range(len(got))))

    def test_whole_frames_then_1008(self):
        d = self.start(workers=1, **SMALL)
        slow = self.reader(d, '/ws/flood?mode=sub')
        self.flood(d)
        self.closed(d)
        self.assertEqual(d.metric('roost_connections{protocol="plain"}'), 0)
        got, code, text = rest(slow)
        self.check(got)
        self.assertEqual((code, text), (1008, b'the connection does not read fast enough'))
        self.assertGreater(len(got), 0)
        wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the end')
        self.assertEqual(len(got) + d.metric('roost_drops_total{policy="disconnect"}'),
                         d.metric('roost_deliveries_total') - 100 + 1)  # the one it was told at was not queued

    def test_many_frames_in_one_batch(self):
        """The boundary is found inside what is queued as one piece."""
        d = self.start(workers=1, **{**SMALL, 'output_limit': '4KiB'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        with d.ws('/ws/flood?mode=pub') as p:
            while d.metric('roost_connections_closing') == 0:
                p.send(b''.join(b'\x81\x8a\0\0\0\0%010d' % i for i in range(2000)))
        got, code, _ = rest(slow)
        self.assertEqual(code, 1008)
        self.assertEqual([int(x) for x in got], [i % 2000 for i in range(len(got))])

    def test_other_forms(self):
        d = self.start(workers=1, **SMALL)
        several = self.reader(d, '/ws?channel=flood&channel=other&mode=sub')
        others = self.reader(d, '/ws/flood?echo=0')
        self.flood(d)
        self.closed(d, 2)
        got, code, _ = rest(several)
        self.assertEqual((code, {len(x) for x in got}), (1008, {len('{"channel":"flood","data":""}') + 20000}))
        got, code, _ = rest(others)
        self.check(got)
        self.assertEqual(code, 1008)

    def test_who_does_not_read_that_either_is_reset(self):
        d = self.start(workers=1, **{**SMALL, 'close_timeout': '1s'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        port = slow.sock.getsockname()[1]
        self.flood(d)
        wait_for(lambda: d.metric('roost_closes_total{reason="slow"}') == 1, what='the end')
        self.assertEqual(kernel_sockets(d.client, port), [])  # nothing stays in the kernel
        with self.assertRaises(ConnectionResetError):
            while slow.sock.recv(65536):
                pass

    def test_what_only_the_kernel_holds_is_given_back(self):
        """The close frame is in the socket's buffer, and is not read."""
        d = self.start(workers=1, ping_interval='1s', pong_timeout='1s', close_timeout='1s')
        c = self.reader(d, '/ws/quiet?mode=sub')
        port = c.sock.getsockname()[1]
        for _ in range(4):
            d.publish('quiet', 'x' * 12000)
        wait_for(lambda: d.metric('roost_closes_total{reason="no_pong"}') == 1, what='the end')
        self.assertEqual(kernel_sockets(d.client, port), [])

    def test_over_the_limit_for_output_grace(self):
        d = self.start(workers=1, **{**SMALL, 'output_grace': '1s', 'output_limit': '256KiB'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        self.flood(d, n=30)  # 600 kB
        self.closed(d)
        got, code, _ = rest(slow)
        self.check(got)
        self.assertEqual(code, 1008)

    def test_a_burst_passes(self):
        d = self.start(workers=1, **{**SMALL, 'output_limit': '256KiB'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        for _ in range(3):
            self.flood(d, n=40)  # 800 kB
            self.check([slow.recv_data() for _ in range(40)])
        self.assertEqual(d.metric('roost_connections_closing'), 0)

    def test_a_single_large_one_passes(self):
        d = self.start(workers=1, **{**SMALL, 'output_limit': '4KiB', 'output_grace': '0s'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        for _ in range(3):
            self.flood(d, n=1, size=900000)
            self.assertEqual(len(slow.recv_data()), 900000)

    def test_nothing_taken_for_output_timeout(self):
        d = self.start(workers=1, **{**SMALL, 'output_limit': '16MiB', 'output_timeout': '500ms'})
        slow = self.reader(d, '/ws/flood?mode=sub')
        self.flood(d)
        self.closed(d)
        got, code, _ = rest(slow)
        self.check(got)
        self.assertEqual(code, 1008)

    def test_policies_drop_and_latest(self):
        for policy in ('drop', 'latest'):
            with self.subTest(policy):
                d = self.start(workers=1, slow_consumer=policy, **SMALL)
                slow = self.reader(d, '/ws/flood?mode=sub')
                self.flood(d)
                self.assertGreater(d.metric('roost_drops_total{policy="%s"}' % policy), 0)
                self.assertEqual(d.metric('roost_connections{protocol="plain"}'), 1)
                dropped = int(d.metric('roost_drops_total{policy="%s"}' % policy))
                got = [int(slow.recv_data()[:8]) for _ in range(100 - dropped)]
                self.assertEqual(got, sorted(set(got)))
                self.assertTrue(slow.silent(0.1))
                self.assertEqual(d.metric('roost_output_queue_bytes'), 0)
                self.assertEqual(d.metric('roost_drops_total{policy="%s"}' % policy), dropped)
                self.assertEqual(99 in got, policy == 'latest')


class Endings(DaemonTest):
    """A close code reaches whoever reads it, whatever is on its way in the other direction."""

    def test_1009_to_one_that_goes_on_sending(self):
        d = self.start(workers=1, max_message_size='64KiB', max_frame_size='64KiB')
        with d.ws('/ws/x') as c:
            c.send(struct.pack('>BBQ', 0x82, 0xff, 1 << 30) + b'\0' * 4)
            try:
                for _ in range(100):
                    c.sock.sendall(b'\0' * 65536)
            except OSError:
                self.fail('reset while it was sending')
            self.assertEqual(c.recv().code, 1009)
            c.expect_eof()

    def test_1001_to_one_that_floods(self):
        d = self.start(workers=1, drain_time='0s', close_timeout='20s')
        with d.ws('/ws/x?mode=pub') as c:
            os.kill(d.process.pid, 15)
            data = rest_of_it = b'\x82\x80\0\0\0\0' * 1000
            c.sock.setblocking(False)
            while True:
                try:  # whole frames, also where the socket takes a part
                    rest_of_it = rest_of_it[c.sock.send(rest_of_it):] or data
                except BlockingIOError:
                    pass
                try:
                    c.buf += c.sock.recv(4096)
                    break
                except BlockingIOError:
                    pass
            c.sock.settimeout(TIMEOUT)
            f = c.recv()
            self.assertEqual((f.opcode, f.code), (CLOSE, 1001))
            c.close()

    def test_503_while_a_body_is_uploaded(self):
        d = self.start(workers=1, max_partial_bytes='64KiB')
        with socket.create_connection(tuple(d.admin.rsplit(':', 1))) as s:
            s.settimeout(TIMEOUT)
            s.sendall(b'POST /api/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n')
            try:
                for _ in range(15):
                    s.sendall(b' ' * 65536)
            except OSError:
                self.fail('reset while it was sending')
            answer = b''
            while True:
                data = s.recv(65536)
                if not data:
                    break
                answer += data
            self.assertTrue(answer.startswith(b'HTTP/1.1 503 '), answer)


if __name__ == '__main__':
    unittest.main(verbosity=0)
